"""Everything the server knows besides its sockets: tables by network, who is on which, how each is served.

Changes cost what one network's table costs, however many containers there are. Must not: do any I/O.
"""

from berth.networks.dns.model import NamedEndpoint, ServeConfig
from berth.networks.dns.table import NetworkNames, View


class Views:
    """The current tables; a view is a snapshot and does not follow later changes."""

    def __init__(self) -> None:
        self.configs: dict[str, ServeConfig] = {}
        self._networks: dict[str, NetworkNames] = {}
        self._on: dict[str, tuple[str, ...]] = {}

    def networks_of(self, container_id: str) -> tuple[str, ...]:
        """Ids of the networks a container is on, in the order they came up."""
        return self._on.get(container_id, ())

    def view(self, container_id: str) -> View:
        """Return what a container sees at this moment."""
        return View(container_id, tuple(self._networks[ident] for ident in self.networks_of(container_id)))

    def up(self, endpoint: NamedEndpoint) -> None:
        """Add or replace an endpoint."""
        ident = endpoint.network_id
        table = self._networks.get(ident) or NetworkNames(ident, endpoint.network_name)
        self._networks[ident] = table.with_endpoint(endpoint)
        on = self.networks_of(endpoint.container_id)
        if ident not in on:
            self._on[endpoint.container_id] = (*on, ident)

    def down(self, container_id: str, network_id: str) -> None:
        """Drop an endpoint, if there is one."""
        on = self.networks_of(container_id)
        if network_id not in on:
            return
        table = self._networks[network_id].without(container_id)
        if table.holders:
            self._networks[network_id] = table
        else:
            del self._networks[network_id]
        left = tuple(ident for ident in on if ident != network_id)
        if left:
            self._on[container_id] = left
        else:
            del self._on[container_id]

    def forget(self, container_id: str) -> None:
        """Drop a container and all its endpoints."""
        for network_id in self.networks_of(container_id):
            self.down(container_id, network_id)
        self.configs.pop(container_id, None)
