"""What plugins do for networks and containers: subnets, addresses, endpoints; all of it given back on failure.

A plugin may fail, hang, babble or be gone at every call. What it may have done is taken back as well as it lets itself
be: calls that take back are tried once and logged. Must not: keep records, or decide which attachment leads out.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import EngineError, SystemFault
from berth.kernel import link
from berth.networks.drivers.registry import driver_of
from berth.networks.drivers.remote import KIND
from berth.networks.errors import BadOption, BridgeSubnetTaken, NotASwarmManager
from berth.networks.ipam.base import Ipam
from berth.networks.ipam.pools import Network
from berth.networks.ipam.registry import IPAMS, foreign_ipam
from berth.networks.model import OWN_IPAM, LiveEndpoint, NetworkRecord, Pool, Tenant
from berth.networks.planning import next_link_name, pool_of
from berth.networks.ports.choose import parse_port
from berth.plan.run import Runner
from berth.plan.steps.handover import MoveLinkOut
from berth.plugins.errors import PluginBabbles, PluginRefused, PluginUnusable
from berth.plugins.rpc import Plugins
from berth.wire import plugins as wire
from berth.wire.networks import EndpointSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

#: IP protocol numbers of ports, as plugins are told them (IANA).
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}


class Modified(SystemFault):
    """A plugin answers with another address than the one it was told."""

    def __init__(self, ours: str, theirs: str) -> None:
        super().__init__(
            f"driver modified interface address: endpoint interface IP present ({ours}). "
            f"Cannot be modified with {theirs}."
        )


class Granted:
    """Addresses a foreign management gave one attachment; takes the register's place when they are given out."""

    def __init__(self, found: Mapping[int, tuple[str, int]]) -> None:
        """Hold address and prefix length by IP version."""
        self.found = found

    def take(self, record: NetworkRecord, version: int, container_id: str, wanted: str) -> tuple[str, int, str]:  # noqa: ARG002
        """Return the address, its prefix length and the network's gateway; see `Register.take`."""
        address, prefix = self.found.get(version, ("", 0))
        pool = pool_of(record, version)
        return address, prefix, pool.gateway if pool and address else ""


class Place(NamedTuple):
    """Where one attachment belongs."""

    record: NetworkRecord
    namespace: str
    #: Names that links in the namespace have already.
    names: tuple[str, ...]


