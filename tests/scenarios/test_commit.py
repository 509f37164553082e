"""What an engine that dies in the middle of a commit leaves behind: nothing, and a container that goes on."""

import os
import signal
import subprocess

import pytest

from tests.support.engines import Berth, docker_client, wait_for

pytestmark = pytest.mark.root

#: Enough that packing it takes a while, in megabytes.
LOAD = 300


def _state(engine: Berth) -> str:
    return str(engine.api("GET", "/containers/busy/json").body["State"]["Status"])


def _caught_in_the_middle(engine: Berth) -> "subprocess.Popen[bytes]":
    """Return a client whose commit is under way, with the container paused: one that was over too soon is undone."""
    for _ in range(9):
        client = subprocess.Popen(
            [docker_client(), "commit", "busy", "never"], env=engine.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: client.poll() is not None or _state(engine) == "paused", "the container to be paused")  # noqa: B023
        if client.poll() is None:
            return client
        engine.docker("rmi", "never")
    raise AssertionError("the container was never seen to be paused")


@pytest.mark.parametrize("who", ["engine", "client"])
def test_a_commit_cut_short_leaves_a_container_that_goes_on(own_berth: Berth, who: str) -> None:
    engine = own_berth
    beat = f"head -c {LOAD}m /dev/zero > /load; while :; do date +%s%N > /beat; sleep 0.05; done"
    engine.docker("run", "-d", "--name", "busy", "busybox", "sh", "-c", beat)
    wait_for(
        lambda: engine.docker("exec", "busy", "test", "-s", "/beat", check=False).ok,
        "the container to work",
    )
    client = _caught_in_the_middle(engine)
    if who == "engine":
        engine.kill9()
        client.wait(90)
        engine.start()
        assert engine.api("GET", "/images/never/json").status == 404
    else:
        # Docker goes on as well when its client leaves: the image comes.
        os.kill(client.pid, signal.SIGINT)
        client.wait(90)
        wait_for(lambda: engine.api("GET", "/images/never/json").status == 200, "the image", limit_s=120)
    wait_for(lambda: _state(engine) == "running", "the container to go on")
    before = engine.docker("exec", "busy", "cat", "/beat").out
    wait_for(lambda: engine.docker("exec", "busy", "cat", "/beat").out != before, "the container to work on")
    arriving = engine.layout.arriving
    wait_for(lambda: not arriving.exists() or not list(arriving.iterdir()), "what was half done to be gone")
    assert not list(engine.layout.holds.iterdir())
