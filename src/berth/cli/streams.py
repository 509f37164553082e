"""Joins the user's terminal and a container's streams: raw mode, resizing, detach keys, signals, the 8-byte frames.

One thread, one poll loop: input is read only when what was read before is on its way, so that a container that does not
read cannot block us from showing what it writes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable

from berth.cli.errors import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from berth.client.http import Hijacked

#: Ctrl-P Ctrl-Q.
DEFAULT_DETACH_KEYS = b"\x10\x11"
_CHUNK = 65_536

#: Signals handed on to the container's process.
FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT")


class Detached(Exception):
    """The user typed the detach keys."""


class StreamError(Exception):
    """The engine reported an error within the stream."""


def parse_detach_keys(text: str) -> bytes:
    """Parse ``ctrl-p,ctrl-q`` or ``a,b`` into the bytes a terminal sends."""
    if not text:
        return DEFAULT_DETACH_KEYS
    keys = b""
    for key in text.split(","):
        if key.startswith("ctrl-") and len(key) == 6:
            letter = key[5]
            code = "@abcdefghijklmnopqrstuvwxyz[\\]^_".find(letter)
            if code < 0:
                raise CommandFailed(f"invalid detach keys ({text}): Unknown character: '{key}'")
            keys += bytes([code])
        elif len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key == "DEL":
            keys += b"\x7f"
        else:
            raise CommandFailed(f"invalid detach keys ({text}): Unknown character: '{key}'")
    return keys


class DetachFilter:
    """Watches input for the detach keys; a part of them that turns out to be something else is passed on."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> bytes:
        """Return what to pass on.

        Raises:
            Detached: The keys are complete.
        """
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    raise Detached
                continue
            if self._held:
                out += self._keys[: self._held]
                self._held = 1 if byte == self._keys[0] else 0
                if self._held:
                    continue
            out.append(byte)
        return bytes(out)


class Demultiplexer:
    """Cuts the engine's stream of frames into standard output and standard error."""

    __slots__ = ("_left", "_rest", "_stream")

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self._stream = 1

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return pieces as (file descriptor, bytes).

        Raises:
            StreamError: A frame of kind 3.
        """
        data = self._rest + data
        self._rest = b""
        pieces: list[tuple[int, bytes]] = []
        at = 0
        while at < len(data):
            if not self._left:
                if len(data) - at < 8:
                    break
                self._stream = data[at]
                self._left = int.from_bytes(data[at + 4 : at + 8], "big")
                at += 8
                if self._stream == 3:
                    raise StreamError(data[at : at + self._left].decode("utf-8", "replace"))
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            pieces.append((2 if self._stream == 2 else 1, piece))
        self._rest = data[at:]
        return pieces


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, also to a descriptor somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


class RawTerminal:
    """Puts the terminal of standard input into raw mode for the time of a ``with``."""

    __slots__ = ("_old", "_on")

    def __init__(self, *, on: bool) -> None:
        self._on = on and os.isatty(0)
        self._old: Any = None

    def __enter__(self) -> None:
        if self._on:
            import termios
            import tty

            self._old = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)

    def __exit__(self, *_: object) -> None:
        if self._on:
            import termios

            termios.tcsetattr(0, termios.TCSANOW, self._old)


def window_size() -> tuple[int, int] | None:
    """Return (rows, columns) of the terminal at standard output, None if it is none."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        return None
    return rows, columns


class Signals:
    """Turns signals into bytes on a socket for the time of a ``with``, so that a poll loop sees them.

    Args:
        names: The signals to take.
    """

    __slots__ = ("_names", "_old", "_old_wakeup", "_write", "read")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.read, self._write = socket.socketpair()
        self.read.setblocking(False)
        self._write.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for name in self._names:
            number = signal.Signals[name]
            self._old[number] = signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self.read.close()
        self._write.close()

    def take(self) -> list[int]:
        """Return the numbers of the signals that came."""
        try:
            return list(self.read.recv(256))
        except BlockingIOError:
            return []


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor has told the loop."""


def pump(
    link: Hijacked,
    *,
    stdin: bool,
    tty: bool,
    detach_keys: bytes = DEFAULT_DETACH_KEYS,
    signals: Signals | None = None,
    on_signal: Callable[[int], None] | None = None,
) -> None:
    """Move bytes both ways until the container's side ends.

    Args:
        stdin: Whether our input goes to the container.
        tty: Whether the stream is a terminal's (raw), and the detach keys count.
        on_signal: Told the number of every signal that `signals` takes.

    Raises:
        Detached: The user typed the detach keys.
    """
    sock = link.sock
    sock.setblocking(False)
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    watcher = signals.read.fileno() if signals else -1
    if signals:
        poller.register(watcher, select.POLLIN)
    if stdin:
        poller.register(0, select.POLLIN)
    show = _writer(tty=tty)
    keys = DetachFilter(detach_keys) if tty and detach_keys else None
    pending = b""
    ended = False
    sys.stdout.flush()
    if link.leftover:
        show(link.leftover)
        link.leftover = b""
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == watcher and signals and on_signal:
                for number in signals.take():
                    on_signal(number)
            elif descriptor == 0:
                data = os.read(0, _CHUNK)
                poller.unregister(0)
                ended = not data
                pending = keys.feed(data) if keys and data else data
                if not pending and not ended:
                    poller.register(0, select.POLLIN)
                    continue
                pending = _push(link, pending, poller, ended=ended)
                if not pending and not ended:
                    poller.register(0, select.POLLIN)
            elif descriptor == sock.fileno():
                if pending:
                    pending = _push(link, pending, poller, ended=ended)
                    if not pending and not ended:
                        poller.register(0, select.POLLIN)
                try:
                    data = sock.recv(_CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                show(data)


def _push(link: Hijacked, data: bytes, poller: select.poll, *, ended: bool) -> bytes:
    """Send what can be sent; returns the rest, and has the poller wait for room if there is one."""
    try:
        while data:
            data = data[link.sock.send(data) :]
    except BlockingIOError:
        poller.modify(link.sock, select.POLLIN | select.POLLOUT)
        return data
    except OSError:
        return b""  # the other side has gone; reading its end will tell
    poller.modify(link.sock, select.POLLIN)
    if ended:
        link.half_close()
    return b""


def _writer(*, tty: bool) -> Callable[[bytes], None]:
    if tty:
        return lambda data: write_all(1, data)
    cutter = Demultiplexer()

    def show(data: bytes) -> None:
        for descriptor, piece in cutter.feed(data):
            write_all(descriptor, piece)

    return show


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Refuse a terminal for the container where ours is none."""
    if stdin and tty and not os.isatty(0):
        raise CommandFailed("the input device is not a TTY")
