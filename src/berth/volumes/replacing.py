"""Other data for a volume that keeps a size: put into a twin beside it, which then changes places with it in one step.

    volumes/.coming-ID/      the twin: as large as the volume, kept to it in the same way, mounted while it is filled

A volume's directory cannot be exchanged where a file system of its own is mounted, or a quota counts what is below; the
file with the file system can, and so can a directory that has had its quota from the start. At any moment the volume
has the old data or the new, whole; a twin that is found at a start was left by an engine that died, and goes.
Must not: fill the twin, nor decide who may have a volume's data replaced.
"""

import errno
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from berth.base.aio import finish, in_thread
from berth.base.errors import EngineError, SystemFault
from berth.base.ids import new_id
from berth.kernel.disk import free_share
from berth.kernel.files import sync_filesystem
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

log = logging.getLogger(__name__)

_COMING: Final = ".coming-"
_HOLDER: Final = "coming"
#: A disk with less than this free may be full for a file system in a file on it, in bytes.
_FULL_BYTES: Final = 32 << 20


@runtime_checkable
class Exchangeable(Protocol):
    """A driver whose volumes can change places with others of their kind in one step."""

    def owns_data(self, record: VolumeRecord) -> bool:
        """Tell whether the data is the engine's own, wherever it is mounted; that of a device is not."""
        ...

    async def make_twin(self, record: VolumeRecord, twin: VolumeRecord) -> None:
        """Make empty storage that keeps the size a volume has, in the way the volume keeps it."""
        ...

    async def exchange(self, record: VolumeRecord, twin: VolumeRecord) -> None:
        """Let the data of two volumes that nobody uses change places, in one step, and see it on the disk."""
        ...

    async def drop_twin(self, name: str) -> None:
        """Unmount storage without a record and give it to `discard`."""
        ...

    async def discard(self) -> None:
        """Delete what was given away."""
        ...


class NotWritten(SystemFault):
    """What was put into a twin did not get to the disk."""

    def __init__(self, name: str, where: Path, why: str, *, full: bool) -> None:
        super().__init__(
            f"replace the data of {name}: {f'no space left on device: the disk of {where} is full' if full else why}. "
            "The volume is as it was" + ("; make room on that disk" if full else "")
        )


class Twin:
    """Empty storage beside a volume."""

    def __init__(self, replacing: "Replacing", record: VolumeRecord, twin: VolumeRecord) -> None:
        self._of = replacing
        self._record = record
        self._twin = twin
        #: Where it is to be filled.
        self.path: Path = replacing.drivers.of(twin).path(twin)

    @property
    def directory(self) -> Path:
        """Where all of it is; like a volume's."""
        return self.path.parent

    async def settle(self) -> None:
        """See that all of it is on its disk, and unmounted. Raises `NotWritten`."""
        driver = self._of.drivers.of(self._twin)
        try:
            await in_thread(sync_filesystem, self.path)
            await driver.let_go(self._twin, _HOLDER)
            await in_thread(sync_filesystem, self.directory)
        except OSError as exc:
            # A file system in a file says no more than "input/output error" when the disk below it is full.
            free = (await in_thread(free_share, self.directory.parent))[0]
            full = exc.errno in (errno.ENOSPC, errno.EDQUOT) or free < _FULL_BYTES
            why = (exc.strerror or str(exc)).lower()
            raise NotWritten(self._record.name, self.directory.parent, why, full=full) from exc

    async def exchange(self, action: str) -> None:
        """Let it be the volume's data; what that was is the twin's, and goes with it. `settle` comes first.

        Raises `VolumeProtected` if the volume has come to be while `action` went on.
        """
        driver = self._of.drivers.of(self._record)
        assert isinstance(driver, Exchangeable)
        async with self._of.register.exchanging(self._record.name, action):
            await driver.exchange(self._record, self._twin)


class Replacing:
    """Replaces the data of one engine's volumes that are more than a directory."""

    def __init__(self, register: Register, drivers: Drivers, root: Path) -> None:
        self.register = register
        self.drivers = drivers
        self._root = root

    def possible(self, record: VolumeRecord) -> bool:
        """Tell whether a volume with a mount or a limit can have its data replaced."""
        driver = self.drivers.of(record)
        return isinstance(driver, Exchangeable) and driver.owns_data(record)

    @asynccontextmanager
    async def mounted(self, record: VolumeRecord) -> AsyncIterator[Path]:
        """Lend where a volume's data is, mounted for as long."""
        driver, holder = self.drivers.of(record), f"replace-{new_id()[:12]}"
        try:
            async with self.register.hold(record.name):
                await driver.hold(record, holder)
            yield driver.path(record)
        finally:
            await finish(self._let_go(record, holder))

    async def _let_go(self, record: VolumeRecord, holder: str) -> None:
        async with self.register.hold(record.name):
            await self.drivers.of(record).let_go(record, holder)

    @asynccontextmanager
    async def twin(self, record: VolumeRecord) -> AsyncIterator[Twin]:
        """Lend an empty twin, to be filled; the caller occupies the volume, alone. Raises as `make` and `hold` do."""
        driver = self.drivers.of(record)
        assert isinstance(driver, Exchangeable)
        twin = VolumeRecord(name=f"{_COMING}{new_id()[:16]}", driver=record.driver, options=record.options)
        try:
            await driver.make_twin(record, twin)
            await driver.hold(twin, _HOLDER)
            yield Twin(self, record, twin)
        finally:
            await finish(self._drop(driver, twin.name))

    async def _drop(self, driver: Exchangeable, name: str) -> None:
        try:
            await driver.drop_twin(name)
            await driver.discard()
        except EngineError as exc:
            log.warning("%s: %s; the next start tries again", name, exc)

    async def adopt(self) -> None:
        """Give away the twins of an engine that died; before what was given away is deleted."""
        for name in await in_thread(self._left):
            log.warning("%s was to replace the data of a volume when the engine died; it goes", name)
            for driver in self.drivers.every().values():
                if isinstance(driver, Exchangeable):
                    await driver.drop_twin(name)

    def _left(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._root) if name.startswith(_COMING))
        except FileNotFoundError:
            return []
