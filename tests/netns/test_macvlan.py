"""Macvlan networks in a real kernel: hosts of their own on the network of a link of ours, shown by packets."""

import contextlib
import socket
from pathlib import Path

import pytest

from berth.base.errors import EngineError, Kind
from berth.kernel import link, netlink, netns
from berth.wire.networks import (
    IPAM,
    EndpointIPAMConfig,
    EndpointSettings,
    IPAMConfig,
    NetworkCreate,
)
from tests.netns.test_networks import World, ask, misses, refused, serve, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import failing, killing

pytestmark = pytest.mark.root

LAN = "192.168.77.0/24"
#: The part of it that containers get.
RANGE = "192.168.77.64/26"


def lan(place: Path, *, own: str = "192.168.77.10", mode: str = "bridge") -> str:
    """A network with another host on it, 192.168.77.1, which is a namespace; our link into it is `wire`."""
    path = str(place / "neighbour")
    netns.create(path)
    route = link.host()
    # ends of a pair that have one number: the kernel then takes up to a second to see that they are up
    route.send(netlink.new_bridge("spare", "02:00:00:00:00:02", 1500))
    with netns.opened(path) as fd:
        route.send(netlink.new_veth("wire", peer="far", peer_mac="02:00:00:00:00:01", namespace_fd=fd, mtu=1500))
    addresses = link.address_messages(route.index("wire"), [f"{own}/24"] if own else [])
    route.send(*addresses, netlink.set_up("wire"))
    with link.inside(path) as there:
        there.send(*link.address_messages(there.index("far"), ["192.168.77.1/24"]), netlink.set_up("far"))
        link.until_passes((route, "wire"), (there, "far"))
    serve(lambda: netns.inside(path, socket.socket), "neighbour", 80)
    return path


def macvlan(
    name: str = "lan", *, subnet: str = LAN, ip_range: str = "", aux: dict[str, str] | None = None, **options: str
) -> NetworkCreate:
    internal = options.pop("internal", "") == "true"
    config = IPAMConfig(subnet=subnet, ip_range=ip_range, gateway=options.pop("gateway", ""), auxiliary=aux)
    return NetworkCreate(name=name, driver="macvlan", internal=internal, options=options, ipam=IPAM(config=[config]))


def at(address: str, **more: object) -> EndpointSettings:
    return EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=address), **more)  # type: ignore[arg-type]


@isolated
async def test_containers_are_hosts_of_the_network_their_parent_is_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    neighbour = lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(macvlan(parent="wire", ip_range=RANGE, gateway="192.168.77.1"))
    one = await world.container("one", "lan")
    two = await world.container("two", "lan", endpoints={"lan": at("192.168.77.90", mac_address="02:42:00:00:00:90")})
    assert (one.address("lan"), two.address("lan")) == ("192.168.77.64", "192.168.77.90")
    assert one.ask("192.168.77.90") == "two 192.168.77.64"
    assert one.ask("192.168.77.1") == "neighbour 192.168.77.64"
    assert ask("192.168.77.90", namespace=neighbour) == "two 192.168.77.1"
    assert one.route == "192.168.77.1"
    # the kernel keeps the parent's own stack apart: that is what host_access is for
    serve(socket.socket, "host", 80)
    assert one.misses("192.168.77.10")
    assert misses(one.address("lan"))
    with link.inside(two.namespace) as there:
        assert there.link("eth0").mac == "02:42:00:00:00:90"
    shown = world.service.inspect("lan")
    assert shown["Driver"] == "macvlan"
    assert shown["Containers"][two.id]["MacAddress"] == "02:42:00:00:00:90"
    # closing takes the link at once: the same address can be given away
    await one.close()
    three = await world.container("three", "lan", endpoints={"lan": at("192.168.77.64")})
    assert three.ask("192.168.77.1") == "neighbour 192.168.77.64"


@isolated
async def test_connect_and_disconnect_while_running(tmp_path: Path) -> None:
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(macvlan(parent="wire", gateway="192.168.77.1"))
    one = await world.container("one", "bridge")
    first_way = one.route
    await world.service.connect("lan", one.id, at("192.168.77.50", gw_priority=1))
    assert one.ask("192.168.77.1") == "neighbour 192.168.77.50"
    assert one.route == "192.168.77.1"
    await world.service.disconnect("lan", one.id, force=False)
    assert one.route == first_way
    assert one.ask("192.168.77.1") != "neighbour 192.168.77.50"
    with link.inside(one.namespace) as there:
        assert [each.name for each in there.links()] == ["lo", "eth0"]


