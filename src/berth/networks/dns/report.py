"""What the name server tells of itself: the last queries, sums, how servers outside do. Pure.

Made when somebody looks, out of what `ledger` and `realms` keep. Must not: read a clock.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from berth.networks.dns import reply, why
from berth.networks.dns.health import Health
from berth.networks.dns.ledger import CLASSES_MS, Ledger, Line
from berth.networks.dns.model import Upstream
from berth.networks.dns.realms import Realm

#: Lines and sums that fit into one reply of the control socket, however long the names in them are.
LINES_A_PAGE: Final = 24
SUMS_A_PAGE: Final = 64
MOST_OUTSIDE: Final = 200
#: Records of an answer that are shown, and letters of each.
_RECORDS: Final = 6
_LETTERS: Final = 120


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """One query and its answer."""

    #: Counts a container's queries from 1.
    number: int
    #: When it came, nanoseconds since the epoch.
    at_ns: int
    took_us: int
    name: str
    type: str
    code: str
    #: What the query was numbered by its asker.
    ident: int = 0
    records: tuple[str, ...] = ()
    ttl: int = 0
    #: See `berth.networks.dns.why`.
    kind: str = ""
    network: str = ""
    entry: str = ""
    holders: tuple[str, ...] = ()
    upstream: str = ""


class Sums(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one container asked, in numbers."""

    container_id: str
    #: Answered from the tables, by the network that had the name ("" for no network's).
    local: dict[str, int] = {}
    cached: int = 0
    stale: int = 0
    forwarded: int = 0
    failed: int = 0
    refused: int = 0
    unfit: int = 0
    #: Answers from outside by how long they took; see `ledger.CLASSES_MS`.
    classes: tuple[int, ...] = ()


class Outside(msgspec.Struct, frozen=True, omit_defaults=True):
    """One server outside, over all who ask it."""

    address: str
    from_host: bool
    #: Groups of containers that ask it, and those of them that get no answer at all.
    worlds: int
    dead_in: int = 0
    asked: int = 0
    answered: int = 0
    failed: int = 0
    unheard: int = 0
    usual_us: int = 0
    #: What went wrong last.
    why: str = ""


def asked(ledger: Ledger, after: int, epoch_offset_s: float) -> tuple[Asked, ...]:
    """Return the queries with a number greater than `after` that are remembered, as many as one reply holds."""
    lines = tuple(ledger.recent)
    first = ledger.total - len(lines) + 1
    start = max(0, after + 1 - first)
    return tuple(
        _asked(first + at, lines[at], epoch_offset_s) for at in range(start, min(len(lines), start + LINES_A_PAGE))
    )


def _asked(number: int, line: Line, epoch_offset_s: float) -> Asked:
    begun, took_s, wire, reason = line
    name, kind, ttl = "", "", 0
    records: tuple[str, ...] = ()
    code, ident = wire[3] & 0xF, int.from_bytes(wire[:2], "big")
    try:
        got = reply.parse(wire)
    except ValueError:  # a refusal without a question, or junk from outside that was passed on
        pass
    else:
        name, kind = got.name, reply.type_name(got.qtype)
        answers = got.answers
        records = tuple(
            f"{reply.type_name(part.rtype)} {reply.data_text(got, part)}"[:_LETTERS] for part in answers[:_RECORDS]
        )
        ttl = min((part.ttl for part in answers), default=0)
    return Asked(
        number,
        int((begun + epoch_offset_s) * 1e9),
        int(took_s * 1e6),
        name,
        kind,
        reply.code_name(code),
        ident,
        records,
        ttl,
        *reason,
    )


def sums(container_id: str, ledger: Ledger) -> Sums:
    """Return a container's numbers."""
    local: dict[str, int] = {}
    others: dict[str, int] = {}
    for (kind, network), tally in ledger.tallies.items():
        if kind in why.LOCAL:
            local[network] = local.get(network, 0) + tally.n
        else:
            others[kind] = others.get(kind, 0) + tally.n
    return Sums(
        container_id,
        local,
        cached=others.get(why.CACHE, 0),
        stale=others.get(why.STALE, 0),
        forwarded=others.get(why.UPSTREAM, 0),
        failed=others.get(why.FAILED, 0),
        refused=others.get(why.REFUSED, 0),
        unfit=others.get(why.UNFIT, 0),
        classes=tuple(ledger.classes),
    )


def outside(realms: Iterable[Realm]) -> tuple[Outside, ...]:
    """Return the servers that are asked, with what all who ask them know."""
    found: dict[Upstream, list[Health]] = {}
    for realm in (one for one in realms if one.users):
        for upstream, health in realm.health.items():
            found.setdefault(upstream, []).append(health)
    rows = []
    for upstream, healths in found.items():
        known = [one.usual_s for one in healths if one.usual_s is not None]
        dead = [one for one in healths if one.dead_since is not None]
        rows.append(
            Outside(
                upstream.address,
                upstream.from_host,
                len(healths),
                len(dead),
                sum(one.asked for one in healths),
                sum(one.answered for one in healths),
                sum(one.failed for one in healths),
                sum(one.unheard for one in healths),
                int(sum(known) / len(known) * 1e6) if known else 0,
                next((one.why for one in (*dead, *healths) if one.why), "")[:_LETTERS],
            )
        )
    rows.sort(key=lambda row: (-row.dead_in, -row.asked, row.address))
    return tuple(rows[:MOST_OUTSIDE])


def share_below_ms(classes: Iterable[int], share: float) -> int:
    """Return below how many milliseconds that share of the answers came; 0 without answers, -1 beyond the classes."""
    counts = list(classes)
    wanted, seen = share * sum(counts), 0
    if not wanted:
        return 0
    for count, end in zip(counts, CLASSES_MS, strict=False):
        seen += count
        if seen >= wanted:
            return end
    return -1
