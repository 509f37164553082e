"""Holding still: in which order, and that everything goes on afterwards, whatever fails and wherever it is cut off."""

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from berth.base.aio import Tasks
from berth.base.clock import SystemClock
from berth.base.errors import Conflict, EngineError, InvalidArgument, SystemFault
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.events.model import Event
from berth.store.memory import MemoryRecords
from berth.volumes.consistency.journal import Entry
from berth.volumes.consistency.model import Mode, Report, Wish, Writer
from berth.volumes.consistency.parts import Point, Points, Writers
from berth.volumes.consistency.still import Still, Stillness
from berth.volumes.errors import VolumeOccupied
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.service import Volumes


class Died(BaseException):
    """The engine is killed here."""


@dataclass
class Box:
    id: str
    labels: dict[str, str] = field(default_factory=dict)
    started_ns: int = 0
    runs: bool = True
    frozen: bool = False
    auto_remove: bool = False


class Boxes:
    """Containers in memory. `fail_at` counts the calls that change something."""

    def __init__(self, *boxes: Box) -> None:
        self.boxes = {box.id: box for box in boxes}
        self.calls: list[str] = []
        self.failing: dict[str, BaseException] = {}
        self.statuses: dict[str, int] = {}
        self.dead = False

    def _did(self, call: str) -> None:
        if self.dead:
            raise Died
        self.calls.append(call)
        if call in self.failing:
            raise self.failing[call]

    async def running(self, idents: Sequence[str]) -> tuple[Sequence[Writer], Sequence[str]]:
        return [
            Writer(id=box.id, name=box.id, labels=box.labels, started_ns=box.started_ns, auto_remove=box.auto_remove,
                   paused=box.frozen)
            for box in self.boxes.values() if box.id in idents and box.runs
        ], []  # fmt: skip

    async def freeze(self, ident: str, limit_s: float) -> None:
        self.boxes[ident].frozen = True  # a freeze that fails half-way has frozen something
        self._did(f"freeze {ident}")

    async def thaw(self, ident: str) -> None:
        self._did(f"thaw {ident}")
        self.boxes[ident].frozen = False

    async def stop(self, ident: str) -> None:
        self.boxes[ident].runs = False
        self._did(f"stop {ident}")

    async def start(self, ident: str) -> None:
        self._did(f"start {ident}")
        self.boxes[ident].runs = True

    async def run(self, ident: str, argv: Sequence[str], limit_s: float, keep: int) -> tuple[int, str]:
        self._did(f"{argv[-1]} in {ident}")
        await asyncio.sleep(0)
        return self.statuses.get(argv[-1], 0), "what it said"


class Instants:
    """Copies of one instant in memory; `able` says whether one can be made."""

    def __init__(self, *, able: bool = True) -> None:
        self.able = able
        self.there: list[str] = []

    async def take(self, record: VolumeRecord) -> Point | None:
        if not self.able:
            return None
        self.there.append(record.name)
        return Point(Path(f"/instant/{record.name}"), "reflinks")

    async def drop(self, point: Point) -> None:
        self.there.remove(point.path.name)


class World:
    def __init__(self, root: Path, *boxes: Box, points: Points | None = None, uses: str = "db") -> None:
        self.bus = Bus(SystemClock())
        self.layout = Layout(root / "data", root / "exec")
        self.boxes = Boxes(*boxes)
        mounts = (MountPoint(type=MountType.VOLUME, target="/d", name=uses),)
        self.volumes = Volumes(
            self.layout, MemoryRecords[VolumeRecord](), self.bus, lambda: [(box.id, mounts) for box in boxes]
        )
        self.volumes.register.attached |= {box.id for box in boxes}
        self.points = points
        self.stillness = self.engine()

    def engine(self) -> Stillness:
        writers: Writers = self.boxes
        return Stillness(
            self.layout, self.volumes.register, self.volumes.drivers, writers, self.bus, SystemClock(), self.points
        )

    @property
    def notes(self) -> list[str]:
        return [
            name
            for root in (self.layout.holds, self.layout.lasting_holds)
            if root.exists()
            for name in os.listdir(root)
        ]

    async def hold(self, wish: Wish | None = None, *names: str) -> Report:
        for name in names or ("db",):
            await self.volumes.create(name)
        async with self.stillness.still(names or ("db",), "backup", wish) as still:
            self.boxes.calls.append(f"read {still.path((names or ('db',))[0]).parent.name}")
        return still.report


