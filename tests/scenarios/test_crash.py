"""The daemon is killed at any moment: nothing stops, nothing is lost, nothing leaks."""

import random
import threading
import time
from contextlib import suppress

import pytest

from tests.scenarios.test_names import address, reaches, resolves
from tests.scenarios.test_ports import local, serve
from tests.support.engines import Berth, wait_for

pytestmark = pytest.mark.root

#: Moments at which the storm is cut off.
KILLS = 50


def test_traffic_names_and_logs_go_on_while_the_daemon_is_dead(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("network", "create", "my_network")
    serve(engine, "web", "--network", "my_network", "-p", "8080:80")
    engine.docker("run", "-d", "--name", "client", "--network", "my_network", "busybox", "sh", "-c",
                  "while true; do nslookup -type=a web >/dev/null 2>&1 && echo found || echo lost;"
                  " usleep 20000; done")  # fmt: skip
    engine.docker("run", "-d", "--name", "teller", "-v", "kept:/data", "busybox", "sh", "-c",
                  "i=0; while true; do i=$((i+1)); echo line $i; echo $i > /data/last; usleep 20000; done")  # fmt: skip
    wait_for(lambda: "line 5" in engine.docker("logs", "teller").out, "the first lines")

    failures: list[str] = []
    served = 0
    stop = threading.Event()

    def visit() -> None:
        nonlocal served
        while not stop.is_set():
            if local(engine, "http://127.0.0.1:8080/") == "welcome\n":
                served += 1
            else:
                failures.append(f"request after {served}")

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        engine.kill9()
        before = served
        wait_for(lambda: served > before + 50, "fifty requests while the daemon is dead")
        engine.start()
        before = served
        wait_for(lambda: served > before + 20, "requests after its return")
    finally:
        stop.set()
        visitor.join()
    assert failures == []

    running = engine.docker("ps", "--format", "{{.Names}} {{.State}}").out.split()
    assert running.count("running") == 3
    assert "lost" not in engine.docker("logs", "client").out.splitlines()[1:]
    numbers = [int(line.split()[1]) for line in engine.docker("logs", "teller").out.splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    last = numbers[-1]
    wait_for(lambda: f"line {last + 20}\n" in engine.docker("logs", "teller").out, "log lines after the return")

    assert resolves(engine, "client", "web") == [address(engine, "web", "my_network")]
    assert engine.docker("exec", "teller", "cat", "/data/last").ok
    assert engine.docker("inspect", "-f", "{{.State.Running}}", "web").out == "true\n"
    engine.docker("stop", "-t", "0", "web", "client", "teller")
    assert engine.docker("inspect", "-f", "{{.State.ExitCode}}", "web").out == "137\n"
    assert local(engine, "http://127.0.0.1:8080/") == ""
    engine.docker("start", "web")
    wait_for(lambda: local(engine, "http://127.0.0.1:8080/") == "welcome\n", "the page after a new start")
    engine.docker("rm", "-f", "web", "client", "teller")
    engine.docker("volume", "rm", "kept")
    engine.docker("network", "rm", "my_network")
    wait_for(lambda: not engine.leaks(), "nothing to be left")


def test_an_exit_while_the_daemon_is_dead_is_known_after(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker(
        "run",
        "-d",
        "--name",
        "brief",
        "busybox",
        "sh",
        "-c",
        "while [ ! -e /go ]; do usleep 10000; done; echo bye; exit 7",
    )
    engine.docker("run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", "sleep 1")
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "brief").out.strip()
    engine.kill9()
    engine.host("touch", f"/proc/{pid}/root/go")
    wait_for(lambda: not engine.host("test", "-d", f"/proc/{pid}", check=False).ok, "the container's end")
    engine.start()
    assert engine.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "brief").out == "exited 7\n"
    assert engine.docker("logs", "brief").out == "bye\n"
    wait_for(lambda: "gone" not in engine.docker("ps", "-a").out, "--rm to be honoured")
    engine.docker("rm", "brief")
    wait_for(lambda: not engine.leaks(), "nothing to be left")


def test_names_still_reach_after_the_name_server_died(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("network", "create", "n")
    for name in ("anna", "berta"):
        engine.docker(
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "n",
            "busybox",
            "sh",
            "-c",
            "while true; do echo here | nc -l -p 7000; done",
        )
    pids = [pid for pid, line in engine.processes() if "dns" in line]
    assert pids
    for pid in pids:
        engine.host("kill", "-9", str(pid))
    wait_for(
        lambda: resolves(engine, "anna", "berta") == [address(engine, "berta", "n")], "names from a new name server"
    )
    assert reaches(engine, "berta", "anna")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_storm_cut_off_anywhere_leaves_nothing(own_berth: Berth) -> None:
    engine = own_berth
    dice = random.Random(20261123)
    engine.docker("network", "create", "storm")
    for number in range(KILLS):
        stop = threading.Event()

        def blow(lane: int, round_: int = number, stop: threading.Event = stop) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                name = f"s{round_}-{lane}-{count}"
                with suppress(OSError, ValueError):
                    made = engine.api("POST", f"/containers/create?name={name}", {
                        "Image": "busybox", "Cmd": ["true"],
                        "HostConfig": {"NetworkMode": "storm", "Binds": [f"{name}:/data"], "AutoRemove": lane == 1},
                    }, timeout=5)  # fmt: skip
                    if made.status == 201:
                        engine.api("POST", f"/containers/{name}/start", timeout=5)
                        engine.api("DELETE", f"/containers/{name}?force=1&v=1", timeout=5)
                        engine.api("DELETE", f"/volumes/{name}", timeout=5)

        lanes = [threading.Thread(target=blow, args=(lane,)) for lane in range(2)]
        for lane in lanes:
            lane.start()
        time.sleep(dice.uniform(0.02, 0.35))  # the random moment itself
        engine.kill9()
        stop.set()
        for lane in lanes:
            lane.join()
        engine.start()
        for row in engine.api("GET", "/containers/json?all=1").body:
            # Those of lane 1 remove themselves when they end, perhaps while they are asked about.
            may_be_gone = {404, 409} if "-1-" in row["Names"][0] else set()
            whole = engine.api("GET", f"/containers/{row['Id']}/json")
            assert whole.status in {200} | may_be_gone, row
            if whole.status == 200:
                states = ("created", "running", "exited", *(("removing",) if may_be_gone else ()))
                assert whole.body["State"]["Status"] in states, row
            assert engine.api("DELETE", f"/containers/{row['Id']}?force=1&v=1").status in {204} | may_be_gone, row
        wait_for(lambda: not engine.api("GET", "/containers/json?all=1").body, "containers to be gone")
        for row in engine.api("GET", "/volumes").body["Volumes"] or []:
            assert engine.api("DELETE", f"/volumes/{row['Name']}").status == 204, row
        wait_for(lambda: not engine.leaks(), f"nothing to be left after kill {number}: {engine.leaks()}")
        assert engine.api("GET", "/networks/storm").body["Containers"] == {}
    engine.berth("volume", "trash", "empty", "-f")  # where removed volumes with a name are, for a day
    root = engine.data_root / "volumes"

    def left() -> list[str]:
        return [entry.name for entry in root.iterdir() if entry.is_dir()] if root.exists() else []

    wait_for(lambda: not left(), f"all that was removed to be deleted behind the answer: {left()}")


def test_a_clean_stop_with_nothing_running_leaves_nothing_in_the_kernel(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("network", "create", "n")
    assert engine.docker("run", "--rm", "--network", "n", "busybox", "echo", "hi").out == "hi\n"
    assert engine.layout.nft_table in engine.host("nft", "list", "tables").out
    engine.stop()
    assert engine.layout.nft_table not in engine.host("nft", "list", "tables").out

    def links() -> list[str]:
        return [line.split(": ")[1] for line in engine.host("ip", "-o", "link").out.splitlines()]

    wait_for(lambda: links() == ["lo"], "the kernel to be done with the links")  # it ends them behind a namespace's end
    wait_for(lambda: not engine.processes(), "every process to end")
    engine.start()
    assert engine.docker("run", "--rm", "--network", "n", "busybox", "echo", "hi").out == "hi\n"


def test_two_daemons_on_one_state_directory_are_refused(own_berth: Berth) -> None:
    done = own_berth.host(*own_berth.argv(), check=False)
    assert done.code == 1
    assert "in use by another berthd" in done.err
