"""What the host routes elsewhere: no network may be given that. Must not: choose subnets."""

from berth.base.aio import in_thread
from berth.kernel.routes import Routed, RouteView
from berth.networks.register import Register


class HostRoutes:
    """The host's routes but for those of the engine's own bridges."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._view = RouteView()

    async def prefixes(self, *, fresh: bool = False) -> list[Routed]:
        """Return what is routed; unless read `fresh`, that may be more than is left, never less."""
        return await in_thread(self._view.prefixes, self._is_ours, fresh=fresh)

    def _is_ours(self, link_name: str) -> bool:
        record = self._register.on_bridge(link_name)
        return record is not None and not record.adopted_bridge

    def close(self) -> None:
        """Listen no more."""
        self._view.close()
