"""Volumes as users meet them: made, kept while used, removed without a trace. On a temporary directory."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import Conflict, EngineError, InvalidArgument, NotFound
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.store.base import First
from berth.store.memory import MemoryRecords
from berth.volumes.drivers.local_storage import LocalStorage
from berth.volumes.errors import PruneRunning
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, to_wire
from berth.volumes.service import Volumes
from berth.wire.filters import Filters
from berth.wire.volumes import Mount


@dataclass
class Wishes:
    binds: Sequence[str] | None = None
    mounts: Sequence[Mount] | None = None
    tmpfs: dict[str, str] | None = None
    volume_driver: str | None = None


@dataclass
class World:
    root: Path
    containers: dict[str, tuple[MountPoint, ...]] = field(default_factory=dict)
    records: MemoryRecords[VolumeRecord] = field(default_factory=MemoryRecords)
    bus: Bus = field(default_factory=lambda: Bus(SystemClock()))

    def __post_init__(self) -> None:
        self.layout = Layout(self.root / "data", self.root / "exec")
        self.volumes = Volumes(self.layout, self.records, self.bus, lambda: list(self.containers.items()))

    @property
    def on_disk(self) -> list[str]:
        return sorted(os.listdir(self.layout.volumes)) if self.layout.volumes.exists() else []

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(event.action, event.actor_id) for event in self.bus.past(0)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_create_inspect_remove(world: World) -> None:
    async def work() -> None:
        made = await world.volumes.create("my_volume", labels={"a": "b"}, driver_opts={})
        shown = world.volumes.inspect(made)
        data = Path(str(shown["Mountpoint"]))
        assert shown["Driver"] == "local"
        assert shown["Labels"] == {"a": "b"}
        assert shown["Options"] == {}
        assert shown["Scope"] == "local"
        assert data == world.layout.volumes / "my_volume" / "_data"
        assert data.stat().st_mode & 0o7777 == 0o755
        assert data.parent.stat().st_mode & 0o7777 == 0o701
        assert await world.volumes.create("my_volume", driver_opts={"type": "tmpfs", "device": "x"}) == made
        (data / "file").write_text("x")
        await world.volumes.remove("my_volume", force=False)
        assert world.on_disk == []
        assert world.records.all() == []
        assert world.events == [("create", "my_volume"), ("destroy", "my_volume")]

    run(work)


def test_nameless_ones_get_a_name_and_a_label(world: World) -> None:
    async def work() -> None:
        made = await world.volumes.create("")
        assert len(made.name) == 64
        assert made.labels == {"com.docker.volume.anonymous": ""}

    run(work)


@pytest.mark.parametrize("name", ["x", "x/y", "../../etc", "a\0b"])
def test_bad_names_leave_nothing(world: World, name: str) -> None:
    async def work() -> None:
        with pytest.raises(InvalidArgument):
            await world.volumes.create(name)
        assert world.on_disk == []

    run(work)


def test_words_for_what_is_missing(world: World) -> None:
    async def work() -> None:
        with pytest.raises(NotFound, match=r'create vv: error looking up volume plugin nope: plugin "nope" not found'):
            await world.volumes.create("vv", "nope")
        with pytest.raises(NotFound, match=r"\Aget nosuch: no such volume\Z"):
            await world.volumes.remove("nosuch", force=False)
        await world.volumes.remove("nosuch", force=True)
        with pytest.raises(NotFound):
            world.volumes.get("../../etc")

    run(work)


def test_one_in_use_stays(world: World) -> None:
    async def work() -> None:
        points = await world.volumes.mounting.resolve("c" * 64, Wishes(binds=["vv:/x"]), (), ())
        with pytest.raises(Conflict, match=rf"remove vv: volume is in use - \[{'c' * 64}\]"):
            await world.volumes.remove("vv", force=True)  # not yet listed by users, and yet used
        world.containers["c" * 64] = points
        with pytest.raises(Conflict, match="volume is in use"):
            await world.volumes.remove("vv", force=False)
        assert await world.volumes.prune(Filters({"all": ("1",)})) == ((), 0)
        del world.containers["c" * 64]
        await world.volumes.mounting.release("c" * 64, points, remove_anonymous=True)
        assert "vv" in world.on_disk
        await world.volumes.remove("vv", force=False)

    run(work)


def test_anonymous_ones_go_with_their_last_container(world: World) -> None:
    async def work() -> None:
        points = await world.volumes.mounting.resolve(
            "c1", Wishes(mounts=[Mount(type="volume", target="/m")]), {"/v"}, ()
        )
        assert len(world.on_disk) == 2
        assert [entry["Destination"] for entry in to_wire(points)] == ["/m", "/v"]
        world.containers["c1"] = points
        world.containers["c2"] = await world.volumes.mounting.resolve("c2", Wishes(), (), points)
        del world.containers["c1"]
        await world.volumes.mounting.release("c1", points, remove_anonymous=True)
        assert len(world.on_disk) == 2
        await world.volumes.mounting.release("c2", world.containers["c2"], remove_anonymous=True)
        assert world.on_disk == []

    run(work)


def test_a_container_goes_though_its_anonymous_volume_cannot(world: World) -> None:
    async def work() -> None:
        points = await world.volumes.mounting.resolve("c1", Wishes(), {"/v", "/w"}, ())
        kept, busy = (point.name for point in points)
        (world.layout.volumes / kept / "snapshots/first").mkdir(parents=True)
        with world.volumes.register.occupy(busy, "backup"):
            await world.volumes.mounting.release("c1", points, remove_anonymous=True)
        assert world.on_disk == sorted((kept, busy))
        with pytest.raises(Conflict, match=r"1 snapshots \(first\) that would be deleted for good"):
            await world.volumes.remove(kept, force=False)
        await world.volumes.remove(kept, force=True)
        await world.volumes.remove(busy, force=False)
        assert world.on_disk == []

    run(work)


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(binds=["good:/a", "x:/b"]),
        Wishes(binds=["good:/a", "b/d:/b"]),
        Wishes(binds=["good:/a", "bad:/a"]),
        Wishes(binds=["good:/a"], mounts=[Mount(type="bind", source="/no/such/path", target="/b")]),
        Wishes(binds=["good:/a"], tmpfs={"rel": ""}),
        Wishes(binds=["good:/a"], volume_driver="nope"),
    ],
)
def test_a_refused_container_leaves_nothing(world: World, wishes: Wishes) -> None:
    async def work() -> None:
        with pytest.raises(EngineError):
            await world.volumes.mounting.resolve("c1", wishes, {"/anon"}, ())
        assert world.on_disk == []
        assert world.records.all() == []

    run(work)


def test_volumes_that_cannot_be_recorded_leave_nothing(world: World) -> None:
    class Full(MemoryRecords[VolumeRecord]):
        async def put(self, key: str, record: VolumeRecord, *, first: First | None = None) -> None:
            if key != "second":
                await super().put(key, record, first=first)
                return
            if first is not None:
                first()
            raise OSError(28, "no space")

    world.records = Full()
    world.__post_init__()

    async def work() -> None:
        with pytest.raises(OSError, match="no space"):
            await world.volumes.mounting.resolve("c1", Wishes(binds=["first:/a", "second:/b"]), (), ())
        assert world.on_disk == []
        assert world.records.all() == []

    run(work)


def test_twenty_at_once_make_one(world: World) -> None:
    async def work() -> None:
        made = await asyncio.gather(*(world.volumes.create("same") for _ in range(20)))
        assert len(set(map(id, made))) == 1
        assert world.events == [("create", "same")]

    run(work)


def test_filters(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("alpha", labels={"k": "v"})
        await world.volumes.create("beta")
        world.containers["c1"] = await world.volumes.mounting.resolve("c1", Wishes(binds=["beta:/x"]), (), ())

        def names(**terms: str) -> list[str]:
            return [one.name for one in world.volumes.list(Filters({key: (val,) for key, val in terms.items()}))]

        assert names() == ["alpha", "beta"]
        assert names(name="lph") == ["alpha"]
        assert names(label="k=v") == ["alpha"]
        assert names(label="k=w") == []
        assert names(driver="local") == ["alpha", "beta"]
        assert names(driver="nfs") == []
        assert names(dangling="true") == ["alpha"]
        assert names(dangling="0") == ["beta"]
        for bad in ({"bad": "x"}, {"dangling": "maybe"}):
            with pytest.raises(InvalidArgument, match="invalid filter"):
                names(**bad)

    run(work)


def test_prune_spares_names_labels_and_mounts(world: World) -> None:
    async def work() -> None:
        anonymous = await world.volumes.create("")
        (world.layout.volumes / anonymous.name / "_data" / "f").write_bytes(b"x" * 10)
        await world.volumes.create("named")
        await world.volumes.create("kept", labels={"keep": "1"})
        await world.volumes.create("special", driver_opts={"type": "tmpfs", "device": "tmpfs"})
        assert await world.volumes.prune(Filters()) == ((anonymous.name,), 10)
        assert await world.volumes.prune(Filters({"all": ("true",), "label!": ("keep",)})) == (("named",), 0)
        assert world.on_disk == ["kept", "special"]
        with pytest.raises(InvalidArgument):
            await world.volumes.prune(Filters({"until": ("1h",)}))
        outcomes = await asyncio.gather(
            *(world.volumes.prune(Filters({"all": ("1",)})) for _ in range(2)), return_exceptions=True
        )
        assert sum(isinstance(one, PruneRunning) for one in outcomes) == 1

    run(work)


def test_usage(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("vv")
        data = world.layout.volumes / "vv" / "_data"
        (data / "a").write_bytes(b"x" * 100)
        os.link(data / "a", data / "b")
        await world.volumes.create("far", driver_opts={"type": "nfs", "o": "addr=h", "device": ":/x"})
        assert [(one["Name"], one["UsageData"]) for one in await world.volumes.usage()] == [
            ("far", {"RefCount": 0, "Size": -1}),
            ("vv", {"RefCount": 0, "Size": 100}),
        ]

    run(work)


def test_a_start_settles_what_a_crash_left(world: World) -> None:
    async def work() -> None:
        for name in ("fine", "half-removed", "lost"):
            await world.volumes.create(name)
        root = world.layout.volumes
        (root / "half-removed").rename(root / ".removing-half-removed")
        (root / ".removing-half-removed" / "_data" / "f").write_text("x")
        (root / "lost" / "_data").rmdir()
        (root / "lost").rmdir()
        (root / "half-made" / "_data").mkdir(parents=True)
        (root / "orphan" / "_data").mkdir(parents=True)
        (root / "orphan" / "_data" / "precious").write_text("x")
        await world.volumes.adopt()
        assert world.on_disk == ["fine", "lost", "orphan"]
        assert sorted(one.name for one in world.volumes.list(Filters())) == ["fine", "lost", "orphan"]
        assert (root / "orphan" / "_data" / "precious").read_text() == "x"

    run(work)


def test_the_longest_name_goes_for_good_also_after_a_crash(world: World) -> None:
    async def work() -> None:
        world.volumes.trash.keep_ns = 0
        name = "n" * 255
        await world.volumes.create(name)
        await world.volumes.remove(name, force=False)
        assert world.on_disk == []
        storage = LocalStorage(world.layout.volumes)
        for recorded in (True, False):  # killed before its record went, and after
            await world.volumes.create(name)
            (world.layout.volumes / name / "_data/file").write_text("x")
            record = world.volumes.get(name)
            storage.set_aside(name)
            if not recorded:
                await world.volumes.register.records.drop(name)
            await world.volumes.adopt()
            assert world.on_disk == []
            assert world.volumes.list(Filters()) == []
        await world.volumes.create(name)
        storage.set_aside(name)
        storage.put_back(name)
        assert world.on_disk == [record.name]

    run(work)
