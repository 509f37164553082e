"""Makes the files of an image layer from its archive, as overlay wants them.

The caller has made the layer's directory the root of its process (chroot), so that no name, symlink or hard link in
the archive can lead out of it. What a layer says about those below it becomes overlay's marks (OCI image-spec,
layer.md "Whiteouts"; Documentation/filesystems/overlayfs.rst "whiteouts and opaque directories").
Runs inside `berth.kernel.layer_child`: standard library only.
"""

import errno
import os
import posixpath
import stat
from typing import Final

from berth.kernel.removal import remove_tree
from berth.kernel.tarstream import BadTar, Entry, TarStream, show
from berth.kernel.tartree import TarTree, inside, set_attribute

_WHITEOUT: Final = b".wh."
_WHITEOUT_META: Final = b".wh..wh."
_OPAQUE: Final = b".wh..wh..opq"
_OPAQUE_MARK: Final = "trusted.overlay.opaque"
#: Overlay's own marks: from an archive they could point a layer at files that are not its own.
_REFUSED_XATTRS: Final = (b"trusted.overlay.", b"user.overlay.")
#: Attributes that this file system does not take, or that mean nothing here, are left out.
_TOLERATED: Final = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)


class LayerTree(TarTree):
    """A layer below ``/``."""

    def __init__(self, stream: TarStream) -> None:
        super().__init__(stream)
        self._stream = stream
        self._directories: dict[bytes, Entry] = {}
        self._whiteouts: set[bytes] = set()
        self._size = 0
        self._exact = True

    def fill(self) -> int:
        """Make everything; return the bytes of the files. Raises `BadTar`, `OSError` with the path in it."""
        os.umask(0)
        for entry in self._stream.entries():
            path = _inside(entry.name)
            try:
                self._add(path, entry)
            except OSError as exc:
                if exc.filename is None:
                    exc.filename = path
                raise
        for path, entry in reversed(self._directories.items()):
            self._finish(path, entry)
        return self._size if self._exact else _measured()

    def _add(self, path: bytes, entry: Entry) -> None:
        if path == b"/":
            if entry.kind != b"5":
                raise BadTar(f"{show(entry.name)}: the root is no directory")
            self._directories[path] = entry
            return
        name = path[path.rindex(b"/") + 1 :]
        if name.startswith(_WHITEOUT):
            self._whiteout(path, name)
            return
        for attempt in range(3):
            try:
                self._make(path, entry)
                return
            except FileNotFoundError:
                if attempt == 2 or (attempt and entry.kind == b"1"):
                    raise
                self._parents(path)
            except FileExistsError:
                if attempt == 2 or self._clear(path, entry):
                    return

    def _make(self, path: bytes, entry: Entry) -> None:
        kind = entry.kind
        if kind == b"0":
            self._make_file(path, entry)
            self._size += entry.size
        elif kind == b"5":
            os.mkdir(path, 0o755)
            self._directories[path] = entry
        elif kind == b"1":
            os.link(_inside(entry.link), path, follow_symlinks=False)
        elif kind == b"2":
            self._make_symlink(path, entry)
            self._size += len(entry.link)
        else:
            self._make_special(path, entry)

    def _clear(self, path: bytes, entry: Entry) -> bool:
        """Take away what an earlier entry made in this place; True if it is a directory and may stay one."""
        there = os.lstat(path)
        if path in self._whiteouts:
            # The layer hides what lies below it here and puts something new in its place.
            self._whiteouts.discard(path)
            os.unlink(path)
            if entry.kind == b"5":
                self._make(path, entry)
                os.setxattr(path, _OPAQUE_MARK, b"y", follow_symlinks=False)
                return True
            return False
        if stat.S_ISDIR(there.st_mode):
            if entry.kind == b"5":
                self._directories.pop(path, None)
                self._directories[path] = entry
                return True
            below = path + b"/"
            for known in [known for known in self._directories if known == path or known.startswith(below)]:
                del self._directories[known]
            self._whiteouts = {known for known in self._whiteouts if not known.startswith(below)}
            remove_tree(path)
        else:
            os.unlink(path)
        self._exact = False
        return False

    def _parents(self, path: bytes) -> None:
        """Make the directories above `path`, also where a dangling symlink of this layer points."""
        missing = []
        where = os.path.realpath(posixpath.dirname(path))
        while not os.path.isdir(where):  # makedirs gives its mode to the last one only
            missing.append(where)
            where = posixpath.dirname(where)
        for directory in reversed(missing):
            os.mkdir(directory, 0o755)

    def _whiteout(self, path: bytes, name: bytes) -> None:
        directory = posixpath.dirname(path)
        if name == _OPAQUE:
            self._parents(path)
            os.setxattr(directory, _OPAQUE_MARK, b"y")
            return
        hidden = name[len(_WHITEOUT) :]
        if name.startswith(_WHITEOUT_META):
            return  # bookkeeping of a file system that Docker once used
        if hidden in (b"", b".", b".."):
            raise BadTar(f"{show(path)}: a mark of removal without a name")
        target = posixpath.join(directory, hidden)
        self._parents(target)
        try:
            os.mknod(target, stat.S_IFCHR, 0)
            self._whiteouts.add(target)
        except FileExistsError:
            # What the layer itself brings stays; a directory then hides the one below it.
            if stat.S_ISDIR(os.lstat(target).st_mode):
                os.setxattr(target, _OPAQUE_MARK, b"y", follow_symlinks=False)

    def _finish(self, path: bytes, entry: Entry) -> None:
        try:
            self._finish_directory(path, entry)
        except (FileNotFoundError, NotADirectoryError):
            return  # a later entry took its place
        except OSError as exc:
            if exc.errno != errno.ELOOP:
                raise

    def _attribute(self, where: int | bytes, path: bytes, key: bytes, value: bytes) -> None:  # noqa: ARG002  others say it
        if key.startswith(_REFUSED_XATTRS):
            return
        try:
            set_attribute(where, key, value)
        except OSError as exc:
            if exc.errno not in _TOLERATED:
                raise


def _inside(name: bytes) -> bytes:
    return inside(name, "layer")


def _measured() -> int:
    """Add up the files that are there, each once: entries that replaced others have spoilt the count."""
    total = 0
    seen: set[int] = set()
    for top, names, files in os.walk("/"):
        for name in (*names, *files):
            found = os.lstat(os.path.join(top, name))
            if not stat.S_ISDIR(found.st_mode) and found.st_ino not in seen:
                seen.add(found.st_ino)
                total += found.st_size
    return total
