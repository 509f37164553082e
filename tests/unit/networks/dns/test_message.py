import struct
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from berth.networks.dns import message
from berth.networks.dns.message import Junk, Query, Record, Unfit, pack_query, pack_reply, parse_query

labels = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) < 250)


@given(
    ident=st.integers(0, 65535),
    name=names,
    qtype=st.integers(1, 65535).filter(lambda t: t != 41),
    payload=st.integers(0, 65535),
)
def test_a_query_reads_as_it_was_written(ident: int, name: str, qtype: int, payload: int) -> None:
    query = parse_query(pack_query(ident, name, qtype, payload=payload))
    assert (query.ident, query.name, query.qtype, query.qclass) == (ident, name.lower(), qtype, message.IN)
    assert query.flags == message.RD
    assert query.limit == max(512, payload)


@given(name=names, use_edns=st.booleans())
def test_queries_of_an_independent_library_are_understood(name: str, use_edns: bool) -> None:
    wire = dns.message.make_query(name, "AAAA", use_edns=use_edns, want_dnssec=use_edns).to_wire()
    query = parse_query(wire)
    assert (query.name, query.qtype) == (name.lower(), message.AAAA)
    assert (query.edns is not None) is use_edns
    reply = dns.message.from_wire(pack_reply(query, 0, [Record(message.AAAA, 5, bytes(16))], query.limit))
    assert (reply.edns == 0) is use_edns
    assert bool(reply.ednsflags & dns.flags.DO) is use_edns


@given(name=names, addresses=st.lists(st.integers(0, 2**32 - 1), max_size=60, unique=True), edns=st.booleans())
def test_an_independent_library_reads_answers(name: str, addresses: list[int], edns: bool) -> None:
    asked = dns.message.make_query(name, "A", use_edns=0 if edns else False, payload=1232)
    query = parse_query(asked.to_wire())
    wire = pack_reply(
        query, message.NOERROR, [Record(message.A, 600, n.to_bytes(4, "big")) for n in addresses], query.limit
    )
    assert len(wire) <= query.limit
    reply = dns.message.from_wire(wire)
    assert asked.is_response(reply)
    assert {dns.flags.to_text(flag) for flag in (dns.flags.QR, dns.flags.RD, dns.flags.RA)} <= set(
        dns.flags.to_text(reply.flags).split()
    )
    got = [str(rdata) for rrset in reply.answer for rdata in rrset]
    truncated = bool(reply.flags & dns.flags.TC)
    assert truncated == (len(got) < len(addresses))
    assert got == [str(IPv4Address(n)) for n in addresses][: len(got)]


@given(st.binary(max_size=600))
@example(b"")
@example(bytes(11))
@example(bytes(12))
@example(struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 65535) + b"\0\0\1\0\1")
@example(struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")
def test_junk_never_does_harm(data: bytes) -> None:
    outcome(data)


@given(
    st.binary(max_size=80),
    st.integers(0, 3),
    st.integers(0, 4),
)
def test_junk_after_a_sound_header_never_does_harm(tail: bytes, questions: int, additionals: int) -> None:
    outcome(struct.pack("!HHHHHH", 7, 0x100, questions, 0, 0, additionals) + tail)


def outcome(data: bytes) -> None:
    """Junk is silent; everything else has a reply that a library can read and that is no query."""
    try:
        query = parse_query(data)
    except Junk:
        return
    except Unfit as unfit:
        reply = unfit.reply
    else:
        assert isinstance(query, Query)
        reply = pack_reply(query, message.SERVFAIL, (), message.PLAIN_LIMIT)
    assert reply[:2] == data[:2]
    assert reply[2] & 0x80
    dns.message.from_wire(reply, question_only=True)


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (struct.pack("!HHHHHH", 1, 0x0100, 0, 0, 0, 0), message.FORMERR),
        (struct.pack("!HHHHHH", 1, 0x0100, 2, 0, 0, 0) + b"\1a\0\0\1\0\1" * 2, message.FORMERR),
        (struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\1a\0", message.FORMERR),
        (struct.pack("!HHHHHH", 1, 0x2900, 1, 0, 0, 0) + b"\1a\0\0\1\0\1", message.NOTIMP),
        (pack_query(1, "a", 1) + b"", None),
        (
            struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 2)
            + b"\1a\0\0\1\0\1"
            + 2 * (b"\0" + struct.pack("!HHIH", 41, 512, 0, 0)),
            message.FORMERR,
        ),
    ],
)
def test_what_docker_refuses_is_refused(packet: bytes, code: int | None) -> None:
    """Codes as dockerd 20.10 gives them: no question, two and a cut one are format errors, updates not implemented."""
    if code is None:
        parse_query(packet)
        return
    with pytest.raises(Unfit) as caught:
        parse_query(packet)
    assert message.code_of(caught.value.reply) == code


def test_a_reply_is_never_answered() -> None:
    with pytest.raises(Junk):
        parse_query(struct.pack("!HHHHHH", 1, 0x8100, 1, 0, 0, 0) + b"\1a\0\0\1\0\1")


def test_an_unknown_edns_version_is_named() -> None:
    asked = dns.message.make_query("web", "A", use_edns=1)
    with pytest.raises(Unfit) as caught:
        parse_query(asked.to_wire())
    reply = dns.message.from_wire(caught.value.reply)
    assert reply.rcode() == dns.rcode.BADVERS
    assert reply.edns == 0


def test_a_dot_inside_a_label_is_no_separator() -> None:
    packet = struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\3a.b\0\0\1\0\1"
    assert parse_query(packet).name == "a\\.b"


@pytest.mark.parametrize("name", ["a" * 64, ".".join(["a" * 60] * 5), "a..b"])
def test_an_impossible_name_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match=r"a label of|a name of"):
        message.pack_name(name)


class TestForged:
    asked = parse_query(pack_query(1, "Web.example", 1, payload=1232))

    def reply(self, ident: int, name: str, qtype: int = 1) -> bytes:
        return pack_reply(parse_query(pack_query(ident, name, qtype)), 0, (), 512)

    def test_the_answer_is_recognised_in_any_case(self) -> None:
        assert message.answers_to(self.asked, self.reply(9, "wEB.Example"), 9)

    @pytest.mark.parametrize(
        ("ident", "name", "qtype"),
        [(8, "web.example", 1), (9, "web.exampl", 1), (9, "evil.example", 1), (9, "web.example", 28)],
    )
    def test_anything_else_is_not(self, ident: int, name: str, qtype: int) -> None:
        assert not message.answers_to(self.asked, self.reply(ident, name, qtype), 9)

    def test_a_query_is_not(self) -> None:
        assert not message.answers_to(self.asked, pack_query(9, "web.example", 1), 9)

    def test_a_bare_error_header_is(self) -> None:
        assert message.answers_to(self.asked, struct.pack("!HHHHHH", 9, 0x8105, 0, 0, 0, 0), 9)
        assert not message.answers_to(self.asked, struct.pack("!HHHHHH", 9, 0x8100, 0, 0, 0, 0), 9)

    @given(st.binary(max_size=100))
    def test_junk_is_not(self, data: bytes) -> None:
        assert not message.answers_to(self.asked, b"\xff\xff" + data, 9)
