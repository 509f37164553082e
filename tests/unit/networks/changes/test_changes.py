"""Old and new record of a network → what its containers have → steps, and their way back."""

import pytest

from berth.base.errors import EngineError
from berth.networks.changes.follow import Follower, moved_address
from berth.networks.changes.planning import Move, plan_change
from berth.networks.changes.revise import renamed, revised
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Published, Tenant
from berth.networks.options import ICC, MTU, NAME_SERVERS
from berth.networks.planning import policy_of
from berth.networks.segments import AS_WAY_OUT, LARGE
from berth.plan.model import Plan
from berth.plan.steps.nft import NftTransaction
from berth.plan.steps.revise import ReviseLink, SetPort
from berth.plan.steps.route import SetDefaultRoute
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings

RED = NetworkRecord("r" * 64, "red", "bridge", pools=(Pool("10.1.0.0/24", "10.1.0.1"),), labels={"a": "1"}, bridge="br")
END = LiveEndpoint(
    RED.id, "red", "e1", "veth1", "eth0", "02:42:0a:01:00:02", "10.1.0.2", 24, "10.1.0.1"
)  # fmt: skip
LIVE = LiveSandbox("c1", "s1", "/n/1", (END,), (Published("tcp", 80, "0.0.0.0", 8080),))
TENANT = Tenant("c1", "one", mode="red", endpoints={"red": EndpointSettings()})


def plan_of(new: NetworkRecord) -> Plan:
    after = Follower(RED, new).live(LIVE, lambda _: False)
    return plan_change("berth", RED, new, [Move(TENANT, LIVE, after)], policy_of)


def steps(new: NetworkRecord) -> list[object]:
    return [planned.step for planned in plan_of(new)]


def test_a_new_subnet_comes_before_the_old_one_goes() -> None:
    new = revised(RED, NetworkUpdate(subnet="10.2.0.0/24"))
    found = steps(new)
    kinds = [type(step).__name__ for step in found]
    assert kinds == ["ReviseLink", "ReviseLink", "SetDefaultRoute", "ReviseLink", "NftTransaction", "ReviseLink"]
    both = ("10.1.0.1/24", "10.2.0.1/24")
    assert found[0] == ReviseLink("br", "", (both[:1], both), (1500, 1500))
    assert found[2] == SetDefaultRoute("/n/1", "10.2.0.1", "eth0", ("10.1.0.1", "eth0"))
    assert found[-1] == ReviseLink("br", "", (both, both[1:]))
    rules = found[4]
    assert isinstance(rules, NftTransaction)
    assert "10.2.0.2 . 80" in rules.commands
    assert "10.1.0.2 . 80" in rules.inverse


def test_only_what_changes_is_planned() -> None:
    assert steps(revised(RED, NetworkUpdate(labels_add={"b": "2"}, attachable=True, dns=["192.0.2.1"]))) == []
    assert steps(renamed(RED, "crimson")) == []
    (port, rules) = steps(revised(RED, NetworkUpdate(icc=False)))
    assert port == SetPort("veth1", (False, True))
    assert isinstance(rules, NftTransaction)
    assert "within" in rules.inverse
    sizes = steps(revised(RED, NetworkUpdate(mtu=1400)))
    assert [(step.name, step.namespace, step.mtu) for step in sizes if isinstance(step, ReviseLink)] == [
        ("br", "", (1500, 1400)), ("veth1", "", (1500, 1400)), ("eth0", "/n/1", (1500, 1400)),
    ]  # fmt: skip


def test_internal_takes_the_way_out_and_the_ports() -> None:
    new = revised(RED, NetworkUpdate(internal=True))
    after = Follower(RED, new).live(LIVE, lambda _: False)
    assert after.endpoints[0].gateway4 == ""
    *sizes, route, rules = steps(new)
    assert [(step.name, step.segment) for step in sizes if isinstance(step, ReviseLink)] == [
        ("br", (AS_WAY_OUT, LARGE)), ("veth1", (AS_WAY_OUT, LARGE)), ("eth0", (AS_WAY_OUT, LARGE)),
    ]  # fmt: skip
    assert route == SetDefaultRoute("/n/1", "", "", ("10.1.0.1", "eth0"))
    assert isinstance(rules, NftTransaction)
    assert "internal" in rules.commands


