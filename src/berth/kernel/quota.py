"""Limits that a file system itself keeps for one directory: project quotas (XFS, ext4), qgroups (btrfs). Blocking.

A project is a number that files below a directory inherit; the quota of the number is the directory's. On btrfs the
directory is a subvolume, which has a quota group of its own. Must not: switch quotas on; that is the machine's owner's.
"""

import ctypes
import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from berth.kernel.image import Space
from berth.kernel.libc import syscall

#: Number of quotactl_fd on every architecture (include/uapi/asm-generic/unistd.h).
_QUOTACTL_FD: Final = 443
# linux/dqblk_xfs.h and linux/quota.h: commands of XFS's form, which ext4 knows too, for projects.
_PROJECT: Final = 2
_GET_QUOTA: Final = (ord("X") << 8) + 3
_SET_LIMIT: Final = (ord("X") << 8) + 4
_GET_STATE: Final = (ord("X") << 8) + 5
_ENFORCED: Final = 1 << 5
#: struct fs_disk_quota: version, flags, fields, id, limits and counts, timers, warnings, what real-time devices have.
_QUOTA: Final = struct.Struct("=bbHIQQQQQQiiHHbbbbQQQiHh8s")
_IS_PROJECT: Final = 2
_LIMIT_FIELDS: Final = 1 << 3 | 1 << 2
#: Quotas count in these (linux/dqblk_xfs.h).
_UNIT_BYTES: Final = 512
# linux/fs.h: FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, struct fsxattr
_GET_XATTR: Final = 0x801C581F
_SET_XATTR: Final = 0x401C5820
_XATTR: Final = struct.Struct("=IIIII8s")
_INHERIT: Final = 0x200
#: Projects of ours get numbers from here on; people number theirs by hand.
_FIRST_PROJECT: Final = 1 << 30
_TRIES: Final = 64
# linux/btrfs.h
_SUBVOLUME_CREATE: Final = 0x5000940E
_QGROUP_LIMIT: Final = 0x8030942B
_INO_LOOKUP: Final = 0xD0009412
_TREE_SEARCH: Final = 0xD0009411
_QUOTA_TREE: Final = 8
_QGROUP_STATUS: Final = 240
_QGROUP_INFO: Final = 242
_QGROUP_LIMITS: Final = 244
_MAX_REFERENCED: Final = 1
#: Inode of a subvolume's root (linux/btrfs_tree.h, BTRFS_FIRST_FREE_OBJECTID).
_SUBVOLUME_ROOT: Final = 256
_SEARCH_BYTES: Final = 4096
_KEY: Final = struct.Struct("=QQQQQQQIIII32x")
_HEADER: Final = struct.Struct("=QQQII")
#: Kinds of quota.
PROJECT: Final = "project"
QGROUP: Final = "qgroup"


def offered(directory: Path, fstype: str) -> str:
    """Return which kind of quota is kept on the file system of `directory`, of type `fstype`; empty: none."""
    with _opened(directory) as fd:
        try:
            if fstype == "btrfs":
                return QGROUP if _items(fd, _QGROUP_STATUS, 0) else ""
            state = ctypes.create_string_buffer(256)
            state[0] = b"\x01"
            syscall(_QUOTACTL_FD, ctypes.c_int(fd), ctypes.c_int(_command(_GET_STATE)), ctypes.c_int(0), state)
            return PROJECT if struct.unpack_from("=H", state.raw, 2)[0] & _ENFORCED else ""
        except OSError:
            return ""


def make(directory: Path, kind: str) -> None:
    """Make `directory`, which is empty or missing, something that can have a limit. May be repeated."""
    if kind == QGROUP:
        if directory.is_dir() and directory.stat().st_ino != _SUBVOLUME_ROOT:
            directory.rmdir()
        if not directory.is_dir():
            with _opened(directory.parent) as fd:
                name = os.fsencode(directory.name)
                asked = bytearray(struct.pack("=q", 0) + name.ljust(_SEARCH_BYTES - 8, b"\0"))
                fcntl.ioctl(fd, _SUBVOLUME_CREATE, asked)
        return
    with _opened(directory) as fd:
        flags, extent, extents, project, copy, rest = _attributes(fd)
        if not project:
            project = _free_project(fd)
        fcntl.ioctl(fd, _SET_XATTR, _XATTR.pack(flags | _INHERIT, extent, extents, project, copy, rest))


