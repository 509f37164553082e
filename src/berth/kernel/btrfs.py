"""btrfs subvolumes: directories that can be copied as they are at one instant, in no time. Blocking.

Constants and structures: uapi/linux/btrfs.h. The program `treecopy_child` imports this: the standard library only.
"""

import errno
import fcntl
import os
import struct
from typing import Final

_SUBVOL_CREATE: Final = 0x5000940E
_SNAP_DESTROY: Final = 0x5000940F
_SNAP_CREATE_V2: Final = 0x50009417
_INO_LOOKUP: Final = 0xD0009412
_GET_SUBVOL_ROOTREF: Final = 0xD000943D
#: Inode number of the root of every subvolume (BTRFS_FIRST_FREE_OBJECTID).
_ROOT_INODE: Final = 256
_NAME_BYTES: Final = 4040
#: statfs(2): BTRFS_SUPER_MAGIC
_MAGIC: Final = 0x9123683E


def is_on(path: str) -> bool:
    """Tell whether a directory is on btrfs."""
    return subvolume_id(path) is not None


def is_subvolume(path: str) -> bool:
    """Tell whether a directory is the root of a subvolume."""
    return os.lstat(path).st_ino == _ROOT_INODE and subvolume_id(path) is not None


def subvolume_id(path: str) -> int | None:
    """Return the number of the subvolume a directory is in; None if it is not on btrfs."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        answer = bytearray(struct.pack("=QQ4080x", 0, _ROOT_INODE))
        fcntl.ioctl(fd, _INO_LOOKUP, answer)
    except OSError:
        return None
    finally:
        os.close(fd)
    return int(struct.unpack_from("=Q", answer)[0])


def make_subvolume(path: str) -> bool:
    """Make an empty subvolume; False where the file system has none."""
    parent, name = os.path.split(path)
    return _ask(parent, _SUBVOL_CREATE, struct.pack(f"=q{_NAME_BYTES + 48}s", 0, os.fsencode(name)))


def snapshot(source: str, path: str) -> bool:
    """Make a subvolume `path` with what `source` has now.

    False if `source` is none, holds others (a snapshot has nothing of those), or is on another file system.
    """
    if not is_subvolume(source):
        return False
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        held = bytearray(4096)
        fcntl.ioctl(fd, _GET_SUBVOL_ROOTREF, held)
        if held[4088]:  # num_items
            return False
        parent, name = os.path.split(path)
        return _ask(parent, _SNAP_CREATE_V2, struct.pack(f"=qQQ32x{_NAME_BYTES}s", fd, 0, 0, os.fsencode(name)))
    finally:
        os.close(fd)


def destroy(path: str) -> bool:
    """Remove a subvolume with all it holds; False if it is none, or holds others."""
    try:
        if not is_subvolume(path):
            return False
    except FileNotFoundError:
        return False
    parent, name = os.path.split(path)
    try:
        return _ask(parent, _SNAP_DESTROY, struct.pack(f"=q{_NAME_BYTES + 48}s", 0, os.fsencode(name)))
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EPERM):
            return False
        raise


def _ask(parent: str, request: int, argument: bytes) -> bool:
    fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, request, bytearray(argument))  # fcntl takes no constant of more than 1024 bytes
    except OSError as exc:
        if exc.errno in (errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    finally:
        os.close(fd)
    return True
