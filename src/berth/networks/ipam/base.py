"""Address management that is not the engine's own: what one must do. Must not: know any.

The engine's own, ``default``, is memory and arithmetic (`pools`, `book`, the register) and never waits; what is asked
of others may take long and fail, so it is asked before the register is, and given back after.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from berth.networks.ipam.pools import Network
from berth.networks.model import Pool

#: Tells whether a subnet cannot be used because the host routes it elsewhere.
Busy = Callable[[Network], bool]


class Ipam(Protocol):
    """Where the subnets and addresses of a network come from."""

    async def take_pool(self, wanted: Pool | None, version: int, options: Mapping[str, str], busy: Busy) -> Pool:
        """Take one subnet with its gateway: the one wanted, or any of an IP version that is not busy."""
        ...

    async def drop_pool(self, pool: Pool) -> None:
        """Give it back; what fails is logged."""
        ...

    async def take_address(self, pool: Pool, wanted: str, mac: str) -> tuple[str, int]:
        """Take one address for a container; return it with its prefix length, empty for none at all."""
        ...

    async def drop_address(self, pool: Pool, address: str) -> None:
        """Give it back; what fails is logged."""
        ...
