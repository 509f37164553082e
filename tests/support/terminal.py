"""A program on a pseudo-terminal, as a person sits before one."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence


class Terminal:
    """Runs a command with a terminal of its own; type, read, resize, wait."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        self._size(slave, rows, columns)
        self.said = ""

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(env) | {"TERM": "xterm"},
            preexec_fn=own_terminal,  # noqa: PLW1509  a controlling terminal is had in no other way; no threads here
        )
        os.close(slave)

    @staticmethod
    def _size(fd: int, rows: int, columns: int) -> None:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, as dragging the window's corner does."""
        self._size(self._master, rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def read(self, limit_s: float) -> bool:
        """Take in what appears within `limit_s`; False at the end."""
        ready, _, _ = select.select([self._master], [], [], limit_s)
        if not ready:
            return True
        try:
            piece = os.read(self._master, 65_536)
        except OSError:
            return False
        self.said += piece.decode(errors="replace")
        return bool(piece)

    def expect(self, text: str, *, limit_s: float = 40, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Wait until `text` appears and return what was said up to it; what follows is kept.

        `meanwhile` is called again and again: a client that has just started may not listen to its signals yet.
        """
        deadline = time.monotonic() + limit_s
        while text not in self.said:
            meanwhile()
            if time.monotonic() > deadline or not self.read(0.1):
                if text in self.said:
                    break
                raise AssertionError(f"{text!r} did not appear in {self.said!r}")
        before, _, self.said = self.said.partition(text)
        return before

    def wait(self, *, limit_s: float = 20) -> int:
        """Wait for the end of the program and return its status."""
        deadline = time.monotonic() + limit_s
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not end; last said {self.said[-500:]!r}")
            self.read(0.05)
        while self.read(0) and select.select([self._master], [], [], 0)[0]:
            continue
        return self.process.returncode

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)
