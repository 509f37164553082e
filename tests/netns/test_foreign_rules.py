"""Living beside Docker's rules: a forward chain that drops must not stop us, and nothing of it is changed."""

import socket
import subprocess
from pathlib import Path

import pytest

from berth.kernel import netns, nft
from tests.netns.test_networks import World, misses, neighbour, published, serve
from tests.netns.test_networks import ask as fetch
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root


def iptables(*words: str) -> str:
    return subprocess.run(["iptables-nft", *words], check=True, capture_output=True, text=True).stdout


def docker_was_here() -> None:
    """Set up what dockerd does."""
    for chain in ("DOCKER-USER", "DOCKER"):
        iptables("-N", chain)
    iptables("-A", "FORWARD", "-j", "DOCKER-USER")
    iptables("-A", "FORWARD", "-o", "docker0", "-j", "DROP")
    iptables("-A", "DOCKER-USER", "-j", "RETURN")
    iptables("-P", "FORWARD", "DROP")


@isolated
async def test_dockers_policy_does_not_stop_us(tmp_path: Path) -> None:
    docker_was_here()
    theirs = iptables("-S")
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "bridge")
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    assert fetch("203.0.113.1", 8080, remote).startswith("one ")
    assert misses(one.address("red"), 80, remote)
    assert two.misses(one.address("red"))
    await world.network("inner", internal=True)
    three, four = await world.container("three", "inner"), await world.container("four", "inner")
    assert three.ask(four.address("inner")).startswith("four ")
    assert three.misses("203.0.113.2", 90)
    # iptables can still read its own table, and finds its own rules unchanged
    now = iptables("-S")
    assert [line for line in now.splitlines() if "accepted by its own table" not in line] == theirs.splitlines()
    before = nft.run_once("list chain ip filter DOCKER-USER")
    await world.fresh().adopt({one.id, two.id, three.id, four.id})
    assert nft.run_once("list chain ip filter DOCKER-USER") == before, "looking again changes nothing"
    for each in (one, two, three, four):
        await each.close()
    await world.service.remove("red")
    await world.service.remove("inner")
    await world.service.settle()
    world.service.dissolve()
    assert iptables("-S") == theirs


@isolated
async def test_docker_may_come_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "red")
    docker_was_here()
    assert one.misses("203.0.113.2", 90)
    world.service.firewall.settle()
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
