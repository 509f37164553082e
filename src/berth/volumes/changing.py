"""Changing volumes that are there, used or not: protection, labels, name.

A new name is written first, with where the directory still is; then the directory and the containers' mount points
follow, and what is not done when the engine dies is done by `adopt`. Running containers keep their mounts: a mount
holds a directory, not a name. Must not: touch data.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from berth.base.aio import finish
from berth.volumes.drivers.base import movable
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import CannotRename, RenameHeldUp, SameName, VolumeNameInUse
from berth.volumes.model import VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register

log = logging.getLogger(__name__)


class Containers(Protocol):
    """What a new name needs of containers."""

    def still(self, idents: Collection[str]) -> AbstractAsyncContextManager[None]:
        """Keep containers from being started, changed or removed."""
        ...

    async def volume_renamed(self, old: str, new: str, source: str) -> None:
        """Write a volume's new name and path into every container that uses it."""
        ...


class Changing:
    """Changes what is recorded of volumes."""

    def __init__(self, register: Register, drivers: Drivers) -> None:
        self._register = register
        self._drivers = drivers
        self._containers: Containers | None = None

    def tie(self, containers: Containers) -> None:
        """Learn who the containers are, which need volumes themselves."""
        self._containers = containers

    async def protect(self, name: str, *, protected: bool) -> VolumeRecord:
        """Keep a volume from being removed or overwritten, or no longer."""
        return await self._change(name, "protect" if protected else "unprotect", protected=protected)

    async def relabel(self, name: str, add: Mapping[str, str], remove: Sequence[str]) -> VolumeRecord:
        """Add, replace and take away labels."""
        async with self._register.hold(name):
            record = self._register.get(name)
            labels = {key: value for key, value in (record.labels or {}).items() if key not in remove} | dict(add)
            return await self._put(record, "update", labels=labels)

    async def _change(self, name: str, action: str, **changes: object) -> VolumeRecord:
        async with self._register.hold(name):
            return await self._put(self._register.get(name), action, **changes)

    async def _put(self, record: VolumeRecord, action: str, **changes: object) -> VolumeRecord:
        changed = msgspec.structs.replace(record, **changes)
        if changed != record:
            await finish(self._register.records.put(record.name, changed))
            self._register.publish(action, record.name, driver=record.driver)
        return changed

    async def rename(self, old: str, new: str) -> VolumeRecord:
        """Give a volume another name; the containers that use it follow. Raises `VolumeNameInUse`, `RenameHeldUp`."""
        check_name(new)
        while True:
            users = self._users(old)
            # Containers first: a start holds its container while it waits for its volumes.
            async with self._still(users):
                first, second = sorted({old, new}) if old != new else (old, "")
                async with self._register.hold(first), self._register.hold(second):
                    record = self._register.get(old)
                    if self._users(old) - users:
                        continue
                    self._check(record, new)
                    with self._register.alone(old, "rename"):
                        return await finish(self._rename(record, new))

    def _users(self, name: str) -> set[str]:
        return set(self._register.holders().get(name, ()))

    def _still(self, idents: Collection[str]) -> AbstractAsyncContextManager[None]:
        if self._containers is None:
            raise RuntimeError("volumes are renamed before they know the containers")
        return self._containers.still(idents)

    def _check(self, record: VolumeRecord, new: str) -> None:
        if new == record.name:
            raise SameName(new)
        if self._register.find(new) is not None:
            raise VolumeNameInUse("rename", record.name, new)
        self._register.check_unoccupied("rename", record.name)
        self._register.check_not_moving("rename", record.name)
        self._register.check_not_moving("rename", new)
        if not movable(self._drivers.of(record)):
            raise CannotRename(record.name, record.driver)
        for ident, points in self._register.pending.items():
            if any(point.name == record.name for point in points):
                raise RenameHeldUp(record.name, f"container {ident[:12]} is being created with it")

    async def _rename(self, record: VolumeRecord, new: str) -> VolumeRecord:
        renamed = msgspec.structs.replace(record, name=new, moved_from=record.name)
        records, moving, driver = self._register.records, self._register.moving, self._drivers.of(record)
        if movable(driver):
            await driver.free(new)
        await records.move(record.name, records, new, renamed)
        moving[record.name] = new  # until one of the two names has the record and the storage
        try:
            await self._follow(renamed)
        except BaseException:
            await self._take_back(record, renamed)
            raise
        renamed = msgspec.structs.replace(renamed, moved_from="")
        await records.put(new, renamed)
        del moving[record.name]
        self._register.rename_seen(record.name, new)
        self._register.publish("rename", new, driver=record.driver, oldName=record.name)
        return renamed

    async def _follow(self, record: VolumeRecord) -> None:
        """Bring directory and containers to where the record says they are."""
        driver = self._drivers.of(record)
        if movable(driver):
            await driver.move(record.moved_from, record.name)
        if self._containers is not None and not record.moved_from.startswith("."):
            await self._containers.volume_renamed(record.moved_from, record.name, str(driver.path(record)))

    async def _take_back(self, record: VolumeRecord, renamed: VolumeRecord) -> None:
        """Undo a rename that failed half-way; what cannot be undone now is finished at the next start."""
        driver, records = self._drivers.of(record), self._register.records
        if self._containers is not None:
            await self._containers.volume_renamed(renamed.name, record.name, str(driver.path(record)))
        if movable(driver):
            await driver.move(renamed.name, record.name)
        await records.move(renamed.name, records, record.name, record)
        del self._register.moving[record.name]

    async def adopt(self) -> None:
        """Finish the renames and restores that a killed engine had begun; before any container starts."""
        begun = [record for record in self._register.records.all() if record.moved_from]
        self._register.moving.update((record.moved_from, record.name) for record in begun)
        for record in begun:
            log.warning("volume %s: finishing what moved it from %s", record.name, record.moved_from)
            await self._follow(record)
            await self._register.records.put(record.name, msgspec.structs.replace(record, moved_from=""))
            del self._register.moving[record.moved_from]
