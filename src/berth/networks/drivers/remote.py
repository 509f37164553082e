"""Networks that a plugin makes: what it is told of them, and the link it hands over. Pure.

The calls that need an answer (for one container) are `berth.networks.foreign`'s; what is planned here needs none.
"""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, Final

import msgspec

from berth.base.paths import Layout
from berth.networks.drivers.base import Traits, Way
from berth.networks.drivers.linkless import Linkless
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool
from berth.plan.model import Plan, Planned
from berth.plan.steps.handover import MoveLinkIn
from berth.plan.steps.plugin import CallPlugin
from berth.wire import plugins as wire

#: What a plugin implements to be a driver.
KIND: Final = "NetworkDriver"
#: Name of the engine's own address space, as plugins know it from Docker.
OWN_SPACE: Final = "LocalDefault"


class Remote(Linkless):
    """See `berth.networks.drivers.base.NetworkDriver`."""

    traits: Final = Traits(many_subnets=True, foreign=True)

    def plan_first(self, record: NetworkRecord) -> Plan:
        """Plan to tell the plugin of a new network; at later starts it remembers its networks itself."""
        step = CallPlugin(
            record.driver,
            f"{KIND}.CreateNetwork",
            _text(_creation(record)),
            f"{KIND}.DeleteNetwork",
            _text(wire.NetworkOnly(record.id)),
        )
        return (Planned(step, f"plugin {record.driver} makes network {record.name}"),)

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:  # noqa: ARG002
        """Have a gateway in each subnet of the engine's: what leads out in fact, the plugin says."""
        return Way.GATEWAY

    def own_mac(self, record: NetworkRecord) -> bool:  # noqa: ARG002
        """Let a MAC be asked for."""
        return True

    def plan_unmake(self, layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:  # noqa: ARG002
        """Plan to tell the plugin that a network is gone; like in Docker it cannot keep it."""
        step = CallPlugin(record.driver, f"{KIND}.DeleteNetwork", _text(wire.NetworkOnly(record.id)), lenient=True)
        return (Planned(step, f"network {record.name} goes"),)

    def link_prefix(self, record: NetworkRecord) -> str:  # noqa: ARG002
        """Return what links are called unless the plugin says otherwise."""
        return "eth"

    def plan_endpoint(
        self,
        record: NetworkRecord,
        namespace: str,
        end: LiveEndpoint,
        *,
        way_out: Collection[int],
        hairpin: bool,  # noqa: ARG002  ports are the plugin's
    ) -> Plan:
        """Plan to move the plugin's link in; a plugin may have none to hand over."""
        if not end.source:
            return ()
        addresses = tuple(
            f"{address}/{prefix}" for address, prefix in ((end.ipv4, end.prefix4), (end.ipv6, end.prefix6)) if address
        )
        gateways = tuple(gateway for version in sorted(way_out) if (gateway := end.gateway(version)))
        step = MoveLinkIn(end.source, namespace, end.link, end.mac, addresses, gateways, end.routes)
        return (Planned(step, f"link of plugin {record.driver} into network {record.name}"),)


def _text(body: msgspec.Struct) -> str:
    return msgspec.json.encode(body).decode()


def _creation(record: NetworkRecord) -> wire.CreateNetwork:
    options: dict[str, Any] = {wire.ENABLE_IPV4: record.enable_ipv4, wire.ENABLE_IPV6: record.enable_ipv6}
    if record.internal:
        options[wire.INTERNAL] = True
    options[wire.GENERIC] = dict(record.options)
    return wire.CreateNetwork(
        record.id,
        options,
        tuple(_address_data(pool) for pool in record.pools if ":" not in pool.subnet),
        tuple(_address_data(pool) for pool in record.pools if ":" in pool.subnet),
    )


def _address_data(pool: Pool) -> wire.AddressData:
    length = ip_network(pool.subnet).prefixlen
    return wire.AddressData(
        pool.space or OWN_SPACE,
        pool.subnet,
        f"{pool.gateway}/{length}" if pool.gateway else "",
        {name: f"{address}/{length}" for name, address in pool.auxiliary} or None,
    )
