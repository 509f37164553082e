"""Tar archives for `berth cp`: where things go, packing local files, unpacking what a container sent.

What comes from a container is hostile: nothing is written outside the target, whatever an archive holds.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator

from berth.cli.errors import CommandFailed

_BLOCK = 512
_CHUNK = 65_536


def place_in(
    target: str, name: str, *, directory: bool, contents: bool, exists: bool, is_directory: bool, parent: bool
) -> str:
    """Decide what the source is called at its destination.

    Args:
        target: The destination as the user gave it.
        name: The source's own name.
        directory: The source is one.
        contents: The source was given as ``dir/.``: its content is meant.
        exists: The target is there.
        is_directory: It is a directory.
        parent: The target's directory is there.
    """
    slash = target.endswith(("/", "/."))
    if not exists:
        if slash and not directory:
            raise CommandFailed("no such directory")
        if not parent:
            above = os.path.dirname(os.path.abspath(target))
            raise CommandFailed(f'invalid output path: directory "{above}" does not exist')
        return target.rstrip("/")
    if not is_directory:
        if directory:
            raise CommandFailed("cannot copy directory")
        if slash:
            raise CommandFailed("not a directory")
        return target
    if directory and contents:
        return target
    return os.path.join(target, name)


def pack(source: str, name: str, *, follow: bool) -> Iterator[bytes]:
    """Yield a tar archive of a file or a directory tree, its root called `name`."""
    tar = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT)
    top = source.rstrip("/") or "/"
    if (follow or source.endswith(("/", "/."))) and os.path.islink(top):
        top = os.path.realpath(top)
    yield from _one(tar, top, name)
    if os.path.isdir(top) and not os.path.islink(top):
        for folder, folders, files in os.walk(top):
            folders.sort()
            for entry in sorted(folders + files):
                path = os.path.join(folder, entry)
                yield from _one(tar, path, os.path.join(name, os.path.relpath(path, top)))
    yield b"\0" * (2 * _BLOCK)


def _one(tar: tarfile.TarFile, path: str, name: str) -> Iterator[bytes]:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # tar has no word for it
        info = tar.gettarinfo(path, name)
    except OSError as error:
        raise CommandFailed(f"open {path}: {str(error.strerror).lower()}") from None
    info.name = name
    yield info.tobuf(tarfile.PAX_FORMAT)
    if info.isreg():
        left = info.size
        with open(path, "rb") as file:
            while left:
                # A file that shrinks meanwhile is filled up: its size is already told.
                piece = file.read(min(_CHUNK, left)) or b"\0" * min(_CHUNK, left)
                left -= len(piece)
                yield piece
        if info.size % _BLOCK:
            yield b"\0" * (_BLOCK - info.size % _BLOCK)


class _Reader(io.RawIOBase):
    """A stream of pieces, seen as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)
        self._rest = b""
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
            self.count += len(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unpack(pieces: Iterable[bytes], root: str, *, owners: bool) -> int:
    """Unpack an archive whose single root becomes `root`; returns how many bytes were read."""
    reader = _Reader(pieces)
    times: list[tuple[str, float, int]] = []
    with tarfile.open(fileobj=io.BufferedReader(reader, _CHUNK), mode="r|") as tar:
        for member in tar:
            relative = _below(member.name)
            path = os.path.join(root, relative) if relative else root
            _no_links_above(root, relative)
            _write(tar, member, path, root)
            if owners and hasattr(os, "lchown"):
                os.lchown(path, member.uid, member.gid)
            if not member.issym():
                if member.isdir():
                    times.append((path, member.mtime, member.mode))
                else:
                    os.chmod(path, member.mode & 0o7777)
                    os.utime(path, (member.mtime, member.mtime))
    for path, mtime, mode in reversed(
        times
    ):  # last: writing into a directory changes its time, and needs its permission
        os.chmod(path, mode & 0o7777)
        os.utime(path, (mtime, mtime))
    return reader.count


def _below(name: str) -> str:
    """Return a member's path below the archive's root."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise CommandFailed(f"the archive holds a path that leads out of it: {name}")
    if name in (".", "./") or name.startswith("./"):
        return "/".join(parts)
    return "/".join(parts[1:])


def _no_links_above(root: str, relative: str) -> None:
    """Refuse to write through a symbolic link that the archive itself may have brought."""
    path = root
    for part in relative.split("/")[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise CommandFailed(f"the archive leads through a symbolic link: {path}")
    if relative and os.path.islink(root):
        raise CommandFailed(f"the archive leads through a symbolic link: {root}")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, root: str) -> None:
    if member.isdir():
        if not (os.path.isdir(path) and not os.path.islink(path)):
            _away(path)
            os.mkdir(path, 0o700)
        return
    if os.path.isdir(path) and not os.path.islink(path):
        raise CommandFailed(f"cannot overwrite directory {path} with non-directory")
    if path == root and os.path.islink(path) and member.isreg():
        path = os.path.realpath(path)  # the user's own link, followed as cp does
    else:
        _away(path)
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        below = _below(member.linkname)
        _no_links_above(root, below)
        os.link(os.path.join(root, below) if below else root, path, follow_symlinks=False)
    elif member.isreg():
        source = tar.extractfile(member)
        with open(path, "wb") as file:
            while source and (piece := source.read(_CHUNK)):
                file.write(piece)
    elif member.isfifo():
        os.mkfifo(path, 0o600)
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        os.mknod(path, 0o600 | kind, os.makedev(member.devmajor, member.devminor))


def _away(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
