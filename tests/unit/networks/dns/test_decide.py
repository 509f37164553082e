import pytest

from berth.networks.dns import message, why
from berth.networks.dns.decide import Answer, Forward, Refuse, decide, rotations, usable
from berth.networks.dns.message import Query, Record, pack_query, parse_query
from berth.networks.dns.model import NamedEndpoint, ServeConfig, Upstream
from berth.networks.dns.table import NetworkNames, View
from berth.networks.dns.why import Why

WEB = NamedEndpoint("c1", "n", "net", ("web",), ("10.0.0.2",))
BOTH = NamedEndpoint("c2", "n", "net", ("both", "x" * 70), ("10.0.0.3",), ("fd00::3",))
LONG = NamedEndpoint("c3", "n", "net", ("x" * 70,), ("10.0.0.4",))
VIEW = View("me", (NetworkNames("n", "net").with_endpoint(WEB).with_endpoint(BOTH).with_endpoint(LONG),))
OUT = Upstream("192.0.2.1")
CONFIG = ServeConfig("me", (OUT,))


def ask(name: str, qtype: int) -> Query:
    return parse_query(pack_query(1, name, qtype))


def records(outcome: object) -> tuple[Record, ...]:
    assert isinstance(outcome, Answer)
    return outcome.records


def types(outcome: object) -> list[int]:
    assert isinstance(outcome, Answer)
    return [record.rtype for record in outcome.records]


def test_a_known_name_is_answered() -> None:
    assert records(decide(ask("WEB", message.A), VIEW, CONFIG)) == (Record(message.A, 600, bytes([10, 0, 0, 2])),)
    assert types(decide(ask("both", message.AAAA), VIEW, CONFIG)) == [message.AAAA]
    assert types(decide(ask("both", message.ANY), VIEW, CONFIG)) == [message.A, message.AAAA]


@pytest.mark.parametrize("qtype", [message.AAAA, message.MX, message.SRV, 16, 65])
def test_what_a_known_name_has_not_is_an_empty_success(qtype: int) -> None:
    assert records(decide(ask("web", qtype), VIEW, CONFIG)) == ()


def test_reverse() -> None:
    outcome = decide(ask("2.0.0.10.in-addr.arpa", message.PTR), VIEW, CONFIG)
    assert records(outcome) == (Record(message.PTR, 600, b"\3web\3net\0"),)
    assert decide(ask("9.0.0.10.in-addr.arpa", message.PTR), VIEW, CONFIG) == Forward((OUT,))


def test_a_name_too_long_for_dns_has_no_reverse() -> None:
    assert decide(ask("4.0.0.10.in-addr.arpa", message.PTR), VIEW, CONFIG) == Forward((OUT,))


def test_unknown_names_are_sent_on() -> None:
    assert decide(ask("example.com", message.A), VIEW, CONFIG) == Forward((OUT,))
    assert decide(ask("other", message.A), VIEW, CONFIG) == Forward((OUT,))


def test_another_class_is_sent_on_though_the_name_is_known() -> None:
    assert decide(ask("web", message.A)._replace(qclass=3), VIEW, CONFIG) == Forward((OUT,))


def test_without_an_upstream_it_fails() -> None:
    assert decide(ask("example.com", message.A), VIEW, ServeConfig("me")) == Refuse(message.SERVFAIL, Why(why.FAILED))


def test_explicit_ndots_keeps_single_labels_inside() -> None:
    strict = ServeConfig("me", (OUT,), ndots_set=True)
    assert decide(ask("other", message.A), VIEW, strict) == Answer((), Why(why.KEPT_IN))
    assert decide(ask("other", message.MX), VIEW, strict) == Forward((OUT,))
    assert decide(ask("other.example", message.A), VIEW, strict) == Forward((OUT,))


def test_which_upstreams_may_be_asked() -> None:
    host, own, five = Upstream("127.0.0.53", from_host=True), Upstream("127.0.0.11"), Upstream("192.0.2.5")
    assert usable(ServeConfig("me", (host, own, OUT, five))) == (host, OUT), "three at most, never ourselves"
    assert usable(ServeConfig("me", (host, OUT), internal=True)) == (OUT,)
    names = (Upstream("dns.example"), Upstream("fe80::1%eth0"), Upstream("2001:db8::1"))
    assert usable(ServeConfig("me", names)) == names[2:], "only what needs no look-up to connect to"
    router = Upstream("fe80::1%eth0", from_host=True)
    assert usable(ServeConfig("me", (router,))) == (router,)


def test_rotations_begin_with_each_in_turn() -> None:
    records = tuple(Record(message.A, 1, bytes([i])) for i in range(3))
    assert [turn[0] for turn in rotations(records, 16)] == list(records)
    many = tuple(Record(message.A, 1, bytes([i])) for i in range(100))
    turns = rotations(many, 16)
    assert len(turns) == 16
    assert all(sorted(turn) == sorted(many) for turn in turns)
    assert rotations((), 16) == ((),)


def test_an_answer_says_why() -> None:
    outcome = decide(ask("web", message.A), VIEW, CONFIG)
    assert isinstance(outcome, Answer)
    assert outcome.reason == Why(why.NAME, "net", "web", ("web",))
    reverse = decide(ask("2.0.0.10.in-addr.arpa", message.PTR), VIEW, CONFIG)
    assert isinstance(reverse, Answer)
    assert reverse.reason == Why(why.ADDRESS, entry="web.net")
