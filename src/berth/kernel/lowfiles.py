"""Keeps numbers of files below 1,024 for a library that can use no others.

libnftables waits for the kernel with select(2); glibc ends a process that asks it about a number from FD_SETSIZE on.
An engine with some hundred containers has that many files open, and a new one gets the lowest number that is free.
"""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: select(2): numbers from here on cannot be asked about.
FD_SETSIZE: Final = 1024
#: Numbers kept: a thread that opens a file just when they are lent may take one, and has it for as long as it likes.
KEPT: Final = 32
#: Below this one the lowest number that is free is so low that nobody takes all that are left meanwhile.
_AMPLE: Final = FD_SETSIZE // 2


def open_as_many_as_may_be() -> None:
    """Let this process have as many files open as the system lets it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class NoLowNumber(OSError):
    """Every number below `FD_SETSIZE` is taken."""


class LowFiles:
    """So many numbers, held by files that mean nothing."""

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        self._held: list[int] = []
        self._turn = threading.Lock()
        self._take()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Have a low number free for what opens one file, one block at a time. Raises `NoLowNumber`."""
        with self._turn:
            if _lowest() < _AMPLE:
                yield
                return
            try:
                self._let_go()
                if _lowest() >= FD_SETSIZE:
                    raise NoLowNumber(
                        f"this process has more than {FD_SETSIZE:,} files open, and no number below is free"
                    )
                yield
            finally:
                self._take()

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Take the number of a file that is closed within the block, before others do, if any is missing."""
        with self._turn:
            yield
            self._take()

    def close(self) -> None:
        """Give all back."""
        with self._turn:
            self._let_go()

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def _take(self) -> None:
        """Hold as many as there are, those that others gave back meanwhile too."""
        while len(self._held) < self._most:
            try:
                one = _number()
            except OSError:  # no file more may be opened: whoever opens the next one says so
                return
            if one >= FD_SETSIZE:
                os.close(one)
                return
            self._held.append(one)


def _number() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _lowest() -> int:
    """Return the number the next file will have, if nobody else opens one."""
    one = _number()
    os.close(one)
    return one
