"""Projects of a few services, brought up and down by our Compose on our engine and on the original."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Done, Engine, wait_for
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.compat]

PROJECT = """
name: shop
services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    networks: {front: {aliases: [www], ipv4_address: 10.77.1.10, priority: 10}, back: }
    volumes: ["data:/data", /anon]
    environment: {E: "${V:-one}"}
    secrets: [{source: token, target: token, mode: 0400, uid: "5"}]
    configs: [{source: conf, target: /etc/c.conf}]
    depends_on:
      db: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully}
  db:
    image: busybox
    init: true
    command: sh -c "echo ready; exec sleep 1000"
    networks: [back]
    healthcheck: {test: "test -e /tmp/ok || { touch /tmp/ok; exit 1; }", interval: 300ms, retries: 9}
  job: {image: busybox, command: "true", networks: [back]}
networks:
  front: {ipam: {config: [{subnet: 10.77.1.0/24}]}, labels: {l: "${N:-1}"}}
  back: {}
volumes: {data: }
secrets: {token: {environment: TOKEN}}
configs: {conf: {content: "value ${V:-one}\\n"}}
"""


class Compose:
    """A project directory and an engine."""

    def __init__(self, engine: Engine, home: Path) -> None:
        self.engine, self.home = engine, home
        (home / ".env").write_text("TOKEN=hidden\n")

    def __call__(self, *words: str, check: bool = True, **variables: str) -> Done:
        if variables:
            (self.home / ".env").write_text("TOKEN=hidden\n" + "".join(f"{k}={v}\n" for k, v in variables.items()))
        return self.engine.berth("compose", *words, cwd=self.home, check=check, timeout=240)

    def write(self, text: str) -> None:
        (self.home / "compose.yaml").write_text(text)

    def ids(self) -> dict[str, str]:
        """Return the containers' ids by name."""
        lines = self("ps", "-a", "--format", "json").out.splitlines()
        return {record["Name"]: record["ID"] for record in map(json.loads, lines)}

    def inside(self, service: str, script: str) -> str:
        return self("exec", "-T", service, "sh", "-c", script).out


@pytest.fixture
def compose(engine: Engine, tmp_path: Path) -> Iterator[Compose]:
    project = Compose(engine, tmp_path)
    project.write(PROJECT)
    yield project
    project("down", "-v", "-t", "0", "--remove-orphans", check=False)


def left(engine: Engine, project: str) -> list[str]:
    """Return what bears the project's label."""
    label = f"com.docker.compose.project={project}"
    query = f"filters=%7B%22label%22:%5B%22{label}%22%5D%7D"
    containers = [entry["Id"] for entry in engine.api("GET", f"/containers/json?all=1&{query}").body]
    networks = [entry["Name"] for entry in engine.api("GET", f"/networks?{query}").body]
    volumes = [entry["Name"] for entry in engine.api("GET", f"/volumes?{query}").body["Volumes"] or []]
    return [*containers, *networks, *volumes]


def test_a_project_comes_up_in_order_and_goes_without_a_trace(compose: Compose) -> None:
    done = compose("up", "-d")
    lines = done.err.splitlines()
    healthy = lines.index(" Container shop-db-1  Healthy")
    exited = lines.index(" Container shop-job-1  Exited")
    assert max(healthy, exited) < lines.index(" Container shop-web-1  Starting")
    assert left(compose.engine, "shop")

    assert compose.inside("web", "cat /run/secrets/token; cat /etc/c.conf; echo $E") == "hiddenvalue one\none\n"
    assert compose.inside("web", "ls -ln /run/secrets/token").split()[:4:2] == ["-r--------", "5"]
    assert "10.77.1.10/24" in compose.inside("web", "ip -4 addr")
    compose.inside("web", "ping -c1 -W2 db && ping -c1 -W2 www")
    assert compose("logs", "db").out == "db-1  | ready\n"
    assert compose("ps", "--services").out.split() == ["db", "web"]

    compose("down", "-v", "-t", "0")
    assert left(compose.engine, "shop") == []


