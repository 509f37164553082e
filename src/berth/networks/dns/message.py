"""DNS messages: bytes to values and back (RFC 1035, EDNS of RFC 6891). Pure.

Reads only what answering needs: header, one question, the OPT record. Whatever bytes come in, the outcome is a
`Query`, `Junk` (not worth an answer) or `Unfit` (answer with this code). Must not: know any name.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

# Types, RFC 1035 section 3.2.2, RFC 3596, RFC 2782, RFC 6891; QTYPE 255 is "all".
A: Final = 1
PTR: Final = 12
MX: Final = 15
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
ANY: Final = 255
IN: Final = 1

# Response codes, RFC 1035 section 4.1.1 and RFC 6891 section 9.
NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16

# Header flags, RFC 1035 section 4.1.1.
QR: Final = 0x8000
OPCODE: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
CD: Final = 0x0010  # RFC 4035 section 3.2.2

#: Largest UDP message without EDNS, bytes (RFC 1035 section 4.2.1).
PLAIN_LIMIT: Final = 512
#: Largest message over TCP, bytes (RFC 1035 section 4.2.2: a 16 bit length).
TCP_LIMIT: Final = 65_535
#: What we say we can take over UDP, bytes (the size agreed on DNS Flag Day 2020).
OWN_LIMIT: Final = 1232
#: DO flag of EDNS, copied into answers (RFC 3225 section 3).
_DO: Final = 0x8000
_LABEL_LIMIT: Final = 63
_NAME_LIMIT: Final = 255

_HEADER: Final = struct.Struct("!HHHHHH")
_TWO: Final = struct.Struct("!HH")
_FIXED: Final = struct.Struct("!HHIH")
#: In an answer every name is the question's, which always begins right after the header (RFC 1035 section 4.1.4).
_QUESTION_NAME: Final = b"\xc0\x0c"


class Edns(NamedTuple):
    """What the asker's OPT record says."""

    payload: int
    version: int
    flags: int
    options: bytes = b""


class Query(NamedTuple):
    """A question one can answer. `name` is in lower case without the last dot; `question` its section as it came."""

    ident: int
    flags: int
    name: str
    qtype: int
    qclass: int
    question: bytes
    edns: Edns | None

    @property
    def limit(self) -> int:
        """Largest answer its asker takes over UDP, in bytes."""
        return PLAIN_LIMIT if self.edns is None else max(PLAIN_LIMIT, self.edns.payload)


class Record(NamedTuple):
    """A record that answers the question's own name."""

    rtype: int
    ttl: int
    data: bytes


class Junk(Exception):
    """Not a query: an answer would only feed a loop or a reflection."""


class Unfit(Exception):
    """A query that cannot be taken; `reply` is the whole answer to send."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def parse_query(data: bytes) -> Query:
    """Read a query. Raises `Junk` or `Unfit`, nothing else, for any bytes."""
    if len(data) < _HEADER.size:
        raise Junk
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & QR:
        raise Junk
    if flags & OPCODE:
        raise Unfit(_bare(ident, flags, NOTIMP))
    if questions != 1 or answers or authorities:
        raise Unfit(_bare(ident, flags, FORMERR))
    try:
        name, end = _read_name(data, _HEADER.size)
        qtype, qclass = _TWO.unpack_from(data, end)
        end += _TWO.size
        edns = _find_opt(data, end, additionals)
    except (ValueError, IndexError, struct.error):
        raise Unfit(_bare(ident, flags, FORMERR)) from None
    query = Query(ident, flags, name, qtype, qclass, data[_HEADER.size : end], edns)
    if edns is not None and edns.version > 0:
        raise Unfit(pack_reply(query, BADVERS, (), PLAIN_LIMIT))
    return query


def pack_reply(query: Query, code: int, records: Sequence[Record], limit: int) -> bytes:
    """Write the answer to `query`; records that do not fit into `limit` bytes are left out and TC is set."""
    tail = opt_of(query, code)
    room = limit - _HEADER.size - len(query.question) - len(tail)
    body, count = _fill(records, room)
    flags = QR | RA | query.flags & (RD | CD) | code & 0xF
    if count < len(records):
        flags |= TC
    head = _HEADER.pack(query.ident, flags, 1, count, 0, 1 if tail else 0)
    return b"".join((head, query.question, body, tail))


def opt_of(query: Query, code: int) -> bytes:
    """Write the OPT record of an answer; empty where the query has none (RFC 6891 section 6.1.1)."""
    if query.edns is None:
        return b""
    # Root name, type, our size, the code's upper 8 bits, version 0, DO as asked (RFC 6891 section 6.1.2).
    return b"\0" + _FIXED.pack(OPT, OWN_LIMIT, (code >> 4) << 24 | query.edns.flags & _DO, 0)


def pack_query(ident: int, name: str, qtype: int, *, payload: int = 0) -> bytes:
    """Write a query as a stub resolver does, with EDNS if `payload` is given. Raises ValueError for a bad name."""
    tail = b"\0" + _FIXED.pack(OPT, payload, 0, 0) if payload else b""
    head = _HEADER.pack(ident, RD, 1, 0, 0, 1 if payload else 0)
    return head + pack_name(name) + _TWO.pack(qtype, IN) + tail


def pack_name(name: str) -> bytes:
    """Write a name as labels, without compression. Raises ValueError for an impossible one."""
    out = bytearray()
    for label in name.rstrip(".").split(".") if name.rstrip(".") else ():
        raw = label.encode("latin-1")
        if not 0 < len(raw) <= _LABEL_LIMIT:
            raise ValueError(f"a label of {len(raw)} bytes")
        out.append(len(raw))
        out += raw
    out.append(0)
    if len(out) > _NAME_LIMIT:
        raise ValueError(f"a name of {len(out)} bytes")
    return bytes(out)


def answers_to(query: Query, reply: bytes, ident: int) -> bool:
    """Tell whether `reply` is an answer to `query` as it was sent on with `ident`: else it may be forged."""
    if len(reply) < _HEADER.size:
        return False
    got, flags, questions = struct.unpack_from("!HHH", reply)
    if got != ident or not flags & QR or flags & OPCODE:
        return False
    if questions == 0:  # some servers send a bare header with an error code
        return bool(flags & 0xF) and len(reply) == _HEADER.size
    asked = query.question
    got_question = reply[_HEADER.size : _HEADER.size + len(asked)]
    return questions == 1 and got_question[-4:] == asked[-4:] and got_question[:-4].lower() == asked[:-4].lower()


def code_of(reply: bytes) -> int:
    """Response code of a reply's header."""
    return reply[3] & 0xF


