"""Copies a tree of files with all that belongs to it. Blocking; works on open directories.

Everything a file has comes along: owner, mode, times, extended attributes (with them capabilities and ACLs), hard
links, holes, symlinks, fifos, sockets, devices; the root gets what the source's root has.

Files appear whole or not at all, and nothing that exists is replaced: a copy that was interrupted can be begun again.
The source may be written to meanwhile: what is removed between being listed and being opened is left out and counted,
what is replaced is looked at again.
Where the file system can share the blocks of two files (FICLONE of ioctl_ficlone(2): btrfs, XFS), a file is cloned:
one instant's content, no bytes moved.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from berth.base.ownership import NOBODY_SAID, Owner
from berth.kernel.rootpath import chmod_itself

#: At most so much is asked of the kernel in one copy_file_range(2): progress is told in between.
_PIECE_BYTES: Final = 64 << 20
_CANNOT_COPY_IN_KERNEL: Final = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF)
_NO_XATTRS: Final = (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EINVAL)
_PART: Final = ".berth-copy-part"
_HERE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What is said of an entry that is of another kind than it was a moment ago: by open(2) of a symlink, of what is no
#: directory, of a socket.
_REPLACED: Final = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
#: How often an entry that is replaced while it is looked at is looked at again.
_LOOKS: Final = 10
#: uapi/linux/fs.h: _IOW(0x94, 9, int)
_FICLONE: Final = 0x40049409
#: FICLONE says these where it cannot share blocks: other file system, none that can, flags that differ.
_CANNOT_CLONE: Final = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.ETXTBSY)


class Sharing(Enum):
    """Whether files are cloned."""

    NEVER = "never"
    IF_POSSIBLE = "if possible"
    #: A file that cannot be cloned ends the copy with `NotShareable`.
    ALWAYS = "always"


class NotShareable(OSError):
    """The file system cannot share the blocks of two files."""


@dataclass
class Counted:
    """What a copy has done so far."""

    entries: int = 0
    #: Bytes that were moved, and files whose blocks are shared or were moved.
    moved_bytes: int = 0
    cloned: int = 0
    copied: int = 0
    #: Entries that were removed between being listed and being opened.
    vanished: int = 0


class _Vanished(Exception):
    """An entry of the source is not there any more."""


class _Replaced(Exception):
    """An entry of the source is of another kind than it was."""


def _nobody(_: Counted) -> None:
    return


class TreeCopy:
    """One tree being copied; directories are entered by descriptor, so no name is ever resolved twice.

    Neither side is trusted: containers may write to both while they are copied, as root, and nothing they do in there
    may lead out.

    `strict`: an extended attribute that cannot be kept is an error, not left out. `told` is called for every entry and
    every piece of a large file.
    """

    def __init__(
        self,
        source: int,
        into: int,
        *,
        sharing: Sharing = Sharing.NEVER,
        strict: bool = False,
        told: Callable[[Counted], None] = _nobody,
    ) -> None:
        self._source = source
        self._into = into
        self._sharing = sharing
        self._strict = strict
        self._told = told
        self._links: dict[tuple[int, int], str] = {}
        self.counted = Counted()
        #: The entry being copied, for messages.
        self.at = ""

    def run(self, owner: Owner = NOBODY_SAID) -> None:
        """Copy; what `owner` says of the tree's root stays so. Raises `OSError`, with the entry in `at`."""
        self._directory(self._source, self._into, "")
        self.at = ""
        self._dress(self._source, self._into, owner)

    def _directory(self, source: int, into: int, path: str) -> None:
        with os.scandir(source) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            self._entry(source, into, entry.name, f"{path}/{entry.name}" if path else entry.name)

    def _entry(self, source: int, into: int, name: str, path: str) -> None:
        self.at = path
        self.counted.entries += 1
        self._told(self.counted)
        for look in range(_LOOKS):
            try:
                return self._as_seen(source, into, name, path)
            except _Vanished:
                self.counted.vanished += 1
                return None
            except _Replaced as exc:
                if look == _LOOKS - 1:
                    raise OSError(errno.EAGAIN, "it is replaced all the time") from exc
        return None

    def _as_seen(self, source: int, into: int, name: str, path: str) -> None:
        with _of_the_source():
            seen = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(seen.st_mode)
        if kind == stat.S_IFDIR:
            self._subdirectory(source, into, name, path)
            return
        key = (seen.st_dev, seen.st_ino)
        if seen.st_nlink > 1 and key in self._links:
            with contextlib.suppress(FileExistsError), self._parent(self._links[key]) as (above, first):
                os.link(first, name, src_dir_fd=above, dst_dir_fd=into, follow_symlinks=False)
            return
        try:
            if kind == stat.S_IFREG:
                self._file(source, into, name)
            elif kind == stat.S_IFLNK:
                with _of_the_source(errno.EINVAL):  # no symlink any more
                    target = os.readlink(name, dir_fd=source)
                attributes = self._attributes_by_name(source, name)
                os.symlink(target, name, dir_fd=into)
                self._dress_by_name(into, name, seen, attributes)
            else:
                attributes = self._attributes_by_name(source, name)
                os.mknod(name, seen.st_mode, seen.st_rdev, dir_fd=into)
                self._dress_by_name(into, name, seen, attributes)
        except FileExistsError:
            return
        if seen.st_nlink > 1:
            self._links[key] = path

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Lend the directory of something that was copied, and its name there.

        Never by its path as a whole: containers may write here, and have made a symlink of a directory on the way.
        """
        *above, name = path.split("/")
        here = os.open(".", _HERE, dir_fd=self._into)
        try:
            for part in above:
                deeper = os.open(part, _HERE, dir_fd=here)
                os.close(here)
                here = deeper
            yield here, name
        finally:
            os.close(here)

    def _subdirectory(self, source: int, into: int, name: str, path: str) -> None:
        with _of_the_source():
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        try:
            with contextlib.suppress(FileExistsError):  # of an interrupted copy
                os.mkdir(name, 0o700, dir_fd=into)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                made = os.open(name, flags, dir_fd=into)
            except NotADirectoryError:
                return
            try:
                self._directory(inner, made, path)
                self.at = path
                self._dress(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _file(self, source: int, into: int, name: str) -> None:
        with _of_the_source():
            # Without waiting: it may be a fifo by now.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_NONBLOCK | os.O_CLOEXEC
            reader = os.open(name, flags, dir_fd=source)
        try:
            seen = os.fstat(reader)
            if not stat.S_ISREG(seen.st_mode):
                raise _Replaced
            writer, part = _nameless(into)
            try:
                self._content(reader, writer, seen.st_size)
                self._dress(reader, writer)
                if part is None:
                    os.link(f"/proc/self/fd/{writer}", name, dst_dir_fd=into, follow_symlinks=True)
                else:
                    os.link(part, name, src_dir_fd=into, dst_dir_fd=into)
            finally:
                os.close(writer)
                if part is not None:
                    os.unlink(part, dir_fd=into)
        finally:
            os.close(reader)

    def _content(self, reader: int, writer: int, size: int) -> None:
        if self._sharing is not Sharing.NEVER and size:
            try:
                fcntl.ioctl(writer, _FICLONE, reader)
            except OSError as exc:
                if exc.errno not in _CANNOT_CLONE:
                    raise
                if self._sharing is Sharing.ALWAYS:
                    raise NotShareable(exc.errno, exc.strerror) from None
            else:
                self.counted.cloned += 1
                return
        os.ftruncate(writer, size)
        self.counted.copied += bool(size)
        at = 0
        while at < size:
            try:
                start = os.lseek(reader, at, os.SEEK_DATA)
                end = os.lseek(reader, start, os.SEEK_HOLE)
            except OSError as exc:
                if exc.errno == errno.ENXIO:  # nothing but a hole to the end
                    return
                start, end = at, size
            self._span(reader, writer, start, end)
            at = end

    def _span(self, reader: int, writer: int, start: int, end: int) -> None:
        at = start
        while at < end:
            try:
                done = os.copy_file_range(reader, writer, min(end - at, _PIECE_BYTES), at, at)
            except OSError as exc:
                if exc.errno not in _CANNOT_COPY_IN_KERNEL:
                    raise
                os.lseek(writer, at, os.SEEK_SET)
                done = os.sendfile(writer, reader, at, min(end - at, _PIECE_BYTES))
            if done == 0:
                return
            at += done
            self.counted.moved_bytes += done
            self._told(self.counted)

    def _dress(self, source: int, into: int, owner: Owner = NOBODY_SAID) -> None:
        """Give an open file or directory the owner, mode, attributes and times of another."""
        seen = os.fstat(source)
        uid = seen.st_uid if owner.uid is None else owner.uid
        os.fchown(into, uid, seen.st_gid if owner.gid is None else owner.gid)
        # After the owner: chown clears set-user-id.
        os.fchmod(into, stat.S_IMODE(seen.st_mode) if owner.mode is None else owner.mode)
        for name in _attributes(source):
            try:
                os.setxattr(into, name, os.getxattr(source, name))
            except OSError as exc:
                self._lost(exc, name)
        os.utime(into, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    def _attributes_by_name(self, source: int, name: str) -> dict[str, bytes]:
        """Return the attributes of what cannot be opened: symlinks, fifos, sockets, devices."""
        at = f"/proc/self/fd/{source}/{name}"
        found: dict[str, bytes] = {}
        attribute = ""
        with _of_the_source():
            try:
                for attribute in os.listxattr(at, follow_symlinks=False):
                    found[attribute] = os.getxattr(at, attribute, follow_symlinks=False)
            except OSError as exc:
                self._lost(exc, attribute)
        return found

    def _dress_by_name(self, into: int, name: str, seen: os.stat_result, attributes: dict[str, bytes]) -> None:
        """Give what cannot be opened the owner, mode, attributes and times of another."""
        os.chown(name, seen.st_uid, seen.st_gid, dir_fd=into, follow_symlinks=False)
        if not stat.S_ISLNK(seen.st_mode):
            chmod_itself(into, name, stat.S_IMODE(seen.st_mode))
        there = f"/proc/self/fd/{into}/{name}"
        for attribute, value in attributes.items():
            try:
                os.setxattr(there, attribute, value, follow_symlinks=False)
            except OSError as exc:
                self._lost(exc, attribute)
        os.utime(name, ns=(seen.st_atime_ns, seen.st_mtime_ns), dir_fd=into, follow_symlinks=False)

    def _lost(self, exc: OSError, attribute: str) -> None:
        if exc.errno not in _NO_XATTRS:
            raise exc
        if self._strict and attribute:
            raise OSError(exc.errno, f"its attribute {attribute} cannot be kept: {exc.strerror}") from exc


@contextlib.contextmanager
def _of_the_source(*replaced: int) -> Iterator[None]:
    """Tell what is gone or replaced in the source (these error numbers too) from what is wrong with the copy."""
    try:
        yield
    except FileNotFoundError as exc:
        raise _Vanished from exc
    except OSError as exc:
        if exc.errno in (*_REPLACED, *replaced):
            raise _Replaced from exc
        raise


def _nameless(into: int) -> tuple[int, str | None]:
    """Open a file that has no name yet, or where that cannot be, one with a passing name."""
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=into), None
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_PART, dir_fd=into)
    return os.open(_PART, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=into), _PART


def _attributes(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as exc:
        if exc.errno in _NO_XATTRS:
            return []
        raise
