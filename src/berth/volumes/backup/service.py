"""The use cases of backups: archive volumes, verify an archive, make a volume of one.

While a backup is made the volume stays where it is; while one is restored nobody else has it, and its old data stay
until the new are complete and verified. Must not: read or write a volume's files itself, which is for
`berth.kernel.archiving`.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berth import VERSION
from berth.base.aio import finish, in_thread
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.kernel.archiving import Packer, Packing, Unpacked, Unpacking, unpack
from berth.kernel.copying import TreeNotCopied, copy_tree
from berth.kernel.files import sync_filesystem
from berth.kernel.fingerprint import Fingerprint, fingerprint
from berth.store.base import Records
from berth.volumes.backup.claim import Claim, discard
from berth.volumes.backup.errors import TooLargeToRestore
from berth.volumes.backup.model import (
    BackupOptions,
    RestoreOptions,
    head_of,
    parse_pack,
    parse_recipients,
    stamp,
)
from berth.volumes.backup.schedule import Plan
from berth.volumes.backup.staging import Staging
from berth.volumes.backup.stores.base import Entry, Store, condemned
from berth.volumes.backup.stores.opening import open_store
from berth.volumes.backup.stores.restic import Repositories
from berth.volumes.backup.stores.turns import Turns
from berth.volumes.backup.unchanged import Mark, Marks
from berth.volumes.consistency.still import Still, Stillness
from berth.volumes.keeping import Keeping
from berth.volumes.model import VolumeRecord
from berth.volumes.replacing import Replacing

log = logging.getLogger(__name__)

#: Threads that pack: more than this many are no use, tar does not read that fast.
_THREADS: Final = 8
#: Labels of scheduled backups beside those of `schedule`.
_ENCRYPT_LABEL: Final = "berth.backup.encrypt"
_COMPRESS_LABEL: Final = "berth.backup.compress"
_PASSWORD_LABEL: Final = "berth.backup.password-file"  # noqa: S105  the label's name


@dataclass(frozen=True)
class Restored:
    """A volume made of an archive."""

    name: str
    unpacked: Unpacked
    new: bool
    #: What was not taken over, and why.
    notes: tuple[str, ...] = ()


class Archiving:
    """Volumes that hold still and may be archived, one after the other."""

    def __init__(self, backups: "Backups", still: Still, options: BackupOptions, now_ns: int) -> None:
        self._backups = backups
        self._still = still
        self._options = options
        self._now_ns = now_ns
        self.names = still.names
        self.stamp = stamp(now_ns)
        self.reread = options.reread

    def head(self, name: str) -> dict[str, Any]:
        """Return what the backup of a volume says of itself."""
        record = self._backups.register.get(name)
        return head_of(record, self._options, self._now_ns, f"berth {VERSION}", self._still.report.to_wire())

    def path(self, name: str) -> Path:
        """Return where a volume's data is to be read; only helper processes may touch it."""
        return self._still.path(name)

    async def tree(self, name: str) -> Fingerprint | None:
        """Return what the data are like, if any change from now on will show; None for what may hang, too.

        It is the volume itself that is looked at, not a copy: what changed after the instant counts as too young.
        """
        record = self._backups.register.get(name)
        if self._backups.away(record):
            return None
        report = self._still.report
        found = await fingerprint(self._still.home(name), sync=bool(report.containers))
        return found if found is not None and found.settled(report.at_ns) else None

    def packing(self, name: str) -> Packing:
        """Return how a volume is archived."""
        return Packing(
            directory=str(self._still.path(name)), head=self.head(name), pack=self._options.pack,
            level=self._options.level, threads=min(os.cpu_count() or 1, _THREADS), encrypt=self._options.encrypt(),
        )  # fmt: skip

    def pack(self, name: str) -> Packer:
        """Begin to archive a volume; its pieces must be taken to their end."""
        return Packer(self.packing(name))

    async def release(self) -> None:
        """Let the users of the volumes go on."""
        await self._still.release()

    def report(self) -> dict[str, object]:
        """Return how still they were held."""
        return self._still.report.to_wire()


