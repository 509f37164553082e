"""Unpack a tar stream into a directory of a root that is not to be trusted.

Every name, also through symlinks that are there or that the archive itself brings, is resolved by `openat2` inside the
root, as a process chrooted there would. Blocking: runs in a worker thread.
"""

import contextlib
import errno
import os
import posixpath
import stat
import tarfile
from typing import IO, Final

from berth.base.errors import InvalidArgument, SystemFault
from berth.kernel.removal import remove_tree
from berth.kernel.rootpath import chmod_itself, open_inside

_PIECE_BYTES: Final = 1024 * 1024
_XATTR: Final = "SCHILY.xattr."
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY


class BadArchive(InvalidArgument):
    """What came is no tar archive, or names something outside."""


class OverwriteRefused(InvalidArgument):
    """A directory would take the place of something else, or the other way round."""


class Unpacker:
    """Unpacks into `place` of the root `root_fd`; `owner` replaces the owners the archive names."""

    def __init__(
        self, root_fd: int, place: str, *, keep_kinds: bool = False, owner: tuple[int, int] | None = None
    ) -> None:
        self._root = root_fd
        self._place = place.rstrip("/")
        self._keep_kinds = keep_kinds
        self._owner = owner
        self._directories: list[tuple[str, tarfile.TarInfo]] = []

    def unpack(self, stream: IO[bytes]) -> None:
        """Unpack everything. Raises `BadArchive`, `OverwriteRefused`, `SystemFault`."""
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as archive:
                for member in archive:
                    try:
                        self._member(archive, member)
                    except OSError as exc:
                        exc.filename = exc.filename or member.name
                        raise
        except tarfile.ReadError as exc:
            if "empty" not in str(exc):
                raise BadArchive(f"Error processing tar file: {exc}") from None
        except tarfile.TarError as exc:
            raise BadArchive(f"Error processing tar file: {exc}") from None
        except EOFError:
            raise BadArchive("Error processing tar file: unexpected EOF") from None
        except OSError as exc:
            where = f"{exc.filename}: " if exc.filename else ""
            raise SystemFault(f"Error processing tar file: {where}{exc.strerror}") from exc
        for path, member in reversed(self._directories):
            self._finish_directory(path, member)

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._inside(member.name)
        if path == self._place:
            if member.isdir():
                self._directories.append((path or "/", member))
            return
        directory, name = posixpath.split(path)
        parent = self._parent(directory or "/")
        try:
            self._clear(parent, name, member)
            self._make(archive, member, parent, name)
            if member.isdir():
                self._directories.append((path, member))
        finally:
            os.close(parent)

    def _inside(self, name: str) -> str:
        clean = posixpath.normpath("/" + name.lstrip("/"))
        if ".." in name.split("/") and posixpath.normpath(name.lstrip("/")).startswith(".."):
            raise BadArchive(f'invalid name "{name}": it leads out of the archive\'s own directory')
        return self._place if clean == "/" else self._place + clean

    def _parent(self, directory: str) -> int:
        try:
            return open_inside(self._root, directory, _DIRECTORY)
        except FileNotFoundError:
            pass
        above, name = posixpath.split(directory.rstrip("/"))
        parent = self._parent(above or "/")
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
        finally:
            os.close(parent)
        return open_inside(self._root, directory, _DIRECTORY)

    def _clear(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        """Take away what is in the way, if it may be."""
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        is_directory = stat.S_ISDIR(there.st_mode)
        if is_directory and member.isdir():
            return
        if self._keep_kinds and is_directory:
            raise OverwriteRefused(f'cannot overwrite directory "{name}" with non-directory "{self._place}"')
        if self._keep_kinds and member.isdir():
            raise OverwriteRefused(f'cannot overwrite non-directory "{name}" with directory "{self._place}"')
        if is_directory:
            remove_tree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        mode = member.mode & 0o7777
        if member.isdir():
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            return
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.islnk():
            self._link(member, parent, name)
            return
        elif member.isreg():
            self._file(archive, member, parent, name)
            return
        elif member.ischr() or member.isblk() or member.isfifo():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK if member.isblk() else stat.S_IFIFO
            os.mknod(name, mode | kind, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
        else:
            return
        os.chown(name, *self._ids(member), dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            chmod_itself(parent, name, mode)
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        with open(fd, "wb", buffering=0) as out:
            data = archive.extractfile(member)
            while data is not None and (piece := data.read(_PIECE_BYTES)):
                view = memoryview(piece)
                while view:
                    view = view[out.write(view) or 0 :]
            self._dress(fd, member)

    def _link(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        directory, target = posixpath.split(self._inside(member.linkname))
        source = self._parent(directory or "/")
        try:
            os.link(target, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _finish_directory(self, path: str, member: tarfile.TarInfo) -> None:
        # Last, because making entries changes the times, and a mode may forbid it.
        try:
            fd = open_inside(self._root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return  # a later member took its place
        try:
            self._dress(fd, member)
        finally:
            os.close(fd)

    def _dress(self, fd: int, member: tarfile.TarInfo) -> None:
        os.fchown(fd, *self._ids(member))
        os.fchmod(fd, member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            if key.startswith(_XATTR):
                raw = value.encode("utf-8", "surrogateescape")
                try:
                    os.setxattr(fd, key.removeprefix(_XATTR), raw)
                except OSError as exc:
                    if exc.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                        raise
        os.utime(fd, (member.mtime, member.mtime))

    def _ids(self, member: tarfile.TarInfo) -> tuple[int, int]:
        return self._owner if self._owner is not None else (member.uid, member.gid)