class Foreign:
    """Plugins, as networks use them."""

    def __init__(self, plugins: Plugins, runner: Runner, find: Callable[[str], NetworkRecord | None]) -> None:
        """Look networks up by id with `find`."""
        self._plugins = plugins
        self._runner = runner
        self._find = find

    # -- networks

    async def require_driver(self, name: str) -> None:
        """Make sure that a plugin is there and can be a driver here; Docker's words if not."""
        await in_thread(self._plugins.require, name, KIND)
        try:
            said = await self._ask(name, "GetCapabilities", None, wire.Capabilities)
            if said.scope not in ("local", "global"):
                raise PluginBabbles(
                    name, f"{KIND}.GetCapabilities", f"expecting 'local' or 'global', got {said.scope!r}"
                )
        except EngineError as exc:
            raise PluginUnusable(f"could not resolve driver {name} in registry: {exc}") from exc
        if said.scope == "global":
            raise NotASwarmManager

    async def require_ipam(self, name: str) -> None:
        """Make sure that an address management is there."""
        if name not in ("", OWN_IPAM, *IPAMS):
            await in_thread(self._plugins.require, name, "IpamDriver")

    async def take_pools(
        self, ipam_name: str, asked: Sequence[Pool], versions: Sequence[int], options: Mapping[str, str],
        busy: Callable[[Network], bool],
    ) -> tuple[Pool, ...]:  # fmt: skip
        """Take every subnet asked for, and one of each IP version that has none; all or none."""
        ipam = foreign_ipam(ipam_name, self._plugins)
        if ipam is None:
            raise AssertionError("the engine's own addresses are not taken here")
        wanted: list[tuple[Pool | None, int]] = []
        for version in versions:
            named = [pool for pool in asked if (":" in pool.subnet) == (version == 6)]
            wanted += [(pool, version) for pool in named] or [(None, version)]
        taken: list[Pool] = []
        try:
            for pool, version in wanted:
                taken.append(await ipam.take_pool(pool, version, options, busy))
        except BaseException:
            await _drop(ipam, taken)
            raise
        return tuple(taken)

    async def drop_pools(self, record: NetworkRecord) -> None:
        """Give back what `take_pools` took; nothing for networks with addresses of the engine."""
        ipam = foreign_ipam(record.ipam_driver, self._plugins)
        if ipam is not None:
            await _drop(ipam, record.pools)

    # -- attachments

    def concerns(self, ends: Iterable[LiveEndpoint]) -> bool:
        """Tell whether a plugin has a part in any of these."""
        return any(self._is_foreign(end) for end in ends)

    def _is_foreign(self, end: LiveEndpoint) -> bool:
        record = self._find(end.network_id)
        return record is not None and driver_of(record).traits.foreign

    async def grant(self, record: NetworkRecord, settings: EndpointSettings) -> Granted | None:
        """Take an attachment's addresses from a foreign management; None where the engine gives them."""
        ipam = foreign_ipam(record.ipam_driver, self._plugins)
        if ipam is None:
            return None
        asked = settings.ipam_config
        found: dict[int, tuple[str, int]] = {}
        try:
            for version in (4, 6):
                pool = pool_of(record, version)
                wanted = (asked.ipv4_address if version == 4 else asked.ipv6_address) if asked else ""
                if pool is not None:
                    found[version] = await ipam.take_address(pool, wanted or "", settings.mac_address or "")
        except BaseException:
            await self.give_back(record, [address for address, _ in found.values()])
            raise
        return Granted(found)

    async def give_back(self, record: NetworkRecord, addresses: Iterable[str]) -> None:
        """Give addresses back to a foreign management."""
        ipam = foreign_ipam(record.ipam_driver, self._plugins)
        for address in addresses if ipam is not None else ():
            pool = pool_of(record, 6 if ":" in address else 4) if address else None
            if ipam is not None and pool is not None:
                await ipam.drop_address(pool, address)

    async def join(self, tenant: Tenant, end: LiveEndpoint, place: Place) -> LiveEndpoint:
        """Have a plugin make an attachment: what it said of addresses, link, gateway, routes is in what is returned.

        The link itself is still on the host. Nothing remains with the plugin if this fails.
        """
        record = place.record
        options = _options(tenant, tenant.endpoints.get(record.name))
        told = wire.Interface(_cidr(end.ipv4, end.prefix4), _cidr(end.ipv6, end.prefix6), end.mac)
        try:
            ask = wire.CreateEndpoint(record.id, end.endpoint_id, told, options)
            made = await self._ask(record.driver, "CreateEndpoint", ask, wire.CreateEndpointAnswer)
        except PluginRefused:
            raise
        except BaseException:  # it may have been made all the same
            await self._tell(record.driver, "DeleteEndpoint", end)
            raise
        try:
            end = _with_interface(record.driver, end, made.interface or wire.Interface())
            joining = wire.Join(record.id, end.endpoint_id, place.namespace, options)
            try:
                said = await self._ask(record.driver, "Join", joining, wire.JoinAnswer)
                end = _joined(record, end, said, place.names)
                return await self._with_mac(end)
            except PluginRefused:
                raise
            except BaseException:
                await self._tell(record.driver, "Leave", end)
                raise
        except BaseException:
            await self._tell(record.driver, "DeleteEndpoint", end)
            raise

    async def _with_mac(self, end: LiveEndpoint) -> LiveEndpoint:
        """Note the hardware address a plugin's link has, if nobody chose one."""
        if end.mac or not end.source:
            return end
        found = (await in_thread(link.look_up, (end.source,))).get(end.source)
        return msgspec.structs.replace(end, mac=found.mac) if found else end

    async def part(self, namespace: str, ends: Iterable[LiveEndpoint]) -> None:
        """End attachments: links back to the host, then the plugins are told, then addresses are given back."""
        for end in ends:
            record = self._find(end.network_id)
            if record is None:
                continue
            if driver_of(record).traits.foreign:
                if end.source and namespace:
                    await in_thread(self._runner.apply_all, (MoveLinkOut(namespace, end.link, end.source),))
                await self._tell(record.driver, "Leave", end)
                await self._tell(record.driver, "DeleteEndpoint", end)
            await self.give_back(record, (end.ipv4, end.ipv6))

    async def detail(self, end: LiveEndpoint) -> dict[str, Any]:
        """Return what a plugin says of an attachment, in its own words; nothing if it says nothing."""
        record = self._find(end.network_id)
        if record is None or not driver_of(record).traits.foreign:
            return {}
        body = wire.EndpointOnly(record.id, end.endpoint_id)
        try:
            return (await self._ask(record.driver, "EndpointOperInfo", body, wire.OperInfoAnswer)).value or {}
        except EngineError as exc:
            log.warning("plugin %s: %s", record.driver, exc)
            return {}

    # -- calls

    async def _ask(self, name: str, method: str, body: object, answer: type[T]) -> T:
        return await in_thread(self._plugins.call, name, f"{KIND}.{method}", body, answer)

    async def _tell(self, name: str, method: str, end: LiveEndpoint) -> None:
        body = wire.EndpointOnly(end.network_id, end.endpoint_id)
        await in_thread(self._plugins.take_back, name, f"{KIND}.{method}", body)


