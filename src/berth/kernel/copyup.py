"""Fill a new volume with what an image has at its mount point.

Everything a file has comes along: owner, mode, times, extended attributes (with them capabilities and ACLs), hard
links, holes, symlinks, fifos, sockets, devices; the volume's root gets owner and mode of the image's directory.

A marker beside the data stands while a copy is under way. Files appear whole or not at all, and nothing that exists
is replaced: a copy that was interrupted is simply begun again and keeps what somebody wrote meanwhile.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.kernel.rootpath import open_inside

#: At most so much is asked of the kernel in one copy_file_range(2).
_PIECE_BYTES: Final = 1 << 30
_CANNOT_COPY_IN_KERNEL: Final = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF)
_NO_XATTRS: Final = (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EINVAL)
_PART: Final = ".berth-copy-part"


class CopyFailed(SystemFault):
    """An image's content could not be copied into a volume."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"error copying image content to the volume: {path}: {reason}")


class SourceIsFile(SystemFault):
    """The image has a file where the volume is to be."""

    def __init__(self, path: str) -> None:
        super().__init__(f"source {path} is not directory")


def is_empty(directory: str) -> bool:
    """Tell whether a directory has no entries."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def fill(root: str, target: str, data: Path, marker: Path) -> bool:
    """Copy what is at `target` inside `root` into the empty directory `data`; True if something was to copy.

    Nothing happens if `data` has content, unless `marker` says that an earlier copy did not end.
    """
    unfinished = marker.exists()
    if not unfinished and not is_empty(str(data)):
        return False
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_inside(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError:
        raise SourceIsFile(target) from None
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ELOOP):
            marker.unlink(missing_ok=True)
            return False
        raise CopyFailed(target, exc.strerror or str(exc)) from None
    finally:
        os.close(root_fd)
    try:
        into = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            marker.touch()
            _Copy(source, into).run()
        except OSError as exc:
            raise CopyFailed(str(exc.filename or target), exc.strerror or str(exc)) from exc
        finally:
            os.close(into)
    finally:
        os.close(source)
    marker.unlink()
    return True


class _Copy:
    """One tree being copied; directories are entered by descriptor, so no name is ever resolved twice."""

    def __init__(self, source: int, into: int) -> None:
        self._source = source
        self._into = into
        self._links: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        self._directory(self._source, self._into, "")
        _dress(self._source, self._into)

    def _directory(self, source: int, into: int, path: str) -> None:
        with os.scandir(source) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            self._entry(source, into, entry.name, f"{path}/{entry.name}" if path else entry.name)

    def _entry(self, source: int, into: int, name: str, path: str) -> None:
        seen = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(seen.st_mode)
        if kind == stat.S_IFDIR:
            self._subdirectory(source, into, name, path)
            return
        key = (seen.st_dev, seen.st_ino)
        if seen.st_nlink > 1 and key in self._links:
            try:
                os.link(self._links[key], name, src_dir_fd=self._into, dst_dir_fd=into, follow_symlinks=False)
            except FileExistsError:
                return
            return
        try:
            if kind == stat.S_IFREG:
                self._file(source, into, name, seen)
            elif kind == stat.S_IFLNK:
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=into)
                _dress_by_name(source, into, name, seen)
            else:
                os.mknod(name, seen.st_mode, seen.st_rdev, dir_fd=into)
                _dress_by_name(source, into, name, seen)
        except FileExistsError:
            return
        if seen.st_nlink > 1:
            self._links[key] = path

    def _subdirectory(self, source: int, into: int, name: str, path: str) -> None:
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
                _dress(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _file(self, source: int, into: int, name: str, seen: os.stat_result) -> None:
        reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC, dir_fd=source)
        try:
            writer, part = _nameless(into)
            try:
                _copy_content(reader, writer, seen.st_size)
                _dress(reader, writer)
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


def _copy_content(reader: int, writer: int, size: int) -> None:
    os.ftruncate(writer, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(reader, at, os.SEEK_DATA)
            end = os.lseek(reader, start, os.SEEK_HOLE)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nothing but a hole to the end
                return
            start, end = at, size
        _copy_span(reader, writer, start, end)
        at = end


def _copy_span(reader: int, writer: int, start: int, end: int) -> None:
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


def _dress(source: int, into: int) -> None:
    """Give an open file or directory the owner, mode, attributes and times of another."""
    seen = os.fstat(source)
    os.fchown(into, seen.st_uid, seen.st_gid)
    os.fchmod(into, stat.S_IMODE(seen.st_mode))  # after the owner: chown clears set-user-id
    for name in _attributes(source):
        _copy_attribute(name, os.getxattr(source, name), into)
    os.utime(into, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _dress_by_name(source: int, into: int, name: str, seen: os.stat_result) -> None:
    """Do the same for what cannot be opened: symlinks, fifos, sockets, devices."""
    os.chown(name, seen.st_uid, seen.st_gid, dir_fd=into, follow_symlinks=False)
    here, there = f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{into}/{name}"
    if not stat.S_ISLNK(seen.st_mode):
        os.chmod(there, stat.S_IMODE(seen.st_mode))
    try:
        names = os.listxattr(here, follow_symlinks=False)
        for attribute in names:
            os.setxattr(there, attribute, os.getxattr(here, attribute, follow_symlinks=False), follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_XATTRS:
            raise
    os.utime(name, ns=(seen.st_atime_ns, seen.st_mtime_ns), dir_fd=into, follow_symlinks=False)


def _attributes(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as exc:
        if exc.errno in _NO_XATTRS:
            return []
        raise


def _copy_attribute(name: str, value: bytes, into: int) -> None:
    try:
        os.setxattr(into, name, value)
    except OSError as exc:
        if exc.errno not in _NO_XATTRS:
            raise
