"""Networks of ipvlan links and of VLANs, in a kernel that has both. Prints what became of each test as JSON.

The services are the engine's own. Nothing of the firewall is written: none of these networks has a part in it, and this
kernel's nftables have no family inet.
"""

import contextlib
import json
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from berth.base.errors import EngineError, Kind
from berth.kernel import link, netlink, netns, sublink
from berth.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate
from tests.netns.test_dhcp import served, until
from tests.netns.test_networks import World, ask, serve
from tests.netns.throwaway import isolated
from tests.support.faults import failing, killing

PLACE: Final = Path("/run/tests")
LAN: Final = "192.168.77.0/24"


def world(name: str) -> tuple[World, str]:
    """A service, and another host behind our link `wire`: 192.168.77.1, in VLAN 10 192.168.10.1."""
    place = PLACE / name
    place.mkdir(parents=True)
    path = str(place / "neighbour")
    netns.create(path)
    route = link.host()
    # ends of a pair that have one number: the kernel then takes up to a second to see that they are up
    route.send(netlink.new_bridge("spare", "02:00:00:00:00:02", 1500))
    with netns.opened(path) as fd:
        route.send(netlink.new_veth("wire", peer="far", peer_mac="02:00:00:00:00:01", namespace_fd=fd, mtu=1500))
    route.send(*link.address_messages(route.index("wire"), ["192.168.77.10/24"]), netlink.set_up("wire"))
    with link.inside(path) as there:
        far = there.index("far")
        there.send(*link.address_messages(far, ["192.168.77.1/24"]), netlink.set_up("far"))
        tag = netlink.attribute(sublink.IFLA_VLAN_ID, (10).to_bytes(2, sys.byteorder))
        there.send(netlink.new_sublink("far.10", "vlan", parent=far, data=tag))
        there.send(*link.address_messages(there.index("far.10"), ["192.168.10.1/24"]), netlink.set_up("far.10"))
        there.send(netlink.default_route("192.168.77.10", far))
        link.until_passes((route, "wire"), (there, "far"))
    serve(lambda: netns.inside(path, socket.socket), "neighbour", 80)
    made = World(place)
    made.layout.namespaces.mkdir(parents=True)
    return made, path


def net(name: str, driver: str, *subnets: str, gateway: str = "", ip_range: str = "", **options: str) -> NetworkCreate:
    pools = [IPAMConfig(subnet=subnet, gateway=gateway, ip_range=ip_range) for subnet in subnets]
    return NetworkCreate(name=name, driver=driver, options=options, ipam=IPAM(config=pools))


def at(address: str) -> EndpointSettings:
    return EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=address))


def links() -> list[str]:
    return sorted(one.name for one in link.links() if one.name != "spare")


@contextlib.contextmanager
def refused(words: str) -> "contextlib._GeneratorContextManager[None]":
    with pytest.raises(EngineError) as caught:
        yield
    assert caught.value.kind is Kind.SYSTEM, repr(caught.value)
    assert words in str(caught.value)


@isolated
async def ipvlan_l2() -> None:
    here, neighbour = world("l2")
    await here.service.create(net("lan", "ipvlan", LAN, gateway="192.168.77.1", parent="wire"))
    one, two = await here.container("one", "lan"), await here.container("two", "lan")
    assert one.ask(two.address("lan")) == f"two {one.address('lan')}"
    assert one.ask("192.168.77.1") == f"neighbour {one.address('lan')}"
    assert ask(two.address("lan"), namespace=neighbour) == "two 192.168.77.1"
    assert one.route == "192.168.77.1"
    with link.inside(one.namespace) as there:
        assert there.link("eth0").mac == link.host().link("wire").mac
    assert here.service.inspect("lan")["Containers"][one.id]["MacAddress"] == ""
    with refused("ipvlan interfaces do not support custom mac address assignment"):
        await here.container("three", "lan", endpoints={"lan": EndpointSettings(mac_address="02:42:00:00:00:07")})
    with refused("is already using parent interface wire"):
        await here.service.create(net("second", "ipvlan", "10.9.0.0/24", parent="wire"))
    # one kind of use at a time, says the kernel, and so do we
    await here.service.create(net("other", "macvlan", "10.9.0.0/24", parent="wire"))
    with refused("wire is a port of a bridge, or has ipvlan links"):
        await here.container("four", "other")
    await one.close()
    await two.close()
    await here.service.remove("other")
    await here.service.remove("lan")
    assert links() == ["lo", "wire"]


@isolated
async def ipvlan_l3() -> None:
    here, _ = world("l3")
    for mode in ("l3", "l3s"):
        want = net("far", "ipvlan", "10.7.1.0/24", "10.7.2.0/24", parent="wire", ipvlan_mode=mode)
        await here.service.create(want)
        assert [pool.gateway for pool in here.service.get("far").pools] == ["", ""]
        one = await here.container("one", "far")
        two = await here.container("two", "far", endpoints={"far": at("10.7.2.9")})
        assert one.address("far") == "10.7.1.1"
        with link.inside(one.namespace) as there:
            default = [each for each in there.routes(socket.AF_INET, 254) if not each.destination]
            assert [(each.gateway, each.oif) for each in default] == [("", there.index("eth0"))]
        shown = here.service.settings(one.id)["Networks"]["far"]
        assert shown["Gateway"] == ""
        assert one.ask("192.168.77.1") == "neighbour 10.7.1.1"
        assert one.ask("10.7.2.9") == "two 10.7.1.1", "other subnets are routed by the kernel"
        await one.close()
        await two.close()
        await here.service.remove("far")


