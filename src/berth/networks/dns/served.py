"""One served container: its sockets, and the fast path from datagram to ready-packed answer.

Must not: change tables. `server` owns those and says when they changed.
"""

import errno
import itertools
import logging
import random
import socket
from collections.abc import Callable, Iterator
from typing import Final

from berth.networks.dns import message
from berth.networks.dns.decide import Answer, Refuse, decide, rotations
from berth.networks.dns.message import Junk, Query, Unfit
from berth.networks.dns.model import ServeConfig, Sockets
from berth.networks.dns.table import View
from berth.networks.dns.upstream import MAX_IN_FLIGHT, Deliver, Exchange, Outlet
from berth.networks.processes.loop import READ, WRITE, Loop, Timer

log = logging.getLogger(__name__)

#: Largest query read over UDP, bytes: a query has no reason to be near it.
_DATAGRAM: Final = 4096
#: Room for queries that wait, bytes: some 1,300 of them; the kernel's default drops a burst of 300 queries.
_QUEUE: Final = 524_288
#: asm-generic/socket.h; beyond net.core.rmem_max, which CAP_NET_ADMIN allows.
_SO_RCVBUFFORCE: Final = 33
#: Datagrams taken from one container before others get their turn.
_BATCH: Final = range(64)
#: Ready answers kept for one container. One asker's names fit; one that randomises (0x20, cookies) cannot fill memory.
_CACHE_LIMIT: Final = 256
#: Orders kept ready of an answer with several addresses.
_ROTATIONS: Final = 16
#: A TCP connection without a query is closed after this, seconds (RFC 7766 section 6.2.3 asks for "a few").
_IDLE_S: Final = 10.0
#: TCP connections of one container at once, and bytes it may leave unread before we stop reading its queries.
_CONNECTIONS: Final = 128
_UNREAD_LIMIT: Final = 262_144
#: How long no connection is taken after the process ran out of descriptors, seconds.
_OUT_OF_DESCRIPTORS_S: Final = 0.2

#: Everything of an answer after its ident, or, with several addresses, its orders in turn.
Ready = bytes | Iterator[bytes]