def test_records() -> None:
    new = revised(
        RED, NetworkUpdate(labels_add={"b": "2"}, labels_remove=["a"], icc=False, mtu=1400, dns=["192.0.2.1", "fd::1"])
    )
    assert new.labels == {"b": "2"}
    assert new.options == {ICC: "false", MTU: "1400", NAME_SERVERS: "192.0.2.1,fd::1"}
    assert revised(new, NetworkUpdate(dns=[])).options == {ICC: "false", MTU: "1400"}
    six = revised(RED, NetworkUpdate(subnets_add=["fd00:1::/64"]))
    assert six.enable_ipv6
    assert [pool.gateway for pool in six.pools] == ["10.1.0.1", "fd00:1::1"]
    assert revised(RED, NetworkUpdate()) == RED


@pytest.mark.parametrize(
    ("record", "want", "words"),
    [
        (NetworkRecord("h", "host", "host"), NetworkUpdate(labels_add={"a": "b"}), "predefined host network"),
        (NetworkRecord("m", "m", "macvlan"), NetworkUpdate(mtu=1400), "has driver macvlan: only labels"),
        (RED, NetworkUpdate(gateway="10.1.0.9"), "together with its subnet"),
        (RED, NetworkUpdate(subnet="fd00::/64"), "has no IPv6 subnet to change"),
        (RED, NetworkUpdate(subnets_add=["10.7.0.0/24"]), "multiple subnets"),
        (RED, NetworkUpdate(subnet="10.7.0.1/24"), "it should be 10.7.0.0/24"),
        (RED, NetworkUpdate(mtu=99_999), "invalid MTU number"),
        (RED, NetworkUpdate(dns=["one"]), "invalid address"),
    ],
)
def test_refusals(record: NetworkRecord, want: NetworkUpdate, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        revised(record, want)


@pytest.mark.parametrize("name", ["", " ", "a/b", "host", "default", "a\x00"])
def test_bad_names(name: str) -> None:
    with pytest.raises(EngineError):
        renamed(RED, name)


def test_an_address_keeps_its_place() -> None:
    old, new = Pool("10.1.0.0/24", "10.1.0.1"), Pool("10.2.0.0/24", "10.2.0.1")
    assert moved_address("10.1.0.77", old, new, ()) == "10.2.0.77"
    assert moved_address("10.1.0.77", old, new, {int.from_bytes(bytes((10, 2, 0, 77)))}) == "10.2.0.2"
    assert moved_address("10.1.0.77", old, Pool("10.2.0.0/26", "10.2.0.1"), ()) == "10.2.0.2"
    assert moved_address("10.1.0.77", old, Pool("10.2.0.0/24", "10.2.0.77"), ()) == "10.2.0.1"
    assert moved_address("", None, Pool("fd00::/64", "fd00::1"), ()) == "fd00::2"
    full = {int.from_bytes(bytes((10, 2, 0, last))) for last in (2,)}
    assert moved_address("10.1.0.2", old, Pool("10.2.0.0/30", "10.2.0.1"), full) is None


def test_what_containers_want_follows() -> None:
    fixed = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.1.0.77"), aliases=["x"])
    tenant = Tenant("c2", "two", mode="red", endpoints={"red": fixed, "blue": EndpointSettings()})
    moved = Follower(RED, revised(RED, NetworkUpdate(subnet="10.2.0.0/24"))).tenant(tenant)
    assert moved.endpoints["red"].ipam_config.ipv4_address == "10.2.0.77"  # type: ignore[union-attr]
    named = Follower(RED, renamed(RED, "crimson")).tenant(tenant)
    assert (named.mode, list(named.endpoints)) == ("crimson", ["crimson", "blue"])
    assert named.endpoints["crimson"] == fixed


def test_a_given_mac_stays() -> None:
    new = revised(RED, NetworkUpdate(subnet="10.2.0.0/24"))
    assert Follower(RED, new).live(LIVE, lambda _: True).endpoints[0].mac == END.mac
    assert Follower(RED, new).live(LIVE, lambda _: False).endpoints[0].mac == "02:42:0a:02:00:02"
