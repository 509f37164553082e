"""Tells those who listen what becomes of networks and of containers on them. Must not: do anything about it."""

from berth.events.bus import Bus
from berth.events.model import Event
from berth.networks.model import LiveEndpoint, NetworkRecord
from berth.networks.register import Register


class Telling:
    """Events of networks and attachments, as Docker words them."""

    def __init__(self, bus: Bus, register: Register) -> None:
        self._bus = bus
        self._register = register

    def created(self, record: NetworkRecord) -> None:
        """Tell that a network is there."""
        self._tell_of("create", record)

    def changed(self, record: NetworkRecord) -> None:
        """Tell that a network is another since."""
        self._tell_of("update", record)

    def destroyed(self, record: NetworkRecord) -> None:
        """Tell that a network is there no more."""
        self._tell_of("destroy", record)

    def connected(self, container_id: str, end: LiveEndpoint) -> None:
        """Tell that a container has an attachment."""
        self._tell("connect", container_id, end)

    def disconnected(self, container_id: str, end: LiveEndpoint) -> None:
        """Tell that a container has it no more."""
        self._tell("disconnect", container_id, end)

    def _tell(self, action: str, container_id: str, end: LiveEndpoint) -> None:
        record = self._register.by_id(end.network_id)
        attributes = {"container": container_id, "name": end.network_name, "type": record.driver if record else ""}
        self._bus.publish(Event(type="network", action=action, actor_id=end.network_id, attributes=attributes))

    def _tell_of(self, action: str, record: NetworkRecord) -> None:
        attributes = {"name": record.name, "type": record.driver}
        self._bus.publish(Event(type="network", action=action, actor_id=record.id, attributes=attributes))