def is_cut(reply: bytes) -> bool:
    """Tell whether a reply says that it is not whole."""
    return bool(reply[2] & TC >> 8)


def is_negative(reply: bytes) -> bool:
    """Tell whether a reply says that there is no such name, or nothing of that type."""
    return code_of(reply) == NXDOMAIN or (code_of(reply) == NOERROR and reply[6:8] == b"\0\0")


def cut(query: Query, reply: bytes) -> bytes:
    """Return a reply's code with no record at all and marked as cut: its asker comes again by TCP."""
    head = pack_reply(query, code_of(reply), (), PLAIN_LIMIT)
    return head[:2] + bytes((head[2] | TC >> 8,)) + head[3:]


def _bare(ident: int, flags: int, code: int) -> bytes:
    return _HEADER.pack(ident, QR | RA | flags & (OPCODE | RD) | code, 0, 0, 0, 0)


def _fill(records: Iterable[Record], room: int) -> tuple[bytes, int]:
    body = bytearray()
    count = 0
    for rtype, ttl, data in records:
        entry = _QUESTION_NAME + _FIXED.pack(rtype, IN, ttl, len(data)) + data
        if len(body) + len(entry) > room:
            break
        body += entry
        count += 1
    return bytes(body), count


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    """Read the question's name: lower case, dots inside labels escaped. A pointer has nothing to point to there."""
    labels: list[bytes] = []
    start = at
    while (size := data[at]) != 0:
        if size > _LABEL_LIMIT:
            raise ValueError("no plain label")
        at += 1 + size
        if at - start >= _NAME_LIMIT:
            raise ValueError("name too long")
        labels.append(data[at - size : at])
    if at >= len(data):
        raise IndexError
    # bytes.lower changes ASCII letters only, as RFC 4343 wants it.
    parts = (label.lower().replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
    return b".".join(parts).decode("latin-1"), at + 1


def _skip_name(data: bytes, at: int) -> int:
    while (size := data[at]) != 0:
        if size >= 0xC0:
            return at + 2
        if size > _LABEL_LIMIT:
            raise ValueError("no plain label")
        at += 1 + size
    return at + 1


def _find_opt(data: bytes, at: int, count: int) -> Edns | None:
    """Find the OPT record among the additional ones. More than one is an error (RFC 6891 section 6.1.1)."""
    found: Edns | None = None
    for _ in range(count):  # ends early: each round takes 11 bytes at least, or fails
        root = data[at] == 0
        at = _skip_name(data, at)
        rtype, payload, extended, size = _FIXED.unpack_from(data, at)
        at += _FIXED.size + size
        if at > len(data):
            raise IndexError
        if rtype == OPT:
            if found is not None or not root:
                raise ValueError("a second or misplaced OPT record")
            found = Edns(payload, extended >> 16 & 0xFF, extended & 0xFFFF, data[at - size : at])
    return found
