"""Copies of volumes by an engine that fails, or dies, at every step; full disks; trees of every kind on every disk."""

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from berth.base.aio import Tasks
from berth.base.clock import SystemClock
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel import btrfs
from berth.kernel.removal import remove_tree
from berth.store.sqlite import Stores
from berth.volumes.consistency.model import Writer
from berth.volumes.consistency.still import Stillness
from berth.volumes.copies.service import Copies, Instants
from berth.volumes.copies.shelf import Shelf
from berth.volumes.model import VolumeRecord
from berth.volumes.service import Volumes
from tests.netns.test_volume_life import StepRecords, StepStorage, _dies, _fails
from tests.support import filesystems, hangs
from tests.support.faults import Fault, failing, killing
from tests.support.trees import Node, difference, look, plant, rich, trees

pytestmark = pytest.mark.root

LABELS = {"a": "b"}


def awaited(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test that awaits things to its end."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


class Nobody:
    """Containers of an engine that has none."""

    async def running(self, idents: Sequence[str]) -> tuple[Sequence[Writer], Sequence[str]]:
        assert not idents
        return [], []

    async def freeze(self, ident: str, limit_s: float) -> None:
        raise AssertionError

    thaw = stop = start = run = freeze  # type: ignore[assignment]


class StepShelf(Shelf):
    """The real one; a step is one call that changes the disk."""

    fault: Fault

    def _step(self, work: Callable[..., Any], *args: Any) -> Any:
        _fails(self.fault)
        _dies(self.fault)
        done = work(*args)
        _dies(self.fault)
        return done

    def stage(self, volume: str, prefix: str) -> Path:
        return Path(self._step(super().stage, volume, prefix))

    def sync(self, stage: Path) -> None:
        self._step(super().sync, stage)

    def write(self, stage: Path, record: Any) -> None:
        self._step(super().write, stage, record)

    def publish(self, stage: Path, volume: str, name: str) -> None:
        self._step(super().publish, stage, volume, name)

    def exchange(self, volume: str, stage: Path) -> None:
        self._step(super().exchange, volume, stage)

    def retire(self, volume: str, name: str) -> Path:
        return Path(self._step(super().retire, volume, name))

    def discard(self, stage: Path) -> None:
        _dies(self.fault)
        super().discard(stage)


class World:
    """Volumes and their copies, on disk."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root / "data", root / "exec")
        self.fault = Fault()
        self.stores: Stores | None = None
        self.fresh()

    def fresh(self) -> None:
        if self.stores is not None:
            self.stores.close()
        stores = self.stores = Stores(self.layout.database, self.layout.runtime_database)
        records = StepRecords(stores.durable("volumes", VolumeRecord), self.fault)
        bus, clock = Bus(SystemClock()), SystemClock()
        self.volumes = Volumes(self.layout, records, bus, list, clock)
        storage = StepStorage(self.layout.volumes)
        storage.fault = self.fault
        self.volumes.drivers.get("", "local")._storage = storage  # type: ignore[attr-defined]
        shelf = StepShelf(self.layout.volumes)
        shelf.fault = self.fault
        nobody: Any = Nobody()
        still = Stillness(
            self.layout, self.volumes.register, self.volumes.drivers, nobody, bus, clock,
            Instants(shelf, self.volumes.drivers),
        )  # fmt: skip
        self.copies = Copies(shelf, self.volumes.register, self.volumes.drivers, still, self.volumes.replacing, 15)

    def close(self) -> None:
        assert self.stores is not None
        self.stores.close()

    def wake(self) -> None:
        self.stores = None
        self.fresh()

    async def adopted(self) -> "World":
        """What the engine's next start makes of it."""
        self.fresh()
        tasks = Tasks()
        await self.volumes.changing.adopt()
        await self.copies.adopt(tasks)
        await self.volumes.adopt()
        await tasks.settle()
        return self

    async def volume(self, text: str = "old", name: str = "data") -> None:
        await self.volumes.create(name, labels=LABELS)
        (self.data(name) / "file").write_text(text)

    def data(self, name: str = "data") -> Path:
        return self.layout.volumes / name / "_data"

    @property
    def whole(self) -> dict[str, str]:
        """Every volume and snapshot with its content; there is nothing else on the disk."""
        found = {}
        there = set(os.listdir(self.layout.volumes))
        assert there == set(self.volumes.register.records.keys())
        for record in self.volumes.register.records.all():
            assert record.labels == LABELS
            assert not record.moved_from
            found[record.name] = (self.data(record.name) / "file").read_text()
            place = self.layout.volumes / record.name / "snapshots"
            names = self.copies.shelf.names(record.name)
            assert set(os.listdir(place) if place.exists() else ()) == set(names)
            for snapshot in self.copies.shelf.all(record.name):
                name = "before" if snapshot.automatic else snapshot.name
                found[f"{record.name}@{name}"] = (
                    self.copies.shelf.snapshot(record.name, snapshot.name) / "file"
                ).read_text()
        return found


Change = Callable[[World], Awaitable[object]]


async def clone(world: World) -> None:
    await world.copies.clone("data", "other")


async def take(world: World) -> None:
    await world.copies.take("data", "snap")


async def roll_back(world: World) -> None:
    await world.copies.rollback("data@snap")


async def roll_back_for_good(world: World) -> None:
    await world.copies.rollback("data@snap", keep=False)


async def drop(world: World) -> None:
    await world.copies.remove("data@snap")


BEFORE = {"data": "new", "data@snap": "old"}
#: change → (what there is before, what there is after, the fewest steps)
CHANGES: dict[str, tuple[Change, dict[str, str], dict[str, str], int]] = {
    "clone": (clone, {"data": "old"}, {"data": "old", "other": "old"}, 5),
    "take": (take, {"data": "old"}, {"data": "old", "data@snap": "old"}, 4),
    "rollback": (roll_back, BEFORE, {"data": "old", "data@snap": "old", "data@before": "new"}, 5),
    "rollback for good": (roll_back_for_good, BEFORE, {"data": "old", "data@snap": "old"}, 4),
    "rm": (drop, BEFORE, {"data": "new"}, 1),
}


async def prepared(world: World, before: dict[str, str]) -> World:
    """Have what a change starts from, whatever there was."""
    for name in list(world.volumes.register.records.keys()):
        await world.volumes.remove(name, force=True)
    await world.volume("old")
    if "data@snap" in before:
        await world.copies.take("data", "snap")
        (world.data() / "file").write_text("new")
    assert world.whole == before
    return world


@pytest.mark.parametrize("what", CHANGES)
@awaited
async def test_a_step_that_fails_leaves_everything_as_it_was(what: str, tmp_path: Path) -> None:
    change, before, after, least = CHANGES[what]
    world = await prepared(World(tmp_path), before)
    steps = 0
    async for _ in failing(world.fault, lambda: change(world)):
        steps += 1
        if (now := world.whole if not _rolling(world) else after) != before:
            # The last step of a rollback: it is done, and the state before is kept without its name until a start.
            assert what == "rollback"
            assert (await world.adopted()).whole == after == now
            await prepared(world, before)
    assert steps >= least
    assert world.whole == after


def _rolling(world: World) -> bool:
    return any(world.layout.volumes.glob("*/snapshots/.rolling-*"))


@pytest.mark.parametrize("what", CHANGES)
@awaited
async def test_killed_at_any_step_there_is_the_old_or_the_new(what: str, tmp_path: Path) -> None:
    change, before, after, least = CHANGES[what]
    world = await prepared(World(tmp_path), before)
    kills, seen = 0, set()
    async for _, alive in killing(world, change, world.adopted):
        kills += 1
        assert alive.whole in (before, after), what
        seen.add(alive.whole == after)
        await prepared(alive, before)
    assert kills > least
    assert seen == {True, False}  # some kills came before it, some after
    world.fresh()
    assert world.whole == after


def test_a_full_disk_at_any_moment_changes_nothing(tmp_path: Path) -> None:
    with filesystems.mounted("ext4", tmp_path, size_mib=24) as small, world_on(small) as world:
        asyncio.run(_on_a_full_disk(world))


async def _on_a_full_disk(world: World) -> None:
    await world.volume("old")
    (world.data() / "large").write_bytes(b"x" * (4 << 20))
    await world.copies.take("data", "snap")
    (world.data() / "file").write_text("new")
    before = world.whole
    filler = world.layout.data_root / "filler"
    for left in (8, 3, 1, 0):  # MiB: the copy fits; its end does not; nothing fits
        filler.unlink(missing_ok=True)
        free = os.statvfs(world.layout.data_root)
        with contextlib.suppress(OSError):  # it takes some blocks to say where the others are
            filler.write_bytes(b"x" * max(0, free.f_bfree * free.f_frsize - (left << 20)))
        for change in (clone, roll_back, lambda world: world.copies.take("data", "second")):
            try:
                await change(world)
            except EngineError as exc:
                assert "No space left on device" in str(exc) or "full" in str(exc), exc  # noqa: PT017
                assert world.whole == before
            else:
                assert left == 8
                filler.unlink(missing_ok=True)
                await prepared_again(world)
    filler.unlink()
    await clone(world)


async def prepared_again(world: World) -> None:
    for reference in [f"{name}@{one.name}" for name, one in await world.copies.all() if one.name != "snap"]:
        await world.copies.remove(reference)
    if world.volumes.register.find("other"):
        await world.volumes.remove("other", force=True)
    (world.data() / "file").write_text("new")


@awaited
async def test_a_volume_that_hangs_ends_its_clone_in_time(tmp_path: Path) -> None:
    if missing := hangs.is_missing():
        pytest.fail(missing)
    with hangs.hangable(tmp_path) as served:
        (served.source / "file").write_text("x")
        world = World(tmp_path / "world")
        options = {"type": "none", "o": "bind", "device": str(served.at)}
        await world.volumes.create("far", driver_opts=options, labels=LABELS)
        record = world.volumes.get("far")
        await world.volumes.drivers.of(record).hold(record, "test")
        world.copies._stall_limit_s = 2
        served.hang()
        try:
            with pytest.raises(EngineError, match="nothing could be copied for 2 s; is a server it is on reachable"):
                await world.copies.clone("far", "near")
        finally:
            served.go_on()
            await world.volumes.drivers.of(record).let_go(record, "test")
        assert not list(world.layout.volumes.glob(".*"))
        await world.copies.clone("far", "near")
        assert world.data("near").joinpath("file").read_text() == "x"
        assert world.volumes.get("near").options == {}


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if missing := filesystems.is_missing(request.param):
        pytest.fail(missing)
    with filesystems.mounted(request.param, tmp_path_factory.mktemp("copies")) as at:
        yield at


HOW = {"ext4": "copy", "xfs": "reflinks", "btrfs": "btrfs snapshot"}


@contextlib.contextmanager
def world_on(disk: Path) -> Iterator[World]:
    """Lend a world that is gone afterwards."""
    world = World(disk / "world")
    try:
        yield world
    finally:
        world.close()
        remove_tree(disk / "world")


async def _round(world: World, nodes: tuple[Node, ...]) -> str:
    """Plant, clone, snapshot, spoil, roll back; everything must be as before. Return how it was copied."""
    await world.volumes.create("data", labels=LABELS)
    plant(world.data(), nodes)
    before = look(world.data())
    _, copy = await world.copies.clone("data", "other")
    assert difference(before, look(world.data("other"))) == []
    await world.copies.take("data", "snap")
    assert difference(before, look(world.copies.shelf.snapshot("data", "snap"))) == []
    for entry in list(world.data().iterdir()):
        remove_tree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (world.data() / "spoilt").write_text("x")
    os.chmod(world.data(), 0o700)
    spoilt = look(world.data())
    kept = await world.copies.rollback("data@snap")
    assert kept is not None
    assert difference(before, look(world.data())) == []
    await world.copies.rollback(f"data@{kept.name}")
    assert difference(spoilt, look(world.data())) == []
    for name in ("data", "other"):
        await world.volumes.remove(name, force=True)
    return copy.how


@awaited
async def test_clones_and_rollbacks_have_everything(disk: Path) -> None:
    with world_on(disk) as world:
        assert await _round(world, rich()) == HOW[disk.name]
        assert os.listdir(world.layout.volumes) == []


@awaited
async def test_volumes_on_btrfs_are_subvolumes(disk: Path) -> None:
    with world_on(disk) as world:
        await world.volumes.create("data")
        assert btrfs.is_subvolume(str(world.data())) == (disk.name == "btrfs")
        assert world.data().stat().st_mode & 0o7777 == 0o755
        await world.volumes.remove("data", force=False)
        assert not world.data().exists()


@settings(deadline=None, max_examples=3, suppress_health_check=list(HealthCheck))
@given(nodes=trees())
def test_any_tree_survives_clones_and_rollbacks(disk: Path, nodes: tuple[Node, ...]) -> None:
    with world_on(disk) as world:
        asyncio.run(_round(world, nodes))


@awaited
async def test_copies_of_one_instant_are_made_where_blocks_can_be_shared(disk: Path) -> None:
    with world_on(disk) as world:
        await world.volumes.create("data", labels=LABELS)
        plant(world.data(), rich())
        before = look(world.data())
        instants = Instants(world.copies.shelf, world.volumes.drivers)
        point = await instants.take(world.volumes.get("data"))
        if disk.name == "ext4":
            assert point is None
        else:
            assert point is not None
            assert point.how == HOW[disk.name]
            (world.data() / "plain").write_text("changed meanwhile")
            assert difference(before, look(point.path)) == []
            await instants.drop(point)
        assert os.listdir(world.layout.volumes / "data/snapshots") == []
        await world.volumes.remove("data", force=True)
