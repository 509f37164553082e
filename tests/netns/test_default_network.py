"""The default network follows the settings from start to start: ours, a bridge of the owner's, none; forwarding."""

import socket
from pathlib import Path

import pytest

from berth.base.config import Config
from berth.base.errors import EngineError
from berth.kernel import link, netlink, netns, sysctl
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import IPAM, IPAMConfig, NetworkCreate
from tests.netns.test_networks import World, ask, neighbour, published, serve, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import failing

pytestmark = pytest.mark.root


def owners(name: str = "br9", *addresses: str) -> None:
    """Make a bridge as the machine's owner would."""
    route = link.host()
    route.send(netlink.new_bridge(name, "02:42:00:00:00:09", 1500), netlink.set_up(name))
    if addresses:
        route.send(*link.address_messages(route.index(name), addresses))


def addresses(name: str) -> tuple[str, ...]:
    return tuple(one for one in link.addresses_of(link.host().link(name)) if not one.startswith("fe80"))


@isolated
async def test_it_goes_and_comes_back_with_the_setting(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    ours = world.service.get("bridge")
    one = await world.container("one", "bridge")
    world.config = Config(bridge="none")
    await world.fresh().adopt({one.id})
    assert world.service.get("bridge") == ours, "not under a container that runs"
    await one.close()
    await world.fresh().adopt(set())
    await world.service.settle()
    with pytest.raises(EngineError, match="network bridge not found"):
        world.service.get("bridge")
    assert ours.bridge not in snapshot()[0]
    again = await world.service.open(one.id)
    assert world.live.get(one.id).endpoints == ()  # type: ignore[union-attr]
    assert again.netns_path
    world.config = Config()
    await world.fresh().adopt({one.id})
    assert ours.bridge in snapshot()[0]
    await world.service.close(one.id)
    await world.service.open(one.id)
    assert ask(one.address("bridge")) == "ECONNREFUSED", "it is there, and nobody listens"


@isolated
async def test_a_bridge_of_the_owners_is_used_and_stays(tmp_path: Path) -> None:
    world = World(tmp_path, bridge="br9", ipv6=True)
    owners("br9", "10.7.7.5/24", "fd07::5/64")
    await world.service.adopt(set())
    record = world.service.get("bridge")
    assert [(pool.subnet, pool.gateway) for pool in record.pools] == [
        ("10.7.7.0/24", "10.7.7.5"),
        ("fd07::/64", "fd07::5"),
    ]
    one = await world.container("one", "bridge")
    assert ask(one.address("bridge")) == "one 10.7.7.5"
    assert one.route == "10.7.7.5"
    await world.fresh().adopt({one.id})
    assert world.service.get("bridge") == record
    await one.close()
    world.config = Config()
    await world.fresh().adopt(set())
    assert (world.service.get("bridge").bridge, addresses("br9")) == (
        "berth" + world.layout.instance,
        ("10.7.7.5/24", "fd07::5/64"),
    )
    world.config = Config(bridge="br9")
    await world.fresh().adopt(set())
    await world.service.shut()
    world.service.dissolve()
    assert addresses("br9") == ("10.7.7.5/24", "fd07::5/64")


@isolated
async def test_one_without_an_address_is_given_one(tmp_path: Path) -> None:
    world = World(tmp_path, bridge="br9")
    owners("br9")
    await world.service.adopt(set())
    assert addresses("br9") == ("172.17.0.1/16",)
    before = world.service.get("bridge")
    await world.fresh().adopt(set())
    assert world.service.get("bridge") == before
    assert ask((await world.container("one", "bridge")).address("bridge")) == "one 172.17.0.1"


@isolated
async def test_one_that_is_not_there_or_no_bridge_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, bridge="br9")
    with pytest.raises(EngineError, match="ip link add br9 type bridge"):
        await world.service.adopt(set())
    world.config = Config(bridge="lo")
    with pytest.raises(EngineError, match="existing interface lo is not a bridge"):
        await world.fresh().adopt(set())


@isolated
async def test_what_settings_say_of_it_holds_for_packets(tmp_path: Path) -> None:
    settings = {"ip": "127.0.0.1", "ip_masq": False, "fixed_cidr": "172.17.5.0/24", "bip": "172.17.0.1/16"}
    world = World(tmp_path, default_gateway="172.17.0.9", dns=("192.0.2.53",), dns_search=("here",), **settings)
    await world.service.adopt(set())
    far = neighbour(tmp_path)
    serve(lambda: netns.inside(far, socket.socket), "remote", 80)
    one = await world.container("one", "bridge", port_bindings=published("8080"))
    assert (one.address("bridge"), one.route) == ("172.17.5.0", "172.17.0.9")
    assert Path(one.files["/etc/resolv.conf"]).read_text().split() == ["nameserver", "192.0.2.53", "search", "here"]
    assert ask("127.0.0.1", 8080) == "one 172.17.0.1"
    assert ask("203.0.113.1", 8080) == "ECONNREFUSED", "published on loopback alone"
    world.config = Config(ip_masq=False)
    await one.close()
    await world.fresh().adopt(set())
    two = await world.container("two", "bridge")
    assert two.ask("203.0.113.2") == f"remote {two.address('bridge')}", "the host's address would be 203.0.113.1"


