"""Which subnets networks have: who is in the way of one, and what is left of a pool. Pure.

Both questions cost the same with ten networks or thousands. Must not: know what a network is but for its name.
"""

from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

from berth.networks.ipam.pools import Network
from berth.networks.ipam.spans import Spans


class Held(NamedTuple):
    """One subnet, as numbers, and by whom it is held."""

    first: int
    last: int
    subnet: Network
    holder: str


class SubnetIndex:
    """Subnets that do not overlap, of both families."""

    def __init__(self) -> None:
        self._held: dict[int, list[Held]] = {4: [], 6: []}
        self._spans: dict[int, Spans] = {4: Spans(), 6: Spans()}

    def add(self, subnet: Network, holder: str) -> None:
        """Note who has a subnet."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        insort(self._held[subnet.version], Held(first, last, subnet, holder), key=_order)
        self._spans[subnet.version].add(first, last)

    def remove(self, subnet: Network, holder: str) -> None:
        """Note that somebody has it no more; nothing happens if nobody does."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        held = self._held[subnet.version]
        at = bisect_left(held, (first, last), key=_order)
        while at < len(held) and _order(held[at]) == (first, last):
            if held[at].holder == holder:
                del held[at]
                self._spans[subnet.version].remove(first, last)
                return
            at += 1

    def clash(self, subnet: Network) -> Held | None:
        """Return a subnet that shares addresses with this one, None for none."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        held = self._held[subnet.version]
        at = bisect_right(held, first, key=lambda one: one.first)
        for one in held[max(at - 1, 0) : at + 1]:
            if one.first <= last and first <= one.last:
                return one
        return None

    def spans(self, version: int) -> Spans:
        """Return what is used of a family, to be read only."""
        return self._spans[version]


def _order(one: Held) -> tuple[int, int]:
    return one.first, one.last
