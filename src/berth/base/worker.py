"""Threads that do blocking work for a loop. Must not: know what it is.

For what is done all the time: an executor of asyncio's passes two futures, a condition and a semaphore from hand to
hand for each piece of work, which takes as long as most of the work here does.
"""

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    """Work that somebody waits for; all but `do` and `tell` belongs to the loop's thread."""

    def __init__(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._error: BaseException | None = None
        self._result: list[T] = []
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def do(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as exc:  # noqa: BLE001  raised again where it is waited for
            self._error = exc

    def tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def ended(self) -> T:
        """Wait for the end, also when cancelled meanwhile; a failure of the work counts for more than that."""
        cancelled: asyncio.CancelledError | None = None
        while not self._ended:
            self._waiter = self._loop.create_future()  # a new one each time: the one that is awaited gets cancelled
            try:
                await self._waiter
            except asyncio.CancelledError as exc:
                cancelled = exc
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # it refers to this frame
        if cancelled is not None:
            raise cancelled
        return self._result[0]


class Workers:
    """Threads, started as they are needed; one of them alone does the work in the order in which it is asked for."""

    def __init__(self, name: str, most: int = 1) -> None:
        self._name = name
        self._most = most
        self._closed = False
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Callable[[], None]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: One entry for each thread that waits and that no job was meant for yet.
        self._free: deque[None] = deque(maxlen=self._most)

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread and wait for its end, also when cancelled meanwhile."""
        job = _Job(work, asyncio.get_running_loop())
        self.put(job.do, job.tell)
        return await job.ended()

    def put(self, work: Callable[[], None], then: Callable[[], None] = lambda: None) -> None:
        """Let `work` be done in a thread and `then` after it; neither raises, and nobody waits. For a loop to call."""
        if self._closed:
            raise RuntimeError(f"{self._name} has ended")
        self._jobs.put((work, then))
        try:
            self._free.pop()
        except IndexError:
            if len(self._threads) < self._most:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}_{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Finish what was asked for, and end the threads."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, then = job
            work()
            self._free.append(None)  # before it is told: there may be more to do at once
            then()

    def forked(self) -> None:
        """Begin anew in a process that was forked off: of its parent's threads it has none."""
        self._begin()


_ALL: Final[weakref.WeakSet[Workers]] = weakref.WeakSet()


def _forked() -> None:
    for one in tuple(_ALL):
        one.forked()


os.register_at_fork(after_in_child=_forked)
