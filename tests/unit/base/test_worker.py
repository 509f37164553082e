"""Threads that do blocking work for a loop."""

import asyncio
import os
import signal
import threading

import pytest

from berth.base.worker import Workers


async def test_one_does_all_in_order() -> None:
    one, seen = Workers("w"), []
    results = await asyncio.gather(
        *(one.run(lambda n=n: (seen.append((n, threading.current_thread().name)), n)[1]) for n in range(20))
    )
    assert results == list(range(20))
    assert seen == [(n, "w_0") for n in range(20)]
    one.close()


async def test_several_work_at_once_and_no_more_than_are_needed() -> None:
    several, together = Workers("w", 3), threading.Barrier(3)
    for _ in range(5):
        await several.run(lambda: None)
    assert len(several._threads) == 1
    for _ in range(2):  # each waits for the others
        await asyncio.gather(*(several.run(lambda: together.wait(5)) for _ in range(3)))
    await asyncio.gather(*(several.run(lambda: None) for _ in range(20)))
    assert len(several._threads) == 3
    several.close()


async def test_what_waited_for_a_thread_leaves_none_counted_as_free() -> None:
    two, together = Workers("w", 2), threading.Barrier(2)
    await asyncio.gather(*(two.run(lambda: None) for _ in range(100)))
    assert len(two._free) <= 2
    await asyncio.gather(*(two.run(lambda: together.wait(5)) for _ in range(2)))
    two.close()


async def test_what_fails_is_told_and_the_next_is_done() -> None:
    one = Workers("w")
    with pytest.raises(ZeroDivisionError):
        await one.run(lambda: 1 / 0)
    with pytest.raises(SystemExit):
        await one.run(lambda: exec("raise SystemExit"))
    assert await one.run(lambda: 1) == 1
    one.close()


async def test_who_is_cancelled_waits_for_the_end() -> None:
    one, begun, gate, done = Workers("w"), threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        assert gate.wait(5)
        done.append(1)

    task = asyncio.get_running_loop().create_task(one.run(work))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(begun.wait, 5)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]
    one.close()


async def test_closing_finishes_what_was_asked_for() -> None:
    one, done = Workers("w"), []
    for n in range(5):
        one.put(lambda n=n: done.append(n))
    one.close()
    assert done == list(range(5))
    with pytest.raises(RuntimeError, match="w has ended"):
        await one.run(lambda: 1)
    Workers("never used").close()


def test_a_loop_that_is_gone_stops_nobody() -> None:
    one, begun, gate = Workers("w"), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert gate.wait(5)

    loop = asyncio.new_event_loop()
    task = loop.create_task(one.run(work))
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert begun.wait(5)
    loop.close()
    gate.set()
    assert asyncio.run(one.run(lambda: 1)) == 1
    one.close()
    del task


def test_a_process_that_is_forked_off_starts_threads_of_its_own() -> None:
    one = Workers("w", 2)
    assert asyncio.run(one.run(lambda: 1)) == 1
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(20)  # a thread that is not there would be waited for for ever
            status = asyncio.run(one.run(lambda: 0))
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(one.run(lambda: 2)) == 2
    one.close()
