"""File systems mounted nowhere: seen through one descriptor, gone with it, and so with the process that has it.

The way to work on a file system of ours so that no crash leaves a mount (fsopen(2), fsmount(2)). Blocking.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from berth.kernel.libc import syscall

# Numbers on every architecture (include/uapi/asm-generic/unistd.h).
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
# linux/mount.h
_CLOEXEC: Final = 1
_SET_FLAG: Final = 0
_SET_STRING: Final = 1
_CMD_CREATE: Final = 6


@contextmanager
def mounted(device: str, fstype: str, flags: Sequence[str] = ()) -> Iterator[int]:
    """Lend the root directory of the file system on `device`, open for reading. Raises `OSError`."""
    context = syscall(_FSOPEN, fstype.encode(), ctypes.c_uint(_CLOEXEC))
    try:
        _configure(context, _SET_STRING, b"source", os.fsencode(device))
        for flag in flags:
            _configure(context, _SET_FLAG, flag.encode(), None)
        _configure(context, _CMD_CREATE, None, None)
        mount = syscall(_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_CLOEXEC), ctypes.c_uint(0))
    finally:
        os.close(context)
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(mount)


def _configure(context: int, command: int, key: bytes | None, value: bytes | None) -> None:
    syscall(_FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command), key, value, ctypes.c_int(0))
