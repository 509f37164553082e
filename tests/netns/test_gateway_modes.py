"""Gateway modes of bridge networks, by packets: from the host, from another machine, from another network; v4 and v6.

The modes came with Docker 27 and 28: what must happen is taken from its documentation, the reference here being older.
"""

import asyncio
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from berth.base.errors import Kind
from berth.kernel import link, netlink, netns, sysctl
from berth.networks.ports.proxy_client import ProxyClient, command
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import IPAM, EndpointSettings, IPAMConfig, NetworkCreate, PortBinding
from tests.netns.test_networks import DROPPED_S, Container, World, ask, misses, neighbour, published, refused, serve
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root

MODE = "com.docker.network.bridge.gateway_mode_ipv{}"
Q = "com.docker.network."
#: The machine outside, and this one, in both families.
OUTSIDE = {4: "203.0.113.2", 6: "2001:db8::2"}
HERE = {4: "203.0.113.1", 6: "2001:db8::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def outside(place: Path) -> str:
    """A machine that routes everything through ours, in both families, with a server on port 90."""
    remote = neighbour(place)
    route = link.host()
    route.send(netlink.new_address(route.index("cable0"), HERE[6], 64))
    netns.inside(remote, sysctl.write, "net/ipv6/conf/cable1/disable_ipv6", "0")
    with link.inside(remote) as there:
        index = there.index("cable1")
        there.send(netlink.new_address(index, OUTSIDE[6], 64), netlink.default_route(HERE[6], index))
    for family in FAMILY.values():
        serve(lambda family=family: netns.inside(remote, socket.socket, family), "remote", 90)
    return remote


def six(each: Container) -> Container:
    """Serve on IPv6 too, and on a port that is not published."""
    for family in FAMILY.values():
        make = lambda family=family: netns.inside(each.namespace, socket.socket, family)  # noqa: E731
        if family == socket.AF_INET6:
            serve(make, each.name, 80)
        serve(make, each.name, 81)
    return each


def own(each: Container, network: str, version: int) -> str:
    key = "IPAddress" if version == 4 else "GlobalIPv6Address"
    return str(each.world.service.settings(each.id)["Networks"][network][key])


async def both(world: World, name: str, mode: str, **more: Any) -> None:
    options = {MODE.format(4): mode, MODE.format(6): mode, **more.pop("options", {})}
    await world.network(name, enable_ipv6=True, options=options, **more)


@isolated
async def test_nat_answers_at_host_ports_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await both(world, "red", "nat")
    await both(world, "blue", "nat")
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    far = six(await world.container("far", "blue"))
    for version in (4, 6):
        address = own(one, "red", version)
        assert ask(address).startswith("one "), "the host reaches its containers"
        assert ask(address, 81).startswith("one ")
        assert ask(HERE[version], 8080, remote) == f"one {OUTSIDE[version]}", "by rules, so that who asks is seen"
        assert ask(HERE[version], 8080).startswith("one ")
        assert far.ask(HERE[version], 8080).startswith("one ")
        assert one.ask(HERE[version], 8080).startswith("one "), "itself"
        for port in (80, 81):
            assert misses(address, port, remote)
            assert far.misses(address, port)
        assert not pings(address, remote)
        assert one.ask(OUTSIDE[version], 90) == f"remote {HERE[version]}", "what leaves has the host's address"


@isolated
async def test_nat_unprotected_lets_others_in_from_outside_but_no_other_network(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await both(world, "red", "nat-unprotected")
    await both(world, "blue", "nat")
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    far = await world.container("far", "blue")
    for version in (4, 6):
        address = own(one, "red", version)
        assert ask(address, 81, remote) == f"one {OUTSIDE[version]}"
        assert ask(HERE[version], 8080, remote) == f"one {OUTSIDE[version]}"
        assert far.misses(address, 81)
        assert far.ask(HERE[version], 8080).startswith("one ")
        assert one.ask(OUTSIDE[version], 90) == f"remote {HERE[version]}"


@isolated
async def test_routed_uses_containers_own_addresses_for_published_ports(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await both(world, "red", "routed")
    await both(world, "blue", "nat")
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    far = await world.container("far", "blue")
    for version in (4, 6):
        address = own(one, "red", version)
        assert ask(address, 80, remote) == f"one {OUTSIDE[version]}"
        assert misses(address, 81, remote)
        assert far.ask(address, 80).startswith("one "), "other networks come the same way"
        assert far.misses(address, 81)
        assert ask(HERE[version], 8080, remote) == "ECONNREFUSED", "no port of the host is taken"
        assert one.ask(OUTSIDE[version], 90) == f"remote {address}", "what leaves keeps its address"
        assert pings(address, remote)
    assert world.service.settings(one.id)["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}, {"HostIp": "::", "HostPort": ""}]
    }
    assert world.service.ports(one.id) == [{"PrivatePort": 80, "Type": "tcp"}]
    with socket.socket() as free:
        free.bind(("0.0.0.0", 8080))
    address = own(one, "red", 4)
    await world.fresh().adopt({one.id})
    assert ask(address, 80, remote) == f"one {OUTSIDE[4]}", "after a restart of the daemon too"
    await one.close()
    assert misses(address, 80, remote)


def pings(address: str, namespace: str) -> bool:
    """Whether an echo request from there is answered."""
    is_six = ":" in address
    number = socket.IPPROTO_ICMPV6 if is_six else socket.IPPROTO_ICMP
    asker = netns.inside(namespace, socket.socket, FAMILY[6 if is_six else 4], socket.SOCK_RAW, number)
    body = struct.pack("!BBHHH", 128 if is_six else 8, 0, 0, 7, 1)
    body = body if is_six else body[:2] + struct.pack("!H", 0xFFFF - (0x0800 + 7 + 1)) + body[4:]
    with asker:
        asker.settimeout(DROPPED_S)
        asker.sendto(body, (address, 0))
        try:
            while True:
                data, source = asker.recvfrom(99)
                if source[0] == address and data[0 if is_six else 20] == (129 if is_six else 0):
                    return True
        except TimeoutError:
            return False


@isolated
async def test_each_family_has_its_own_mode(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await world.network("red", enable_ipv6=True, options={MODE.format(6): "routed"})
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    assert world.service.settings(one.id)["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": ""}]
    }
    assert ask(HERE[4], 8080, remote) == f"one {OUTSIDE[4]}"
    assert misses(own(one, "red", 4), 80, remote)
    assert ask(own(one, "red", 6), 80, remote) == f"one {OUTSIDE[6]}"
    assert misses(own(one, "red", 6), 81, remote)
    assert ask(HERE[6], 8080, remote) == "ECONNREFUSED"


@isolated
async def test_isolated_has_no_address_of_the_host_and_no_way_in_or_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    with refused(Kind.SYSTEM, "gateway mode 'isolated' can only be used for an internal network"):
        await both(world, "red", "isolated")
    await both(world, "red", "isolated", internal=True)
    await world.network("inner", internal=True)
    one, two = six(await world.container("one", "red")), six(await world.container("two", "red"))
    inner = await world.container("inner", "inner")
    bridge = world.service.get("red").bridge
    index = link.host().index(bridge)
    assert not [each for each in link.host().addresses() if each.link == index]
    assert "Gateway" not in world.service.inspect("red")["IPAM"]["Config"][0]
    assert own(one, "red", 4).endswith(".1"), "no address is set aside for the bridge"
    for version in (4, 6):
        assert one.ask(own(two, "red", version)).startswith("two ")
        assert misses(own(one, "red", version), 80, remote)
        assert ask(own(one, "red", version), 80, limit=0.3) in ("silence", "EHOSTUNREACH", "ENETUNREACH")
        assert one.ask(OUTSIDE[version], 90) == "ENETUNREACH"
    serve(socket.socket, "host", 70)
    assert inner.ask(world.service.get("inner").pools[0].gateway, 70).startswith("host "), "internal ones meet the host"


@isolated
async def test_trusted_links_reach_published_ports_directly(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await both(world, "red", "nat", options={Q + "bridge.trusted_host_interfaces": "eth9:cable0"})
    await both(world, "blue", "nat", options={Q + "bridge.trusted_host_interfaces": "eth9"})
    loop = published("8080", "127.0.0.1")["80/tcp"] + [PortBinding("::1", "8080")]
    one = six(await world.container("one", "red", port_bindings={"80/tcp": loop}))
    two = six(await world.container("two", "blue", port_bindings=published("8081")))
    for version in (4, 6):
        assert ask(own(one, "red", version), 80, remote) == f"one {OUTSIDE[version]}"
        assert misses(own(one, "red", version), 81, remote)
        assert misses(own(two, "blue", version), 80, remote)
        assert two.misses(own(one, "red", version), 80)


@isolated
async def test_direct_routing_may_be_allowed_for_every_network(tmp_path: Path) -> None:
    world = World(tmp_path, allow_direct_routing=True)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    await world.network("red", enable_ipv6=True)
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    for version in (4, 6):
        assert ask(own(one, "red", version), 80, remote) == f"one {OUTSIDE[version]}"
        assert misses(own(one, "red", version), 81, remote)
    await world.network("blue", enable_ipv6=True, internal=True)
    two = six(await world.container("two", "blue", port_bindings=published("8081")))
    assert misses(own(two, "blue", 4), 80, remote)
    await world.service.change.update("blue", NetworkUpdate(internal=False))
    for version in (4, 6):
        assert ask(own(two, "blue", version), 80, remote) == f"two {OUTSIDE[version]}", "the engine's setting holds"


@isolated
async def test_a_fixed_source_address_for_what_leaves(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    outside(tmp_path)
    route = link.host()
    index = route.index("cable0")
    route.send(netlink.new_address(index, "203.0.113.77", 24), netlink.new_address(index, "2001:db8::77", 64))
    options = {Q + "host_ipv4": "203.0.113.77", Q + "host_ipv6": "2001:db8::77"}
    await world.network("red", enable_ipv6=True, options=options)
    one = await world.container("one", "red")
    assert one.ask(OUTSIDE[4], 90) == "remote 203.0.113.77"
    assert one.ask(OUTSIDE[6], 90) == "remote 2001:db8::77"


@isolated
async def test_a_network_with_ipv6_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = outside(tmp_path)
    with refused(Kind.INVALID, "IPv4 or IPv6 must be enabled"):
        await world.network("none4", enable_ipv4=False)
    await world.network("red", enable_ipv4=False, enable_ipv6=True)
    await world.network("old")
    seen = world.service.inspect("red")
    assert (seen["EnableIPv4"], seen["EnableIPv6"], len(seen["IPAM"]["Config"])) == (False, True, 1)
    one = six(await world.container("one", "red", port_bindings=published("8080")))
    two = six(await world.container("two", "red"))
    address = own(one, "red", 6)
    assert address.startswith("fd")
    assert own(one, "red", 4) == ""
    assert two.ask(address) == f"one {own(two, 'red', 6)}"
    assert ask(address).startswith("one ")
    assert ask(HERE[6], 8080, remote) == f"one {OUTSIDE[6]}"
    assert ask(HERE[4], 8080, remote) == "ECONNREFUSED", "there is nobody to answer IPv4"
    assert one.ask(OUTSIDE[6], 90) == f"remote {HERE[6]}"
    assert one.ask(OUTSIDE[4], 90) == "ENETUNREACH"
    # with a second network each family has its own way out, and keeps it when the other goes
    await world.service.connect("old", one.id, EndpointSettings())
    assert one.ask(OUTSIDE[4], 90) == f"remote {HERE[4]}"
    assert one.ask(OUTSIDE[6], 90) == f"remote {HERE[6]}"
    await world.service.disconnect("red", one.id, force=False)
    assert one.ask(OUTSIDE[4], 90) == f"remote {HERE[4]}"
    assert misses(HERE[6], 8080, remote) or ask(HERE[6], 8080, remote) == "ECONNREFUSED"


@isolated
async def test_the_default_route_may_lead_to_another_machine(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    config = IPAMConfig(subnet="10.7.0.0/24", auxiliary={"DefaultGatewayIPv4": "10.7.0.254", "printer": "10.7.0.2"})
    await world.service.create(NetworkCreate(name="red", ipam=IPAM(config=[config])))
    one = await world.container("one", "red")
    assert one.route == "10.7.0.254"
    assert one.address("red") == "10.7.0.3", "what is named is kept from being given away"
    seen = world.service.inspect("red")["IPAM"]["Config"][0]
    assert seen["AuxiliaryAddresses"] == {"DefaultGatewayIPv4": "10.7.0.254", "printer": "10.7.0.2"}
    assert seen["Gateway"] == "10.7.0.1"


@isolated
async def test_ports_on_loopback_and_by_default_in_ipv6(tmp_path: Path) -> None:
    place = tmp_path / "proxy.sock"

    async def spawn() -> None:
        environment = {**os.environ, "PYTHONPATH": "src"}
        subprocess.Popen(command(place), env=environment, start_new_session=True)  # noqa: ASYNC220

    proxy = ProxyClient(place, spawn=spawn)
    await proxy.start()
    try:
        world = World(tmp_path, proxy=proxy)
        await world.service.adopt(set())
        remote = outside(tmp_path)
        await world.network("red", enable_ipv6=True)
        await world.network("bound", enable_ipv6=True, options={Q + "bridge.host_binding_ipv4": "::1"})
        await world.network("old")
        one = six(await world.container("one", "red", port_bindings=published("8080")))
        two = six(await world.container("two", "bound", port_bindings=published("8081")))
        old = await world.container("old", "old", port_bindings=published("8082"))
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("one "), "no rule leads from ::1: the proxy does"
        assert ask(HERE[6], 8080, remote) == f"one {OUTSIDE[6]}"
        assert (await asyncio.to_thread(ask, "::1", 8081)).startswith("two ")
        assert [row["IP"] for row in world.service.ports(two.id)] == ["::1"]
        assert ask(HERE[6], 8081, remote) == ask("127.0.0.1", 8081) == "ECONNREFUSED"
        assert (await asyncio.to_thread(ask, HERE[6], 8082, remote)).startswith("old "), "the proxy reaches IPv4 only"
        await world.fresh().adopt({one.id, two.id, old.id})
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("one ")
        await one.close()
        assert ask("::1", 8080) == ask(HERE[6], 8080, remote) == "ECONNREFUSED"
    finally:
        await proxy.quit()
