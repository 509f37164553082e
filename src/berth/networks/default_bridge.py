"""What the network ``bridge`` is, by the engine's settings. Pure.

Unlike other networks it follows its settings: at a start at which no container is on it, it is made anew if they have
changed. What they leave open it keeps, but for a subnet that somebody else on this host has taken meanwhile.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_interface, ip_network

import msgspec

from berth.base.config import Config, check_addresses
from berth.kernel.routes import Routed
from berth.networks.creation import with_gateway
from berth.networks.errors import BadOption
from berth.networks.ipam.pools import in_the_way, unique_local
from berth.networks.model import DEFAULT, NetworkRecord, Pool
from berth.networks.options import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    DEFAULT_GATEWAYS,
    HOST_BINDING,
    ICC,
    MASQUERADE,
    MTU,
    parse_bridge,
)
from berth.networks.planning import pool_of


def options(config: Config, bridge: str) -> dict[str, str]:
    """Return the options of the network, as inspect shows them."""
    return {
        DEFAULT_BRIDGE: "true",
        ICC: _word(config.icc),
        MASQUERADE: _word(config.ip_masq),
        HOST_BINDING: config.ip,
        BRIDGE_NAME: bridge,
        MTU: str(config.mtu or 1500),
    }


def _word(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


def settled(
    config: Config,
    before: NetworkRecord,
    *,
    bridge: str,
    routed: Sequence[Routed],
    subnet: Callable[[], str],
    random: Callable[[int], bytes],
    adopted: bool = False,
) -> NetworkRecord:
    """Return the record that the settings ask for; what they leave open is as `before`.

    One that is `adopted` is the owner's bridge: used and never deleted.

    `routed` is what the host routes but for our own bridges, `subnet` chooses an IPv4 subnet that is free, `random`
    gives so many random bytes.
    """
    four = _pool(config.bip, config.fixed_cidr, config.default_gateway)
    four = four or _with_way_out(_kept(before, routed) or Pool(subnet()), config.default_gateway)
    pools = [four]
    if config.ipv6:
        six = _pool(config.bip6, config.fixed_cidr_v6, config.default_gateway_v6)
        old = pool_of(before, 6) or Pool(str(unique_local(random(8))))
        pools.append(six or _with_way_out(old, config.default_gateway_v6))
    wanted = options(config, bridge)
    parsed = parse_bridge(wanted)
    return msgspec.structs.replace(
        before,
        name=DEFAULT,
        driver="bridge",
        enable_ipv6=config.ipv6,
        pools=tuple(with_gateway(pool, parsed, internal=False) for pool in pools),
        options=wanted,
        bridge=bridge,
        adopted_bridge=adopted,
    )


def adopting(config: Config, addresses: Sequence[str]) -> Config:
    """Return the settings with the addresses (CIDR texts) that a bridge of the owner's has, as if they gave them.

    An address that every IPv6 link has by itself is none.
    """
    own = [one for one in map(ip_interface, addresses) if not one.is_link_local]
    four, six = (next((str(one) for one in own if one.version == version), "") for version in (4, 6))
    found = msgspec.structs.replace(config, bip=four, bip6=six if config.ipv6 else "")
    check_addresses(found)
    return found


def _kept(before: NetworkRecord, routed: Sequence[Routed]) -> Pool | None:
    """Return the IPv4 pool it had, unless it is another's by now: a Docker installed since has the same choice."""
    pool = pool_of(before, 4)
    return None if pool is None or in_the_way(ip_network(pool.subnet), routed) else pool


def _pool(address: str, fixed: str, way_out: str) -> Pool | None:
    """Return the pool of an address of the bridge, of a range for containers, or of both; None for neither."""
    if not address and not fixed:
        return None
    if address:
        interface = ip_interface(address)
        pool = Pool(str(interface.network), str(interface.ip), fixed)
    else:
        pool = Pool(str(ip_network(fixed)))
    return _with_way_out(pool, way_out)


def _with_way_out(pool: Pool, way_out: str) -> Pool:
    subnet = ip_network(pool.subnet)
    key = DEFAULT_GATEWAYS[subnet.version]
    if way_out and ip_address(way_out) not in subnet:
        raise BadOption(f"auxiliary address: ({key}:{way_out}) must belong to the master pool: {subnet}")
    return msgspec.structs.replace(pool, auxiliary=((key, way_out),) if way_out else ())
