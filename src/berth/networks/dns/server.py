"""The name server's process: one epoll loop over every container's sockets and a control socket.

Started by the daemon and outlives it. Started twice, the second one leaves at once. It ends when told to, or when it
serves nothing and nobody is connected for a while. Must not: import asyncio or anything else that names do not need.

    python -m berth.networks.dns.server --socket EXEC/dns.sock
"""

import argparse
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, assert_never

import msgspec

from berth.base import log as logs
from berth.networks.dns import control
from berth.networks.dns.loop import READ, WRITE, Loop, Timer, close_quietly
from berth.networks.dns.model import Sockets
from berth.networks.dns.served import Served
from berth.networks.dns.table import View
from berth.networks.dns.views import Views

log = logging.getLogger(__name__)

#: How long a server without work and without a daemon stays, seconds.
IDLE_S: Final = 30.0


class Server:
    """Tables, served containers and control connections."""

    def __init__(self, loop: Loop, listener: socket.socket, *, idle_s: float = IDLE_S) -> None:
        self._loop = loop
        self._idle_s = idle_s
        self._listener = listener
        self._views = Views()
        self._served: dict[str, Served] = {}
        #: By network: who has derived something from its table since it last changed.
        self._lookers: dict[str, set[Served]] = {}
        self._controls: set[Control] = set()
        self._leave: Timer | None = None
        loop.add(listener.fileno(), READ, self._on_control)
        self._consider_leaving()

    def close(self) -> None:
        """Close every socket."""
        for served in self._served.values():
            served.close()
        for connection in tuple(self._controls):
            connection.close()
        self._loop.drop(self._listener.fileno())
        self._listener.close()

    def perform(self, request: control.Request, fds: Sequence[int], by: "Control") -> control.Reply:
        """Do what a control connection asks for. Takes `fds` over where the request is `Serve`."""
        views = self._views if by.staged is None else by.staged
        match request:
            case control.Serve(config=config):
                served = Served(self._loop, config, Sockets(*fds), self._look)
                self._close_served(config.container_id)
                self._served[config.container_id] = served
                views.configs[config.container_id] = config
            case control.Configure(config=config):
                views.configs[config.container_id] = config
                if by.staged is None and (known := self._served.get(config.container_id)) is not None:
                    known.config = config
                    known.stale()
            case control.Forget(container_id=ident):
                self._changed(views.networks_of(ident))
                views.forget(ident)
                self._close_served(ident)
            case control.Up(endpoint=endpoint):
                views.up(endpoint)
                self._changed((endpoint.network_id,), endpoint.container_id)
            case control.Down(container_id=ident, network_id=network_id):
                views.down(ident, network_id)
                self._changed((network_id,), ident)
            case control.Serving(after=after):
                ids = sorted(ident for ident in self._served if ident > after)[: control.IDS_A_PAGE]
                return control.Reply(request.seq, ids=tuple(ids), pid=os.getpid())
            case control.Begin():
                by.staged = Views()
            case control.Commit():
                self._swap(by)
            case control.Quit():
                self._loop.stop()
            case _:
                assert_never(request)
        return control.Reply(request.seq)

    def _look(self, served: Served) -> View:
        served.looked_at = self._views.networks_of(served.container_id)
        for network_id in served.looked_at:
            self._lookers.setdefault(network_id, set()).add(served)
        return self._views.view(served.container_id)

    def _changed(self, network_ids: Sequence[str], container_id: str = "") -> None:
        """Let those that looked at these networks look again, and the container whose own set of networks changed."""
        for network_id in network_ids:
            for served in self._lookers.pop(network_id, ()):
                served.stale()
        if (own := self._served.get(container_id)) is not None:
            own.stale()

    def _swap(self, by: "Control") -> None:
        if by.staged is None:
            return
        self._views, by.staged = by.staged, None
        self._lookers.clear()
        for ident in set(self._served) - set(self._views.configs):
            self._close_served(ident)
        for ident, served in self._served.items():
            served.config = self._views.configs[ident]
            served.stale()

    def _close_served(self, container_id: str) -> None:
        served = self._served.pop(container_id, None)
        if served is not None:
            served.close()
            for network_id in served.looked_at:
                self._lookers.get(network_id, set()).discard(served)

    def _on_control(self, _events: int) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(0)
        self._controls.add(Control(self._loop, sock, self.perform, self._control_ended))
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None

    def _control_ended(self, ended: "Control") -> None:
        self._controls.discard(ended)
        self._consider_leaving()

    def _consider_leaving(self) -> None:
        if not self._controls and not self._served and self._leave is None:
            self._leave = self._loop.after(self._idle_s, self._loop.stop)