def test_nothing_to_do_does_nothing(compose: Compose) -> None:
    compose.write("services: {a: {image: busybox, init: true, command: sleep 1000}}\n")
    compose("up", "-d")
    before = compose.ids()
    done = compose("up", "-d")
    assert [line.rsplit("  ", 1)[1] for line in done.err.splitlines()] == ["Running"]
    assert compose.ids() == before


def test_a_changed_service_is_made_anew_with_its_anonymous_data(compose: Compose) -> None:
    compose("up", "-d")
    before = compose.ids()
    compose.inside("web", "echo kept > /anon/x; echo kept > /data/x")
    compose("up", "-d", V="two")
    after = compose.ids()
    assert after["shop-web-1"] != before["shop-web-1"]
    assert after["shop-db-1"] == before["shop-db-1"]
    assert compose.inside("web", "cat /anon/x /data/x /etc/c.conf; echo $E") == "kept\nkept\nvalue two\ntwo\n"
    compose("up", "-d", "-V")
    assert compose.inside("web", "ls /anon; cat /data/x") == "kept\n"


class Screen(Terminal):
    """A terminal with a Compose command on it."""

    def __init__(self, compose: Compose, *words: str) -> None:
        program = str(REPO / ".venv/bin/berth")
        super().__init__(
            [program, "compose", "--project-directory", str(compose.home), *words], compose.engine.environment
        )


def test_up_on_a_terminal_stops_all_at_ctrl_c(compose: Compose) -> None:
    compose.write(
        "name: shop\nservices:\n  a: {image: busybox, init: true, command: sleep 1000}\n"
        '  b: {image: busybox, command: sh -c \'trap "echo bye; exit" TERM; echo awake; '
        "while :; do sleep 0.1; done'}\n"
    )
    screen = Screen(compose, "up")
    try:
        screen.expect("awake")
        wait_for(lambda: len(compose("ps", "-q").out.split()) == 2, "both to run")
        screen.type("\x03")
        screen.expect("Gracefully Stopping... press Ctrl+C again to force")
        assert screen.wait() == 130
        assert "bye" in screen.said
        assert "Container shop-a-1  Stopped" in screen.said
    finally:
        screen.close()
    assert "Traceback" not in screen.said
    assert compose("ps", "-q").out == ""


def test_a_second_ctrl_c_kills(compose: Compose) -> None:
    compose.write("name: shop\nservices: {a: {image: busybox, command: sh -c 'echo awake; sleep 1000'}}\n")
    screen = Screen(compose, "up")
    try:
        screen.expect("awake")
        screen.type("\x03")
        screen.expect("Stopping")
        began = time.monotonic()
        screen.expect("Container shop-a-1")
        screen.type("\x03")
        assert screen.wait() == 130
        assert time.monotonic() - began < 9, "it was waited for"
    finally:
        screen.close()


def test_a_terminal_shows_what_runs_and_runs_after_what_it_needs(compose: Compose) -> None:
    compose.write(
        "name: shop\nservices:\n  db: {image: busybox, init: true, command: sleep 1000, healthcheck: {test: 'true', "
        "interval: 200ms}}\n  a: {image: busybox, command: echo ran, depends_on: {db: {condition: service_healthy}}}\n"
    )
    for words, said in (
        (("run", "--rm", "a"), "ran"),
        (("up", "-d", "db"), "Running"),
        (("down", "-t", "0"), "Removed"),
    ):
        screen = Screen(compose, *words)
        try:
            assert screen.wait() == 0, screen.said
        finally:
            screen.close()
        assert said in screen.said


