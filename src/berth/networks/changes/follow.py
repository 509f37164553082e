"""A network's old and new record → what its containers want and have afterwards. Pure."""

from collections.abc import Callable, Collection
from ipaddress import ip_address, ip_network

import msgspec

from berth.networks.errors import NoAddressLeft
from berth.networks.ipam.addresses import bounds, fixed, mac_of
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Tenant
from berth.networks.planning import pool_of, way_out
from berth.wire.networks import EndpointSettings


def moved_address(address: str, old: Pool | None, new: Pool, taken: Collection[int]) -> str | None:
    """Return the address with the same place in another subnet, or the lowest free one; None if it is full.

    What people remember of an address is its end.
    """
    _, first, last = bounds(new)
    kept = fixed(new)
    if address and old is not None:
        place = int(ip_address(address)) - int(ip_network(old.subnet).network_address)
        number = int(ip_network(new.subnet).network_address) + place
        if first <= number <= last and number not in kept and number not in taken:
            return str(type(ip_network(new.subnet).network_address)(number))
    found = next((one for one in range(first, last + 1) if one not in kept and one not in taken), None)
    return None if found is None else str(type(ip_network(new.subnet).network_address)(found))


class Follower:
    """Gives the containers of one network their new names and addresses, one after the other."""

    def __init__(self, old: NetworkRecord, new: NetworkRecord) -> None:
        self._old, self._new = old, new
        self._taken: set[int] = set()
        #: Old address → new address.
        self._moved: dict[str, str] = {}

    def _address(self, address: str, version: int) -> str:
        old, new = pool_of(self._old, version), pool_of(self._new, version)
        if new is None:
            return ""
        if old is not None and old.subnet == new.subnet and address:
            return address
        if address in self._moved:
            return self._moved[address]
        found = moved_address(address, old, new, self._taken)
        if found is None:
            raise NoAddressLeft(self._new.name, version)
        self._taken.add(int(ip_address(found)))
        if address:
            self._moved[address] = found
        return found

    def tenant(self, tenant: Tenant) -> Tenant:
        """Return what a container wants: the network by its new name, fixed addresses in its new subnet."""
        endpoints: dict[str, EndpointSettings] = {}
        for name, settings in tenant.endpoints.items():
            is_it = name == self._old.name
            endpoints[self._new.name if is_it else name] = self._settings(settings) if is_it else settings
        mode = self._new.name if tenant.mode == self._old.name else tenant.mode
        return msgspec.structs.replace(tenant, endpoints=endpoints, mode=mode)

    def _settings(self, settings: EndpointSettings) -> EndpointSettings:
        asked = settings.ipam_config
        if asked is None:
            return settings
        v4, v6 = asked.ipv4_address or "", asked.ipv6_address or ""
        changed = msgspec.structs.replace(
            asked,
            ipv4_address=self._address(v4, 4) if v4 else v4,
            ipv6_address=self._address(v6, 6) if v6 else v6,
        )
        return msgspec.structs.replace(settings, ipam_config=changed)

    def live(self, live: LiveSandbox, mac_fixed: Callable[[str], bool]) -> LiveSandbox:
        """Return what a running container has; ports are left as they are. `mac_fixed` tells a MAC given by a user."""
        ends = tuple(
            self._end(end, keep_mac=mac_fixed(live.container_id)) if end.network_id == self._old.id else end
            for end in live.endpoints
        )
        return msgspec.structs.replace(live, endpoints=ends)

    def _end(self, end: LiveEndpoint, *, keep_mac: bool) -> LiveEndpoint:
        end = msgspec.structs.replace(end, network_name=self._new.name)
        if not end.link or (self._old.pools, self._old.internal) == (self._new.pools, self._new.internal):
            return end
        v4, v6 = pool_of(self._new, 4), pool_of(self._new, 6)
        ipv4 = self._address(end.ipv4, 4)
        ipv6 = self._address(end.ipv6, 6) if v6 is not None else ""
        reaches_out = not self._new.internal
        return msgspec.structs.replace(
            end,
            ipv4=ipv4,
            prefix4=ip_network(v4.subnet).prefixlen if v4 else 0,
            gateway4=way_out(v4) if v4 and reaches_out else "",
            ipv6=ipv6,
            prefix6=ip_network(v6.subnet).prefixlen if v6 else 0,
            gateway6=way_out(v6) if v6 and reaches_out else "",
            # as for a new attachment, or two containers might come to share one
            mac=end.mac if keep_mac or ipv4 == end.ipv4 or not ipv4 else mac_of(ipv4),
        )
