"""Who has what, in memory: networks by name and id, addresses taken, containers attached. Rebuilt from records.

Synchronous on purpose: a question and the change that follows from it happen without anything in between.
Must not: touch kernel or store.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from berth.base.ids import by_prefix, is_full_id, short
from berth.networks.errors import AddressTaken, NetworkAmbiguous, NetworkNotFound, NoAddressLeft
from berth.networks.ipam.addresses import fixed, lowest_free
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.planning import pool_of


class Register:
    """The networks service's memory."""

    def __init__(self) -> None:
        self._networks: dict[str, NetworkRecord] = {}
        self._by_name: dict[str, str] = {}
        #: network id → address as number → container id
        self._taken: dict[str, dict[int, str]] = {}
        #: network name → address as number → container ids that ask for it by name, running or not
        self._asked: dict[str, dict[int, set[str]]] = {}
        #: network id → container id → attachment
        self._attached: dict[str, dict[str, LiveEndpoint]] = {}

    # -- networks

    def add(self, record: NetworkRecord) -> None:
        """Know a network."""
        self._networks[record.id] = record
        self._by_name[record.name] = record.id

    def discard(self, record: NetworkRecord) -> None:
        """Forget a network."""
        self._networks.pop(record.id, None)
        if self._by_name.get(record.name) == record.id:
            del self._by_name[record.name]
        self._taken.pop(record.id, None)
        self._attached.pop(record.id, None)

    def all(self) -> list[NetworkRecord]:
        """Return every network, oldest first."""
        return list(self._networks.values())

    def named(self, name: str) -> NetworkRecord | None:
        """Return the network of exactly that name."""
        ident = self._by_name.get(name)
        return None if ident is None else self._networks[ident]

    def find(self, ref: str) -> NetworkRecord:
        """Look up by full id, name, unique id prefix, in this order. Raises `NetworkNotFound`, `NetworkAmbiguous`."""
        if is_full_id(ref) and ref in self._networks:
            return self._networks[ref]
        record = self.named(ref)
        if record is not None:
            return record
        found = by_prefix(ref, self._networks)
        if len(found) > 1:
            raise NetworkAmbiguous(ref, len(found))
        if not found:
            raise NetworkNotFound(ref)
        return self._networks[found[0]]

    def by_id(self, ident: str) -> NetworkRecord | None:
        """Return the network of a full id."""
        return self._networks.get(ident)

    # -- addresses

    def expect(self, tenant: Tenant) -> None:
        """Keep the addresses a container asks for by number out of what is given to others."""
        for name, settings in tenant.endpoints.items():
            wanted = settings.ipam_config
            for text in (wanted.ipv4_address, wanted.ipv6_address) if wanted else ():
                if text:
                    holders = self._asked.setdefault(name, {}).setdefault(int(ip_address(text)), set())
                    holders.add(tenant.container_id)

    def unexpect(self, tenant: Tenant) -> None:
        """Take that back."""
        for name in tenant.endpoints:
            for number, holders in list(self._asked.get(name, {}).items()):
                holders.discard(tenant.container_id)
                if not holders:
                    del self._asked[name][number]

    def take(self, record: NetworkRecord, version: int, container_id: str, wanted: str) -> tuple[str, int, str]:
        """Give a container an address: the one `wanted` or the lowest free; return it, prefix length and gateway.

        Raises `AddressTaken`, `NoAddressLeft`.
        """
        pool = pool_of(record, version)
        if pool is None:
            return "", 0, ""
        taken = self._taken.setdefault(record.id, {})
        asked = self._asked.get(record.name, {})
        if wanted:
            number = int(ip_address(wanted))
            if number in taken:
                raise AddressTaken(wanted, record.name, f"container {short(taken[number])}")
            if number in fixed(pool):
                raise AddressTaken(wanted, record.name, "the network itself")
            address = wanted
        else:
            found = lowest_free(pool, lambda one: one in taken or bool(asked.get(one, set()) - {container_id}))
            if found is None:
                raise NoAddressLeft(record.name)
            number, address = int(found), str(found)
        taken[number] = container_id
        return address, int(pool.subnet.rpartition("/")[2]), pool.gateway

    def take_back(self, network_id: str, container_id: str, addresses: Iterable[str]) -> None:
        """Free a container's addresses on a network."""
        taken = self._taken.get(network_id, {})
        for address in addresses:
            if address and taken.get(int(ip_address(address))) == container_id:
                del taken[int(ip_address(address))]

    def keep(self, network_id: str, container_id: str, end: LiveEndpoint) -> None:
        """Mark what a container already has as taken (after a restart)."""
        for address in (end.ipv4, end.ipv6):
            if address:
                self._taken.setdefault(network_id, {})[int(ip_address(address))] = container_id

    # -- attachments

    def attach(self, container_id: str, end: LiveEndpoint) -> None:
        """Know that a container is on a network."""
        self._attached.setdefault(end.network_id, {})[container_id] = end

    def detach(self, container_id: str, end: LiveEndpoint) -> None:
        """Forget it and free its addresses."""
        self._attached.get(end.network_id, {}).pop(container_id, None)
        self.take_back(end.network_id, container_id, (end.ipv4, end.ipv6))

    def attached(self, network_id: str) -> dict[str, LiveEndpoint]:
        """Return container id → attachment of a network."""
        return self._attached.get(network_id, {})

    def load(self, sandboxes: Iterable[LiveSandbox]) -> None:
        """Take over what running containers have."""
        for sandbox in sandboxes:
            for end in sandbox.endpoints:
                self.keep(end.network_id, sandbox.container_id, end)
                self.attach(sandbox.container_id, end)
