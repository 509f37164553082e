"""The part of DHCP that a network has: no subnet of its own, whatever the server says. Pure."""

from collections.abc import Mapping
from typing import Final

from berth.networks.errors import BadOption
from berth.networks.ipam.base import Busy
from berth.networks.model import Pool

DHCP: Final = "dhcp"
#: The subnet of which nobody here knows the size.
EVERYTHING: Final = "0.0.0.0/0"


class DhcpPools:
    """See `berth.networks.ipam.base.Ipam`; addresses come with leases, see `berth.networks.leases`."""

    async def take_pool(
        self,
        wanted: Pool | None,
        version: int,
        options: Mapping[str, str],  # noqa: ARG002
        busy: Busy,  # noqa: ARG002
    ) -> Pool:
        """Return the pool that the server knows; a subnet cannot be asked for."""
        if wanted is not None:
            raise BadOption("the dhcp ipam driver takes no subnet: the DHCP server of the network has it")
        if version == 6:
            raise BadOption("the dhcp ipam driver has IPv4 only; leave --ipv6 out")
        return Pool(EVERYTHING, space=DHCP)

    async def drop_pool(self, pool: Pool) -> None:
        """Do nothing."""

    async def take_address(self, pool: Pool, wanted: str, mac: str) -> tuple[str, int]:  # noqa: ARG002
        """Give none: a lease needs a link."""
        return "", 0

    async def drop_address(self, pool: Pool, address: str) -> None:
        """Do nothing: the lease is given back."""
