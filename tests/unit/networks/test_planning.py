from pathlib import Path

from berth.base.paths import Layout
from berth.networks.creation import record_of, with_gateway
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, alias_mark, retired_group, veth_name
from berth.networks.planning import gateway_endpoint, next_link_name, plan_bridge, plan_link, policy_of
from berth.plan.render import render
from berth.wire.networks import NetworkCreate

LAYOUT = Layout()
Q = "com.docker.network."


def record(**settings: object) -> NetworkRecord:
    want = NetworkCreate(name="red", **settings)  # type: ignore[arg-type]
    return record_of(want, "abcdef0123456789" * 4, [with_gateway(Pool("10.0.0.0/24"))], 0)


def end(name: str = "red", *, gateway: str = "10.0.0.1", priority: int = 0) -> LiveEndpoint:
    return LiveEndpoint(
        "1" * 64, name, "e" * 64, host_link="bv0-eeeeeeee", link="eth0", mac="02:42:0a:00:00:02", ipv4="10.0.0.2",
        prefix4=24, gateway4=gateway, gw_priority=priority,
    )  # fmt: skip


def test_the_plan_of_a_bridge() -> None:
    assert render(plan_bridge(LAYOUT, record(), exists=False)) == (
        "MakeBridge name=br-abcdef012345 mac=02:42:0a:00:00:01 mtu=0 alias=berth:network:" + "abcdef0123456789" * 4
        + " addresses=('10.0.0.1/24',) ipv6=False  # bridge of network red\n"
    )  # fmt: skip


def test_a_bridge_that_is_there_gets_addresses_only() -> None:
    named = record(options={Q + "bridge.name": "theirs", Q + "bridge.inhibit_ipv4": "true"})
    assert render(plan_bridge(LAYOUT, named, exists=True)) == (
        "AddressBridge name=theirs  # network red uses a bridge that is there\n"
    )


def test_the_plan_of_a_link() -> None:
    quiet = record(options={Q + "bridge.enable_icc": "false", Q + "driver.mtu": "1400"})
    plan = render(plan_link(quiet, "/run/netns/x", end(), default_route=True, hairpin=False))
    assert plan == (
        "MakeContainerLink name=bv0-eeeeeeee bridge=br-abcdef012345 namespace=/run/netns/x inside=eth0"
        " mac=02:42:0a:00:00:02 mtu=1400 addresses=('10.0.0.2/24',) gateways=('10.0.0.1',) isolated=True hairpin=False"
        "  # link into network red\n"
    )
    assert "gateways" not in render(plan_link(quiet, "/x", end(), default_route=False, hairpin=False))


def test_the_default_route_goes_by_priority_then_name() -> None:
    ends = [end("b"), end("a"), end("c", priority=1), end("z", gateway="", priority=9)]
    assert gateway_endpoint(ends) is ends[2]
    assert gateway_endpoint(ends[:2]) is ends[1]
    assert gateway_endpoint([ends[3]]) is None


def test_policy_follows_from_options() -> None:
    policy = policy_of(
        record(internal=True, options={Q + "bridge.gateway_mode_ipv4": "routed", Q + "host_ipv4": "192.0.2.9"})
    )
    assert (policy.internal, policy.masquerade, policy.open, policy.source) == (True, False, True, "192.0.2.9")


def test_link_names_are_numbered_through() -> None:
    assert next_link_name("eth", []) == "eth0"
    assert next_link_name("eth", ["eth0", "net1"]) == "eth1"


def test_names_in_the_kernel_fit_and_tell_engines_apart() -> None:
    other = Layout(Path("/data"), Path("/run/other"))
    assert veth_name(LAYOUT, "e" * 64) == "bv0-eeeeeeee"
    assert len(veth_name(other, "e" * 64)) == 15
    assert alias_mark(LAYOUT) != alias_mark(other)
    assert retired_group(LAYOUT) != retired_group(other)