@isolated
async def test_the_host_is_made_to_forward_unless_that_is_its_owners_business(tmp_path: Path) -> None:
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        sysctl.write(name, "0")
    world = World(tmp_path, ip_forward=False)
    await world.service.adopt(set())
    await world.network("six", enable_ipv6=True)
    assert world.service.warnings() == ["WARNING: IPv4 forwarding is disabled"]
    disabled = ["IPv4 forwarding is disabled. Networking will not work."]
    assert [world.service.forewarn(mode) for mode in ("", "six", "host", "none")] == [disabled, disabled, [], []]
    assert (sysctl.read("net/ipv4/ip_forward"), sysctl.read("net/ipv6/conf/all/forwarding")) == ("0", "0")
    world.config = Config()
    await world.fresh().adopt(set())
    assert (sysctl.read("net/ipv4/ip_forward"), sysctl.read("net/ipv6/conf/all/forwarding")) == ("1", "1")
    assert (world.service.warnings(), world.service.forewarn("six")) == ([], [])
    sysctl.write("net/ipv4/ip_forward", "0")  # as some program's settings do, long after the start
    await world.network("red")
    assert sysctl.read("net/ipv4/ip_forward") == "1"


def leads_loopback(name: str) -> str:
    return sysctl.read(f"net/ipv4/conf/{name}/route_localnet")


@isolated
async def test_a_bridge_of_the_owners_leads_to_loopback_only_while_it_is_a_networks(tmp_path: Path) -> None:
    world = World(tmp_path, bridge="br9")
    owners("br9", "10.7.7.5/24")
    owners("br8", "10.8.8.5/24")
    owners("br7", "10.7.8.5/24")
    sysctl.write("net/ipv4/conf/br7/route_localnet", "1")
    await world.service.adopt(set())
    for name in ("br8", "br7"):
        named = {"com.docker.network.bridge.name": name}
        await world.network(name, subnet="10.8.8.0/24" if name == "br8" else "10.7.8.0/24", options=named)
    await world.fresh().adopt(set())
    assert [leads_loopback(name) for name in ("br9", "br8", "br7")] == ["1", "1", "1"]
    await world.service.remove("br8")
    await world.service.remove("br7")
    assert [leads_loopback(name) for name in ("br9", "br8", "br7")] == ["1", "0", "1"], "as its owner had it"
    world.config = Config(bridge="none")
    await world.fresh().adopt(set())
    assert leads_loopback("br9") == "0"
    world.config = Config(bridge="br9")
    await world.fresh().adopt(set())
    assert leads_loopback("br9") == "1"
    await world.service.settle()
    world.service.dissolve()
    assert leads_loopback("br9") == "0"


@isolated
async def test_a_network_that_fails_or_whose_bridge_is_gone_leaves_nothing_of_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    owners("br8", "10.8.8.5/24")
    await world.service.adopt(set())
    named = {"com.docker.network.bridge.name": "br8"}
    steps = 0
    async for steps in failing(world.fault, lambda: world.network("red", subnet="10.8.8.0/24", options=named)):
        assert leads_loopback("br8") == "0", steps
    assert (steps, leads_loopback("br8")) == (3, "1"), "addresses, loopback, rules"
    link.delete("br8")
    await world.service.remove("red")
    with pytest.raises(EngineError, match="not found"):
        world.service.get("red")


@isolated
async def test_a_bridge_of_the_owners_keeps_its_own_addresses_and_none_of_ours(tmp_path: Path) -> None:
    world = World(tmp_path, bridge="br9")
    owners("br9")
    owners("br8", "10.8.8.5/24")
    owners("br7", "10.7.8.5/24")
    await world.service.adopt(set())
    record = world.service.get("bridge")
    assert addresses("br9") == ("172.17.0.1/16",)
    named = {name: {"com.docker.network.bridge.name": name} for name in ("br8", "br7")}
    await world.network("br8", subnet="10.8.8.0/24", options=named["br8"])  # at the gateway the engine chooses
    await world.service.create(NetworkCreate(
        name="br7", options=named["br7"], ipam=IPAM(config=[IPAMConfig(subnet="10.7.8.0/24", gateway="10.7.8.5")])
    ))  # fmt: skip
    assert addresses("br8") == ("10.8.8.5/24", "10.8.8.1/24")
    await world.fresh().adopt(set())
    assert world.service.get("bridge") == record
    await world.service.change.update("br8", NetworkUpdate(subnet="10.8.9.0/24"))
    await world.service.change.update("br7", NetworkUpdate(subnet="10.7.9.0/24"))
    assert addresses("br8") == ("10.8.8.5/24", "10.8.9.1/24")
    assert addresses("br7") == ("10.7.8.5/24", "10.7.9.1/24"), "that was the gateway, and is its owner's"
    await world.service.remove("br8")
    await world.service.remove("br7")
    assert (addresses("br8"), addresses("br7")) == (("10.8.8.5/24",), ("10.7.8.5/24",))
    world.config = Config(bridge="none")
    await world.fresh().adopt(set())
    assert addresses("br9") == ()
    world.config = Config(bridge="br9")
    await world.fresh().adopt(set())
    assert addresses("br9") == ("172.17.0.1/16",)
    await world.service.settle()
    world.service.dissolve()
    assert addresses("br9") == ()