def two(**labels: str) -> tuple[Box, Box]:
    return Box("old", labels=labels, started_ns=1), Box("new", labels=labels, started_ns=2)


async def test_pause_freezes_the_newest_first_and_thaws_it_last(tmp_path: Path) -> None:
    world = World(tmp_path, *two())
    report = await world.hold(Wish(mode=Mode.PAUSE))
    assert world.boxes.calls == ["freeze new", "freeze old", "read db", "thaw old", "thaw new"]
    assert report.crash_consistent
    assert report.how == "containers paused until all was read"
    assert report.containers == ("new", "old")
    assert report.held_ns > 0
    assert world.notes == []


async def test_stop_starts_again_only_what_ran(tmp_path: Path) -> None:
    rests = Box("rests", runs=False)
    world = World(tmp_path, *two(), rests)
    assert (await world.hold(Wish(mode=Mode.STOP))).crash_consistent
    assert world.boxes.calls == ["stop new", "stop old", "read db", "start old", "start new"]


async def test_stop_refuses_what_would_be_removed_before_anything_is_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, *two(), Box("gone", auto_remove=True))
    with pytest.raises(Conflict, match="it is removed when it stops"):
        await world.hold(Wish(mode=Mode.STOP))
    assert world.boxes.calls == []


async def test_none_touches_nobody_and_says_what_that_is_worth(tmp_path: Path) -> None:
    report = await (busy := World(tmp_path / "a", *two())).hold(Wish(mode=Mode.NONE))
    assert busy.boxes.calls == ["read db"]
    assert not report.crash_consistent
    report = await World(tmp_path / "b", Box("rests", runs=False)).hold(Wish(mode=Mode.NONE))
    assert report.crash_consistent
    assert report.how == "no running container used it"


async def test_freeze_lets_go_on_before_the_reading_when_a_copy_can_be_made(tmp_path: Path) -> None:
    points = Instants()
    world = World(tmp_path, *two(), points=points)
    report = await world.hold()
    assert world.boxes.calls == ["freeze new", "freeze old", "thaw old", "thaw new", "read instant"]
    assert "(reflinks)" in report.how
    assert report.crash_consistent
    assert points.there == []


async def test_freeze_without_copies_pauses_for_the_whole_reading_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, *two(), points=Instants(able=False))
    report = await world.hold()
    assert world.boxes.calls == ["freeze new", "freeze old", "read db", "thaw old", "thaw new"]
    assert report.how == "containers paused until all was read"


async def test_what_its_user_paused_stays_paused(tmp_path: Path) -> None:
    world = World(tmp_path, Box("asleep", frozen=True), Box("awake"))
    await world.hold(Wish(mode=Mode.PAUSE))
    assert world.boxes.calls == ["freeze awake", "read db", "thaw awake"]
    assert world.boxes.boxes["asleep"].frozen


async def test_hooks_run_around_and_the_last_one_always(tmp_path: Path) -> None:
    world = World(tmp_path, *two(**{"berth.backup.pre": "before", "berth.backup.post": "after"}))
    report = await world.hold(Wish(mode=Mode.HOOK))
    assert world.boxes.calls == ["before in new", "before in old", "read db", "after in old", "after in new"]
    assert not report.crash_consistent
    world.boxes.calls.clear()
    world.boxes.statuses = {"before": 3}
    with pytest.raises(Conflict, match="hook in container new failed: /bin/sh -c before: status 3: what it said"):
        await world.hold(Wish(mode=Mode.PAUSE))
    assert world.boxes.calls == ["before in new", "after in new"]
    assert world.notes == []


async def test_a_failing_last_hook_is_a_warning(tmp_path: Path) -> None:
    world = World(tmp_path, Box("one"))
    world.boxes.statuses = {"after": 1}
    report = await world.hold(Wish(mode=Mode.PAUSE, post="after"))
    assert report.warnings == ("hook in container one failed: /bin/sh -c after: what it said",)
    assert world.boxes.calls == ["freeze one", "read db", "thaw one", "after in one"]


