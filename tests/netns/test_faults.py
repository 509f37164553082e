"""Changes of networks and attachments that fail, or whose engine dies, in any step or before any record is written."""

from pathlib import Path

import pytest

from berth.base.errors import Kind, SystemFault
from berth.kernel import link, netview, nft, shaping
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import NamedEndpoint
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.planning import gateway_endpoint
from berth.wire.networks import EndpointSettings
from tests.netns.stored import StoredWorld
from tests.netns.test_changes import kernel, update
from tests.netns.test_endpoints import routes_inside
from tests.netns.test_macvlan import at
from tests.netns.test_names import named_world, resolve
from tests.netns.test_networks import Container, ask, published, refused, ruleset, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import INJECTED, failing, killing

pytestmark = pytest.mark.root


async def everything(world: StoredWorld, one: Container, network: str) -> object:
    """What a container has, and all that is on record."""
    await world.service.settle()
    inside = nft.run_once("list ruleset")
    return (
        snapshot(), ruleset(), inside, routes_inside(one.namespace), world.live.all(), world.tenants.all(),
        sorted(world.service.inspect(network)["Containers"]), world.service.inspect(network)["Status"],
        [Path(path).read_text() for path in one.files.values()],
    )  # fmt: skip


class DeafDns(DnsClient):
    """A name server that takes no names."""

    deaf = False

    async def endpoint_up(self, endpoint: NamedEndpoint) -> None:
        if self.deaf:
            raise SystemFault(INJECTED)
        await super().endpoint_up(endpoint)


@isolated
async def test_a_live_connect_that_fails_anywhere_leaves_nothing(tmp_path: Path) -> None:
    async with named_world(tmp_path, StoredWorld) as world:
        await world.network("red", subnet="10.1.0.0/24")
        other = await world.container("other", "red")
        one = await world.container("one", "bridge", port_bindings=published("8080"))
        before = await everything(world, one, "red")
        steps = 0
        async for steps in failing(
            world.fault, lambda: world.service.connect("red", one.id, EndpointSettings(gw_priority=1), running=True)
        ):
            assert await everything(world, one, "red") == before, steps
            assert ask("127.0.0.1", 8080).startswith("one ")
        assert steps == 9, "a mark; link, route, two rules for answers, ports; what it has; what it wants; no mark"
        assert await everything(world, one, "red") != before
        assert resolve(one, "other") == [other.address("red")]


@isolated
async def test_a_live_connect_whose_names_cannot_be_told_leaves_nothing(tmp_path: Path) -> None:
    async with named_world(tmp_path, StoredWorld, DeafDns) as world:
        assert isinstance(world.dns, DeafDns)
        for name in ("red", "blue"):
            await world.network(name)
        one = await world.container("one", "bridge", port_bindings=published("8080"))
        for name in ("red", "blue"):  # the first comes with a name server
            before = await everything(world, one, name)
            world.dns.deaf = True
            with refused(Kind.SYSTEM, INJECTED):
                await world.service.connect(name, one.id, EndpointSettings(gw_priority=1), running=True)
            world.dns.deaf = False
            assert await everything(world, one, name) == before
            assert ask("127.0.0.1", 8080).startswith("one ")
            await world.service.connect(name, one.id, EndpointSettings(), running=True)
            assert resolve(one, f"one.{name}") == [one.address(name)]


async def agrees(world: StoredWorld, one: Container) -> set[str]:
    """See that a running container has in the kernel what is on record, and wants that; return its networks."""
    await world.service.settle()
    live, tenant = world.live.get(one.id), world.tenants.get(one.id)
    assert live is not None
    assert tenant is not None
    assert not live.changing
    assert await world.service.firewall.differences() == []
    inside = {each.name: each for each in netview.look(one.namespace).links if each.name != "lo"}
    assert {end.link: end.mac for end in live.endpoints} == {each.name: each.mac for each in inside.values()}
    for end in live.endpoints:
        given = [each for each in inside[end.link].addresses if not each.startswith("fe80")]
        assert given == [f"{end.ipv4}/{end.prefix4}"]
        assert shaping.rate_of(link.host(), end.host_link) == end.shape.rate_in
        assert world.service._register.attached(end.network_id)[one.id] == end
    assert {each.name for each in link.links() if each.name.startswith(world.layout.veth_prefix)} == {
        end.host_link for each in world.live.all() for end in each.endpoints
    }
    gateway = gateway_endpoint(live.endpoints, 4)
    assert one.route == (gateway.gateway4 if gateway else "")
    names = {end.network_name for end in live.endpoints}
    assert set(tenant.endpoints) == names
    assert set(world.service.settings(one.id)["Networks"]) == names
    for name in names:
        assert one.id in world.service.inspect(name)["Containers"]
        end = next(end for end in live.endpoints if end.network_name == name)
        assert parse_endpoint(tenant.endpoints[name].driver_opts).shape == end.shape
    return names


