"""Restores that fail, or whose engine dies, at each step of it: the volume is as it was, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel.archiving import Packer, Packing
from berth.store.sqlite import Stores
from berth.volumes.backup.model import RestoreOptions
from berth.volumes.backup.service import Backups
from berth.volumes.backup.staging import Staging
from berth.volumes.backup.unchanged import Mark
from berth.volumes.consistency.still import Stillness
from berth.volumes.model import VolumeRecord
from berth.volumes.service import Volumes
from tests.netns.test_volume_life import StepRecords
from tests.support import trees
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

    def __post_init__(self) -> None:
        self.wake()

    def wake(self) -> None:
        layout = Layout(self.root / "data", self.root / "run")
        self.stores = Stores(layout.database, layout.runtime_database)
        records: Any = StepRecords(self.stores.durable("volumes", VolumeRecord), self.fault)
        bus = Bus(SystemClock())
        self.volumes = Volumes(layout, records, bus, lambda: ())
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


async def backup_of(world: World, nodes: tuple[trees.Node, ...]) -> bytes:
    source = world.root / "source"
    source.mkdir()
    trees.plant(source, nodes)
    packer = Packer(Packing(directory=str(source), head={"volume": "db", "labels": {"a": "b"}, "time": "2026"}))
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
