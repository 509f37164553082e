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
    from typing import Any, Self

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

    def __enter__(self) -> Self:
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


class Pump:
    """Moves bytes both ways until the container's side ends.

    Args:
        link: The container's streams.
        stdin: Whether our input goes to the container.
        tty: Whether the stream is a terminal's (raw), and the detach keys count.
        detach_keys: What ends the pumping.
        signals: Watched as well.
        on_signal: Told the number of every signal that `signals` takes.
    """

    def __init__(
        self,
        link: Hijacked,
        *,
        stdin: bool,
        tty: bool,
        detach_keys: bytes = DEFAULT_DETACH_KEYS,
        signals: Signals | None = None,
        on_signal: Callable[[int], None] | None = None,
    ) -> None:
        self._link = link
        self._signals, self._on_signal = signals, on_signal
        self._show = _writer(tty=tty)
        self._keys = DetachFilter(detach_keys) if tty and detach_keys else None
        self._pending = b""
        self._input_ended = False
        self._poller = select.poll()
        link.sock.setblocking(False)
        self._poller.register(link.sock, select.POLLIN)
        if signals:
            self._poller.register(signals.read, select.POLLIN)
        if stdin:
            self._poller.register(0, select.POLLIN)

    def run(self) -> None:
        """Pump.

        Raises:
            Detached: The user typed the detach keys.
            StreamError: The engine reported an error.
        """
        sys.stdout.flush()
        if self._link.leftover:
            self._show(self._link.leftover)
            self._link.leftover = b""
        stream = self._link.sock.fileno()
        while True:
            for descriptor, _ in self._poller.poll():
                if descriptor == 0:
                    self._take_input()
                elif descriptor != stream:
                    self._take_signals()
                elif not self._take_output():
                    return

    def _take_signals(self) -> None:
        if self._signals and self._on_signal:
            for number in self._signals.take():
                self._on_signal(number)

    def _take_input(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except OSError:
            data = b""  # the terminal has gone
        self._poller.unregister(0)  # no more is read until this is on its way
        self._input_ended = not data
        self._pending = self._keys.feed(data) if self._keys and data else data
        self._push()

    def _take_output(self) -> bool:
        if self._pending:
            self._push()
        try:
            data = self._link.sock.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self._show(data)
        return bool(data)

    def _push(self) -> None:
        """Send what can be sent; if something remains, wait for room, else for more input."""
        try:
            while self._pending:
                self._pending = self._pending[self._link.sock.send(self._pending) :]
        except BlockingIOError:
            self._poller.modify(self._link.sock, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._pending = b""  # the other side has gone; reading its end will tell
            return
        self._poller.modify(self._link.sock, select.POLLIN)
        if self._input_ended:
            self._link.half_close()
        else:
            self._poller.register(0, select.POLLIN)


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
