"""One TCP connection of a container: queries in, answers out as they get ready (RFC 7766 section 6.2.1.1).

Must not: know what is asked.
"""

import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from berth.networks.dns import message
from berth.networks.processes.loop import READ, WRITE, Loop, Timer

#: A connection without a query is closed after this, seconds (RFC 7766 section 6.2.3 asks for "a few").
_IDLE_S: Final = 10.0
#: Queries answered before others get their turn.
_QUERIES_A_TURN: Final = range(16)
#: Bytes it may leave unread before we stop reading its queries.
_UNREAD_LIMIT: Final = 262_144


class Answering(Protocol):
    """Answers a query by one call, now or later; False if it is none."""

    def __call__(self, data: bytes, deliver: Callable[[bytes], None], *, tcp: bool) -> bool:
        """Answer it."""
        ...


class Connection:
    """Reads and writes one socket, which it owns."""

    def __init__(
        self, loop: Loop, sock: socket.socket, answer: Answering, ended: Callable[["Connection"], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._answer = answer
        self._ended = ended
        self._in = bytearray()
        self._out = bytearray()
        self._pending = 0
        self._finished = False
        self._closed = False
        self._events = READ
        self._turn: Timer | None = None
        self._active = time.monotonic()
        self._idle: Timer = loop.after(_IDLE_S, self._on_idle)
        loop.add(sock.fileno(), READ, self._on_ready)

    def close(self) -> None:
        """Close it; answers still on their way are dropped."""
        if not self._closed:
            self._closed = True
            self._idle.cancel()
            if self._turn is not None:
                self._turn.cancel()
            self._loop.drop(self._sock.fileno())
            self._sock.close()
            self._ended(self)

    def _on_idle(self) -> None:
        """Close it if no whole query came for a while; bytes alone keep nothing open."""
        left = _IDLE_S if self._pending else self._active + _IDLE_S - time.monotonic()
        if left > 0:
            self._idle = self._loop.after(left, self._on_idle)
        else:
            self.close()

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        elif events & READ:
            self._read()
        else:
            self.close()

    def _read(self) -> None:
        try:
            piece = self._sock.recv(message.TCP_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not piece:
            self._finished = True
            self._settle()
            return
        self._in += piece
        self._work()

    def _work(self) -> None:
        """Answer some of the queries that are there whole; others, and other containers, get their turn in between."""
        self._turn = None
        for _ in _QUERIES_A_TURN:
            if self._closed or not self._has_whole() or len(self._out) >= _UNREAD_LIMIT:
                break
            size = int.from_bytes(self._in[:2], "big")
            data = bytes(self._in[2 : 2 + size])
            del self._in[: 2 + size]
            self._pending += 1
            self._active = time.monotonic()
            if not self._answer(data, self._deliver, tcp=True):
                self.close()
        self._flush()

    def _has_whole(self) -> bool:
        return len(self._in) >= 2 and len(self._in) >= 2 + int.from_bytes(self._in[:2], "big")

    def _deliver(self, reply: bytes) -> None:
        self._pending -= 1
        if not self._closed:
            self._out += len(reply).to_bytes(2, "big") + reply
            self._flush()

    def _flush(self) -> None:
        if self._out and not self._closed:
            try:
                del self._out[: self._sock.send(self._out)]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
        self._settle()

    def _settle(self) -> None:
        """Wait for what makes sense now; close when all is said."""
        if self._closed:
            return
        waits = self._has_whole()
        if self._finished and not self._out and not self._pending and not waits:
            self.close()
            return
        room = len(self._out) < _UNREAD_LIMIT
        if waits and room and self._turn is None:
            self._turn = self._loop.after(0, self._work)
        events = WRITE if self._out else 0
        if not self._finished and room and not waits:
            events |= READ
        if events != self._events:
            self._events = events
            self._loop.change(self._sock.fileno(), events)