async def _drop(ipam: Ipam, pools: Iterable[Pool]) -> None:
    for pool in pools:
        await ipam.drop_pool(pool)


def check_bridge_pools(pools: Iterable[Pool], clash: Callable[[Network], str]) -> None:
    """Refuse what a bridge of ours cannot have of a foreign management: nothing, or another network's subnet."""
    for pool in pools:
        network = ip_network(pool.subnet)
        if network.prefixlen == 0:
            raise BadOption(f"ipv{network.version} pool is empty")
        holder = clash(network)
        if holder:
            raise BridgeSubnetTaken(pool.subnet, holder)


def _cidr(address: str, prefix: int) -> str:
    return f"{address}/{prefix}" if address else ""


def _options(tenant: Tenant, settings: EndpointSettings | None) -> dict[str, Any]:
    """Return what a plugin is told of a container: its ports, and options given for this attachment."""
    ports = [parse_port(text) for text in tenant.exposed_ports]
    exposed = [{"Proto": _PROTOCOLS.get(protocol, 0), "Port": port} for port, protocol in ports]
    bound = []
    for text, bindings in tenant.port_bindings.items():
        port, protocol = parse_port(text)
        for one in bindings or ():
            asked = one.host_port or ""
            number = int(asked) if asked.isdecimal() else 0
            row = {"Proto": _PROTOCOLS.get(protocol, 0), "IP": "", "Port": port}
            bound.append(row | {"HostIP": one.host_ip or "", "HostPort": number, "HostPortEnd": number})
    given: dict[str, Any] = dict(settings.driver_opts or {}) if settings else {}
    return given | {wire.EXPOSED_PORTS: exposed, wire.PORT_MAP: bound}


def _with_interface(name: str, end: LiveEndpoint, said: wire.Interface) -> LiveEndpoint:
    """Return the attachment with what a plugin chose; it may not change what it was told."""
    changes: dict[str, Any] = {}
    for text, ours, address, prefix in (
        (said.address, end.ipv4, "ipv4", "prefix4"),
        (said.address6, end.ipv6, "ipv6", "prefix6"),
    ):
        if not text:
            continue
        given = _interface(name, text)
        if ours:
            raise Modified(ours, text)
        changes |= {address: str(given.ip), prefix: given.network.prefixlen}
    if said.mac:
        if end.mac and end.mac.lower() != said.mac.lower():
            raise Modified(end.mac, said.mac)
        changes["mac"] = said.mac.lower().replace("-", ":")
    return msgspec.structs.replace(end, **changes)


def _interface(name: str, text: str) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(text)
    except ValueError as exc:
        raise PluginBabbles(name, f"{KIND}.CreateEndpoint", str(exc)) from None


def _joined(record: NetworkRecord, end: LiveEndpoint, said: wire.JoinAnswer, names: Sequence[str]) -> LiveEndpoint:
    """Return the attachment with link, gateways and routes as a plugin says; checked before anything is done."""
    method = f"{KIND}.Join"
    for what, text in (("Gateway", said.gateway), ("GatewayIPv6", said.gateway6)):
        try:
            ip_address(text or "::")
        except ValueError:
            raise PluginBabbles(record.driver, method, f'unable to parse {what} "{text}"') from None
    routes = []
    for one in said.routes or ():
        try:
            ip_network(one.destination, strict=False)
            if one.kind == 0:
                ip_address(one.hop)
        except ValueError as exc:
            raise PluginBabbles(record.driver, method, f"static route: {exc}") from None
        routes.append((one.destination, one.hop if one.kind == 0 else ""))
    name = said.interface or wire.InterfaceName()
    prefix = name.prefix or "eth"
    if not prefix.isascii() or not prefix.isprintable() or "/" in prefix or " " in prefix or len(prefix) > 12:
        raise PluginBabbles(record.driver, method, f"{prefix!r} cannot begin a link's name")
    inside = end.link if prefix == "eth" and end.link not in names else next_link_name(prefix, names)
    return msgspec.structs.replace(
        end,
        source=name.source,
        link=inside if name.source else "",
        gateway4="" if record.internal else said.gateway,
        gateway6="" if record.internal else said.gateway6,
        routes=tuple(routes),
        pending=False,
    )
