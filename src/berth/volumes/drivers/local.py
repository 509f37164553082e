"""The local driver: directories of this machine, or what its options say is mounted at them.

Which holders a mount has is written beside the run-time state (`Layout.volume_holders`), on tmpfs like the mount
itself. Everything but tmpfs is mounted and unmounted by a helper process with a time limit.
"""

import functools
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from berth.base.aio import in_thread
from berth.base.errors import EngineError
from berth.base.ownership import Owner
from berth.base.paths import Layout
from berth.kernel import foreign, hanging
from berth.kernel import mount as kernel_mount
from berth.kernel.disk import free_share
from berth.kernel.image import ImageFailed
from berth.kernel.mountinfo import super_options
from berth.kernel.removal import remove_tree
from berth.kernel.tree import apparent_size
from berth.store.base import First
from berth.volumes.drivers import local_device
from berth.volumes.drivers.base import Leftovers
from berth.volumes.drivers.local_sizes import Allotment, Sizes, Standing
from berth.volumes.drivers.local_storage import LocalStorage
from berth.volumes.errors import MountOfVolumeFailed, SizeLost
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.away import Limits
from berth.volumes.options import LocalOptions, check_local, parse_local, read_only

log = logging.getLogger(__name__)

#: Size of a volume whose file system may not answer.
_UNKNOWN: Final = -1


