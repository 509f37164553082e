"""The runner: whole or not at all, whatever fails, whoever cancels, wherever the process is killed."""

import asyncio
import threading
from pathlib import Path

import pytest

from berth.base.errors import SystemFault
from berth.plan.journal import Journal
from berth.plan.model import Plan, Planned, Step
from berth.plan.run import Runner, UndoIncomplete


class Put(Step, frozen=True):
    key: str


class Take(Step, frozen=True):
    key: str


class Injected(SystemFault):
    pass


class FakeKernel:
    """A set of keys that steps put in and take out; fails or waits where a test says."""

    def __init__(self, *, fail_at: int = -1, held: frozenset[str] = frozenset()) -> None:
        self.keys: set[str] = set(held)
        self.fail_at = fail_at
        self.count = 0
        self.gate: threading.Event | None = None
        self.reached = threading.Event()
        self.stuck: frozenset[str] = frozenset()

    def apply(self, step: Step) -> Step | None:
        match step:
            case Put(key):
                if self.count == self.fail_at:
                    raise Injected(f"at {key}")
                self.count += 1
                if self.gate is not None:
                    self.reached.set()
                    assert self.gate.wait(5)
                if key in self.keys:
                    return None
                self.keys.add(key)
                return Take(key)
            case Take(key):
                if key in self.stuck:
                    raise Injected(f"cannot take {key}")
                self.keys.discard(key)
        return None

    def undo_unfinished(self, step: Step) -> Step | None:
        return Take(step.key) if isinstance(step, Put) else None


PLAN: Plan = tuple(Planned(Put(key), f"needs {key}") for key in "abcd")


def runner(tmp_path: Path, kernel: FakeKernel) -> Runner:
    return Runner(kernel, Journal(tmp_path / "journal", Put | Take))


def journals(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "journal").iterdir())


async def test_a_whole_plan_is_applied_and_its_inverses_come_newest_first(tmp_path: Path) -> None:
    kernel = FakeKernel()
    inverses = await runner(tmp_path, kernel).run(PLAN)
    assert kernel.keys == set("abcd")
    assert inverses == (Take("d"), Take("c"), Take("b"), Take("a"))
    assert journals(tmp_path) == []


@pytest.mark.parametrize("k", range(len(PLAN)))
async def test_a_failure_at_any_step_leaves_no_trace(tmp_path: Path, k: int) -> None:
    kernel = FakeKernel(fail_at=k)
    with pytest.raises(Injected):
        await runner(tmp_path, kernel).run(PLAN)
    assert kernel.keys == set()
    assert journals(tmp_path) == []


async def test_what_was_there_before_is_not_taken_back(tmp_path: Path) -> None:
    kernel = FakeKernel(fail_at=3, held=frozenset("b"))
    with pytest.raises(Injected):
        await runner(tmp_path, kernel).run(PLAN)
    assert kernel.keys == {"b"}


async def test_a_cancelled_plan_is_undone_before_the_cancellation_goes_on(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.gate = threading.Event()
    task = asyncio.get_running_loop().create_task(_drop(runner(tmp_path, kernel)))
    await asyncio.to_thread(kernel.reached.wait, 5)
    task.cancel()
    kernel.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kernel.keys == set()
    assert journals(tmp_path) == []


async def test_a_plan_cancelled_during_its_last_step_is_taken_back(tmp_path: Path) -> None:
    kernel = FakeKernel()
    kernel.gate = threading.Event()
    task = asyncio.get_running_loop().create_task(_drop(runner(tmp_path, kernel), PLAN[:1]))
    await asyncio.to_thread(kernel.reached.wait, 5)
    task.cancel()
    kernel.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kernel.count == 1
    assert kernel.keys == set()
    assert journals(tmp_path) == []


async def _drop(one: Runner, plan: Plan = PLAN) -> None:
    await one.run(plan)


async def test_what_cannot_be_undone_is_reported_with_the_cause(tmp_path: Path) -> None:
    kernel = FakeKernel(fail_at=3)
    kernel.stuck = frozenset("b")
    with pytest.raises(UndoIncomplete) as caught:
        await runner(tmp_path, kernel).run(PLAN)
    assert "at d" in str(caught.value)
    assert "cannot take b" in str(caught.value)
    assert kernel.keys == {"b"}


@pytest.mark.parametrize("k", range(1, len(PLAN) + 1))
@pytest.mark.parametrize("inverse_written", [True, False])
def test_a_killed_engine_is_undone_by_the_next(tmp_path: Path, k: int, inverse_written: bool) -> None:
    kernel = FakeKernel()
    journal = Journal(tmp_path / "journal", Put | Take)
    log = journal.begin()
    for number, planned in enumerate(PLAN[:k], 1):
        log.intend(planned.step)
        inverse = kernel.apply(planned.step)
        if number < k or inverse_written:
            log.achieved(inverse)
    assert len(kernel.keys) == k
    # the process ends here: nobody closes the journal
    assert Runner(kernel, Journal(tmp_path / "journal", Put | Take)).recover() == 1
    assert kernel.keys == set()
    assert journals(tmp_path) == []


async def test_a_plan_with_a_record_is_whole_when_that_is_written(tmp_path: Path) -> None:
    kernel = FakeKernel()
    async with runner(tmp_path, kernel).until_recorded(PLAN, "key"):
        assert kernel.keys
        assert len(journals(tmp_path)) == 1, "an engine that is killed now finds it"
    assert kernel.keys
    assert journals(tmp_path) == []


async def test_a_plan_whose_record_cannot_be_written_is_undone(tmp_path: Path) -> None:
    kernel = FakeKernel()
    with pytest.raises(OSError, match="full"):
        async with runner(tmp_path, kernel).until_recorded(PLAN, "key"):
            raise OSError("full")
    assert kernel.keys == set()
    assert journals(tmp_path) == []


@pytest.mark.parametrize("recorded", [True, False])
def test_a_killed_engine_is_undone_unless_the_record_is_there(tmp_path: Path, recorded: bool) -> None:
    kernel = FakeKernel()
    log = Journal(tmp_path / "journal", Put | Take).begin()
    log.follow("key")
    for planned in PLAN:
        log.intend(planned.step)
        log.achieved(kernel.apply(planned.step))
    next_one = Runner(kernel, Journal(tmp_path / "journal", Put | Take))
    assert next_one.recover(lambda key: recorded and key == "key") == (0 if recorded else 1)
    assert bool(kernel.keys) is recorded
    assert journals(tmp_path) == []


def test_a_line_cut_off_by_the_kill_does_not_hinder_recovery(tmp_path: Path) -> None:
    kernel = FakeKernel()
    journal = Journal(tmp_path / "journal", Put | Take)
    log = journal.begin()
    log.intend(Put("a"))
    log.achieved(kernel.apply(Put("a")))
    path = journals(tmp_path)[0]
    path.write_bytes(path.read_bytes() + b'{"intent":{"type":"Pu')
    assert Runner(kernel, journal).recover() == 1
    assert kernel.keys == set()
