"""Output of a command reaches its client though the machine stood still when the command ended."""

import asyncio

import pytest

from berth.containers.execs import output
from berth.containers.execs.output import Catch, Sink
from berth.wire.frames import STDOUT


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "DRAIN_S", 0.01)


async def test_what_nobody_has_read_yet_is_waited_for() -> None:
    catch, unread, asked = Catch(100), [True], asyncio.Event()
    sink = Sink(catch, framed=False)

    async def late() -> None:
        await asked.wait()
        await sink.write(STDOUT, b"late")
        unread.clear()

    def waits() -> bool:
        asked.set()
        return bool(unread)

    pump = asyncio.ensure_future(late())
    await sink.drained([pump], waits)
    assert catch.text() == "late"


async def test_a_pipe_that_somebody_holds_open_is_not_waited_for() -> None:
    pump = asyncio.ensure_future(asyncio.Event().wait())
    async with asyncio.timeout(5):
        await Sink(Catch(100), framed=False).drained([pump], lambda: False)  # type: ignore[list-item]
    assert not pump.done()
    pump.cancel()
