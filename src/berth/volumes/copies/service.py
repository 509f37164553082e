"""The use cases of copies: clone, snapshot, rollback; nothing half-done is ever called a volume or a snapshot.

A copy is made in a directory without a name, is on its medium before it gets one, and gets it in one step. A rollback
exchanges the volume's data for a copy of the snapshot's in one step; what was there before becomes a snapshot itself.
Must not: copy itself (`kernel.copying` does, in a program of its own), nor hold anybody still (`consistency` does).
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import Tasks, finish, in_thread
from berth.base.errors import EngineError
from berth.kernel import copying
from berth.volumes.consistency.model import Mode, Report, Wish
from berth.volumes.consistency.parts import Point
from berth.volumes.consistency.still import Stillness
from berth.volumes.copies import model
from berth.volumes.copies.errors import CannotRollBack, CopyFailed, SnapshotInUse, SnapshotNameInUse
from berth.volumes.copies.model import Copy, Reference, SnapshotRecord
from berth.volumes.copies.shelf import CLONING, DATA, INSTANT, ROLLING, TAKING, Shelf
from berth.volumes.drivers.base import movable
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import CannotRename, VolumeNameInUse
from berth.volumes.model import ANONYMOUS_LABEL, LOCAL, VolumeRecord
from berth.volumes.options import check_name
from berth.volumes.register import Register
from berth.volumes.replacing import Replacing, Twin

log = logging.getLogger(__name__)

#: Options of a volume that say where its data is: a clone has its own.
_WHERE: Final = frozenset({"type", "device", "o"})

Told = Callable[[copying.Copied], None]


def _made(said: copying.Copied, report: Report) -> Copy:
    if said.vanished:
        gone = f"{said.vanished} files or directories were removed while the copy was made and are not in it"
        report = msgspec.structs.replace(report, warnings=(*report.warnings, gone))
    return Copy(said.how, said.entries, said.bytes, report)


def _unheard(_: copying.Copied) -> None:
    return


class Instants:
    """Copies of one instant for those who read for long (`consistency.parts.Points`)."""

    def __init__(self, shelf: Shelf, drivers: Drivers) -> None:
        self._shelf = shelf
        self._drivers = drivers

    async def take(self, record: VolumeRecord) -> Point | None:
        """Make one if the file system can share blocks; None otherwise."""
        driver = self._drivers.of(record)
        if driver.wants_mount(record):
            return None
        stage = await in_thread(self._shelf.stage, record.name, INSTANT)
        how = ""
        try:
            how = (await copying.copy_tree(driver.path(record), stage / DATA, verb="instant")).how
        except copying.TreeNotCopied as exc:
            log.warning("volume %s is read without a copy of one instant: %s", record.name, exc)
        finally:
            if not how:
                await finish(in_thread(self._shelf.discard, stage))
        return Point(stage / DATA, how) if how else None

    async def drop(self, point: Point) -> None:
        """Remove it."""
        await in_thread(self._shelf.discard, point.path.parent)


class Copies:
    """Clones and snapshots of one engine's volumes."""

    def __init__(
        self,
        shelf: Shelf,
        register: Register,
        drivers: Drivers,
        stillness: Stillness,
        replacing: Replacing,
        stall_limit_s: float = copying.STALL_LIMIT_S,
    ) -> None:
        self.shelf = shelf
        self._register = register
        self._drivers = drivers
        self._stillness = stillness
        self._replacing = replacing
        self._stall_limit_s = stall_limit_s

    # -- clones

    async def clone(
        self, source: str, new: str, wish: Wish | None = None, told: Told = _unheard
    ) -> tuple[VolumeRecord, Copy]:
        """Make a volume of another, or of a snapshot: with its labels and options, but those that say where data is.

        Raises `NoSuchVolume`, `NoSuchSnapshot`, `VolumeNameInUse`, `CopyFailed` and what `Stillness.still` does.
        """
        reference = model.parse_reference(source)
        check_name(new)
        with self._register.occupy(reference.volume, "clone") as record:
            self._check_free(f"clone {reference}", new)
            made, done = await self._clone(reference, record, new, wish, told)
        self._register.publish("create", new, driver=made.driver, clonedFrom=str(reference))
        return made, done

    async def _clone(
        self, reference: Reference, record: VolumeRecord, new: str, wish: Wish | None, told: Told
    ) -> tuple[VolumeRecord, Copy]:
        labels, options = record.labels, record.options
        if reference.snapshot:
            taken = await in_thread(self.shelf.get, reference.volume, reference.snapshot)
            labels, options = taken.labels, taken.options
        async with self._staged("", CLONING) as stage:
            made = VolumeRecord(
                name=new,
                driver=LOCAL,
                labels=None if labels is None else {k: v for k, v in labels.items() if k != ANONYMOUS_LABEL},
                options=None if options is None else {k: v for k, v in options.items() if k not in _WHERE},
                created_ns=self._register.clock.now_ns(),
                moved_from=stage.name,
            )
            async with self._ready(made, stage) as verb:
                done = await self._copied(reference, "clone", wish, stage, told, verb)
                await in_thread(self.shelf.sync, stage / DATA)
            async with self._register.hold(new):
                self._check_free(f"clone {reference}", new)
                made = await finish(self._publish(made))
        return made, done

    @asynccontextmanager
    async def _ready(self, made: VolumeRecord, stage: Path) -> AsyncIterator[str]:
        """Have a place for the data of a volume to be; one with a size has a directory, and perhaps a file system."""
        if "size" not in (made.options or {}):
            yield "copy"
            return
        staged = msgspec.structs.replace(made, name=stage.name, moved_from="")
        driver = self._drivers.of(staged)
        await driver.make(staged)
        try:
            await driver.hold(staged, "clone")
            yield "into"
        finally:
            await finish(driver.let_go(staged, "clone"))

    def _check_free(self, what: str, new: str) -> None:
        if self._register.find(new) is not None:
            raise VolumeNameInUse(what.partition(" ")[0], what.partition(" ")[2], new)
        self._register.check_not_moving("clone", new)

    async def _publish(self, made: VolumeRecord) -> VolumeRecord:
        """Write the record, then bring the data to its name; a start after a crash in between does the latter."""
        driver = self._drivers.of(made)
        if not movable(driver):
            raise CannotRename(made.name, made.driver)
        await driver.free(made.name)
        await self._register.records.put(made.name, made)
        try:
            await driver.move(made.moved_from, made.name)
            whole = msgspec.structs.replace(made, moved_from="")
            await self._register.records.put(made.name, whole)
        except BaseException:
            await driver.move(made.name, made.moved_from)  # nothing if it was not moved
            await self._register.records.drop(made.name)
            raise
        return whole

    # -- snapshots

    async def take(
        self, volume: str, name: str = "", wish: Wish | None = None, told: Told = _unheard
    ) -> tuple[SnapshotRecord, Copy]:
        """Take a snapshot; without a name it gets one of the moment.

        Raises `NoSuchVolume`, `SnapshotNameInUse`, `BadSnapshotName`, `CopyFailed` and what `Stillness.still` does.
        """
        name = name or model.automatic_name("", self._register.clock.now_ns())
        model.check_snapshot_name(f"snapshot {volume}", name)
        with self._register.occupy(volume, "snapshot") as record:
            if name in await in_thread(self.shelf.names, volume):
                raise SnapshotNameInUse(volume, name)
            async with self._staged(volume, TAKING) as stage:
                done = await self._copied(Reference(volume), "snapshot", wish, stage, told)
                taken = SnapshotRecord(
                    name=name,
                    created_ns=done.report.at_ns,
                    how=done.how,
                    consistency=done.report.to_wire(),
                    labels=record.labels,
                    options=record.options,
                )
                await in_thread(self.shelf.sync, stage)
                await in_thread(self.shelf.write, stage, taken)
                await in_thread(self.shelf.publish, stage, volume, name)
        self._register.publish("snapshot", volume, driver=record.driver, snapshot=name)
        return taken, done

    async def all(self, volume: str = "") -> Sequence[tuple[str, SnapshotRecord]]:
        """Return the snapshots of a volume, or of every one, with their volumes' names."""
        names = [self._register.get(volume).name] if volume else sorted(self._register.records.keys())
        return await in_thread(self.shelf.every, names)

    async def get(self, reference: str) -> tuple[str, SnapshotRecord]:
        """Return one snapshot and its volume's name. Raises `NoSuchVolume`, `NoSuchSnapshot`."""
        volume, name = model.parse_reference(reference)
        self._register.get(volume)
        return volume, await in_thread(self.shelf.get, volume, name)

    def inspect(self, volume: str, record: SnapshotRecord) -> dict[str, object]:
        """Render a snapshot as the API shows it."""
        users = tuple(self._register.snapshot_holders(volume, record.name))
        return model.to_wire(volume, record, str(self.shelf.snapshot(volume, record.name)), users)

    async def remove(self, reference: str) -> None:
        """Remove a snapshot that no container mounts. Raises `NoSuchSnapshot`, `SnapshotInUse`."""
        volume, name = model.parse_reference(reference)
        with self._register.occupy(volume, "removal of a snapshot"):
            # A container that is made with the snapshot looks for it under the lock, and is a user before.
            async with self._register.hold(volume):
                if users := self._register.snapshot_holders(volume, name):
                    raise SnapshotInUse(volume, name, self._register.describe(users))
                await in_thread(self.shelf.get, volume, name)
                gone = await in_thread(self.shelf.retire, volume, name)
            await in_thread(self.shelf.discard, gone)
        self._register.publish("snapshot-remove", volume, snapshot=name)

    async def rollback(self, reference: str, *, keep: bool = True, told: Told = _unheard) -> SnapshotRecord | None:
        """Give a volume the data of a snapshot; with `keep`, return the snapshot of what was there before.

        Raises `VolumeRunning` while a running container uses it, `VolumeProtected`, `CannotRollBack`, `CopyFailed`.
        """
        volume, found = await self.get(reference)
        with self._register.occupy(volume, "rollback", exclusive=True) as record:
            wanted = await in_thread(self.shelf.get, volume, found.name)  # it may have gone before nobody could
            self._register.check_unprotected("rollback", record)
            sized = self._drivers.of(record).wants_mount(record)
            if sized and not self._replacing.possible(record):
                raise CannotRollBack(volume, wanted.name)
            now_ns = self._register.clock.now_ns()
            before = SnapshotRecord(
                name=model.automatic_name("before-rollback-", now_ns),
                created_ns=now_ns,
                how="kept by a rollback",
                consistency=Report(
                    mode=Mode.NONE, how="no running container used it", crash_consistent=True, at_ns=now_ns
                ).to_wire(),
                labels=record.labels,
                options=record.options,
                automatic=True,
                keep=keep,
            )
            what, source = f"rollback {reference}", self.shelf.snapshot(volume, wanted.name)
            async with self._staged(volume, ROLLING) as stage:
                if sized:
                    await self._roll_over(what, record, source, stage, before, told)
                else:
                    await self._copy(what, source, stage, told)
                    await in_thread(self.shelf.sync, stage)
                    await finish(self._exchange(volume, stage, before))
        self._register.publish("rollback", volume, driver=record.driver, snapshot=wanted.name)
        return msgspec.structs.replace(before, keep=True) if keep else None

    async def _exchange(self, volume: str, stage: Path, before: SnapshotRecord) -> None:
        """Do a rollback's last steps; a start after a crash goes on from the exchange, or forgets all before it."""
        coming = await in_thread(self.shelf.identify, stage)
        before = msgspec.structs.replace(before, exchanged_for=coming)
        await in_thread(self.shelf.write, stage, before)
        async with self._register.exchanging(volume, "rollback"):
            await in_thread(self.shelf.exchange, volume, stage)
        if before.keep:
            await in_thread(self.shelf.publish, stage, volume, before.name)

    async def _roll_over(
        self, what: str, record: VolumeRecord, source: Path, stage: Path, before: SnapshotRecord, told: Told
    ) -> None:
        """Roll back a volume with a size: its twin gets the snapshot, a copy of what it has goes to the stage."""
        async with self._replacing.twin(record) as twin:
            if before.keep:
                async with self._replacing.mounted(record) as present:
                    await self._copy(what, present, stage, told)
            cure = f"if its size is too small for that: berth volume resize {record.name} SIZE"
            await self._copy(what, source, twin.directory, told, "into", cure)
            await twin.settle()
            await in_thread(self.shelf.sync, stage)
            await finish(self._exchange_twin(record.name, twin, stage, before))

    async def _exchange_twin(self, volume: str, twin: Twin, stage: Path, before: SnapshotRecord) -> None:
        """Do the last steps of the same."""
        coming = await in_thread(self.shelf.identify, twin.directory)
        before = msgspec.structs.replace(before, exchanged_for=coming)
        if before.keep:
            await in_thread(self.shelf.write, stage, before)
        await twin.exchange("rollback")
        if before.keep:
            await in_thread(self.shelf.publish, stage, volume, before.name)

    # -- what they have in common

    @asynccontextmanager
    async def _staged(self, volume: str, prefix: str) -> AsyncIterator[Path]:
        """Lend a directory without a name; what is left of it at the end is deleted."""
        stage = await in_thread(self.shelf.stage, volume, prefix)
        try:
            yield stage
        finally:
            if await in_thread(stage.exists) and await in_thread(self.shelf.is_spare, stage, volume):
                await finish(in_thread(self.shelf.discard, stage))

    async def _copied(
        self, source: Reference, what: str, wish: Wish | None, stage: Path, told: Told, verb: str = "copy"
    ) -> Copy:
        if source.snapshot:
            with self._register.occupy(source.volume, what):
                taken = await in_thread(self.shelf.get, source.volume, source.snapshot)
                said = await self._copy(f"{what} {source}", self.shelf.snapshot(*source), stage, told, verb)
            whole = bool(taken.consistency.get("CrashConsistent"))
            report = Report(mode=Mode.NONE, how="a snapshot", crash_consistent=whole, at_ns=taken.created_ns)
            return _made(said, report)
        async with self._stillness.still([source.volume], what, wish, instants=False) as still:
            said = await self._copy(f"{what} {source}", still.path(source.volume), stage, told, verb)
        return _made(said, still.report)

    async def _copy(
        self, what: str, source: Path, stage: Path, told: Told, verb: str = "copy", cure: str = ""
    ) -> copying.Copied:
        try:
            return await copying.copy_tree(
                source, stage / DATA, verb=verb, stall_limit_s=self._stall_limit_s, told=told
            )
        except copying.TreeNotCopied as exc:
            cure = (cure or f"make room on the disk of {self.shelf.root}") if exc.full else ""
            raise CopyFailed(what, str(exc), cure=cure) from exc

    # -- after a crash

    async def adopt(self, tasks: Tasks) -> None:
        """Finish rollbacks that a killed engine had begun; delete what else it left, behind the engine's start.

        To be awaited before any container starts.
        """
        moving = {record.moved_from for record in self._register.records.all()}
        names = self._register.records.keys()
        for volume in await in_thread(lambda: [name for name in names if self.shelf.settle(name)]):
            log.warning("volume %s: finished a rollback that was cut short", volume)
        begun = await in_thread(lambda: [path for name in ("", *names) for path in self.shelf.left(name)])
        left = [path for path in begun if path.name not in moving]
        if left:
            log.warning("deleting copies that were cut short: %s", ", ".join(map(str, left)))
            tasks.start("delete copies that were cut short", self._discard(left))

    async def _discard(self, stages: Sequence[Path]) -> None:
        for stage in stages:
            try:
                staged = VolumeRecord(name=stage.name)
                driver = self._drivers.of(staged)
                if stage.name.startswith(CLONING) and movable(driver):
                    await driver.settle(staged)  # a file system of its own may be mounted there
                await in_thread(self.shelf.discard, stage)
            except EngineError as exc:
                log.warning("%s; the next start tries again", exc)
