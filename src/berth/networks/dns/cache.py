"""Answers from outside, kept as long as they say: positive, negative (RFC 2308), stale (RFC 8767). Pure.

An entry keeps the upstream's records as they came, minus EDNS, which is the hop's own (RFC 6891 section 6.2.6). Must
not: read a clock (every call is given the time, seconds that only grow) or know who asks.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import cycle, pairwise
from typing import Final, NamedTuple

from berth.networks.dns import message, reply
from berth.networks.dns.message import Query
from berth.networks.dns.reply import Reply

#: Longest life of an answer, seconds: what its owner says beyond a day is not believed.
MAX_TTL_S: Final = 86_400
#: Longest life of "there is no such thing", seconds. RFC 2308 section 5 allows hours; who just made a record, as
#: people who develop do, should not have to wait.
MAX_NEGATIVE_TTL_S: Final = 300
#: How long an answer that ran out may stand in while no upstream answers, seconds (RFC 8767 section 5: 1 to 3 days).
STALE_FOR_S: Final = 86_400
#: What lifetime such an answer is given, seconds (RFC 8767 section 5).
STALE_TTL_S: Final = 30
#: How long nobody is asked again for a stale answer after all have failed, seconds.
STALE_PAUSE_S: Final = 2.0
#: Answers of one realm, in bytes, and of all together.
REALM_LIMIT: Final = 1 << 20
TOTAL_LIMIT: Final = 32 << 20
#: What an entry costs besides its bytes (measured: dictionary, key, tuple of lifetimes).
_OVERHEAD: Final = 700

#: Authenticated data, RFC 4035 section 3.2.3.
_AD: Final = 0x0020
_DO: Final = 0x8000
_POINTER: Final = 0xC0
#: Orders kept ready of an answer with several addresses.
_TURNS: Final = 8
_CLIENT_SUBNET: Final = 8  # RFC 7871
_AXFR, _IXFR = 252, 251

#: Name, type, class, and what of the query's flags changes the answer.
Key = tuple[str, int, int, int]

_TTL: Final = struct.Struct("!I")
_HEADER: Final = struct.Struct("!HHHHHH")


def key_of(query: Query) -> Key | None:
    """Return what a query's answer is kept under; None if it must not be kept or answered from here."""
    edns = query.edns
    if not query.flags & message.RD or query.qtype in (_AXFR, _IXFR):
        return None
    if edns is not None and _asks_for_subnet(edns.options):
        return None
    mix = query.flags & (message.CD | _AD)
    if edns is not None:
        mix |= 1 | edns.flags & _DO
    return (query.name, query.qtype, query.qclass, mix)


def _asks_for_subnet(options: bytes) -> bool:
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from("!HH", options, at)
        if code == _CLIENT_SUBNET:
            return True
        at += 4 + size
    return False


class Entry(NamedTuple):
    """One kept answer."""

    code: int
    flags: int
    counts: tuple[int, int, int]
    #: Everything after the question; names in it may point into the question, whose length is the same for all askers.
    body: bytes
    #: Where in `body` lifetimes stand, and what they were at `born`.
    ttls: tuple[tuple[int, int], ...]
    born: float
    expires: float
    #: Who said so.
    upstream: str
    #: Where in `body` the addresses of the name asked for stand, one after the other, and how long one is.
    block: tuple[int, int, int] = (0, 0, 0)

    @property
    def size(self) -> int:
        """Memory it takes, bytes, about."""
        return len(self.body) + 16 * len(self.ttls) + _OVERHEAD


def entry_of(wire: bytes, now: float, upstream: str) -> Entry | None:
    """Read an upstream's reply; None if it is not to be kept. Whether it answers the question has been seen to."""
    try:
        got = reply.parse(wire)
        life = _life(got)
    except ValueError:
        return None
    if life <= 0:
        return None
    kept = got.parts
    for at, part in enumerate(got.parts):
        if part.rtype == message.OPT:
            if wire[part.ttl_at]:  # more of the code stands here: nothing ordinary
                return None
            kept = got.parts[:at]  # what follows is additional, and may be left out
            break
    if any(part.rtype == reply.TSIG for part in kept):
        return None
    end = kept[-1].end if kept else got.body_at
    counts = tuple(sum(part.section == section for part in kept) for section in range(3))
    ttls = tuple((part.ttl_at - got.body_at, min(part.ttl, MAX_TTL_S)) for part in kept)
    flags = got.flags & _AD
    return Entry(
        got.code,
        flags,
        counts,  # type: ignore[arg-type]  # three sections
        wire[got.body_at : end],
        ttls,
        now,
        now + life,
        upstream,
        _block(got),
    )


def _block(got: Reply) -> tuple[int, int, int]:
    """Find addresses that may change places: all of one length, each with a mere pointer for its name."""
    found = [part for part in got.answers if part.rtype in (message.A, message.AAAA) and part.rtype == got.qtype]
    size = 12 + (4 if got.qtype == message.A else 16)
    alike = all(part.end - part.start == size and got.wire[part.start] >= _POINTER for part in found)
    names = {got.wire[part.start : part.start + 2] for part in found}
    in_a_row = all(one.end == other.start for one, other in pairwise(found))
    if len(found) < 2 or not alike or not in_a_row or len(names) > 1:
        return (0, 0, 0)
    return (found[0].start - got.body_at, found[-1].end - got.body_at, size)


