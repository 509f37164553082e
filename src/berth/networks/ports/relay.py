"""Passes on what comes in on one host port: TCP connections with half-close, UDP flows with the address they came to.

For what the kernel's NAT cannot do: from IPv6 to a container without it, and from the host's ``::1``. The container
sees the host's address instead of the asker's, as with Docker's proxy. Must not: choose ports or targets.
"""

import errno
import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from berth.networks.ports.proxy_control import Target
from berth.networks.processes.loop import READ, WRITE, Loop, Timer

log = logging.getLogger(__name__)

#: Bytes moved at one turn of one connection; the buffer is shared by all, what does not fit downstream is kept.
_CHUNK: Final = 262_144
#: How long a UDP flow without a packet is remembered, seconds (moby, cmd/docker-proxy, UDPConnTrackTimeout).
_FLOW_S: Final = 90.0
#: Flows of one port at most: beyond, the one longest silent is dropped.
_FLOWS: Final = 4096
_DATAGRAM: Final = 65_535
#: Datagrams taken from one socket before others get their turn.
_BATCH: Final = 32
#: How long no connection is taken after the process ran out of descriptors, seconds.
_OUT_OF_DESCRIPTORS_S: Final = 0.2
#: linux/in.h; the socket module lacks it.
_IP_PKTINFO: Final = 8

_buffer = memoryview(bytearray(_CHUNK))


def family_of(target: Target) -> socket.AddressFamily:
    """Address family of a target."""
    return socket.AF_INET6 if ":" in target.address else socket.AF_INET