@isolated
async def ipvlan_flags() -> None:
    here, _ = world("flags")
    await here.service.create(net("lan", "ipvlan", LAN, gateway="192.168.77.1", parent="wire", ipvlan_flag="private"))
    one, two = await here.container("one", "lan"), await here.container("two", "lan")
    assert one.ask("192.168.77.1").startswith("neighbour ")
    assert one.misses(two.address("lan"))


@isolated
async def ipvlan_without_a_parent() -> None:
    here, _ = world("alone")
    await here.service.create(net("alone", "ipvlan", "10.9.0.0/24"))
    one, two = await here.container("one", "alone"), await here.container("two", "alone")
    assert one.ask(two.address("alone")) == f"two {one.address('alone')}"
    assert one.route == ""
    await one.close()
    await two.close()
    await here.service.remove("alone")
    assert links() == ["lo", "wire"]


@isolated
async def ipvlan_host_access() -> None:
    here, _ = world("shim")
    serve(socket.socket, "host", 80)
    await here.service.create(
        net("lan", "ipvlan", LAN, ip_range="192.168.77.64/26", gateway="192.168.77.1", parent="wire", host_access="1")
    )
    one = await here.container("one", "lan")
    assert ask(one.address("lan")) == "one 192.168.77.127"
    assert one.ask("192.168.77.127") == f"host {one.address('lan')}"
    assert one.ask("192.168.77.1") == f"neighbour {one.address('lan')}"
    await one.close()
    await here.service.remove("lan")
    assert links() == ["lo", "wire"]


@isolated
async def ipvlan_dhcp() -> None:
    here, neighbour = world("dhcp")
    want = NetworkCreate(name="lan", driver="ipvlan", options={"parent": "wire"}, ipam=IPAM(driver="dhcp"))
    await here.service.create(want)
    with served(neighbour, PLACE / "dhcp") as server:
        one, two = await here.container("one", "lan"), await here.container("two", "lan")
        first, second = one.address("lan"), two.address("lan")
        assert server.held() == {first: "one", second: "two"}, "told apart though they share a MAC"
        assert one.ask(second) == f"two {first}"
        assert one.ask("192.168.77.1") == f"neighbour {first}"
        await one.close()
        await until(lambda: server.held() == {second: "two"})


@isolated
async def vlans() -> None:
    here, neighbour = world("vlan")
    await here.service.create(net("ten", "macvlan", "192.168.10.0/24", gateway="192.168.10.1", parent="wire.10"))
    assert links() == ["lo", "wire", "wire.10"]
    one = await here.container("one", "ten", endpoints={"ten": at("192.168.10.50")})
    assert one.ask("192.168.10.1") == "neighbour 192.168.10.50"
    assert ask("192.168.10.50", namespace=neighbour) == "one 192.168.10.1"
    # another network without the tag does not see it
    await here.service.create(net("plain", "macvlan", "10.9.0.0/24", parent="wire"))
    two = await here.container("two", "plain")
    assert two.misses("192.168.10.50")
    # the VLAN goes with the last network on it, and one that was there stays
    await here.service.create(net("more", "macvlan", "10.9.1.0/24", parent="wire.10"))
    await one.close()
    await here.service.remove("ten")
    assert "wire.10" in links()
    await here.service.remove("more")
    assert "wire.10" not in links()
    tag = netlink.attribute(sublink.IFLA_VLAN_ID, (11).to_bytes(2, sys.byteorder))
    link.host().send(netlink.new_sublink("wire.11", "vlan", parent=link.host().index("wire"), data=tag))
    await here.service.create(net("theirs", "macvlan", "10.9.1.0/24", parent="wire.11"))
    await here.service.remove("theirs")
    assert "wire.11" in links()
    link.host().send(netlink.set_up("wire", up=False))
    with refused("'ip link set wire up' brings it up"):
        await here.service.create(net("down", "macvlan", "10.9.1.0/24", parent="wire.12"))
    assert links() == ["lo", "wire", "wire.11"]


@isolated
async def failing_at_any_step() -> None:
    here, _ = world("fail")
    before = links()
    steps = 0
    async for steps in failing(here.fault, lambda: _create_everything(here)):
        with contextlib.suppress(EngineError):
            await here.service.remove("all")
        await here.service.settle()
        assert links() == before, steps
        assert await here.namespaces() == []
    assert steps == 5, "kind, VLAN, shim; namespace, link"
    assert [name.partition("-")[0] for name in links()] == ["lo", "shim", "wire", "wire.10"]


async def _create_everything(here: World) -> None:
    await here.service.create(net("all", "ipvlan", "10.9.0.0/24", parent="wire.10", host_access="true"))
    await here.container("one", "all")


@isolated
async def killed_in_any_step() -> None:
    here, _ = world("kill")
    before = links()

    async def restart() -> World:
        here.runner.recover()
        here.service._building._sweep([])  # what a start does; the rest of it needs rules
        return here

    steps = 0
    async for steps, _ in killing(here, _create_everything, restart):
        assert links() == before, steps
        assert await here.namespaces() == []
    assert steps == 5, "kind, VLAN, shim; namespace, link"
    assert "wire.10" in links()


TESTS: Final[tuple[Callable[[], None], ...]] = (
    ipvlan_l2,
    ipvlan_l3,
    ipvlan_flags,
    ipvlan_without_a_parent,
    ipvlan_host_access,
    ipvlan_dhcp,
    vlans,
    failing_at_any_step,
    killed_in_any_step,
)


def main() -> None:
    """Run them all, each in namespaces of its own."""
    found = {}
    for test in TESTS:
        started = time.monotonic()
        try:
            test()
        except BaseException:
            found[test.__name__] = traceback.format_exc()
        else:
            found[test.__name__] = ""
        print(f"{test.__name__} {time.monotonic() - started:.1f} s", file=sys.stderr)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
