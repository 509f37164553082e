from pathlib import Path

import msgspec

from berth.base.paths import Layout
from berth.networks.creation import record_of, with_gateway
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, alias_mark, retired_group, veth_name
from berth.networks.options import parse_bridge
from berth.networks.planning import (
    bridge_addresses,
    gateway_endpoint,
    next_link_name,
    plan_bridge,
    plan_link,
    policy_of,
    way_out,
    ways_out,
)
from berth.plan.render import render
from berth.wire.networks import NetworkCreate

LAYOUT = Layout()
Q = "com.docker.network."


def record(**settings: object) -> NetworkRecord:
    want = NetworkCreate(name="red", **settings)  # type: ignore[arg-type]
    options = parse_bridge(want.options or {})
    pools = [Pool("10.0.0.0/24"), Pool("fd00::/64")] if want.enable_ipv6 else [Pool("10.0.0.0/24")]
    pools = [with_gateway(pool, options, internal=bool(want.internal)) for pool in pools]
    return record_of(want, "abcdef0123456789" * 4, pools, 0)


def end(name: str = "red", *, gateway: str = "10.0.0.1", priority: int = 0) -> LiveEndpoint:
    return LiveEndpoint(
        "1" * 64, name, "e" * 64, host_link="bv0-eeeeeeee", link="eth0", mac="02:42:0a:00:00:02", ipv4="10.0.0.2",
        prefix4=24, gateway4=gateway, gw_priority=priority,
    )  # fmt: skip


def test_the_plan_of_a_bridge() -> None:
    assert render(plan_bridge(LAYOUT, record(), None)) == (
        "MakeBridge name=br-abcdef012345 mac=02:42:0a:00:00:01 mtu=0 alias=berth:network:" + "abcdef0123456789" * 4
        + " addresses=('10.0.0.1/24',) ipv6=False  # bridge of network red\n"
    )  # fmt: skip


def test_a_bridge_that_is_there_gets_addresses_only() -> None:
    named = record(options={Q + "bridge.name": "theirs", Q + "bridge.inhibit_ipv4": "true"})
    assert render(plan_bridge(LAYOUT, named, ())) == (
        "AddressBridge name=theirs  # network red uses a bridge that is there\n"
        "LeadLoopback name=theirs leads=(False, True)  # ports may be published on 127.0.0.1\n"
    )


def test_the_plan_of_a_link() -> None:
    quiet = record(options={Q + "bridge.enable_icc": "false", Q + "driver.mtu": "1400"})
    plan = render(plan_link(quiet, "/run/netns/x", end(), way_out=(4, 6), hairpin=False))
    assert plan == (
        "MakeContainerLink name=bv0-eeeeeeee bridge=br-abcdef012345 namespace=/run/netns/x inside=eth0"
        " mac=02:42:0a:00:00:02 mtu=1400 addresses=('10.0.0.2/24',) gateways=('10.0.0.1',) isolated=True hairpin=False"
        " segment=0  # link into network red\n"
    )
    assert "gateways" not in render(plan_link(quiet, "/x", end(), way_out=(), hairpin=False))


def test_the_default_route_goes_by_priority_then_name_for_each_family() -> None:
    ends = [end("b"), end("a"), end("c", priority=1), end("z", gateway="", priority=9)]
    assert gateway_endpoint(ends, 4) is ends[2]
    assert gateway_endpoint(ends[:2], 4) is ends[1]
    assert gateway_endpoint([ends[3]], 4) is None
    six = msgspec.structs.replace(ends[3], gateway6="fd00::1")
    assert gateway_endpoint([*ends, six], 6) is six
    assert ways_out([*ends, six], six) == (6,)
    assert ways_out([*ends, six], ends[2]) == (4,)


def test_policy_follows_from_options_of_each_family() -> None:
    options = {
        Q + "bridge.gateway_mode_ipv4": "routed",
        Q + "bridge.gateway_mode_ipv6": "nat-unprotected",
        Q + "host_ipv6": "2001:db8::9",
        Q + "bridge.trusted_host_interfaces": "eth1:wg0:",
    }
    policy = policy_of(record(options=options))
    assert (policy.ipv4.routed, policy.ipv4.open, policy.ipv4.source) == (True, False, "")
    assert (policy.ipv6.routed, policy.ipv6.open, policy.ipv6.source) == (False, True, "2001:db8::9")
    assert policy.trusted == ("eth1", "wg0")


def test_an_isolated_network_keeps_no_address_for_the_bridge() -> None:
    isolated = {Q + "bridge.gateway_mode_ipv4": "isolated"}
    made = record(internal=True, enable_ipv6=True, options=isolated)
    assert [pool.gateway for pool in made.pools] == ["", "fd00::1"]
    assert bridge_addresses(made, parse_bridge(made.options)) == ("fd00::1/64",)
    inhibited = {Q + "bridge.inhibit_ipv4": "true"}
    assert record(internal=True, options=inhibited).pools[0].gateway == "", "nobody would use it"
    outgoing = record(options=inhibited)
    assert outgoing.pools[0].gateway == "10.0.0.1", "another machine on an adopted bridge may have it"
    assert bridge_addresses(outgoing, parse_bridge(outgoing.options)) == ()


def test_the_way_out_may_be_another_machine() -> None:
    assert way_out(Pool("10.0.0.0/24", "10.0.0.1", auxiliary=(("DefaultGatewayIPv4", "10.0.0.254"),))) == "10.0.0.254"
    assert way_out(Pool("fd00::/64", "fd00::1", auxiliary=(("DefaultGatewayIPv4", "fd00::9"),))) == "fd00::1"


def test_link_names_are_numbered_through() -> None:
    assert next_link_name("eth", []) == "eth0"
    assert next_link_name("eth", ["eth0", "net1"]) == "eth1"


def test_names_in_the_kernel_fit_and_tell_engines_apart() -> None:
    other = Layout(Path("/data"), Path("/run/other"))
    assert veth_name(LAYOUT, "e" * 64) == "bv0-eeeeeeee"
    assert len(veth_name(other, "e" * 64)) == 15
    assert alias_mark(LAYOUT) != alias_mark(other)
    assert retired_group(LAYOUT) != retired_group(other)
