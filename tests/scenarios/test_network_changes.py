"""Networks changed under running containers, by the command line of a real engine."""

import json
from collections.abc import Iterator

import pytest

from tests.support.engines import Berth, wait_for

pytestmark = pytest.mark.root

SERVE = "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"


@pytest.fixture
def pair(berth_engine: Berth) -> Iterator[Berth]:
    """A server and a client on a network of theirs."""
    berth_engine.berth("network", "create", "ch-red")
    try:
        run = ("run", "-d", "--network", "ch-red", "--name")
        berth_engine.berth(*run, "ch-web", "-p", "8097:80", "busybox", "sh", "-c", SERVE)
        berth_engine.berth(*run, "ch-client", "busybox", "sleep", "9999")
        wait_for(lambda: fetches(berth_engine, "ch-web"), "the server")
        yield berth_engine
    finally:
        berth_engine.berth("rm", "-f", "ch-web", "ch-client", check=False)
        names = berth_engine.berth("network", "ls", "-q", "-f", "name=ch-").out.split()
        berth_engine.berth("network", "rm", *names)


def fetches(engine: Berth, name: str) -> bool:
    """Whether the client finds the server by a name and gets its page. A static busybox has names in nslookup only."""
    ask = f"wget -qO- http://$(nslookup -type=a {name} | sed -n 's/^Address: //p')/"
    return engine.berth("exec", "ch-client", "sh", "-c", ask, check=False).out == "hello\n"


def inspected(engine: Berth, name: str) -> dict[str, object]:
    return json.loads(engine.docker("inspect", name).out)[0]


def test_rename(pair: Berth) -> None:
    pair.berth("network", "rename", "ch-red", "ch-crimson")
    assert fetches(pair, "ch-web.ch-crimson")
    web = inspected(pair, "ch-web")
    assert web["HostConfig"]["NetworkMode"] == "ch-crimson"  # type: ignore[index]
    assert list(web["NetworkSettings"]["Networks"]) == ["ch-crimson"]  # type: ignore[index]
    pair.berth("restart", "-t", "0", "ch-web")
    wait_for(lambda: fetches(pair, "ch-web.ch-crimson"), "the server after its restart")
    taken = pair.berth("network", "rename", "ch-crimson", "bridge", check=False)
    assert taken.err == "Error response from daemon: operation is not permitted on predefined bridge network\n"


def test_another_subnet(pair: Berth) -> None:
    assert pair.berth("network", "update", "--subnet", "10.97.0.0/24", "ch-red").out == "ch-red\n"
    assert fetches(pair, "ch-web")
    shown = pair.docker("exec", "ch-web", "ip", "-o", "addr", "show", "eth0").out
    assert "inet 10.97.0." in shown
    assert pair.host("curl", "-s", "-m", "3", "http://127.0.0.1:8097/").out == "hello\n"
    config = json.loads(pair.docker("network", "inspect", "ch-red").out)[0]["IPAM"]["Config"]
    assert config == [{"Subnet": "10.97.0.0/24", "Gateway": "10.97.0.1"}]
    # who restarts the daemon, or the container, finds it so
    pair.berth("restart", "-t", "0", "ch-web")
    wait_for(lambda: fetches(pair, "ch-web"), "the server after its restart")


def test_a_trace_names_the_command_and_the_command_mends(pair: Berth) -> None:
    pair.berth("network", "update", "--icc=false", "ch-red")
    done = pair.berth("network", "trace", "ch-client", "ch-web:80", check=False)
    assert done.code == 1
    command = done.out.splitlines()[-1].split()
    assert command == ["berth", "network", "update", "ch-red", "--icc=true"]
    pair.berth(*command[1:])
    assert pair.berth("network", "trace", "ch-client", "ch-web:80").code == 0
    assert fetches(pair, "ch-web")


def test_nothing_to_change_is_a_mistake(pair: Berth) -> None:
    done = pair.berth("network", "update", "ch-red", check=False)
    assert done.code == 1
    assert "must provide one or more flags" in done.err
