"""Scheduled backups: side by side and within bounds, and whatever becomes of one, the others and the next go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import SystemFault
from berth.events.bus import Bus
from berth.events.model import Event
from berth.store.memory import MemoryRecords
from berth.volumes.backup.automatic import AT_ONCE, Automatic, RunRecord, due_ns
from berth.volumes.backup.errors import StoreFailed
from berth.volumes.backup.schedule import Plan, plan_of
from berth.volumes.backup.stores.base import Entry
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

MINUTE_NS = 60_000_000_000


class Clock(SystemClock):
    """Time that passes when the test says so."""

    ns = 1_000 * MINUTE_NS

    def now_ns(self) -> int:
        return self.ns


class FullRecords(MemoryRecords[RunRecord]):
    full = False

    async def put(self, key: str, record: RunRecord, **more: Any) -> None:
        if self.full:
            raise SystemFault("database or disk is full")
        await super().put(key, record, **more)

    async def drop(self, key: str, **more: Any) -> None:
        if self.full:
            raise SystemFault("database or disk is full")
        await super().drop(key, **more)


class World:
    def __init__(self, *names: str, patience_s: float = 900.0) -> None:
        self.clock = Clock()
        bus = Bus(self.clock)
        self.events: list[Event] = []
        bus.on_event(self.events.append)
        self.volumes: MemoryRecords[VolumeRecord] = MemoryRecords()
        self.register = Register(self.volumes, bus, lambda: (), self.clock)
        self.records = FullRecords()
        self.begun: list[str] = []
        self.most = self.now = 0
        self.doings: dict[str, Callable[[], Awaitable[None]]] = {}
        self.automatic = Automatic(self.register, self.records, self._back_up, patience_s=patience_s)
        self.names = names

    async def _back_up(self, record: VolumeRecord, plan: Plan) -> Entry:
        self.begun.append(record.name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if record.name in self.doings:
                await self.doings[record.name]()
            else:
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        return Entry(name=f"{record.name}-{len(self.begun)}{plan.target}")

    async def create(self) -> None:
        labels = {"berth.backup.schedule": "every 60s", "berth.backup.target": "/t"}
        for name in self.names:
            await self.volumes.put(name, VolumeRecord(name=name, labels=labels))
        assert await self.automatic.turn() > 0

    async def due(self) -> None:
        self.clock.ns += 2 * MINUTE_NS
        await self.automatic.turn()

    def state(self, name: str) -> dict[str, Any]:
        return next(one for one in self.automatic.states() if one["Volume"] == name)


def test_all_that_is_due_is_made_a_few_at_a_time_and_nothing_twice() -> None:
    async def work() -> None:
        world = World(*(f"v{number}" for number in range(10)))
        await world.create()
        assert world.begun == []
        await world.due()
        await world.automatic.turn()  # they are under way already
        await world.automatic.settle()
        assert sorted(world.begun) == sorted(world.names)
        assert world.most == AT_ONCE
        assert {world.state(name)["Error"] for name in world.names} == {""}
        await world.automatic.turn()
        await world.automatic.settle()
        assert len(world.begun) == 10, "and they are not due again"

    asyncio.run(work())


def test_one_that_hangs_is_shown_and_delays_no_other() -> None:
    async def work() -> None:
        world = World("a", "b", "c", "d", "e", patience_s=0.05)
        await world.create()
        for name in ("a", "b", "c"):
            world.doings[name] = asyncio.Event().wait  # type: ignore[assignment]  # nobody sets it
        await world.due()
        for _ in range(3):
            await asyncio.sleep(0)
        assert world.begun == ["a", "b", "c"]
        assert world.state("a")["Running"].startswith("1970-")
        assert world.state("d")["Running"] == "waiting"
        async with asyncio.timeout(10):
            while not (world.state("d")["File"] and world.state("e")["File"]):  # noqa: ASYNC110  two runs, no event
                await asyncio.sleep(0.01)
        assert world.state("d")["Running"] == ""
        await world.due()
        assert world.begun.count("a") == 1, "the hanging one is not begun once more"
        watching = asyncio.ensure_future(world.automatic.watch())
        await asyncio.sleep(0)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert world.now == 0, "with the engine they end"
        assert world.state("a")["Last"] == "", "and are made by the next one"

    asyncio.run(work())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (StoreFailed("s3://b", "could not connect to the endpoint"), "s3://b: could not connect to the endpoint"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ZeroDivisionError("nobody thought of it"), "an internal error; the engine's log says more"),
    ],
)
def test_a_failure_is_an_event_and_a_state_until_one_succeeds(wrong: Exception, said: str) -> None:
    async def work() -> None:
        world = World("a", "b")
        await world.create()
        await world.due()
        await world.automatic.settle()
        first = world.state("a")["File"]

        async def fail() -> None:
            raise wrong

        world.doings["a"] = fail
        await world.due()
        await world.automatic.settle()
        assert (world.state("a")["Error"], world.state("a")["File"]) == (said, first)
        assert world.state("b")["Error"] == ""
        (event,) = [one for one in world.events if one.action == "backup-failed"]
        assert (event.type, event.actor_id, event.attributes["error"]) == ("volume", "a", said)
        await world.automatic.turn()
        assert world.begun.count("a") == 2, "it is tried again when it is due, not before"
        del world.doings["a"]
        await world.due()
        await world.automatic.settle()
        assert world.state("a")["Error"] == ""
        assert world.state("a")["File"] not in ("", first)

    asyncio.run(work())


def test_a_run_that_cannot_be_written_down_is_not_made_again_and_again() -> None:
    async def work() -> None:
        world = World("a")
        await world.create()
        world.records.full = True
        await world.due()
        await world.automatic.settle()
        await world.automatic.turn()
        await world.automatic.settle()
        assert world.begun == ["a"]
        assert world.state("a")["File"] == "a-1/t"
        world.records.full = False
        await world.due()
        await world.automatic.settle()
        assert world.begun == ["a", "a"]
        assert [one.file for one in world.records.all()] == ["a-2/t"]

    asyncio.run(work())


def test_a_full_disk_ends_no_run_because_a_volume_has_gone() -> None:
    async def work() -> None:
        world = World("a", "b")
        await world.create()
        await world.volumes.drop("b")
        world.records.full = True
        world.clock.ns += 2 * MINUTE_NS
        assert await world.automatic.turn() > 0
        await world.automatic.settle()
        assert world.begun == ["a"]
        assert [one.name for one in world.records.all()] == ["a", "b"]
        world.records.full = False
        await world.automatic.turn()
        assert [one.name for one in world.records.all()] == ["a"]

    asyncio.run(work())


def test_a_volume_that_goes_takes_its_state_along() -> None:
    async def work() -> None:
        world = World("a", "b")
        await world.create()
        await world.volumes.drop("a")
        await world.due()
        await world.automatic.settle()
        assert world.begun == ["b"]
        assert [one.name for one in world.records.all()] == ["b"]

    asyncio.run(work())


def test_a_clock_that_was_ahead_puts_no_run_off() -> None:
    async def work() -> None:
        world = World("a")
        await world.create()
        world.clock.ns += 10**9 * 365 * 24 * 3600  # as before the first answer of a time server
        await world.automatic.turn()
        await world.automatic.settle()
        world.clock.ns -= 10**9 * 365 * 24 * 3600
        await world.automatic.turn()
        assert world.begun == ["a"], "that is no reason for a run of its own"
        await world.due()
        await world.automatic.settle()
        assert world.begun == ["a", "a"]

    asyncio.run(work())


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("said", "after", "due"),
    [
        ("daily 02:30", "2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),
        # Begun late, in the hour that comes again: not once more, and again, until that is over.
        ("daily 02:30", "2026-10-25T02:10+01:00", "2026-10-25T02:30+01:00"),
        ("daily 02:30", "2026-10-25T02:40+01:00", "2026-10-26T02:30+01:00"),
        ("*/15 * * * *", "2026-10-25T02:15+01:00", "2026-10-25T02:30+01:00"),
        ("*/15 * * * *", "2026-10-25T02:50+01:00", "2026-10-25T03:00+01:00"),
        ("daily 02:30", "2026-03-28T12:00+01:00", "2026-03-29T03:30+02:00"),
        ("daily 02:30", "2026-03-29T03:30+02:00", "2026-03-30T02:30+02:00"),
        ("hourly", "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"),
    ],
)
def test_where_clocks_are_changed_a_run_is_due_once(said: str, after: str, due: str) -> None:
    plan = plan_of({"berth.backup.schedule": said, "berth.backup.target": "/t"})
    assert plan is not None
    assert due_ns(plan, _ns(after)) == _ns(due)


@pytest.mark.usefixtures("berlin")
def test_what_is_due_lies_ahead_whatever_the_clocks_do() -> None:
    plan = plan_of({"berth.backup.schedule": "7,37 1-3 * * *", "berth.backup.target": "/t"})
    assert plan is not None
    for begin in ("2026-10-24T23:00+00:00", "2026-03-28T23:00+00:00"):
        for minute in range(6 * 60):
            at = _ns(begin) + minute * MINUTE_NS + 1
            assert at < due_ns(plan, at) < at + 25 * 60 * MINUTE_NS


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(("begin", "runs"), [("2026-03-28T23:59+01:00", 3), ("2026-10-24T23:59+02:00", 3)])
def test_a_daily_run_in_the_hour_that_is_changed_is_made_once_a_day(begin: str, runs: int) -> None:
    """Were it due at once again, rules such as keep-last would soon have removed all older backups."""

    async def work() -> None:
        world = World("a")
        labels = {"berth.backup.schedule": "daily 02:30", "berth.backup.target": "/t"}
        await world.volumes.put("a", VolumeRecord(name="a", labels=labels))
        world.clock.ns = _ns(begin)
        for _ in range(3 * 24 * 12):
            await world.automatic.turn()
            await world.automatic.settle()
            world.clock.ns += 5 * MINUTE_NS
        assert len(world.begun) == runs

    asyncio.run(work())
