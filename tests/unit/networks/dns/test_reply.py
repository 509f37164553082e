import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.dns import reply

RECORDS = [
    ("A", "192.0.2.1"),
    ("AAAA", "2001:db8::1"),
    ("CNAME", "other.example."),
    ("NS", "ns.example."),
    ("PTR", "web.net."),
    ("MX", "10 mail.example."),
    ("SRV", "1 2 80 web.example."),
    ("TXT", '"say \\"hi\\"" "two"'),
    ("SOA", "ns.example. root.example. 1 2 3 4 5"),
]


def built(*records: tuple[str, str], ttl: int = 60) -> bytes:
    """A reply by an independent library, with compression."""
    made = dns.message.make_response(dns.message.make_query("www.example", "A", use_edns=0))
    for kind, text in records:
        made.answer.append(dns.rrset.from_text("www.example.", ttl, "IN", kind, text))
    return made.to_wire()


@pytest.mark.parametrize(("kind", "text"), RECORDS)
def test_a_record_reads_as_zone_files_have_it(kind: str, text: str) -> None:
    got = reply.parse(built((kind, text)))
    (part,) = got.answers
    assert (part.name, reply.type_name(part.rtype), part.ttl) == ("www.example", kind, 60)
    assert reply.data_text(got, part) == text.replace('\\"', "\\034")


def test_lifetimes_are_where_it_says() -> None:
    got = reply.parse(built(*RECORDS, ttl=0x1234))
    for part in got.answers:
        assert got.wire[part.ttl_at : part.ttl_at + 4] == b"\0\0\x12\x34"


def test_unknown_types_are_printed_in_hexadecimal() -> None:
    got = reply.parse(built(("TYPE65280", "\\# 3 aabbcc")))
    assert reply.data_text(got, got.answers[0]) == "\\# 3 aabbcc"
    assert reply.type_name(65280) == "TYPE65280"
    assert reply.type_number("type65280") == 65280
    assert reply.type_number("https") == 65
    for bad in ("TYPE", "TYPE70000", "BLA", "TYPE-1"):
        with pytest.raises(ValueError, match="unknown record type"):
            reply.type_number(bad)


@pytest.mark.parametrize(
    "name", [b"\xc0\x0c", b"\1a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xff\xff", b"\x40a", b"\x80", b"\xc0"],
    ids=["itself", "loop", "forwards", "beyond", "bit 6", "bit 7", "half a pointer"],
)  # fmt: skip
def test_names_that_lead_nowhere(name: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        reply.read_name(bytes(12) + name, 12)


@given(st.binary(max_size=600))
def test_any_bytes_give_a_reply_or_an_error(junk: bytes) -> None:
    try:
        got = reply.parse(junk)
    except ValueError:
        return
    for part in got.parts:
        assert part.end <= len(junk)
        reply.data_text(got, part)


@given(st.data())
def test_a_damaged_reply_gives_a_reply_or_an_error(data: st.DataObject) -> None:
    wire = bytearray(built(*RECORDS))
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(wire[: data.draw(st.integers(0, len(wire)))])
    try:
        got = reply.parse(cut)
    except ValueError:
        return
    for part in got.parts:
        reply.data_text(got, part)
