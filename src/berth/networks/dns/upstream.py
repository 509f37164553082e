"""Asks servers outside on a container's behalf: in order, each for a limited time, by the transport the query came by.

Every query leaves from a socket of its own, hence from a fresh port, made inside the container's namespace (or the
host's where the upstream listens on the host's loopback). Must not: decide who may be asked.
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from berth.networks.dns import message
from berth.networks.dns.message import Query
from berth.networks.dns.model import Upstream
from berth.networks.processes.loop import READ, WRITE, Loop, Timer

log = logging.getLogger(__name__)

#: How long one upstream has, seconds (moby, libnetwork/resolver.go, extIOTimeout).
TIMEOUT_S: Final = 4.0
#: Forwarded queries one container may have under way (moby, libnetwork/resolver.go, maxConcurrent).
MAX_IN_FLIGHT: Final = 1024
#: An upstream that let a query time out is asked after the others for this long, seconds: only the first query
#: then waits for a dead server, not every one.
LATE_FOR_S: Final = 30.0
#: Sockets made at one visit to a container's namespace, which costs a thread: few for who asks seldom, more at each
#: visit within a second of the last.
_FEW_SPARES: Final = 4
_MANY_SPARES: Final = 32
_SELDOM_S: Final = 1.0

Deliver = Callable[[bytes], None]


class Outlet:
    """Where one container's forwarded queries leave: its namespace, its count of queries under way."""

    def __init__(self, netns_fd: int) -> None:
        self._netns_fd = netns_fd
        self._spares: dict[socket.AddressFamily, list[socket.socket]] = {}
        self._late_until: dict[Upstream, float] = {}
        self._visited = 0.0
        self._at_once = _FEW_SPARES
        self.under_way: set[Exchange] = set()

    def open(self, family: socket.AddressFamily, kind: socket.SocketKind, *, from_host: bool) -> socket.socket:
        """Make an unconnected socket. Raises OSError."""
        if from_host:
            return _make(family, kind, 1)[0]
        spares = self._spares.setdefault(family, []) if kind == socket.SOCK_DGRAM else []
        if not spares:
            # Imported at the first query sent on: many servers never need ctypes and what else comes with it.
            from berth.kernel.netns import NamespaceGone, inside

            count = self._how_many() if kind == socket.SOCK_DGRAM else 1
            try:
                spares += inside(f"/proc/self/fd/{self._netns_fd}", _make, family, kind, count)
            except NamespaceGone as exc:
                raise OSError(errno.ENETUNREACH, str(exc)) from exc
        return spares.pop()

    def _how_many(self) -> int:
        now = time.monotonic()
        often = now - self._visited < _SELDOM_S
        self._visited = now
        self._at_once = min(2 * self._at_once, _MANY_SPARES) if often else _FEW_SPARES
        return self._at_once

    def in_order(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        """Put those that were late lately last; else the order given."""
        now = time.monotonic()
        return sorted(upstreams, key=lambda up: self._late_until.get(up, 0.0) > now)

    def was_late(self, upstream: Upstream) -> None:
        """Note that `upstream` did not answer in time."""
        self._late_until[upstream] = time.monotonic() + LATE_FOR_S

    def was_there(self, upstream: Upstream) -> None:
        """Note that `upstream` answers."""
        self._late_until.pop(upstream, None)

    def close(self) -> None:
        """Abandon what is under way and close everything."""
        for exchange in tuple(self.under_way):
            exchange.abandon()
        for spares in self._spares.values():
            for spare in spares:
                spare.close()
        self._spares.clear()
        os.close(self._netns_fd)


def _make(family: socket.AddressFamily, kind: socket.SocketKind, count: int) -> list[socket.socket]:
    return [socket.socket(family, kind | socket.SOCK_NONBLOCK) for _ in range(count)]


class Exchange:
    """One query on its way through the upstreams. Calls `deliver` exactly once, unless abandoned."""

    def __init__(
        self, loop: Loop, outlet: Outlet, query: Query, data: bytes, upstreams: Sequence[Upstream], deliver: Deliver
    ) -> None:
        self._loop = loop
        self._outlet = outlet
        self._query = query
        self._data = data
        self._left = outlet.in_order(upstreams)
        self._deliver = deliver
        self._ident = 0
        self._upstream = self._left[0]
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None
        self._stream = bytearray()

    def start(self, *, tcp: bool) -> None:
        """Ask the first; over TCP if the query came so."""
        self._tcp = tcp
        self._outlet.under_way.add(self)
        self._next()

    def abandon(self) -> None:
        """Stop without an answer."""
        self._hang_up()
        self._outlet.under_way.discard(self)

    def _next(self) -> None:
        self._hang_up()
        while self._left:
            self._upstream = self._left.pop(0)
            try:
                self._ask(self._upstream)
            except OSError as exc:
                log.debug("name server %s: %s", self._upstream.address, exc)
                self._hang_up()
            else:
                return
        self._done(message.pack_reply(self._query, message.SERVFAIL, (), message.PLAIN_LIMIT))

    def _ask(self, upstream: Upstream) -> None:
        family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        self._sock = self._outlet.open(family, kind, from_host=upstream.from_host)
        self._ident = int.from_bytes(os.urandom(2), "big")
        problem = self._sock.connect_ex((upstream.address, upstream.port))
        if problem not in (0, errno.EINPROGRESS):
            raise OSError(problem, os.strerror(problem))
        if self._tcp:
            self._stream.clear()
            self._loop.add(self._sock.fileno(), WRITE, self._on_connected)
        else:
            self._sock.send(self._renumbered())
            self._loop.add(self._sock.fileno(), READ, self._on_datagram)
        self._timer = self._loop.after(TIMEOUT_S, self._on_time_out)

    def _renumbered(self) -> bytes:
        return self._ident.to_bytes(2, "big") + self._data[2:]

    def _on_time_out(self) -> None:
        self._outlet.was_late(self._upstream)
        self._next()

    def _on_datagram(self, _events: int) -> None:
        assert self._sock is not None
        try:
            reply = self._sock.recv(message.TCP_LIMIT)
        except BlockingIOError:
            return
        except OSError as exc:  # e.g. nobody listens there
            log.debug("name server %s: %s", self._upstream.address, exc)
            self._next()
            return
        if message.answers_to(self._query, reply, self._ident):
            self._answered(reply)

    def _on_connected(self, _events: int) -> None:
        assert self._sock is not None
        problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        packet = struct.pack("!H", len(self._data)) + self._renumbered()
        try:
            # A fresh connection's buffer takes any query whole.
            if problem or self._sock.send(packet) < len(packet):
                raise OSError(problem, os.strerror(problem))
        except OSError as exc:
            log.debug("name server %s: %s", self._upstream.address, exc)
            self._next()
            return
        fd = self._sock.fileno()
        self._loop.drop(fd)
        self._loop.add(fd, READ, self._on_stream)

    def _on_stream(self, _events: int) -> None:
        assert self._sock is not None
        try:
            piece = self._sock.recv(message.TCP_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._stream += piece
        if len(self._stream) >= 2 and len(self._stream) >= 2 + (size := int.from_bytes(self._stream[:2], "big")):
            reply = bytes(self._stream[2 : 2 + size])
            if message.answers_to(self._query, reply, self._ident):
                self._answered(reply)
            else:
                self._next()
        elif not piece:
            self._next()

    def _answered(self, reply: bytes) -> None:
        self._outlet.was_there(self._upstream)
        if message.code_of(reply) in (message.SERVFAIL, message.REFUSED):
            self._next()
        else:
            self._done(self._data[:2] + reply[2:])

    def _done(self, reply: bytes) -> None:
        self.abandon()
        self._deliver(reply)

    def _hang_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            self._loop.drop(self._sock.fileno())
            self._sock.close()
            self._sock = None