class Control:
    """One control connection. What it has begun and not committed ends with it."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        perform: Callable[[control.Request, Sequence[int], "Control"], control.Reply],
        ended: Callable[["Control"], None],
    ) -> None:
        self.staged: Views | None = None
        self._replies: deque[bytes] = deque()
        self._loop = loop
        self._sock = sock
        self._perform = perform
        self._ended = ended
        loop.add(sock.fileno(), READ, self._on_packet)

    def close(self) -> None:
        """Close the connection."""
        if self._sock.fileno() >= 0:
            self._loop.drop(self._sock.fileno())
            self._sock.close()
            self._ended(self)

    def _on_packet(self, events: int) -> None:
        if events & WRITE:
            self._send_replies()
            return
        try:
            packet, fds, flags, _ = socket.recv_fds(self._sock, control.PACKET_LIMIT, control.FDS)
        except BlockingIOError:
            return
        except OSError as exc:
            log.info("control connection lost: %s", exc)
            packet, fds, flags = b"", [], 0
        if not packet:
            close_quietly(*fds)
            self.close()
            return
        self._replies.append(control.encode(self._obey(packet, fds, flags)))
        self._send_replies()

    def _send_replies(self) -> None:
        """Send what can be sent. Who does not read the replies is not read from either."""
        try:
            while self._replies:
                self._sock.send(self._replies[0])
                self._replies.popleft()
        except BlockingIOError:
            log.debug("control connection is slow; %d replies wait", len(self._replies))
        except OSError as exc:
            log.info("control connection lost: %s", exc)
            self.close()
            return
        self._loop.change(self._sock.fileno(), WRITE if self._replies else READ)

    def _obey(self, packet: bytes, fds: list[int], flags: int) -> control.Reply:
        try:
            request = control.decode_request(packet)
            wanted = control.FDS if isinstance(request, control.Serve) else 0
            if len(fds) != wanted or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError(f"{len(fds)} descriptors where {wanted} belong, or a cut packet")
        except (msgspec.DecodeError, ValueError) as exc:
            close_quietly(*fds)
            log.warning("control packet refused: %s", exc)
            return control.Reply(0, error=str(exc))
        try:
            return self._perform(request, fds, self)
        except (OSError, ValueError, TypeError) as exc:  # no sockets behind the descriptors, no address in the text
            close_quietly(*fds)
            log.warning("control request failed: %s", exc)
            return control.Reply(request.seq, error=str(exc))


def listen(path: Path) -> socket.socket | None:
    """Open the control socket; None if another server has it. The lock lasts as long as this process."""
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


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="berth-dns", description="Answers names inside containers.")
    parser.add_argument("--socket", type=Path, required=True, help="control socket to make")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "fatal"))
    parser.add_argument("--idle", type=float, default=IDLE_S, help="seconds to stay without anything to do")
    options = parser.parse_args(argv)
    logs.set_up(options.log_level)
    listener = listen(options.socket)
    if listener is None:
        return 0
    _raise_descriptor_limit()
    loop = Loop()
    # A wait for events begins anew after a signal's handler has returned: only an exception ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(loop, listener, idle_s=options.idle)
    log.info("names are served, told through %s", options.socket)
    try:
        loop.run()
    finally:
        options.socket.unlink(missing_ok=True)
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
