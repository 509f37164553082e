"""Replies of other servers, read: records, where their lifetimes stand, their data as text. Pure.

Whatever bytes come in, the outcome is a `Reply` or `ValueError`; nothing loops and nothing reads beyond the end.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from berth.networks.dns import message

CNAME: Final = 5
NS: Final = 2
SOA: Final = 6
TXT: Final = 16
TSIG: Final = 250

#: Types by name, those that people ask for; any other is TYPEn (RFC 3597 section 5).
TYPES: Final = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35,
    "DS": 43, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257,
}  # fmt: skip
_TYPE_NAMES: Final = {number: name for name, number in TYPES.items()}
#: Response codes by name.
_CODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

ANSWER: Final = 0
AUTHORITY: Final = 1
ADDITIONAL: Final = 2

_HEADER: Final = struct.Struct("!HHHHHH")
_FIXED: Final = struct.Struct("!HHIH")
_POINTER: Final = 0xC0
_NAME_LIMIT: Final = 255
#: More records than any honest reply has; 65,535 root names would fit into one.
_MOST_RECORDS: Final = 4096
_SIGN: Final = 0x8000_0000


class Part(NamedTuple):
    """One record and where in the message it stands."""

    section: int
    start: int
    name: str
    rtype: int
    ttl: int
    data_at: int
    end: int

    @property
    def ttl_at(self) -> int:
        """Where its lifetime stands: four bytes, before the data's length."""
        return self.data_at - 6


class Reply(NamedTuple):
    """A reply with one question."""

    wire: bytes
    ident: int
    flags: int
    name: str
    qtype: int
    qclass: int
    #: Where the question ends and the records begin.
    body_at: int
    parts: tuple[Part, ...]

    @property
    def code(self) -> int:
        """Response code of the header."""
        return self.flags & 0xF

    @property
    def answers(self) -> tuple[Part, ...]:
        """The answer section."""
        return tuple(part for part in self.parts if part.section == ANSWER)


def type_name(number: int) -> str:
    """Name a type."""
    return _TYPE_NAMES.get(number, f"TYPE{number}")


def code_name(number: int) -> str:
    """Name a response code."""
    return _CODES.get(number, f"RCODE{number}")


def type_number(name: str) -> int:
    """Return the number of a type's name, or of ``TYPEn``. Raises ValueError."""
    upper = name.upper()
    found = TYPES.get(upper)
    if found is not None:
        return found
    digits = upper.removeprefix("TYPE")
    if digits != upper and digits.isascii() and digits.isdecimal() and int(digits) < 1 << 16:
        return int(digits)
    raise ValueError(f"unknown record type {name!r}")


def parse(wire: bytes) -> Reply:
    """Read a whole reply. Raises ValueError."""
    try:
        return _parse(wire)
    except (IndexError, struct.error) as exc:
        raise ValueError(f"cut short: {exc}") from None


def _parse(wire: bytes) -> Reply:
    ident, flags, questions, *counts = _HEADER.unpack_from(wire)
    if questions != 1:
        raise ValueError(f"{questions} questions")
    if sum(counts) > _MOST_RECORDS:
        raise ValueError(f"{sum(counts)} records")
    name, at = read_name(wire, _HEADER.size)
    qtype, qclass = struct.unpack_from("!HH", wire, at)
    body_at = at = at + 4
    parts = []
    for section, count in enumerate(counts):
        for _ in range(count):
            part = _read_part(wire, at, section)
            at = part.end
            parts.append(part)
    return Reply(wire, ident, flags, name, qtype, qclass, body_at, tuple(parts))


def _read_part(wire: bytes, at: int, section: int) -> Part:
    name, after = read_name(wire, at)
    rtype, _, ttl, size = _FIXED.unpack_from(wire, after)
    data_at = after + _FIXED.size
    if data_at + size > len(wire):
        raise ValueError("data beyond the end")
    # A lifetime with the highest bit set is none (RFC 2181 section 8).
    return Part(section, at, name, rtype, 0 if ttl & _SIGN else ttl, data_at, data_at + size)


def read_name(wire: bytes, at: int) -> tuple[str, int]:
    """Read a name, compressed or not; return it in lower case and where it ends. Raises ValueError, IndexError.

    Pointers lead backwards only, so there are no loops (RFC 1035 section 4.1.4 knows only prior occurrences).
    """
    labels: list[bytes] = []
    end, floor, total = 0, at, 0
    while (size := wire[at]) != 0:
        if size & _POINTER == _POINTER:
            target = (size & ~_POINTER) << 8 | wire[at + 1]
            end = end or at + 2
            if target >= floor:
                raise ValueError("a pointer forwards")
            at = floor = target
            continue
        if size & _POINTER:
            raise ValueError("no plain label")
        total += 1 + size
        if total >= _NAME_LIMIT or at + 1 + size > len(wire):
            raise ValueError("name too long")
        labels.append(wire[at + 1 : at + 1 + size])
        at += 1 + size
    parts = (label.lower().replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
    return b".".join(parts).decode("latin-1"), end or at + 1


def data_text(reply: Reply, part: Part) -> str:
    """Print a record's data as zone files do; what is not known, or not well formed, in hexadecimal (RFC 3597)."""
    wire, at, end = reply.wire, part.data_at, part.end
    try:
        text = _known_text(wire, at, end, part.rtype)
    except (ValueError, IndexError, struct.error):
        text = None
    return text if text is not None else f"\\# {end - at} {wire[at:end].hex()}"


def _known_text(wire: bytes, at: int, end: int, rtype: int) -> str | None:
    match rtype:
        case message.A:
            return str(IPv4Address(wire[at:end]))
        case message.AAAA:
            return str(IPv6Address(wire[at:end]))
        case message.PTR | 5 | 2:  # CNAME, NS
            return _whole_name(wire, at)
        case message.MX:
            return f"{struct.unpack_from('!H', wire, at)[0]} {_whole_name(wire, at + 2)}"
        case message.SRV:
            numbers = struct.unpack_from("!HHH", wire, at)
            return f"{' '.join(map(str, numbers))} {_whole_name(wire, at + 6)}"
        case 16:  # TXT
            return _strings(wire[at:end])
        case 6:  # SOA
            mname, after = read_name(wire, at)
            rname, after = read_name(wire, after)
            numbers = struct.unpack_from("!IIIII", wire, after)
            return f"{mname}. {rname}. {' '.join(map(str, numbers))}"
    return None


def soa_minimum(reply: Reply, part: Part) -> int:
    """Return the last field of a SOA record: how long to believe that something does not exist. Raises ValueError."""
    if part.end - part.data_at < 22:  # two root names and five numbers
        raise ValueError("SOA too short")
    number: int = struct.unpack_from("!I", reply.wire, part.end - 4)[0]
    return 0 if number & _SIGN else number


def _whole_name(wire: bytes, at: int) -> str:
    return read_name(wire, at)[0] + "."


def _strings(data: bytes) -> str:
    found, at = [], 0
    while at < len(data):
        size = data[at]
        if at + 1 + size > len(data):
            raise ValueError("string beyond the end")
        raw = data[at + 1 : at + 1 + size].decode("latin-1")
        quoted = "".join(one if " " <= one <= "~" and one not in '"\\' else f"\\{ord(one):03d}" for one in raw)
        found.append(f'"{quoted}"')
        at += 1 + size
    return " ".join(found)
