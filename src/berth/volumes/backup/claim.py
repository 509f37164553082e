"""The volume a restore is for: seen to be restorable before anything is unpacked, and kept from others until the end.

A new one is made as soon as the archive has said what it was: empty, noted as unfinished, and with nobody else let near
it; it goes again if the restore fails, or its engine dies. Made later, its record would wait for all that was unpacked
to get to the disk.
"""

import logging
import os
from contextlib import AsyncExitStack
from typing import Any

from berth.base.aio import finish, in_thread
from berth.base.errors import EngineError
from berth.volumes.backup.errors import ImportWouldOverwrite, RestoreIntoMount, RestoreNeedsName, RestoreWouldOverwrite
from berth.volumes.backup.model import RestoreOptions
from berth.volumes.backup.staging import Staging
from berth.volumes.keeping import Keeping
from berth.volumes.model import LOCAL, VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register
from berth.volumes.replacing import Replacing

log = logging.getLogger(__name__)


class Claim:
    """One restore's hold on its volume; what it holds goes with `stack`."""

    def __init__(
        self,
        stack: AsyncExitStack,
        options: RestoreOptions,
        replacing: Replacing,
        keeping: Keeping,
        staging: Staging,
    ) -> None:
        self._stack = stack
        self._options = options
        self._register = replacing.register
        self._drivers = replacing.drivers
        self._replacing = replacing
        self._keeping = keeping
        self._staging = staging
        self._name = ""
        self._record: VolumeRecord | None = None
        self._settled = False
        #: Whether the restore makes the volume.
        self.new = False
        #: What was not taken over, and why.
        self.notes: list[str] = []

    async def check(self, name: str) -> None:
        """See that a volume may be restored, and keep others from one that is there.

        Raises `NameInvalid`, `RestoreWouldOverwrite`, `ImportWouldOverwrite`, `RestoreIntoMount`, `VolumeProtected`,
        `VolumeRunning`, `VolumeOccupied`.
        """
        self._name = name
        record = self._register.find(name)
        if record is None:
            check_name(name)
            return
        if not self._options.overwrite and not self._options.into_empty:
            raise RestoreWouldOverwrite(name)
        if self._drivers.of(record).wants_mount(record) and not self._replacing.possible(record):
            raise RestoreIntoMount(name)
        self._register.check_unprotected("restore", record)
        self._record = self._stack.enter_context(self._register.occupy(name, "restore", exclusive=True))
        if not self._options.overwrite and not await self._is_empty(record):
            raise ImportWouldOverwrite(name)

    async def _is_empty(self, record: VolumeRecord) -> bool:
        async with self._replacing.mounted(record) as data:
            return not await in_thread(os.listdir, data)

    async def heard(self, head: dict[str, Any]) -> None:
        """Take note of what the archive says of itself."""
        if not self._name and head.get("volume"):
            await self.check(str(head["volume"]))
        await self.record(head)

    async def record(self, head: dict[str, Any]) -> VolumeRecord:
        """Return the volume, made if there was none. Raises `RestoreNeedsName`, `RestoreWouldOverwrite`."""
        if not self._name:
            raise RestoreNeedsName
        if self._record is None:
            self._record = await finish(self._made(head))
        return self._record

    async def settle(self) -> None:
        """Say that the volume is whole."""
        self._settled = True
        if self.new:
            await in_thread(self._staging.finished, self._name)

    async def _made(self, head: dict[str, Any]) -> VolumeRecord:
        noted = False

        def note() -> None:
            nonlocal noted
            noted = True
            self._staging.begin(self._name)

        try:
            record, new = await self._keeping.ensure(self._name, *self._kind(head), head.get("labels"), first=note)
        except BaseException:
            if noted:  # and not made: whatever has the name by now is somebody else's
                await finish(in_thread(self._staging.finished, self._name))
            raise
        if not new:  # it came meanwhile: not ours to take away, nor to say anything of
            raise RestoreWouldOverwrite(self._name)
        self.new = True
        self._stack.push_async_callback(self._undo)
        return self._stack.enter_context(self._register.occupy(record.name, "restore", exclusive=True))

    def _kind(self, head: dict[str, Any]) -> tuple[str, dict[str, str] | None]:
        driver, options = str(head.get("driver") or LOCAL), head.get("options")
        # A size comes back; what another machine or a device of this one had does not: data may be there already.
        if driver in self._drivers.every() and "device" not in (options or {}):
            return driver, options
        stated = ", ".join(f"{key}={value}" for key, value in (options or {}).items())
        self.notes.append(
            f"{self._name} is a plain local volume now; the one that was backed up had the driver {driver}"
            f"{f' and the options {stated}' if stated else ''}"
        )
        return LOCAL, None

    async def _undo(self) -> None:
        if not self._settled:
            await finish(discard(self._name, self._register, self._keeping, self._staging))


async def discard(name: str, register: Register, keeping: Keeping, staging: Staging) -> None:
    """Remove a volume that a restore had begun to make, if there is one by now, and then the note of it.

    One that cannot go, because a container has been created with it meanwhile, is a volume from now on: were the note
    still there at some later start, what the container had written by then would go.
    """
    async with register.hold(name):
        record = register.find(name)
        try:
            if record is not None:
                await keeping.remove_locked(record)
        except EngineError as exc:
            log.warning("volume %s was not restored and stays as it is: %s", name, exc)
        await in_thread(staging.finished, name)
