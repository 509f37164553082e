"""Links on the default network whose containers are kept apart: whole or not at all, whatever fails or dies."""

import re
import socket
from pathlib import Path

import pytest

from berth.kernel import link, nft
from berth.networks.model import Tenant
from berth.wire.networks import EndpointSettings
from tests.netns.test_networks import Container, World, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import failing, killing

pytestmark = pytest.mark.root


async def made(tmp_path: Path) -> tuple[World, Container, Container]:
    """Return a service, and two containers that want to be linked: the second one to the first, and back."""
    world = World(tmp_path, icc=False)
    await world.service.adopt(set())
    one = await world.container("one", "bridge", exposed_ports=("80/tcp",))
    two = await world.container("two", "bridge", exposed_ports=("80/tcp",), links=("one:uno",))
    await world.service.declare(Tenant(one.id, "one", hostname="one", mode="bridge", exposed_ports=("80/tcp",),
                                       links=("two",)))  # fmt: skip
    await two.close()
    return world, one, two


def linked(world: World) -> list[str]:
    """The elements of the set, as the kernel has them."""
    text = nft.run_once(f"list set inet {world.layout.nft_table} linked")
    return sorted(re.findall(r"[\d.]+ \. [\d.]+ \. tcp \. \d+", text))


def ways(*namespaces: str) -> list[list[str]]:
    """The routes to single addresses in each namespace."""
    found = []
    for namespace in namespaces:
        with link.inside(namespace) as there:
            found.append([one.destination for one in there.routes(socket.AF_INET, 254) if one.prefix == 32])
    return found


@isolated
async def test_each_reaches_what_the_other_exposes_and_nothing_stays(tmp_path: Path) -> None:
    world, one, two = await made(tmp_path)
    assert (linked(world), ways(one.namespace)) == ([], [[]])
    sandbox = await world.service.open(two.id)
    again = Container(world, two.id, "two", sandbox.netns_path or "", sandbox.files)
    assert [(it.alias, it.address) for it in sandbox.links] == [("uno", "172.17.0.2")]
    assert linked(world) == ["172.17.0.2 . 172.17.0.3 . tcp . 80", "172.17.0.3 . 172.17.0.2 . tcp . 80"]
    assert ways(one.namespace, again.namespace) == [["172.17.0.3"], ["172.17.0.2"]]
    assert again.ask("172.17.0.2") == "one 172.17.0.3", "with its own address, not the host's"
    assert one.ask("172.17.0.3") == "two 172.17.0.2"
    again.serve(81)
    assert one.misses("172.17.0.3", 81)
    await again.close()
    assert (linked(world), ways(one.namespace)) == ([], [[]])


@isolated
async def test_a_disconnect_ends_links_and_a_connect_begins_them(tmp_path: Path) -> None:
    world, one, two = await made(tmp_path)
    await world.service.open(two.id)
    before = linked(world), ways(one.namespace)
    assert before[1] == [["172.17.0.3"]]
    await world.service.disconnect("bridge", two.id, force=False)
    assert (linked(world), ways(one.namespace)) == ([], [[]])
    await world.service.connect("bridge", two.id, EndpointSettings())
    assert (linked(world), ways(one.namespace)) == before


@isolated
async def test_a_start_that_fails_at_any_step_leaves_no_way(tmp_path: Path) -> None:
    world, one, two = await made(tmp_path)
    await world.service.settle()
    before = snapshot(), linked(world), ways(one.namespace)
    steps = 0
    async for steps in failing(world.fault, lambda: world.service.open(two.id)):
        await world.service.settle()
        assert (snapshot(), linked(world), ways(one.namespace)) == before, steps
    assert steps == 5, "namespace, link, two routes, rules"
    assert len(linked(world)) == 2


@isolated
async def test_an_engine_killed_in_a_start_leaves_no_way(tmp_path: Path) -> None:
    world, one, two = await made(tmp_path)
    await world.service.settle()
    before = snapshot(), linked(world), ways(one.namespace)

    async def restart() -> World:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id})
        await world.service.settle()
        return world

    steps = 0
    async for steps, _ in killing(world, lambda world: world.service.open(two.id), restart):
        assert (snapshot(), linked(world), ways(one.namespace)) == before, steps
    assert steps >= 5
    assert len(linked(world)) == 2, "the last try was left alone"


@isolated
async def test_the_next_engine_puts_the_rules_of_links_back(tmp_path: Path) -> None:
    world, one, two = await made(tmp_path)
    await world.service.open(two.id)
    before = linked(world)
    world.fresh()
    await world.service.adopt({one.id, two.id})
    assert linked(world) == before
    world.fresh()
    await world.service.adopt({one.id})
    assert linked(world) == []
