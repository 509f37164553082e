"""Who has what, in memory: networks by name and id, addresses taken, containers attached. Rebuilt from records.

Synchronous on purpose: a question and the change that follows from it happen without anything in between.
Must not: touch kernel or store.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from berth.base.ids import by_prefix, is_full_id, short
from berth.base.nameindex import NameIndex
from berth.networks.errors import (
    AddressOfOldSubnet,
    AddressTaken,
    NetworkAmbiguous,
    NetworkNotFound,
    NoAddressLeft,
    PoolOverlaps,
)
from berth.networks.ipam.addresses import contains, fixed
from berth.networks.ipam.book import AddressBook, Usage, number_of
from berth.networks.ipam.subnets import SubnetIndex
from berth.networks.model import OWN_IPAM, LastHeld, LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.planning import pools_of, way_out


class Register:
    """The networks service's memory."""

    def __init__(self) -> None:
        """Know nothing."""
        self._clear()

    def _clear(self) -> None:
        self._networks: dict[str, NetworkRecord] = {}
        self._by_name: dict[str, str] = {}
        self._names = NameIndex()
        #: By network name, because addresses are asked for by name, also of networks that are yet to come.
        self._books: dict[str, AddressBook] = {}
        #: network id → container id → attachment
        self._attached: dict[str, dict[str, LiveEndpoint]] = {}
        #: Name of a bridge → network.
        self._bridges: dict[str, NetworkRecord] = {}
        #: Subnets of networks that are there or being made; `claim` writes it.
        self.subnets = SubnetIndex()
        self._claimed: dict[str, NetworkRecord] = {}

    def load(
        self,
        networks: Iterable[NetworkRecord],
        tenants: Iterable[Tenant],
        sandboxes: Iterable[LiveSandbox],
        last: Iterable[LastHeld] = (),
    ) -> None:
        """Know what is on record, and nothing else."""
        self._clear()
        for record in networks:
            self.add(record)
        for tenant in tenants:
            self.expect(tenant)
        for sandbox in sandboxes:
            for end in sandbox.endpoints:
                self.keep(end.network_id, sandbox.container_id, end)
                self.attach(sandbox.container_id, end)
        for held in last:
            for network_id in held.addresses.keys() & self._networks.keys():
                book = self._book(self._networks[network_id].name)
                for address in held.addresses[network_id]:
                    book.remember(held.container_id, number_of(address))

    # -- networks

    def claim(self, record: NetworkRecord) -> None:
        """Keep a network's subnets and bridge from others, before it is made."""
        if record.id in self._claimed or record.config_only:
            return
        self._claimed[record.id] = record
        for pool in record.pools if _has_to_itself(record) else ():
            self.subnets.add(ip_network(pool.subnet), record.name)
        if record.bridge:
            self._bridges[record.bridge] = record

    def unclaim(self, record: NetworkRecord) -> None:
        """Let go of them."""
        if record.id not in self._claimed:
            return
        del self._claimed[record.id]
        for pool in record.pools if _has_to_itself(record) else ():
            self.subnets.remove(ip_network(pool.subnet), record.name)
        if record.bridge and self._bridges[record.bridge].id == record.id:
            del self._bridges[record.bridge]

    def add(self, record: NetworkRecord) -> None:
        """Know a network, as it was made."""
        self.claim(record)
        if record.id in self._claimed:
            self._claimed[record.id] = record
            if record.bridge:
                self._bridges[record.bridge] = record
        self._networks[record.id] = record
        self._by_name[record.name] = record.id
        self._names.add(record.name)

    def claim_instead(self, old: NetworkRecord, new: NetworkRecord) -> None:
        """Keep from others what a network will have instead of what it had. Raises `PoolOverlaps`."""
        self.unclaim(old)
        for pool in new.pools:
            held = self.subnets.clash(ip_network(pool.subnet))
            if held is not None:
                self.claim(old)
                raise PoolOverlaps(pool.subnet, str(held.subnet), f"network {held.holder}")
        self.claim(new)

    def change(
        self,
        old: NetworkRecord,
        new: NetworkRecord,
        tenants: Iterable[tuple[Tenant, Tenant]],
        lives: Iterable[tuple[LiveSandbox, LiveSandbox]],
    ) -> None:
        """Know a network, and those who want or have it, as they are after a change; its claims were changed before."""
        tenants, lives = list(tenants), list(lives)
        for was, _ in tenants:
            self.unexpect(was)
        for before, _ in lives:
            for end in before.endpoints:
                if end.network_id == old.id:
                    self.take_back(old.id, before.container_id, (end.ipv4, end.ipv6))
        if new.name != old.name:
            del self._by_name[old.name]
            self._names.discard(old.name)
            self._books.pop(old.name, None)
        self.add(new)
        for _, now in tenants:
            self.expect(now)
        for _, after in lives:
            for end in after.endpoints:
                if end.network_id == new.id:
                    self.keep(new.id, after.container_id, end)
                    self.attach(after.container_id, end)

    def discard(self, record: NetworkRecord) -> None:
        """Forget a network."""
        self._networks.pop(record.id, None)
        if self._by_name.get(record.name) == record.id:
            del self._by_name[record.name]
            self._names.discard(record.name)
            book = self._book(record.name)
            book.clear()
            if book.is_blank():  # else every name there ever was would be remembered
                del self._books[record.name]
        self._attached.pop(record.id, None)
        self.unclaim(record)

    def claimed(self) -> Iterable[NetworkRecord]:
        """Return the networks that are there or being made."""
        return self._claimed.values()

    def on_bridge(self, name: str) -> NetworkRecord | None:
        """Return the network that has a bridge of that name, or is about to."""
        return self._bridges.get(name)

    def all(self) -> list[NetworkRecord]:
        """Return every network, oldest first."""
        return list(self._networks.values())

    def like(self, names: Sequence[str]) -> list[NetworkRecord]:
        """Return the networks whose names fit a filter, oldest first."""
        found = [self._networks[self._by_name[name]] for name in self._names.matching(names)]
        return sorted(found, key=lambda one: one.created_ns)

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

    def _book(self, name: str) -> AddressBook:
        return self._books.setdefault(name, AddressBook())

    def expect(self, tenant: Tenant) -> None:
        """Keep the addresses a container asks for by number out of what is given to others."""
        for name, number in _asked(tenant):
            self._book(name).expect(tenant.container_id, number)

    def unexpect(self, tenant: Tenant) -> None:
        """Take that back."""
        for name, number in _asked(tenant):
            self._book(name).unexpect(tenant.container_id, number)

    def forget(self, tenant: Tenant) -> None:
        """Drop all memory of a container that is gone."""
        self.unexpect(tenant)
        for name in tenant.endpoints:
            self._book(name).forget(tenant.container_id)

    def take(self, record: NetworkRecord, version: int, container_id: str, wanted: str) -> tuple[str, int, str]:
        """Give a container an address: the one `wanted`, the one it had last, or the lowest free.

        Return it, prefix length and where the default route leads. Raises `AddressOfOldSubnet`, `AddressTaken`,
        `NoAddressLeft`.
        """
        pools = pools_of(record, version)
        if not pools:
            return "", 0, ""
        book = self._book(record.name)
        pool = pools[0]
        if wanted:
            home = next((one for one in pools if contains(one, ip_address(wanted))), None)
            if home is None:
                raise AddressOfOldSubnet(wanted, record.name, [one.subnet for one in pools])
            pool = home
            number, address = number_of(wanted), wanted
            holder = book.holder(number)
            if holder is not None:
                raise AddressTaken(wanted, record.name, f"container {short(holder)}")
            if number in fixed(pool):
                raise AddressTaken(wanted, record.name, "the network itself")
        else:
            free = ((one, book.choose(one, container_id)) for one in pools)
            pool, found = next(((one, number) for one, number in free if number is not None), (pool, None))
            if found is None:
                raise NoAddressLeft(record.name, version)
            number, address = int(found), str(found)
        book.hold(container_id, number)
        return address, int(pool.subnet.rpartition("/")[2]), way_out(pool)

    def take_back(self, network_id: str, container_id: str, addresses: Iterable[str]) -> None:
        """Free a container's addresses on a network."""
        record = self._networks.get(network_id)
        if record is None:
            return  # with the network went its addresses
        for address in addresses:
            if address:
                self._book(record.name).give_back(container_id, number_of(address))

    def keep(self, network_id: str, container_id: str, end: LiveEndpoint) -> None:
        """Mark what a container already has as taken (after a restart)."""
        record = self._networks.get(network_id)
        for address in (end.ipv4, end.ipv6) if record else ():
            if address and record:
                self._book(record.name).hold(container_id, number_of(address))

    def usage(self, record: NetworkRecord) -> dict[str, Usage]:
        """Return how full each of a network's subnets is."""
        if record.config_only:
            return {}
        return {pool.subnet: self._book(record.name).usage(pool) for pool in record.pools}

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


def _has_to_itself(record: NetworkRecord) -> bool:
    """Tell whether nobody else may have a network's subnets: of a plugin's own networks and addresses it knows best."""
    return record.ipam_driver == OWN_IPAM or bool(record.bridge)


def _asked(tenant: Tenant) -> Iterable[tuple[str, int]]:
    for name, settings in tenant.endpoints.items():
        wanted = settings.ipam_config
        for text in (wanted.ipv4_address, wanted.ipv6_address) if wanted else ():
            if text:
                yield name, number_of(text)
