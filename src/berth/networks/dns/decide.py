"""What happens to a query: answered from the tables, sent on, or refused. Pure.

Docker's resolver is the model; where it breaks an RFC (asking the outside world for a container's TXT or HTTPS record,
which answers that the name does not exist) the RFC is followed. `docs/dns.md` lists the differences.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple

from berth.networks.dns import message, why
from berth.networks.dns.message import Query, Record
from berth.networks.dns.model import ADDRESS, ServeConfig, Upstream
from berth.networks.dns.table import View, reverse_address
from berth.networks.dns.why import Why

#: Life of an answer in the asker's cache, seconds: Docker's (moby, libnetwork/resolver.go, respTTL). Programs that
#: obey it see a replaced container late, but stub resolvers do not cache, and scripts compare answers with Docker's.
TTL_S: Final = 600
#: How many upstreams are asked at most (moby, libnetwork/resolver.go, maxExtDNS).
MAX_UPSTREAMS: Final = 3


class Answer(NamedTuple):
    """Answer with these records; an empty success if there are none."""

    records: tuple[Record, ...]
    reason: Why


class Forward(NamedTuple):
    """Ask these, in order."""

    upstreams: tuple[Upstream, ...]


class Refuse(NamedTuple):
    """Answer with this response code."""

    code: int
    reason: Why


Decision = Answer | Forward | Refuse


def decide(query: Query, view: View, config: ServeConfig) -> Decision:
    """Decide about one query of the container that `view` and `config` belong to."""
    if query.qclass in (message.IN, message.ANY):
        own = _own(query, view)
        if own is not None:
            return own
        if config.ndots_set and query.qtype in (message.A, message.AAAA) and "." not in query.name:
            return Answer((), Why(why.KEPT_IN))  # the asker tries its search domains next
    upstreams = usable(config)
    return Forward(upstreams) if upstreams else Refuse(message.SERVFAIL, Why(why.FAILED))


@lru_cache(maxsize=1024)
def usable(config: ServeConfig) -> tuple[Upstream, ...]:
    """Return the upstreams that may be asked: never ourselves, none on the host for internal networks.

    Only plain addresses: connecting to anything else would look a name up, and wait for it. One of a link
    (``fe80::1%eth0``) is of a link of the host's.
    """
    chosen = [
        up
        for up in config.upstreams[:MAX_UPSTREAMS]
        if _is_plain(up) and not (up.from_host and config.internal) and (up.from_host or up.address != ADDRESS)
    ]
    return tuple(chosen)


def _is_plain(upstream: Upstream) -> bool:
    try:
        ip_address(upstream.address)
    except ValueError:
        return False
    return "%" not in upstream.address or upstream.from_host


def _own(query: Query, view: View) -> Answer | None:
    """Answer for a name we know; None if it is not ours."""
    if query.qtype == message.PTR:
        address = reverse_address(query.name)
        name = None if address is None else view.name_at(address)
        data = None if name is None else _packed(name)
        if name is not None and data is not None:
            return Answer((Record(message.PTR, TTL_S, data),), Why(why.ADDRESS, entry=name))
    found = view.find(query.name)
    if found is None:
        return None
    records: list[Record] = []
    if query.qtype in (message.A, message.ANY):
        records += _records(message.A, found.v4)
    if query.qtype in (message.AAAA, message.ANY):
        records += _records(message.AAAA, found.v6)
    return Answer(tuple(records), Why(found.kind, found.network, found.entry, found.holders))


def _packed(name: str) -> bytes | None:
    try:
        return message.pack_name(name)
    except ValueError:  # a container's name may be longer than a label: then it has none in DNS
        return None


def _records(rtype: int, addresses: Sequence[bytes]) -> list[Record]:
    return [Record(rtype, TTL_S, address) for address in addresses]


def rotations(records: tuple[Record, ...], most: int) -> tuple[tuple[Record, ...], ...]:
    """Return up to `most` orders of the records, each beginning with another one: callers take turns."""
    if len(records) < 2:
        return (records,)
    step = max(1, len(records) // most)
    return tuple(records[i:] + records[:i] for i in range(0, len(records), step))[:most]
