"""``-o host_access=true``: the host's own link into a macvlan or ipvlan network. Pure. Docker has no such thing.

The kernel keeps a parent's own stack and the links on it apart. A link of the same kind that stays with the host, with
an address of the network and routes to its containers, joins them. The address is the auxiliary one named ``host``, or
the highest free one of the range, noted as auxiliary so that no container is given it.
"""

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Final

import msgspec

from berth.base.paths import Layout
from berth.networks.drivers.base import Seen
from berth.networks.drivers.errors import HostAccessRefused
from berth.networks.drivers.parents import parent_of
from berth.networks.ipam.addresses import bounds, fixed
from berth.networks.model import NetworkRecord, Pool, alias_mark
from berth.networks.options import parse_boolean
from berth.plan.model import Plan, Planned
from berth.plan.steps.link import DeleteLink
from berth.plan.steps.sublink import MakeShim

HOST_ACCESS: Final = "host_access"
#: Name of the auxiliary address that the host has.
HOST: Final = "host"


def wanted(options: Mapping[str, str]) -> bool:
    """Tell whether the host is to reach the containers. Raises `BadOption`."""
    return parse_boolean(options, HOST_ACCESS, default=False)


def shim_name(record: NetworkRecord) -> str:
    """Name the host's link into a network."""
    return f"shim-{record.id[:10]}"


def settled(record: NetworkRecord, seen: Seen) -> NetworkRecord:
    """Give the host its addresses. Raises `HostAccessRefused`."""
    if not wanted(record.options):
        return record
    there = seen.get(parent_of(record))
    for pool in record.pools:
        _check_reachable(parent_of(record), pool, there.addresses if there else ())
    pools = tuple(_with_host(pool) for pool in record.pools)
    return msgspec.structs.replace(record, pools=pools, made_links=(*record.made_links, shim_name(record)))


def _check_reachable(parent: str, pool: Pool, addresses: tuple[str, ...]) -> None:
    """Refuse a subnet of which the host cannot tell containers from neighbours."""
    subnet = ip_network(pool.subnet)
    if subnet.prefixlen == 0:
        raise HostAccessRefused("host_access needs a subnet whose addresses the engine gives: name it with --subnet")
    own = next((one for one in addresses if ip_interface(one).ip in subnet), None)
    if own is not None and not pool.ip_range:
        raise HostAccessRefused(
            f"host_access needs an ip-range: {parent} has {own}, so the host reaches subnet {pool.subnet} by {parent} "
            "and has to be told which part of it is containers; give it with --ip-range"
        )


def _with_host(pool: Pool) -> Pool:
    if any(name == HOST for name, _ in pool.auxiliary):
        return pool
    _, first, last = bounds(pool)
    kept = fixed(pool)
    number = next((one for one in range(last, first - 1, -1) if one not in kept), None)
    if number is None:
        raise HostAccessRefused(f"host_access needs an address, and {pool.ip_range or pool.subnet} has none to spare")
    address = str(ip_address(number) if ":" not in pool.subnet else ip_address(number.to_bytes(16, "big")))
    return msgspec.structs.replace(pool, auxiliary=(*pool.auxiliary, (HOST, address)))


def plan_shim(layout: Layout, record: NetworkRecord, seen: Seen, *, kind: str, mode: str) -> Plan:
    """Make the host's link, if it is wanted and not there."""
    name = shim_name(record)
    if name not in record.made_links or name in seen:
        return ()
    addresses = tuple(
        f"{address}/{128 if ':' in address else 32}"
        for pool in record.pools
        for key, address in pool.auxiliary
        if key == HOST
    )
    routes = tuple(pool.ip_range or pool.subnet for pool in record.pools)
    step = MakeShim(name, kind, parent_of(record), mode, alias_mark(layout) + record.id, addresses, routes)
    return (Planned(step, f"the host's own way into network {record.name}"),)


def plan_unmake(record: NetworkRecord) -> Plan:
    """Remove it."""
    name = shim_name(record)
    return (Planned(DeleteLink(name), f"network {record.name} goes"),) if name in record.made_links else ()
