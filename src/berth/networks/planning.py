"""Wanted → steps: for a network, for a container's attachment. Pure."""

from collections.abc import Iterable
from ipaddress import ip_network

from berth.base.paths import Layout
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.ipam.addresses import mac_of
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, alias_mark
from berth.networks.options import BridgeOptions, parse_bridge
from berth.plan.model import Plan, Planned
from berth.plan.steps.link import AddressBridge, MakeBridge, MakeContainerLink


def pool_of(record: NetworkRecord, version: int) -> Pool | None:
    """Return a network's pool of one IP version."""
    return next((pool for pool in record.pools if (":" in pool.subnet) == (version == 6)), None)


def policy_of(record: NetworkRecord) -> BridgePolicy:
    """Return what a bridge network may do."""
    options = parse_bridge(record.options)
    return BridgePolicy(
        link=record.bridge,
        icc=options.icc,
        masquerade=options.masquerade and options.gateway_mode != "routed",
        internal=record.internal,
        source=options.host_ipv4,
        open=options.gateway_mode in ("nat-unprotected", "routed"),
    )


def bridge_addresses(record: NetworkRecord, options: BridgeOptions) -> tuple[str, ...]:
    """Return the gateway addresses the bridge itself has, as CIDR texts."""
    if options.gateway_mode == "isolated":
        return ()
    return tuple(
        f"{pool.gateway}/{ip_network(pool.subnet).prefixlen}"
        for pool in record.pools
        if pool.gateway and not (options.inhibit_ipv4 and ":" not in pool.subnet)
    )


def plan_bridge(layout: Layout, record: NetworkRecord, *, exists: bool) -> Plan:
    """Plan a network's bridge; one that `exists` is only given its addresses."""
    options = parse_bridge(record.options)
    addresses = bridge_addresses(record, options)
    if exists:
        return (Planned(AddressBridge(record.bridge, addresses), f"network {record.name} uses a bridge that is there"),)
    pool = pool_of(record, 4)
    mac = (
        mac_of(pool.gateway)
        if pool and pool.gateway
        else "02:42:" + ":".join(record.id[at : at + 2] for at in (0, 2, 4, 6))
    )
    step = MakeBridge(
        record.bridge, mac, options.mtu, alias_mark(layout) + record.id, addresses, ipv6=record.enable_ipv6
    )
    return (Planned(step, f"bridge of network {record.name}"),)


def plan_link(record: NetworkRecord, namespace: str, end: LiveEndpoint, *, default_route: bool, hairpin: bool) -> Plan:
    """Plan a container's link into a bridge network."""
    options = parse_bridge(record.options)
    addresses = tuple(
        f"{address}/{prefix}" for address, prefix in ((end.ipv4, end.prefix4), (end.ipv6, end.prefix6)) if address
    )
    gateways = tuple(gateway for gateway in (end.gateway4, end.gateway6) if gateway) if default_route else ()
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
    )
    return (Planned(step, f"link into network {record.name}"),)


def gateway_endpoint(ends: Iterable[LiveEndpoint]) -> LiveEndpoint | None:
    """Return the attachment the default route leads through: highest priority, then first by name."""
    able = [end for end in ends if end.gateway4 or end.gateway6]
    return min(able, key=lambda end: (-end.gw_priority, end.network_name), default=None)


def next_link_name(prefix: str, taken: Iterable[str]) -> str:
    """Return the first free of ``eth0``, ``eth1``, …; the number counts all links, as in Docker."""
    names = set(taken)
    number = 0
    while f"{prefix}{number}" in names:
        number += 1
    return f"{prefix}{number}"
