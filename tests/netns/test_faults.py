"""Changes of networks and attachments that fail, or whose engine dies, in any step or before any record is written."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from berth.base.errors import Kind, SystemFault
from berth.kernel import link, netlink, netview, nft, shaping
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import NamedEndpoint
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.options import BRIDGE_NAME
from berth.networks.planning import gateway_endpoint
from berth.plan.steps.link import AddressBridge
from berth.wire.networks import IPAM, EndpointSettings, IPAMConfig
from tests.netns.stored import StoredWorld
from tests.netns.test_changes import kernel, update
from tests.netns.test_dhcp import dhcp, served
from tests.netns.test_endpoints import routes_inside
from tests.netns.test_macvlan import at, lan
from tests.netns.test_names import named_world, resolve, unknown
from tests.netns.test_networks import Container, ask, published, refused, ruleset, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import INJECTED, KILLED, ended_in, failing, killing

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
            world.fault, lambda: world.service.connect("red", one.id, EndpointSettings(gw_priority=1))
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
                await world.service.connect(name, one.id, EndpointSettings(gw_priority=1))
            world.dns.deaf = False
            assert await everything(world, one, name) == before
            assert ask("127.0.0.1", 8080).startswith("one ")
            await world.service.connect(name, one.id, EndpointSettings())
            assert resolve(one, f"one.{name}") == [one.address(name)]


@isolated
async def test_a_live_disconnect_that_fails_anywhere_takes_nothing(tmp_path: Path) -> None:
    async with named_world(tmp_path, StoredWorld) as world:
        for name in ("blue", "red"):
            await world.network(name)
        other = await world.container("other", "blue")
        one = await world.container("one", "red", port_bindings=published("8080"))
        await world.service.connect("blue", one.id, EndpointSettings(gw_priority=1))
        before = await everything(world, one, "blue")

        async def leave() -> None:
            await world.service.disconnect("blue", one.id, force=False)

        steps = 0
        last = 8  # says that all is done, which it is: nobody need hear of it
        async for steps in failing(world.fault, leave, unheard=[last]):
            assert await everything(world, one, "blue") == before, steps
            assert await agrees(world, one) == {"blue", "red"}
            assert ask("127.0.0.1", 8080).startswith("one ")
            assert resolve(one, "other") == [other.address("blue")]
        assert steps == last - 1, "a mark; what it wants; what it has; routes, two rules for answers, ports"
        assert await agrees(world, one) == {"red"}
        assert ask("127.0.0.1", 8080).startswith("one ")
        assert unknown(one, "other")
        # and if that last record is the one that cannot be written, it is as gone
        await world.service.connect("blue", one.id, EndpointSettings(gw_priority=1))
        assert await everything(world, one, "blue") != before, "another link"
        assert await agrees(world, one) == {"blue", "red"}
        world.fault.arm(last)
        await leave()
        assert world.fault.fired
        world.fault.arm(0)
        live = world.live.get(one.id)
        assert live is not None
        assert live.changing, "a next start would look"
        assert one.id not in world.service.inspect("blue")["Containers"]
        assert set(world.service.settings(one.id)["Networks"]) == {"red"}
        assert unknown(one, "other")
        await world.service.connect("blue", one.id, EndpointSettings())
        assert await agrees(world, one) == {"blue", "red"}


@isolated
async def test_limits_that_cannot_be_kept_whole_are_those_of_before(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one = await world.container("one", "red")
    await world.service.shape("red", one.id, {"rate-out": "16mbit"})
    before = await everything(world, one, "red")
    steps = 0
    async for steps in failing(world.fault, lambda: world.service.shape("red", one.id, {"rate-in": "8mbit"})):
        assert await everything(world, one, "red") == before, steps
        assert await agrees(world, one) == {"red"}
    assert steps == 4, "a mark; the limit; what it wants; what it has"
    assert await everything(world, one, "red") != before
    assert await agrees(world, one) == {"red"}


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
    hosts = [line.split() for line in Path(one.files["/etc/hosts"]).read_text().splitlines()]
    assert {address for address, *names in hosts if one.name in names} == {end.ipv4 for end in live.endpoints}
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
        await world.service.connect("blue", one.id, EndpointSettings(gw_priority=1))

    async def disconnect(world: StoredWorld) -> None:
        await world.service.disconnect("blue", one.id, force=False)

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
    for number, found in enumerate(seen):
        near = old if number < len(seen) - 10 else new
        assert [one for one, is_to_be in zip(found, near, strict=True) if one != is_to_be] == [], number
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


@isolated
async def test_a_network_has_one_name_everywhere_whenever_the_daemon_is_killed(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    ident = await world.network("red")
    one, stopped = await world.container("one", "red"), await world.container("off", "red")
    by_id = await world.container("by-id", ident[:12])
    await stopped.close()

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover(world.service.is_recorded)
        await world.service.adopt({one.id, by_id.id})
        return world

    def rename(name: str) -> Callable[[StoredWorld], Awaitable[None]]:
        return lambda world: world.service.change.rename(ident, name)

    def name() -> str:
        """The one name there is, wherever one looks."""
        now = world.service.inspect(ident)["Name"]
        for box in (one, stopped, by_id):
            assert list(world.service.settings(box.id)["Networks"]) == [now]
        for box in (one, stopped):
            assert world.service.mode(box.id, "red") == now, "what it was created with"
        assert world.service.mode(by_id.id, ident[:12]) == ident[:12]
        return str(now)

    steps = 0
    async for steps in failing(world.fault, lambda: rename("blue")(world)):
        assert name() == "red", steps
    assert steps == 7, "a note; the network's record; what three want; what two have"
    assert name() == "blue"
    await rename("red")(world)
    seen = []
    async for _, _ in killing(world, rename("blue"), restart):
        seen.append(name())
        if seen[-1] != "red":
            await rename("red")(world)
    await restart()
    assert name() == "blue"
    assert seen == ["red"] + ["blue"] * 12, "the note says it all; then six records, before and after each"


@isolated
async def test_an_address_is_the_one_of_the_lease_on_record_whenever_the_daemon_is_killed(tmp_path: Path) -> None:
    world, neighbour = StoredWorld(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    await world.network("red")
    with served(neighbour, tmp_path):
        one = await world.container("one", "lan", endpoints={"lan": EndpointSettings(), "red": EndpointSettings()})
    first = one.address("lan")

    def move(address: str) -> Callable[[StoredWorld], Awaitable[None]]:
        async def work(world: StoredWorld) -> None:
            live = world.live.get(one.id)
            end = next(end for end in live.endpoints if end.lease) if live else None
            assert live is not None
            assert end is not None
            assert end.lease is not None
            lease = msgspec.structs.replace(end.lease, address=address, obtained_ns=end.lease.obtained_ns + 1)
            await world.service._attachments.leases._write_down(live, end, lease)

        return work

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id})
        return world

    async def state() -> tuple[object, ...]:
        assert await world.service.firewall.differences() == []
        assert one.ask("192.168.77.1") == f"neighbour {one.address('lan')}"
        assert not any(live.changing for live in world.live.all())
        return one.address("lan"), kernel(world, one), routes_inside(one.namespace)

    old = await state()
    seen = []
    async for _, _ in killing(world, move("192.168.77.200"), restart):
        seen.append(await state())
        if seen[-1][0] != first:
            await move(first)(world)
    await restart()
    new = await state()
    assert new[0] == "192.168.77.200"
    assert seen == [old] * 6 + [new], "the mark, twice; address, two rules for answers; the record, before and after"
    # one that fails anywhere stays where it is; a lease that is only longer takes one record
    steps = 0
    async for steps in failing(world.fault, lambda: move(first)(world)):
        assert await state() == new, steps
    assert steps == 5
    assert one.address("lan") == first
    obtained = [end.lease.obtained_ns for end in world.live.all()[0].endpoints if end.lease]
    async for steps, _ in killing(world, move(first), restart):
        assert (await state())[0] == first, steps
    await restart()
    assert [end.lease.obtained_ns for end in world.live.all()[0].endpoints if end.lease] > obtained


POLICY = {"berth.egress": "deny", "berth.egress.allow": "10.0.5.0/24:5432/tcp,203.0.113.2:90,dns:*.example.org:443"}


@isolated
async def test_a_network_with_a_policy_is_there_whole_or_not(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    rules = f"list table inet {world.layout.nft_table}"

    async def make(world: StoredWorld) -> None:
        await world.network("red", subnet="10.1.0.0/24", options=POLICY)

    before = snapshot(), nft.run_once(rules)
    steps = 0
    async for steps in failing(world.fault, lambda: make(world)):
        await world.service.settle()
        assert (snapshot(), nft.run_once(rules)) == before, steps
        assert [one.name for one in world.networks.all()] == ["bridge", "host", "none"]
    assert steps == 3, "bridge, rules, record"
    await world.service.remove("red")

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover()
        await world.service.adopt(set())
        await world.service.settle()
        return world

    seen = []
    await restart()
    before = snapshot(), nft.run_once(rules)
    async for steps, _ in killing(world, make, restart):
        seen.append("red" in [one.name for one in world.networks.all()])
        assert await world.service.firewall.differences() == []
        if seen[-1]:
            assert "10.0.5.0/24" in nft.run_once(rules)
            await world.service.remove("red")
            await restart()
        assert (snapshot(), nft.run_once(rules)) == before, steps
    assert seen == [False] * 3 + [True], "killed after bridge, rules, before the record, after it"


def addresses(name: str) -> set[str]:
    (one,) = link.look_up([name]).values()
    return {each for each in link.addresses_of(one) if not each.startswith("fe80")}


@isolated
async def test_a_bridge_of_somebodys_has_our_address_with_the_network_or_not_at_all(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    link.host().send(netlink.new_bridge("theirs", "02:00:00:00:00:77", 1500))
    link.host().send(netlink.new_address(link.host().index("theirs"), "10.3.0.9", 24))
    owners = {"10.3.0.9/24"}
    ours = {"10.1.0.1/24", "fd01::1/64"}

    async def make(world: StoredWorld) -> None:
        pools = [IPAMConfig(subnet="10.1.0.0/24"), IPAMConfig(subnet="fd01::/64")]
        options = {BRIDGE_NAME: "theirs"}
        await world.network("red", ipam=IPAM(config=pools), enable_ipv6=True, options=options)

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover(world.service.is_recorded)
        await world.service.adopt(set())
        return world

    steps = 0
    async for steps in failing(world.fault, lambda: make(world)):
        assert addresses("theirs") == owners, steps
        assert list(world.layout.journal.iterdir()) == []
    assert steps == 4, "addresses, loopback, rules, record"
    assert addresses("theirs") == owners | ours
    await world.service.remove("red")
    assert addresses("theirs") == owners, "it is its owner's, as it was"

    seen = []
    async for steps, _ in killing(world, make, restart):
        seen.append(world.service._register.named("red") is not None)
        assert addresses("theirs") == owners | (ours if seen[-1] else set()), steps
        assert list(world.layout.journal.iterdir()) == []
        if seen[-1]:
            await world.service.remove("red")
            assert addresses("theirs") == owners
    assert seen == [False] * 4 + [True], "killed after addresses, loopback, rules, before the record, after it"
    # an address that its owner gave it is not taken from it by a network that has it too
    await restart()
    await world.service.remove("red")
    world.kernel.apply(AddressBridge("theirs", tuple(ours)))
    assert await asyncio.to_thread(ended_in, world, 4, make) == KILLED
    await restart()
    assert world.service._register.named("red") is None
    assert addresses("theirs") == owners | ours


@isolated
async def test_a_bridge_of_somebodys_that_is_not_there_after_a_reboot_is_made(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    link.host().send(netlink.new_bridge("theirs", "02:00:00:00:00:77", 1500))
    await world.network("red", subnet="10.1.0.0/24", options={BRIDGE_NAME: "theirs"})
    link.delete("theirs")
    for _ in range(2):
        world.fresh()
        await world.service.adopt(set())
        assert addresses("theirs") == {"10.1.0.1/24"}
    one, two = await world.container("one", "red"), await world.container("two", "red")
    assert one.ask(two.address("red")).startswith("two ")


@isolated
async def test_a_limited_port_of_a_start_that_is_killed_is_nobodys(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    limits = {"80/tcp": ("192.0.2.0/24", "203.0.113.0/24")}

    async def start(world: StoredWorld) -> None:
        await world.container("one", "bridge", port_bindings=published("8080"), publish_from=limits)

    async def restart() -> StoredWorld:
        world.fresh()
        world.runner.recover()
        await world.service.adopt(set())  # what it ran in was killed with it
        await world.service.settle()
        return world

    async def state() -> object:
        return snapshot(), nft.run_once(f"list table inet {world.layout.nft_table}"), await world.namespaces()

    await restart()
    before, steps = await state(), 0
    async for steps, _ in killing(world, start, restart):
        assert await state() == before, steps
        assert await world.service.firewall.differences() == []
        with socket.socket() as free:
            free.bind(("0.0.0.0", 8080))
    assert steps == 7, "the wish, twice; namespace, link, rules; the record, twice"
    assert "192.0.2.0/24" in nft.run_once(f"list table inet {world.layout.nft_table}")


@isolated
async def test_nobody_joins_who_is_removed_meanwhile(tmp_path: Path) -> None:
    world = StoredWorld(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "bridge")
    await world.service.forget(one.id)
    for call in (
        world.service.connect("red", one.id, at("10.1.0.9")),
        world.service.disconnect("red", one.id, force=True),
    ):
        with refused(Kind.SYSTEM, "is marked for removal and cannot be connected or disconnected to the network"):
            await call
    assert world.tenants.all() == [], "nothing that nobody will ever remove"
