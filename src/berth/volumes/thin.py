"""Volumes that are files promise more than their disk may have: said when one is made, and again before it is too late.

A file takes room as it is written. When its disk is full the file system inside gets I/O errors, which no program in a
container can tell from a broken disk. Must not: look at a file system that may hang; files are on the engine's disk.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from berth.base.errors import EngineError
from berth.base.units import human_size
from berth.volumes.drivers.local_sizes import Standing
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

log = logging.getLogger(__name__)

#: A disk runs low for a file on it when less is free than this and than the file may still take, in bytes; …
LOW_BYTES: Final = 1 << 30
#: … and is full for it when no more than this is.
FULL_BYTES: Final = 32 << 20


@runtime_checkable
class Filed(Protocol):
    """A driver whose volumes can be files."""

    async def standing(self, record: VolumeRecord) -> Standing:
        """Return how a volume stands with its disk; all nothing if it is no file."""
        ...


class Thin:
    """The files with file systems of one engine."""

    def __init__(self, register: Register, drivers: Drivers, root: Path) -> None:
        self._register = register
        self._drivers = drivers
        self._root = root
        #: What was said of a volume last.
        self._said: dict[str, str] = {}

    async def standing(self, record: VolumeRecord) -> Standing:
        """Return how a volume stands with its disk; all nothing if it is no file."""
        driver = self._drivers.of(record)
        return await driver.standing(record) if isinstance(driver, Filed) else Standing()

    async def warnings(self, record: VolumeRecord) -> list[str]:
        """Say what a volume that was just made or changed may not be able to do."""
        if "size" not in (record.options or {}):
            return []
        one, said = await self.standing(record), []
        if one.missing > one.free:
            said.append(
                f"volume {record.name} may take {human_size(one.missing)} more, and {human_size(one.free)} are free on "
                f"the disk of {self._root}: what does not fit will end in I/O errors. Make room, or have it kept from "
                "the start: -o reserve=true"
            )
        if one.lags:
            users = " ".join(ident[:12] for ident in self._register.running_holders(record.name))
            said.append(
                f"volume {record.name} gets its new size when it is mounted next: ext4 grows under its users only with "
                f"CAP_SYS_RESOURCE, which this engine has not got. Stop and start what uses it: docker restart {users}"
            )
        for text in said:
            log.warning("%s", text)
        return said

    async def status(self, record: VolumeRecord) -> dict[str, object]:
        """Render what inspect shows of a file."""
        one = await self.standing(record)
        if not one.length:
            return {}
        shown: dict[str, object] = {"AllocatedBytes": one.taken, "DiskFreeBytes": one.free}
        if one.trouble:
            shown["Trouble"] = f"{one.trouble}; {_mend(record.name, one, self._root)}"
        if one.lags:
            shown["GrowsAtNextMount"] = True
        return shown

    async def check(self, records: Iterable[VolumeRecord]) -> None:
        """Tell of disks that run low and of file systems that have failed, once each; of volumes that are mounted."""
        there, mounted = set(), self._register.mounted_names()
        for record in records:
            if record.name not in mounted:
                continue
            try:
                one = await self.standing(record)
            except (EngineError, OSError) as exc:  # removed meanwhile, or broken: said when it is used
                log.debug("volume %s: no look at its file: %s", record.name, exc)
                continue
            there.add(record.name)
            self._tell(record, one)
        for name in self._said.keys() - there:
            del self._said[name]

    def _tell(self, record: VolumeRecord, one: Standing) -> None:
        state = _state(one)
        before, self._said[record.name] = self._said.get(record.name, ""), state
        if state == before or not state:
            return
        mend = _mend(record.name, one, self._root)
        free, missing = human_size(one.free), human_size(one.missing)
        if one.trouble:
            log.error("volume %s: its file system is %s; %s", record.name, one.trouble, mend)
        else:
            log.warning("volume %s may take %s more, and %s are free on its disk; %s", record.name, missing, free, mend)
        self._register.publish(
            "usage", record.name, driver=record.driver, level=state, free=str(one.free), missing=str(one.missing)
        )


def _state(one: Standing) -> str:
    if not one.mounted:
        return ""
    if one.trouble:
        return "failed"
    if one.free <= min(one.missing, FULL_BYTES):
        return "disk-full"
    return "disk-low" if one.free < min(one.missing, LOW_BYTES) else ""


def _mend(name: str, one: Standing, root: Path) -> str:
    if one.trouble:
        return (
            f"make room on the disk of {root}, if it is full, then stop and start what uses {name}: it is mended then"
        )
    return f"make room on the disk of {root}, or what is written will end in I/O errors"
