"""Says what happened to a container on the event bus. Must not: decide whether it happened."""

from typing import Protocol

from berth.containers.model import ContainerRecord
from berth.events.bus import Bus
from berth.events.model import Event


class Announce(Protocol):
    """Publishes one event about a container."""

    def __call__(self, record: ContainerRecord, action: str, **more: str) -> None:
        """Publish `action` with the container's attributes and `more`."""
        ...


def attributes(record: ContainerRecord, **more: str) -> dict[str, str]:
    """Return what Docker sends along with every event of a container: its labels, image and name."""
    return dict(record.config.labels or {}) | {"image": record.config.image, "name": record.name.lstrip("/")} | more


def announcer(bus: Bus) -> Announce:
    """Return a function that publishes on `bus`."""

    def announce(record: ContainerRecord, action: str, **more: str) -> None:
        bus.publish(Event(type="container", action=action, actor_id=record.id, attributes=attributes(record, **more)))

    return announce