class Served:
    """Answers on one container's sockets, which it owns."""

    def __init__(self, loop: Loop, config: ServeConfig, sockets: Sockets, look: Callable[["Served"], View]) -> None:
        self.container_id = config.container_id
        self.config = config
        self._loop = loop
        self._look = look
        self._view: View | None = None
        self._cache: dict[bytes, Ready] = {}
        self._connections: set[Connection] = set()
        #: Networks whose tables the present view was made from.
        self.looked_at: tuple[str, ...] = ()
        self._udp, self._tcp = _adopted(sockets)
        self._outlet = Outlet(sockets.netns)
        self._udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
        for sock in (self._udp, self._tcp):
            sock.settimeout(0)
        loop.add(self._udp.fileno(), READ, self._answer_datagrams())
        loop.add(self._tcp.fileno(), READ, self._on_connection)

    def stale(self) -> None:
        """Forget what was derived from tables or configuration."""
        self._view = None
        self._cache.clear()

    def close(self) -> None:
        """Close all sockets."""
        for sock in (self._udp, self._tcp):
            self._loop.drop(sock.fileno())
            sock.close()
        for connection in tuple(self._connections):
            connection.close()
        self._outlet.close()

    def _answer_datagrams(self) -> Callable[[int], None]:
        """Make the handler that most packets meet; everything it needs is in its closure."""
        receive = self._udp.recvfrom
        send = self._udp.sendto
        cached = self._cache.get
        slowly = self._answer_datagram

        def on_datagrams(_events: int) -> None:
            try:
                for _ in _BATCH:
                    data, peer = receive(_DATAGRAM)
                    ready = cached(data[2:])
                    if ready is None:
                        slowly(data, peer)
                    elif type(ready) is bytes:
                        send(data[:2] + ready, peer)
                    else:
                        send(data[:2] + next(ready), peer)  # type: ignore[arg-type]  # mypy: `type() is` proves nothing
            except BlockingIOError:
                return
            except OSError as exc:  # the asker's namespace refuses the answer; its resolver will ask again
                log.debug("answer to %s not sent: %s", self.container_id, exc)

        return on_datagrams

    def _answer_datagram(self, data: bytes, peer: object) -> None:
        def deliver(reply: bytes) -> None:
            try:
                self._udp.sendto(reply, peer)  # type: ignore[call-overload]  # whatever recvfrom gave
            except OSError as exc:
                log.debug("answer to %s not sent: %s", self.container_id, exc)

        self.answer(data, deliver, tcp=False)

    def answer(self, data: bytes, deliver: Deliver, *, tcp: bool) -> bool:
        """Answer one query by one `deliver`, now or later; False if it is junk and will have no answer."""
        try:
            query = message.parse_query(data)
        except Junk:
            return False
        except Unfit as unfit:
            deliver(unfit.reply)
            return True
        if self._view is None:
            self._view = self._look(self)
        outcome = decide(query, self._view, self.config)
        if isinstance(outcome, Answer):
            self._answer_known(query, data, outcome, deliver, tcp=tcp)
        elif isinstance(outcome, Refuse):
            deliver(message.pack_reply(query, outcome.code, (), message.PLAIN_LIMIT))
        elif len(self._outlet.under_way) >= MAX_IN_FLIGHT:
            deliver(message.pack_reply(query, message.REFUSED, (), message.PLAIN_LIMIT))
        else:
            Exchange(self._loop, self._outlet, query, data, outcome.upstreams, deliver).start(tcp=tcp)
        return True

    def _answer_known(self, query: Query, data: bytes, outcome: Answer, deliver: Deliver, *, tcp: bool) -> None:
        records = outcome.records
        first = random.randrange(len(records)) if len(records) > 1 else 0  # noqa: S311  spreads load, guards nothing
        records = records[first:] + records[:first]
        if tcp:
            deliver(message.pack_reply(query, message.NOERROR, records, message.TCP_LIMIT))
            return
        turns = [
            message.pack_reply(query, message.NOERROR, turn, query.limit) for turn in rotations(records, _ROTATIONS)
        ]
        deliver(turns[0])
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        tails = [turn[2:] for turn in turns]
        self._cache[data[2:]] = tails[0] if len(tails) == 1 else itertools.cycle(tails[1:] + tails[:1])

    def _on_connection(self, _events: int) -> None:
        try:
            sock, _peer = self._tcp.accept()
        except OSError as exc:
            log.debug("connection of %s not taken: %s", self.container_id, exc)
            if exc.errno in (errno.EMFILE, errno.ENFILE):  # it stays ready: look away for a while, or we would spin
                self._loop.change(self._tcp.fileno(), 0)
                self._loop.after(_OUT_OF_DESCRIPTORS_S, self._accept_again)
            return
        if len(self._connections) >= _CONNECTIONS:
            sock.close()
            return
        sock.settimeout(0)
        self._connections.add(Connection(self._loop, sock, self, self._connections.discard))

    def _accept_again(self) -> None:
        if self._tcp.fileno() >= 0:
            self._loop.change(self._tcp.fileno(), READ)


def _adopted(sockets: Sockets) -> tuple[socket.socket, socket.socket]:
    """Take the two sockets over, or neither. Raises OSError for what is no socket."""
    udp = socket.socket(fileno=sockets.udp)
    try:
        return udp, socket.socket(fileno=sockets.tcp)
    except OSError:
        udp.detach()
        raise


class Connection:
    """One TCP connection of a container: queries in, answers out as they get ready (RFC 7766 section 6.2.1.1)."""

    def __init__(self, loop: Loop, sock: socket.socket, served: Served, ended: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._sock = sock
        self._served = served
        self._ended = ended
        self._in = bytearray()
        self._out = bytearray()
        self._pending = 0
        self._finished = False
        self._closed = False
        self._events = READ
        self._idle: Timer = loop.after(_IDLE_S, self._on_idle)
        loop.add(sock.fileno(), READ, self._on_ready)

    def close(self) -> None:
        """Close it; answers still on their way are dropped."""
        if not self._closed:
            self._closed = True
            self._idle.cancel()
            self._loop.drop(self._sock.fileno())
            self._sock.close()
            self._ended(self)

    def _on_idle(self) -> None:
        if self._pending:
            self._idle = self._loop.after(_IDLE_S, self._on_idle)
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
        self._idle.cancel()
        self._idle = self._loop.after(_IDLE_S, self._on_idle)
        self._in += piece
        while len(self._in) >= 2 and len(self._in) >= 2 + (size := int.from_bytes(self._in[:2], "big")):
            data = bytes(self._in[2 : 2 + size])
            del self._in[: 2 + size]
            self._pending += 1
            if not self._served.answer(data, self._deliver, tcp=True):
                self.close()
            if self._closed:
                return
        self._flush()

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
        if self._finished and not self._out and not self._pending:
            self.close()
            return
        events = WRITE if self._out else 0
        if not self._finished and len(self._out) < _UNREAD_LIMIT:
            events |= READ
        if events != self._events:
            self._events = events
            self._loop.change(self._sock.fileno(), events)