def test_another_content_of_a_secret_or_config_makes_a_container_anew(compose: Compose) -> None:
    (compose.home / "conf").mkdir()
    files = {"secret": compose.home / "secret", "conf": compose.home / "conf/nginx.conf"}
    for file in files.values():
        file.write_text("one\n")
    compose.write(
        "name: shop\nsecrets: {s: {file: ./secret}}\nconfigs: {c: {file: ./conf}}\nservices:\n"
        "  with: {image: busybox, init: true, command: sleep 1000, secrets: [s], configs: [{source: c, target: /c}]}\n"
        "  without: {image: busybox, init: true, command: sleep 1000}\n"
    )
    compose("up", "-d")
    for name, file in files.items():
        before = compose.ids()
        compose("up", "-d", "-t", "0")
        assert compose.ids() == before
        # As editors write: the name is another file then, which the mount of the running container does not show.
        file.with_name("new").write_text("two\n")
        file.with_name("new").rename(file)
        compose("up", "-d", "-t", "0")
        after = compose.ids()
        assert after["shop-with-1"] != before["shop-with-1"], name
        assert after["shop-without-1"] == before["shop-without-1"]
    assert compose.inside("with", "cat /run/secrets/s /c/nginx.conf") == "two\ntwo\n"


def test_a_changed_network_is_made_anew_under_running_containers(compose: Compose) -> None:
    compose("up", "-d")
    before = compose.ids()
    compose("up", "-d", N="2")
    assert compose.ids() == before
    assert "10.77.1.10/24" in compose.inside("web", "ip -4 addr")
    compose.inside("web", "ping -c1 -W2 db && ping -c1 -W2 www")
    inspected = compose.engine.api("GET", "/networks/shop_front").body
    assert inspected["Labels"]["l"] == "2"


def test_scaling_keeps_the_low_numbers(compose: Compose) -> None:
    compose.write("services: {a: {image: busybox, init: true, command: sleep 1000}}\nname: shop\n")
    compose("up", "-d", "--scale", "a=3")
    before = compose.ids()
    assert sorted(before) == ["shop-a-1", "shop-a-2", "shop-a-3"]
    compose("up", "-d", "--scale", "a=2", "-t", "0")
    assert compose.ids() == {name: before[name] for name in ("shop-a-1", "shop-a-2")}


def test_orphans_are_told_and_removed_when_asked(compose: Compose) -> None:
    compose.write(
        "name: shop\nservices: {a: {image: busybox, command: sleep 9}, b: {image: busybox, command: sleep 9}}\n"
    )
    compose("up", "-d")
    compose.write("name: shop\nservices: {a: {image: busybox, command: sleep 9}}\n")
    assert "Found orphan containers ([shop-b-1])" in compose("up", "-d").err
    compose("up", "-d", "-t", "0", "--remove-orphans")
    assert sorted(compose.ids()) == ["shop-a-1"]


def test_a_failed_condition_keeps_the_dependent_down(compose: Compose) -> None:
    compose.write(
        "name: shop\nservices:\n  a: {image: busybox, depends_on: {j: {condition: service_completed_successfully}}}\n"
        "  j: {image: busybox, command: sh -c 'exit 3'}\n"
    )
    done = compose("up", "-d", check=False)
    assert done.code == 1
    assert "didn't complete successfully: exit 3" in done.err
    states = {
        json.loads(line)["Name"]: json.loads(line)["State"]
        for line in compose("ps", "-a", "--format", "json").out.splitlines()
    }
    assert states == {"shop-a-1": "created", "shop-j-1": "exited"}


def test_the_code_of_a_service_is_ours(compose: Compose) -> None:
    compose.write("name: shop\nservices: {a: {image: busybox, command: sh -c 'echo out; echo err >&2; exit 7'}}\n")
    done = compose("up", "--exit-code-from", "a", check=False)
    assert done.code == 7
    assert "a-1  | out\n" in done.out
    assert "a-1  | err\n" in done.err
    assert "a-1 exited with code 7\n" in done.out


