from typing import Any

import msgspec
import pytest

from berth.base.errors import EngineError
from berth.networks.endpoint_options import EndpointOptions
from berth.networks.limits import link_local, plan_settings, plan_shape
from berth.networks.model import LiveEndpoint, Shape
from berth.networks.routing import plan_replies, plan_routes, reply_routes
from berth.plan.steps.replies import ForgetReplies, RouteReplies
from berth.plan.steps.route import SetDefaultRoute
from berth.plan.steps.shape import ShapeLink


def end(name: str, number: int, **more: Any) -> LiveEndpoint:
    found = LiveEndpoint(
        name * 8, name, f"e{number}", host_link=f"v{number}", link=f"eth{number}",
        ipv4=f"10.0.{number}.2", prefix4=24, gateway4=f"10.0.{number}.1",
    )  # fmt: skip
    return msgspec.structs.replace(found, **more)


RED, BLUE = end("red", 0), end("blue", 1)
INNER = end("inner", 2, gateway4="")
SIX = end("six", 3, ipv6="fd03::2", prefix6=64, gateway6="fd03::1")


def test_one_way_out_needs_no_rules() -> None:
    assert reply_routes([RED], 4) == reply_routes([RED, INNER], 4) == reply_routes([RED, BLUE], 6) == []
    assert plan_replies("ns", (), [RED, INNER]) == ()


def test_with_two_each_has_a_rule() -> None:
    assert reply_routes([RED, INNER, SIX], 4) == [
        ("eth0", "10.0.0.2/24", "10.0.0.1"),
        ("eth3", "10.0.3.2/24", "10.0.3.1"),
    ]
    assert reply_routes([RED, SIX], 6) == []


def test_one_that_never_has_the_default_route_has_a_rule_though_alone() -> None:
    alone = msgspec.structs.replace(SIX, no_default_route=True)
    assert [one[1] for family in (4, 6) for one in reply_routes([alone], family)] == ["10.0.3.2/24", "fd03::2/64"]
    assert all(not isinstance(step, SetDefaultRoute) for step, _ in plan_routes("ns", (), [alone]))


def test_a_change_and_its_reverse_mirror_each_other() -> None:
    there = [step for step, _ in plan_routes("ns", [RED], [RED, BLUE])]
    assert there == [
        SetDefaultRoute("ns", "10.0.1.1", "eth1", before=("10.0.0.1", "eth0")),
        RouteReplies("ns", "eth0", "10.0.0.2/24", "10.0.0.1"),
        RouteReplies("ns", "eth1", "10.0.1.2/24", "10.0.1.1"),
    ]
    back = [step for step, _ in plan_routes("ns", [RED, BLUE], [RED])]
    assert back == [
        SetDefaultRoute("ns", "10.0.0.1", "eth0", before=("10.0.1.1", "eth1")),
        ForgetReplies("ns", "eth0", "10.0.0.2/24", "10.0.0.1"),
        ForgetReplies("ns", "eth1", "10.0.1.2/24", "10.0.1.1"),
    ]
    assert plan_routes("ns", [RED, BLUE], [RED, BLUE]) == ()


def test_a_third_network_leaves_the_others_rules_alone() -> None:
    low = end("green", 4, gw_priority=-1)
    assert [step for step, _ in plan_routes("ns", [RED, BLUE], [RED, BLUE, low])] == [
        RouteReplies("ns", "eth4", "10.0.4.2/24", "10.0.4.1")
    ]


def test_link_local_addresses_have_dockers_prefixes() -> None:
    assert link_local(["169.254.1.2", "fe80::1"]) == ("169.254.1.2/16", "fe80::1/64")
    assert link_local(None) == ()


def test_settings_follow_the_link_by_its_name() -> None:
    wanted = EndpointOptions(sysctls=(("net/ipv4/conf/IFNAME/forwarding", "1"),))
    shaped = msgspec.structs.replace(RED, link="wan", link_local=("169.254.1.2/16",), shape=Shape(rate_out=5000))
    steps = [step for step, _ in plan_settings("ns", shaped, wanted)]
    assert [type(step).__name__ for step in steps] == ["AddAddresses", "WriteSysctl", "ShapeLink"]
    assert steps[1].key == "net/ipv4/conf/wan/forwarding"  # type: ignore[attr-defined]
    assert plan_settings("ns", msgspec.structs.replace(RED, link=""), wanted) == ()


def test_limits_are_on_the_end_that_sends() -> None:
    before, after = Shape(rate_in=1000), Shape(rate_in=2000, delay_us=5)
    assert [step for step, _ in plan_shape("ns", RED, before, after)] == [
        ShapeLink("", "v0", 2000, before=(1000, 0, 0)),
        ShapeLink("ns", "eth0", 0, 5, 0, before=(0, 0, 0)),
    ]
    assert plan_shape("ns", RED, after, after) == ()
    far = msgspec.structs.replace(RED, host_link="")
    with pytest.raises(EngineError, match="rate-in: network red has no link of the host"):
        plan_shape("ns", far, Shape(), Shape(rate_in=1000))
