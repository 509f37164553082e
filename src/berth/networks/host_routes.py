"""What the host routes elsewhere: no network may be given that. Must not: choose subnets."""

import asyncio
import contextlib
from typing import Final

from berth.base.aio import in_thread
from berth.kernel.routes import Routed, RouteView
from berth.networks.register import Register

#: Seconds between hearing of a change and taking it in.
QUIET_S: Final = 0.1


class HostRoutes:
    """The host's routes but for those of the engine's own bridges."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._view = RouteView()

    async def prefixes(self, *, fresh: bool = False) -> list[Routed]:
        """Return what is routed; unless read `fresh`, that may be more than is left, never less."""
        known = None if fresh else self._view.at_hand(self._is_ours)
        if known is None:
            known = await in_thread(self._view.prefixes, self._is_ours, fresh=fresh)
            self._listen()
        return known

    def _listen(self) -> None:
        if (fd := self._view.fileno()) is not None:
            asyncio.get_running_loop().add_reader(fd, self._heard)

    def _heard(self) -> None:
        # What was told is taken in when the engine has time, not when the next network is made; not at once, because
        # one change of a network is told as many.
        loop = asyncio.get_running_loop()
        if (fd := self._view.fileno()) is not None:
            loop.remove_reader(fd)
            loop.call_later(QUIET_S, self._catch_up)

    def _catch_up(self) -> None:
        self._view.at_hand(self._is_ours)
        self._listen()

    def _is_ours(self, link_name: str) -> bool:
        record = self._register.on_bridge(link_name)
        return record is not None and not record.adopted_bridge

    def close(self) -> None:
        """Listen no more."""
        if (fd := self._view.fileno()) is not None:
            with contextlib.suppress(RuntimeError):  # no loop runs any more
                asyncio.get_running_loop().remove_reader(fd)
        self._view.close()
