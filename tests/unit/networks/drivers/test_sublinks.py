"""Macvlan and ipvlan networks: what they refuse, and what they plan."""

import msgspec
import pytest

from berth.base.errors import EngineError, Kind
from berth.base.paths import Layout
from berth.networks.drivers.base import SeenLink, Way
from berth.networks.drivers.errors import HostAccessRefused, ParentRefused, ParentTaken
from berth.networks.drivers.parents import parent_of
from berth.networks.drivers.registry import DRIVERS
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, alias_mark
from berth.plan.steps.link import DeleteLink
from berth.plan.steps.sublink import MakeParent, MakeShim, MakeSubLink, RequireKind, UnmakeParent
from berth.wire.networks import NetworkCreate

LAYOUT = Layout("/data", "/exec")
IDENT = "ab" * 32
MARK = alias_mark(LAYOUT)
ETH0 = SeenLink("", "", ("192.168.1.10/24",))
POOL = Pool("10.9.0.0/24", "10.9.0.1")


def record(
    driver: str = "macvlan", *, ident: str = IDENT, pools: tuple[Pool, ...] = (POOL,), **options: str
) -> NetworkRecord:
    return NetworkRecord(id=ident, name="n", driver=driver, options=options, pools=pools)


@pytest.mark.parametrize(
    ("driver", "options", "kind", "words"),
    [
        ("macvlan", {"parent": "lo"}, Kind.SYSTEM, "loopback interface is not a valid macvlan parent link"),
        ("ipvlan", {"parent": "lo"}, Kind.SYSTEM, "loopback interface is not a valid ipvlan parent link"),
        ("macvlan", {"macvlan_mode": "x"}, Kind.SYSTEM, "requested macvlan mode 'x' is not valid, 'bridge' mode is"),
        ("ipvlan", {"ipvlan_mode": "x"}, Kind.SYSTEM, "requested ipvlan mode 'x' is not valid, 'l2' mode is the"),
        ("ipvlan", {"ipvlan_flag": "x"}, Kind.SYSTEM, "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan"),
        ("macvlan", {"host_access": "perhaps"}, Kind.INVALID, "failed to parse host_access value: perhaps"),
        ("macvlan", {"host_access": "1", "macvlan_mode": "private"}, Kind.INVALID, "needs macvlan_mode=bridge"),
        ("ipvlan", {"host_access": "1", "ipvlan_mode": "l3"}, Kind.INVALID, "needs ipvlan_mode=l2"),
    ],
)
def test_options_that_are_refused(driver: str, options: dict[str, str], kind: Kind, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        DRIVERS[driver].check(NetworkCreate(name="x", driver=driver, options=options))
    assert caught.value.kind is kind
    assert words in str(caught.value)


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_parent_that_is_there_is_not_ours(driver: str) -> None:
    net = DRIVERS[driver].settled(LAYOUT, record(driver, parent="eth0"), {"eth0": ETH0})
    assert net.made_links == ()
    plan = DRIVERS[driver].plan_network(LAYOUT, net, {"eth0": ETH0})
    assert [one.step for one in plan] == [RequireKind(driver)]
    assert DRIVERS[driver].plan_unmake(LAYOUT, net, ()) == ()


def test_a_vlan_is_made_and_goes_with_the_last_network_on_it() -> None:
    driver, seen = DRIVERS["macvlan"], {"eth0": ETH0}
    net = driver.settled(LAYOUT, record(parent="eth0.10"), seen)
    assert driver.looks_at(net)[:2] == ("eth0.10", "eth0")
    assert driver.owned_links(net) == net.made_links == ("eth0.10",)
    plan = driver.plan_network(LAYOUT, net, seen)
    assert [one.step for one in plan][1:] == [MakeParent("eth0.10", "vlan", MARK + IDENT, "eth0", 10)]
    there = seen | {"eth0.10": SeenLink("vlan", MARK + IDENT)}
    assert [one.step for one in driver.plan_network(LAYOUT, net, there)] == [RequireKind("macvlan")]
    second = driver.settled(LAYOUT, record(ident="cd" * 32, parent="eth0.10"), there)
    assert second.made_links == ("eth0.10",)
    assert driver.plan_unmake(LAYOUT, net, (net, second)) == ()
    assert [one.step for one in driver.plan_unmake(LAYOUT, second, ())] == [UnmakeParent("eth0.10", MARK)]
    # a VLAN that somebody else made stays theirs
    theirs = seen | {"eth0.10": SeenLink("vlan", "")}
    assert driver.settled(LAYOUT, record(parent="eth0.10"), theirs).made_links == ()


@pytest.mark.parametrize("parent", ["eth1", "eth1.10", "eth0.0", "eth0.4095", "eth0.x", "eth0.1.2", "eth0."])
def test_parents_that_cannot_be(parent: str) -> None:
    with pytest.raises(ParentRefused):
        DRIVERS["macvlan"].settled(LAYOUT, record(parent=parent), {"eth0": ETH0})


def test_no_parent_is_a_bridge_that_leads_nowhere() -> None:
    driver = DRIVERS["macvlan"]
    net = driver.settled(LAYOUT, record(), {})
    assert parent_of(net) == "dm-abababababab"
    plan = driver.plan_network(LAYOUT, net, {})
    assert [one.step for one in plan][1:] == [MakeParent("dm-abababababab", "bridge", MARK + IDENT)]
    assert driver.way({}, internal=False) is Way.NONE


def test_ways_out() -> None:
    assert DRIVERS["macvlan"].way({"parent": "eth0"}, internal=False) is Way.GATEWAY
    assert DRIVERS["macvlan"].way({"parent": "eth0"}, internal=True) is Way.NONE
    for mode, way in (("l2", Way.GATEWAY), ("l3", Way.LINK), ("l3s", Way.LINK)):
        assert DRIVERS["ipvlan"].way({"parent": "eth0", "ipvlan_mode": mode}, internal=False) is way


def test_company_on_a_parent() -> None:
    other = record(ident="cd" * 32, parent="eth0")
    DRIVERS["macvlan"].check_beside(record(parent="eth0"), (other,))
    with pytest.raises(ParentTaken, match="cannot use mode passthru, macvlan network cdcd"):
        DRIVERS["macvlan"].check_beside(record(parent="eth0", macvlan_mode="passthru"), (other,))
    alone = record(ident="cd" * 32, parent="eth0", macvlan_mode="passthru")
    with pytest.raises(ParentTaken, match="already using parent interface eth0 in mode passthru"):
        DRIVERS["macvlan"].check_beside(record(parent="eth0"), (alone,))
    DRIVERS["macvlan"].check_beside(record(parent="eth1"), (alone,))
    with pytest.raises(ParentTaken, match="network dm-cdcdcdcdcdcd is already using parent interface eth0"):
        DRIVERS["ipvlan"].check_beside(
            record("ipvlan", parent="eth0"), (record("ipvlan", ident="cd" * 32, parent="eth0"),)
        )


def test_links_of_containers() -> None:
    end = LiveEndpoint(
        "n", "n", "e", link="eth0", mac="02:42:0a:09:00:02", ipv4="10.9.0.2", prefix4=24, gateway4="10.9.0.1"
    )
    driver = DRIVERS["macvlan"]
    plan = driver.plan_endpoint(record(parent="eth0"), "/ns", end, way_out=(4,), hairpin=False)
    assert plan[0].step == MakeSubLink(
        "macvlan", "eth0", "/ns", "eth0", "bridge", "", end.mac, ("10.9.0.2/24",), ("10.9.0.1",)
    )
    assert driver.own_mac(record(parent="eth0"))
    assert not driver.own_mac(record(parent="eth0", macvlan_mode="passthru"))
    assert not DRIVERS["ipvlan"].own_mac(record("ipvlan"))
    l3 = record("ipvlan", parent="eth0", ipvlan_mode="l3", ipvlan_flag="vepa")
    step = DRIVERS["ipvlan"].plan_endpoint(l3, "/ns", end, way_out=(), hairpin=False)[0].step
    assert isinstance(step, MakeSubLink)
    assert (step.mode, step.flag, step.gateways) == ("l3", "vepa", ())


def test_the_hosts_own_way_in() -> None:
    driver, seen = DRIVERS["macvlan"], {"eth0": ETH0}
    net = driver.settled(LAYOUT, record(parent="eth0", host_access="true"), seen)
    assert net.pools[0].auxiliary == (("host", "10.9.0.254"),)
    shim = "shim-ababababab"
    assert net.made_links == (shim,)
    step = driver.plan_network(LAYOUT, net, seen)[-1].step
    assert step == MakeShim(shim, "macvlan", "eth0", "bridge", MARK + IDENT, ("10.9.0.254/32",), ("10.9.0.0/24",))
    assert len(driver.plan_network(LAYOUT, net, seen | {shim: SeenLink("macvlan", MARK)})) == 1
    assert [one.step for one in driver.plan_unmake(LAYOUT, net, ())] == [DeleteLink(shim)]


def test_the_host_has_the_address_asked_for_or_the_highest_free_one_of_the_range() -> None:
    driver, six = DRIVERS["macvlan"], Pool("fd00:9::/64", "fd00:9::1")
    asked = msgspec.structs.replace(POOL, auxiliary=(("host", "10.9.0.7"),))
    net = driver.settled(LAYOUT, record(pools=(asked, six), host_access="true"), {})
    assert net.pools[0].auxiliary == (("host", "10.9.0.7"),)
    assert net.pools[1].auxiliary == (("host", "fd00:9::ffff:ffff:ffff:ffff"),)
    ranged = msgspec.structs.replace(POOL, ip_range="10.9.0.128/30", auxiliary=(("printer", "10.9.0.131"),))
    net = driver.settled(LAYOUT, record(pools=(ranged,), host_access="true"), {})
    assert net.pools[0].auxiliary == (("printer", "10.9.0.131"), ("host", "10.9.0.130"))


def test_a_host_inside_the_subnet_needs_a_range() -> None:
    inside = Pool("192.168.1.0/24")
    with pytest.raises(HostAccessRefused, match="--ip-range"):
        DRIVERS["macvlan"].settled(LAYOUT, record(parent="eth0", pools=(inside,), host_access="true"), {"eth0": ETH0})
    full = Pool("10.9.0.0/31", "10.9.0.0", auxiliary=(("x", "10.9.0.1"),))
    with pytest.raises(HostAccessRefused, match="has none to spare"):
        DRIVERS["macvlan"].settled(LAYOUT, record(pools=(full,), host_access="true"), {})
