"""The same command lines through `docker` and `berth`, against the same engine: same output, same errors, same status.

Only the program's name, and words for how long ago something was, may differ. What the two are known to say differently
is listed in docs/cli.md and is not among the cases.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.clients import docker_client_version as client_major
from tests.support.clients import needs_client
from tests.support.engines import REPO, Done, Engine, docker_client
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: What an engine holds while it is asked; made with docker, so that a fault of ours cannot hide itself.
STAGE = (
    "network create --label cli=1 --subnet 10.98.0.0/24 cli-net",
    "volume create --label cli=1 cli-vol",
    "create --network none --name cli-c1 --label cli=1 -v cli-vol:/d -p 80 busybox sh -c 'echo hello world'",
    "run -d --network cli-net --name cli-c2 --label cli=2 -p 127.0.0.1:8099:80 -p 8090-8092:90-92 busybox sleep 1000",
    "run --network none --name cli-c3 busybox sh -c 'echo out; echo err >&2; exit 3'",
)

#: Asked of Berth and of the original.
LISTS = r"""
network ls
network ls -q
network ls --no-trunc
network ls --format "{{.Name}} {{.Driver}}"
network ls --format "table {{.Name}}\t{{.ID}}\t{{.Labels}}\t{{.Label \"cli\"}}"
network ls --format "{{json .Labels}}"
network ls -f name=cli -f driver=bridge
network inspect cli-net
network inspect cli-net bridge
network inspect cli-net -f "{{range .IPAM.Config}}{{.Subnet}}{{end}} {{len .Containers}} {{.Created}}"
network inspect cli-net -f "{{json .IPAM}}"
network inspect nonono
network inspect nonono -f "{{.Name}}"
network create cli-net
network create bridge
network create --subnet 10.98.0.0/24 cli-net3
network connect nonono cli-c2
network connect cli-net nonono
network disconnect cli-net nonono
network rm -f nonono
volume ls
volume ls -q
volume ls --format json
volume ls -f name=cli
volume inspect cli-vol
volume inspect cli-vol nonono
volume rm cli-vol nonono
volume rm -f nonono
volume create -o foo=bar cli-v2
volume create cli/v
ps --filter name=cli
ps -a --filter name=cli
ps -aq --filter name=cli
ps -a --no-trunc --filter name=cli
ps -a --format "table {{.Names}}\t{{.Ports}}" --filter name=cli
ps -a --format "{{.ID}}: {{.Names}} {{.Image}} {{.Command}} {{.Mounts}} {{.Networks}} {{.Labels}}" --filter name=cli
ps -a --filter name=cli-c --filter status=exited --format "{{.Names}}"
ps -a --filter volume=cli-vol --format "{{.Names}}"
ps -a --filter network=cli-net --format "{{.Names}}"
ps --filter foo=bar
inspect cli-c2 -f "{{.State.Status}} {{.Config.Labels}} {{.Config.Cmd}} {{.Config.Entrypoint}}"
inspect cli-c2 -f "{{range $k,$v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}"
inspect cli-c2 -f "{{if .State.Health}}yes{{else}}no{{end}}"
inspect cli-c2 -f "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}"
inspect cli-c2 -f "{{.Config.Nope}}"
inspect cli-c2 -f "{{json .Config.Labels}} {{.HostConfig.Memory}}"
inspect nonono cli-vol -f "{{.Name}}"
images --format "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}"
image inspect nonono
logs cli-c3
logs -n 1 cli-c3
logs nonono
port cli-c2
port cli-c2 80
wait cli-c3
wait nonono
kill nonono
unpause cli-c2
exec cli-c2 sh -c "echo a; echo b >&2; exit 4"
exec cli-c3 ls
exec nonono ls
start nonono cli-c2
stop nonono
rm nonono
rm -f nonono
rmi nonono
tag nonono x:y
run --rm --network none busybox sh -c "exit 5"
run --rm --network none --name cli-c2 busybox true
run --rm --network nonono busybox true
container prune -f --filter label=cli-none
network prune -f --filter label=cli-none
image prune -f --filter label=cli-none
"""

#: Asked of Berth only: dockerd looks for a plugin for fifteen seconds before it says no.
NO_DRIVER = r"""
network create -d nodriver cli-net2
volume create -d nodriver cli-v2
"""

#: Asked of the original only: it is the client alone that answers. The words are those of Docker's client since 28.
CLIENT = r"""
network ls --format "{{.Foo}}"
network ls --format "{{.Name"
network ls --format "{{range .}}"
network ls --format "{{foo .}}"
network inspect cli-net -f json
network create --gateway 1.2.3.4 cli-net3
network create --subnet 10.98.1.0/24 --gateway 10.98.2.1 cli-net3
network create --label =x cli-net3
ps --filter foo
ps --filter name=cli --format json
inspect cli-c2 -f "{{json .Config}}"
inspect cli-c2 -f "{{json .HostConfig.Memory}} {{printf \"%q %5d|%-8s|\" .Name 3 .Driver}}"
inspect cli-c2 -f "{{.Name | upper | printf \"%s!\"}} {{join .Config.Cmd \",\"}} {{split .Name \"-\"}}"
inspect cli-c2 -f "{{title .Driver}}"
inspect cli-c2 -f "{{- with .State -}} {{.Running}} {{- end -}}"
inspect cli-c2 -f "{{eq .State.Status \"running\"}} {{gt 3 2}} {{and true false}} {{or false 5}} {{not true}}"
inspect cli-c2 -f "{{index .Config.Labels \"cli\"}}|{{index .Config.Labels \"zz\"}}|{{.Config.Labels.cli}}"
inspect cli-c2 -f "{{range $i, $e := .Config.Cmd}}{{if $i}},{{end}}{{$e}}{{else}}none{{end}}"
inspect cli-c2 -f "{{println .Name}}{{len .Name}} {{slice .Id 0 12}} {{/* c */}}x"
inspect cli-c2 -f "{{.HostConfig.Init}} {{.HostConfig.PidsLimit}} {{.Config.Volumes}} {{.HostConfig.PortBindings}}"
history busybox
history -H=false busybox
images --format json
logs --since foo cli-c3
port cli-c2 80/udp
port cli-c2 x
rename nonono x
run --rm --network none busybox nonexec
run --rm --network none busybox /etc
run --rm -d -a stdout busybox
run --rm --restart always busybox
run -p 99999:80 busybox
run -p a:80 busybox
run -p 80: busybox
run -p 1.2.3:80:80 busybox
run -p 80-82:90-91 busybox
run -p 80:80/foo busybox
run --expose foo busybox
run --mount type=foo busybox
run --mount target=x,foo=1 busybox
run --mount type=bind,src=/x,dst=/y,ro=maybe busybox
run --restart on-failure:x busybox true
run -m x busybox true
run --cpus x busybox true
run -e =a busybox true
run --env-file /nonexistent busybox true
run --network bridge --network-alias x busybox true
run --network name=,alias=x busybox true
run --network name=a,foo=x busybox true
run --ulimit foo busybox
run --ulimit nofile=5:1 busybox
run --add-host foo busybox
run --dns foo busybox
run --pid foo busybox
run --security-opt foo busybox
run --security-opt seccomp=/nonexistent busybox
run --health-interval x busybox
run --no-healthcheck --health-cmd x busybox
run --link a:b:c busybox
run -a foo busybox
run -it --rm busybox sh
run BusyBox
run
foo
network foo
volume foo
ps --foo
ps -Z
ps x
network rm
network create a b
rename a
run --name
ps -n x
ps --all=foo
run -it=x busybox
stop -t x a
exec --help
ps --help
network disconnect --help
network connect --help
cp a b
container prune
image prune -a
load -i /nonexistent
"""

#: Docker's client says many things in other words before this version; what older ones are asked is what never changed.
WORDS_SINCE = 28
_SINCE_EVER = re.compile(
    "network (?:ls(?!.*help)|inspect cli-net$|inspect cli-net bridge)|volume (?:ls(?!.*json|.*help)|inspect cli-vol$)"
    "|inspect cli-c2(?!.*(?:Nope|title))|logs (?:-n 1 )?cli-c3|wait cli-c3|exec cli-c[23] |images (?!.*json)|ps -aq"
    "|(?:container|network) prune -f|run --rm --network none busybox sh"
)

_AGO = re.compile(r"About an? (?:minute|hour)|Less than a second|\b\d+ (?:second|minute|hour)s?\b|Up\b")
_NAME = re.compile(r"\bdocker(?=[ :])")


def cases(text: str) -> list[str]:
    return text.strip().splitlines()


def plain(done: Done) -> tuple[int, str, str]:
    """Leave out what may differ; spaces too, which follow the length of the words for times."""
    return done.code, *(re.sub(r" +", " ", _AGO.sub("T", _NAME.sub("berth", text))) for text in (done.out, done.err))


def differences(engine: Engine, lines: list[str]) -> list[str]:
    """Run each line through both clients and say where they differ."""

    def compare(line: str) -> str:
        words = shlex.split(line)
        original, ours = plain(engine.docker(*words, check=False)), plain(engine.berth(*words, check=False))
        return "" if original == ours else f"\n{line}\n  docker {original}\n  berth  {ours}"

    with ThreadPoolExecutor(2) as pool:
        return [text for text in pool.map(compare, lines) if text]


@pytest.fixture(scope="module", params=["berth", "dockerd"])
def stage(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    for line in STAGE:
        engine.docker(*shlex.split(line), check=False)
    yield engine
    engine.docker("rm", "-f", "cli-c1", "cli-c2", "cli-c3", check=False)
    engine.docker("network", "rm", "cli-net", check=False)
    engine.docker("volume", "rm", "cli-vol", check=False)


def groups() -> list[str]:
    return sorted({line.split()[0] for line in cases(LISTS)})


@pytest.mark.parametrize("verb", groups())
def test_lists_and_answers_are_dockers(stage: Engine, verb: str) -> None:
    lines = [line for line in cases(LISTS) if line.split()[0] == verb]
    if client_major() < WORDS_SINCE:
        lines = [line for line in lines if _SINCE_EVER.match(line)]
    assert not differences(stage, lines)


def test_the_client_itself_speaks_as_dockers(stage: Engine) -> None:
    lines = cases(NO_DRIVER if stage.kind == "berth" else CLIENT)
    if client_major() < WORDS_SINCE:
        lines = [line for line in lines if _SINCE_EVER.match(line)]
    assert not differences(stage, lines)


@pytest.mark.parametrize("page", ["volume", "network", "volume ls", "volume prune", "network create", "system df"])
def test_pages_that_say_more_say_all_that_dockers_say(dockerd_engine: Engine, page: str) -> None:
    """Ours have commands and flags of their own; a command or flag of Docker's is there in its words."""
    needs_client(WORDS_SINCE, "the words are those since then")

    def said(done: Done) -> set[str]:
        return set(re.findall(r"^ +(?:-\w, )?--?[\w-]+|^  [a-z-]+(?=  )", done.out, re.MULTILINE))

    words = [*page.split(), "--help"]
    original = said(dockerd_engine.docker(*words))
    assert len(original) >= 2
    assert original <= said(dockerd_engine.berth(*words))


