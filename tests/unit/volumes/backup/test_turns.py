"""Turns: many share, one is alone, whoever waits gets his turn, and keys do not know each other."""

import asyncio

from berth.volumes.backup.stores.turns import Turns


def test_many_share_and_one_is_alone() -> None:
    async def work() -> None:
        turns, told = Turns(), list[str]()

        async def sharing(name: str) -> None:
            async with turns.shared("r"):
                told.append(f"+{name}")
                await asyncio.sleep(0.01)
                told.append(f"-{name}")

        async def alone(name: str) -> None:
            async with turns.alone("r"):
                told.append(f"+{name}")
                await asyncio.sleep(0.01)
                told.append(f"-{name}")

        await asyncio.gather(sharing("a"), sharing("b"), alone("X"), alone("Y"), sharing("c"))
        assert told[:3] == ["+a", "+b", "+c"]
        for name in ("X", "Y"):
            assert told[told.index(f"+{name}") + 1] == f"-{name}"
        assert len(told) == 10

    asyncio.run(work())


def test_keys_do_not_wait_for_each_other_and_who_gives_up_is_forgotten() -> None:
    async def work() -> None:
        turns = Turns()
        async with turns.alone("r"), turns.alone("other"), turns.shared("third"):
            waiting = [
                asyncio.ensure_future(turns.shared("r").__aenter__()),
                asyncio.ensure_future(turns.alone("r").__aenter__()),
            ]
            await asyncio.sleep(0)
            assert not any(one.done() for one in waiting)
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(1), turns.alone("r"):
            pass

    asyncio.run(work())
