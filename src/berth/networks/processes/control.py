"""The control socket, seen from the process that is told: listening, connections, replies.

Must not: know any control language; the process gives its decoder and what a request does.
"""

import fcntl
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from berth.networks.processes import packets
from berth.networks.processes.loop import READ, WRITE, Loop, close_quietly
from berth.networks.processes.packets import Answer, Reply, Request

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Request)


class Language(Protocol[R]):
    """What a process understands."""

    def decode(self, packet: bytes) -> R:
        """Read a request. Raises msgspec.DecodeError."""
        ...

    def fds_with(self, request: R) -> int:
        """How many descriptors come with it."""
        ...

    def perform(self, request: R, fds: Sequence[int], by: "Control[R]") -> Answer:
        """Do it; takes `fds` over unless it raises. Raises OSError, ValueError or TypeError for what cannot be done."""
        ...

    def idle(self) -> bool:
        """Tell whether the process has nothing to do."""
        ...


class ControlSocket(Generic[R]):
    """Takes connections; stops the loop when nobody is connected and nothing is to be done for `idle_s` seconds."""

    def __init__(self, loop: Loop, listener: socket.socket, language: Language[R], *, idle_s: float) -> None:
        self._loop = loop
        self._listener = listener
        self._language = language
        self._idle_s = idle_s
        self._connections: set[Control[R]] = set()
        loop.add(listener.fileno(), READ, self._on_connection)
        loop.after(idle_s, self._look_around)

    def close(self) -> None:
        """Close all connections and the socket."""
        for connection in tuple(self._connections):
            connection.close()
        self._loop.drop(self._listener.fileno())
        self._listener.close()

    def _on_connection(self, _events: int) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(0)
        self._connections.add(Control(self._loop, sock, self._language, self._ended))

    def _ended(self, connection: "Control[R]") -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._loop.after(self._idle_s, self._look_around)

    def _look_around(self) -> None:
        if not self._connections and self._language.idle():
            log.info("nothing to do and nobody connected for %g s", self._idle_s)
            self._loop.stop()


class Control(Generic[R]):
    """One connection. `staged` is the language's own: what was begun here and not committed ends with it."""

    def __init__(
        self, loop: Loop, sock: socket.socket, language: Language[R], ended: Callable[["Control[R]"], None]
    ) -> None:
        self.staged: object = None
        self._loop = loop
        self._sock = sock
        self._language = language
        self._ended = ended
        self._replies: deque[Answer] = deque()
        loop.add(sock.fileno(), READ, self._on_ready)

    def close(self) -> None:
        """Close the connection."""
        if self._sock.fileno() >= 0:
            for answer in self._replies:
                close_quietly(*answer.fds)
            self._loop.drop(self._sock.fileno())
            self._sock.close()
            self._ended(self)

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._send_replies()
            return
        try:
            packet, fds, flags, _ = socket.recv_fds(self._sock, packets.PACKET_LIMIT, packets.FDS_A_PACKET)
        except BlockingIOError:
            return
        except OSError as exc:
            log.info("control connection lost: %s", exc)
            packet, fds, flags = b"", [], 0
        if not packet:
            close_quietly(*fds)
            self.close()
            return
        self._replies.append(self._obey(packet, fds, flags))
        self._send_replies()

    def _send_replies(self) -> None:
        """Send what can be sent. Who does not read the replies is not read from either."""
        try:
            while self._replies:
                reply, fds = self._replies[0]
                socket.send_fds(self._sock, [packets.encode(reply)], fds)
                close_quietly(*fds)
                self._replies.popleft()
        except BlockingIOError:
            log.debug("control connection is slow; %d replies wait", len(self._replies))
        except OSError as exc:
            log.info("control connection lost: %s", exc)
            self.close()
            return
        self._loop.change(self._sock.fileno(), WRITE if self._replies else READ)

    def _obey(self, packet: bytes, fds: list[int], flags: int) -> Answer:
        try:
            request = self._language.decode(packet)
            wanted = self._language.fds_with(request)
            if len(fds) != wanted or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError(f"{len(fds)} descriptors where {wanted} belong, or a cut packet")
        except (msgspec.DecodeError, ValueError) as exc:
            close_quietly(*fds)
            log.warning("control packet refused: %s", exc)
            return Answer(Reply(0, error=str(exc)))
        try:
            return self._language.perform(request, fds, self)
        except (OSError, ValueError, TypeError) as exc:  # no sockets behind the descriptors, no address in the text
            close_quietly(*fds)
            log.warning("control request failed: %s", exc)
            return Answer(Reply(request.seq, error=str(exc)))


def listen(path: Path) -> socket.socket | None:
    """Open a control socket; None if another process has it. The lock lasts as long as this process."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(mask)
    sock.listen(16)
    sock.settimeout(0)
    return sock
