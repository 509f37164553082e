"""No address management, ``null``: containers get no address from the engine. Pure."""

from collections.abc import Mapping

from berth.networks.errors import BadOption
from berth.networks.ipam.base import Busy
from berth.networks.model import Pool

#: The pools of this kind have no addresses of their own: Docker's texts.
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


class Null:
    """See `berth.networks.ipam.base.Ipam`."""

    async def take_pool(
        self,
        wanted: Pool | None,
        version: int,
        options: Mapping[str, str],  # noqa: ARG002
        busy: Busy,  # noqa: ARG002
    ) -> Pool:
        """Return the pool that is no pool; a subnet cannot be asked for."""
        if wanted is not None:
            raise BadOption("null ipam driver does not handle specific address pool requests")
        return Pool(EVERYTHING[version], space="null")

    async def drop_pool(self, pool: Pool) -> None:
        """Do nothing."""

    async def take_address(self, pool: Pool, wanted: str, mac: str) -> tuple[str, int]:  # noqa: ARG002
        """Give none."""
        return "", 0

    async def drop_address(self, pool: Pool, address: str) -> None:
        """Do nothing."""