async def test_hook_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="needs a command"):
        await World(tmp_path, Box("one")).hold(Wish(mode=Mode.HOOK))


@pytest.mark.parametrize("cause", [TimeoutError(), EngineError("no")])
async def test_a_container_that_cannot_be_frozen_fails_it_and_all_go_on(tmp_path: Path, cause: Exception) -> None:
    world = World(tmp_path, *two())
    world.boxes.failing = {"freeze old": cause}
    with pytest.raises(Conflict, match="container old cannot be paused"):
        await world.hold()
    assert not any(box.frozen for box in world.boxes.boxes.values())
    assert world.notes == []


@pytest.mark.parametrize("mode", [Mode.PAUSE, Mode.STOP, Mode.FREEZE, Mode.HOOK])
async def test_cancelled_while_reading_all_goes_on(tmp_path: Path, mode: Mode) -> None:
    world = World(tmp_path, *two(**{"berth.backup.post": "after"}), points=Instants())
    await world.volumes.create("db")
    reading = asyncio.Event()

    async def read() -> None:
        async with world.stillness.still(["db"], "backup", Wish(mode=mode)):
            reading.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(read())
    await reading.wait()
    with pytest.raises(VolumeOccupied):
        world.volumes.register.check_unoccupied("remove", "db")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(box.runs and not box.frozen for box in world.boxes.boxes.values())
    assert world.boxes.calls[-2:] == ["after in old", "after in new"]
    assert world.notes == []
    world.volumes.register.check_unoccupied("remove", "db")


@pytest.mark.parametrize("event", [
    Event(type="volume", action="mount", actor_id="db", attributes={"container": "late"}),
    Event(type="container", action="unpause", actor_id="old"),
])  # fmt: skip
async def test_somebody_who_sets_a_user_going_spoils_the_instant(tmp_path: Path, event: Event) -> None:
    world = World(tmp_path, *two())
    await world.volumes.create("db")
    async with world.stillness.still(["db"], "backup", Wish(mode=Mode.PAUSE)) as still:
        world.bus.publish(event)
    assert not still.report.crash_consistent
    assert "by somebody else before all was read" in still.report.warnings[0]


async def test_after_the_release_others_may_do_what_they_like(tmp_path: Path) -> None:
    world = World(tmp_path, *two())
    await world.volumes.create("db")
    async with world.stillness.still(["db"], "backup") as still:
        await still.release()
        world.bus.publish(Event(type="volume", action="mount", actor_id="db", attributes={"container": "late"}))
    assert still.report.crash_consistent
    assert world.boxes.calls.count("thaw old") == 1


async def test_several_volumes_hold_still_at_one_instant(tmp_path: Path) -> None:
    world = World(tmp_path, *two())
    await world.hold(Wish(mode=Mode.PAUSE), "db", "files")
    assert world.boxes.calls == ["freeze new", "freeze old", "read db", "thaw old", "thaw new"]


MODES = (Mode.PAUSE, Mode.STOP, Mode.FREEZE, Mode.HOOK)


@pytest.mark.parametrize(
    ("mode", "calls"),
    [
        (Mode.PAUSE, ["freeze app", "read db", "thaw app"]),
        (Mode.STOP, ["stop app", "read db", "start app"]),
        (Mode.FREEZE, ["freeze app", "read db", "thaw app"]),
    ],
)
async def test_two_operations_hold_a_container_one_after_the_other(
    tmp_path: Path, mode: Mode, calls: list[str]
) -> None:
    world = World(tmp_path, Box("app"))
    await world.volumes.create("db")

    async def one() -> Report:
        async with world.stillness.still(["db"], "backup", Wish(mode=mode)) as still:
            await asyncio.sleep(0.02)
            world.boxes.calls.append("read db")
        return still.report

    reports = await asyncio.gather(one(), one())
    assert world.boxes.calls == calls * 2
    assert [(one.containers, one.crash_consistent, one.warnings) for one in reports] == [(("app",), True, ())] * 2


