"""What an attachment needs is reserved (its network, addresses, the name of its link, ports) and its making planned.

Where plugins make attachments, they are asked here too. Must not: carry out what it plans, or undo what others did
with what was reserved: whoever asked for it gives it back.
"""

from collections.abc import Iterable

import msgspec

from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.networks.drivers.base import NetworkDriver, Way
from berth.networks.drivers.errors import MacFixed
from berth.networks.drivers.registry import driver_of
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.errors import ConfigNotJoinable, NetworkNotFound
from berth.networks.foreign import Foreign, Granted, Place
from berth.networks.ipam.addresses import MAC_PREFIX, mac_of
from berth.networks.ipam.dhcp.pools import DHCP
from berth.networks.leases import Leased, Leases
from berth.networks.limits import link_local, plan_settings
from berth.networks.linking import Linking
from berth.networks.model import (
    BY_LINK4,
    BY_LINK6,
    DEFAULT,
    LiveEndpoint,
    LiveSandbox,
    NetworkRecord,
    Published,
    Tenant,
    veth_name,
)
from berth.networks.options import parse_bridge
from berth.networks.planning import next_link_name, ways_out
from berth.networks.ports.publishing import Publishing, publishers, publishes
from berth.networks.register import Register
from berth.networks.routing import plan_replies
from berth.plan.model import Plan, Planned
from berth.store.base import Records
from berth.wire.networks import EndpointSettings


