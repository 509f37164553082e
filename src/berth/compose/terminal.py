"""Join the user's terminal, or pipes, with a process in a container: raw mode, size, both directions, signals."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from berth.client.errors import ApiError
from berth.client.http import Hijacked


def terminal_size() -> tuple[int, int]:
    """Return columns and lines of the user's terminal; zeros if there is none."""
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return 0, 0
    return size.columns, size.lines


class Raw:
    """Puts the terminal on standard input into raw mode for a while."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted and os.isatty(0)
        self.before: list[object] = []

    def __enter__(self) -> None:
        if self.wanted:
            import termios
            import tty

            self.before = termios.tcgetattr(0)
            tty.setraw(0)

    def __exit__(self, *_: object) -> None:
        if self.wanted:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self.before)  # type: ignore[arg-type]  # what tcgetattr gave


def follow_size(resize: Callable[[int, int], None]) -> None:
    """Tell the container the size of the terminal, now and whenever it changes."""

    def tell(_number: int = 0, _frame: FrameType | None = None) -> None:
        columns, rows = terminal_size()
        if columns:
            try:
                resize(columns, rows)
            except ApiError:
                return  # the process has just ended

    signal.signal(signal.SIGWINCH, tell)
    tell()


def pump(link: Hijacked, *, stdin: bool, tty: bool) -> None:
    """Copy standard input to the link and the link to standard output and error, until the link ends."""
    if stdin:
        threading.Thread(target=_send, args=(link,), name="stdin", daemon=True).start()
    if tty:
        while data := link.read():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        return
    buffer = b""
    while data := link.read():
        buffer += data
        # Frames: one byte of stream, three zeros, four bytes of length.
        while len(buffer) >= 8 and len(buffer) >= 8 + int.from_bytes(buffer[4:8], "big"):
            length = int.from_bytes(buffer[4:8], "big")
            out = sys.stderr.buffer if buffer[0] == 2 else sys.stdout.buffer
            out.write(buffer[8 : 8 + length])
            out.flush()
            buffer = buffer[8 + length :]


def _send(link: Hijacked) -> None:
    try:
        while data := os.read(0, 65_536):
            link.sock.sendall(data)
    except OSError:
        return  # one of the two sides is gone
    link.half_close()
