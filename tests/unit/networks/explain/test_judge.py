"""The judge: facts in, the first failing step out."""

import msgspec
import pytest

from berth.networks.explain.judge import judge
from berth.networks.explain.model import (
    Drop,
    End,
    Facts,
    Joined,
    Link,
    Listener,
    Mark,
    Named,
    Publication,
    Sent,
    Sizes,
    Way,
)

FRONT = Joined(
    "front", "f" * 64, "eth0", "veth1", ("172.18.0.2/24",), ("172.18.0.0/24",), "172.18.0.1", "br-f", is_way_out=True
)
THERE = msgspec.structs.replace(FRONT, host_link="veth2", addresses=("172.18.0.3/24",))
BACK = Joined("back", "b" * 64, "eth0", "veth3", ("172.19.0.2/24",), ("172.19.0.0/24",), "172.19.0.1", is_way_out=True)
WEB = End(
    "container", "web", namespace="/n/web", networks=(FRONT,), links=(Link("eth0", addresses=("172.18.0.2/24",)),)
)
DB = End(
    "container", "db", namespace="/n/db", networks=(THERE,), links=(Link("eth0", addresses=("172.18.0.3/24",)),),
    listeners=(Listener("tcp", "0.0.0.0", 80),),
)  # fmt: skip
ANSWERED = Sent("answered", ms=0.4, reached=("source:sent", "source:left", "target:arrived"), rules_met=3)
SILENT = Sent("silent", reached=("source:sent", "source:left", "host:entered"))
WELL = Facts(
    WEB, DB, "db", "tcp", 80, "172.18.0.3",
    name=Named("db", "answered", ("172.18.0.3",), "127.0.0.11"),
    way=Way("eth0", because="172.18.0.0/24 dev eth0"), sent=ANSWERED, sizes=Sizes((576, 1500), (576, 1500)),
)  # fmt: skip


def but(facts: Facts = WELL, **changes: object) -> Facts:
    return msgspec.structs.replace(facts, **changes)


def end(base: End, **changes: object) -> End:
    return msgspec.structs.replace(base, **changes)


def test_a_path_that_is_well() -> None:
    verdict = judge(WELL)
    assert verdict.reached
    assert verdict.fault == verdict.cause == ""
    assert [(step.name, step.mark) for step in verdict.steps] == [
        (name, Mark.OK) for name in
        ("source", "target", "link", "name", "network", "link", "route", "rules", "listener", "probe", "mtu")
    ]  # fmt: skip


RULE = Drop("target", "inet", "x", "i", 5, "tcp dport 80 drop")
CASES = [
    (but(source=end(WEB, state="exited"), sent=None), "source-stopped", "berth start web"),
    (but(source=end(WEB, state="paused"), sent=None), "source-paused", "berth unpause web"),
    (but(target=end(DB, state="paused")), "target-paused", "berth unpause db"),
    (but(target=end(DB, state="exited"), sent=None), "target-stopped", "berth start db"),
    (but(source=end(WEB, networks=(), links=()), sent=None), "source-no-network", "berth network connect front web"),
    (but(source=end(WEB, links=()), sent=SILENT), "link-missing", "berth network connect front web"),
    (but(source=end(WEB, links=(Link("eth0", is_up=False),)), sent=SILENT), "link-down", "front web"),
    (but(target=end(DB, links=(Link("eth0", passes=False),)), sent=SILENT), "link-no-carrier", "ip link set veth2"),
    (but(target=end(DB, links=(Link("eth0"),)), sent=SILENT), "address-missing", "front db"),
    (but(target=end(DB, networks=(BACK,)), name=None, address="172.19.0.2", way=None, sent=SILENT),
     "wrong-network", "berth network connect back web"),
    (but(name=Named("db", "hosts", ("172.18.0.9",)), sent=SILENT), "stale-hosts", "--add-host db:172.18.0.9"),
    (but(way=Way(error="network is unreachable"), sent=SILENT), "no-route", "front web"),
    (but(way=Way("eth1", because="172.18.0.3/32 dev eth1"), sent=SILENT), "route-conflict",
     "ip route del 172.18.0.3/32 dev eth1"),
    (but(sent=Sent("silent", drops=(RULE,), reached=("source:sent",))), "rule",
     "nsenter --net=/n/db nft delete rule inet x i handle 5"),
    (but(sent=msgspec.structs.replace(SILENT, missing=("172.18.0.3",))), "no-neighbour", ""),
    (but(target=end(DB, listeners=(Listener("tcp", "127.0.0.1", 80),)), sent=Sent("refused")), "listener-loopback", ""),
    (but(target=end(DB, listeners=()), sent=Sent("refused")), "nothing-listens", "berth logs db"),
    (but(target=end(DB, listeners=(Listener("tcp", "::", 90),)), sent=Sent("refused")), "wrong-port",
     "berth network trace web db:90"),
    (but(target=end(DB, listeners=(Listener("udp", "::", 80),)), sent=Sent("refused")), "wrong-protocol",
     "--proto udp"),
    (but(sent=SILENT), "silent", ""),
    (but(sizes=Sizes((576, 1400, 1500), (576, 1400))), "mtu-hole", "berth network update front --mtu 1400"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "fault", "mend"), CASES, ids=[fault for _, fault, _ in CASES])