@isolated
async def test_without_a_parent_containers_reach_each_other_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    ident, _ = await world.service.create(macvlan("alone", subnet="10.9.0.0/24"))
    assert f"dm-{ident[:12]}" in snapshot()[0]
    one, two = await world.container("one", "alone"), await world.container("two", "alone")
    assert one.ask(two.address("alone")) == f"two {one.address('alone')}"
    assert one.route == ""
    assert misses(one.address("alone"))
    await one.close()
    await two.close()
    await world.service.remove("alone")
    await world.service.settle()
    assert snapshot() == before


@isolated
async def test_modes(tmp_path: Path) -> None:
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    for mode in ("private", "vepa"):
        await world.service.create(macvlan(mode, parent="wire", macvlan_mode=mode))
        one, two = await world.container("one", mode), await world.container("two", mode)
        assert one.ask("192.168.77.1").startswith("neighbour "), mode  # the network assigns .1 to nobody: its gateway
        assert one.misses(two.address(mode)), mode  # no switch here sends anything back
        await one.close()
        await two.close()
        await world.service.remove(mode)
    # two networks may share a parent, but not with one in passthru
    await world.service.create(macvlan("first", parent="wire"))
    await world.service.create(macvlan("second", subnet="10.9.1.0/24", parent="wire"))
    with refused(Kind.SYSTEM, "cannot use mode passthru, macvlan network"):
        await world.service.create(macvlan("through", subnet="10.9.2.0/24", parent="wire", macvlan_mode="passthru"))
    await world.service.remove("first")
    await world.service.remove("second")
    await world.service.create(macvlan("through", parent="wire", macvlan_mode="passthru"))
    with refused(Kind.SYSTEM, "is already using parent interface wire in mode passthru"):
        await world.service.create(macvlan("other", subnet="10.9.2.0/24", parent="wire"))
    one = await world.container("one", "through")
    assert one.ask("192.168.77.1").startswith("neighbour ")
    with refused(Kind.SYSTEM, "passthru means that there is no other"):
        await world.container("two", "through")
    await one.close()
    two = await world.container("two", "through")
    assert two.ask("192.168.77.1").startswith("neighbour ")
    with refused(Kind.SYSTEM, "do not support custom mac address"):
        settings = {"through": EndpointSettings(mac_address="02:42:00:00:00:07")}
        await world.container("three", "through", endpoints=settings)


@isolated
async def test_what_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    for parent, words in (
        ("lo", "loopback interface is not a valid macvlan parent link"),
        ("nosuch", "invalid subinterface vlan name nosuch, example formatting is eth0.10"),
        ("nosuch.10", "-o parent interface was not found on the host: nosuch"),
        ("wire.x", "unable to parse a valid vlan id from: x"),
        ("wire.5000", "vlan id must be between 1-4094, received: 5000"),
        ("wire.1.2", "required interface name format is: name.vlan_id"),
    ):
        with refused(Kind.SYSTEM, words):
            await world.service.create(macvlan(parent=parent))
    with refused(Kind.SYSTEM, "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default"):
        await world.service.create(macvlan(parent="wire", macvlan_mode="odd"))
    with refused(Kind.INVALID, "host_access needs macvlan_mode=bridge"):
        await world.service.create(macvlan(parent="wire", macvlan_mode="vepa", host_access="true"))
    with refused(Kind.INVALID, "host_access needs an ip-range: wire has 192.168.77.10/24"):
        await world.service.create(macvlan(parent="wire", host_access="true"))
    said = ""
    try:
        await world.service.create(macvlan(parent="wire.10"))
    except EngineError as exc:
        said = str(exc)
    else:
        assert "wire.10" in snapshot()[0]
        await world.service.remove("lan")
    assert not said or "has no vlan links: its module 8021q is not there" in said
    assert snapshot() == before
    assert [one.name for one in world.networks.all() if not one.is_predefined] == []


