"""The use case "show me the packets of a container": a thread copies them, whoever asked gets a capture file's text.

A tap holds its namespace, so it ends with the container. A reader that is too slow loses packets, never the engine's
time. Changes nothing.
"""

import asyncio
import errno
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final, NamedTuple

from berth.base.aio import in_thread
from berth.base.errors import InvalidArgument, NotFound
from berth.kernel.capture import Caught, Tap
from berth.wire import pcap
from berth.wire.packets import RESOLVER, BadFilter, Filter, decode, parse_filter, passes

#: Bytes of packets that wait for a slow reader; what is more is dropped.
WAITING_BYTES: Final = 4 * 1024 * 1024
#: Seconds between two looks at whether the container still runs.
LOOK_S: Final = 0.5


class _Feed:
    """What a thread has copied and a task has not yet handed over."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self.stopped = threading.Event()
        self.ended = False
        self.dropped = 0

    def put(self, data: bytes) -> None:
        if self._bytes > WAITING_BYTES:
            self.dropped += 1
            return
        self._waiting.append(data)
        self._bytes += len(data)
        if len(self._waiting) == 1:
            self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def take(self) -> bytes:
        found = []
        while self._waiting:
            found.append(self._waiting.popleft())
            self._bytes -= len(found[-1])
        return b"".join(found)


def wanted(text: str) -> Filter | None:
    """Read a filter. Raises `InvalidArgument`."""
    try:
        return parse_filter(text)
    except BadFilter as exc:
        raise InvalidArgument(str(exc)) from None


def is_shown(caught: Caught, link: str, test: Filter | None) -> bool:
    """Tell whether a packet is asked for; of the loopback, unless it is named, only what the name server is asked."""
    packet = decode(caught.data, caught.length)
    if caught.link == "lo" and not link and RESOLVER not in (packet.source, packet.target):
        return False
    return passes(packet, test)


class Wish(NamedTuple):
    """What is to be captured: of which link (empty: all, of the loopback only names), how many packets (0: no end)."""

    link: str = ""
    most: int = 0
    snap: int = pcap.SNAP
    test: Filter | None = None


async def captured(namespace: str, wish: Wish, is_there: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Yield a capture file, piece by piece, until it is whole or the container is not there. Raises `NotFound`."""
    try:
        tap = await in_thread(Tap, namespace, "" if wish.link == "any" else wish.link)
    except OSError as exc:
        if exc.errno == errno.ENODEV:
            raise NotFound(f"no link {wish.link} is in the container") from None
        raise
    loop, stirred = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(stirred.set)

    feed = _Feed(wake)
    thread = threading.Thread(target=_copy, args=(tap, feed, wish), name="berth-tap", daemon=True)
    thread.start()
    try:
        yield pcap.head()
        while True:
            stirred.clear()
            ended = feed.ended
            data = feed.take()
            if data:
                yield data
            elif ended or not is_there():
                return
            else:
                try:
                    async with asyncio.timeout(LOOK_S):
                        await stirred.wait()
                except TimeoutError:
                    continue
    finally:
        feed.stopped.set()
        await in_thread(thread.join)
        tap.close()


def _copy(tap: Tap, feed: _Feed, wish: Wish) -> None:
    left = wish.most
    try:
        for caught in tap.packets(wish.snap, lambda: not feed.stopped.is_set()):
            if caught is None or not is_shown(caught, wish.link, wish.test):
                continue
            feed.put(pcap.packed(pcap.Record(caught.time_ns, caught.length, caught.data)))
            left -= 1
            if left == 0:
                return
    finally:
        feed.end()