def _life(got: Reply) -> int:
    """Return how many seconds a reply is good for, 0 for none."""
    if got.flags & message.TC or got.code not in (message.NOERROR, message.NXDOMAIN):
        return 0
    least = min((part.ttl for part in got.parts if part.rtype != message.OPT), default=0)
    found = any(got.qtype in (part.rtype, message.ANY) for part in got.answers)
    if got.code == message.NOERROR and found:
        return min(least, MAX_TTL_S)
    soa = next((part for part in got.parts if part.section == reply.AUTHORITY and part.rtype == reply.SOA), None)
    if soa is None:  # RFC 2308 section 5: what has none should not be kept
        return 0
    return min(least, soa.ttl, reply.soa_minimum(got, soa), MAX_NEGATIVE_TTL_S)


def answer(entry: Entry, query: Query, now: float, limit: int, turn: int = 0) -> bytes:
    """Write the answer to `query` out of an entry; marked as cut where it does not fit into `limit` bytes.

    Several addresses begin with another one at each `turn`: who takes the first spreads the load, as the owner meant.
    """
    if now < entry.expires:
        body = _aged(entry, int(now - entry.born))
    else:
        fresh = bytearray(entry.body)
        for at, _ in entry.ttls:
            _TTL.pack_into(fresh, at, STALE_TTL_S)
        body = bytes(fresh)
    if entry.block[2] and turn:
        body = _turned(body, *entry.block, turn)
    tail = message.opt_of(query, entry.code)
    flags = message.QR | message.RA | query.flags & (message.RD | message.CD) | entry.flags | entry.code
    answers, authorities, additionals = entry.counts
    if 12 + len(query.question) + len(body) + len(tail) > limit:
        body, flags, answers, authorities, additionals = b"", flags | message.TC, 0, 0, 0
    extra = 1 if tail else 0
    head = _HEADER.pack(query.ident, flags, 1, answers, authorities, additionals + extra)
    return b"".join((head, query.question, body, tail))


def _turned(body: bytes, start: int, end: int, size: int, turn: int) -> bytes:
    cut = start + turn * size % (end - start)
    return b"".join((body[:start], body[cut:end], body[start:cut], body[end:]))


def _aged(entry: Entry, by_s: int) -> bytes:
    if not by_s:
        return entry.body
    aged = bytearray(entry.body)
    for at, ttl in entry.ttls:
        _TTL.pack_into(aged, at, max(0, ttl - by_s))
    return bytes(aged)


class Aging(Iterator[bytes]):
    """The answer to one query after its ident, ready to send; ends when it is too old. Written anew once a second."""

    __slots__ = ("_clock", "_entry", "_limit", "_query", "_second", "_tails", "_turns")

    def __init__(self, entry: Entry, query: Query, limit: int, clock: Callable[[], float]) -> None:
        self._entry = entry
        self._query = query
        self._limit = limit
        self._second = -1
        self._tails: Iterator[bytes] = iter(())
        self._clock = clock
        start, end, one = entry.block
        self._turns = min(_TURNS, (end - start) // one) if one else 1

    @property
    def size(self) -> int:
        """How many bytes it may take."""
        return self._turns * len(self._entry.body)

    def __next__(self) -> bytes:
        now = self._clock()
        entry = self._entry
        if now >= entry.expires:
            raise StopIteration
        second = int(now - entry.born)
        if second != self._second:
            self._second = second
            turns = range(self._turns)
            self._tails = cycle([answer(entry, self._query, now, self._limit, turn)[2:] for turn in turns])
        return next(self._tails)


class Kept:
    """Answers kept for containers that see the same world (`realms`)."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.bytes = 0
        #: Until when a stale answer is given without asking again.
        self._pauses: dict[Key, float] = {}

    def fresh(self, key: Key, now: float) -> Entry | None:
        """Return an answer that still holds."""
        entry = self.entries.get(key)
        return entry if entry is not None and now < entry.expires else None

    def stale(self, key: Key, now: float) -> Entry | None:
        """Return an answer that ran out, not too long ago."""
        entry = self.entries.get(key)
        return entry if entry is not None and entry.expires <= now < entry.expires + STALE_FOR_S else None

    def paused(self, key: Key, now: float) -> bool:
        """Tell whether all failed just now, so that a stale answer is given at once."""
        return self._pauses.get(key, 0.0) > now

    def pause(self, key: Key, now: float) -> None:
        """Note that nobody could answer `key`, for which there is a stale answer."""
        if len(self._pauses) > len(self.entries):
            self._pauses = {one: until for one, until in self._pauses.items() if until > now}
        self._pauses[key] = now + STALE_PAUSE_S

    def put(self, key: Key, entry: Entry) -> int:
        """Keep an answer; return by how many bytes the realm grew."""
        before = self.bytes
        self.drop(key)
        self._pauses.pop(key, None)
        self.entries[key] = entry
        self.bytes += entry.size
        while self.bytes > REALM_LIMIT:
            self.drop(next(iter(self.entries)))
        return self.bytes - before

    def drop(self, key: Key) -> None:
        """Forget an answer."""
        old = self.entries.pop(key, None)
        if old is not None:
            self.bytes -= old.size

    def halve(self) -> int:
        """Forget the older half; return how many bytes became free."""
        before = self.bytes
        for key in list(self.entries)[: len(self.entries) // 2 + 1]:
            self.drop(key)
        return before - self.bytes