def kind(directory: Path) -> str:
    """Return what `make` made of a directory; empty if it cannot have a limit of its own."""
    try:
        with _opened(directory) as fd:
            if os.fstat(fd).st_ino == _SUBVOLUME_ROOT and _is_subvolume(fd):
                return QGROUP if _items(fd, _QGROUP_STATUS, 0) else ""
            return PROJECT if _attributes(fd)[3] >= _FIRST_PROJECT else ""
    except OSError:
        return ""


def limited(directory: Path, kind: str) -> bool:
    """Tell whether a limit is set; a snapshot of a subvolume has none."""
    with _opened(directory) as fd:
        if kind == QGROUP:
            found = _items(fd, _QGROUP_LIMITS, _subvolume(fd))
            return bool(found) and struct.unpack_from("=QQ", found[0])[1] > 0
        return bool(_QUOTA.unpack(_quota(fd, _GET_QUOTA, _attributes(fd)[3], bytes(_QUOTA.size)))[4])


def limit(directory: Path, kind: str, length: int) -> None:
    """Let files below `directory` have `length` bytes at most."""
    with _opened(directory) as fd:
        if kind == QGROUP:
            fcntl.ioctl(fd, _QGROUP_LIMIT, struct.pack("=QQQQQQ", 0, _MAX_REFERENCED, length, 0, 0, 0))
            return
        project, units = _attributes(fd)[3], length // _UNIT_BYTES
        asked = _QUOTA.pack(1, _IS_PROJECT, _LIMIT_FIELDS, project, units, units, *(0,) * 18, b"")
        _quota(fd, _SET_LIMIT, project, asked)


def space(directory: Path, kind: str, length: int) -> Space:
    """Return the limit, as it was set, and what the files take of it."""
    with _opened(directory) as fd:
        if kind == QGROUP:
            found = _items(fd, _QGROUP_INFO, _subvolume(fd))
            return Space(length, struct.unpack_from("=QQ", found[0])[1] if found else 0)
        seen = _QUOTA.unpack(_quota(fd, _GET_QUOTA, _attributes(fd)[3], bytes(_QUOTA.size)))
        return Space(length, seen[8] * _UNIT_BYTES)


def _command(number: int) -> int:
    return number << 8 | _PROJECT


def _quota(fd: int, command: int, project: int, data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, _QUOTA.size)
    syscall(_QUOTACTL_FD, ctypes.c_int(fd), ctypes.c_int(_command(command)), ctypes.c_int(project), buffer)
    return buffer.raw


def _attributes(fd: int) -> tuple[int, int, int, int, int, bytes]:
    flags, extent, extents, project, copy, rest = _XATTR.unpack(fcntl.ioctl(fd, _GET_XATTR, bytes(_XATTR.size)))
    return flags, extent, extents, project, copy, rest


def _free_project(fd: int) -> int:
    for _ in range(_TRIES):
        project = _FIRST_PROJECT + secrets.randbelow(_FIRST_PROJECT)
        try:
            seen = _QUOTA.unpack(_quota(fd, _GET_QUOTA, project, bytes(_QUOTA.size)))
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return project
            raise
        if not any(seen[4:10]):
            return project
    raise OSError(errno.EBUSY, "no free project number found")


def _is_subvolume(fd: int) -> bool:
    try:
        return _subvolume(fd) > 0
    except OSError:
        return False


def _subvolume(fd: int) -> int:
    asked = struct.pack("=QQ", 0, _SUBVOLUME_ROOT).ljust(_SEARCH_BYTES, b"\0")
    buffer = bytearray(asked)
    fcntl.ioctl(fd, _INO_LOOKUP, buffer)
    return int(struct.unpack_from("=Q", buffer)[0])


def _items(fd: int, kind: int, offset: int) -> list[bytes]:
    """Return the items of one key in the quota tree; none where quotas are off."""
    most = (1 << 64) - 1
    key = _KEY.pack(_QUOTA_TREE, 0, 0, offset, offset, 0, most, kind, kind, 1, 0)
    buffer = bytearray(key.ljust(_SEARCH_BYTES, b"\0"))
    try:
        fcntl.ioctl(fd, _TREE_SEARCH, buffer)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return []
        raise
    count = struct.unpack_from("=I", buffer, 64)[0]
    if not count:
        return []
    length = _HEADER.unpack_from(buffer, _KEY.size)[4]
    start = _KEY.size + _HEADER.size
    return [bytes(buffer[start : start + length])]


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
