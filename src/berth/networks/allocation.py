"""Which subnets a network gets: those asked for if they are free, else out of the pools. Pure.

Must not: know routes and networks but as the intervals they keep.
"""

from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_network

import msgspec

from berth.kernel.routes import Routed
from berth.networks.errors import PoolOverlaps
from berth.networks.ipam.pools import PoolSource, choose_subnet, in_the_way, routed_through, unique_local
from berth.networks.ipam.subnets import SubnetIndex
from berth.networks.model import Pool

#: Prefix length of an IPv6 subnet that nobody asked for.
IPV6_PREFIX = 64


def allocate(
    asked: Sequence[Pool],
    families: Collection[int],
    *,
    sources: Sequence[PoolSource],
    taken: SubnetIndex,
    routed: Sequence[Routed],
    random: Callable[[int], bytes],
) -> list[Pool]:
    """Return a pool for every family: what was asked for, else the first free one.

    Pools of other families are left out. `random` gives so many random bytes, for unique local prefixes.
    Raises `PoolOverlaps`, `PoolsExhausted`.
    """
    spans = {version: taken.spans(version) for version in (4, 6)}

    def free(version: int, size: int) -> str:
        if version == 6 and not any(source.base.version == 6 for source in sources):
            while True:
                found = unique_local(random(8), size or IPV6_PREFIX)
                if taken.clash(found) is None and in_the_way(found, routed) is None:
                    return str(found)
        return str(choose_subnet(sources, spans, routed, version=version, size=size))

    pools = []
    for version in sorted(families):
        own = [pool for pool in asked if ip_network(pool.subnet).version == version]
        if not own:
            pools.append(Pool(free(version, 0)))
        for pool in own:
            subnet = ip_network(pool.subnet)
            if subnet.network_address.is_unspecified:
                pools.append(msgspec.structs.replace(pool, subnet=free(version, subnet.prefixlen)))
                continue
            held = taken.clash(subnet)
            if held is not None:
                raise PoolOverlaps(pool.subnet, str(held.subnet), f"network {held.holder}")
            pools.append(pool)
    return pools


def collisions(pools: Sequence[Pool], routed: Sequence[Routed], bridge: str) -> list[str]:
    """Say which subnets the host routes elsewhere than through the network's own bridge."""
    said = []
    for pool in pools:
        way = in_the_way(ip_network(pool.subnet), routed, through=bridge)
        if way is not None:
            said.append(
                f"subnet {pool.subnet} overlaps {routed_through(way)}: this network now hides what is there from this "
                "host and its containers; name another one with --subnet unless that is meant"
            )
    return said
