"""Makes the files of an archive below the root directory, into which the process is chrooted.

The archive is not trusted. A name that leads up, through a symlink, or through anything but a directory is refused;
so is a device, unless the archive is a backup of ours. Nothing an archive says can reach outside the root directory:
the process has no other, and no descriptor of one.
Runs inside `berth.kernel.restore_child`: standard library only.
"""

import errno
import os
import posixpath
import shutil
import stat
from typing import Final

from berth.kernel.sealed import SealedStream
from berth.kernel.tarstream import BadTar, Entry, show

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Final = {b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"6": stat.S_IFIFO}
#: Attributes that a foreign archive may bring: others mean something to the host's kernel.
_HARMLESS: Final = (b"user.", b"system.posix_acl_", b"security.capability")
#: Attributes that this file system or kernel does not take.
_NOT_HERE: Final = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)
_NOTES: Final = 20


class RestoreTree:
    """The tree below ``/``, which is empty; nobody else writes there."""

    def __init__(self, stream: SealedStream) -> None:
        self._stream = stream
        #: Directories that are there, with what is to be said of them at the end.
        self._known: dict[bytes, Entry | None] = {b"/": None}
        self._first = b""
        self._below = True
        self.notes: list[str] = []

    @property
    def prefix(self) -> str:
        """The one directory, made by the first member, that all others are in; empty if there is none."""
        return os.fsdecode(self._first[1:]) if self._below and self._stream.head is None else ""

    def fill(self) -> None:
        """Make everything. Raises `BadTar`, `OSError` with the path in it."""
        os.umask(0)
        for entry in self._stream.members_checked():
            path = inside(entry.name)
            if not self._first:
                self._first = path
                self._below = entry.kind == b"5" and path != b"/"
            elif self._below and path != self._first:
                self._below = path.startswith(self._first + b"/")
            try:
                self._add(path, entry)
            except OSError as exc:
                if exc.filename is None:
                    exc.filename = path
                raise
        for path, made in reversed(self._known.items()):
            if made is not None:
                self._finish(path, made)

    def _add(self, path: bytes, entry: Entry) -> None:
        if path == b"/":
            if entry.kind != b"5":
                raise BadTar(f"{show(entry.name)}: the root is no directory")
            self._known[path] = entry
            return
        parent = path[: path.rindex(b"/")] or b"/"
        if parent not in self._known:
            self._parents(parent, entry)
        try:
            self._make(path, entry)
        except FileExistsError:
            if entry.kind == b"5" and path in self._known:
                self._known[path] = entry
                return
            self._clear(path)  # as when tar unpacks: the last of one name stays
            self._make(path, entry)

    def _make(self, path: bytes, entry: Entry) -> None:
        kind = entry.kind
        if kind == b"0":
            self._file(path, entry)
            return
        if kind == b"5":
            os.mkdir(path, 0o700)
            self._known[path] = entry
            return
        if kind == b"1":
            self._link(path, entry)
            return
        if kind == b"2":
            os.symlink(entry.link, path)
        else:
            self._special(path, entry)
        if entry.uid or entry.gid:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if kind != b"2":
            os.chmod(path, entry.mode)
        for key, value in entry.xattrs:
            self._attribute(path, path, key, value)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _file(self, path: bytes, entry: Entry) -> None:
        fd = os.open(path, _NEW_FILE, entry.mode)
        try:
            if entry.size:
                self._stream.copy(entry, fd)
            if entry.uid or entry.gid:
                os.fchown(fd, entry.uid, entry.gid)
                if entry.mode & 0o6000:
                    os.fchmod(fd, entry.mode)  # after the owner: chown clears set-user-id
            for key, value in entry.xattrs:
                self._attribute(fd, path, key, value)  # after the data: writing clears capabilities
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _link(self, path: bytes, entry: Entry) -> None:
        target = inside(entry.link)
        above = target[: target.rindex(b"/")] or b"/"
        if above not in self._known:
            raise BadTar(f"{show(entry.name)}: is a link to {show(entry.link)}, which is not in the archive")
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError:
            raise BadTar(f"{show(entry.name)}: is a link to {show(entry.link)}, which is not in the archive") from None
        except PermissionError:
            raise BadTar(f"{show(entry.name)}: is a link to the directory {show(entry.link)}") from None

    def _special(self, path: bytes, entry: Entry) -> None:
        major, minor = entry.device
        if entry.kind != b"6":
            if self._stream.head is None:
                raise BadTar(f"{show(entry.name)}: is a device; devices are only made from backups of this engine")
            if major >= 1 << 12 or minor >= 1 << 20:
                raise BadTar(f"{show(entry.name)}: device {major}:{minor}")
        os.mknod(path, entry.mode | _KINDS[entry.kind], os.makedev(major, minor))

    def _clear(self, path: bytes) -> None:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            below = path + b"/"
            for known in [known for known in self._known if known == path or known.startswith(below)]:
                del self._known[known]
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def _parents(self, parent: bytes, entry: Entry) -> None:
        """Make the directories above a member; what is there already and is none, is in the way."""
        path = b""
        for name in parent[1:].split(b"/"):
            path += b"/" + name
            if path in self._known:
                continue
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                what = "a symlink" if stat.S_ISLNK(os.lstat(path).st_mode) else "no directory"
                raise BadTar(f"{show(entry.name)}: leads through {show(path[1:])}, which is {what}") from None
            self._known[path] = None

    def _finish(self, path: bytes, entry: Entry) -> None:
        # Last, because making entries changes the times, and modes and attributes pass on to what is made.
        fd = os.open(path, _DIRECTORY)
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            for key, value in entry.xattrs:
                self._attribute(fd, path, key, value)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _attribute(self, where: int | bytes, path: bytes, key: bytes, value: bytes) -> None:
        if self._stream.head is None and not key.startswith(_HARMLESS):
            self._note(f"{show(path[1:])}: attribute {show(key)} was left out: the archive is no backup of this engine")
            return
        try:
            if isinstance(where, int):
                os.setxattr(where, key, value)
            else:
                os.setxattr(where, key, value, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in _NOT_HERE:
                raise
            self._note(f"{show(path[1:])}: attribute {show(key)} cannot be kept here: {str(exc.strerror).lower()}")

    def _note(self, words: str) -> None:
        if len(self.notes) < _NOTES:
            self.notes.append(words)


def inside(name: bytes) -> bytes:
    """Return a member's name as an absolute path without ``.``, ``..`` and doubled slashes. Raises `BadTar`."""
    if b"./" not in name and b"//" not in name and not name.endswith((b"/.", b"/..")) and name not in (b".", b".."):
        return b"/" + name.strip(b"/")
    if name.startswith(b"./") and name.find(b"/.", 2) < 0 and b"//" not in name:
        return b"/" + name[2:].rstrip(b"/")
    clean = posixpath.normpath(name.lstrip(b"/") or b".")
    if clean == b".." or clean.startswith(b"../"):
        raise BadTar(f'invalid name "{show(name)}": it leads out of the volume')
    return b"/" if clean == b"." else b"/" + clean
