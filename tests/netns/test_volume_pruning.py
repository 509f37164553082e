"""Volumes that nobody needs go all at once, while the engine fails, dies, has no room, or is asked twice.

Each volume is there as it was, or gone as a removal would have it. None is there by half.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from berth.volumes.errors import PruneRunning
from berth.wire.filters import Filters
from tests.netns.test_volume_life import LABELS, World
from tests.support.faults import INJECTED, TOO_MANY, killing

pytestmark = pytest.mark.root

ALL = Filters({"all": ["true"]})
NAMES = ("loose1", "loose2", "loose3")


async def prepared(world: World) -> World:
    """Have three volumes nobody needs, and one that is used, whatever there was."""
    await world.volumes.trash.empty()
    for name in NAMES:
        if world.volumes.register.find(name) is None:
            await world.volume(name)
    if world.volumes.register.find("used") is None:
        await world.volume("used")
        await world.use("used")
    assert world.live == dict.fromkeys((*NAMES, "used"), "precious")
    return world


def gone(world: World) -> Sequence[str]:
    """Return which are not there any more; all are somewhere, and whole."""
    live, trashed = world.whole
    assert live.pop("used") == "precious"
    assert sorted((*live, *dict(trashed))) == list(NAMES)
    assert {*live.values(), *dict(trashed).values()} == {"precious"}
    return sorted(dict(trashed))


async def prune(world: World) -> Sequence[str]:
    names, _ = await world.volumes.prune(ALL)
    return sorted(names)


def test_killed_at_any_step_each_is_there_or_in_the_trash(tmp_path: Path) -> None:
    async def work() -> None:
        world, seen, kills = await prepared(World(tmp_path)), set(), 0
        async for at, after in killing(world, prune, world.adopted):
            kills = at
            seen.add(len(gone(after)))
            await prepared(after)
        assert kills >= 3 * len(NAMES)
        assert seen >= {1, 2, 3}  # the engine died between them, and after the last
        assert gone(await world.adopted()) == list(NAMES)

    asyncio.run(work())


def test_one_that_cannot_be_removed_stays_and_the_others_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        world, failed = await prepared(World(tmp_path)), 0
        for at in range(1, TOO_MANY):
            world.fault.arm(at)
            with caplog.at_level(logging.WARNING):
                said = await prune(world)
            if not world.fault.fired:
                break
            world.fault.arm(0)
            failed += 1
            assert INJECTED in caplog.text
            caplog.clear()
            assert gone(world) == said, "what is said to be removed is"
            assert len(said) == len(NAMES) - 1
            await prepared(world)
        assert failed >= 2 * len(NAMES)
        assert said == gone(world) == list(NAMES)

    asyncio.run(work())


def test_one_at_a_time_and_nothing_that_somebody_has_got_meanwhile(tmp_path: Path) -> None:
    async def work() -> None:
        world = await prepared(World(tmp_path))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(world.volumes.register.hold("loose1"))
            first = asyncio.ensure_future(prune(world))
            while not world.volumes.pruning._running:  # noqa: ASYNC110  it is under way a few turns later
                await asyncio.sleep(0)
            for _ in range(2):
                with pytest.raises(PruneRunning, match="^a prune operation is already running$"):
                    await prune(world)
            # While it waits for the first: one is protected, one is another of the same name.
            await world.volumes.changing.protect("loose2", protected=True)
            await world.volumes.remove("loose3", force=False)
            await world.volumes.create("loose3", labels=LABELS)
        assert await first == ["loose1"]
        assert world.live == {"loose2": "precious", "loose3": "", "used": "precious"}
        await world.volumes.changing.protect("loose2", protected=False)
        assert await prune(world) == ["loose2", "loose3"]

    asyncio.run(work())
