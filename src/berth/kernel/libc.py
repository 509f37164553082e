"""The C library through ctypes: one handle, errno turned into `OSError`. Must not: know what the calls are for."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str, *paths: str) -> int:
    """Return `result`, or raise `OSError` with errno when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}", *paths[:1])
    return result


def syscall(number: int, *args: Any) -> int:  # noqa: ANN401  ctypes takes integers, bytes and pointers alike
    """Make a system call that the C library has no wrapper for."""
    return check(int(LIBC.syscall(ctypes.c_long(number), *args)), f"syscall {number}")
