"""Volumes with a size: what is used of it, changing it, telling when it is nearly full.

Only drivers that keep sizes take part (`Sized`). Must not: look at a file system that may hang.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from berth.base.aio import finish
from berth.base.errors import EngineError, InvalidArgument
from berth.base.units import parse_bytes
from berth.volumes.drivers.local_sizes import Allotment
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import NotSized
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register
from berth.volumes.thin import Thin

log = logging.getLogger(__name__)

#: Shares of a volume's size, in per cent, at which listeners are told, once each.
LEVELS: Final = (80, 95)
#: How far below a level the share must fall before reaching it is told again, in per cent.
SLACK: Final = 5
#: Pause between two looks at all volumes with a size, in seconds; a look costs microseconds for each.
PERIOD_S: Final = 5.0


@runtime_checkable
class Sized(Protocol):
    """A driver whose volumes can have a size."""

    async def kept(self, record: VolumeRecord) -> Allotment | None:
        """Return how a size is kept and what is used of it; None for a volume without one."""
        ...

    async def resize(self, record: VolumeRecord, size: int, holders: tuple[str, ...]) -> None:
        """Let a volume have another size; on failure it keeps the one it has."""
        ...

    async def resized(self, record: VolumeRecord) -> None:
        """Say that the record has the size that the volume has."""
        ...

    async def finish_resizes(self, records: Sequence[VolumeRecord]) -> Mapping[str, int]:
        """End what a killed engine began; return the sizes that volumes have now."""
        ...


def level_of(percent: float, before: int) -> int:
    """Return the level a share has reached, the level `before` being left only when it has fallen well below it."""
    reached = max((level for level in LEVELS if percent >= level), default=0)
    if reached < before and percent > before - SLACK:
        return before
    return reached


class Sizing:
    """The sizes of one engine's volumes."""

    def __init__(self, register: Register, drivers: Drivers, thin: Thin) -> None:
        self._register = register
        self._thin = thin
        self._drivers = drivers
        self._levels: dict[str, int] = {}

    async def status(self, record: VolumeRecord) -> dict[str, object]:
        """Render what keeps a volume's size and what is used of it; empty for one without a size."""
        driver = self._drivers.of(record)
        try:
            kept = await driver.kept(record) if isinstance(driver, Sized) else None
        except OSError as exc:  # a file system that has failed
            log.warning("volume %s: no look at its size: %s", record.name, exc)
            return await self._thin.status(record)
        if kept is None:
            return {}
        return await self._thin.status(record) | {
            "SizeMechanism": kept.mechanism,
            "FileSystem": kept.fstype,
            "LimitBytes": _limit(record, kept),
            "UsedBytes": kept.space.used,
            "UsedPercent": round(_percent(kept), 1),
        }

    async def resize(self, name: str, text: str) -> VolumeRecord:
        """Let a volume have another size. Raises `NotSized`, `BelowUse`, `StillMounted`, `VolumeOccupied`."""
        size = parse_bytes(text)
        if size <= 0:
            raise InvalidArgument(f"resize {name}: the size must be more than nothing, not '{text}'")
        async with self._register.hold(name):
            with self._register.occupy(name, "resize") as record:
                return await finish(self._resize(record, size))

    async def _resize(self, record: VolumeRecord, size: int) -> VolumeRecord:
        driver = self._drivers.of(record)
        kept = await driver.kept(record) if isinstance(driver, Sized) else None
        if not isinstance(driver, Sized) or kept is None:
            raise NotSized(record.name)
        before = _limit(record, kept)
        holders = self._register.running_holders(record.name)
        await driver.resize(record, size, holders)
        changed = _with_size(record, size)
        try:
            await self._register.records.put(record.name, changed)
        except BaseException:
            await self._take_back(driver, changed, before, holders)
            raise
        await driver.resized(changed)
        self._register.publish("resize", record.name, driver=record.driver, size=str(size))
        return changed

    async def _take_back(self, driver: Sized, changed: VolumeRecord, before: int, holders: tuple[str, ...]) -> None:
        """Give a volume its size back whose record could not be written; else the next start ends the change."""
        try:
            await driver.resize(changed, before, holders)
        except EngineError as exc:
            log.warning("volume %s keeps its new size for now: %s", changed.name, exc)
            return
        await driver.resized(changed)

    async def adopt(self) -> None:
        """End the changes of sizes that a killed engine had begun, and let the records say what is so."""
        records = list(self._register.records.all())
        for driver in self._drivers.every().values():
            if not isinstance(driver, Sized):
                continue
            for name, size in (await driver.finish_resizes(records)).items():
                record = _with_size(self._register.get(name), size)
                await self._register.records.put(name, record)
                await driver.resized(record)

    async def watch(self) -> None:
        """Tell when a volume is nearly full, for as long as the engine runs."""
        while True:
            await self.check()
            await asyncio.sleep(PERIOD_S)

    async def check(self) -> None:
        """Look at every volume with a size once."""
        sized = [record for record in self._register.records.all() if "size" in (record.options or {})]
        for record in sized:
            driver = self._drivers.of(record)
            try:
                kept = await driver.kept(record) if isinstance(driver, Sized) else None
            except (EngineError, OSError) as exc:  # removed meanwhile, or broken: said when it is used
                log.debug("volume %s: no look at its size: %s", record.name, exc)
                continue
            if kept is not None:
                self._tell(record, kept)
        await self._thin.check(sized)
        for name in self._levels.keys() - {record.name for record in sized}:
            del self._levels[name]

    def _tell(self, record: VolumeRecord, kept: Allotment) -> None:
        percent, before = _percent(kept), self._levels.get(record.name, 0)
        level = level_of(percent, before)
        self._levels[record.name] = level
        if level > before:
            self._register.publish(
                "usage", record.name, driver=record.driver, percent=f"{percent:.0f}", level=str(level),
                used=str(kept.space.used), limit=str(_limit(record, kept)),
            )  # fmt: skip


def _percent(kept: Allotment) -> float:
    return 100 * kept.space.used / kept.space.total if kept.space.total else 0.0


def _limit(record: VolumeRecord, kept: Allotment) -> int:
    stated = (record.options or {}).get("size", "")
    return parse_bytes(stated) if stated else kept.space.total


def _with_size(record: VolumeRecord, size: int) -> VolumeRecord:
    return msgspec.structs.replace(record, options={**(record.options or {}), "size": str(size)})
