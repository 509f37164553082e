"""What was answered is so after a power failure, of volumes that are file systems in files: made, resized, restored.

The disk is cut off as in `test_power_failure`, below the file system in the file: that one finds its own journal, or
what it wrote, as far as it came. Quotas need a kernel that keeps them.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.base.aio import Tasks
from berth.base.clock import SystemClock
from berth.base.units import parse_bytes
from berth.events.bus import Bus
from berth.kernel import image
from berth.kernel.archiving import Packer, Packing
from berth.kernel.files import sync_filesystem
from berth.kernel.mount import is_mounted, unmount
from berth.store.memory import MemoryRecords
from berth.volumes.backup.model import RestoreOptions
from berth.volumes.backup.service import Backups
from berth.volumes.backup.unchanged import Mark
from berth.volumes.consistency.still import Stillness
from berth.volumes.copies.service import Copies
from berth.volumes.drivers.local_sizes import image_bytes
from tests.netns.test_restores import NEW, _NobodyWrites
from tests.netns.test_volume_size_faults import SizeWorld
from tests.netns.test_volume_sizes import no_loops
from tests.support import filesystems, trees

pytestmark = pytest.mark.root

OLD = b"old" * 100_000


class Machine(SizeWorld):
    """Volumes with a size on a file system whose power can be cut."""

    def __init__(self, kind: str, place: Path) -> None:
        self.kind, self.place = kind, place
        super().__init__(place / kind)

    @property
    def stillness(self) -> Stillness:
        nobody: Any = _NobodyWrites()
        volumes, bus = self.volumes, Bus(SystemClock())
        return Stillness(self.layout, volumes.register, volumes.drivers, nobody, bus, SystemClock())

    @property
    def copies(self) -> Copies:
        volumes = self.volumes
        return Copies(volumes.shelf, volumes.register, volumes.drivers, self.stillness, volumes.replacing)

    @property
    def backups(self) -> Backups:
        volumes, stillness = self.volumes, self.stillness
        marks: MemoryRecords[Mark] = MemoryRecords()
        return Backups(self.layout, volumes.keeping, stillness, volumes.replacing, marks)

    async def hold(self, name: str) -> Path:
        """Mount a volume, as for a container that starts."""
        await self.driver.hold(self.volumes.get(name), "test")
        return self.directory(name) / "_data"

    async def let_go(self, name: str) -> None:
        await self.driver.let_go(self.volumes.get(name), "test")

    async def old(self) -> None:
        """Make a volume with content that was on its medium long ago."""
        await self.filled("data", size="12m")
        (data := await self.hold("data")).joinpath("file").write_bytes(OLD)
        os.chown(data, 70, 71)
        await self.let_go("data")
        sync_filesystem(self.layout.volumes)

    async def after_power_failure(self) -> None:
        """What is there when the machine has been started again."""
        filesystems.cut_power(self.kind, self.place, self._die)
        shutil.rmtree(self.layout.exec_root)
        await self.adopted()
        await self.volumes.replacing.adopt()
        await self.copies.adopt(tasks := Tasks())
        await tasks.settle()
        await self.volumes.sizing.adopt()
        await self.backups.adopt()

    def _die(self) -> None:
        """Close what is open on the disk, whose content is saved already."""
        self.end()
        for file in self.layout.volumes.glob("*/_data"):
            if is_mounted(str(file)):
                unmount(file)

    def end(self) -> None:
        if self.stores is not None:
            self.stores.close()
            self.stores = None

    async def seen(self, name: str = "data") -> dict[bytes, trees.Seen]:
        """Mount a volume and look what is in it."""
        data = await self.hold(name)
        found = trees.look(data)
        await self.let_go(name)
        return found


# Of btrfs, which is never at rest, a copy of the disk is none of one moment.
@pytest.fixture(params=["ext4", "xfs"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if missing := filesystems.is_missing(request.param):
        pytest.skip(missing)
    with filesystems.mounted(request.param, tmp_path, size_mib=320):
        machine = Machine(request.param, tmp_path)
        try:
            yield machine
        finally:
            machine._die()
    no_loops(machine.layout.volumes)


def test_a_new_volume_has_its_size_and_its_owner(machine: Machine) -> None:
    async def work() -> None:
        options = {"size": "12m", "uid": "70", "gid": "71", "mode": "750"}
        await machine.volumes.create("other", "", options, {"a": "b"})
        await machine.after_power_failure()
        machine.whole("other", parse_bytes("12m"))
        root = (await machine.seen("other"))[b""]
        assert (root.owner, root.mode) == ((70, 71), 0o750)

    asyncio.run(work())


def test_what_its_user_synced_is_there(machine: Machine) -> None:
    """Also of the first user, at whose start the file got its name."""

    async def work() -> None:
        await machine.volumes.create("data", "", {"size": "12m"}, {"a": "b"})
        data = await machine.hold("data")
        for name, synced in (("kept", True), ("lost", False)):
            with (data / name).open("wb") as out:
                out.write(OLD)
                out.flush()
                if synced:
                    os.fsync(out.fileno())
                    at = os.open(data, os.O_RDONLY)
                    os.fsync(at)
                    os.close(at)
        await machine.after_power_failure()
        data = await machine.hold("data")
        assert (data / "kept").read_bytes() == OLD
        assert not (data / "lost").exists() or (data / "lost").read_bytes() != OLD, (
            "a cut that takes nothing shows nothing"
        )
        await machine.let_go("data")
        machine.whole("data", parse_bytes("12m"))

    asyncio.run(work())


async def _grown(machine: Machine) -> None:
    await machine.volumes.sizing.resize("data", "40m")


async def _grown_in_use(machine: Machine) -> None:
    await machine.hold("data")
    await machine.volumes.sizing.resize("data", "40m")


async def _shrunk(machine: Machine) -> None:
    await machine.volumes.sizing.resize("data", "8m")


async def _both(machine: Machine) -> None:
    await _grown(machine)
    await _shrunk(machine)


@pytest.mark.parametrize(("change", "size"), [(_grown, "40m"), (_grown_in_use, "40m"), (_shrunk, "8m"), (_both, "8m")])
def test_a_volume_has_the_size_it_was_given(
    machine: Machine, change: Callable[[Machine], Awaitable[None]], size: str
) -> None:
    async def work() -> None:
        await machine.old()
        await change(machine)
        await machine.after_power_failure()
        found = await machine.seen()
        assert (found[b""].owner, found[b"file"].size) == ((70, 71), len(OLD))
        machine.whole("data", parse_bytes(size))
        assert (machine.directory("data") / "image").stat().st_size == image_bytes(
            parse_bytes(size), image.kind(machine.directory("data") / "image")
        )
        data = await machine.hold("data")
        total = os.statvfs(data).f_blocks * os.statvfs(data).f_frsize
        assert parse_bytes(size) <= total < 2 * parse_bytes(size) + (1 << 24)
        await machine.let_go("data")

    asyncio.run(work())


async def _archive(machine: Machine) -> bytes:
    source = machine.place / "source"
    source.mkdir()
    trees.plant(source, NEW)
    packer = Packer(Packing(directory=str(source), head={"volume": "data", "time": "2026", "options": {"size": "12m"}}))
    return b"".join([piece async for piece in packer.pieces()])


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.mark.parametrize("name", ["data", "fresh"])
def test_a_restore_is_there_whole(machine: Machine, name: str) -> None:
    """In the place of what the volume held, and in a volume that it made."""

    async def work() -> None:
        await machine.old()
        archive = await _archive(machine)
        await machine.backups.restore(_once(archive), RestoreOptions(name=name, overwrite=True))
        await machine.after_power_failure()
        machine.whole(name, parse_bytes("12m"))
        assert trees.difference(trees.look(machine.place / "source"), await machine.seen(name)) == []
        assert sorted(os.listdir(machine.layout.volumes)) == sorted({"data", name})

    asyncio.run(work())


def test_a_clone_is_there_whole(machine: Machine) -> None:
    async def work() -> None:
        await machine.old()
        before = await machine.seen()
        await machine.copies.clone("data", "twin")
        await machine.after_power_failure()
        machine.whole("twin", parse_bytes("12m"))
        assert trees.difference(before, await machine.seen("twin")) == []
        assert sorted(os.listdir(machine.layout.volumes)) == ["data", "twin"]

    asyncio.run(work())


@pytest.mark.parametrize("rolled", [False, True])
def test_a_snapshot_and_what_was_made_of_it_are_there_whole(machine: Machine, *, rolled: bool) -> None:
    async def work() -> None:
        await machine.old()
        before = await machine.seen()
        await machine.copies.take("data", "good")
        data = await machine.hold("data")
        (data / "file").write_bytes(b"bad")
        await machine.let_go("data")
        sync_filesystem(machine.layout.volumes)
        kept = await machine.copies.rollback("data@good") if rolled else None
        await machine.after_power_failure()
        shelf = machine.volumes.shelf
        assert trees.difference(before, trees.look(shelf.snapshot("data", "good"))) == []
        now = await machine.seen()
        assert now[b"file"].size == (len(OLD) if rolled else 3)
        assert set(shelf.names("data")) == {"good", *([kept.name] if kept else [])}
        if kept:
            assert (shelf.snapshot("data", kept.name) / "file").read_bytes() == b"bad"
            assert trees.difference(before, now) == []

    asyncio.run(work())


@pytest.mark.parametrize("what", ["remove", "restore", "rename"])
def test_it_goes_and_comes_as_any_other(machine: Machine, what: str) -> None:
    async def work() -> None:
        await machine.old()
        if what == "rename":
            await machine.volumes.changing.rename("data", "new")
        else:
            await machine.volumes.remove("data", force=False)
        if what == "restore":
            await machine.volumes.trash.restore("data", "new")
        await machine.after_power_failure()
        if what == "remove":
            assert not machine.volumes.register.records.all()
            (entry,) = machine.volumes.trash.all()
            assert machine.directory(entry.entry).is_dir()
            await machine.volumes.trash.restore("data", "new")
        assert (await machine.seen("new"))[b"file"].size == len(OLD)
        machine.whole("new", parse_bytes("12m"))
        assert os.listdir(machine.layout.volumes) == ["new"]

    asyncio.run(work())