def test_the_first_step_that_fails_is_named(facts: Facts, fault: str, mend: str) -> None:
    verdict = judge(facts)
    assert (verdict.reached, verdict.fault) == (False, fault)
    assert mend in "\n".join(verdict.mend)
    assert verdict.steps[-1].mark is Mark.FAIL
    assert verdict.steps[-1].text == verdict.cause


@pytest.mark.parametrize(
    "odd",
    [
        but(name=Named("db", "hosts", ("172.18.0.9",))),
        but(way=Way("eth1", because="172.18.0.3/32 dev eth1")),
        but(sent=msgspec.structs.replace(ANSWERED, missing=("172.18.0.3",))),
        but(sizes=Sizes((576, 1500), (576,), told=True)),
        but(sizes=Sizes((576, 1500), ())),
        but(target=end(DB, listeners=())),
        but(forwarding=False),
    ],
)
def test_what_is_odd_is_no_fault_where_the_target_answers(odd: Facts) -> None:
    verdict = judge(odd)
    assert verdict.reached
    assert Mark.FAIL not in {step.mark for step in verdict.steps}


def test_of_two_faults_the_first_on_the_way_is_named() -> None:
    verdict = judge(but(way=Way(error="no"), target=end(DB, listeners=()), sent=SILENT))
    assert verdict.fault == "no-route"


def test_a_published_port_that_is_elsewhere() -> None:
    host = End("host", listeners=(Listener("tcp", "127.0.0.1", 8080),))
    elsewhere = Publication("db", "running", "tcp", "127.0.0.1", 8080, 80)
    facts = but(
        target=host, asked="203.0.113.1", address="203.0.113.1", port=8080, name=None, sent=Sent("refused"),
        way=Way("eth0", "172.18.0.1", because="default via 172.18.0.1 dev eth0"), other_publications=(elsewhere,),
    )  # fmt: skip
    assert judge(facts).fault == "published-elsewhere"
    assert "on 127.0.0.1 only" in judge(facts).cause
    stopped = msgspec.structs.replace(elsewhere, live=False, state="exited")
    assert judge(but(facts, other_publications=(stopped,))).mend == ("berth start db",)


def test_a_policy_is_opened_rather_than_deleted() -> None:
    policy = Drop("host", "ip", "filter", "FORWARD", 0, "policy drop")
    verdict = judge(but(sent=Sent("silent", drops=(policy,), reached=("source:sent",))))
    assert verdict.mend == ("nft insert rule ip filter FORWARD ip daddr 172.18.0.3 tcp dport 80 accept",)
    answer = msgspec.structs.replace(policy, is_answer=True)
    verdict = judge(but(sent=Sent("silent", drops=(answer,), reached=("source:sent",))))
    assert verdict.mend == ("nft insert rule ip filter FORWARD ip saddr 172.18.0.3 tcp sport 80 accept",)


def test_datagrams_need_no_answer() -> None:
    udp = end(DB, listeners=(Listener("udp", "0.0.0.0", 53),))
    facts = but(target=udp, protocol="udp", port=53, sizes=None)
    arrived = msgspec.structs.replace(SILENT, reached=("source:sent", "target:arrived"))
    assert judge(but(facts, sent=arrived)).reached
    assert not judge(but(facts, sent=SILENT)).reached
