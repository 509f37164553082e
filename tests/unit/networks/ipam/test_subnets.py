from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from berth.networks.ipam.subnets import SubnetIndex

prefixes = st.builds(
    lambda number, size: IPv4Network(((0x0A000000 | number) >> (32 - size) << (32 - size), size)),
    st.integers(0, 0x3FF),
    st.integers(22, 32),
)


@given(st.lists(st.tuples(st.booleans(), prefixes), max_size=30), prefixes)
def test_a_clash_is_found_as_a_plain_search_would(steps: list[tuple[bool, IPv4Network]], asked: IPv4Network) -> None:
    index, plain = SubnetIndex(), set[IPv4Network]()
    for is_added, subnet in steps:
        if not is_added:
            index.remove(subnet, "net")
            plain.discard(subnet)
        elif not any(subnet.overlaps(one) for one in plain):
            index.add(subnet, "net")
            plain.add(subnet)
    hit = index.clash(asked)
    in_the_way = [one for one in plain if one.overlaps(asked)]
    assert (hit.subnet in in_the_way) if hit else not in_the_way
    assert index.spans(4).count(0, (1 << 32) - 1) == sum(one.num_addresses for one in plain)


def test_the_holder_is_named_and_families_do_not_meet() -> None:
    index = SubnetIndex()
    index.add(ip_network("10.0.0.0/24"), "red")
    index.add(ip_network("fd00::/64"), "blue")
    hit = index.clash(ip_network("10.0.0.128/25"))
    assert hit is not None
    assert (hit.holder, str(hit.subnet)) == ("red", "10.0.0.0/24")
    assert index.clash(ip_network("10.0.1.0/24")) is None
    hit = index.clash(ip_network("fd00::/8"))
    assert hit is not None
    assert hit.holder == "blue"
    index.remove(ip_network("10.0.0.0/24"), "somebody else")
    assert index.clash(ip_network("10.0.0.0/24")) is not None
