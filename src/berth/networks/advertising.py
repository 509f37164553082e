"""Tells the neighbours of a container that has just come which MAC its addresses have now.

An address that another container, or another machine, had a moment ago is remembered under the other's MAC; until that
is forgotten nothing reaches the new one. The first time is before the answer to who started it, others follow behind.
A failure is logged: the container is there all the same. Must not: give addresses.
"""

import asyncio
import functools
import logging
import socket
from collections.abc import Iterable
from typing import Final

from berth.base.aio import Tasks, in_thread
from berth.base.errors import EngineError
from berth.base.ids import short
from berth.kernel import packet
from berth.networks import announcement
from berth.networks.drivers.base import Way
from berth.networks.drivers.registry import driver_of
from berth.networks.model import LiveEndpoint, LiveSandbox
from berth.networks.options import Advertisements, advertisements
from berth.networks.register import Register
from berth.store.base import Records

log = logging.getLogger(__name__)

#: Seconds after which sockets are closed: behind the answer, not beside what it still waits for.
CLOSE_AFTER_S: Final = 0.05


class Advertising:
    """Says whose addresses are whose."""

    def __init__(self, live: Records[LiveSandbox], register: Register) -> None:
        self._live = live
        self._register = register
        self._tasks = Tasks()

    async def tell(self, live: LiveSandbox, ends: Iterable[LiveEndpoint]) -> None:
        """Tell the neighbours of new attachments once, and as often as their networks want behind the answer."""
        wanted = [(end, often) for end in ends if (often := self._often(end)).times]
        if not wanted:
            return
        await self._say(live.netns_path, [end for end, _ in wanted])
        for end, often in wanted:
            if often.times > 1:
                self._tasks.start(f"advertise {end.ipv4 or end.ipv6}", self._again(live, end, often))

    def _often(self, end: LiveEndpoint) -> Advertisements:
        record = self._register.by_id(end.network_id)
        if record is None or not end.link or not (end.ipv4 or end.ipv6):
            return Advertisements(0)
        if driver_of(record).way(record.options, internal=False) is Way.LINK:
            return Advertisements(0)  # the kernel routes there, and nobody asks for a MAC
        return advertisements(record.options)

    async def _again(self, live: LiveSandbox, end: LiveEndpoint, often: Advertisements) -> None:
        for _ in range(often.times - 1):
            await asyncio.sleep(often.interval_ms / 1000)
            now = self._live.get(live.container_id)
            there = now.on(end.network_id) if now else None
            if there is None or there.endpoint_id != end.endpoint_id:
                return
            await self._say(live.netns_path, [there])

    async def _say(self, namespace: str, ends: Iterable[LiveEndpoint]) -> None:
        if used := await in_thread(_send, namespace, ends):
            self._tasks.start("close sockets", _close_later(used))

    async def close(self) -> None:
        """Tell no more."""
        await self._tasks.close()


def _send(namespace: str, ends: Iterable[LiveEndpoint]) -> list[socket.socket]:
    used = []
    for end in ends:
        frames = functools.partial(announcement.frames, ipv4=end.ipv4, ipv6=end.ipv6)
        try:
            used.append(packet.send(namespace, end.link, frames))
        except EngineError as exc:
            log.warning(
                "neighbours on network %s are not told of %s: %s", end.network_name, short(end.endpoint_id), exc
            )
    return used


async def _close_later(sockets: Iterable[socket.socket]) -> None:
    try:
        await asyncio.sleep(CLOSE_AFTER_S)
    finally:
        await in_thread(_close, sockets)


def _close(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()
