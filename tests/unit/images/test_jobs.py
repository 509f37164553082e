"""Work that several ask for at once, and errors in its stream."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from berth.base.aio import Tasks
from berth.base.errors import NotFound, SystemFault
from berth.images.jobs import Jobs, Say
from berth.images.messages import Message, bar, in_band, progress


async def test_two_who_ask_share_one_job() -> None:
    jobs, begun, go = Jobs(Tasks()), 0, asyncio.Event()

    async def work(say: Say) -> None:
        nonlocal begun
        begun += 1
        say({"n": 1})
        await go.wait()
        say({"n": 2})

    async def watch() -> list[Message]:
        return [message async for message in jobs.join("k", work)]

    async with asyncio.TaskGroup() as group:
        first = group.create_task(watch())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = group.create_task(watch())
        await asyncio.sleep(0)
        go.set()
    assert first.result() == second.result() == [{"n": 1}, {"n": 2}]
    assert begun == 1
    assert await watch() == [{"n": 1}, {"n": 2}]
    assert begun == 2


async def test_an_error_reaches_everybody() -> None:
    jobs = Jobs(Tasks())

    async def work(say: Say) -> None:
        await asyncio.sleep(0)
        raise NotFound("no")

    async def watch() -> None:
        async for _ in jobs.join("k", work):
            pass

    results = await asyncio.gather(watch(), watch(), return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]


async def test_the_last_to_leave_ends_it() -> None:
    tasks = Tasks()
    jobs, ended = Jobs(tasks), asyncio.Event()

    async def work(say: Say) -> None:
        try:
            say({})
            await asyncio.Event().wait()
        finally:
            ended.set()

    one, two = jobs.join("k", work), jobs.join("k", work)
    await anext(one)
    await anext(two)
    await one.aclose()
    await asyncio.sleep(0)
    assert not ended.is_set()
    await two.aclose()
    await tasks.settle()
    assert ended.is_set()


async def _flow(*steps: Message | Exception) -> AsyncGenerator[Message, None]:
    for step in steps:
        if isinstance(step, Exception):
            raise step
        yield step


async def test_an_error_before_the_first_message_keeps_its_status() -> None:
    with pytest.raises(NotFound):
        await anext(in_band(_flow(NotFound("x"))))


async def test_a_later_error_is_a_message() -> None:
    said = [message async for message in in_band(_flow({"a": 1}, SystemFault("broken")))]
    assert said == [{"a": 1}, {"errorDetail": {"message": "broken"}, "error": "broken"}]


def test_bars() -> None:
    assert bar(0, 100) == "[" + " " * 50 + "]       0B/100B"
    assert bar(50, 100).startswith("[" + "=" * 24 + ">" + " " * 25 + "]")
    assert bar(100, 100).startswith("[" + "=" * 50 + "]")
    assert bar(1000, 0).strip() == "1kB"
    assert progress("Downloading", "x", 5, 0)["progressDetail"] == {"current": 5}
