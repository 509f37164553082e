"""The event bus: stamped, kept for a while, handed to all, nobody waits for a slow listener."""

import asyncio
from datetime import UTC, datetime

from berth.events.bus import BEHIND, KEPT, Bus, drained
from berth.events.model import Event, to_wire


class Ticking:
    """A clock that moves one second at each look."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def now_ns(self) -> int:
        self.seconds += 1
        return self.seconds * 1_000_000_000


def event(action: str = "create") -> Event:
    return Event(type="network", action=action, actor_id="n1", attributes={"name": "my_network"})


def test_past_events_are_kept_up_to_a_bound() -> None:
    bus = Bus(Ticking())
    for _ in range(KEPT + 10):
        bus.publish(event())
    assert len(bus.past(0)) == KEPT
    assert [one.time_ns for one in bus.past(3_000_000_000, 12_000_000_000)] == [11_000_000_000, 12_000_000_000]


async def test_every_listener_gets_what_comes_while_it_listens() -> None:
    bus = Bus(Ticking())
    bus.publish(event("before"))
    with bus.subscribed() as one, bus.subscribed() as other:
        bus.publish(event("during"))
        assert (await one.get()) == (await other.get())
    bus.publish(event("after"))
    assert one.empty()


async def test_a_listener_too_far_behind_is_cut_off() -> None:
    bus = Bus(Ticking())
    with bus.subscribed() as queue:
        for _ in range(BEHIND + 5):
            bus.publish(event())
        got = [one async for one in drained(queue)]
    assert len(got) == BEHIND
    assert isinstance(queue, asyncio.Queue)


def test_the_wire_form_has_what_old_and_new_clients_read() -> None:
    wire = to_wire(
        Event(type="container", action="die", actor_id="c1", attributes={"image": "busybox"}, time_ns=1_500_000_000)
    )
    assert wire["status"] == "die"
    assert wire["id"] == "c1"
    assert wire["from"] == "busybox"
    assert wire["Actor"] == {"ID": "c1", "Attributes": {"image": "busybox"}}
    assert (wire["time"], wire["timeNano"]) == (1, 1_500_000_000)
    assert "status" not in to_wire(event())
