"""One query to one server outside: by UDP, or TCP where it came so, or where UDP does not do.

UDP does not do for an answer that was cut, nor while somebody showers us with forged ones. Must not: know of other
servers or judge an answer.
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from berth.networks.dns import message
from berth.networks.dns.message import Query
from berth.networks.dns.model import Upstream
from berth.networks.dns.outlet import Outlet
from berth.networks.processes.loop import READ, WRITE, Loop, Timer

log = logging.getLogger(__name__)

#: How long a server has, seconds (moby, libnetwork/resolver.go, extIOTimeout).
TIMEOUT_S: Final = 4.0
#: After how long a datagram is sent once more, seconds: one of the two may have been lost.
RESEND_S: Final = 1.0
#: Replies that are none to our question before we turn to TCP, where nobody can forge.
MOST_FORGED: Final = 8


class Leg:
    """Calls `heard` with a reply or `failed` with a reason, once, unless ended before."""

    def __init__(
        self,
        loop: Loop,
        outlet: Outlet,
        upstream: Upstream,
        query: Query,
        data: bytes,
        *,
        heard: Callable[["Leg", bytes], None],
        failed: Callable[["Leg", str], None],
    ) -> None:
        self.upstream = upstream
        self.begun = time.monotonic()
        self._loop = loop
        self._outlet = outlet
        self._query = query
        self._data = data
        self._heard = heard
        self._failed = failed
        self._ident = 0
        self._sock: socket.socket | None = None
        self._timer: Timer | None = None
        self._stream = bytearray()
        self._forged = 0
        #: An answer that was cut, in case TCP brings none.
        self._cut = b""

    def begin(self, *, tcp: bool) -> None:
        """Send the query. Raises OSError."""
        self._connect(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)

    def end(self) -> None:
        """Stop; nothing is called any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hang_up()

    def give_up_in(self, seconds: float) -> None:
        """Wait no longer than that from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, self._on_time_out)

    @property
    def took_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    def _connect(self, kind: socket.SocketKind) -> None:
        up, place = self.upstream, _place(self.upstream)
        family = socket.AF_INET6 if ":" in up.address else socket.AF_INET
        self._sock = sock = self._outlet.open(family, kind, from_host=up.from_host)
        self._outlet.streams += kind == socket.SOCK_STREAM
        self._ident = int.from_bytes(os.urandom(2), "big")
        problem = sock.connect_ex(place)
        if problem not in (0, errno.EINPROGRESS):
            self._hang_up()
            raise OSError(problem, os.strerror(problem))
        if kind == socket.SOCK_STREAM:
            self._loop.add(sock.fileno(), WRITE, self._on_connected)
            self.give_up_in(TIMEOUT_S)
            return
        try:
            sock.send(self._renumbered())
        except OSError:
            self._hang_up()
            raise
        self._loop.add(sock.fileno(), READ, self._on_datagram)
        self._timer = self._loop.after(RESEND_S, self._on_resend)

    def _renumbered(self) -> bytes:
        return self._ident.to_bytes(2, "big") + self._data[2:]

    def _on_resend(self) -> None:
        if self._sock is None:
            return
        try:
            self._sock.send(self._renumbered())
        except OSError as exc:
            log.debug("name server %s: %s", self.upstream.address, exc)
        self._timer = self._loop.after(TIMEOUT_S - RESEND_S, self._on_time_out)

    def _on_time_out(self) -> None:
        self._lose("no reply")

    def _on_datagram(self, _events: int) -> None:
        assert self._sock is not None
        try:
            reply = self._sock.recv(message.TCP_LIMIT)
        except BlockingIOError:
            return
        except OSError as exc:  # e.g. nobody listens there
            self._lose(exc.strerror or str(exc))
            return
        if not message.answers_to(self._query, reply, self._ident):
            self._forged += 1
            if self._forged == MOST_FORGED:
                log.warning(
                    "name server %s: replies that are none to our questions; asked by TCP", self.upstream.address
                )
                self._turn_to_tcp()
        elif message.is_cut(reply):
            self._cut = reply
            self._turn_to_tcp()
        else:
            self._win(reply)

    def _turn_to_tcp(self) -> None:
        self.end()
        try:
            self._connect(socket.SOCK_STREAM)
        except OSError as exc:
            self._lose(exc.strerror or str(exc))

    def _on_connected(self, _events: int) -> None:
        assert self._sock is not None
        problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        packet = struct.pack("!H", len(self._data)) + self._renumbered()
        try:
            # A fresh connection's buffer takes any query whole.
            if problem or self._sock.send(packet) < len(packet):
                raise OSError(problem, os.strerror(problem))
        except OSError as exc:
            self._lose(exc.strerror or str(exc))
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
                self._win(reply)
            else:
                self._lose("a reply that is none to our question")
        elif not piece:
            self._lose("hung up")

    def _win(self, reply: bytes) -> None:
        self.end()
        self._heard(self, reply)

    def _lose(self, why: str) -> None:
        self.end()
        if self._cut:
            self._heard(self, self._cut)
        else:
            self._failed(self, why)

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._loop.drop(self._sock.fileno())
            self._outlet.streams -= self._sock.type == socket.SOCK_STREAM
            self._sock.close()
            self._sock = None
        self._stream.clear()


def _place(upstream: Upstream) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return what to connect to. Raises OSError where an address is of a link that is not there."""
    address, _, link = upstream.address.partition("%")
    if not link:
        return address, upstream.port
    return address, upstream.port, 0, int(link) if link.isdecimal() else socket.if_nametoindex(link)
