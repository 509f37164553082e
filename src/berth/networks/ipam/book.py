"""Who has which addresses of one network, and who has asked for which: what is given, what is kept for whom. Pure.

Addresses are numbers here. The lowest free one is given, or the one the same container had last if it is still free:
a restart then changes nothing that others know. Must not: know how containers are recorded.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from berth.networks.ipam.addresses import Address, bounds, fixed
from berth.networks.ipam.spans import Spans
from berth.networks.model import Pool

#: What the API can say of an IPv6 subnet (an unsigned 64-bit number).
MOST: int = (1 << 64) - 1


class Usage(NamedTuple):
    """How full a subnet is."""

    #: Given away, kept for somebody, or never given.
    in_use: int
    #: Still to be had by those who ask for none in particular.
    available: int


class AddressBook:
    """The addresses of one network, of both families."""

    def __init__(self) -> None:
        self._holders: dict[int, str] = {}
        self._asked: dict[int, set[str]] = {}
        #: What container has last held what, by IP version.
        self._last: dict[tuple[str, int], int] = {}
        #: Held or asked for.
        self._used = Spans()

    def holder(self, number: int) -> str | None:
        """Return the container that has an address now."""
        return self._holders.get(number)

    def expect(self, container_id: str, number: int) -> None:
        """Keep an address out of what is given to others, whether the container runs or not."""
        self._asked.setdefault(number, set()).add(container_id)
        self._used.add(number, number)

    def unexpect(self, container_id: str, number: int) -> None:
        """Take that back."""
        askers = self._asked.get(number)
        if askers is None:
            return
        askers.discard(container_id)
        if not askers:
            del self._asked[number]
            self._release(number)

    def hold(self, container_id: str, number: int) -> None:
        """Note that a container has an address."""
        self._holders[number] = container_id
        self._used.add(number, number)

    def give_back(self, container_id: str, number: int) -> None:
        """Free an address, if it is this container's: it gets the same again while nobody else has been given it."""
        if self._holders.get(number) != container_id:
            return
        del self._holders[number]
        self.remember(container_id, number)
        self._release(number)

    def remember(self, container_id: str, number: int) -> None:
        """Give a container this address the next time, if nobody has it then."""
        self._last[container_id, _version(number)] = number

    def forget(self, container_id: str) -> None:
        """Drop the memory of what a container had last."""
        for version in (4, 6):
            self._last.pop((container_id, version), None)

    def clear(self) -> None:
        """Free every address, for a network that is gone; what is asked for stays asked for."""
        held, self._holders = list(self._holders), {}
        self._last.clear()
        for number in held:
            self._release(number)

    def is_blank(self) -> bool:
        """Tell whether nobody has, asks for or had an address."""
        return not (self._holders or self._asked or self._last)

    def _release(self, number: int) -> None:
        if number not in self._holders and number not in self._asked:
            self._used.remove(number, number)

    def choose(self, pool: Pool, container_id: str) -> Address | None:
        """Return the address a container that asks for none gets, None if the range is full. Nothing changes."""
        version, first, last = bounds(pool)
        kept = fixed(pool)
        before = self._last.get((container_id, version))
        if before is not None and first <= before <= last and before not in kept and before not in self._used:
            return _address(version, before)
        number = self._used.lowest_free(first)
        while number in kept:
            number = self._used.lowest_free(number + 1)
        return _address(version, number) if number <= last else None

    def usage(self, pool: Pool) -> Usage:
        """Return how full a subnet is."""
        shape = _shape(pool)
        alone = [number for number in shape.never if number not in self._used]
        used = self._used.count(shape.low, shape.high) + len(alone)
        kept = sum(shape.first <= number <= shape.last for number in alone)
        free = shape.last - shape.first + 1 - self._used.count(shape.first, shape.last) - kept
        return Usage(min(used, MOST), min(free, MOST))


class _Shape(NamedTuple):
    """A subnet's ends, the ends of what is given unasked, and the addresses that nobody gets."""

    low: int
    high: int
    first: int
    last: int
    never: frozenset[int]


@lru_cache(maxsize=4096)
def _shape(pool: Pool) -> _Shape:
    subnet = ip_network(pool.subnet)
    version, first, last = bounds(pool)
    low, high = int(subnet.network_address), int(subnet.broadcast_address)
    return _Shape(low, high, first, last, fixed(pool) | frozenset(_ends(version, subnet.prefixlen, low, high)))


def _ends(version: int, prefix: int, low: int, high: int) -> tuple[int, ...]:
    """Return the addresses of a subnet that mean the subnet itself."""
    if version == 4:
        return (low, high) if prefix < 31 else ()
    return (low,) if prefix < 127 else ()


def _version(number: int) -> int:
    return 4 if number < 1 << 32 else 6


def _address(version: int, number: int) -> Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def number_of(text: str) -> int:
    """Return an address as a number."""
    return int(ip_address(text))