class Reserving:
    """Reserves for containers that start or join a network."""

    def __init__(
        self,
        *,
        layout: Layout,
        live: Records[LiveSandbox],
        register: Register,
        publishing: Publishing,
        foreign: Foreign,
        leases: Leases,
        linking: Linking,
    ) -> None:
        self._layout = layout
        self._live = live
        self._register = register
        self._publishing = publishing
        self._foreign = foreign
        self._leases = leases
        self._linking = linking

    def network_of(self, name: str, settings: EndpointSettings) -> NetworkRecord:
        """Return the network a container wants under a name; the id counts where it has one."""
        record = self._register.by_id(settings.network_id or "") or self._register.named(name)
        if record is None:
            raise NetworkNotFound(name)
        return record

    def wanted(self, tenant: Tenant) -> list[tuple[NetworkRecord, EndpointSettings]]:
        """Return the networks a container is to be on at its start, with what it wants there.

        Where the engine is to have no default network, nothing comes of wanting it.
        """
        return [
            (self.network_of(name, settings), settings)
            for name, settings in tenant.endpoints.items()
            if name != DEFAULT or self._register.named(DEFAULT) is not None
        ]

    async def reserve(
        self, tenant: Tenant, record: NetworkRecord, settings: EndpointSettings, ends: Iterable[LiveEndpoint]
    ) -> LiveEndpoint:
        """Reserve what an attachment needs beside `ends`, its addresses with whoever gives them."""
        if record.config_only:
            raise ConfigNotJoinable(record.name)
        if record.ipam_driver == DHCP:
            return await self._lent(tenant, record, settings, ends)
        granted = await self._foreign.grant(record, settings)
        try:
            return self._take(tenant, record, settings, ends, granted)
        except BaseException:
            if granted is not None:
                await self._foreign.give_back(record, [address for address, _ in granted.found.values()])
            raise

    async def _lent(
        self, tenant: Tenant, record: NetworkRecord, settings: EndpointSettings, ends: Iterable[LiveEndpoint]
    ) -> LiveEndpoint:
        """Reserve what an attachment needs, its address with the DHCP server of the network."""
        if settings.mac_address and not driver_of(record).own_mac(record):
            raise MacFixed(record.driver)
        leased = await self._leases.obtain(tenant, record, settings)
        settings = msgspec.structs.replace(settings, mac_address=self._leases.mac(tenant, record, settings) or None)
        try:
            end = self._take(tenant, record, settings, ends, leased)
        except BaseException:
            await self._leases.decline(tenant, record, settings, leased)
            raise
        end = msgspec.structs.replace(end, lease=leased.lease)
        self._register.attach(tenant.container_id, end)
        return end

    async def join(self, tenant: Tenant, live: LiveSandbox, ends: list[LiveEndpoint]) -> None:
        """Have plugins make their attachments, in a namespace that is there; the list then has what they said.

        A record is kept first: after a kill, plugins are told of the end of what they may have made.
        """
        await self._live.put(live.container_id, msgspec.structs.replace(live, endpoints=tuple(ends)))
        for at, end in enumerate(ends):
            record = self._register.by_id(end.network_id)
            if record is not None and end.pending:
                names = tuple(one.link for one in ends if one is not end and one.link)
                ends[at] = await self._foreign.join(tenant, end, Place(record, live.netns_path, names))
                self._register.attach(tenant.container_id, ends[at])

    def _take(
        self,
        tenant: Tenant,
        record: NetworkRecord,
        settings: EndpointSettings,
        ends: Iterable[LiveEndpoint],
        granted: Granted | Leased | None,
    ) -> LiveEndpoint:
        if self._register.by_id(record.id) is None:  # removed since it was looked up; from here on it is held
            raise NetworkNotFound(record.name)
        endpoint_id, options = new_id(), parse_endpoint(settings.driver_opts)
        end = LiveEndpoint(record.id, record.name, endpoint_id, gw_priority=settings.gw_priority or 0)
        driver = driver_of(record)
        if not driver.traits.links:
            self._register.attach(tenant.container_id, end)
            return end
        if settings.mac_address and not driver.own_mac(record):
            raise MacFixed(record.driver)
        asked, giver = settings.ipam_config, granted or self._register
        ipv4, prefix4, gateway4 = giver.take(
            record, 4, tenant.container_id, (asked.ipv4_address or "") if asked else ""
        )
        ipv6, prefix6, gateway6 = "", 0, ""
        if record.enable_ipv6:
            try:
                ipv6, prefix6, gateway6 = giver.take(
                    record, 6, tenant.container_id, (asked.ipv6_address or "") if asked else ""
                )
            except BaseException:
                self._register.take_back(record.id, tenant.container_id, (ipv4,))
                raise
        named = [parse_endpoint(one.driver_opts).link for one in tenant.endpoints.values()]
        name = options.link or next_link_name(driver.link_prefix(record), [*named, *(one.link for one in ends)])
        mac = _mac(driver, settings, end, ipv4 or ipv6) if driver.own_mac(record) else ""
        way = driver.way(record.options, internal=record.internal)
        end = msgspec.structs.replace(
            end,
            host_link=veth_name(self._layout, endpoint_id) if driver.traits.near_end else "",
            link=name,
            mac=mac,
            ipv4=ipv4,
            prefix4=prefix4,
            gateway4=_way_out(way, gateway4, BY_LINK4) if ipv4 else "",
            ipv6=ipv6,
            prefix6=prefix6,
            gateway6=_way_out(way, gateway6, BY_LINK6) if ipv6 else "",
            no_default_route=options.no_default_route,
            link_local=link_local(asked.link_local_ips if asked else None),
            shape=options.shape,
            pending=driver.traits.foreign,
        )
        self._register.attach(tenant.container_id, end)
        return end

    def give_back(self, container_id: str, ends: Iterable[LiveEndpoint], published: tuple[Published, ...]) -> None:
        """Let go what the engine itself gave: ports and addresses. Leases and what plugins gave are their givers'."""
        self._publishing.release(published)
        for end in ends:
            self._register.detach(container_id, end)

    def claim_ports(self, tenant: Tenant, ends: Iterable[LiveEndpoint]) -> tuple[Published, ...]:
        """Hold the ports a container wants published, at the attachments that lead to it."""
        if not publishes(tenant):
            return ()
        options = {}
        for version, end in publishers(ends).items():
            record = self._register.by_id(end.network_id)
            options[version] = parse_bridge(record.options if record else {})
        return self._publishing.claim(tenant, ends, options)

    # -- what is to be done

    def plan(
        self, tenant: Tenant, namespace: str, ends: Iterable[LiveEndpoint], published: tuple[Published, ...]
    ) -> Plan:
        """Plan all attachments of a container, with its ports, its links and the routes of answers."""
        if not namespace:
            return ()
        ends = list(ends)
        plan: list[Planned] = []
        for end in ends:
            plan += self.plan_end(tenant, namespace, end, ways_out(ends, end))
        plan += plan_replies(namespace, (), ends)
        return (*plan, *self._publishing.plan(ends, published), *self._linking.plan(tenant, namespace, ends))

    def plan_end(self, tenant: Tenant, namespace: str, end: LiveEndpoint, way_out: tuple[int, ...]) -> Plan:
        """Plan one attachment: its link, with the default routes that lead through it, and what settings add."""
        record = self._register.by_id(end.network_id)
        if record is None:
            return ()
        driver, settings = driver_of(record), tenant.endpoints.get(end.network_name) or EndpointSettings()
        made = driver.plan_endpoint(record, namespace, end, way_out=way_out, hairpin=publishes(tenant))
        return (*made, *plan_settings(namespace, end, parse_endpoint(settings.driver_opts)))


def _way_out(way: Way, gateway: str, by_link: str) -> str:
    return {Way.NONE: "", Way.GATEWAY: gateway, Way.LINK: by_link}[way]


def _mac(driver: NetworkDriver, settings: EndpointSettings, end: LiveEndpoint, address: str) -> str:
    """Return the MAC asked for, or one made from the address or the attachment's id; a plugin makes its own."""
    if driver.traits.foreign:
        return (settings.mac_address or "").lower().replace("-", ":")
    made = mac_of(address) if address else f"{MAC_PREFIX}:{bytes.fromhex(end.endpoint_id[:8]).hex(':')}"
    return (settings.mac_address or made).lower().replace("-", ":")
