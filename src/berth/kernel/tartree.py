"""Makes files as the entries of an archive say, in a process whose root is the directory to fill (chroot), as root.

What layers and backups have in common: names, files, special files, owners, attributes, times. Standard library only.
Must not: decide what an entry may be, or what stands in its way; that is its caller's.
"""

import os
import posixpath
import stat
from typing import Final, Protocol

from berth.kernel.tarstream import BadTar, Entry, show

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Final = {b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"6": stat.S_IFIFO}


class Content(Protocol):
    """Where the data of files come from."""

    def copy(self, entry: Entry, fd: int) -> None:
        """Write the data of the entry at hand to a file."""
        ...


class TarTree:
    """The tree below ``/``, which is empty; nobody else writes there. Files are made with umask 0."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def _attribute(self, where: int | bytes, path: bytes, key: bytes, value: bytes) -> None:
        """Set an extended attribute of a file, open or by its path."""
        raise NotImplementedError

    def _make_file(self, path: bytes, entry: Entry) -> None:
        fd = os.open(path, _NEW_FILE, entry.mode)
        try:
            if entry.size:
                self._content.copy(entry, fd)
            # Owner 0:0 is what a file made here has already: no directory passes its group on before the end.
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
                if entry.mode & 0o6000:
                    os.fchmod(fd, entry.mode)  # after the owner: chown clears set-user-id
            for key, value in entry.xattrs:
                self._attribute(fd, path, key, value)  # after the data: writing clears capabilities
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _make_symlink(self, path: bytes, entry: Entry) -> None:
        os.symlink(entry.link, path)
        self._dress(path, entry)

    def _make_special(self, path: bytes, entry: Entry) -> None:
        """Make a device or a fifo. Raises `BadTar` for numbers that no device has (linux/kdev_t.h)."""
        major, minor = entry.device
        if major >= 1 << 12 or minor >= 1 << 20:
            raise BadTar(f"{show(entry.name)}: device {major}:{minor}")
        os.mknod(path, entry.mode | _KINDS[entry.kind], os.makedev(major, minor))
        self._dress(path, entry)

    def _dress(self, path: bytes, entry: Entry) -> None:
        if entry.uid or entry.gid:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
            if entry.kind != b"2":
                os.chmod(path, entry.mode)  # after the owner, as with files
        for key, value in entry.xattrs:
            self._attribute(path, path, key, value)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _finish_directory(self, path: bytes, entry: Entry) -> None:
        """Give a directory what its entry says. Last of all: making entries changes times, modes pass on."""
        fd = os.open(path, _DIRECTORY)
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            for key, value in entry.xattrs:
                self._attribute(fd, path, key, value)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)


def set_attribute(where: int | bytes, key: bytes, value: bytes) -> None:
    """Set an extended attribute of an open file, or of what a path names itself."""
    if isinstance(where, int):
        os.setxattr(where, key, value)
    else:
        os.setxattr(where, key, value, follow_symlinks=False)


def inside(name: bytes, what: str) -> bytes:
    """Return a member's name as an absolute path without ``.``, ``..`` and doubled slashes.

    Raises `BadTar` if it leads out of `what` ("layer").
    """
    if b"./" not in name and b"//" not in name and not name.endswith((b"/.", b"/..")) and name not in (b".", b".."):
        return b"/" + name.strip(b"/")
    if name.startswith(b"./") and b"/." not in name and b"//" not in name:  # as tar writes nearly all
        return b"/" + name[2:].rstrip(b"/")
    clean = posixpath.normpath(name.lstrip(b"/") or b".")
    if clean == b".." or clean.startswith(b"../"):
        raise BadTar(f'invalid name "{show(name)}": it leads out of the {what}')
    return b"/" if clean == b"." else b"/" + clean
