"""Volumes made, removed, had back and renamed by an engine that fails, or dies, at every step of it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from berth.base.clock import SystemClock
from berth.base.errors import Conflict, InvalidArgument, NotFound
from berth.base.ownership import NOBODY_SAID, Owner
from berth.base.paths import Layout
from berth.containers.model import ContainerRecord
from berth.containers.service import Containers
from berth.events.bus import Bus
from berth.kernel import measure, mountinfo
from berth.kernel.mount import mount, unmount
from berth.store.base import First, Records
from berth.store.sqlite import Stores
from berth.volumes.drivers.local_storage import LocalStorage
from berth.volumes.errors import VolumeMounted
from berth.volumes.model import TrashRecord, VolumeRecord
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.service import Volumes
from berth.volumes.trash import Kept
from berth.wire.containers import ContainerConfig, HostConfig
from tests.support.faults import Fault, failing, killing

pytestmark = pytest.mark.root

R = TypeVar("R")
HOUR_NS = 3600 * 10**9
LABELS = {"a": "b"}


def _fails(fault: Fault) -> None:
    if not fault.kills:
        fault.before()


def _dies(fault: Fault) -> None:
    if fault.kills:
        fault.before()
        fault.after()


class StepRecords(Generic[R]):
    """Real records on disk; a step is a write, or what is done with it."""

    def __init__(self, records: Records[R], fault: Fault) -> None:
        self.real, self._fault = records, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        await self._write(self.real.put(key, record, first=first))

    async def drop(self, key: str, *, first: First | None = None) -> None:
        await self._write(self.real.drop(key, first=first))

    async def move(self, key: str, to: Any, new_key: str, record: Any, **beside: Any) -> None:
        await self._write(self.real.move(key, to.real, new_key, record, **beside))

    async def _write(self, work: Any) -> None:
        try:
            _fails(self._fault)
        except BaseException:
            work.close()
            raise
        await work
        _dies(self._fault)


class StepStorage(LocalStorage):
    """The real directories; a step is one call that changes them."""

    fault: Fault

    def _step(self, work: Callable[..., Any], *args: Any) -> Any:
        _fails(self.fault)
        _dies(self.fault)  # between a write and this
        done = work(*args)
        _dies(self.fault)
        return done

    def make(self, name: str, owner: Owner = NOBODY_SAID) -> None:
        self._step(super().make, name, owner)

    def set_aside(self, name: str) -> None:
        self._step(super().set_aside, name)

    def put_back(self, name: str) -> None:
        super().put_back(name)

    def move(self, source: str, target: str) -> bool:
        return bool(self._step(super().move, source, target))

    def bury(self, entry: str) -> None:
        self._step(super().bury, entry)


class World:
    """Volumes and the records of containers, on disk."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root / "data", root / "exec")
        self.fault = Fault()
        self.stores: Stores | None = None
        self.fresh()

    def fresh(self) -> None:
        if self.stores is not None:
            self.stores.close()
        stores = self.stores = Stores(self.layout.database, self.layout.runtime_database)
        volumes = StepRecords(stores.durable("volumes", VolumeRecord), self.fault)
        trash = StepRecords(stores.durable("volume_trash", TrashRecord), self.fault)
        containers = StepRecords(stores.durable("containers", ContainerRecord), self.fault)
        nothing: Any = None
        clock, bus = SystemClock(), Bus(SystemClock())
        self.containers = Containers(
            layout=self.layout, records=containers, runtime_records=stores.runtime("containers", ContainerRecord),
            images=nothing, networks=nothing, volumes=nothing, live=nothing, bus=bus, clock=clock, tasks=nothing,
        )  # fmt: skip
        self.volumes = Volumes(
            self.layout, volumes, bus, self.containers.mounts_in_use, clock, states=self.containers.states,
            kept=Kept(trash, HOUR_NS),
        )  # fmt: skip
        self.volumes.changing.tie(self.containers)
        storage = StepStorage(self.layout.volumes)
        storage.fault = self.fault
        self.volumes.drivers.get("", "local")._storage = storage  # type: ignore[attr-defined]

    def wake(self) -> None:
        self.stores = None  # the other process's: its thread is not here
        self.fresh()

    async def adopted(self) -> "World":
        """What the engine's next start makes of it."""
        self.fresh()
        await self.volumes.changing.adopt()
        await self.volumes.adopt()
        return self

    async def volume(self, name: str = "data") -> None:
        """Make a volume with something in it, whatever became of the one before."""
        await self.volumes.create(name, labels=LABELS)
        (self.layout.volumes / name / "_data/precious").write_text("precious")

    async def use(self, name: str) -> None:
        point = MountPoint(
            type=MountType.VOLUME, name=name, target="/d", source=str(self.layout.volumes / name / "_data")
        )
        record = ContainerRecord(
            id="c" * 64, name="user", created_ns=1, image_id="", image_ref="", config=ContainerConfig(),
            host_config=HostConfig(binds=[f"{name}:/d"]), mounts=(point,),
        )  # fmt: skip
        await self.containers._register.put(record)

    @property
    def live(self) -> dict[str, str]:
        """Every volume with its content; each is whole."""
        found = {}
        for record in self.volumes.register.records.all():
            assert record.labels == LABELS, "no half volume"
            assert not record.moved_from
            data = self.layout.volumes / record.name / "_data"
            found[record.name] = "".join(path.read_text() for path in data.iterdir())
        return found

    @property
    def trashed(self) -> list[tuple[str, str]]:
        found = []
        for entry in self.volumes.trash.all():
            assert entry.volume.labels == LABELS
            data = self.layout.volumes / entry.entry / "_data"
            found.append((entry.volume.name, "".join(path.read_text() for path in data.iterdir())))
        return found

    @property
    def whole(self) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Volumes and trash; there is nothing else on the disk, and containers agree."""
        live, trashed = self.live, self.trashed
        known = {*live, *(entry.entry for entry in self.volumes.trash.all())}
        there = os.listdir(self.layout.volumes) if self.layout.volumes.exists() else []
        assert set(there) == known
        for record in self.containers.all():
            (point,) = record.mounts
            assert point.name in live
            assert point.source == str(self.layout.volumes / point.name / "_data")
            assert record.host_config.binds == [f"{point.name}:/d"]
        return live, trashed


Change = Callable[[World], Awaitable[object]]
ONE = ({"data": "precious"}, [])
AWAY = ({}, [("data", "precious")])
NOTHING: tuple[dict[str, str], list[tuple[str, str]]] = ({}, [])


def remove(world: World) -> Awaitable[object]:
    return world.volumes.remove("data", force=False)


def remove_at_once(world: World) -> Awaitable[object]:
    world.volumes.trash.keep_ns = 0
    return remove(world)


def rename(world: World) -> Awaitable[object]:
    return world.volumes.changing.rename("data", "other")


def restore(world: World) -> Awaitable[object]:
    return world.volumes.trash.restore("data", "other")


def delete(world: World) -> Awaitable[object]:
    return world.volumes.trash.remove("data")


async def _volume(world: World) -> None:
    await world.volume()


async def _used(world: World) -> None:
    await world.volume()
    await world.use("data")


async def _removed(world: World) -> None:
    await world.volume()
    await remove(world)


BACK = ({"other": "precious"}, [])

#: What is there before, what is done, what there is before and after it, how often it can fail and be killed.
STORIES = {
    "remove": (_volume, remove, ONE, AWAY, (2, 3)),
    "remove at once": (_volume, remove_at_once, ONE, NOTHING, (4, 7)),
    "rename": (_volume, rename, ONE, BACK, (3, 4)),
    "rename a used one": (_used, rename, ONE, BACK, (4, 5)),
    "restore": (_removed, restore, AWAY, BACK, (3, 4)),
    "delete for good": (_removed, delete, AWAY, NOTHING, (2, 3)),
}


@pytest.fixture(params=STORIES)
def story(request: pytest.FixtureRequest) -> tuple[Callable[[World], Awaitable[None]], Change, Any, Any, Any]:
    return STORIES[request.param]


def test_a_step_that_fails_leaves_all_as_it_was_or_all_done(tmp_path: Path, story: Any) -> None:
    before, change, was, becomes, steps = story

    async def work() -> None:
        world = World(tmp_path)
        await before(world)
        done = 0
        async for done in failing(world.fault, lambda: change(world)):
            await world.adopted()
            assert world.whole in (was, becomes), done
            if world.whole == becomes:  # a step after the point of no return: the rest is done at the next start
                await _clear(world)
                await before(world)
        assert done == steps[0]
        await world.adopted()
        assert world.whole == becomes

    asyncio.run(work())


async def _clear(world: World) -> None:
    for record in world.containers.all():
        await world.containers._register.drop(record)
    for name in list(world.live):
        await world.volumes.remove(name, force=True)
    await world.volumes.trash.empty()


@pytest.mark.parametrize("twice", [False, True], ids=["", "and again at the next start"])
def test_a_killed_engine_leaves_all_as_it_was_or_all_done(tmp_path: Path, story: Any, twice: bool) -> None:
    before, change, was, becomes, steps = story

    async def work() -> None:
        world = World(tmp_path)
        await before(world)
        seen, died = set(), 0

        async def restart() -> World:
            if not twice:
                return await world.adopted()
            # Each step of the next start is the last one of that engine, until one comes up.
            async for _, _ in killing(world, World.adopted, _self(world)):
                pass
            return await world.adopted()

        async for died, _ in killing(world, change, restart):
            assert world.whole in (was, becomes), died
            seen.add(world.whole == becomes)
            if world.whole == becomes:
                await _clear(world)
                await before(world)
        assert died == steps[1]
        assert True in seen or change is restore, "some deaths come after the point of no return"
        await world.adopted()
        assert world.whole == becomes

    asyncio.run(work())


def _self(world: World) -> Callable[[], Awaitable[World]]:
    async def same() -> World:
        world.fault.arm(0)
        return world

    return same


def test_a_killed_creation_leaves_a_volume_or_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        world, at = World(tmp_path), 0
        async for at, _ in killing(world, lambda world: world.volumes.create("data", labels=LABELS), world.adopted):
            assert world.whole in (({"data": ""}, []), NOTHING), at
            await _clear(world)
        assert at == 3

    asyncio.run(work())


def test_a_new_volume_of_a_removed_ones_name_is_empty_and_both_can_be_had(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        await world.volume()
        await remove(world)
        await world.volumes.create("data", labels=LABELS)
        assert world.whole == ({"data": ""}, [("data", "precious")])
        with pytest.raises(Conflict, match=r"restore data: conflict: a volume named data exists"):
            await world.volumes.trash.restore("data")
        await restore(world)
        assert world.whole == ({"data": "", "other": "precious"}, [])
        with pytest.raises(NotFound, match="no such volume in the trash"):
            await restore(world)

    asyncio.run(work())


def test_the_trash_is_emptied_by_time_and_by_need(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        trash = world.volumes.trash
        for name in ("first", "second", "third"):
            await world.volume(name)
            await world.volumes.remove(name, force=False)
        await trash.sweep()
        assert len(trash.all()) == 3
        first = trash.all()[0]
        old = msgspec.structs.replace(first, removed_ns=first.removed_ns - 2 * HOUR_NS)
        await trash._records.put(first.id, old)
        await trash.sweep()
        assert [entry.volume.name for entry in trash.all()] == ["second", "third"]
        # A disk of 100 GiB that is low until one more volume has gone.
        trash._free = lambda _: ((4 if len(trash.all()) == 2 else 6) * 1024**3, 100 * 1024**3)
        await trash.sweep()
        assert [entry.volume.name for entry in trash.all()] == ["third"]
        assert set(os.listdir(world.layout.volumes)) == {trash.all()[0].entry}
        past = world.volumes.register._bus.past(0)
        told = [(one.action, one.actor_id, one.attributes.get("reason", "")) for one in past]
        gone = [one for one in told if one[0] == "discard"]
        assert [one[1] for one in gone] == ["first", "second"]
        assert "time in the trash is over" in gone[0][2]
        assert "runs low: 4096 MiB of it are free" in gone[1][2]

    asyncio.run(work())


def test_a_clock_that_is_set_shortens_no_stay_in_the_trash_and_lengthens_none(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        trash, clock = world.volumes.trash, _Set()
        world.volumes.register.clock = clock
        trash._uptime_ns = lambda: clock.up_ns
        await world.volume()
        await world.volumes.remove("data", force=False)
        await trash.follow_clock()
        for years in (56, -30):
            clock.set_ns += years * 365 * 24 * HOUR_NS
            clock.up_ns += HOUR_NS // 4
            await trash.follow_clock()
            await trash.sweep()
            assert [entry.volume.name for entry in trash.all()] == ["data"]
        clock.up_ns += HOUR_NS // 2 + 1  # an hour in all
        await trash.follow_clock()
        await trash.sweep()
        assert trash.all() == []

    asyncio.run(work())


class _Set(SystemClock):
    """A clock that somebody sets, and the time that passes."""

    set_ns, up_ns = 24 * HOUR_NS, 0

    def now_ns(self) -> int:
        return self.set_ns + self.up_ns


def test_a_volume_called_like_something_in_the_trash_does_not_go_in_its_stead(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        trash = world.volumes.trash
        await world.volume("first")
        await world.volumes.remove("first", force=False)
        (first,) = trash.all()
        await world.volume(first.id)
        await world.volumes.remove(first.id, force=False)
        await trash._records.put(first.id, msgspec.structs.replace(first, removed_ns=first.removed_ns - 2 * HOUR_NS))
        await trash.sweep()
        assert [entry.volume.name for entry in trash.all()] == [first.id]
        assert (await trash.restore(first.id)).name == first.id, "whoever asks by name gets what has the name"
        assert world.whole == ({first.id: "precious"}, [])

    asyncio.run(work())


def test_trash_without_a_record_is_not_thrown_away(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        lost = world.layout.volumes / ".trash-0123456789ab/_data"
        lost.mkdir(parents=True)
        (lost / "precious").write_text("precious")
        await world.adopted()
        assert [one.volume.name for one in world.volumes.trash.all()] == ["recovered-0123456789ab"]
        await world.volumes.trash.restore("0123", "back")
        assert (world.layout.volumes / "back/_data/precious").read_text() == "precious"

    asyncio.run(work())


def test_a_volume_that_is_being_given_to_a_container_is_not_renamed(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        await world.volume()
        point = MountPoint(type=MountType.VOLUME, name="data", target="/d")
        world.volumes.register.pending["d" * 64] = (point,)
        with pytest.raises(Conflict, match=r"rename data: container dddddddddddd is being created with it"):
            await rename(world)
        del world.volumes.register.pending["d" * 64]
        with world.volumes.register.occupy("data", "backup"), pytest.raises(Conflict, match="running backup"):
            await rename(world)
        await world.volume("other")
        with pytest.raises(Conflict, match="a volume named other exists"):
            await rename(world)
        with pytest.raises(InvalidArgument, match="the same name as its current name: data"):
            await world.volumes.changing.rename("data", "data")

    asyncio.run(work())


def test_protection_and_labels_of_a_used_volume(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        await _used(world)
        changing = world.volumes.changing
        assert (await changing.relabel("data", {"a": "c", "d": ""}, ("nosuch",))).labels == {"a": "c", "d": ""}
        assert (await changing.relabel("data", LABELS, ("d",))).labels == LABELS
        await changing.protect("data", protected=True)
        with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c{64}\]\. Used by user \(created\)"):
            await remove(world)
        (record,) = world.containers.all()
        await world.containers._register.drop(record)
        with pytest.raises(Conflict, match=r"remove data: volume is protected\. .*: berth volume unprotect data"):
            await remove(world)
        world.fresh()
        with pytest.raises(Conflict, match="volume is protected"):
            await remove(world)
        await world.volumes.changing.protect("data", protected=False)
        await remove(world)
        assert world.whole == AWAY

    asyncio.run(work())


def test_a_volume_with_something_mounted_in_it_stays(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        for name in ("one", "data", "last"):
            await world.volumes.create(name, labels=LABELS)
        await world.volumes.remove("one", force=False)  # after a look: nothing is mounted
        at = world.layout.volumes / "data/_data"
        mount("tmpfs", str(at), "tmpfs", 0, "")
        try:
            with pytest.raises(VolumeMounted, match=f"{at} is a mount point"):
                await remove(world)
            await world.volumes.remove("last", force=False)
            await rename(world)  # of which the kernel gives no news
            at = world.layout.volumes / "other/_data"
            with pytest.raises(VolumeMounted, match=f"{at} is a mount point"):
                await world.volumes.remove("other", force=False)
        finally:
            unmount(str(at), 0)
        await world.volumes.remove("other", force=False)
        assert world.live == {}

    asyncio.run(work())


def test_every_process_hears_of_a_mount(tmp_path: Path) -> None:
    before = mountinfo.changes()
    assert mountinfo.changes() == before
    mount("tmpfs", str(tmp_path), "tmpfs", 0, "")
    try:
        child = os.fork()
        if child == 0:
            mountinfo.changes()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        mounted = mountinfo.changes()
        assert mounted != before
        assert mountinfo.changes() == mounted
    finally:
        unmount(str(tmp_path), 0)
    assert mountinfo.changes() not in (before, mounted)


def test_a_tree_is_measured_as_it_lies_and_nothing_else(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "deep/er").mkdir(parents=True)
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 100_000)
    (tree / "one").write_bytes(b"x" * 10)
    os.link(tree / "one", tree / "deep/er/twin")
    (tree / "deep/two").write_bytes(b"x" * 7)
    (tree / "out").symlink_to(outside)
    (tree / "other").mkdir()
    mount("tmpfs", str(tree / "other"), "tmpfs", 0, "")
    try:
        (tree / "other/big").write_bytes(b"x" * 50_000)

        async def work() -> list[measure.Measured]:
            return [one async for one in measure.apart([str(tree), str(tmp_path / "none"), str(outside)], 0.0)]

        found = asyncio.run(work())
    finally:
        unmount(str(tree / "other"), 0)
    link = len(str(outside))
    assert [(one.at, one.size) for one in found] == [(0, 17 + link), (1, -1), (2, 100_000)]
