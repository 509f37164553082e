"""Many at once, or one alone."""

import asyncio

from berth.base.sharing import Sharing


async def _play(order: list[str], *moves: tuple[str, bool]) -> None:
    sharing = Sharing()

    async def one(name: str, *, alone: bool) -> None:
        async with sharing.alone() if alone else sharing.shared():
            order.append(f"+{name}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append(f"-{name}")

    async with asyncio.TaskGroup() as group:
        for name, alone in moves:
            group.create_task(one(name, alone=alone))


def test_who_shares_is_in_together_and_who_is_alone_is_alone() -> None:
    order: list[str] = []
    asyncio.run(_play(order, ("a", False), ("b", False), ("C", True), ("d", False), ("e", False), ("F", True)))
    assert set(order[:2]) == {"+a", "+b"}
    at = order.index("+C")
    assert order[at + 1] == "-C"
    assert {"-a", "-b"} <= set(order[:at])
    assert set(order[at + 2 : at + 4]) == {"+d", "+e"}
    assert order[-2:] == ["+F", "-F"]


def test_who_gives_up_waiting_keeps_nobody_out() -> None:
    async def play() -> None:
        sharing = Sharing()
        async with sharing.shared():
            waiting = asyncio.ensure_future(_enter(sharing, alone=True))
            behind = asyncio.ensure_future(_enter(sharing, alone=False))
            await asyncio.sleep(0)
            assert not behind.done()
            waiting.cancel()
            await asyncio.wait_for(behind, 1)
        await asyncio.wait_for(_enter(sharing, alone=True), 1)

    asyncio.run(play())


def test_who_is_cancelled_in_the_moment_of_its_turn_leaves() -> None:
    async def play() -> None:
        sharing = Sharing()
        async with sharing.shared():
            waiting = asyncio.ensure_future(_enter(sharing, alone=True))
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await asyncio.wait_for(_enter(sharing, alone=True), 1)

    asyncio.run(play())


async def _enter(sharing: Sharing, *, alone: bool) -> None:
    async with sharing.alone() if alone else sharing.shared():
        pass
