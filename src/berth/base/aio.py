"""Async pieces used everywhere: owned tasks, waiting to the end, locks by key, off-loop work.

Must not: know any noun of the engine.
"""

import asyncio
import contextvars
import functools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, ParamSpec, TypeVar

from berth.base.worker import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

#: As many as asyncio would have.
_WORKERS: Final = Workers("work", min(32, (os.cpu_count() or 1) + 4))


async def finish(work: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """Await `work` to its end though this task is cancelled meanwhile; then let the cancellation go on."""
    task = asyncio.ensure_future(work)  # noqa: TID251  owned here: awaited to its end below
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        # What is awaited is a future of its own, so that only it is cancelled; cheaper than `asyncio.shield`.
        ended: asyncio.Future[None] = task.get_loop().create_future()
        tell = functools.partial(_tell, ended)
        task.add_done_callback(tell)
        try:
            await ended
        except asyncio.CancelledError as exc:
            task.remove_done_callback(tell)
            cancelled = exc
    if cancelled is not None and not task.cancelled() and task.exception() is None:
        raise cancelled
    return task.result()


def _tell(ended: asyncio.Future[None], _: object = None) -> None:
    if not ended.done():
        ended.set_result(None)


async def together(*works: Awaitable[object]) -> None:
    """Do all at the same time, each to its end though others fail; raise the first failure, in their order."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking `work` in a worker thread and wait for its end, also when cancelled meanwhile.

    A thread cannot be stopped half-way: waiting for it keeps "cancelled" from meaning "still at work".
    """
    context = contextvars.copy_context()
    return await _WORKERS.run(functools.partial(context.run, work, *args, **kwargs))


async def supervise(name: str, work: Callable[[], Awaitable[None]], *, pause_s: float) -> None:
    """Run a service for ever: log its failure or unexpected end, pause, start it again."""
    while True:
        try:
            await work()
        except Exception:  # a border: a service's failure must not end the daemon
            log.exception("service %s failed; again in %.1f s", name, pause_s)
        else:
            log.warning("service %s ended by itself; again in %.1f s", name, pause_s)
        await asyncio.sleep(pause_s)


class Tasks:
    """Background tasks with an owner: each has a name, failures are logged, `close` waits for all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` and keep hold of it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("background task %s failed", task.get_name(), exc_info=exc)

    async def settle(self) -> None:
        """Wait until every task started so far, and those they start, has ended."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
            # Tasks leave the set in callbacks of theirs, which need a turn of the loop: what is waited for may have
            # ended already, and then waiting gives the loop none.
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        for task in tuple(self._tasks):
            task.cancel()
        await self.settle()


class KeyedLocks:
    """One lock per key, made at first use and forgotten after the last.

    Order over nouns: network, then volume, then container. Never held while waiting for an exit.
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of `key`."""
        lock, users = self._locks.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
