"""Files of our own: atomic writes, directories, removal of trees."""

import ctypes
import errno
import itertools
import os
from pathlib import Path
from typing import Final

from berth.kernel import btrfs
from berth.kernel.libc import LIBC, check

_writers = itertools.count()


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Replace the content of `path` in one rename; with `durable`, on disk when this returns."""
    # A name for each writer: of two at once both succeed, and the last one stays.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_writers)}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data)
            os.fchmod(out.fileno(), mode)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)  # until then a power failure gives it back its former name


#: linux/fs.h, for renameat2(2).
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename, unless something has the name already. Raises `OSError` as renameat2(2) does."""
    flags = ctypes.c_uint(_RENAME_NOREPLACE)
    cwd = ctypes.c_int(_AT_FDCWD)
    if LIBC.renameat2(cwd, os.fsencode(source), cwd, os.fsencode(target), flags):
        number = ctypes.get_errno()
        if number == errno.EINVAL and not target.exists():  # a file system without the flag
            os.rename(source, target)
            return
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def identity(directory: Path) -> str:
    """Return what tells a directory from others of its file system, whatever it is called, also after a reboot.

    Roots of btrfs subvolumes all have the same inode number.
    """
    if btrfs.is_subvolume(str(directory)):
        return f"subvolume {btrfs.subvolume_id(str(directory))}"
    return f"inode {directory.lstat().st_ino}"


def sync_filesystem(path: Path) -> None:
    """Wait until everything written to the file system of `path` is on its medium (syncfs(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check(LIBC.syncfs(ctypes.c_int(fd)), f"syncfs {path}")
    finally:
        os.close(fd)


def exchange(one: Path, other: Path) -> None:
    """Let two paths of one file system change places, in one step (renameat2(2), RENAME_EXCHANGE)."""
    flags, cwd = ctypes.c_uint(_RENAME_EXCHANGE), ctypes.c_int(_AT_FDCWD)
    result = LIBC.renameat2(cwd, os.fsencode(one), cwd, os.fsencode(other), flags)
    check(result, f"exchange {one} and {other}", str(one))


def exchange_directories(one: Path, other: Path) -> None:
    """Exchange two directories, which keep their times: XFS has one that got another parent look changed.

    See xfs_inode.c, xfs_cross_rename.
    """
    seen = [path.stat() for path in (other, one)]
    exchange(one, other)
    for path, was in zip((one, other), seen, strict=True):
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on its medium."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