@isolated
async def test_attachments_are_what_is_on_record_whenever_the_daemon_is_killed(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    one = await world.container("one", "red", port_bindings=published("8080"))

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id})
        return world

    async def connect(world: StoredWorld) -> None:
        await world.service.connect("blue", one.id, EndpointSettings(gw_priority=1), running=True)

    async def disconnect(world: StoredWorld) -> None:
        await world.service.disconnect("blue", one.id, force=False, running=True)

    async def slow(world: StoredWorld) -> None:
        await world.service.shape("blue", one.id, {"rate-in": "8mbit"})

    both, alone = {"red", "blue"}, {"red"}
    for change, back, before, after in ((connect, disconnect, alone, both), (slow, None, both, both),
                                        (disconnect, connect, both, alone)):  # fmt: skip
        seen = []
        async for steps, _ in killing(world, change, restart):
            seen.append(await agrees(world, one))
            assert seen[-1] in (before, after), steps
            assert ask("127.0.0.1", 8080).startswith("one ")
            if seen[-1] != before and back is not None:
                await back(world)
        await restart()
        assert await agrees(world, one) == after
        assert before in seen
        assert after in seen


#: What a network is, in turns: nothing of it is left to chance.
SHAPES = (
    {"subnet": "10.2.0.0/24", "mtu": 1400, "icc": False, "internal": True},
    {"subnet": "10.1.0.0/24", "mtu": 0, "icc": True, "internal": False},
)


@isolated
async def test_a_network_is_changed_whole_or_not_whenever_the_daemon_is_killed(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "red", endpoints={"red": at("10.1.0.77")})
    stopped = await world.container("off", "red", endpoints={"red": at("10.1.0.66")})
    await stopped.close()
    for shape in (*SHAPES, *SHAPES):  # and back: what a network is called by is then as it will be
        await update("red", **shape)(world)
    await update("red", **SHAPES[1])(world)

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id, two.id})
        return world

    async def state() -> object:
        await world.service.settle()
        assert await world.service.firewall.differences() == [], "the rules are what the records say"
        assert list(world.layout.changes.glob("*")) == []
        boxes = (one, two, stopped)
        return (
            kernel(world, one, two), world.networks.all(), world.tenants.all(), world.live.all(),
            [Path(box.files["/etc/hosts"]).read_text() for box in boxes], world.service.inspect("red"),
            [world.service.settings(box.id) for box in boxes], ask("127.0.0.1", 8080),
        )  # fmt: skip

    old = await state()
    seen = []
    async for _, _ in killing(world, update("red", **SHAPES[0]), restart):
        seen.append(await state())
        if seen[-1] != old:
            await update("red", **SHAPES[1])(world)
    await restart()
    new = await state()
    assert two.address("red") == "10.2.0.77"
    assert [found for found in seen if found not in (old, new)] == []
    assert seen.index(new) > 10, "steps of the plan, the last of which is the note"
    assert seen[seen.index(new) :] == [new] * (len(seen) - seen.index(new)), "from the note on it is done"
    assert len(seen) - seen.index(new) == 10, "five records, before and after each"


@isolated
async def test_a_change_of_which_a_record_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "red", port_bindings=published("8080"), endpoints={"red": at("10.1.0.7")})
    before = kernel(world, one), world.networks.all(), world.tenants.all(), world.live.all()
    steps = 0
    async for steps in failing(world.fault, lambda: update("red", **SHAPES[0])(world)):
        assert (kernel(world, one), world.networks.all(), world.tenants.all(), world.live.all()) == before, steps
        assert list(world.layout.changes.glob("*")) == []
        assert ask("127.0.0.1", 8080).startswith("one ")
    assert steps > 10
    assert one.address("red") == "10.2.0.7"
