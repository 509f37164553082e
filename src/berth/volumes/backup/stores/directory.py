"""Backups in a directory of the engine's machine: the same files the command line writes."""

import contextlib
import errno
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from berth.base.aio import in_thread
from berth.base.ids import new_id
from berth.kernel import foreign
from berth.kernel.archiving import Packer, PackingFailed
from berth.kernel.files import sync_directory
from berth.kernel.hanging import served_mount
from berth.volumes.backup.errors import StoreFailed
from berth.volumes.backup.stores.base import Entry, Volume, described
from berth.wire import backups as wire

_PIECE = 1 << 20
_PARTIAL = ".berth-"
#: A file without its name that nobody wrote to for so many seconds, by the clock of its file system, is nobody's.
_ABANDONED_S: Final = 24 * 3600
#: What file systems and kernels without nameless files say (open(2), O_TMPFILE).
_NAMELESS_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


class DirectoryStore:
    """A directory; it must be there, so that a disk that is not mounted is noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def turn(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Wait for nobody: every backup is a file of its own."""
        del names
        return contextlib.nullcontext()

    async def save(self, volume: Volume, name: str) -> Entry:
        """Write a file that gets its name when it is whole and on its disk."""
        await self._answers()
        packing = volume.packing(name)
        encrypted = "age" if packing.encrypt and "recipients" in packing.encrypt else "passphrase"
        final = wire.file_name(name, volume.stamp, packing.pack, encrypted=encrypted if packing.encrypt else "")
        try:
            fd, partial = await in_thread(self._open)
            try:
                packer = Packer(packing, to=fd)
                await packer.wait()
                final = await in_thread(self._name, fd, partial, final)
                size = (await in_thread(os.fstat, fd)).st_size
            finally:
                await in_thread(self._let_go, fd, partial)
        except OSError as exc:
            raise StoreFailed(str(self._path), str(exc.strerror).lower()) from exc
        except PackingFailed as exc:
            if str(exc) != os.strerror(errno.ENOSPC):
                raise
            raise StoreFailed(str(self._path), f"{exc}; the backups there are as they were".lower()) from exc
        return Entry(name=final, volume=name, size=size, head=volume.head(name), end=packer.end)

    def _open(self) -> tuple[int, Path | None]:
        """Open a file without a name, so that none is left whoever dies; where there are none, one with another."""
        try:
            return os.open(self._path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
        except OSError as exc:
            if exc.errno not in _NAMELESS_UNKNOWN:
                raise
        partial = self._path / f"{_PARTIAL}{new_id()[:12]}"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._sweep(os.fstat(fd).st_mtime)
        return fd, partial

    def _sweep(self, now: float) -> None:
        """Remove what engines left that died; other machines may be writing here, and theirs is young."""
        for name in os.listdir(self._path):
            if name.startswith(_PARTIAL):
                with contextlib.suppress(OSError):
                    if (self._path / name).lstat().st_mtime < now - _ABANDONED_S:
                        (self._path / name).unlink()

    def _let_go(self, fd: int, partial: Path | None) -> None:
        """Close a file; what has no name goes with it, which takes its time if it is large."""
        os.close(fd)
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _name(self, fd: int, partial: Path | None, wanted: str) -> str:
        """Give a file the name that is wanted, or one with a number: several in one second are several."""
        stem, dot, suffix = wanted.partition(".tar")
        for number in itertools.count(1):
            final = wanted if number == 1 else f"{stem}-{number}{dot}{suffix}"
            with contextlib.suppress(FileExistsError):  # never over what is there
                self._link(fd, partial, final)
                break
        if partial is not None:
            partial.unlink()  # before the directory is synced: after a power failure, too, it has one name
        sync_directory(self._path)
        return final

    def _link(self, fd: int, partial: Path | None, final: str) -> None:
        if partial is not None:
            os.link(partial, self._path / final)
            return
        at = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{fd}", final, dst_dir_fd=at, follow_symlinks=True)
        finally:
            os.close(at)

    async def _answers(self) -> None:
        """See that a server the directory may be on answers: a thread that asks one that is gone never ends."""
        if await in_thread(served_mount, str(self._path)) is not None:
            await foreign.look(str(self._path), timeout_s=foreign.LOOK_TIMEOUT_S)

    async def entries(self) -> Sequence[Entry]:
        """Read the two ends of every file."""
        await self._answers()
        try:
            return await in_thread(self._entries)
        except OSError as exc:
            raise StoreFailed(str(self._path), str(exc.strerror).lower()) from exc

    def _entries(self) -> list[Entry]:
        found = []
        for name in sorted(os.listdir(self._path)):
            path = self._path / name
            if name.startswith(".") or not path.is_file():
                continue
            try:
                one = _described(path)
            except FileNotFoundError:  # removed by somebody who prunes at the same time
                continue
            if one is not None:
                found.append(one)
        return found

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Leave it to `read`."""
        del name
        return None

    async def unpack(self, name: str, into: Path) -> Path:
        """Leave it to `read`."""
        raise NotImplementedError(name, into)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the file."""
        await self._answers()
        try:
            source: Any = await in_thread(open, self._inside(name), "rb")
        except OSError as exc:
            raise StoreFailed(f"{self._path}/{name}", str(exc.strerror).lower()) from exc
        try:
            while piece := await in_thread(source.read, _PIECE):
                yield piece
        finally:
            await in_thread(source.close)

    async def verify(self, name: str) -> bool:
        """Leave it to `read`."""
        del name
        return False

    async def drop(self, names: Sequence[str]) -> None:
        """Remove files; one that is gone already may have been removed by another who prunes."""
        await self._answers()
        try:
            for name in names:
                await in_thread(self._inside(name).unlink, missing_ok=True)
        except OSError as exc:
            raise StoreFailed(str(self._path), str(exc.strerror).lower()) from exc

    def _inside(self, name: str) -> Path:
        return self._path / os.path.basename(name)


def _described(path: Path) -> Entry | None:
    with open(path, "rb") as source:
        beginning = source.read(4096)
        if wire.has_head(beginning):
            beginning += source.read(wire.HEAD_BYTES)
        size = source.seek(0, os.SEEK_END)
        source.seek(max(0, size - wire.TAIL_BYTES))
        return described(path.name, size, beginning, source.read())
