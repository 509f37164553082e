"""Makes the files of an archive below the root directory, into which the process is chrooted.

The archive is not trusted. A name that leads up, through a symlink, or through anything but a directory is refused;
so is a device, unless the archive is a backup of ours. Nothing an archive says can reach outside the root directory:
the process has no other, and no descriptor of one.
Runs inside `berth.kernel.restore_child`: standard library only.
"""

import errno
import os
import stat
from typing import Final

from berth.kernel.removal import remove_tree
from berth.kernel.sealed import SealedStream
from berth.kernel.tarstream import BadTar, Entry, show
from berth.kernel.tartree import TarTree, inside, set_attribute

#: Attributes that a foreign archive may bring: others mean something to the host's kernel.
_HARMLESS: Final = (b"user.", b"system.posix_acl_", b"security.capability")
#: Attributes that this file system or kernel does not take.
_NOT_HERE: Final = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)
_NOTES: Final = 20
#: Bytes of a path that the kernel takes in any case (PATH_MAX, limits.h, is 4096); trees may be deeper.
_LONGEST: Final = 4000
_HERE: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class RestoreTree(TarTree):
    """A volume's files below ``/``."""

    def __init__(self, stream: SealedStream) -> None:
        super().__init__(stream)
        self._stream = stream
        #: Directories that are there, with what is to be said of them at the end.
        self._known: dict[bytes, Entry | None] = {b"/": None}
        self._first = b""
        self._below = True
        self.notes: list[str] = []
        #: The directory the process is in.
        self._at = b""

    @property
    def prefix(self) -> str:
        """The one directory, made by the first member, that all others are in; empty if there is none."""
        return os.fsdecode(self._first[1:]) if self._below and self._stream.head is None else ""

    def fill(self) -> None:
        """Make everything. Raises `BadTar`, `OSError` with the path in it."""
        os.umask(0)
        for entry in self._stream.members_checked():
            path = inside(entry.name, "volume")
            if not self._first:
                self._first = path
                self._below = entry.kind == b"5" and path != b"/"
            elif self._below and path != self._first:
                self._below = path.startswith(self._first + b"/")
            try:
                self._add(path, entry)
            except OSError as exc:
                if not isinstance(exc.filename, bytes) or not exc.filename.startswith(b"/"):
                    exc.filename = path
                raise
        for path, made in reversed(self._known.items()):
            if made is not None:
                self._finish_directory(self._near(path), made)

    def _near(self, path: bytes) -> bytes:
        """Return a path the kernel takes for a file in a directory that is there: `path`, or its name from there."""
        if len(path) <= _LONGEST:
            return path
        parent, _, name = path.rpartition(b"/")
        if self._at != parent:
            os.chdir("/")
            self._at = b""
            rest = parent[1:]
            while rest:
                piece = rest if len(rest) <= _LONGEST else rest[: rest.rindex(b"/", 0, _LONGEST)]
                os.chdir(piece)
                rest = rest[len(piece) + 1 :]
            self._at = parent
        return name

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
            self._make_file(self._near(path), entry)
        elif kind == b"5":
            os.mkdir(self._near(path), 0o700)
            self._known[path] = entry
        elif kind == b"1":
            self._link(path, entry)
        elif kind == b"2":
            self._make_symlink(self._near(path), entry)
        else:
            if kind != b"6" and self._stream.head is None:
                raise BadTar(f"{show(entry.name)}: is a device; devices are only made from backups of this engine")
            self._make_special(self._near(path), entry)

    def _link(self, path: bytes, entry: Entry) -> None:
        target = inside(entry.link, "volume")
        above = target[: target.rindex(b"/")] or b"/"
        if above not in self._known:
            raise BadTar(f"{show(entry.name)}: is a link to {show(entry.link)}, which is not in the archive")
        try:
            self._link_to(target, path)
        except FileNotFoundError:
            raise BadTar(f"{show(entry.name)}: is a link to {show(entry.link)}, which is not in the archive") from None
        except PermissionError:
            raise BadTar(f"{show(entry.name)}: is a link to the directory {show(entry.link)}") from None

    def _link_to(self, target: bytes, path: bytes) -> None:
        near = self._near(target)
        there = os.open(b"/" if near.startswith(b"/") else b".", _HERE)
        try:
            os.link(near, self._near(path), src_dir_fd=there, follow_symlinks=False)
        finally:
            os.close(there)

    def _clear(self, path: bytes) -> None:
        near = self._near(path)
        if stat.S_ISDIR(os.lstat(near).st_mode):
            below = path + b"/"
            for known in [known for known in self._known if known == path or known.startswith(below)]:
                del self._known[known]
            remove_tree(near)
        else:
            os.unlink(near)

    def _parents(self, parent: bytes, entry: Entry) -> None:
        """Make the directories above a member; what is there already and is none, is in the way."""
        path = b""
        for name in parent[1:].split(b"/"):
            path += b"/" + name
            if path in self._known:
                continue
            try:
                os.mkdir(self._near(path), 0o755)
            except FileExistsError:
                what = "a symlink" if stat.S_ISLNK(os.lstat(self._near(path)).st_mode) else "no directory"
                raise BadTar(f"{show(entry.name)}: leads through {show(path[1:])}, which is {what}") from None
            self._known[path] = None

    def _attribute(self, where: int | bytes, path: bytes, key: bytes, value: bytes) -> None:
        name = show(path.lstrip(b"/"))
        if self._stream.head is None and not key.startswith(_HARMLESS):
            self._note(f"{name}: attribute {show(key)} was left out: the archive is no backup of this engine")
            return
        try:
            set_attribute(where, key, value)
        except OSError as exc:
            if exc.errno not in _NOT_HERE:
                raise
            self._note(f"{name}: attribute {show(key)} cannot be kept here: {str(exc.strerror).lower()}")

    def _note(self, words: str) -> None:
        if len(self.notes) < _NOTES:
            self.notes.append(words)
