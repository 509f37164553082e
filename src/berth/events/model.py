"""An event as it happened. Pure."""

from collections.abc import Mapping

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an object.

    `type` is container, network, volume, image or daemon; `action` Docker's word (create, start, die, …);
    `time_ns` nanoseconds since the epoch, filled in by the bus.
    """

    type: str
    action: str
    actor_id: str
    attributes: Mapping[str, str] = {}
    time_ns: int = 0


def to_wire(event: Event) -> dict[str, object]:
    """Render an event as ``GET /events`` sends it, with the fields older clients read."""
    wire: dict[str, object] = {}
    if event.type in ("container", "image"):
        wire = {"status": event.action, "id": event.actor_id}
        if event.type == "container":
            wire["from"] = event.attributes.get("image", "")
    wire |= {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }
    return wire
