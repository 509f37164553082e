"""Tells those who listen that containers came onto networks or left them. Must not: do anything about it."""

from berth.events.bus import Bus
from berth.events.model import Event
from berth.networks.model import LiveEndpoint
from berth.networks.register import Register


class Telling:
    """Events of attachments, as Docker words them."""

    def __init__(self, bus: Bus, register: Register) -> None:
        self._bus = bus
        self._register = register

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
