"""What was asked for → a network's record, checked whole before anything happens. Pure."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

from berth.networks import configs
from berth.networks.drivers.registry import driver_named
from berth.networks.errors import (
    BadNetworkConfig,
    BadNetworkName,
    BadOption,
    KeptAddressTaken,
    ManySubnets,
    NotASwarmManager,
    OnlyOneInstance,
    PredefinedName,
)
from berth.networks.firewall import egress
from berth.networks.ipam.addresses import default_gateway, own_addresses
from berth.networks.ipam.pools import Network
from berth.networks.model import OWN_IPAM, PREDEFINED, NetworkRecord, Pool
from berth.networks.options import DEFAULT_GATEWAYS, BridgeOptions, advertisements, parse_bridge
from berth.networks.planning import needs_no_gateway
from berth.wire.networks import IPAMConfig, NetworkCreate

#: Least a link with IPv6 must carry, in bytes (RFC 8200, section 5); the kernel gives smaller ones no IPv6.
MIN_IPV6_MTU: Final = 1280

#: Ranges no host may have addresses of, or every host has (RFC 6890).
_MULTICAST: Final = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"))
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_NOBODYS: Final = (ip_network("0.0.0.0/8"), ip_network("240.0.0.0/4"), ip_network("::ffff:0:0/96"))
#: Every IPv6 link has addresses of it, so it may be named whole, but not in another size.
_LINK_LOCAL: Final = ip_network("fe80::/64")


def check_request(want: NetworkCreate) -> None:
    """Refuse what needs no look at other networks to be refused."""
    name = want.name or ""
    if not name.strip():
        raise BadNetworkName(name)
    if "/" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise BadOption(f"invalid name: {name!r}: a network's name has no slash and no control characters")
    if name in PREDEFINED or name == "default":
        raise PredefinedName(name)
    configs.check(want)
    driver = want.driver or "bridge"
    if driver == "overlay" or want.scope == "swarm" or want.ingress:
        raise NotASwarmManager
    kind = driver_named(driver)
    if kind.traits.single:
        raise OnlyOneInstance(driver)
    check_values(want)


def with_defaults(want: NetworkCreate, defaults: Mapping[str, Mapping[str, str]]) -> NetworkCreate:
    """Return what is wanted with the engine's default options for its driver, where it names none of its own."""
    mine = defaults.get(want.driver or "bridge", {})
    return msgspec.structs.replace(want, options={**mine, **(want.options or {})}) if mine else want


def check_values(want: NetworkCreate) -> None:
    """Refuse settings that do not go together, one's own or a configuration network's."""
    options = parse_bridge(want.options or {})
    versions = families(want, options)
    if not versions:
        raise BadOption("IPv4 or IPv6 must be enabled")
    check_mtu(options, ipv6=6 in versions)
    advertisements(want.options or {})
    egress.check(want.options or {}, want.driver or "bridge", internal=bool(want.internal))
    if not want.config_only:  # then a network that takes these over has its own driver
        driver_named(want.driver or "bridge").check(want)


def check_mtu(options: BridgeOptions, *, ipv6: bool) -> None:
    """Refuse a size with which links have no IPv6, and lose the addresses they have."""
    if ipv6 and 0 < options.mtu < MIN_IPV6_MTU:
        raise BadOption(f"invalid MTU number: {options.mtu}: a link with IPv6 carries at least {MIN_IPV6_MTU} bytes")


def families(want: NetworkCreate, options: BridgeOptions) -> frozenset[int]:
    """Return the IP versions a network has: the flags count, then the options, then Docker's defaults."""
    four = next((one for one in (want.enable_ipv4, options.enable_ipv4) if one is not None), True)
    six = next((one for one in (want.enable_ipv6, options.enable_ipv6) if one is not None), False)
    return frozenset(version for version, wanted in ((4, four), (6, six)) if wanted)


def parse_pools(configs: Sequence[IPAMConfig], *, many: bool = False) -> list[Pool]:
    """Check the pools asked for and return them in canonical form; `many` of a family only if the driver has them.

    Raises `BadNetworkConfig`, `ManySubnets`.
    """
    problems: list[str] = []
    pools = [_pool(config, problems) for config in configs]
    if problems:
        raise BadNetworkConfig(problems)
    found = [pool for pool in pools if pool is not None]
    for version in (4, 6):
        if not many and sum((":" in pool.subnet) == (version == 6) for pool in found) > 1:
            raise ManySubnets
    return found


