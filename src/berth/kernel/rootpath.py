"""Paths inside a root that is not to be trusted: whatever symlinks say, nothing outside is reached or made.

`openat2(2)` with RESOLVE_IN_ROOT resolves as a process chrooted there would; the OCI runtimes do the same, so that
what is made here is what they mount onto.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from berth.base.errors import SystemFault
from berth.kernel.libc import LIBC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# linux/openat2.h
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
#: Number of openat2 on every architecture (include/uapi/asm-generic/unistd.h).
_SYS_OPENAT2: Final = 437
_AGAIN: Final = 32
#: How many symlinks in one path are followed before it counts as a loop (linux/namei.h, MAXSYMLINKS).
_MAX_LINKS: Final = 40


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class PathEscapes(SystemFault):
    """A path leads out of where it must stay."""

    def __init__(self, path: str) -> None:
        super().__init__(f"path {path} leads out of its root")


class NotADirectoryHere(SystemFault):
    """Something in the way of a path is not a directory."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: not a directory")


def open_inside(root_fd: int, path: str, flags: int = os.O_PATH, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Open `path` as seen from the directory `root_fd`; raises `OSError` as open(2) does, EXDEV for an escape."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve | RESOLVE_NO_MAGICLINKS)
    for _ in range(_AGAIN):
        fd = LIBC.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root_fd),
            os.fsencode(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something was renamed meanwhile
            break
    raise OSError(number, os.strerror(number), path)


def open_beneath(root: str, path: str) -> int:
    """Open `path` below `root` with O_PATH, following no symlink out of it. Raises `PathEscapes`."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_inside(root_fd, path, resolve=RESOLVE_BENEATH)
    except OSError as exc:
        if exc.errno == errno.EXDEV:
            raise PathEscapes(path) from None
        raise SystemFault(f"cannot open {path} in {root}: {os.strerror(exc.errno or 0)}") from None
    finally:
        os.close(root_fd)


def chmod_itself(directory: int, name: str, mode: int) -> None:
    """Change the mode of a file in an open directory, and of nothing that a symlink in its place may lead to.

    For directories that others can write: by its path alone, a file that was just made may be a symlink by now, which
    chmod(2) would follow, to the host's own files. Raises `OSError`, for a symlink too.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def make_target(root: str, path: str, *, directory: bool) -> bool:
    """Make sure that `path` exists inside `root` as a directory or file; True if it is of the kind wanted.

    Missing parts are made with mode 0755 (files 0644) and owner root, where a chrooted process would make them.
    Raises `NotADirectoryHere` when a file is in the way.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_MAX_LINKS):
            parent, left = _deepest(root_fd, [part for part in path.split("/") if part not in ("", ".")])
            try:
                if not left:
                    return stat.S_ISDIR(os.fstat(parent).st_mode) == directory
                again = _make(root_fd, parent, left, directory=directory)
            finally:
                os.close(parent)
            if again is None:
                return True
            path = again
    finally:
        os.close(root_fd)
    raise SystemFault(f"{path}: too many levels of symbolic links")


def _deepest(root_fd: int, parts: list[str]) -> tuple[int, list[str]]:
    """Open the longest prefix that exists; return it and what is missing."""
    for count in range(len(parts), -1, -1):
        try:
            return open_inside(root_fd, "/" + "/".join(parts[:count])), parts[count:]
        except OSError as exc:
            if exc.errno == errno.ENOTDIR:
                raise NotADirectoryHere("/" + "/".join(parts)) from None
            if exc.errno != errno.ENOENT:
                raise SystemFault(f"cannot open /{'/'.join(parts[:count])} in the container: {exc.strerror}") from None
    raise SystemFault("the container has no root directory")


def _make(root_fd: int, parent: int, left: list[str], *, directory: bool) -> str | None:
    """Make what is missing below `parent`; a dangling symlink in the way gives the path to try instead."""
    here = os.dup(parent)
    try:
        for index, name in enumerate(left):
            last = index == len(left) - 1
            try:
                if last and not directory:
                    os.mknod(name, 0o644 | stat.S_IFREG, dir_fd=here)
                    chmod_itself(here, name, 0o644)
                    return None
                os.mkdir(name, 0o755, dir_fd=here)
            except FileExistsError:
                again = _through_link(root_fd, here, left[index:])
                if again is None:
                    raise SystemFault(f"cannot make mount point {'/'.join(left)}: {name} is in the way") from None
                return again
            except NotADirectoryError:
                raise NotADirectoryHere("/".join(left)) from None
            except OSError as exc:
                raise SystemFault(f"cannot make mount point {'/'.join(left)}: {exc.strerror}") from None
            deeper = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.chmod(f"/proc/self/fd/{deeper}", 0o755)  # noqa: S103  as mkdir would without a umask
            os.close(here)
            here = deeper
    finally:
        os.close(here)
    return None


def _through_link(root_fd: int, here: int, left: list[str]) -> str | None:
    # Only a dangling symlink exists and yet cannot be opened: go on where it points, still inside the root.
    try:
        to = os.readlink(left[0], dir_fd=here)
    except OSError:
        return None
    if not to.startswith("/"):
        to = f"{_path_in(root_fd, here)}/{to}"
    return "/".join((to, *left[1:]))


def _path_in(root_fd: int, fd: int) -> str:
    root, path = os.readlink(f"/proc/self/fd/{root_fd}"), os.readlink(f"/proc/self/fd/{fd}")
    return "/" if path == root else path.removeprefix("" if root == "/" else root)
