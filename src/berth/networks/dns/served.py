"""One served container: its sockets, and the fast path from datagram to ready-packed answer.

Must not: change tables. `server` owns those and says when they changed.
"""

import errno
import itertools
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from berth.networks.dns import message, permits, why
from berth.networks.dns.connection import Connection
from berth.networks.dns.decide import Answer, Forward, Refuse, decide, rotations
from berth.networks.dns.forwarder import Forwarder, Tell
from berth.networks.dns.ledger import Ledger, Tally
from berth.networks.dns.message import Junk, Query, Unfit
from berth.networks.dns.model import ServeConfig, Sockets
from berth.networks.dns.realms import Realm, Realms
from berth.networks.dns.table import View
from berth.networks.dns.why import Why
from berth.networks.processes.loop import READ, Loop

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
#: Bytes that one ready answer may take, all its orders together; a larger one is written anew each time.
_READY_LIMIT: Final = 16_384
#: TCP connections of one container at once.
_CONNECTIONS: Final = 128
#: How long no connection is taken after the process ran out of descriptors, seconds.
_OUT_OF_DESCRIPTORS_S: Final = 0.2

#: Everything of an answer after its ident; or its orders in turn; or as old as it is, until it is too old.
Ready = bytes | Iterator[bytes]
#: Takes an answer to its asker.
Deliver = Callable[[bytes], None]


class Served:
    """Answers on one container's sockets, which it owns."""

    def __init__(
        self, loop: Loop, config: ServeConfig, sockets: Sockets, realms: Realms, look: Callable[["Served"], View]
    ) -> None:
        self.container_id = config.container_id
        self.config = config
        self._loop = loop
        self._look = look
        self._view: View | None = None
        self._cache: dict[bytes, tuple[Ready, Tally, Why]] = {}
        self._realms = realms
        self._realm: Realm | None = None
        #: What was asked and answered here.
        self.ledger = Ledger()
        self._connections: set[Connection] = set()
        #: Networks whose tables the present view was made from.
        self.looked_at: tuple[str, ...] = ()
        self._udp, self._tcp = _adopted(sockets)
        self._forwarder = Forwarder(loop, sockets.netns)
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
        self._forwarder.close()
        self._realms.leave(self._realm)
        self._realm = None

    def _answer_datagrams(self) -> Callable[[int], None]:
        """Make the handler that most packets meet; everything it needs is in its closure."""
        receive = self._udp.recvfrom
        send = self._udp.sendto
        cached = self._cache.get
        slowly = self._answer_datagram
        note = self.ledger.recent.append
        clock = time.monotonic

        def on_datagrams(_events: int) -> None:
            now = clock()
            try:
                for _ in _BATCH:
                    data, peer = receive(_DATAGRAM)
                    entry = cached(data[2:])
                    if entry is None:
                        slowly(data, peer)
                        continue
                    ready, tally, reason = entry
                    tail = ready if type(ready) is bytes else next(ready, None)  # type: ignore[arg-type]  # mypy: `type() is` proves nothing
                    if tail is None:  # too old
                        slowly(data, peer)
                        continue
                    reply = data[:2] + tail
                    send(reply, peer)
                    tally.n += 1
                    note((now, 0.0, reply, reason))
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
        begun = time.monotonic()

        def tell(reply: bytes, reason: Why) -> None:
            deliver(reply)
            self.ledger.note(begun, time.monotonic() - begun, reply, reason)

        try:
            query = message.parse_query(data)
        except Junk:
            return False
        except Unfit as unfit:
            tell(unfit.reply, Why(why.UNFIT))
            return True
        view = self._view or self._look_again()
        outcome = decide(query, view, self.config)
        if isinstance(outcome, Answer):
            self._answer_known(query, data, outcome, tell, tcp=tcp)
        elif isinstance(outcome, Refuse):
            tell(message.pack_reply(query, outcome.code, (), message.PLAIN_LIMIT), outcome.reason)
        else:
            self._answer_unknown(query, data, outcome, tell, tcp=tcp)
        return True

    def _look_again(self) -> View:
        self._view = self._look(self)
        self._realm = self._realms.enter(self.config, self.looked_at, self._realm)
        return self._view

    def _answer_unknown(self, query: Query, data: bytes, outcome: Forward, tell: Tell, *, tcp: bool) -> None:
        assert self._realm is not None
        opened = permits.matching(self.config.permits, query.name) if self.config.permits else []
        if opened:
            tell = permits.permitting(opened, tell)
        ready = self._forwarder.answer(query, data, outcome.upstreams, self._realm, tell, tcp=tcp)
        if ready is not None and not opened:  # each answer is to open the way anew
            self._keep(data, ready.tails, ready.reason, ready.tails.size)

    def _answer_known(self, query: Query, data: bytes, outcome: Answer, tell: Tell, *, tcp: bool) -> None:
        records = outcome.records
        first = random.randrange(len(records)) if len(records) > 1 else 0  # noqa: S311  spreads load, guards nothing
        records = records[first:] + records[:first]
        if tcp:
            tell(message.pack_reply(query, message.NOERROR, records, message.TCP_LIMIT), outcome.reason)
            return
        turns = [
            message.pack_reply(query, message.NOERROR, turn, query.limit) for turn in rotations(records, _ROTATIONS)
        ]
        tell(turns[0], outcome.reason)
        tails = [turn[2:] for turn in turns]
        ready = tails[0] if len(tails) == 1 else itertools.cycle(tails[1:] + tails[:1])
        self._keep(data, ready, outcome.reason, sum(map(len, tails)))

    def _keep(self, data: bytes, ready: Ready, reason: Why, size: int) -> None:
        if size > _READY_LIMIT:
            return
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[data[2:]] = (ready, self.ledger.tally(reason), reason)

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
        self._connections.add(Connection(self._loop, sock, self.answer, self._connections.discard))

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
