"""Restores that fail, or whose engine dies, at each step of it: the volume is as it was, and nothing is left."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel.archiving import BadArchive, Packer, Packing
from berth.store.sqlite import Stores
from berth.volumes.backup.errors import RestoreWouldOverwrite
from berth.volumes.backup.model import RestoreOptions
from berth.volumes.backup.service import Backups
from berth.volumes.backup.staging import Staging
from berth.volumes.backup.unchanged import Mark
from berth.volumes.consistency.still import Stillness
from berth.volumes.errors import VolumeOccupied
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.service import Volumes
from tests.netns.test_volume_life import StepRecords
from tests.support import filesystems, trees
from tests.support.faults import Fault, failing, killing

pytestmark = pytest.mark.root
OLD = (trees.Node(b"", "dir", mode=0o750, owner=(7, 7)), trees.Node(b"row", content=b"old"))
NEW = (trees.Node(b"", "dir", mode=0o711, owner=(9, 9)), trees.Node(b"row", content=b"new"),
       trees.Node(b"more", content=b"x" * 10_000))  # fmt: skip


class _NobodyWrites:
    """Containers that use no volume."""

    async def running(self, idents: Any) -> tuple[tuple[()], tuple[()]]:
        return (), ()


class StepStaging(Staging):
    """The real one; a step is one call that changes the disk."""

    fault: Fault

    def _step(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if not self.fault.kills:
            self.fault.before()
        else:
            self.fault.steps += 1
            self.fault.after()
        done = work(*args, **more)
        if self.fault.kills:
            self.fault.steps += 1
            self.fault.after()
        return done

    def open(self, ident: str) -> Path:
        found: Path = self._step(super().open, ident)
        return found

    def swap(self, *args: Any, **more: Any) -> None:
        self._step(super().swap, *args, **more)

    def begin(self, name: str) -> None:
        self._step(super().begin, name)


@dataclass
class World:
    root: Path
    fault: Fault = field(default_factory=Fault)
    #: Containers with their mounts.
    users: list[tuple[str, tuple[MountPoint, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wake()

    def wake(self) -> None:
        layout = Layout(self.root / "data", self.root / "run")
        self.stores = Stores(layout.database, layout.runtime_database)
        records: Any = StepRecords(self.stores.durable("volumes", VolumeRecord), self.fault)
        bus = Bus(SystemClock())
        self.volumes = Volumes(layout, records, bus, lambda: self.users)
        nobody: Any = _NobodyWrites()
        stillness = Stillness(layout, self.volumes.register, self.volumes.drivers, nobody, bus, SystemClock())
        staging = StepStaging(layout.volumes)
        staging.fault = self.fault
        marks = self.stores.durable("backup_marks", Mark)
        self.backups = Backups(layout, self.volumes.keeping, stillness, self.volumes.replacing, marks, staging)

    def data(self, name: str) -> Path:
        return self.root / "data/volumes" / name / "_data"

    def everything(self) -> dict[str, Any]:
        """Return all volumes with their files, and all that lies beside them."""
        beside = sorted(path.name for path in (self.root / "data/volumes").glob(".[ru]*"))
        return {record.name: trees.look(self.data(record.name)) for record in self.volumes.register.records.all()} | {
            "beside": beside
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stores.close()


async def backup_of(world: World, nodes: tuple[trees.Node, ...], options: dict[str, str] | None = None) -> bytes:
    source = world.root / "source"
    source.mkdir()
    trees.plant(source, nodes)
    head = {"volume": "db", "labels": {"a": "b"}, "time": "2026", "options": options}
    packer = Packer(Packing(directory=str(source), head=head))
    return b"".join([piece async for piece in packer.pieces()])


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def restoring(data: bytes) -> Callable[[World], Awaitable[object]]:
    return lambda world: world.backups.restore(_once(data), RestoreOptions(overwrite=True))


async def again(world: World) -> World:
    world.stores.close()
    new = World(world.root)
    await new.volumes.adopt(())
    await new.backups.adopt()
    return new


@pytest.mark.parametrize("replacing", [True, False])
def test_a_restore_that_fails_at_any_step_changes_nothing(world: World, *, replacing: bool) -> None:
    async def work() -> None:
        data = await backup_of(world, NEW)
        if replacing:
            await world.volumes.create("db", "", None, {"mine": ""})
            trees.plant(world.data("db"), OLD)
        before = world.everything()
        steps = 0
        async for at in failing(world.fault, lambda: restoring(data)(world)):
            steps = at
            assert world.everything() == before
        assert steps == (2 if replacing else 4)
        assert trees.difference(trees.look(world.root / "source"), trees.look(world.data("db"))) == []
        assert world.everything()["beside"] == []
        assert world.volumes.get("db").labels == ({"mine": ""} if replacing else {"a": "b"})

    asyncio.run(work())


@pytest.mark.parametrize("replacing", [True, False])
def test_a_restore_whose_engine_dies_at_any_step_leaves_the_old_or_the_new(world: World, *, replacing: bool) -> None:
    async def work() -> None:
        data = await backup_of(world, NEW)
        if replacing:
            await world.volumes.create("db")
            trees.plant(world.data("db"), OLD)
        before, new = world.everything(), trees.look(world.root / "source")
        seen = []
        last = [world]
        async for _, after in killing(world, restoring(data), lambda: again(last[-1])):
            found = after.everything()
            assert found["beside"] == []
            if replacing and found["db"] != before["db"]:
                assert trees.difference(new, found["db"]) == []
                seen.append("new")
            else:
                assert found == before
                seen.append("old")
            if seen[-1] == "new":  # the next round begins with the old once more
                after.backups._staging.fault.arm(0)
                for path in after.data("db").iterdir():
                    path.unlink()
                trees.plant(after.data("db"), OLD)
            last.append(after)
        assert seen.count("old") >= 3
        assert seen.count("new") == (1 if replacing else 0)
        last[-1].stores.close()

    asyncio.run(work())


# -- what was answered stays


@contextlib.contextmanager
def _mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize("options", [None, {"size": "16m"}], ids=["plain", "with a size"])
@pytest.mark.parametrize("replacing", [True, False])
def test_a_restored_volume_is_whole_after_a_power_failure(
    tmp_path: Path, options: dict[str, str] | None, *, replacing: bool
) -> None:
    """The file system's file as it is when the answer has come: what is only in memory is not in it."""
    image, cut = tmp_path / "ext4.img", tmp_path / "cut.img"
    with filesystems.mounted("ext4", tmp_path, size_mib=128) as disk:
        world = World(disk)
        try:
            data = asyncio.run(backup_of(world, NEW, options))
            if replacing:
                asyncio.run(world.volumes.create("db", "", options, None))
            asyncio.run(restoring(data)(world))
            (disk / "unwritten").write_bytes(b"x" * 10_000)
            shutil.copyfile(image, cut)
        finally:
            world.stores.close()
    with _mounted(cut, tmp_path / "after") as after:
        unwritten = after / "unwritten"
        assert not unwritten.exists() or not unwritten.stat().st_size, "this is how much such a copy does not have"
        volumes = after / "data/volumes"
        assert [name for name in os.listdir(volumes) if name.startswith(".unfinished")] == []
        source = trees.look(after / "source")
        if options is None:
            assert trees.difference(source, trees.look(volumes / "db/_data")) == []
        else:
            with _mounted(volumes / "db/image", tmp_path / "inner") as inner:
                assert trees.difference(source, trees.look(inner), but=["xattrs"]) == []