async def test_an_operation_with_a_copy_of_the_instant_keeps_no_other_waiting(tmp_path: Path) -> None:
    world = World(tmp_path, Box("app"), points=Instants())
    await world.volumes.create("db")
    async with asyncio.timeout(5), world.stillness.still(["db"], "backup"), world.stillness.still(["db"], "backup"):
        assert world.boxes.calls == ["freeze app", "thaw app"] * 2


async def test_one_that_is_held_for_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("berth.volumes.consistency.still.TURN_LIMIT_S", 0.05)
    world = World(tmp_path, Box("app"))
    await world.volumes.create("db")
    async with world.stillness.still(["db"], "backup"):
        with pytest.raises(EngineError, match="another operation on a volume of it has held it still for"):
            async with world.stillness.still(["db"], "backup"):
                raise AssertionError
        assert world.boxes.boxes["app"].frozen
    assert not world.boxes.boxes["app"].frozen
    assert world.notes == []
    assert world.stillness.turns._locks == {}


@pytest.mark.parametrize("mode", MODES)
async def test_killed_at_any_step_the_next_engine_lets_all_go_on(tmp_path: Path, mode: Mode) -> None:
    labels = {"berth.backup.pre": "before", "berth.backup.post": "after"}
    seen = World(tmp_path / "whole", *two(**labels))
    await seen.hold(Wish(mode=mode))
    steps = list(seen.boxes.calls)
    assert len(steps) >= 5
    stood = 0
    for number, step in enumerate(steps):
        world = World(tmp_path / str(number), *two(**labels))
        await world.volumes.create("db")

        async def killed(world: World = world, step: str = step) -> Still | None:
            async with world.stillness.still(["db"], "backup", Wish(mode=mode)) as still:
                if step.startswith("read"):
                    world.boxes.dead = True
                    raise Died
            return still

        world.boxes.failing = {step: Died()}
        dying = _Dying(world.boxes, step)
        world.stillness.writers = dying
        with pytest.raises(Died):
            await killed()
        held = [box for box in world.boxes.boxes.values() if box.frozen or not box.runs]
        stood += bool(held or world.notes)
        world.boxes.dead = False
        world.boxes.failing = {}
        world.boxes.calls.clear()
        tasks = Tasks()
        await world.engine().recover(tasks)
        await tasks.settle()
        assert all(box.runs and not box.frozen for box in world.boxes.boxes.values()), step
        assert world.notes == [], step
    assert stood >= len(steps) - 1  # the kill did leave something to undo


class _Dying:
    """Containers of an engine that dies at one call: nothing it does after that reaches them."""

    def __init__(self, boxes: Boxes, step: str) -> None:
        self._boxes = boxes
        self._step = step

    def __getattr__(self, name: str) -> object:
        method = getattr(self._boxes, name)

        async def call(*args: object, **kwargs: object) -> object:
            if self._boxes.dead:
                raise Died
            try:
                return await method(*args, **kwargs)
            except Died:
                self._boxes.dead = True
                raise

        return call


@pytest.mark.parametrize("mode", [Mode.PAUSE, Mode.STOP])
async def test_all_goes_on_though_nothing_can_be_written_down_any_more(tmp_path: Path, mode: Mode) -> None:
    """A disk that has become full meanwhile leaves nobody paused or stopped."""
    world = World(tmp_path, *two(**{"berth.backup.post": "after"}))
    await world.volumes.create("db")
    journal = world.stillness.journal

    def full(ident: str, entry: Entry) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ident)

    async with world.stillness.still(("db",), "backup", Wish(mode=mode)):
        journal.write = full  # type: ignore[method-assign]
    assert all(box.runs and not box.frozen for box in world.boxes.boxes.values())
    assert world.boxes.calls[-2:] == ["after in old", "after in new"]
    assert world.notes == []


async def test_nobody_is_held_still_who_cannot_be_written_down(tmp_path: Path) -> None:
    world = World(tmp_path, *two())
    world.layout.holds.parent.mkdir(parents=True)
    world.layout.holds.write_text("in the way")
    with pytest.raises(SystemFault, match="backup: cannot write down what is held still: .*holds.*: "):
        await world.hold(Wish(mode=Mode.PAUSE))
    assert not any("freeze" in call for call in world.boxes.calls)
