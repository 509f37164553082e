"""A bounded ring of past events and the queues of those who listen. Must not: block a publisher."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from berth.base.clock import Clock
from berth.events.model import Event

#: How many past events are kept for `since`; Docker keeps 256.
KEPT: Final = 1_024
#: How far a listener may fall behind, in events, before it is cut off.
BEHIND: Final = 8_192

Listener = Callable[[Event], None]


class Bus:
    """Hands events to listeners; late ones may ask for what has passed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._past: deque[Event] = deque(maxlen=KEPT)
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._listeners: list[Listener] = []

    def publish(self, event: Event) -> None:
        """Stamp `event` and hand it out; never waits."""
        stamped = msgspec.structs.replace(event, time_ns=event.time_ns or self._clock.now_ns())
        self._past.append(stamped)
        for listener in self._listeners:
            listener(stamped)
        for queue in list(self._queues):
            if queue.qsize() >= BEHIND:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(stamped)

    def on_event(self, listener: Listener) -> None:
        """Call `listener` for every event to come, for the life of the engine; it must not block or raise."""
        self._listeners.append(listener)

    def past(self, since_ns: int, until_ns: int | None = None) -> list[Event]:
        """Return kept events in a span of time."""
        return [e for e in self._past if e.time_ns >= since_ns and (until_ns is None or e.time_ns <= until_ns)]

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Event | None]]:
        """Lend a queue of events to come; None in it says that the listener fell too far behind."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


async def drained(queue: "asyncio.Queue[Event | None]") -> AsyncIterator[Event]:
    """Yield events from a lent queue until the listener is cut off."""
    while (event := await queue.get()) is not None:
        yield event