# -- several at once


def test_of_several_restores_to_one_name_one_makes_the_volume(world: World) -> None:
    async def work() -> None:
        data = await backup_of(world, NEW)
        restores = (world.backups.restore(_once(data), RestoreOptions()) for _ in range(3))
        done = await asyncio.gather(*restores, return_exceptions=True)
        refused = [one for one in done if isinstance(one, Exception)]
        assert len(refused) == 2
        assert {type(one) for one in refused} <= {RestoreWouldOverwrite, VolumeOccupied}
        assert trees.difference(trees.look(world.root / "source"), trees.look(world.data("db"))) == []
        assert world.everything()["beside"] == []

    asyncio.run(work())


def test_a_restore_does_not_take_away_a_volume_that_got_its_name_meanwhile(world: World) -> None:
    async def work() -> None:
        data = await backup_of(world, NEW)

        async def late() -> AsyncIterator[bytes]:
            await world.volumes.create("db", "", None, {"somebody": "else's"})
            trees.plant(world.data("db"), OLD)
            yield data

        with pytest.raises(RestoreWouldOverwrite):
            await world.backups.restore(late(), RestoreOptions(name="db"))
        assert world.volumes.get("db").labels == {"somebody": "else's"}
        assert (world.data("db") / "row").read_bytes() == b"old"
        assert world.everything()["beside"] == []

    asyncio.run(work())


def test_a_refused_restore_leaves_the_note_of_the_one_that_goes_on(world: World) -> None:
    """Were it gone, an engine that dies now would leave an empty volume that looks like a restored one."""

    async def work() -> None:
        data = await backup_of(world, (*NEW, trees.Node(b"much", content=os.urandom(6 << 20))))
        there, go_on = asyncio.Event(), asyncio.Event()
        begin = world.backups._staging.begin
        loop = asyncio.get_running_loop()

        def noted(name: str) -> None:
            begin(name)
            loop.call_soon_threadsafe(there.set)

        world.backups._staging.begin = noted  # type: ignore[method-assign]

        async def slow() -> AsyncIterator[bytes]:
            yield data[: 4 << 20]
            await go_on.wait()
            yield data[4 << 20 :]

        async def second() -> AsyncIterator[bytes]:  # it was begun when there was no volume yet
            await there.wait()
            yield data

        options = RestoreOptions(overwrite=True)
        first = asyncio.ensure_future(world.backups.restore(slow(), options))
        with pytest.raises((RestoreWouldOverwrite, VolumeOccupied)):
            await world.backups.restore(second(), RestoreOptions(name="db"))
        assert ".unfinished-db" in world.everything()["beside"]
        go_on.set()
        assert (await first).new
        assert world.everything()["beside"] == []

    asyncio.run(work())


def test_a_volume_that_was_not_restored_and_is_used_is_no_longer_a_restores(world: World) -> None:
    """Else a later start would take it away, with all that was written to it by then."""

    async def work() -> None:
        data = await backup_of(world, (*NEW, trees.Node(b"much", content=os.urandom(6 << 20))))
        made = asyncio.Event()
        world.volumes.register._bus.on_event(lambda event: made.set() if event.action == "create" else None)

        async def cut_short() -> AsyncIterator[bytes]:
            yield data[: 4 << 20]
            await made.wait()
            world.users.append(("c1", (MountPoint(type=MountType.VOLUME, target="/db", name="db"),)))

        with pytest.raises(BadArchive):
            await world.backups.restore(cut_short(), RestoreOptions())
        assert world.volumes.get("db"), "a container was created with it"
        trees.plant(world.data("db"), OLD)  # for weeks
        world.users.clear()  # docker rm
        later = await again(world)
        assert (later.data("db") / "row").read_bytes() == b"old"
        assert later.volumes.get("db")
        assert later.everything()["beside"] == []
        later.stores.close()

    asyncio.run(work())
