"""The life of containers on Berth and, where the words are the same, on the original."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.engines import Berth, Engine, wait_for

pytestmark = pytest.mark.root


def state(engine: Engine, name: str) -> dict[str, object]:
    """Return ``State`` of a container."""
    found: dict[str, object] = engine.api("GET", f"/containers/{name}/json").body["State"]
    return found


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    names = [name for name in ("engine", "berth_engine") if name in request.fixturenames]
    engines = [request.getfixturevalue(name) for name in names]
    yield
    for engine in engines:
        engine.wipe_containers()


def create(engine: Engine, name: str, *cmd: str, **host: object) -> str:
    body = {"Image": "busybox", "Cmd": list(cmd), "HostConfig": {"NetworkMode": "none", **host}}
    made = engine.api("POST", f"/containers/create?name={name}", body)
    assert made.status == 201, made.body
    ident: str = made.body["Id"]
    return ident


def test_statuses_of_every_verb_in_every_state(engine: Engine) -> None:
    create(engine, "one", "sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    post = lambda verb: engine.api("POST", f"/containers/one/{verb}").status  # noqa: E731
    assert [post(verb) for verb in ("stop", "kill", "pause")] == [304, 409, 409]
    assert [post(verb) for verb in ("start", "start")] == [204, 304]
    assert engine.api("DELETE", "/containers/one").status == 409
    assert [post(verb) for verb in ("pause", "pause", "start")] == [204, 409, 409]
    assert [post(verb) for verb in ("unpause",)] == [204]
    wait_for(lambda: engine.docker("logs", "one").out == "ready\n", "it to heed what it is sent")
    assert post("kill?signal=FOO") == 400
    assert [post(verb) for verb in ("stop", "stop")] == [204, 304]
    assert state(engine, "one")["ExitCode"] == 9
    assert [post(verb) for verb in ("restart?t=0", "kill")] == [204, 204]
    assert post("rename?name=one") == 400
    assert post("rename?name=two") == 204
    assert engine.api("DELETE", "/containers/two").status == 204
    assert engine.api("DELETE", "/containers/two").status == 404


def test_a_name_is_held_by_one(engine: Engine) -> None:
    ident = create(engine, "mine", "true")
    again = engine.api("POST", "/containers/create?name=mine", {"Image": "busybox"})
    assert again.status == 409
    assert f'The container name "/mine" is already in use by container "{ident}"' in again.message
    for ref in (ident, ident[:12], ident[:4], "mine"):
        assert engine.api("GET", f"/containers/{ref}/json").status == 200
    assert engine.api("POST", "/containers/create?name=a/b", {"Image": "busybox"}).status == 400
    assert engine.api("POST", "/containers/create?name=x", {"Image": "busybox"}).status == 400


def test_waiting(engine: Engine) -> None:
    create(engine, "waits", "sh", "-c", "exit 5")
    assert engine.api("POST", "/containers/waits/wait").body["StatusCode"] == 0
    engine.api("POST", "/containers/waits/start")
    assert engine.api("POST", "/containers/waits/wait").body["StatusCode"] == 5
    done = engine.docker("run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 6", check=False)
    assert done.code == 6


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(engine: Engine, command: str, code: int) -> None:
    done = engine.docker("run", "--rm", "--network", "none", "busybox", command, check=False)
    assert done.code == code
    assert f'exec: "{command}": ' in done.err
    assert engine.api("GET", "/containers/json?all=1").body == []


def test_limits_hold(engine: Engine) -> None:
    done = engine.docker("run", "--name", "hog", "--network", "none", "-m", "16m", "--memory-swap", "16m", "busybox",
                         "sh", "-c", "tail /dev/zero; exit $?", check=False)  # fmt: skip
    assert done.code == 137
    if engine.kind == "berth":  # 20.10 misses it on a machine with both versions of control groups
        assert state(engine, "hog")["OOMKilled"] is True
    forks = engine.docker("run", "--rm", "--network", "none", "--pids-limit", "10", "busybox", "sh", "-c",
                          "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done", check=False)  # fmt: skip
    assert "can't fork" in forks.err


def test_limits_change_while_it_runs(engine: Engine) -> None:
    create(engine, "up", "sleep", "100", Memory=32 << 20)
    engine.api("POST", "/containers/up/start")
    engine.docker("update", "--memory", "64m", "--memory-swap", "128m", "up")
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"  # version 1, version 2
    text = engine.docker("exec", "up", "sh", "-c", f"cat {files} 2>/dev/null", check=False).out
    assert text.strip() == str(64 << 20)
    assert engine.api("GET", "/containers/up/json").body["HostConfig"]["Memory"] == 64 << 20


def test_restart_policies(engine: Engine) -> None:
    create(engine, "fails", "sh", "-c", "exit 3", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 2})
    engine.api("POST", "/containers/fails/start")
    wait_for(lambda: state(engine, "fails")["Status"] == "exited", "its giving up")
    whole = engine.api("GET", "/containers/fails/json").body
    assert (whole["RestartCount"], whole["State"]["ExitCode"]) == (2, 3)

    create(engine, "ever", "sh", "-c", "exit 0", RestartPolicy={"Name": "always"})
    engine.api("POST", "/containers/ever/start")
    wait_for(lambda: engine.api("GET", "/containers/ever/json").body["RestartCount"] >= 2, "two restarts")
    engine.docker("stop", "-t", "1", "ever")
    time.sleep(0.5)  # longer than its next pause: a restart that was not called off would be seen
    assert state(engine, "ever")["Running"] is False


def test_events_of_a_life(engine: Engine) -> None:
    since = engine.docker("version", "-f", "{{.Server.Version}}") and str(time.time())
    engine.docker(
        "run", "--name", "told", "--label", "a=b", "--network", "none", "busybox", "sh", "-c", "exit 4", check=False
    )
    engine.docker("rm", "told")
    said = engine.docker(
        "events",
        "--since",
        since,
        "--until",
        str(time.time() + 0.1),
        "--filter",
        "container=told",
        "--format",
        "{{json .}}",
    )
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [one["Action"] for one in events] == ["create", "attach", "start", "die", "destroy"]
    attributes = events[3]["Actor"]["Attributes"]
    assert (attributes["exitCode"], attributes["name"], attributes["image"], attributes["a"]) == (
        "4",
        "told",
        "busybox",
        "b",
    )


def test_what_a_process_gets(engine: Engine) -> None:
    def run(*args: str) -> str:
        return engine.docker("run", "--rm", "--network", "none", *args).out

    assert run("--user", "1000:7", "--group-add", "44", "busybox", "id").startswith("uid=1000 gid=7")
    assert run("-w", "/a/b", "busybox", "pwd") == "/a/b\n"
    assert run("--hostname", "box", "busybox", "hostname") == "box\n"
    assert "NoNewPrivs:\t1" in run("--security-opt", "no-new-privileges", "busybox", "cat", "/proc/self/status")
    assert "Seccomp:\t2" in run("busybox", "cat", "/proc/self/status")
    assert "Seccomp:\t0" in run("--security-opt", "seccomp=unconfined", "busybox", "cat", "/proc/self/status")
    assert "CapEff:\t00000000a80425fb" in run("busybox", "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in run("--cap-drop", "ALL", "busybox", "cat", "/proc/self/status")
    assert run("--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -n; ulimit -Hn") == "100\n200\n"
    assert run("--read-only", "busybox", "sh", "-c", "touch /x 2>/dev/null || echo refused") == "refused\n"
    assert run("--sysctl", "kernel.shmmax=4097", "busybox", "cat", "/proc/sys/kernel/shmmax") == "4097\n"
    assert (
        run("busybox", "sh", "-c", "unshare -m true 2>/dev/null || echo refused; test -e /.dockerenv && echo here")
        == "refused\nhere\n"
    )


def test_changes(engine: Engine) -> None:
    engine.docker(
        "run",
        "--name",
        "dd",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "touch /x; rm -r /home; mkdir /etc/zz",
        check=False,
    )
    assert sorted(engine.docker("diff", "dd").out.split("\n")) == ["", "A /etc/zz", "A /x", "C /etc", "D /home"]


def test_a_profile_of_the_users(engine: Engine) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    create(engine, "pp", "sh", "-c", "mkdir /x || exit 8", SecurityOpt=[f"seccomp={json.dumps(profile)}"])
    engine.api("POST", "/containers/pp/start")
    assert engine.api("POST", "/containers/pp/wait").body["StatusCode"] == 8


def test_after_a_reboot(own_berth: Berth) -> None:
    engine = own_berth
    for name, policy in (
        ("ever", "always"),
        ("unless", "unless-stopped"),
        ("stopped", "unless-stopped"),
        ("never", "no"),
    ):
        create(engine, name, "sleep", "1000", RestartPolicy={"Name": policy})
        engine.api("POST", f"/containers/{name}/start")
    create(engine, "gone", "sleep", "1000", AutoRemove=True)
    engine.api("POST", "/containers/gone/start")
    engine.docker("stop", "-t", "0", "stopped")
    pids = [str(state(engine, name)["Pid"]) for name in ("ever", "unless", "never", "gone")]
    engine.kill9()
    engine.host("kill", "-9", *pids)
    engine.after_stop()  # every process is gone, and so is what lay on tmpfs
    engine.host("sh", "-c", f"grep -o ' {engine.exec_root}[^ ]*' /proc/self/mountinfo | xargs -r umount -l")
    engine.host("rm", "-rf", str(engine.exec_root))
    engine.start()
    wait_for(lambda: state(engine, "ever")["Running"] and state(engine, "unless")["Running"], "what starts by itself")
    assert state(engine, "stopped")["Status"] == state(engine, "never")["Status"] == "exited"
    assert engine.api("GET", "/containers/gone/json").status == 404


def test_a_monitor_that_is_killed_does_not_leave_its_container_for_ever(own_berth: Berth) -> None:
    engine = own_berth
    create(engine, "orphan", "sleep", "1000")
    engine.api("POST", "/containers/orphan/start")
    monitor = next(pid for pid, line in engine.processes() if "conmon" in line and "orphan" in line)
    engine.host("kill", "-9", str(monitor))
    engine.docker("kill", "orphan")
    assert state(engine, "orphan")["Running"] is False
    engine.docker("rm", "orphan")


def test_events_of_copies_and_restarts(engine: Engine) -> None:
    began = int(time.time())
    engine.docker("run", "-d", "--name", "busy", "busybox", "sleep", "1000")
    engine.docker("exec", "busy", "true")
    engine.docker("cp", "busy:/etc/hostname", "-")
    engine.api("PUT", "/containers/busy/archive?path=/tmp", b"\0" * 1024)
    engine.api("GET", "/containers/busy/export")
    engine.docker("restart", "-t", "0", "busy")
    filters = ("--filter", "container=busy", "--format", "{{.Action}}")
    said = engine.docker("events", "--since", str(began), "--until", str(int(time.time()) + 1), *filters).out
    wanted = ["create", "start", "exec_create: true ", "exec_start: true ", "archive-path", "extract-to-dir", "export"]
    shown = [action for action in said.splitlines() if action not in ("attach", "exec_die", "kill", "resize")]
    ends = ["die", "stop"]
    if engine.kind == "dockerd":  # which says the second without a wait for the first
        ends = [action for action in shown if action in ends]
        assert sorted(ends) == ["die", "stop"]
    assert shown == [*wanted, *ends, "start", "restart"]


def test_details_of_logs(engine: Engine) -> None:
    chosen = ("labels=a", "env=E", "tag={{.Name}} x")
    options = [word for one in chosen for word in ("--log-opt", one)]
    engine.docker("run", "--name", "told", *options, "--label", "a=b c", "-e", "E=1", "busybox", "echo", "hi")
    assert engine.docker("logs", "--details", "told").out == "E=1,a=b+c,tag=told+x hi\n"
