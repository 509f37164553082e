"""Making and removing one volume so that a crash leaves either a volume or nothing.

Storage is there before its record and set aside before the record goes. Must not: know containers' mounts.
"""

import logging
from collections.abc import Collection

from berth.base.aio import finish
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import NameTaken, VolumeInUse
from berth.volumes.model import LOCAL, VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register

log = logging.getLogger(__name__)


class Keeping:
    """The only place where volumes come and go."""

    def __init__(self, register: Register, drivers: Drivers) -> None:
        self._register = register
        self._drivers = drivers

    async def ensure(
        self, name: str, driver: str, options: dict[str, str] | None, labels: dict[str, str] | None
    ) -> tuple[VolumeRecord, bool]:
        """Return a volume and whether it is new. Raises `NameTaken`, `BadOption`, `NoSuchDriver`, `NameInvalid`."""
        async with self._register.hold(name):
            known = self._register.find(name)
            if known is not None:
                if driver and driver != known.driver:
                    self._drivers.get(name, driver)
                    raise NameTaken(name, known.driver)
                return known, False
            check_name(name)
            self._drivers.get(name, driver).check(name, options or {})
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

    async def remove_locked(self, record: VolumeRecord, *, but: str = "") -> None:
        """Remove a volume whose lock is held, if nobody but `but` uses it. Raises `VolumeInUse`."""
        holding = [ident for ident in self._register.holders().get(record.name, ()) if ident != but]
        if holding:
            raise VolumeInUse(record.name, holding)
        self._register.check_unoccupied("remove", record.name)
        driver = self._drivers.of(record)
        brief = driver.brief_set_aside(record)
        if brief is None:
            await driver.set_aside(record)
        await self._register.records.drop(record.name, first=brief)
        await driver.finish_removal(record.name)
        self._register.publish("destroy", record.name, driver=record.driver)

    async def adopt(self, alive: Collection[str] | None) -> None:
        """Reconcile storage, mounts and records at start; data without a record becomes a volume again."""
        for name, driver in self._drivers.every().items():
            left = await driver.look(self._register.records.keys())
            for begun in left.removing:
                if begun in left.gone:
                    await self._register.records.drop(begun)
                await driver.finish_removal(begun)
            for found in left.unrecorded:
                log.warning("volume %s has data but no record; it is a volume again", found)
                record = VolumeRecord(name=found, driver=name, created_ns=self._register.clock.now_ns())
                await self._register.records.put(found, record)
            own = [record for record in self._register.records.all() if record.driver == name]
            await driver.adopt(own, alive)
