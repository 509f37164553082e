from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.dns import cache, message
from berth.networks.dns.cache import Aging, Entry, Kept, answer, entry_of, key_of
from berth.networks.dns.message import Query, parse_query


def ask(name: str = "www.example", kind: str = "A", **more: object) -> tuple[dns.message.Message, Query]:
    made = dns.message.make_query(name, kind, **more)  # type: ignore[arg-type]
    return made, parse_query(made.to_wire())


def reply_to(made: dns.message.Message, *answers: str, authority: str = "", code: int = 0) -> bytes:
    got = dns.message.make_response(made, recursion_available=True)
    got.set_rcode(dns.rcode.Rcode(code))
    for line in answers:
        name, ttl, kind, text = line.split(" ", 3)
        got.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, text))
    if authority:
        name, ttl, kind, text = authority.split(" ", 3)
        got.authority.append(dns.rrset.from_text(name, int(ttl), "IN", kind, text))
    return got.to_wire()


SOA = "example. 900 SOA ns.example. root.example. 1 2 3 4 120"


def kept(wire: bytes, now: float = 0.0) -> Entry:
    entry = entry_of(wire, now, "192.0.2.53")
    assert entry is not None
    return entry


def test_lifetimes_run_down_and_out() -> None:
    made, query = ask()
    entry = kept(reply_to(made, "www.example. 60 CNAME x.example.", "x.example. 20 A 192.0.2.1"), 100.0)
    assert (entry.born, entry.expires) == (100.0, 120.0)
    later = dns.message.from_wire(answer(entry, query, 107.9, 512))
    assert [rrset.ttl for rrset in later.answer] == [53, 13]
    assert made.is_response(later)
    assert later.flags & dns.flags.RA
    assert not later.flags & dns.flags.AA
    stale = dns.message.from_wire(answer(entry, query, 130.0, 512))
    assert [rrset.ttl for rrset in stale.answer] == [cache.STALE_TTL_S] * 2


@pytest.mark.parametrize(
    ("answers", "authority", "code", "life"),
    [
        (["www.example. 60 A 192.0.2.1"], "", 0, 60),
        (["www.example. 999999 A 192.0.2.1"], "", 0, cache.MAX_TTL_S),
        (["www.example. 0 A 192.0.2.1"], "", 0, 0),
        ([], SOA, 3, 120),
        ([], SOA, 0, 120),
        ([], SOA.replace(" 900 ", " 50 "), 3, 50),
        ([], SOA.replace(" 120", " 9999").replace(" 900 ", " 9999 "), 3, cache.MAX_NEGATIVE_TTL_S),
        (["www.example. 30 CNAME x.example."], SOA, 3, 30),
        ([], "", 3, 0),
        ([], "", 0, 0),
        ([], SOA, 2, 0),
        ([], SOA, 5, 0),
    ],
)
def test_how_long_an_answer_is_kept(answers: list[str], authority: str, code: int, life: int) -> None:
    made, _ = ask()
    entry = entry_of(reply_to(made, *answers, authority=authority, code=code), 0.0, "")
    assert (entry.expires if entry else 0) == life


def test_what_was_cut_is_not_kept() -> None:
    made, query = ask()
    wire = reply_to(made, "www.example. 60 A 192.0.2.1")
    assert entry_of(message.cut(query, wire), 0.0, "") is None


def test_each_asker_gets_its_own_letters_number_and_edns() -> None:
    made, _ = ask(use_edns=0, payload=1400)
    entry = kept(reply_to(made, "www.example. 60 A 192.0.2.1"))
    other, query = ask("wWw.ExAmPle", use_edns=0, payload=800)
    wire = answer(entry, query, 1.0, 800)
    got = dns.message.from_wire(wire)
    assert (got.id, got.edns, got.payload) == (other.id, 0, message.OWN_LIMIT)
    assert b"wWw\x06ExAmPle" not in wire
    assert query.question in wire
    assert str(got.answer[0][0]) == "192.0.2.1"


def test_what_does_not_fit_is_marked() -> None:
    made, query = ask()
    entry = kept(reply_to(made, *(f"www.example. 60 A 192.0.2.{i}" for i in range(60))))
    got = dns.message.from_wire(answer(entry, query, 1.0, 512))
    assert got.flags & dns.flags.TC
    assert got.answer == []
    assert len(dns.message.from_wire(answer(entry, query, 1.0, 65535)).answer[0]) == 60


