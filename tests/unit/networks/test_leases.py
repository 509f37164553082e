"""What is decided about leases: where they can be had, when to ask again, what changes with an address."""

import pytest

from berth.networks.errors import BadOption
from berth.networks.leases import LOST_PAUSE_S, Leased, _pause_s, check_dhcp, plan_swap
from berth.networks.model import Lease, LiveEndpoint, LiveSandbox, NetworkRecord
from berth.plan.steps.address import SwapAddress
from berth.plan.steps.replies import ForgetReplies, RouteReplies

LEASE = Lease("10.9.0.2", 24, "10.9.0.1", "10.9.0.1", "020000000001", "01ff", "web", 0, 800, 400, 700)


def record(driver: str, **options: str) -> NetworkRecord:
    return NetworkRecord(id="ab" * 32, name="n", driver=driver, options=options, ipam_driver="dhcp")


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (record("bridge"), "name a bridge that is there"),
        (record("macvlan"), "name a parent"),
        (record("ipvlan", parent="eth0", ipvlan_mode="l3"), "mode l2 only"),
        (record("host"), "a network of driver host has none"),
        (record("someplugin", parent="eth0"), "a network of driver someplugin has none"),
    ],
)
def test_networks_without_a_server(net: NetworkRecord, words: str) -> None:
    with pytest.raises(BadOption, match=words):
        check_dhcp(net)


def test_networks_that_may_have_one() -> None:
    check_dhcp(record("macvlan", parent="eth0"))
    check_dhcp(record("ipvlan", parent="eth0"))
    check_dhcp(record("bridge", **{"com.docker.network.bridge.name": "br0"}))


@pytest.mark.parametrize(
    ("age_s", "pause_s"),
    [(400, 150), (600, 60), (699, 60), (700, 60), (780, 20), (800, LOST_PAUSE_S), (5000, LOST_PAUSE_S)],
)
def test_after_silence_half_of_what_is_left_is_waited(age_s: float, pause_s: float) -> None:
    assert _pause_s(LEASE, age_s) == pause_s


def test_a_lease_takes_the_registers_place_for_ipv4_only() -> None:
    net = record("macvlan", parent="eth0")
    assert Leased(LEASE).take(net, 4, "c", "") == ("10.9.0.2", 24, "10.9.0.1")
    assert Leased(LEASE).take(net, 6, "c", "") == ("", 0, "")


def test_another_address_takes_routes_along() -> None:
    old = LiveEndpoint("n1", "a", "e1", link="eth0", ipv4="10.9.0.2", prefix4=24, gateway4="10.9.0.1")
    new = LiveEndpoint("n1", "a", "e1", link="eth0", ipv4="10.9.1.7", prefix4=24, gateway4="10.9.1.1")
    other = LiveEndpoint("n2", "b", "e2", link="eth1", ipv4="10.8.0.2", prefix4=24, gateway4="10.8.0.1")
    alone = plan_swap(LiveSandbox("c", "s", "/ns", (old,)), old, LiveSandbox("c", "s", "/ns", (new,)), new)
    swap = SwapAddress("/ns", "eth0", "10.9.0.2/24", "10.9.1.7/24", ("10.9.0.1", "10.9.1.1"))
    assert [one.step for one in alone] == [swap]
    two = plan_swap(LiveSandbox("c", "s", "/ns", (old, other)), old, LiveSandbox("c", "s", "/ns", (new, other)), new)
    assert [type(one.step) for one in two] == [SwapAddress, RouteReplies, ForgetReplies]
    # the default route leads elsewhere: it stays there
    first = LiveEndpoint("n0", "0", "e0", link="eth1", ipv4="10.8.0.2", prefix4=24, gateway4="10.8.0.1")
    step = plan_swap(LiveSandbox("c", "s", "/ns", (first, old)), old, LiveSandbox("c", "s", "/ns", (first, new)), new)
    assert isinstance(step[0].step, SwapAddress)
    assert step[0].step.gateways == ("", "")
