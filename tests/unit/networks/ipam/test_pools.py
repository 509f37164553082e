from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.errors import PoolsExhausted
from berth.networks.ipam.pools import DEFAULT_SOURCES, Busy, PoolSource, choose_subnet, overlapping, unique_local

SMALL = (PoolSource(IPv4Network("10.0.0.0/24"), 28), PoolSource(IPv4Network("10.0.2.0/26"), 28))

prefixes = st.builds(
    lambda number, size: IPv4Network(((0x0A000000 | number) >> (32 - size) << (32 - size), size)),
    st.integers(0, 0x3FF),
    st.integers(20, 32),
)


@given(st.lists(prefixes, max_size=12))
def test_the_chosen_subnet_is_the_first_that_touches_nothing(busy: list[IPv4Network]) -> None:
    every = [subnet for source in SMALL for subnet in source.base.subnets(new_prefix=source.size)]
    free = [subnet for subnet in every if not any(subnet.overlaps(one) for one in busy)]
    if free:
        assert choose_subnet(SMALL, busy) == free[0]
    else:
        with pytest.raises(PoolsExhausted, match="all predefined address pools have been fully subnetted"):
            choose_subnet(SMALL, busy)


@given(st.lists(prefixes, max_size=12), prefixes)
def test_busy_answers_as_a_plain_search_does(networks: list[IPv4Network], asked: IPv4Network) -> None:
    found = Busy(networks).end_of_overlap(int(asked.network_address), int(asked.broadcast_address))
    assert (found is not None) == any(asked.overlaps(one) for one in networks)


def test_there_are_thousands_of_networks_and_then_a_clear_end() -> None:
    busy: list[IPv4Network] = []
    for source in DEFAULT_SOURCES:
        busy += source.base.subnets(new_prefix=source.size)
    assert len(busy) == 3840
    last = busy.pop()
    assert choose_subnet(DEFAULT_SOURCES, busy) == last
    with pytest.raises(PoolsExhausted):
        choose_subnet(DEFAULT_SOURCES, [*busy, last])


def test_a_default_route_keeps_nothing_busy() -> None:
    assert choose_subnet(SMALL, [IPv4Network("0.0.0.0/0")]) == IPv4Network("10.0.0.0/28")


def test_overlap_is_seen_within_a_family_only() -> None:
    others = [ip_network("fd00::/8"), ip_network("10.0.0.0/8")]
    assert overlapping(ip_network("10.1.0.0/16"), others) == ip_network("10.0.0.0/8")
    assert overlapping(ip_network("192.168.0.0/16"), others) is None


@given(st.binary(min_size=8, max_size=8))
def test_unique_local_prefixes(seed: bytes) -> None:
    made = unique_local(seed)
    assert made.prefixlen == 64
    assert made.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
