import dns.message
import dns.rrset
import msgspec

from berth.networks.dns import why
from berth.networks.dns.ledger import CLASSES_MS, REMEMBERED, Ledger
from berth.networks.dns.message import Record, pack_reply, parse_query
from berth.networks.dns.report import LINES_A_PAGE, Asked, asked, share_below_ms, sums
from berth.networks.dns.why import Why
from berth.networks.processes import packets
from berth.networks.processes.packets import Reply

LOCAL = Why(why.NAME, "net", "web", ("web",))


def answered(name: str, ident: int) -> bytes:
    query = parse_query(dns.message.make_query(name, "A", id=ident).to_wire())
    return pack_reply(query, 0, (Record(1, 600, bytes([10, 0, 0, 2])),), 512)


def test_a_line_is_readable() -> None:
    ledger = Ledger()
    ledger.note(100.0, 0.0123, answered("web", 77), LOCAL)
    (line,) = asked(ledger, 0, 1000.0)
    assert line == Asked(
        1, 1100_000_000_000, 12300, "web", "A", "NOERROR", 77, ("A 10.0.0.2",), 600, "name", "net", "web", ("web",)
    )


def test_only_the_last_are_remembered_and_pages_follow_each_other() -> None:
    ledger = Ledger()
    for number in range(1, 301):
        ledger.note(float(number), 0.0, answered("web", number), LOCAL)
    seen, after = [], 0
    while page := asked(ledger, after, 0.0):
        assert len(page) <= LINES_A_PAGE
        after = page[-1].number
        seen += [(line.number, line.ident) for line in page]
    assert seen == [(number, number) for number in range(301 - REMEMBERED, 301)]
    assert asked(ledger, 300, 0.0) == ()


def test_the_largest_page_fits_into_a_packet() -> None:
    long = ".".join(["x" * 60] * 4)
    text = "y" * 250
    reply = dns.message.make_response(dns.message.make_query(long, "TXT"))
    for _ in range(20):
        reply.answer.append(dns.rrset.from_text(long + ".", 1, "IN", "TXT", f'"{text}"'))
    ledger = Ledger()
    holders = tuple("h" * 63 for _ in range(8))
    for _ in range(REMEMBERED):
        ledger.note(1.0, 1.0, reply.to_wire(), Why(why.WILDCARD, "n" * 64, "*." + long, holders, "x" * 40))
    assert len(packets.encode(Reply(1, body=asked(ledger, 0, 0.0)))) < packets.PACKET_LIMIT


def test_what_is_no_reply_still_has_a_line() -> None:
    ledger = Ledger()
    ledger.note(1.0, 0.0, b"\0\7\x80\x01" + bytes(8), Why(why.UNFIT))
    (line,) = asked(ledger, 0, 0.0)
    assert (line.ident, line.code, line.name, line.kind) == (7, "FORMERR", "", why.UNFIT)
    assert msgspec.convert(msgspec.to_builtins([line]), list[Asked]) == [line]


def test_sums_tell_kinds_and_networks_apart() -> None:
    ledger = Ledger()
    for reason in (LOCAL, LOCAL, Why(why.ALIAS, "net"), Why(why.NAME, "other"), Why(why.CACHE), Why(why.REFUSED)):
        ledger.note(0.0, 0.0, answered("web", 1), reason)
    ledger.note(0.0, 0.004, answered("web", 1), Why(why.UPSTREAM, upstream="192.0.2.1"))
    got = sums("c", ledger)
    assert (got.local, got.cached, got.forwarded, got.refused, got.failed) == ({"net": 3, "other": 1}, 1, 1, 1, 0)
    assert got.classes[CLASSES_MS.index(5)] == sum(got.classes) == 1


def test_shares() -> None:
    classes = [0] * (len(CLASSES_MS) + 1)
    assert share_below_ms(classes, 0.99) == 0
    classes[0], classes[3], classes[-1] = 90, 9, 1
    assert share_below_ms(classes, 0.5) == 1
    assert share_below_ms(classes, 0.99) == 10
    assert share_below_ms(classes, 0.999) == -1
