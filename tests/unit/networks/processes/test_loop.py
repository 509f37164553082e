import logging
import os
from collections.abc import Iterator

import pytest

from berth.networks.processes.loop import READ, Loop, close_quietly


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    close_quietly(*ends)


def test_timers_ring_in_order_and_cancelled_ones_never(loop: Loop) -> None:
    rung: list[str] = []
    loop.after(0.003, loop.stop)
    loop.after(0.002, lambda: rung.append("late"))
    loop.after(0.001, lambda: rung.append("early"))
    loop.after(0.001, lambda: rung.append("never")).cancel()
    loop.run()
    assert rung == ["early", "late"]


def test_a_ready_descriptor_is_handled_until_dropped(loop: Loop, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    seen: list[bytes] = []

    def on_ready(_events: int) -> None:
        seen.append(os.read(reader, 1))
        if len(seen) == 2:
            loop.drop(reader)
            loop.after(0, loop.stop)

    loop.add(reader, READ, on_ready)
    assert loop.has(reader)
    os.write(writer, b"abc")
    loop.run()
    assert seen == [b"a", b"b"]
    assert not loop.has(reader)
    loop.drop(reader)


def test_a_failing_handler_or_timer_costs_only_itself(
    loop: Loop, pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = pipe
    turns: list[int] = []

    def fail() -> None:
        raise LookupError("timer's own")

    def on_ready(_events: int) -> None:
        turns.append(1)
        if len(turns) == 3:
            loop.stop()
        raise LookupError("handler's own")

    loop.add(reader, READ, on_ready)
    loop.after(0, fail)
    os.write(writer, b"x")
    logger = logging.getLogger("berth.networks.processes.loop")
    logger.addHandler(caplog.handler)
    try:
        loop.run()
    finally:
        logger.removeHandler(caplog.handler)
    assert len(turns) == 3
    assert {"timer's own", "handler's own"} == {str(r.exc_info[1]) for r in caplog.records if r.exc_info}


def test_cancelled_timers_do_not_pile_up(loop: Loop) -> None:
    rung: list[str] = []
    loop.after(0.002, lambda: rung.append("kept"))
    for _ in range(5000):
        loop.after(60, lambda: None).cancel()
    assert len(loop._timers) <= 1024
    loop.after(0.003, loop.stop)
    loop.run()
    assert rung == ["kept"]
