"""Owned tasks, waiting to the end, locks by key."""

import asyncio

import pytest

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread, supervise, together


async def test_settling_ends_though_a_task_has_just_ended() -> None:
    tasks = Tasks()

    async def brief() -> None:
        return

    one = tasks.start("brief", brief())
    await asyncio.wait((one,))
    # its end is known, its owner has not heard of it yet
    tasks._tasks.add(one)
    one.add_done_callback(tasks._ended)
    async with asyncio.timeout(5):
        await tasks.settle()


async def test_settling_waits_for_tasks_that_tasks_start() -> None:
    tasks, seen = Tasks(), []

    async def second() -> None:
        await asyncio.sleep(0)
        seen.append("second")

    async def first() -> None:
        tasks.start("second", second())
        seen.append("first")

    tasks.start("first", first())
    await tasks.settle()
    assert seen == ["first", "second"]


async def test_closing_cancels_and_waits() -> None:
    tasks, ended = Tasks(), []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    tasks.start("endless", endless())
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [True]


async def test_a_failed_task_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()

    async def fails() -> None:
        raise ValueError("odd")

    tasks.start("the one that fails", fails())
    await tasks.settle()
    assert "the one that fails" in caplog.text


async def test_finishing_outlasts_a_cancellation() -> None:
    gate, done = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(True)

    task = asyncio.get_running_loop().create_task(finish(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_work_in_a_thread_gives_its_result_or_error() -> None:
    assert await in_thread(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_a_lock_is_held_by_one_at_a_time_and_forgotten_after() -> None:
    locks, order = KeyedLocks(), []

    async def use(name: str) -> None:
        async with locks.hold("key"):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(use("a"), use("b"))
    assert order == ["a", "a", "b", "b"]
    assert locks._locks == {}


async def test_a_service_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0
    again = asyncio.Event()

    async def service() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            again.set()
            await asyncio.Event().wait()
        if runs == 1:
            raise ValueError("odd")

    task = asyncio.get_running_loop().create_task(supervise("lamp", service, pause_s=0))
    await again.wait()
    task.cancel()
    assert "service lamp failed" in caplog.text
    assert "service lamp ended by itself" in caplog.text


async def test_what_is_done_together_ends_together_and_the_first_failure_is_told() -> None:
    gate, ended = asyncio.Event(), []

    async def slow() -> None:
        await gate.wait()
        ended.append("slow")

    async def fails(what: str) -> None:
        gate.set()
        raise ValueError(what)

    await together(slow(), asyncio.sleep(0, gate.set()))
    gate.clear()
    with pytest.raises(ValueError, match="first"):
        await together(slow(), fails("first"), fails("second"))
    assert ended == ["slow", "slow"]
