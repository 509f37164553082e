"""What `volume rm` puts away before it is deleted: for a while it can be had back.

The record decides, the directory follows: a removal moves the record into the trash and then renames the directory; a
restore moves the record back and then renames; a deletion renames the directory to a name that means nothing and then
drops the record. Whatever was not done when the engine died is done, or found done, by `adopt`.
Must not: decide which volumes may be removed.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.errors import EngineError
from berth.base.ids import new_id
from berth.kernel.disk import free_share
from berth.store.base import Records
from berth.volumes.deleting import Deleting
from berth.volumes.drivers.base import VolumeDriver, movable
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import AmbiguousTrash, NothingInTrash, VolumeNameInUse
from berth.volumes.model import TrashRecord, VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register

log = logging.getLogger(__name__)

#: Seconds between looks at the free space while there is something in the trash.
LOOK_EVERY_S: Final = 30.0
#: Seconds between a removal and the look at what it changed: whoever removed it is answered first.
LOOK_AFTER_S: Final = 0.25
#: By so much, in nanoseconds, a clock is set and not corrected.
SET_NS: Final = 60 * 10**9
#: The disk is low when less than this share of it is free, and …
LOW_SHARE: Final = 0.05
#: … less than this many bytes.
LOW_BYTES: Final = 10 * 1024**3


_REMOVED: Final = attrgetter("removed_ns")


def _uptime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Kept(NamedTuple):
    """Where removed volumes are written down, and how long they are kept."""

    records: Records[TrashRecord]
    #: Nanoseconds; 0: nothing is kept.
    keep_ns: int


class FreeSpace(Protocol):
    """Tells how much of a disk is free."""

    def __call__(self, path: Path) -> tuple[int, int]:
        """Return the bytes free and the bytes in all."""
        ...


class Trash:
    """The removed volumes of one engine."""

    def __init__(
        self,
        register: Register,
        drivers: Drivers,
        deleting: Deleting,
        kept: Kept,
        root: Path,
        free: FreeSpace = free_share,
        uptime_ns: Callable[[], int] = _uptime_ns,
    ) -> None:
        """`root` is where the storage is; `uptime_ns` is time that nobody sets."""
        self._register = register
        self._drivers = drivers
        self._deleting = deleting
        self._records = kept.records
        self._root = root
        self._free = free
        self.keep_ns = kept.keep_ns
        self._locks = KeyedLocks()
        self._news = asyncio.Event()
        self._uptime_ns = uptime_ns
        #: The clock less the time that nobody sets, when it was last looked at.
        self._apart_ns: int | None = None
        #: Of what it is not on record when it was removed.
        self._unsure: set[str] = set()

    def all(self) -> list[TrashRecord]:
        """Return what is in it, oldest first."""
        return sorted(self._records.all(), key=_REMOVED)

    def find(self, ref: str) -> TrashRecord:
        """Return what an id, a beginning of one or a volume's name means; of several volumes of a name the last one.

        Raises `NothingInTrash`, `AmbiguousTrash`.
        """
        named = [one for one in self.all() if one.volume.name == ref]
        if named:
            return named[-1]
        found = [one for one in self.all() if ref and one.id.startswith(ref)]
        if len(found) > 1:
            raise AmbiguousTrash(ref)
        if not found:
            raise NothingInTrash(ref)
        return found[0]

    def _get(self, ident: str) -> TrashRecord:
        """Return what has an id; a volume's name may look like one. Raises `NothingInTrash`."""
        if (found := self._records.get(ident)) is None:
            raise NothingInTrash(ident)
        return found

    async def put(self, record: VolumeRecord, driver: VolumeDriver) -> bool:
        """Put a volume away whose lock is held; False if it is of a kind that goes at once."""
        if not self.keep_ns or record.anonymous or not movable(driver):
            return False
        brief = driver.brief_settle(record)
        if brief is None:
            await driver.settle(record)
        entry = TrashRecord(id=new_id()[:12], volume=record, removed_ns=self._register.clock.now_ns())
        live, away = self._register.records, driver.brief_move(record.name, entry.entry)
        try:
            await live.move(record.name, self._records, entry.id, entry, first=brief, then=away)
        except BaseException:
            if self._records.get(entry.id) is not None:  # written, and not moved
                await self._records.move(entry.id, live, record.name, record)
            raise
        self._register.publish("destroy", record.name, driver=record.driver)
        self._news.set()
        return True

    async def restore(self, ref: str, new_name: str = "") -> VolumeRecord:
        """Make a volume of what was removed. Raises `VolumeNameInUse`, `NothingInTrash`."""
        name = new_name or self.find(ref).volume.name
        check_name(name)
        async with self._locks.hold(ident := self.find(ref).id), self._register.hold(name):
            entry = self._get(ident)
            if self._register.find(name) is not None:
                raise VolumeNameInUse("restore", entry.volume.name, name)
            self._register.check_not_moving("restore", name)
            return await finish(self._restore(entry, name))

    async def _restore(self, entry: TrashRecord, name: str) -> VolumeRecord:
        driver = self._drivers.of(entry.volume)
        record = msgspec.structs.replace(entry.volume, name=name, moved_from=entry.entry)
        if movable(driver):
            await driver.free(name)
        await self._records.move(entry.id, self._register.records, name, record)
        try:
            if not (movable(driver) and await driver.move(entry.entry, name)):
                await driver.make(record)  # there was nothing but the definition
        except BaseException:
            if movable(driver):
                await driver.move(name, entry.entry)
            await self._register.records.move(name, self._records, entry.id, entry)
            raise
        record = msgspec.structs.replace(record, moved_from="")
        await self._register.records.put(name, record)
        self._register.publish("create", name, driver=record.driver, restored="trash")
        return record

    async def remove(self, ref: str) -> TrashRecord:
        """Delete one removed volume for good."""
        return await self._delete(self.find(ref).id)

    async def _delete(self, ident: str) -> TrashRecord:
        async with self._locks.hold(ident):
            entry = self._get(ident)
            await finish(self._remove(entry))
        return entry

    async def _remove(self, entry: TrashRecord) -> None:
        driver = self._drivers.of(entry.volume)
        if movable(driver):
            await driver.bury(entry.entry)
        await self._records.drop(entry.id)
        await self._deleting.discard(driver)

    async def empty(self) -> Sequence[TrashRecord]:
        """Delete everything in it for good."""
        gone = []
        for entry in self.all():
            with contextlib.suppress(NothingInTrash):  # somebody else was faster: had back, or gone
                gone.append(await self._delete(entry.id))
        return gone

    def goes_ns(self, entry: TrashRecord) -> int:
        """Return when something will be deleted, in nanoseconds since the epoch."""
        return entry.removed_ns + self.keep_ns

    # In the background

    async def watch(self) -> None:
        """Delete what has been in it for long enough, and the oldest when the disk runs low; for ever."""
        while True:
            self._news.clear()
            await self.follow_clock()
            await self.sweep()
            left = self._records.all()
            wait_s = None
            if left:
                due_s = (min(map(_REMOVED, left)) + self.keep_ns - self._register.clock.now_ns()) / 1e9
                wait_s = min(max(due_s, 0.0) + 0.01, LOOK_EVERY_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(LOOK_AFTER_S)

    async def follow_clock(self) -> None:
        """Where somebody has set the clock, let everything have been removed as long ago as it was by the old one.

        A machine that learns at last what year it is would otherwise delete at once what was removed a minute before.
        """
        apart = self._register.clock.now_ns() - self._uptime_ns()
        before, self._apart_ns = self._apart_ns, apart
        if before is None or abs(apart - before) < SET_NS:
            return
        log.warning(
            "the clock was set by %+d s; what is in the trash stays as long as before", (apart - before) // 10**9
        )
        for entry in self.all():
            moved = msgspec.structs.replace(entry, removed_ns=max(0, entry.removed_ns + apart - before))
            async with self._locks.hold(entry.id):
                try:
                    if self._records.get(entry.id) == entry:
                        await self._records.put(entry.id, moved)
                except EngineError as exc:  # a full disk, say
                    log.warning("volume %s stays in the trash until the next start: %s", entry.volume.name, exc)
                    self._unsure.add(entry.id)

    async def sweep(self) -> None:
        """Do what is due now."""
        now = self._register.clock.now_ns()
        entries = self.all()
        for entry in itertools.takewhile(lambda one: self.goes_ns(one) <= now, entries):
            if entry.id not in self._unsure:
                await self._let_go(entry, "its time in the trash is over")
        for entry in entries:
            if self._records.get(entry.id) is None:
                continue
            free, whole = await in_thread(self._free, self._root)
            if free >= min(whole * LOW_SHARE, LOW_BYTES):
                break
            await self._let_go(entry, f"the disk of {self._root} runs low: {free // 1024**2} MiB of it are free")

    async def _let_go(self, entry: TrashRecord, reason: str) -> None:
        try:
            await self._delete(entry.id)
        except NothingInTrash:
            return  # somebody was faster
        except EngineError as exc:
            log.warning("volume %s stays in the trash: %s", entry.volume.name, exc)
            return
        log.warning("volume %s, removed earlier, is deleted for good: %s", entry.volume.name, reason)
        self._register.publish("discard", entry.volume.name, driver=entry.volume.driver, reason=reason)

    async def adopt(self) -> None:
        """Finish at start what a killed engine began; data in the trash without a record is somebody's."""
        there = await in_thread(_entries, self._root)
        known = {entry.entry for entry in self._records.all()}
        moving = {record.moved_from for record in self._register.records.all()}
        for entry in self._records.all():
            if entry.entry in there:
                continue
            driver = self._drivers.of(entry.volume)
            ours = self._register.find(entry.volume.name) is None
            if not (ours and movable(driver) and await driver.move(entry.volume.name, entry.entry)):
                await self._records.drop(entry.id)
        for name in sorted(there - known - moving):
            ident = name.removeprefix(_PREFIX)
            log.warning("%s has data but no record; it is in the trash again", self._root / name)
            volume = VolumeRecord(name=f"recovered-{ident}", created_ns=self._register.clock.now_ns())
            found = TrashRecord(id=ident, volume=volume, removed_ns=self._register.clock.now_ns())
            await self._records.put(ident, found)


_PREFIX: Final = ".trash-"


def _entries(root: Path) -> set[str]:
    return {path.name for path in root.glob(f"{_PREFIX}*")} if root.is_dir() else set()
