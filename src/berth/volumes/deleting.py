"""Deleting data behind the answer: what is deleted was renamed out of the way before, so that a crash needs no care.

Must not: decide what is deleted.
"""

import logging

from berth.base.aio import Tasks
from berth.base.errors import EngineError
from berth.volumes.drivers.base import VolumeDriver
from berth.volumes.register import Register

log = logging.getLogger(__name__)


class Deleting:
    """Deletes in background tasks; without an owner for them, at once."""

    def __init__(self, register: Register, tasks: Tasks | None) -> None:
        self._register = register
        self._tasks = tasks

    async def delete(self, driver: VolumeDriver, name: str) -> None:
        """Delete what was set aside of a volume; its record is gone, its lock is held by the caller."""
        if self._tasks is not None:
            self._tasks.start(f"delete volume {name}", self._later(driver, name))
            return
        await driver.finish_removal(name)
        await self._discard(driver)

    async def _later(self, driver: VolumeDriver, name: str) -> None:
        try:
            async with self._register.hold(name):
                await driver.finish_removal(name)
        except EngineError as exc:
            log.warning("%s; the next start tries again", exc)
        await self._discard(driver)

    async def discard(self, driver: VolumeDriver) -> None:
        """Delete what is nobody's any more."""
        if self._tasks is None:
            await self._discard(driver)
        else:
            self._tasks.start("delete volumes", self._discard(driver))

    async def _discard(self, driver: VolumeDriver) -> None:
        try:
            await driver.discard()
        except EngineError as exc:
            # The volumes are gone for everybody; the next start tries again.
            log.warning("%s", exc)
