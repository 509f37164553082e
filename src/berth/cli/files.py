"""Files on the user's side: where archives come from and go to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from berth.cli.errors import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def leave_at_signals() -> None:
    """Let SIGTERM and SIGHUP end the process as an error would: what was written of a file is removed."""
    import signal

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, leave)
    except ValueError:
        return  # a thread of another program's: how that ends is not ours to say


def private(path: str, flags: int) -> int:
    """Open a file that nobody else can read if it is made (an `opener`): it may hold what others must not see."""
    return os.open(path, flags, 0o600)


class binary_output:  # noqa: N801  reads as a function in a with statement
    """Writes to a file that appears only once it is whole, or to standard output if the path is empty.

    Raises:
        CommandFailed: Standard output is a terminal, or the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._partial = ""
        self._file: BinaryIO | None = None

    def __enter__(self) -> Callable[[bytes], object]:
        if not self._path or self._path == "-":
            if os.isatty(1):
                raise CommandFailed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
            sys.stdout.flush()
            return sys.stdout.buffer.write
        directory = os.path.dirname(self._path) or "."
        if not os.path.isdir(directory):
            raise CommandFailed(
                f'failed to save image: invalid output path: "{self._path}" must be a directory or a regular file: '
                f'directory "{directory}" does not exist'
            )
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            self._partial = self._path  # a device or a pipe is written as it is
        else:
            self._partial = os.path.join(directory, f".berth-{os.getpid()}-{os.path.basename(self._path)}")
        leave_at_signals()  # first: from the moment there is a file, an end must remove it
        try:
            self._file = open(self._partial, "wb", opener=private)
        except OSError as error:
            raise CommandFailed(f"open {self._path}: {str(error.strerror).lower()}") from None
        return self._file.write

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._file is None:
            sys.stdout.buffer.flush()
            return
        self._file.close()
        if self._partial != self._path:
            if kind is None:
                os.replace(self._partial, self._path)
            else:
                os.unlink(self._partial)
