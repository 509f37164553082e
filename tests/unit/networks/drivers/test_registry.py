"""The table of drivers, and what every driver of it must keep to."""

import msgspec
import pytest

from berth.base.paths import Layout
from berth.networks.drivers.base import SeenLink
from berth.networks.drivers.registry import DRIVERS, REMOTE, driver_named, driver_of
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool
from berth.networks.options import parse_bridge
from berth.networks.planning import bridge_addresses, plan_bridge
from berth.plan.steps.link import AddressBridge, LeadLoopback, RetireBridge, UnaddressBridge

LAYOUT = Layout("/data", "/exec")
IDENT = "ab" * 32


def record(driver: str) -> NetworkRecord:
    return NetworkRecord(id=IDENT, name="n", driver=driver, bridge=DRIVERS[driver].bridge(IDENT, {}))


def test_an_unknown_driver_is_a_plugin() -> None:
    assert driver_named("nosuch") is REMOTE
    assert driver_of(record("bridge")) is DRIVERS["bridge"]


@pytest.mark.parametrize("name", DRIVERS)
def test_only_drivers_with_links_plan_links(name: str) -> None:
    driver, end = DRIVERS[name], LiveEndpoint("n", "n", "e", link="eth0", host_link="berth-x", mac="02:42:0a:00:00:02")
    plan = driver.plan_endpoint(record(name), "/ns", end, way_out=(), hairpin=False)
    assert bool(plan) == driver.traits.links
    assert bool(driver.link_prefix(record(name))) == driver.traits.links


@pytest.mark.parametrize("name", DRIVERS)
def test_near_ends_and_policies_go_with_bridges(name: str) -> None:
    driver = DRIVERS[name]
    assert bool(driver.bridge(IDENT, {})) == driver.traits.near_end == (driver.policy(record(name)) is not None)


def test_a_bridge_that_was_there_is_adopted_and_never_retired() -> None:
    driver = DRIVERS["bridge"]
    mine = msgspec.structs.replace(record("bridge"), pools=(Pool("10.9.0.0/24", "10.9.0.1"),))
    seen = {name: SeenLink("bridge", "", ("10.9.0.7/24",)) for name in driver.looks_at(mine)}
    adopted = driver.settled(LAYOUT, mine, seen)
    assert adopted.adopted_bridge
    assert driver.owned_links(adopted) == ()
    assert [one.step for one in driver.plan_unmake(LAYOUT, adopted, ())] == [
        LeadLoopback(adopted.bridge, (True, False)),
        UnaddressBridge(adopted.bridge, ("10.9.0.1/24",)),
    ]
    plan = driver.plan_network(LAYOUT, adopted, seen)
    assert plan == plan_bridge(LAYOUT, adopted, ("10.9.0.7/24",))
    (wanted,) = bridge_addresses(adopted, parse_bridge({}))
    assert plan[0].step == AddressBridge(adopted.bridge, (wanted,))
    there, _ = plan_bridge(LAYOUT, adopted, (wanted,))
    assert there.step == AddressBridge(adopted.bridge, ()), "an address of its owner's is never taken back as ours"


def test_a_bridge_of_ours_is_made_once_and_retired() -> None:
    driver, mine = DRIVERS["bridge"], record("bridge")
    assert driver.plan_network(LAYOUT, mine, {}) == plan_bridge(LAYOUT, mine, None)
    assert driver.plan_network(LAYOUT, mine, dict.fromkeys(driver.looks_at(mine), SeenLink("bridge", ""))) == ()
    assert driver.owned_links(mine) == (mine.bridge,)
    assert [type(one.step) for one in driver.plan_unmake(LAYOUT, mine, ())] == [RetireBridge]
