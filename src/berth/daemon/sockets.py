"""The sockets the API is served on: unix, tcp, or handed over by the service manager (sd_listen_fds(3))."""

import contextlib
import grp
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from berth.api.server import BACKLOG
from berth.base.errors import Conflict, InvalidArgument

#: First descriptor that socket activation hands over (sd_listen_fds(3)).
ACTIVATION_FIRST_FD: Final = 3


class AlreadyServed(Conflict):
    """Another process answers on the socket."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is already served by another engine; stop it or choose another -H")


def listen(hosts: Sequence[str], group: str) -> list[socket.socket]:
    """Open every address in `hosts`. Raises `InvalidArgument` or `AlreadyServed`; then none is left open."""
    opened: list[socket.socket] = []
    handed_over = _handed_over()
    try:
        for host in hosts:
            opened.extend(_listen(host, group, handed_over))
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def _listen(host: str, group: str, handed_over: int) -> list[socket.socket]:
    scheme, _, rest = host.partition("://")
    if scheme == "fd":
        return _activated(handed_over)
    if scheme == "unix" and rest.startswith("/"):
        return [_unix(Path(rest), group)]
    if scheme == "tcp":
        return [_tcp(rest)]
    raise InvalidArgument(f"invalid host {host!r}: unix:///path, tcp://host:port or fd://")


def _handed_over() -> int:
    """Return how many sockets were handed over, and take the word of it out of the environment.

    Programs that inherited it would believe it meant them: runtimes pass so many descriptors on into containers.
    """
    told = {name: os.environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")}
    return int(told["LISTEN_FDS"] or 0) if told["LISTEN_PID"] == str(os.getpid()) else 0


def _activated(count: int) -> list[socket.socket]:
    if not count:
        raise InvalidArgument("fd:// was asked for, but no socket was handed over by a service manager")
    sockets = [socket.socket(fileno=ACTIVATION_FIRST_FD + index) for index in range(count)]
    for sock in sockets:
        sock.setblocking(False)
        os.set_inheritable(sock.fileno(), False)
    return sockets


def _unix(path: Path, group: str) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise AlreadyServed(str(path))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        os.chmod(path, 0o660)
        if group:
            os.chown(path, 0, grp.getgrnam(group).gr_gid)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise InvalidArgument(f"invalid host tcp://{address}: a port is needed")
    sock = socket.create_server((host or "127.0.0.1", int(port)), backlog=BACKLOG)
    sock.setblocking(False)
    return sock