def _pool(config: IPAMConfig, problems: list[str]) -> Pool | None:
    if not config.subnet:
        if config.ip_range or config.gateway or config.auxiliary:
            problems.append("a gateway, range or auxiliary address needs a subnet")
        return None
    subnet = _network("subnet", config.subnet, problems)
    if subnet is None:
        return None
    problem = _unfit(subnet)
    if problem:
        problems.append(f"invalid subnet {config.subnet}: {problem}")
    if config.ip_range:
        inner = _network("ip-range", config.ip_range, problems)
        if inner is not None and not _within(inner, subnet):
            problems.append(f"invalid ip-range {config.ip_range}: parent subnet {subnet} does not contain it")
    gateway = _inside("gateway", config.gateway, subnet, problems)
    auxiliary = tuple(
        (name, _inside(f"auxiliary address {name}", text, subnet, problems))
        for name, text in sorted((config.auxiliary or {}).items())
    )
    if not problems:
        _check_once(subnet, gateway, auxiliary)
    return Pool(str(subnet), gateway, config.ip_range, auxiliary, given=True)


def _check_once(subnet: Network, gateway: str, auxiliary: Sequence[tuple[str, str]]) -> None:
    """Refuse an address that is to be kept for two, or that means the subnet itself. Raises `KeptAddressTaken`."""
    holders = {str(address): "the subnet itself" for address in own_addresses(subnet)}
    wanted = [(f"gateway ({gateway})", gateway, "the gateway")] if gateway else []
    wanted += [
        (f"secondary ip address ({name}:{address})", address, f"auxiliary address {name}")
        for name, address in auxiliary
    ]
    for what, address, holder in wanted:
        if address in holders:
            raise KeptAddressTaken(what, holders[address])
        holders[address] = holder


def _unfit(subnet: Network) -> str:
    """Say why a subnet cannot be a network's, empty if it can. ``0.0.0.0/24`` and ``::/64`` ask for a size."""
    if subnet.network_address.is_unspecified:
        return "" if subnet.prefixlen else f"ipv{subnet.version} pool is empty"
    if subnet.num_addresses < 2:
        return "too small for a gateway and a container"
    for kind, found in ((_MULTICAST, "multicast"), (_LOOPBACK, "loopback"), (_NOBODYS, "reserved")):
        if any(one.version == subnet.version and one.overlaps(subnet) for one in kind):
            return f"{found} subnet '{subnet}' is not allowed"
    if subnet != _LINK_LOCAL and subnet.version == 6 and subnet.overlaps(_LINK_LOCAL):
        return f"'{subnet}' clashes with the Link-Local prefix '{_LINK_LOCAL}'"
    return ""


def _network(what: str, text: str, problems: list[str]) -> Network | None:
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        problems.append(f"invalid {what} {text}: invalid CIDR block notation")
        return None
    if "/" not in text:
        problems.append(f"invalid {what} {text}: invalid CIDR block notation")
        return None
    if ip_address(text.partition("/")[0]) != found.network_address:
        problems.append(f"invalid {what} {text}: it should be {found}")
        return None
    return found


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.overlaps(outer)


def _inside(what: str, text: str, subnet: Network, problems: list[str]) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        problems.append(f"invalid {what} {text}: invalid address")
        return ""
    if address not in subnet:
        problems.append(f"invalid {what} {text}: parent subnet {subnet} doesn't contain this address")
    return str(address)


def with_gateway(pool: Pool, options: BridgeOptions, *, internal: bool) -> Pool:
    """Return the pool with a gateway, if it needs one: the one asked for or the first of the range."""
    version = ip_network(pool.subnet).version
    if internal and DEFAULT_GATEWAYS[version] in dict(pool.auxiliary):
        raise BadOption("no gateway can be set on an internal bridge network")
    if pool.gateway or needs_no_gateway(options, version, internal=internal):
        return pool
    try:
        gateway = str(default_gateway(pool))
    except ValueError as exc:
        raise BadNetworkConfig([str(exc)]) from None
    return msgspec.structs.replace(pool, gateway=gateway)


def record_of(want: NetworkCreate, ident: str, pools: Sequence[Pool], created_ns: int) -> NetworkRecord:
    """Return the record of a checked network."""
    driver = want.driver or "bridge"
    options = dict(want.options or {})
    versions = families(want, parse_bridge(options))
    ipam = want.ipam
    return NetworkRecord(
        id=ident,
        name=want.name or "",
        driver=driver,
        created_ns=created_ns,
        enable_ipv4=4 in versions,
        enable_ipv6=6 in versions,
        internal=bool(want.internal),
        attachable=bool(want.attachable),
        config_from=configs.source_of(want),
        ipam_driver=(ipam.driver if ipam else "") or OWN_IPAM,
        ipam_options=dict(ipam.options or {}) if ipam else {},
        pools=tuple(pools),
        options=options,
        labels=dict(want.labels or {}),
        bridge=driver_named(driver).bridge(ident, options),
    )


def linkless(name: str, ident: str, created_ns: int) -> NetworkRecord:
    """Return the record of one of the networks without a link that are always there."""
    return NetworkRecord(id=ident, name=name, driver="null" if name == "none" else name, created_ns=created_ns)