class Backups:
    """Backups of one engine's volumes."""

    def __init__(
        self,
        layout: Layout,
        keeping: Keeping,
        stillness: Stillness,
        replacing: Replacing,
        marks: Records[Mark],
        staging: Staging | None = None,
    ) -> None:
        self.register = stillness.register
        self._drivers = stillness.drivers
        self._stillness = stillness
        self._keeping = keeping
        self._replacing = replacing
        known = Marks(marks, self.register.records.keys, self.register.clock)
        self._repositories = Repositories(layout.exec_root / "restic", known, Turns())
        self._staging = staging or Staging(layout.volumes)

    def away(self, record: VolumeRecord) -> bool:
        """Tell whether calls on a volume's path may hang."""
        return self._drivers.of(record).away(record)

    @asynccontextmanager
    async def archiving(self, names: Collection[str], options: BackupOptions) -> AsyncIterator[Archiving]:
        """Hold volumes still, all at one time, to archive them; they stay where they are until the block ends.

        Raises `NoSuchVolume`, `VolumeOccupied`, and what holding still may raise.
        """
        async with self._stillness.still(names, "backup", options.wish) as still:
            yield Archiving(self, still, options, self.register.clock.now_ns())
        for name in names:
            self.register.publish("backup", name, consistency=still.report.mode.value)

    async def verify(self, source: AsyncIterator[bytes], options: RestoreOptions) -> Unpacked:
        """Read an archive to its end and check every sum. Raises `BadArchive`."""
        return await unpack(_unpacking("", options), source)

    async def restore(self, source: AsyncIterator[bytes], options: RestoreOptions) -> Restored:
        """Make a volume of an archive, or replace a volume's data by one. On any error the volume is as it was.

        Raises `BadArchive`, `RestoreWouldOverwrite`, `RestoreNeedsName`, `VolumeRunning`, `VolumeOccupied`,
        `UnpackingFailed`.
        """
        async with AsyncExitStack() as stack:
            claim = await self._claim(stack, options)
            directory = await self._stage(stack)
            unpacked = await unpack(_unpacking(str(directory), options), source, claim.heard)
            if unpacked.prefix and not options.keep_prefix:
                directory = directory / unpacked.prefix
            return await finish(self._place(claim, directory, unpacked))

    async def keep(self, names: Collection[str], options: BackupOptions, store: Store) -> list[Entry]:
        """Back volumes up to a store of the engine's. Raises as `archiving` does, and `StoreFailed`."""
        async with store.turn(tuple(names)), self.archiving(names, options) as archiving:
            return [await store.save(archiving, name) for name in archiving.names]

    async def take_back(self, store: Store, name: str, options: RestoreOptions) -> Restored:
        """Restore a backup of a store; as `restore` in everything."""
        head = await store.describe(name)
        if head is None:
            return await self.restore(store.read(name), options)
        async with AsyncExitStack() as stack:
            claim = await self._claim(stack, options)
            await claim.heard(head)
            filled = await store.unpack(name, await self._stage(stack))
            unpacked = Unpacked(head=head, end=head.get("end"), files=-1, bytes=-1)
            return await finish(self._place(claim, filled, unpacked))

    async def scheduled(self, record: VolumeRecord, plan: Plan) -> Entry:
        """Make the backup that a volume's labels ask for, and remove those they do not keep."""
        labels = record.labels or {}
        recipients = parse_recipients([key for key in labels.get(_ENCRYPT_LABEL, "").split(",") if key])
        pack, level = parse_pack(labels.get(_COMPRESS_LABEL, ""))
        store = self.store(plan.target, labels.get(_PASSWORD_LABEL, ""))
        made = await self.keep([record.name], BackupOptions(pack=pack, level=level, recipients=recipients), store)
        if any(plan.keep.values()):
            own = [one for one in await store.entries() if one.volume == record.name]
            await store.drop([one.name for one in condemned(own, plan.keep)])
        return made[0]

    def store(self, target: str, password_file: str = "") -> Store:
        """Return the store a text names. Raises `BadBackupOption`."""
        return open_store(target, password_file, self._repositories)

    async def _stage(self, stack: AsyncExitStack) -> Path:
        ident = new_id()[:12]
        directory = await in_thread(self._staging.open, ident)
        stack.push_async_callback(_to_its_end, self._staging.close, ident)
        return directory

    async def _claim(self, stack: AsyncExitStack, options: RestoreOptions) -> Claim:
        claim = Claim(stack, options, self._replacing, self._keeping, self._staging)
        if options.name:
            await claim.check(options.name)
        return claim

    async def _place(self, claim: Claim, filled: Path, unpacked: Unpacked) -> Restored:
        """Let what was unpacked and verified be the volume's data."""
        record = await claim.record(unpacked.head or {})
        driver = self._drivers.of(record)
        if not driver.wants_mount(record):
            data, marker = driver.path(record), driver.filling(record)
            turn = self.register.hold(record.name) if claim.new else self.register.exchanging(record.name, "restore")
            async with turn:
                await in_thread(self._staging.swap, filled, data, marker)
        elif claim.new:
            async with self._replacing.mounted(record) as data:
                await copy_tree(filled, data, verb="into")
                await self._settle(record, data)
            await self._settle(record, driver.path(record).parent)  # a file system in a file is a file there
        else:
            await self._replace(record, filled)
        await claim.settle()
        self.register.publish("restore", record.name, driver=record.driver)
        return Restored(record.name, unpacked, claim.new, (*unpacked.notes, *claim.notes))

    async def _settle(self, record: VolumeRecord, path: Path) -> None:
        if not self.away(record):  # what is on a server is so when its files are closed
            await in_thread(sync_filesystem, path)

    async def _replace(self, record: VolumeRecord, filled: Path) -> None:
        """Let what was unpacked be the data of a volume that keeps a size."""
        async with self._replacing.twin(record) as twin:
            try:
                await copy_tree(filled, twin.path, verb="into")
            except TreeNotCopied as exc:
                if exc.full:
                    raise TooLargeToRestore(record.name) from exc
                raise
            await twin.settle()
            await in_thread(self._drivers.of(record).filling(record).unlink, missing_ok=True)
            await twin.exchange("restore")

    async def adopt(self) -> None:
        """Remove what restores left that an earlier engine did not end."""
        for name in await in_thread(self._staging.unfinished):
            log.warning("volume %s was being restored when the engine died; it goes", name)
            await discard(name, self.register, self._keeping, self._staging)


async def _to_its_end(work: Callable[[str], None], ident: str) -> None:
    await in_thread(work, ident)


def _unpacking(directory: str, options: RestoreOptions) -> Unpacking:
    return Unpacking(
        directory=directory, identity=options.identity, passphrase=options.passphrase, most=options.most,
        ratio=options.ratio,
    )  # fmt: skip
