"""Backups in a directory of the engine's machine: the same files the command line writes."""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from berth.base.aio import in_thread
from berth.base.ids import new_id
from berth.kernel.archiving import Packer
from berth.kernel.files import sync_directory
from berth.volumes.backup.errors import StoreFailed
from berth.volumes.backup.stores.base import Entry, Volume, described
from berth.wire import backups as wire

_PIECE = 1 << 20
_PARTIAL = ".berth-"


class DirectoryStore:
    """A directory; it must be there, so that a disk that is not mounted is noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def save(self, volume: Volume, name: str) -> Entry:
        """Write a file that gets its name when it is whole and on its disk."""
        packing = volume.packing(name)
        partial = self._path / f"{_PARTIAL}{new_id()[:12]}"
        encrypted = "age" if packing.encrypt and "recipients" in packing.encrypt else "passphrase"
        final = wire.file_name(name, volume.stamp, packing.pack, encrypted=encrypted if packing.encrypt else "")
        try:
            fd = await in_thread(os.open, partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                packer = Packer(packing, to=fd)
                await packer.wait()
                await in_thread(os.fsync, fd)
            finally:
                os.close(fd)
            await in_thread(self._name, partial, final)
        except OSError as exc:
            raise StoreFailed(str(self._path), str(exc.strerror).lower()) from exc
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        return Entry(name=final, volume=name, size=packer.end["packed"], head=volume.head(name), end=packer.end)

    def _name(self, partial: Path, final: str) -> None:
        os.link(partial, self._path / final)  # never over what is there
        partial.unlink()
        sync_directory(self._path)

    async def entries(self) -> Sequence[Entry]:
        """Read the two ends of every file."""
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
            with open(path, "rb") as source:
                beginning = source.read(4096)
                if wire.has_head(beginning):
                    beginning += source.read(wire.HEAD_BYTES)
                size = source.seek(0, os.SEEK_END)
                source.seek(max(0, size - wire.TAIL_BYTES))
                one = described(name, size, beginning, source.read())
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
        try:
            source: Any = await in_thread(open, self._inside(name), "rb")
        except OSError as exc:
            raise StoreFailed(f"{self._path}/{name}", str(exc.strerror).lower()) from exc
        try:
            while piece := await in_thread(source.read, _PIECE):
                yield piece
        finally:
            source.close()

    async def verify(self, name: str) -> bool:
        """Leave it to `read`."""
        del name
        return False

    async def drop(self, names: Sequence[str]) -> None:
        """Remove files."""
        try:
            for name in names:
                await in_thread(self._inside(name).unlink)
        except OSError as exc:
            raise StoreFailed(str(self._path), str(exc.strerror).lower()) from exc

    def _inside(self, name: str) -> Path:
        return self._path / os.path.basename(name)