@isolated
async def test_several_subnets_of_a_family(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    first, second = IPAMConfig(subnet="10.9.0.0/30"), IPAMConfig(subnet="10.9.1.0/24")
    await world.service.create(NetworkCreate(name="two", driver="macvlan", ipam=IPAM(config=[first, second])))
    many = [await world.container(f"c{n}", "two") for n in range(3)]
    assert [one.address("two") for one in many] == ["10.9.0.1", "10.9.0.2", "10.9.1.1"]
    four = await world.container("four", "two", endpoints={"two": at("10.9.1.9")})
    assert many[2].ask(four.address("two")) == "four 10.9.1.1"


@isolated
async def test_host_access(tmp_path: Path) -> None:
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    serve(socket.socket, "host", 80)
    ident, _ = await world.service.create(
        macvlan(parent="wire", ip_range=RANGE, gateway="192.168.77.1", host_access="true")
    )
    assert world.service.get("lan").pools[0].auxiliary == (("host", "192.168.77.127"),)
    one = await world.container("one", "lan")
    assert ask(one.address("lan")) == "one 192.168.77.127"
    assert one.ask("192.168.77.127") == "host 192.168.77.64"
    assert one.ask("192.168.77.10") == "host 192.168.77.64", "the host by its own address too"
    assert one.ask("192.168.77.1") == "neighbour 192.168.77.64"
    assert ask("192.168.77.1") == "neighbour 192.168.77.10", "the host reaches its neighbours as before"
    with refused(Kind.FORBIDDEN, "is held by the network itself"):
        await world.container("two", "lan", endpoints={"lan": at("192.168.77.127")})
    # the daemon starts again: all as it was; and after somebody took the shim away, too
    with link.inside(one.namespace) as there:
        number = there.index("eth0")
    link.delete(f"shim-{ident[:10]}")
    assert misses(one.address("lan"))
    await world.fresh().adopt({one.id})
    assert ask(one.address("lan")) == "one 192.168.77.127"
    with link.inside(one.namespace) as there:
        assert there.index("eth0") == number, "the container's link was left alone"
    await one.close()
    await world.service.remove("lan")
    await world.service.settle()
    assert snapshot() == before
    # an address given by name, in a subnet the host is not in
    await world.service.create(
        macvlan("named", subnet="10.9.0.0/24", parent="wire", host_access="true", aux={"host": "10.9.0.5"})
    )
    two = await world.container("two", "named")
    assert ask(two.address("named")) == "two 10.9.0.5"


async def _create_everything(world: World) -> None:
    await world.service.create(macvlan("all", subnet="10.9.0.0/24", host_access="true"))
    await world.container("one", "all")


@isolated
async def test_failing_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.service.settle()
    before = snapshot(), await world.namespaces()
    steps = 0
    async for steps in failing(world.fault, lambda: _create_everything(world)):
        with contextlib.suppress(EngineError):  # made before the step that failed
            await world.service.remove("all")
        await world.service.settle()
        assert (snapshot(), await world.namespaces()) == before, steps
        assert not world.live.all()
    assert steps == 5, "kind, parent, shim; namespace, link"
    seen = set(snapshot()[0]) - set(before[0][0])
    assert {name.partition("-")[0] for name in seen} == {"dm", "shim"}


@isolated
async def test_killed_in_any_step_leaves_nothing_to_the_next_start(tmp_path: Path) -> None:
    async def start() -> World:
        world = World(tmp_path)
        world.runner.recover()
        await world.service.adopt(set())
        return world

    world = await start()
    before = snapshot()
    steps = 0
    async for steps, later in killing(world, _create_everything, start):
        # its records are in memory: what has been made belongs to nothing now
        assert snapshot() == before, steps
        assert await later.namespaces() == []
    assert steps == 5
    assert snapshot() != before


@isolated
async def test_a_parent_that_is_gone_at_start_spoils_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(macvlan(parent="wire", subnet="10.9.0.0/24", host_access="true"))
    link.delete("wire")
    await world.fresh().adopt(set())
    with refused(Kind.SYSTEM, "the requested parent interface wire was not found on the Docker host"):
        await world.container("one", "lan")
    assert await world.container("two", "bridge")
    await world.service.remove("lan")
