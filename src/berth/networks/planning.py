"""Wanted → steps: for a network, for a container's attachment. Pure."""

from collections.abc import Collection, Iterable
from ipaddress import ip_network

import msgspec

from berth.base.paths import Layout
from berth.networks.firewall import egress
from berth.networks.firewall.ruleset import BridgePolicy, FamilyPolicy
from berth.networks.ipam.addresses import mac_of
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, alias_mark
from berth.networks.options import DEFAULT_GATEWAYS, BridgeOptions, GatewayMode, parse_bridge
from berth.networks.segments import segment_of
from berth.plan.model import Plan, Planned
from berth.plan.steps.link import AddressBridge, LeadLoopback, MakeBridge, MakeContainerLink


def pool_of(record: NetworkRecord, version: int) -> Pool | None:
    """Return a network's pool of one IP version, the first where it has several."""
    return next(iter(pools_of(record, version)), None)


def pools_of(record: NetworkRecord, version: int) -> list[Pool]:
    """Return a network's pools of one IP version."""
    return [pool for pool in record.pools if (":" in pool.subnet) == (version == 6)]


def way_out(pool: Pool) -> str:
    """Return the address that containers' default route leads to: the bridge's, or another that was named."""
    key = DEFAULT_GATEWAYS[6 if ":" in pool.subnet else 4]
    return dict(pool.auxiliary).get(key, pool.gateway)


def policy_of(record: NetworkRecord) -> BridgePolicy:
    """Return what a bridge network may do."""
    options, outward = parse_bridge(record.options), egress.parse(record.options)
    return BridgePolicy(
        link=record.bridge,
        icc=options.icc,
        internal=record.internal,
        trusted=options.trusted,
        ipv4=_family(options, 4),
        ipv6=_family(options, 6),
        guarded=outward.deny,
        allowed=egress.destinations(outward.allowed),
    )


def _family(options: BridgeOptions, version: int) -> FamilyPolicy:
    mode = options.mode(version)
    return FamilyPolicy(
        masquerade=options.masquerade,
        source=options.source4 if version == 4 else options.source6,
        open=mode is GatewayMode.UNPROTECTED,
        routed=mode is GatewayMode.ROUTED,
    )


def needs_no_gateway(options: BridgeOptions, version: int, *, internal: bool) -> bool:
    """Tell whether no address is to be set aside for the bridge, because nobody will use it."""
    inhibited = version == 4 and options.inhibit_ipv4 and internal
    return options.mode(version) is GatewayMode.ISOLATED or inhibited


def bridge_addresses(record: NetworkRecord, options: BridgeOptions) -> tuple[str, ...]:
    """Return the gateway addresses the bridge itself has, as CIDR texts."""
    found = []
    for pool in record.pools:
        version = 6 if ":" in pool.subnet else 4
        is_inhibited = version == 4 and options.inhibit_ipv4
        if pool.gateway and not is_inhibited and options.mode(version) is not GatewayMode.ISOLATED:
            found.append(f"{pool.gateway}/{ip_network(pool.subnet).prefixlen}")
    return tuple(found)


def adopted(record: NetworkRecord, held: Collection[str], *, leads_loopback: bool) -> NetworkRecord:
    """Return the record of a network on a bridge of its owner's, with what of it is to be taken back.

    `held` are the addresses it has, `leads_loopback` tells whether it leads packets for loopback addresses.
    """
    lent = tuple(one for one in bridge_addresses(record, parse_bridge(record.options)) if one not in held)
    return msgspec.structs.replace(record, adopted_bridge=True, led_loopback=leads_loopback, lent_addresses=lent)


def plan_bridge(layout: Layout, record: NetworkRecord, held: Collection[str] | None) -> Plan:
    """Plan a network's bridge; one that is there, with the addresses `held`, is only given those it has not."""
    options = parse_bridge(record.options)
    addresses = bridge_addresses(record, options)
    if held is not None:
        step = AddressBridge(record.bridge, tuple(cidr for cidr in addresses if cidr not in held))
        return (
            Planned(step, f"network {record.name} uses a bridge that is there"),
            Planned(LeadLoopback(record.bridge, (record.led_loopback, True)), "ports may be published on 127.0.0.1"),
        )
    pool = pool_of(record, 4)
    mac = (
        mac_of(pool.gateway)
        if pool and pool.gateway
        else "02:42:" + ":".join(record.id[at : at + 2] for at in (0, 2, 4, 6))
    )
    ipv6 = record.enable_ipv6 and options.mode6 is not GatewayMode.ISOLATED
    make = MakeBridge(record.bridge, mac, options.mtu, alias_mark(layout) + record.id, addresses, ipv6=ipv6)
    return (Planned(make, f"bridge of network {record.name}"),)


def plan_link(
    record: NetworkRecord, namespace: str, end: LiveEndpoint, *, way_out: Collection[int], hairpin: bool
) -> Plan:
    """Plan a container's link into a bridge network; it has the default routes of the IP versions in `way_out`."""
    options = parse_bridge(record.options)
    addresses = tuple(
        f"{address}/{prefix}" for address, prefix in ((end.ipv4, end.prefix4), (end.ipv6, end.prefix6)) if address
    )
    gateways = tuple(gateway for version in sorted(way_out) if (gateway := end.gateway(version)))
    step = MakeContainerLink(
        end.host_link,
        record.bridge,
        namespace,
        end.link,
        end.mac,
        options.mtu,
        addresses,
        gateways,
        isolated=not options.icc,
        hairpin=hairpin,
        segment=segment_of(record, options),
    )
    return (Planned(step, f"link into network {record.name}"),)


def gateway_endpoint(ends: Iterable[LiveEndpoint], version: int) -> LiveEndpoint | None:
    """Return the attachment an IP version's default route leads through: highest priority, then first by name."""
    able = [end for end in ends if end.gateway(version) and not end.no_default_route]
    return min(able, key=lambda end: (-end.gw_priority, end.network_name), default=None)


def ways_out(ends: Iterable[LiveEndpoint], end: LiveEndpoint) -> tuple[int, ...]:
    """Return the IP versions whose default routes lead through an attachment."""
    ends = list(ends)
    return tuple(version for version in (4, 6) if gateway_endpoint(ends, version) is end)


def next_link_name(prefix: str, taken: Iterable[str]) -> str:
    """Return the first free of ``eth0``, ``eth1``, …; the number counts all links, as in Docker."""
    names = set(taken)
    number = 0
    while f"{prefix}{number}" in names:
        number += 1
    return f"{prefix}{number}"