def test_what_is_kept_under_different_keys() -> None:
    plain = key_of(ask()[1])
    assert plain == key_of(ask("WWW.example")[1])
    others = [ask(kind="AAAA"), ask("x.example"), ask(use_edns=0), ask(use_edns=0, want_dnssec=True)]
    keys = {plain, *(key_of(query) for _, query in others)}
    assert len(keys) == 5
    assert key_of(ask()[1]._replace(flags=0)) is None, "asked for what the server itself knows"
    subnet = dns.edns.ECSOption("192.0.2.0", 24)
    assert key_of(ask(use_edns=0, options=[subnet])[1]) is None
    cookie = dns.edns.GenericOption(10, b"12345678")
    assert key_of(ask(use_edns=0, options=[cookie])[1]) is not None


def test_a_ready_answer_ages_and_ends() -> None:
    made, query = ask()
    entry = kept(reply_to(made, "www.example. 3 A 192.0.2.1"), 10.0)
    times: Iterator[float] = iter([10.0, 10.5, 11.2, 12.9, 13.0])
    tails = list(Aging(entry, query, 512, lambda: next(times)))
    ttls = [dns.message.from_wire(b"\0\0" + tail).answer[0].ttl for tail in tails]
    assert ttls == [3, 3, 2, 1]


def entry(size: int) -> Entry:
    return Entry(0, 0, (1, 0, 0), bytes(size), (), 0.0, 10.0, "")


def test_a_realm_forgets_the_oldest_first_and_never_grows_beyond() -> None:
    realm, grown = Kept(), 0
    for number in range(3000):
        grown += realm.put((str(number), 1, 1, 0), entry(400))
        assert realm.bytes <= cache.REALM_LIMIT
    assert grown == realm.bytes == sum(one.size for one in realm.entries.values())
    assert realm.fresh(("2999", 1, 1, 0), 5.0) is not None
    assert realm.fresh(("0", 1, 1, 0), 5.0) is None
    before = len(realm.entries)
    assert realm.halve() > 0
    assert len(realm.entries) == before // 2 - (before % 2 == 0)
    assert realm.bytes == sum(one.size for one in realm.entries.values())


def test_stale_answers_stand_in_for_a_while() -> None:
    realm, key = Kept(), ("a", 1, 1, 0)
    realm.put(key, entry(10))
    assert realm.stale(key, 9.9) is None
    assert realm.stale(key, 10.0) is not None
    assert realm.stale(key, 10.0 + cache.STALE_FOR_S) is None
    realm.pause(key, 20.0)
    assert realm.paused(key, 20.0 + cache.STALE_PAUSE_S - 0.1)
    assert not realm.paused(key, 20.0 + cache.STALE_PAUSE_S)
    realm.put(key, entry(10))
    assert not realm.paused(key, 20.0)


@given(st.binary(max_size=600))
def test_any_bytes_are_kept_or_not(junk: bytes) -> None:
    got = entry_of(junk, 0.0, "")
    if got is not None:
        _, query = ask()
        answer(got, query, 0.0, 65535)


def test_several_addresses_take_turns() -> None:
    made, query = ask()
    entry = kept(
        reply_to(made, "www.example. 60 CNAME x.example.", *(f"x.example. 60 A 192.0.2.{i}" for i in range(3)))
    )
    ready = Aging(entry, query, 512, lambda: 1.0)
    seen = [dns.message.from_wire(b"\0\0" + next(ready)) for _ in range(6)]
    assert [str(got.answer[1][0]) for got in seen] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"] * 2
    assert all({str(one) for one in got.answer[1]} == {"192.0.2.0", "192.0.2.1", "192.0.2.2"} for got in seen)
    assert all(got.answer[0].to_text() == "www.example. 59 IN CNAME x.example." for got in seen)


def test_one_address_and_other_types_keep_their_order() -> None:
    made, _ = ask()
    assert kept(reply_to(made, "www.example. 60 A 192.0.2.1")).block == (0, 0, 0)
    made, _ = ask(kind="MX")
    assert kept(reply_to(made, "www.example. 60 MX 1 a.example.", "www.example. 60 MX 2 b.example.")).block == (0, 0, 0)