class TcpRelay:
    """A listening socket and the connections that came in by it."""

    def __init__(
        self, loop: Loop, listener: socket.socket, target: Target, *, before: "TcpRelay | None" = None
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._target = target
        #: Shared with the predecessor, whose connections go on.
        self._pairs: set[Pair] = set() if before is None else before.hand_over()
        listener.settimeout(0)
        loop.add(listener.fileno(), READ, self._on_connection)

    def close(self) -> None:
        """Take no more and end all connections; the socket stays its owner's."""
        self._loop.drop(self._listener.fileno())
        for pair in tuple(self._pairs):
            pair.close()

    def hand_over(self) -> "set[Pair]":
        """Take no more; connections under way go on, and belong to who gets them from here."""
        self._loop.drop(self._listener.fileno())
        return self._pairs

    def _on_connection(self, _events: int) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError as exc:
            log.debug("connection not taken: %s", exc)
            if exc.errno in (errno.EMFILE, errno.ENFILE):  # it stays ready: look away for a while, or we would spin
                self._loop.change(self._listener.fileno(), 0)
                self._loop.after(_OUT_OF_DESCRIPTORS_S, self._accept_again)
            return
        try:
            self._pairs.add(Pair(self._loop, near, self._target, self._pairs.discard))
        except OSError as exc:  # no descriptor left, or no way to the target
            log.debug("no connection to %s: %s", self._target.address, exc)
            near.close()

    def _accept_again(self) -> None:
        if self._listener.fileno() >= 0 and self._loop.has(self._listener.fileno()):
            self._loop.change(self._listener.fileno(), READ)


class Side:
    """One end of a pair: its socket, what waits to be sent to it, whether it has said all."""

    __slots__ = ("events", "finished", "shut", "sock", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.waiting = b""
        self.finished = False
        self.shut = False
        self.events = 0


class Pair:
    """A connection that came in and the one it is passed on to."""

    def __init__(self, loop: Loop, near: socket.socket, target: Target, ended: Callable[["Pair"], None]) -> None:
        self._loop = loop
        self._ended = ended
        far = socket.socket(family_of(target), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            problem = far.connect_ex((target.address, target.port))
            if problem not in (0, errno.EINPROGRESS):
                raise OSError(problem, "connect")
            for sock in (near, far):
                sock.settimeout(0)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            far.close()
            raise
        self._near = Side(near)
        self._far = Side(far)
        self._connected = False
        self._wait(self._far, self._near, WRITE)

    def close(self) -> None:
        """Close both."""
        if self._near.sock.fileno() >= 0:
            for side in (self._near, self._far):
                self._loop.drop(side.sock.fileno())
                side.sock.close()
            self._ended(self)

    def _on_ready(self, side: Side, other: Side, events: int) -> None:
        try:
            if not self._connected:
                self._on_connected()
            elif events & WRITE:
                self._send(side)
            elif events & READ:
                self._pass_on(side, other)
            else:  # an error or a hang-up where nothing was waited for
                raise OSError(side.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "hung up")
        except BlockingIOError:
            return
        except OSError as exc:
            log.debug("connection ends: %s", exc)
            self.close()

    def _on_connected(self) -> None:
        problem = self._far.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, "connect")
        self._far.sock.getpeername()  # the near side hung up first: not connected yet
        self._connected = True
        self._settle()

    def _pass_on(self, side: Side, other: Side) -> None:
        count = side.sock.recv_into(_buffer)
        if count == 0:
            side.finished = True
        else:
            try:
                sent = other.sock.send(_buffer[:count])
            except BlockingIOError:
                sent = 0
            if sent < count:
                other.waiting = bytes(_buffer[sent:count])
        self._settle()

    def _send(self, side: Side) -> None:
        sent = side.sock.send(side.waiting)
        side.waiting = side.waiting[sent:]
        self._settle()

    def _settle(self) -> None:
        """Pass ends on, then wait for what makes sense: nothing is read while its other side is full."""
        for side, other in ((self._near, self._far), (self._far, self._near)):
            if other.finished and not side.waiting and not side.shut:
                side.shut = True
                side.sock.shutdown(socket.SHUT_WR)
        if self._near.shut and self._far.shut:
            self.close()
            return
        for side, other in ((self._near, self._far), (self._far, self._near)):
            events = WRITE if side.waiting else 0
            if not side.finished and not other.waiting:
                events |= READ
            self._wait(side, other, events)

    def _wait(self, side: Side, other: Side, events: int) -> None:
        """Wait for these events of a side.

        For none it leaves the loop: a hang-up is reported again and again whether asked for or not, also while data is
        still to be read.
        """
        if events == side.events:
            return
        fd = side.sock.fileno()
        if not events:
            self._loop.drop(fd)
        elif side.events:
            self._loop.change(fd, events)
        else:
            self._loop.add(fd, events, lambda ready: self._on_ready(side, other, ready))
        side.events = events


class Flow:
    """What one asker sends to a UDP port, and what comes back."""

    __slots__ = ("came_to", "far", "last")

    def __init__(self, far: socket.socket, came_to: list[tuple[int, int, bytes]]) -> None:
        self.far = far
        self.came_to = came_to
        self.last = 0.0


class UdpRelay:
    """A bound socket and the flows that came in by it."""

    def __init__(self, loop: Loop, listener: socket.socket, target: Target) -> None:
        self._loop = loop
        self._listener = listener
        self._target = target
        #: Ordered by last use: the first is the one longest silent.
        self._flows: dict[object, Flow] = {}
        self._sweep: Timer | None = None
        listener.settimeout(0)
        # Replies leave from the address that was asked, also where the socket is bound to all of them.
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.add(listener.fileno(), READ, self._on_datagrams)

    def close(self) -> None:
        """Take no more and forget all flows; the socket stays its owner's."""
        self._loop.drop(self._listener.fileno())
        if self._sweep is not None:
            self._sweep.cancel()
        for flow in self._flows.values():
            self._hang_up(flow)
        self._flows.clear()

    def _on_datagrams(self, _events: int) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, _flags, peer = self._listener.recvmsg(_DATAGRAM, 128)
            except BlockingIOError:
                return
            except OSError as exc:
                log.debug("datagram not taken: %s", exc)
                return
            try:
                self._flow(peer, ancillary).far.send(data)
            except OSError as exc:  # nobody listens there now, or its buffer is full: datagrams may be lost
                log.debug("datagram to %s dropped: %s", self._target.address, exc)

    def _flow(self, peer: object, ancillary: list[tuple[int, int, bytes]]) -> Flow:
        flow = self._flows.pop(peer, None)
        if flow is None:
            far = socket.socket(family_of(self._target), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                far.connect((self._target.address, self._target.port))
            except OSError:
                far.close()
                raise
            flow = Flow(far, _answering(ancillary))
            self._loop.add(far.fileno(), READ, lambda _: self._on_reply(flow, peer))
            if len(self._flows) >= _FLOWS:
                self._hang_up(self._flows.pop(next(iter(self._flows))))
            if self._sweep is None:
                self._sweep = self._loop.after(_FLOW_S, self._forget_silent)
        self._flows[peer] = flow
        flow.last = time.monotonic()
        return flow

    def _on_reply(self, flow: Flow, peer: object) -> None:
        for _ in range(_BATCH):
            try:
                data = flow.far.recv(_DATAGRAM)
                self._listener.sendmsg([data], flow.came_to, 0, peer)  # type: ignore[arg-type]  # whatever recvmsg gave
            except BlockingIOError:
                break
            except OSError as exc:  # e.g. "refused": the container does not listen yet; the flow stays
                log.debug("no reply from %s: %s", self._target.address, exc)
                break
        flow.last = time.monotonic()
        if peer in self._flows:
            self._flows[peer] = self._flows.pop(peer)

    def _forget_silent(self) -> None:
        now = time.monotonic()
        for peer, flow in list(self._flows.items()):
            if now - flow.last < _FLOW_S:
                self._sweep = self._loop.after(_FLOW_S - (now - flow.last), self._forget_silent)
                return
            self._hang_up(self._flows.pop(peer))
        self._sweep = None

    def _hang_up(self, flow: Flow) -> None:
        self._loop.drop(flow.far.fileno())
        flow.far.close()


def _answering(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Turn where a datagram came to into where the reply leaves from."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return [(level, kind, data)]
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            # struct in_pktinfo: interface 0 leaves the way to the routing table (ip(7)).
            _, address, _ = struct.unpack("@i4s4s", data[:12])
            return [(level, kind, struct.pack("@i4s4s", 0, address, b"\0\0\0\0"))]
    return []
