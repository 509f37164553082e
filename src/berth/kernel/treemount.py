"""Mounts that are nowhere yet: cloned (open_tree(2)), dressed (mount_setattr(2)), put in place (move_mount(2)).

A tree that is not attached goes when its descriptor is closed, so nothing is left behind by whoever dies in between.
Blocking. Must not: choose places; a descriptor of the place comes from the caller.
"""

from __future__ import annotations

import ctypes
import errno
import os

from berth.kernel.libc import LIBC
from berth.kernel.mountflags import MS_PRIVATE, MS_SHARED, MS_SLAVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

# include/uapi/asm-generic/unistd.h, the same on every architecture
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_SYS_MOUNT_SETATTR: Final = 442
# include/uapi/linux/fcntl.h and mount.h
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
_MOVE_MOUNT_BENEATH: Final = 0x200
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
RDONLY: Final = 0x1
NOSUID: Final = 0x2
NODEV: Final = 0x4
NOEXEC: Final = 0x8
NOATIME: Final = 0x10
IDMAP: Final = 0x100000

#: The word of a mount option → what it sets on the mount itself.
ATTRIBUTES: Final = {"ro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC, "noatime": NOATIME}
#: The word of a mount option → how the mount passes later mounts on; those with an r mean all that lies below, too.
PROPAGATION: Final = {
    "private": MS_PRIVATE, "rprivate": MS_PRIVATE, "slave": MS_SLAVE, "rslave": MS_SLAVE,
    "shared": MS_SHARED, "rshared": MS_SHARED,
}  # fmt: skip
#: Words that say what is so anyway.
_DEFAULTS: Final = frozenset({"rw", "suid", "dev", "exec", "async", "relatime", "diratime", "nomand", "loud"})


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def clone(source: str, *, recursive: bool = True) -> int:
    """Return a descriptor of a copy of the mount at `source`, whose root is `source`."""
    return _cloned(_AT_FDCWD, source, 0, recursive=recursive)


def clone_open(fd: int) -> int:
    """Return a copy of the mount whose root is open as `fd`, with all below; it must be in the caller's namespace."""
    return _cloned(fd, "", _AT_EMPTY_PATH, recursive=True)


def _cloned(at: int, path: str, more: int, *, recursive: bool) -> int:
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | more | (_AT_RECURSIVE if recursive else 0)
    return _call(_SYS_OPEN_TREE, path or "a mount", ctypes.c_int(at), os.fsencode(path), ctypes.c_uint(flags))


def set_attributes(
    tree: int, *, add: int = 0, propagation: int = 0, userns: int | None = None, recursive: bool = False
) -> None:
    """Change a mount, or with `recursive` all of the tree."""
    wanted = _Attributes(add | (IDMAP if userns is not None else 0), 0, propagation, userns or 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _call(
        _SYS_MOUNT_SETATTR, "mount attributes", ctypes.c_int(tree), b"", ctypes.c_uint(flags),
        ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)),
    )  # fmt: skip


def attach(tree: int, place: int, *, beneath: bool = False) -> None:
    """Put a tree at the place open as `place`; with `beneath`, under the mount that is there (Linux 6.5)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH | (_MOVE_MOUNT_BENEATH if beneath else 0)
    _call(_SYS_MOVE_MOUNT, "attaching a mount", ctypes.c_int(tree), b"", ctypes.c_int(place), b"", ctypes.c_uint(flags))


def new_tmpfs(options: Iterable[str]) -> int:
    """Return a tmpfs that is nowhere yet; `options` as mount(8) takes them."""
    attributes = 0
    context = _call(_SYS_FSOPEN, "tmpfs", b"tmpfs", ctypes.c_uint(1))  # FSOPEN_CLOEXEC
    try:
        for option in options:
            key, equals, value = option.partition("=")
            if option in ATTRIBUTES:
                attributes |= ATTRIBUTES[option]
            elif equals:
                _configure(context, _FSCONFIG_SET_STRING, key, value)
            elif option not in _DEFAULTS and option not in PROPAGATION:
                _configure(context, _FSCONFIG_SET_FLAG, key, None)
        _configure(context, _FSCONFIG_CMD_CREATE, "", None)
        return _call(_SYS_FSMOUNT, "tmpfs", ctypes.c_int(context), ctypes.c_uint(1), ctypes.c_uint(attributes))
    finally:
        os.close(context)


def _configure(context: int, command: int, key: str, value: str | None) -> None:
    _call(
        _SYS_FSCONFIG, f"tmpfs option {key}", ctypes.c_int(context), ctypes.c_uint(command),
        key.encode() if key else None, value.encode() if value is not None else None, ctypes.c_int(0),
    )  # fmt: skip


def supported() -> bool:
    """Tell whether the kernel changes all mounts of a tree at once (Linux 5.12)."""
    try:
        _call(_SYS_MOUNT_SETATTR, "", ctypes.c_int(-1), b"", ctypes.c_uint(0), None, ctypes.c_size_t(0))
    except OSError as exc:
        return exc.errno != errno.ENOSYS
    return True


def _call(number: int, what: str, *args: object) -> int:
    result = int(LIBC.syscall(ctypes.c_long(number), *args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