def test_run_is_a_container_of_its_own(compose: Compose) -> None:
    compose.write("name: shop\nservices: {a: {image: busybox, command: sleep 9, environment: {A: 1}}}\n")
    done = compose.engine.berth(
        "compose",
        "run",
        "--rm",
        "-e",
        "B=2",
        "a",
        "sh",
        "-c",
        "cat; echo $A$B; exit 4",
        cwd=compose.home,
        feed="in\n",
        check=False,
    )
    assert (done.out, done.code) == ("in\n12\n", 4)
    assert compose.ids() == {}


@pytest.mark.parametrize("service", ["nope"])
def test_unknown_services_are_refused_everywhere(compose: Compose, service: str) -> None:
    for command in (["up", "-d"], ["ps"], ["logs"], ["stop"], ["exec"], ["run"], ["down"], ["port"]):
        extra = {"exec": ["true"], "port": ["80"]}.get(command[0], [])
        done = compose(*command, service, *extra, check=False)
        assert (done.code, done.err.splitlines()[-1]) == (1, f"no such service: {service}"), command


def test_a_borrowed_namespace_follows_its_owner(compose: Compose) -> None:
    text = 'name: shop\nservices:\n  a: {image: busybox, init: true, command: sleep 99, labels: {v: "%s"}}\n'
    text += '  b: {image: busybox, init: true, command: sleep 99, network_mode: "service:a"}\n'
    compose.write(text % 1)
    compose("up", "-d")
    before = compose.ids()
    compose.write(text % 2)
    compose("up", "-d", "-t", "0")
    after = compose.ids()
    assert before["shop-b-1"] != after["shop-b-1"]
    mode = compose.engine.api("GET", f"/containers/{after['shop-b-1']}/json").body["HostConfig"]["NetworkMode"]
    assert mode == f"container:{after['shop-a-1']}"


def test_it_waits_until_all_is_well(compose: Compose) -> None:
    began = time.monotonic()
    compose("up", "--wait")
    assert time.monotonic() - began < 30
    states = {
        json.loads(line)["Service"]: json.loads(line)["Health"]
        for line in compose("ps", "--format", "json").out.splitlines()
    }
    assert states["db"] == "healthy"


def test_logs_are_merged_in_the_order_of_time(compose: Compose) -> None:
    # The two take turns through files on a volume; dockerd stamps a line when it reads it.
    until = "until test -e /s/{}; do sleep 0.01; done; sleep 0.3"
    scripts = {
        "a": f"echo 1; touch /s/1; {until.format(2)}; echo 3; touch /s/3",
        "b": f"{until.format(1)}; echo 2; touch /s/2; {until.format(3)}; echo 4",
    }
    services = {
        name: {"image": "busybox", "command": ["sh", "-c", script], "volumes": ["s:/s"]}
        for name, script in scripts.items()
    }
    compose.write(json.dumps({"name": "shop", "services": services, "volumes": {"s": None}}))
    compose("up")
    assert [line.split("| ")[1] for line in compose("logs").out.splitlines()] == ["1", "2", "3", "4"]


def test_pause_stop_start_restart_kill_and_rm(compose: Compose) -> None:
    compose.write("name: shop\nservices: {a: {image: busybox, init: true, command: sleep 1000}}\n")
    compose("up", "-d")

    def state() -> str:
        return str(json.loads(compose("ps", "-a", "--format", "json").out)["State"])

    steps: tuple[tuple[Callable[[], Done], str], ...] = (
        (lambda: compose("pause"), "paused"),
        (lambda: compose("unpause"), "running"),
        (lambda: compose("stop", "-t", "0"), "exited"),
        (lambda: compose("start"), "running"),
        (lambda: compose("restart", "-t", "0"), "running"),
        (lambda: compose("kill"), "exited"),
    )
    for act, want in steps:
        act()
        assert state() == want
    compose("rm", "-f")
    assert compose.ids() == {}
