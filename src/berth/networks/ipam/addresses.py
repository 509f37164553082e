"""Which address an endpoint gets in its subnet, and the MAC that follows from it. Pure."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from berth.networks.model import Pool

Address = IPv4Address | IPv6Address

#: First bytes of the MACs made from an address: locally administered, Docker's.
MAC_PREFIX: Final = "02:42"


@lru_cache(maxsize=4096)
def bounds(pool: Pool) -> tuple[int, int, int]:
    """Return IP version, first and last address (as numbers) that may be given away without being asked for."""
    subnet = ip_network(pool.subnet)
    inner = ip_network(pool.ip_range) if pool.ip_range else subnet
    first, last = int(inner.network_address), int(inner.broadcast_address)
    whole_first, whole_last = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.version == 4 and subnet.prefixlen < 31:
        first, last = max(first, whole_first + 1), min(last, whole_last - 1)
    elif subnet.version == 6 and subnet.prefixlen < 127:
        first = max(first, whole_first + 1)
    return subnet.version, first, last


@lru_cache(maxsize=4096)
def fixed(pool: Pool) -> frozenset[int]:
    """Return the addresses never given away: gateway and auxiliary ones."""
    texts = [*(address for _, address in pool.auxiliary), *([pool.gateway] if pool.gateway else [])]
    return frozenset(int(ip_address(text)) for text in texts)


def default_gateway(pool: Pool) -> Address:
    """Return the address a subnet's gateway has if none was asked for: the first of its range, but for auxiliary ones.

    The network address counts where the range starts higher than the subnet. Raises `ValueError` if there is none.
    """
    version, first, last = bounds(pool)
    kept = fixed(pool)
    number = next((one for one in range(first, last + 1) if one not in kept), None)
    if number is None:
        raise ValueError(f"no address left for a gateway in {pool.subnet}")
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def contains(pool: Pool, address: Address) -> bool:
    """Tell whether an address may be asked for in this subnet."""
    subnet = ip_network(pool.subnet)
    return address in subnet and address not in own_addresses(subnet)


def own_addresses(subnet: IPv4Network | IPv6Network) -> tuple[Address, ...]:
    """Return the addresses that mean a subnet itself, none in one for two (RFC 3021, RFC 6164) or of no place yet."""
    if subnet.max_prefixlen - subnet.prefixlen < 2 or subnet.network_address.is_unspecified:
        return ()
    if isinstance(subnet, IPv4Network):
        return subnet.network_address, subnet.broadcast_address
    return (subnet.network_address,)


def broadcast(subnet: str) -> str:
    """Return an IPv4 subnet's broadcast address, empty where it has none (RFC 3021)."""
    network = ip_network(subnet)
    if network.version == 6 or network.prefixlen >= 31:
        return ""
    return str(network.broadcast_address)


def mac_of(address: str) -> str:
    """Make the MAC of an endpoint from its IPv4 address: neighbours' caches stay right when it comes back."""
    return MAC_PREFIX + ":" + ip_address(address).packed[-4:].hex(":")
