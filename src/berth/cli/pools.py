"""Turns the address flags of `network create` into the pools the API wants. Pure."""

from __future__ import annotations

from berth.cli.errors import CommandFailed
from berth.cli.flags import Parsed
from berth.cli.pairs import pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Any

    Pools = list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, dict[str, Any]]]
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def ipam(parsed: Parsed) -> dict[str, Any]:
    """Put ranges, gateways and reserved addresses to the subnets they lie in.

    Raises:
        CommandFailed: One of them lies in no subnet, or two want the same place.
    """
    subnets: list[str] = parsed.list("subnet")
    ranges: list[str] = parsed.list("ip-range")
    gateways: list[str] = parsed.list("gateway")
    reserved = pairs(parsed.list("aux-address"))
    found: dict[str, Any] = {"Driver": parsed.text("ipam-driver"), "Options": pairs(parsed.list("ipam-opt"))}
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise CommandFailed("every ip-range or gateway must have a corresponding subnet")
    if not subnets and reserved:
        raise CommandFailed(f"no matching subnet for aux-address {next(iter(reserved.values()))}")
    if not ranges and not gateways and not reserved and len(subnets) < 2:
        # Nothing to put together: the engine judges a lone subnet.
        found["Config"] = [{"Subnet": subnet} for subnet in subnets]
        return found
    pools = _pools(subnets)
    for text in ranges:
        _place(pools, "range", text, _range_start(text), "IPRange")
    for text in gateways:
        _place(pools, "gateway", text, _address("gateway", text), "Gateway")
    for name, text in reserved.items():
        config = _holder(pools, "aux-address", text, _address("aux-address", text))
        config.setdefault("AuxiliaryAddresses", {})[name] = text
    found["Config"] = [config for _, config in pools]
    return found


def _pools(subnets: list[str]) -> Pools:
    import ipaddress

    pools: Pools = []
    for subnet in subnets:
        try:
            pool = ipaddress.ip_network(subnet, strict=False)
        except ValueError:
            raise CommandFailed(f"invalid CIDR address: {subnet}") from None
        if any(pool.version == other.version and pool.overlaps(other) for other, _ in pools):
            raise CommandFailed("multiple overlapping subnet configuration is not supported")
        pools.append((pool, {"Subnet": subnet}))
    return pools


def _range_start(text: str) -> Address:
    import ipaddress

    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        raise CommandFailed(f"invalid CIDR address: {text}") from None


def _address(what: str, text: str) -> Address:
    import ipaddress

    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise CommandFailed(f"invalid {what} address: {text}") from None


def _holder(pools: Pools, what: str, text: str, address: Address) -> dict[str, Any]:
    for pool, config in pools:
        if address in pool:
            return config
    raise CommandFailed(f"no matching subnet for {what} {text}")


def _place(pools: Pools, what: str, text: str, address: Address, key: str) -> None:
    config = _holder(pools, what, text, address)
    if key in config:
        raise CommandFailed(f"cannot configure multiple {what}s ({text}, {config[key]}) on the same subnet")
    config[key] = text
