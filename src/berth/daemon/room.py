"""Whether there is room for an engine to start, and what to say where there is none.

An engine that finds its disk full later goes on: what is on record can be read, and things be removed. Must not: make
anything that stays.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.base.paths import Layout
from berth.base.units import human_size

#: Bytes of the run-time root that a start takes, with as much again to be sure.
_FLEETING: Final = 128 << 10
#: Bytes that a new engine's records take, with what they keep free in their files.
_RECORDS: Final = 4 << 20
#: A file system with less than this is called full, whatever the kernel's last word was.
_FULL: Final = 64 << 10
_WORDS: Final = (errno.ENOSPC, errno.EDQUOT)
#: What SQLite says of a full disk; the second where it was to map a file that did not fit.
_CODES: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class NoRoom(SystemFault):
    """A file system that the engine starts on is full; `flag` is what says where a root is, empty for other places."""

    def __init__(self, root: Path, flag: str) -> None:
        disk, mounted = os.statvfs(_existing(root)), _mount_point(root)
        left = f"{human_size(disk.f_bavail * disk.f_frsize)} of {human_size(disk.f_blocks * disk.f_frsize)} free"
        if disk.f_files and not disk.f_favail:
            left = f"no inode of {disk.f_files} free"
        super().__init__(
            f"no space left on device: {root} is on a full file system ({mounted}: {left}). Make room there and start "
            f"berthd again{flag and f', or choose another place with {flag}'}"
        )


def check(layout: Layout) -> None:
    """Raise `NoRoom` if a start would end half-way; records that are there already are opened on a full disk, too."""
    for root, flag in _roots(layout):
        needed = _FLEETING if root == layout.exec_root else 0 if layout.database.exists() else _RECORDS
        if not _takes(root, needed):
            raise NoRoom(root, flag)


def explained(cause: BaseException, layout: Layout) -> SystemFault | None:
    """Return what to say of an error that comes of a full file system of the engine's; None for any other."""
    if not any(_speaks_of_room(one) for one in _chain(cause)):
        return None
    for root, flag in _roots(layout):
        if _is_full(root) or not _takes(root, _FULL):
            return NoRoom(root, flag)
    for one in _chain(cause):
        if isinstance(one, OSError) and one.filename:  # the file of the process id may be anywhere
            return NoRoom(Path(os.fsdecode(one.filename)), "")
    return None


def _roots(layout: Layout) -> tuple[tuple[Path, str], ...]:
    return (layout.exec_root, "--exec-root"), (layout.data_root, "--data-root")


def _is_full(root: Path) -> bool:
    disk = os.statvfs(_existing(root))
    return disk.f_bavail * disk.f_frsize < _FULL or bool(disk.f_files and not disk.f_favail)


def _takes(root: Path, size: int) -> bool:
    """Tell whether a file of so many bytes fits: quotas are found so, too, which `statvfs` does not show."""
    trial = _existing(root) / f".room-{os.getpid()}"
    try:
        fd = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if size:
                os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)
    except OSError as exc:
        return exc.errno not in _WORDS  # anything else is told where it matters
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()
    return True


def _chain(cause: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [cause]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _speaks_of_room(one: BaseException) -> bool:
    if isinstance(one, sqlite3.Error):
        return getattr(one, "sqlite_errorcode", 0) & 0xFF in _CODES  # the higher bits say where it happened
    return isinstance(one, OSError) and one.errno in _WORDS


def _existing(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


def _mount_point(path: Path) -> Path:
    path = _existing(path).resolve()
    while path != path.parent and not path.is_mount():
        path = path.parent
    return path
