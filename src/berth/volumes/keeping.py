"""Making and removing one volume so that a crash leaves either a volume or nothing.

Storage is there before its record and set aside before the record goes. Must not: know containers' mounts.
"""

import logging
from collections.abc import Collection

from berth.base.aio import finish, in_thread
from berth.store.base import First
from berth.volumes.copies.errors import HasSnapshots
from berth.volumes.copies.shelf import Shelf
from berth.volumes.deleting import Deleting
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import NameTaken, VolumeInUse
from berth.volumes.model import LOCAL, VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register
from berth.volumes.trash import Trash

log = logging.getLogger(__name__)


class Keeping:
    """The only place where volumes come and go."""

    def __init__(self, register: Register, drivers: Drivers, deleting: Deleting, trash: Trash, shelf: Shelf) -> None:
        self._register = register
        self._drivers = drivers
        self._deleting = deleting
        self._trash = trash
        self._shelf = shelf

    async def ensure(
        self,
        name: str,
        driver: str,
        options: dict[str, str] | None,
        labels: dict[str, str] | None,
        first: First | None = None,
    ) -> tuple[VolumeRecord, bool]:
        """Return a volume and whether it is new; `first` is done before a new one is made, and for nothing else.

        Raises `NameTaken`, `BadOption`, `NoSuchDriver`, `NameInvalid`.
        """
        async with self._register.hold(name):
            known = self._register.find(name)
            if known is not None:
                if driver and driver != known.driver:
                    self._drivers.get(name, driver)
                    raise NameTaken(name, known.driver)
                return known, False
            check_name(name)
            self._register.check_not_moving("create", name)
            self._drivers.get(name, driver).check(name, options or {})
            if first is not None:
                await in_thread(first)
            record = VolumeRecord(
                name=name,
                driver=driver or LOCAL,
                options=options,
                labels=labels,
                created_ns=self._register.clock.now_ns(),
            )
            return await finish(self._make(record)), True

    async def _make(self, record: VolumeRecord) -> VolumeRecord:
        driver = self._drivers.of(record)
        brief = driver.brief_make(record)
        if brief is None:
            await driver.make(record)
        try:
            await self._register.records.put(record.name, record, first=brief)
        except BaseException:
            await driver.unmake(record)
            raise
        self._register.publish("create", record.name, driver=record.driver)
        return record

    async def remove_locked(
        self, record: VolumeRecord, *, but: str = "", trash: bool = False, snapshots: bool = False
    ) -> None:
        """Remove a volume whose lock is held, if nobody but `but` uses it; with `trash` its data is kept for a while.

        Its snapshots go to the trash with it; for good they only go if `snapshots` says so.
        Raises `VolumeInUse`, `VolumeOccupied`, `VolumeProtected`, `HasSnapshots`.
        """
        holding = [ident for ident in self._register.holders().get(record.name, ()) if ident != but]
        if holding:
            raise VolumeInUse(record.name, self._register.describe(holding))
        with self._register.alone(record.name, "remove"):
            self._register.check_unprotected("remove", record)
            await self._remove(record, trash=trash, snapshots=snapshots)

    async def _remove(self, record: VolumeRecord, *, trash: bool, snapshots: bool) -> None:
        driver = self._drivers.of(record)
        if trash and await self._trash.put(record, driver):
            return
        if not snapshots and (there := await in_thread(self._shelf.names, record.name)):
            raise HasSnapshots(record.name, there)
        brief = driver.brief_set_aside(record)
        if brief is None:
            await driver.set_aside(record)
        try:
            await self._register.records.drop(record.name, first=brief)
        except BaseException:
            await driver.put_back(record)
            raise
        self._register.publish("destroy", record.name, driver=record.driver)
        await self._deleting.delete(driver, record.name)

    async def adopt(self, alive: Collection[str] | None) -> None:
        """Reconcile storage, mounts and records at start; data without a record becomes a volume again."""
        for name, driver in self._drivers.every().items():
            left = await driver.look(self._register.records.keys())
            for begun in left.removing:
                if begun in left.gone:
                    await self._register.records.drop(begun)
                await driver.finish_removal(begun)
            await self._deleting.discard(driver)
            for found in left.unrecorded:
                log.warning("volume %s has data but no record; it is a volume again", found)
                record = VolumeRecord(name=found, driver=name, created_ns=self._register.clock.now_ns())
                await self._register.records.put(found, record)
            own = [record for record in self._register.records.all() if record.driver == name]
            await driver.adopt(own, alive)
