"""Containers that hold still for an operation on their volumes (`berth.volumes.consistency` says when and why).

Must not: decide who holds still. Nothing here waits without a limit, whatever the processes of a container do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from berth.base.aio import in_thread
from berth.base.errors import NotFound, NotModified
from berth.containers.errors import IsRestarting, MarkedForRemoval, NotRunning
from berth.containers.execs.model import Command, check_running
from berth.containers.execs.service import Execs
from berth.containers.model import ContainerRecord
from berth.containers.service import Containers
from berth.containers.states import State
from berth.kernel import cgroup
from berth.volumes.consistency.model import Writer

#: How long another operation on a container is waited for, in seconds.
SETTLE_LIMIT_S: Final = 10.0
#: How long a thaw may take, in seconds.
THAW_LIMIT_S: Final = 30.0


class Quieting:
    """The containers of one engine, as `berth.volumes.consistency.parts.Writers`."""

    def __init__(self, containers: Containers, execs: Execs, cgroup_parent: str) -> None:
        self._containers = containers
        self._execs = execs
        self._cgroup_parent = cgroup_parent

    async def running(self, idents: Sequence[str]) -> tuple[Sequence[Writer], Sequence[str]]:
        """Return those of `idents` that run once changes under way have ended, and those that take too long."""
        found, busy = [], []
        for ident in idents:
            try:
                async with asyncio.timeout(SETTLE_LIMIT_S):
                    record = await self._containers.settled(ident)
            except TimeoutError:
                busy.append(ident)
                continue
            if record is not None and record.running:
                found.append(_writer(record))
        return found, busy

    async def freeze(self, ident: str, limit_s: float) -> None:
        """Pause, and wait until the kernel says that every process is frozen. Raises `TimeoutError`.

        One that has ended by itself, since it was looked at, writes no more.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self._containers.pause(ident)
        except (NotFound, NotRunning, IsRestarting, MarkedForRemoval):
            return
        group = self._containers.find(ident).cgroup_path(self._cgroup_parent)
        if not await in_thread(cgroup.wait_until_frozen, self._containers.host.groups, group, limit_s):
            raise TimeoutError

    async def thaw(self, ident: str) -> None:
        """Resume, whatever the record says; nothing happens to what is gone. Raises `TimeoutError`."""
        async with asyncio.timeout(THAW_LIMIT_S):
            await _unless_gone(self._containers.thaw, ident)

    async def stop(self, ident: str) -> None:
        """Stop, unless it has ended."""
        await _unless_gone(self._containers.stop, ident)

    async def start(self, ident: str) -> None:
        """Start, unless it runs or is gone."""
        await _unless_gone(self._containers.start, ident)

    async def run(self, ident: str, argv: Sequence[str], limit_s: float, keep: int) -> tuple[int, str]:
        """Run a command as the container's user; return its status and the beginning of its output."""
        record = self._containers.find(ident)
        check_running(record)
        return await self._execs.run(
            record, Command(argv=tuple(argv), stdout=True, stderr=True), limit_s=limit_s, keep=keep
        )


def _writer(record: ContainerRecord) -> Writer:
    return Writer(
        id=record.id,
        name=record.name,
        labels=record.config.labels or {},
        started_ns=record.started_ns,
        auto_remove=record.auto_remove,
        paused=record.state is State.PAUSED,
    )


async def _unless_gone(act: Callable[[str], Awaitable[None]], ident: str) -> None:
    try:
        await act(ident)
    except (NotFound, NotModified):
        return
