"""Which subnet a network gets: out of the default pools, clear of everything in use. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from berth.networks.errors import PoolsExhausted

Network = IPv4Network | IPv6Network


class PoolSource(NamedTuple):
    """A range to cut subnets of one size out of."""

    base: IPv4Network
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


class Busy:
    """IPv4 ranges in use, merged, for quick questions of overlap."""

    def __init__(self, networks: Iterable[IPv4Network]) -> None:
        spans: list[tuple[int, int]] = []
        for network in networks:
            if network.prefixlen:  # a default route keeps nothing busy
                insort(spans, (int(network.network_address), int(network.broadcast_address)))
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, last in spans:
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], last)
            else:
                self._starts.append(first)
                self._ends.append(last)

    def end_of_overlap(self, first: int, last: int) -> int | None:
        """Return the end of a busy range that touches ``first … last``, or None."""
        at = bisect_left(self._ends, first)
        if at < len(self._starts) and self._starts[at] <= last:
            return self._ends[at]
        return None


def choose_subnet(sources: Iterable[PoolSource], busy: Iterable[IPv4Network]) -> IPv4Network:
    """Return the first subnet of the sources that touches nothing busy. Raises `PoolsExhausted`."""
    taken = Busy(busy)
    for source in sources:
        step = 1 << (32 - source.size)
        at, stop = int(source.base.network_address), int(source.base.broadcast_address)
        while at <= stop:
            end = taken.end_of_overlap(at, at + step - 1)
            if end is None:
                return IPv4Network((at, source.size))
            at = (end // step + 1) * step
    raise PoolsExhausted


def unique_local(seed: bytes) -> IPv6Network:
    """Make a /64 of a random unique local prefix (RFC 4193, section 3.2) out of eight random bytes."""
    packed = b"\xfd" + seed[:7] + bytes(8)
    return IPv6Network((packed, 64))


def overlapping(subnet: Network, others: Iterable[Network]) -> Network | None:
    """Return the first of `others` that overlaps, of the same family."""
    for other in others:
        if other.version == subnet.version and other.overlaps(subnet):
            return other
    return None


def parse_subnet(text: str) -> Network:
    """Parse CIDR; host bits are refused. Raises `ValueError`."""
    return ip_network(text, strict=True)
