"""Clients that do it wrong, all at once, on a full disk: clear errors, nothing lost, nothing left, no hang."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.engines import Answer, Berth, import_busybox, wait_for

pytestmark = pytest.mark.root

#: What only we ever see: names of Python's exceptions and numbers of the system's errors.
OURS = ("Error:", "KeyError", "TypeError", "Errno", "NoneType", "Traceback", "recursion", "codec")


def at_once(number: int, work: Callable[[int], Answer]) -> Counter[int]:
    """Do something so many times at the same moment; return the statuses."""
    with ThreadPoolExecutor(number) as pool:
        return Counter(answer.status for answer in pool.map(work, range(number)))


def make(engine: Berth, name: str, **host: object) -> Answer:
    wanted = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host}
    return engine.api("POST", f"/containers/create?name={name}", wanted)


@pytest.fixture
def clean(berth_engine: Berth) -> Iterator[Berth]:
    yield berth_engine
    berth_engine.wipe_containers()
    wait_for(lambda: not berth_engine.leaks(), "nothing to be left")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"Name":"\x80"}', b"5", b'{"a":' + b"[" * 5000]
)
def test_no_body_breaks_a_handler(clean: Berth, body: bytes) -> None:
    make(clean, "hostile")
    for path in ("containers/create", "containers/hostile/update", "containers/hostile/exec", "networks/create",
                 "networks/bridge/connect", "networks/bridge/disconnect", "volumes/create", "exec/nope/start",
                 "auth"):  # fmt: skip
        answer = clean.api("POST", f"/{path}", body)
        assert answer.status < 500 or path == "auth", (path, answer)
        assert answer.status >= 400 or path.startswith(("volumes", "containers/hostile/update")), (path, answer)
        if answer.status >= 400:
            assert not [word for word in OURS if word in answer.message], answer


def test_the_same_at_once_happens_once(clean: Berth) -> None:
    assert at_once(16, lambda _: make(clean, "same")) == {201: 1, 409: 15}
    assert at_once(16, lambda _: clean.api("POST", "/containers/same/start")) == {204: 1, 304: 15}
    assert at_once(16, lambda _: clean.api("POST", "/networks/create", {"Name": "same"})) == {201: 1, 409: 15}
    assert at_once(16, lambda _: clean.api("POST", "/volumes/create", {"Name": "same"})) == {201: 16}
    assert at_once(8, lambda _: clean.api("POST", "/containers/same/restart?t=0")) == {204: 8}
    assert at_once(16, lambda _: clean.api("DELETE", "/containers/same?force=1"))[204] == 1
    assert at_once(16, lambda _: clean.api("DELETE", "/networks/same")) == {204: 1, 404: 15}
    assert at_once(16, lambda _: clean.api("DELETE", "/volumes/same")) == {204: 1, 404: 15}


def test_forced_removal_wins_over_starts_and_ends(clean: Berth) -> None:
    for turn in range(6):
        make(clean, "torn")
        if turn % 2:
            clean.api("POST", "/containers/torn/start")

        def meddle(index: int) -> Answer:
            if index == 2:
                return clean.api("DELETE", "/containers/torn?force=1")
            return clean.api("POST", f"/containers/torn/{'start' if index % 2 else 'kill'}")

        statuses = at_once(6, meddle)
        assert max(statuses) < 500, statuses
        assert clean.api("GET", "/containers/torn/json").status == 404, statuses


def test_a_name_given_often_at_once_is_there_once(clean: Berth) -> None:
    at_once(12, lambda index: clean.api("POST", "/images/busybox/tag?repo=given&tag=often") if index % 3
            else clean.api("DELETE", "/images/given:often"))  # fmt: skip
    clean.api("POST", "/images/busybox/tag?repo=given&tag=often")
    tags = clean.api("GET", "/images/busybox/json").body["RepoTags"]
    assert tags.count("given:often") == 1
    clean.api("DELETE", "/images/given:often")
    assert clean.api("GET", "/images/given:often/json").status == 404


def test_what_the_machine_has_not_is_refused_at_creation(clean: Berth) -> None:
    refused = make(clean, "never", CpusetCpus="4096")
    assert (refused.status, refused.message[:28]) == (400, "Requested CPUs are not avail")
    refused = make(clean, "never", Links=["nobody:alias"])
    assert refused.status == 400
    assert refused.message.startswith("could not get container for nobody: No such container: nobody")


def test_only_bridges_are_taken_for_bridges(clean: Berth) -> None:
    before = clean.host("ip", "addr", "show", "dev", "lo").out
    wanted = {"Name": "loop", "Options": {"com.docker.network.bridge.name": "lo"}}
    refused = clean.api("POST", "/networks/create", wanted)
    assert (refused.status, refused.message) == (400, "existing interface lo is not a bridge")
    assert clean.api("GET", "/networks/loop").status == 404
    assert clean.host("ip", "addr", "show", "dev", "lo").out == before


def test_a_long_request_line_and_deep_filters_are_read(clean: Berth) -> None:
    names = "%22,%22".join(f"name{one}" for one in range(2000))
    assert clean.api("GET", f"/containers/json?filters=%7B%22name%22:[%22{names}%22]%7D").body == []
    assert clean.api("GET", "/containers/json?filters=" + "[" * 20000).status == 400


def test_a_start_that_fails_early_leaves_no_control_group(clean: Berth) -> None:
    assert make(clean, "memless", CpusetMems="1000").status == 201
    assert clean.api("POST", "/containers/memless/start").status >= 400
    wait_for(lambda: not [left for left in clean.leaks() if left.startswith("cgroup")], "no control group")


def test_a_working_directory_stays_below_the_root(clean: Berth) -> None:
    assert clean.docker("run", "--rm", "-w", "/a/../../b/", "busybox", "pwd").out == "/b\n"


def test_a_client_may_ask_before_it_sends(clean: Berth) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(60)
        line.connect(str(clean.socket))
        line.sendall(
            b"POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 16\r\nExpect: 100-continue\r\n\r\n"
        )
        assert line.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b'{"Name":"asked"}')
        assert line.recv(4096).startswith(b"HTTP/1.1 201 ")
    clean.docker("volume", "rm", "asked")


def test_clients_that_vanish_leave_no_descriptor_and_no_word(clean: Berth) -> None:
    make(clean, "left")
    clean.api("POST", "/containers/left/start")
    assert clean.process is not None
    open_files = Path(f"/proc/{clean.process.pid}/fd")
    before, noise = len(list(open_files.iterdir())), clean.log.read_text().count("Traceback")
    for path in ("POST /containers/left/wait", "POST /containers/left/attach?stream=1&stdout=1&stdin=1",
                 "GET /containers/left/logs?follow=1&stdout=1", "GET /events", "GET /containers/left/stats",
                 "GET /containers/left/export", "GET /images/busybox/get") * 3:  # fmt: skip
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(clean.socket))
            line.sendall(f"{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            line.recv(100)
    clean.api("DELETE", "/containers/left?force=1")
    wait_for(lambda: len(list(open_files.iterdir())) <= before, "the descriptors to be closed")
    assert clean.log.read_text().count("Traceback") == noise


def test_on_a_full_disk_nothing_is_lost_and_things_can_be_removed(tmp_path: Path, busybox: Path) -> None:
    engine = Berth("full", tmp_path / "berth")
    try:
        engine.host("mkdir", "-p", str(engine.data_root))
        engine.host("mount", "-t", "tmpfs", "-o", "size=20m", "none", str(engine.data_root))
        engine.start()
        import_busybox(engine, busybox)
        engine.docker("run", "-d", "--name", "runs", "-v", "kept:/data", "busybox", "sleep", "1000")
        engine.docker("create", "--name", "rests", "busybox", "true")
        full = engine.data_root / "full"
        engine.host("dd", "if=/dev/zero", f"of={full}", "bs=4k", check=False)

        refused = engine.docker("run", "--rm", "busybox", "true", check=False)
        assert refused.code == 125
        assert "no space left on device" in refused.err
        for one in range(100):
            engine.api("POST", "/volumes/create", {"Name": f"filling{one}"})
        assert engine.docker("exec", "runs", "echo", "works").out == "works\n"
        engine.docker("stop", "-t", "0", "runs")
        engine.docker("rm", "rests")

        engine.host("rm", str(full))
        engine.docker("start", "runs")
        assert engine.docker("run", "--rm", "busybox", "echo", "works").out == "works\n"
        engine.restart()
        assert engine.docker("ps", "-a", "--format", "{{.Names}}").out == "runs\n"
        assert "kept" in engine.docker("volume", "ls", "-q").out.split()
    finally:
        engine.close()


def test_a_volume_whose_making_was_cut_off_is_gone_after_the_next_start(own_berth: Berth) -> None:
    place = own_berth.data_root / "volumes"
    own_berth.docker("volume", "create", "whole")
    own_berth.kill9()
    (place / "half").mkdir()
    (place / "hollow" / "_data").mkdir(parents=True)
    own_berth.start()
    assert sorted(entry.name for entry in place.iterdir() if entry.is_dir()) == ["whole"]
    assert own_berth.docker("volume", "ls", "-q").out == "whole\n"


@pytest.mark.parametrize(
    "odd", [{"Cmd": ["a\0b"]}, {"Cmd": ["true"], "Env": ["A=\0"]}, {"Cmd": ["true"], "User": "a\0"}]
)
def test_a_command_that_no_kernel_takes_is_refused_at_creation(clean: Berth, odd: dict[str, object]) -> None:
    make(clean, "nul")
    clean.api("POST", "/containers/nul/start")
    assert clean.api("POST", "/containers/nul/exec", odd).status == 400
    assert clean.api("POST", "/containers/nul/exec", {"Cmd": ["true"]}).status == 201
