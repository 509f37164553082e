"""Where one container's queries to servers outside leave: sockets made inside its namespace.

Each query has a socket of its own, hence a fresh port. Must not: know who may be asked, or what is sent.
"""

import errno
import os
import socket
import time
from typing import Final

#: Sockets made at one visit to a container's namespace, which costs a thread: few for who asks seldom, more at each
#: visit within a second of the last.
_FEW_SPARES: Final = 4
_MANY_SPARES: Final = 32
_SELDOM_S: Final = 1.0
#: TCP connections of one container that may be under way: each may hold an answer of 64 KiB that does not end.
MAX_STREAMS: Final = 128


class Outlet:
    """Sockets in one namespace."""

    def __init__(self, netns_fd: int) -> None:
        self._netns_fd = netns_fd
        self._spares: dict[socket.AddressFamily, list[socket.socket]] = {}
        self._visited = 0.0
        self._at_once = _FEW_SPARES
        #: TCP connections that are open; who opens and closes them counts.
        self.streams = 0

    def open(self, family: socket.AddressFamily, kind: socket.SocketKind, *, from_host: bool) -> socket.socket:
        """Make an unconnected socket. Raises OSError."""
        if kind == socket.SOCK_STREAM and self.streams >= MAX_STREAMS:
            raise OSError(errno.ENOBUFS, "too many TCP connections under way")
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

    def close(self) -> None:
        """Close everything."""
        for spares in self._spares.values():
            for spare in spares:
                spare.close()
        self._spares.clear()
        os.close(self._netns_fd)


def _make(family: socket.AddressFamily, kind: socket.SocketKind, count: int) -> list[socket.socket]:
    return [socket.socket(family, kind | socket.SOCK_NONBLOCK) for _ in range(count)]
