from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from berth.base.errors import EngineError, Kind
from berth.kernel.routes import Routed
from berth.networks.allocation import allocate, collisions
from berth.networks.ipam.pools import DEFAULT_SOURCES, PoolSource
from berth.networks.ipam.subnets import SubnetIndex
from berth.networks.model import Pool

SIX = (PoolSource(IPv6Network("2001:db8::/48"), 64),)


def taken(*subnets: str) -> SubnetIndex:
    index = SubnetIndex()
    for subnet in subnets:
        index.add(ip_network(subnet), "other")
    return index


def got(
    *asked: Pool,
    families: tuple[int, ...] = (4,),
    held: SubnetIndex | None = None,
    sources: tuple[PoolSource, ...] = DEFAULT_SOURCES,
    routed: tuple[Routed, ...] = (),
) -> list[str]:
    pools = allocate(asked, families, sources=sources, taken=held or SubnetIndex(), routed=routed, random=bytes)
    return [pool.subnet for pool in pools]


def test_every_family_gets_a_pool_and_others_none() -> None:
    assert got() == ["172.18.0.0/24"]
    assert got(families=(4, 6)) == ["172.18.0.0/24", "fd00::/64"]
    assert got(families=(6,)) == ["fd00::/64"]
    assert got(Pool("10.0.0.0/24"), Pool("2001:db8::/64")) == ["10.0.0.0/24"]
    assert got(Pool("2001:db8::/64"), families=(4, 6)) == ["172.18.0.0/24", "2001:db8::/64"]
    assert got(families=(6,), sources=SIX, held=taken("2001:db8::/64")) == ["2001:db8:0:1::/64"]


def test_a_size_may_be_asked_for_instead_of_a_subnet() -> None:
    assert got(Pool("0.0.0.0/20"), held=taken("172.18.0.0/24")) == ["172.18.16.0/20"]
    assert got(Pool("::/80"), families=(6,)) == ["fd00::/80"]
    assert got(Pool("::/56"), families=(6,), sources=SIX) == ["2001:db8::/56"]


def test_overlap_with_another_network_is_forbidden_in_dockers_words() -> None:
    with pytest.raises(
        EngineError, match=r"Pool overlaps with other one on this address space .* of network other"
    ) as no:
        got(Pool("10.1.2.0/24"), held=taken("10.1.0.0/16"))
    assert no.value.kind is Kind.FORBIDDEN
    assert got(Pool("10.2.0.0/24"), held=taken("10.1.0.0/16")) == ["10.2.0.0/24"]


def test_a_subnet_that_was_asked_for_and_is_routed_elsewhere_is_a_warning_that_names_the_route() -> None:
    routed = [Routed(IPv4Network("10.0.0.0/8"), "tun0", 254), Routed(IPv4Network("10.1.2.0/24"), "br-x", 254)]
    said = collisions([Pool("10.1.2.0/24", given=True), Pool("192.168.0.0/24")], routed, "br-x")
    assert len(said) == 1
    assert "subnet 10.1.2.0/24 overlaps 10.0.0.0/8 (routed through tun0)" in said[0]
    assert not collisions([Pool("10.1.2.0/24")], routed[1:], "br-x")