class LocalDriver:
    """Volumes below ``DATA/volumes``."""

    def __init__(self, layout: Layout, limits: Limits) -> None:
        self._limits = limits
        self._holders = layout.volume_holders
        # Resolved, because the table of mounts is: the directory may be a link to another disk.
        self._storage = LocalStorage(Path(os.path.realpath(layout.volumes)))
        self._sizes = Sizes(self._storage)

    def check(self, name: str, options: Mapping[str, str]) -> None:
        """Refuse options the driver does not know or cannot fulfil. Raises `BadOption`."""
        check_local(name, options)

    def path(self, record: VolumeRecord) -> Path:
        """Return the volume's directory."""
        return self._storage.data(record.name)

    def mountpoint(self, record: VolumeRecord) -> str:
        """Return it as text."""
        return self._storage.place(record.name)

    def away(self, record: VolumeRecord) -> bool:
        """Tell whether the data is on another machine, or behind a process: by the type, or by where the device is."""
        options = _options(record)
        return options.networked or (
            options.device.startswith("/") and hanging.served_mount(options.device) is not None
        )

    def read_only(self, record: VolumeRecord) -> bool:
        """Tell whether it is mounted read-only."""
        return read_only(_options(record))

    def wants_mount(self, record: VolumeRecord) -> bool:
        """Tell whether something is to be mounted at the directory."""
        options = _options(record)
        return options.wants_mount or options.size > 0 or self._sizes.has_image(record.name)

    def owner(self, record: VolumeRecord) -> Owner:
        """Return who was said to own the directory."""
        return _options(record).owner

    def filling(self, record: VolumeRecord) -> Path:
        """Return the marker of a filling that has not ended."""
        return self._storage.filling(record.name)

    def brief_make(self, record: VolumeRecord) -> First | None:
        """Return the making of the directories, unless a file system has to be made too."""
        options = _options(record)
        return None if options.size else functools.partial(self._storage.make, record.name, options.owner)

    def brief_set_aside(self, record: VolumeRecord) -> First | None:
        """Return the renaming of the directory, unless something is mounted there first."""
        return None if self.wants_mount(record) else functools.partial(self._storage.set_aside, record.name)

    async def make(self, record: VolumeRecord) -> None:
        """Make the directories, and what keeps the size."""
        options = _options(record)
        await in_thread(self._storage.make, record.name, options.owner)
        if options.size:
            try:
                await self._sizes.make(record.name, options)
            except BaseException:
                await in_thread(self._storage.unmake, record.name)
                raise

    async def unmake(self, record: VolumeRecord) -> None:
        """Take `make` back, unless something was put there."""
        await in_thread(self._storage.unmake, record.name)

    async def set_aside(self, record: VolumeRecord) -> None:
        """Unmount, and rename the directory out of the way."""
        if self.wants_mount(record):
            await self._unmount(record)
        await in_thread(self._storage.set_aside, record.name)

    async def put_back(self, record: VolumeRecord) -> None:
        """Rename the directory back."""
        await in_thread(self._storage.put_back, record.name)

    async def settle(self, record: VolumeRecord) -> None:
        """Unmount, and see to it that nothing else is mounted there."""
        if self.wants_mount(record):
            await self._unmount(record)
        await in_thread(self._storage.check_unmounted, record.name)

    def brief_settle(self, record: VolumeRecord) -> First | None:
        """Return the look at what is mounted there, unless something has to be unmounted."""
        return None if self.wants_mount(record) else functools.partial(self._storage.check_unmounted, record.name)

    async def move(self, source: str, target: str) -> bool:
        """Rename the directory, and the list of who holds its mount."""
        if self._held_by(source):
            await in_thread((self._holders / source).rename, self._holders / target)
        return await in_thread(self._move, source, target)

    def _move(self, source: str, target: str) -> bool:
        moved = self._storage.move(source, target)
        if moved:
            self._storage.sync()  # the record says so next
        return moved

    async def free(self, name: str) -> None:
        """Wait until what was moved away from a name is so on the medium."""
        await in_thread(self._storage.free, name)

    def brief_move(self, source: str, target: str) -> First:
        """Return the renaming of a directory at which nothing is mounted."""
        return functools.partial(self._storage.move, source, target)

    async def bury(self, entry: str) -> None:
        """Rename a directory to a name that means nothing."""
        await in_thread(self._storage.bury, entry)
        await in_thread(self._storage.sync)

    async def hold(self, record: VolumeRecord, holder: str) -> None:
        """Mount at the first holder."""
        if not self.wants_mount(record):
            return
        await in_thread(_touch, self._holders / record.name / holder)
        target, options = str(self.path(record)), _options(record)
        if await in_thread(kernel_mount.is_mounted, target):
            return
        if options.wants_mount:
            await local_device.mount(options, target, self._limits)
            return
        try:
            await self._sizes.catch_up(record.name, options)
            await in_thread(self._sizes.ready, record.name, options)
        except (ImageFailed, SizeLost, OSError) as exc:
            raise MountOfVolumeFailed(target, str(exc)) from exc

    async def let_go(self, record: VolumeRecord, holder: str) -> None:
        """Unmount after the last holder."""
        if not self.wants_mount(record):
            return
        (self._holders / record.name / holder).unlink(missing_ok=True)
        if not self._held_by(record.name):
            await self._unmount(record)

    async def adopt(self, records: Sequence[VolumeRecord], alive: Collection[str] | None) -> None:
        """Make every directory that is missing; end the mounts and holds of the dead."""
        mounted = await in_thread(hanging.table)
        # One that is mounted is there, and may not be looked at.
        await in_thread(self._make_all, [one for one in records if self.mountpoint(one) not in mounted])
        if alive is None:
            return
        held = {entry.name for entry in self._holders.iterdir()} if self._holders.is_dir() else set()
        for record in records:
            if not (record.name in held or self.mountpoint(record) in mounted) or not self.wants_mount(record):
                continue
            for holder in self._held_by(record.name) - set(alive):
                await self.let_go(record, holder)
            if not self._held_by(record.name):
                await self._unmount(record)

    def _make_all(self, records: Sequence[VolumeRecord]) -> None:
        for record in records:
            if not os.path.isdir(self._storage.place(record.name)):
                self._storage.make(record.name, _options(record).owner)
        self._storage.settle()

    async def look(self, recorded: Iterable[str]) -> Leftovers:
        """Compare the directories with the names of all records."""
        return await in_thread(self._storage.look, recorded)

    async def finish_removal(self, name: str) -> None:
        """Bury a directory that was renamed out of the way."""
        await in_thread(self._storage.bury, self._storage.aside(name).name)

    async def discard(self) -> None:
        """Delete what was buried."""
        await in_thread(self._storage.discard)

    async def size(self, record: VolumeRecord) -> int:
        """Return the bytes the files take, -1 where the server may not answer."""
        if self.away(record):
            return _UNKNOWN
        if self._sizes.has_image(record.name) and not await in_thread(kernel_mount.is_mounted, str(self.path(record))):
            return (await in_thread(self._sizes.look, record.name, _options(record))).space.used
        return await in_thread(apparent_size, str(self.path(record)))

    async def kept(self, record: VolumeRecord) -> Allotment | None:
        """Return how the size is kept and what is used of it; None for a volume without one."""
        options = _options(record)
        if not options.size and not self._sizes.has_image(record.name):
            return None
        return await in_thread(self._sizes.look, record.name, options)

    async def resize(self, record: VolumeRecord, size: int, holders: tuple[str, ...]) -> None:
        """Let a volume have another size, which is written down until `resized`. Raises `BelowUse`, `StillMounted`."""
        await in_thread(self._sizes.begin, record.name, size)
        try:
            await self._sizes.resize(record.name, _options(record), size, holders)
        except BaseException:
            await in_thread(self._sizes.end, record.name)
            raise

    async def standing(self, record: VolumeRecord) -> Standing:
        """Return how a volume that is a file stands with its disk."""
        return await in_thread(self._standing, record)

    def _standing(self, record: VolumeRecord) -> Standing:
        room = self._sizes.room(record.name)
        if room is None:
            return Standing()
        mounted = super_options(str(self.path(record)))
        return Standing(
            length=room[0],
            taken=room[1],
            free=free_share(self._storage.root)[0],
            trouble="" if mounted is None else self._sizes.trouble(record.name, mounted),
            lags=self._sizes.lags(record.name, _options(record)),
            mounted=mounted is not None,
        )

    async def resized(self, record: VolumeRecord) -> None:
        """Say that the record has the new size, or the volume its old one again."""
        await in_thread(self._sizes.end, record.name)

    async def finish_resizes(self, records: Sequence[VolumeRecord]) -> Mapping[str, int]:
        """End what a killed engine began; return the sizes that volumes have now. `resized` is to follow."""
        known = {record.name: record for record in records}
        found: dict[str, int] = {}
        for name in await in_thread(self._sizes.unfinished, known):
            try:
                found[name] = await self._sizes.finish(name, _options(known[name]))
            except (EngineError, OSError) as exc:  # one volume's file system keeps no engine from starting
                log.warning(
                    "volume %s: its resize that was cut short cannot be ended; the next start tries again: %s",
                    name,
                    exc,
                )
        return found

    def owns_data(self, record: VolumeRecord) -> bool:
        """Tell whether the data is in the engine's own directory, or in a file there."""
        return not _options(record).wants_mount

    async def make_twin(self, record: VolumeRecord, twin: VolumeRecord) -> None:
        """Make empty storage that keeps the size a volume has."""
        await in_thread(self._storage.make, twin.name)
        await self._sizes.make_twin(record.name, twin.name, _options(record))

    async def exchange(self, record: VolumeRecord, twin: VolumeRecord) -> None:
        """Exchange the files with the file systems, or the directories that have the quota. Raises `VolumeMounted`."""
        await self.settle(record)
        await in_thread(self._storage.check_unmounted, twin.name)
        await in_thread(self._sizes.exchange, record.name, twin.name)

    async def drop_twin(self, name: str) -> None:
        """Unmount storage without a record and bury it."""
        await self._unmount(VolumeRecord(name=name))
        await in_thread(self._storage.bury, name)

    async def _unmount(self, record: VolumeRecord) -> None:
        target = str(self.path(record))
        if not await foreign.unmount(target):
            log.warning("volume %s could not be unmounted from %s", record.name, target)
        await in_thread(remove_tree, self._holders / record.name)

    def _held_by(self, name: str) -> set[str]:
        try:
            return {entry.name for entry in (self._holders / name).iterdir()}
        except FileNotFoundError:
            return set()


def _options(record: VolumeRecord) -> LocalOptions:
    return parse_local(record.name, record.options or {})


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
