from ipaddress import IPv4Address, ip_address

import pytest

from berth.networks.ipam.addresses import bounds, broadcast, contains, default_gateway, fixed, mac_of
from berth.networks.model import Pool


def test_gateway_and_auxiliary_addresses_are_never_given() -> None:
    pool = Pool("10.0.0.0/29", gateway="10.0.0.3", auxiliary=(("router", "10.0.0.1"), ("other", "10.0.0.4")))
    assert fixed(pool) == {int(ip_address(text)) for text in ("10.0.0.3", "10.0.0.1", "10.0.0.4")}


@pytest.mark.parametrize(
    ("pool", "gateway"),
    [
        (Pool("10.77.0.0/24"), "10.77.0.1"),
        (Pool("10.77.0.0/24", ip_range="10.77.0.128/25"), "10.77.0.128"),
        (Pool("10.77.0.0/24", auxiliary=(("a", "10.77.0.1"),)), "10.77.0.2"),
        (Pool("10.77.0.0/31"), "10.77.0.0"),
        (Pool("fd00:1::/64"), "fd00:1::1"),
    ],
)
def test_the_gateway_is_the_first_address_of_the_range(pool: Pool, gateway: str) -> None:
    assert str(default_gateway(pool)) == gateway


def test_a_subnet_without_room_has_no_gateway() -> None:
    with pytest.raises(ValueError, match="no address left"):
        default_gateway(Pool("10.0.0.0/30", auxiliary=(("a", "10.0.0.1"), ("b", "10.0.0.2"))))


def test_network_and_broadcast_addresses_cannot_be_asked_for() -> None:
    pool = Pool("10.0.0.0/24")
    assert not contains(pool, ip_address("10.0.0.0"))
    assert not contains(pool, ip_address("10.0.0.255"))
    assert contains(pool, ip_address("10.0.0.254"))
    assert not contains(pool, ip_address("10.0.1.1"))
    assert contains(Pool("10.0.0.0/31"), ip_address("10.0.0.0"))


def test_the_address_of_an_ipv6_subnets_routers_cannot_be_asked_for() -> None:
    assert not contains(Pool("fd00::/64"), ip_address("fd00::"))
    assert contains(Pool("fd00::/64"), ip_address("fd00::ffff:ffff:ffff:ffff"))
    assert contains(Pool("fd00::/127"), ip_address("fd00::")), "of a link between two both are hosts'"


def test_a_range_bounds_what_is_given_unasked() -> None:
    version, first, last = bounds(Pool("10.0.0.0/24", ip_range="10.0.0.192/26"))
    assert (version, str(IPv4Address(first)), str(IPv4Address(last))) == (4, "10.0.0.192", "10.0.0.254")


def test_mac_and_broadcast_follow_from_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert broadcast("172.17.0.0/16") == "172.17.255.255"
    assert broadcast("10.0.0.0/31") == ""
    assert broadcast("fd00::/64") == ""
