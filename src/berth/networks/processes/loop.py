"""A bare epoll loop with timers: what a process that moves packets needs of asyncio, at a third of its cost a packet.

Must not: know what the packets are.
"""

import heapq
import itertools
import logging
import os
import select
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
_EVENTS_A_POLL: Final = 256
#: So many timers may wait before cancelled ones among them are looked for.
_SWEEP_FROM: Final = 1024

Handler = Callable[[int], None]


class Timer:
    """A call to come. `cancel` may be repeated."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Make sure it never happens."""
        self.call = None


class Loop:
    """Calls handlers when their descriptor is ready, and timers when due. One thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = _SWEEP_FROM
        self._running = False

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler(events)` whenever `fd` is ready, until `drop`."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of `fd`."""
        self._epoll.modify(fd, events)

    def drop(self, fd: int) -> None:
        """Forget `fd`; before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def has(self, fd: int) -> bool:
        """Tell whether `fd` is waited for."""
        return fd in self._handlers

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once, `delay_s` seconds from now."""
        timer = Timer(call)
        if len(self._timers) >= self._sweep_at:
            self._sweep()
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def _sweep(self) -> None:
        """Throw cancelled timers out: a busy process cancels nearly all it sets, long before they are due."""
        self._timers = [one for one in self._timers if one[2].call is not None]
        heapq.heapify(self._timers)
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._timers))

    def stop(self) -> None:
        """Let `run` return after the present round."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`. A handler's failure is logged and costs that event only."""
        self._running = True
        handlers = self._handlers
        poll = self._epoll.poll
        while self._running:
            for fd, events in poll(self._wait_s(), _EVENTS_A_POLL):
                handler = handlers.get(fd)
                if handler is None:  # dropped by an earlier handler of this round
                    continue
                try:
                    handler(events)
                except Exception:  # a border: one bad packet or peer must not end everybody's names
                    log.exception("handler of descriptor %d failed", fd)
            if self._timers:
                self._ring()

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()

    def _wait_s(self) -> float:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return -1
        # Rounded up to whole milliseconds by the kernel's interface; never busy.
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _ring(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2].call
            if call is None:
                continue
            try:
                call()
            except Exception:  # a border, as above
                log.exception("timer failed")


def close_quietly(*fds: int) -> None:
    """Close descriptors; one that is closed already is no harm."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            log.debug("descriptor %d was closed already", fd)
