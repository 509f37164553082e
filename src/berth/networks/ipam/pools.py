"""Which subnet a network gets: out of the default pools, clear of everything in use. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from berth.kernel.routes import Routed
from berth.networks.errors import PoolsExhausted
from berth.networks.ipam.spans import Spans

Network = IPv4Network | IPv6Network

#: Number of the routing table that needs no mention (linux/rtnetlink.h).
MAIN_TABLE: Final = 254


class PoolSource(NamedTuple):
    """A range to cut subnets of one size out of."""

    base: Network
    size: int


#: Docker cuts 172.17.0.0/12-ish ranges into /16s and stops at 31 networks; /24s give thousands.
#: 172.17/16 is left to the default bridge.
DEFAULT_SOURCES: Final = (
    PoolSource(IPv4Network("172.18.0.0/15"), 24),
    PoolSource(IPv4Network("172.20.0.0/14"), 24),
    PoolSource(IPv4Network("172.24.0.0/13"), 24),
    PoolSource(IPv4Network("192.168.0.0/16"), 24),
)
#: The default bridge has Docker's subnet if it is free, else the next of its size.
DEFAULT_BRIDGE_SOURCES: Final = (
    PoolSource(IPv4Network("172.17.0.0/16"), 16),
    PoolSource(IPv4Network("172.18.0.0/15"), 16),
    PoolSource(IPv4Network("172.20.0.0/14"), 16),
    PoolSource(IPv4Network("172.24.0.0/13"), 16),
    PoolSource(IPv4Network("192.168.0.0/16"), 20),
)


def choose_subnet(
    sources: Iterable[PoolSource],
    taken: Mapping[int, Spans],
    routed: Sequence[Routed],
    *,
    version: int = 4,
    size: int = 0,
) -> Network:
    """Return the first subnet of the sources that touches nothing taken and nothing routed.

    `taken` are spans by IP version; `size` is a prefix length to have instead of the sources' own.
    Raises `PoolsExhausted`, which names what is routed within the sources.
    """
    blocked: dict[Routed, None] = {}
    ways = [one for one in routed if one.prefix.version == version]
    for base, own_size in sources:
        length = size or own_size
        if base.version != version or length < base.prefixlen:
            continue
        step = 1 << (base.max_prefixlen - length)
        at, stop = int(base.network_address), int(base.broadcast_address)
        while at <= stop:
            end = taken[version].end_of_overlap(at, at + step - 1)
            if end is None:
                way = _first_touching(ways, at, at + step - 1)
                if way is None:
                    return _network(version, at, length)
                blocked[way] = None
                end = int(way.prefix.broadcast_address)
            at = (end // step + 1) * step
    raise PoolsExhausted(version, [routed_through(one) for one in blocked])


def _first_touching(ways: Sequence[Routed], first: int, last: int) -> Routed | None:
    for one in ways:
        if int(one.prefix.network_address) <= last and first <= int(one.prefix.broadcast_address):
            return one
    return None


def _network(version: int, number: int, length: int) -> Network:
    return IPv4Network((number, length)) if version == 4 else IPv6Network((number, length))


def in_the_way(subnet: Network, routed: Iterable[Routed], *, through: str = "") -> Routed | None:
    """Return the most exact routed prefix that overlaps a subnet; routes `through` its own link do not count."""
    version = subnet.version
    hits = [
        one for one in routed if one.link != through and one.prefix.version == version and one.prefix.overlaps(subnet)
    ]
    return max(hits, key=lambda one: one.prefix.prefixlen, default=None)


def routed_through(way: Routed) -> str:
    """Say in words where a routed prefix leads."""
    words = f"{way.prefix} (routed through {way.link})" if way.link else f"{way.prefix} (routed)"
    return words if way.table == MAIN_TABLE else words[:-1] + f", table {way.table})"


def unique_local(seed: bytes, length: int = 64) -> IPv6Network:
    """Make a random unique local prefix (RFC 4193, section 3.2), a /64 or shorter, out of eight random bytes.

    A longer one is the first of its size in a random /64.
    """
    packed = b"\xfd" + seed[:7] + bytes(8)
    return IPv6Network((packed, length), strict=False)


def parse_subnet(text: str) -> Network:
    """Parse CIDR; host bits are refused. Raises `ValueError`."""
    return ip_network(text, strict=True)
