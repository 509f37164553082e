from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kernel.routes import Routed
from berth.networks.errors import PoolsExhausted
from berth.networks.ipam.pools import (
    DEFAULT_SOURCES,
    Network,
    PoolSource,
    choose_subnet,
    in_the_way,
    routed_through,
    unique_local,
)
from berth.networks.ipam.spans import Spans

SMALL = (PoolSource(IPv4Network("10.0.0.0/24"), 28), PoolSource(IPv4Network("10.0.2.0/26"), 28))
SIX = (PoolSource(IPv6Network("fd00::/60"), 64),)

prefixes = st.builds(
    lambda number, size: IPv4Network(((0x0A000000 | number) >> (32 - size) << (32 - size), size)),
    st.integers(0, 0x3FF),
    st.integers(20, 32),
)


def spans(*networks: Network) -> dict[int, Spans]:
    found = {4: Spans(), 6: Spans()}
    for one in networks:
        found[one.version].add(int(one.network_address), int(one.broadcast_address))
    return found


def routes(*networks: Network) -> list[Routed]:
    return [Routed(one, "tun0", 254) for one in networks]


@given(st.lists(prefixes, max_size=6), st.lists(prefixes, max_size=6))
def test_the_chosen_subnet_is_the_first_that_touches_nothing(taken: list[IPv4Network], ways: list[IPv4Network]) -> None:
    every = [subnet for source in SMALL for subnet in IPv4Network(source.base).subnets(new_prefix=source.size)]
    free = [subnet for subnet in every if not any(subnet.overlaps(one) for one in taken + ways)]
    if free:
        assert choose_subnet(SMALL, spans(*taken), routes(*ways)) == free[0]
    else:
        with pytest.raises(PoolsExhausted, match="all predefined address pools have been fully subnetted"):
            choose_subnet(SMALL, spans(*taken), routes(*ways))


def test_there_are_thousands_of_networks_and_then_a_clear_end() -> None:
    every: list[Network] = []
    for source in DEFAULT_SOURCES:
        every += source.base.subnets(new_prefix=source.size)
    assert len(every) == 3840
    last = every.pop()
    taken = spans(*every)
    assert choose_subnet(DEFAULT_SOURCES, taken, ()) == last
    taken[4].add(int(last.network_address), int(last.broadcast_address))
    with pytest.raises(PoolsExhausted):
        choose_subnet(DEFAULT_SOURCES, taken, ())


def test_another_size_may_be_asked_for() -> None:
    taken = spans(IPv4Network("10.0.0.0/28"))
    assert choose_subnet(SMALL, taken, (), size=25) == IPv4Network("10.0.0.128/25")
    assert choose_subnet(SMALL, taken, (), size=30) == IPv4Network("10.0.0.16/30")
    with pytest.raises(PoolsExhausted):
        choose_subnet(SMALL, taken, (), size=20)
    assert choose_subnet(SMALL + SIX, taken, (), version=6) == IPv6Network("fd00::/64")
    assert choose_subnet(SMALL + SIX, spans(IPv6Network("fd00::/62")), (), version=6) == IPv6Network("fd00:0:0:4::/64")


def test_what_is_routed_in_the_pools_is_named_when_nothing_is_left() -> None:
    ways = [
        Routed(IPv4Network("10.0.0.0/16"), "tun0", 254),
        Routed(IPv4Network("10.0.2.0/24"), "wg0", 51820),
        Routed(IPv4Network("172.30.0.0/16"), "eth1", 254),
    ]
    with pytest.raises(PoolsExhausted) as caught:
        choose_subnet(SMALL, spans(), ways)
    assert "10.0.0.0/16 (routed through tun0)" in str(caught.value)
    assert "172.30" not in str(caught.value)
    assert routed_through(ways[1]) == "10.0.2.0/24 (routed through wg0, table 51820)"


def test_the_most_exact_route_is_the_one_in_the_way() -> None:
    ways = routes(IPv4Network("10.0.0.0/8"), IPv4Network("10.1.2.3/32"), IPv4Network("192.168.0.0/16"))
    hit = in_the_way(ip_network("10.1.0.0/16"), ways)
    assert hit is not None
    assert str(hit.prefix) == "10.1.2.3/32"
    assert in_the_way(ip_network("172.16.0.0/16"), ways) is None
    assert in_the_way(ip_network("fd00::/8"), ways) is None
    assert in_the_way(ip_network("10.1.0.0/16"), ways, through="tun0") is None, "an adopted bridge has its own route"


@given(st.binary(min_size=8, max_size=8), st.integers(48, 120))
def test_unique_local_prefixes(seed: bytes, length: int) -> None:
    made = unique_local(seed, length)
    assert made.prefixlen == length
    assert made.subnet_of(IPv6Network("fd00::/8"))
    assert unique_local(seed).prefixlen == 64
