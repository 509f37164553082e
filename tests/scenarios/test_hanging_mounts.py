"""A dead file server and an engine beside it: what uses it ends at a limit with a clear error, all else goes on."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, import_busybox, wait_for
from tests.support.hangs import Hangable, hangable, is_missing
from tests.support.pace import Pace

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(is_missing()), reason=is_missing())]

#: What an answer that waits for no server may take, in seconds, on a machine that does other things too.
BUDGET_S = 3.0


@pytest.fixture
def berth(tmp_path: Path, busybox: Path) -> Iterator[Berth]:
    settings = tmp_path / "daemon.json"
    settings.write_text('{"volume-timeout": 60, "mount-timeout": 90, "log-level": "debug"}')
    one = Berth(f"hang{os.getpid() % 0xFFFF:04x}", tmp_path / "berth", "--config-file", str(settings))
    try:
        one.start()
        import_busybox(one, busybox)
        yield one
    finally:
        one.close()
        shutil.rmtree(tmp_path / "berth", ignore_errors=True)


@pytest.fixture
def server(berth: Berth, tmp_path: Path) -> Iterator[Hangable]:
    with hangable(tmp_path, berth.spaces.inside([])) as made:
        (made.source / "file").write_text("served\n")
        yield made


def pace(engine: Berth) -> Pace:
    return Pace(lambda: [os.getpid(), *(pid for pid, _ in engine.processes())])


def assert_quick(engine: Berth, took_s: float, what: object) -> None:
    """See that something has waited for no server: on a machine too busy for the budget, beside what nothing takes."""
    if took_s >= BUDGET_S:
        began = time.monotonic()
        for _ in range(3):
            engine.docker("version")
        assert took_s < 15 * (time.monotonic() - began) / 3, what


def test_a_dead_server_stops_nobody_but_its_users(berth: Berth, server: Hangable, tmp_path: Path) -> None:
    berth.docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={server.at}", "far")
    mounts = ("-v", f"{server.at}:/bound", "-v", "far:/far")
    user = berth.docker("run", "-d", *mounts, "busybox", "sleep", "600").out.strip()
    # A process of this one will be caught in a call that waits for the server.
    caught = berth.docker(
        "run", "-d", *mounts, "busybox", "sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; cat /bound/file"
    ).out.strip()
    stopped = berth.docker("create", "-v", f"{server.at}:/bound", "busybox", "true").out.strip()
    assert berth.docker("exec", user, "cat", "/bound/file", "/far/file").out == "served\nserved\n"
    # What answers has as long as a busy machine takes; from here on who does not is not waited for.
    (tmp_path / "daemon.json").write_text('{"volume-timeout": 1, "mount-timeout": 2, "log-level": "debug"}')
    berth.restart()
    server.hang()
    berth.docker("exec", caught, "touch", "/tmp/go")

    def quick(*words: str) -> str:
        clock = pace(berth)
        done = berth.docker(*words)
        assert_quick(berth, clock.taken(), words)
        return done.out

    def fails(*words: str) -> None:
        clock = pace(berth)
        done = berth.docker(*words, check=False)
        took = clock.taken()
        expected = ("does not answer: no reply of its file system within 1 s", "no answer within")
        assert any(said in done.err for said in expected), (words, done)
        if took > 8:
            assert_quick(berth, took - 5, words)

    assert user[:12] in quick("ps")
    assert "far" in quick("volume", "ls", "-q").split()
    assert str(server.at) in quick("volume", "inspect", "far")
    rows = {row["Name"]: row["UsageData"] for row in berth.api("GET", "/v1.41/system/df").body["Volumes"]}
    assert rows == {"far": {"RefCount": 2, "Size": -1}}
    quick("system", "df", "-v")
    assert quick("run", "--rm", "-v", "near:/n", "busybox", "echo", "fine") == "fine\n"
    quick("volume", "create", "another")
    quick("volume", "rm", "another")
    quick("inspect", user)
    assert quick("exec", user, "echo", "in") == "in\n"
    quick("cp", f"{user}:/etc/passwd", "-")
    fails("run", "--rm", "-v", f"{server.at}:/x", "busybox", "true")
    fails("run", "--rm", "--mount", f"type=bind,source={server.at},target=/x", "busybox", "true")
    fails("start", stopped)
    for ident in (user, stopped):
        fails("cp", f"{ident}:/bound/file", "-")
    fails("cp", str(server.source / "file"), f"{user}:/bound/other")

    berth.kill9()
    clock = pace(berth)
    berth.start()
    assert clock.taken() < BUDGET_S
    assert user[:12] in quick("ps")
    quick("rm", "-f", user)
    quick("rm", "-f", caught)
    quick("rm", stopped)
    quick("volume", "rm", "far")
    assert [line for _, line in berth.processes() if "foreign_child" in line] == []
    server.close()
    wait_for(lambda: not [one for one in berth.leaks() if "mount" in one or "process" in one], "nothing to be left")