#: What would eat a command's 45 milliseconds.
_SLOW = (
    "asyncio",
    "dataclasses",
    "typing",
    "inspect",
    "http.client",
    "subprocess",
    "msgspec",
    "aiohttp",
    "yaml",
    "email",
)


def test_a_command_loads_nothing_slow(berth_engine: Engine) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(REPO / "src")!r})
from berth.cli.main import main
for words in (["network", "ls"], ["ps", "-a"], ["run", "-d", "--rm", "busybox", "true"]):
    assert main(words) == 0
print(sorted(set({_SLOW!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program],
        capture_output=True,
        text=True,
        env=berth_engine.environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("program", ["docker", "berth"])
def test_input_goes_in_and_output_comes_out(stage: Engine, program: str) -> None:
    run = stage.client(program)
    assert run("run", "--rm", "-i", "--network", "none", "busybox", "cat", feed="hi\n").out == "hi\n"
    flood = "x" * 2_000_000
    assert run("run", "--rm", "-i", "--network", "none", "busybox", "cat", feed=flood).out == flood
    assert run("exec", "-i", "cli-c2", "wc", "-c", feed="abc").out.strip() == "3"
    done = run("run", "--rm", "-i", "--network", "none", "busybox", "head", "-c", "10", feed=flood)
    assert done.out == "x" * 10


@pytest.mark.parametrize("program", ["docker", "berth"])
def test_a_terminal_is_resized_detached_and_left(stage: Engine, program: str) -> None:
    argv = [docker_client()] if program == "docker" else [os.path.join(os.getcwd(), ".venv/bin/berth")]
    name = f"cli-tty-{program}"
    shell = Terminal(
        [*argv, "run", "-it", "--name", name, "--network", "none", "busybox", "sh"],
        stage.environment,
        rows=30,
        columns=100,
    )
    try:
        shell.expect("# ")
        shell.type("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.1; done; echo res''ized\n")
        shell.expect("resized", meanwhile=lambda: shell.resize(40, 120))
        shell.type("\x10")
        shell.type("\x11")
        assert shell.wait() == 0
        shell.close()
        shell = Terminal([*argv, "attach", name], stage.environment)
        shell.expect("# ")
        shell.type("exit 7\n")
        assert shell.wait() == 7
    finally:
        shell.close()
        stage.docker("rm", "-f", name, check=False)
