from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from berth.base.config import BadSetting, Config
from berth.kernel.routes import Routed
from berth.networks.default_bridge import adopting, settled
from berth.networks.errors import BadOption
from berth.networks.model import NetworkRecord

NEW = NetworkRecord("b" * 64, "bridge", "bridge", 7)


def made(before: NetworkRecord = NEW, *, routed: Sequence[Routed] = (), free: str = "172.17.0.0/16",
         **settings: object) -> NetworkRecord:  # fmt: skip
    config = Config(**settings)  # type: ignore[arg-type]
    return settled(config, before, bridge="berth0", routed=routed, subnet=lambda: free, random=bytes)


def pools(record: NetworkRecord) -> list[tuple[str, str, str]]:
    return [(pool.subnet, pool.gateway, pool.ip_range) for pool in record.pools]


def test_without_settings_it_is_dockers() -> None:
    record = made()
    assert (record.id, record.name, record.driver, record.bridge, record.created_ns) == (
        NEW.id,
        "bridge",
        "bridge",
        "berth0",
        7,
    )
    assert pools(record) == [("172.17.0.0/16", "172.17.0.1", "")]
    assert record.options == {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": "berth0",
        "com.docker.network.driver.mtu": "1500",
    }


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"bip": "10.1.2.5/24"}, [("10.1.2.0/24", "10.1.2.5", "")]),
        ({"bip": "10.1.2.5/24", "fixed_cidr": "10.1.2.128/25"}, [("10.1.2.0/24", "10.1.2.5", "10.1.2.128/25")]),
        ({"fixed_cidr": "10.1.2.0/25"}, [("10.1.2.0/25", "10.1.2.1", "")]),
        ({"ipv6": True}, [("172.17.0.0/16", "172.17.0.1", ""), ("fd00::/64", "fd00::1", "")]),
        (
            {"bip": "10.1.2.5/24", "ipv6": True, "bip6": "fd01::5/64", "fixed_cidr_v6": "fd01::8000/113"},
            [("10.1.2.0/24", "10.1.2.5", ""), ("fd01::/64", "fd01::5", "fd01::8000/113")],
        ),
        ({"fixed_cidr_v6": "fd01::/64"}, [("172.17.0.0/16", "172.17.0.1", "")]),
    ],
)
def test_addresses(settings: dict[str, object], wanted: list[tuple[str, str, str]]) -> None:
    assert pools(made(**settings)) == wanted


def test_what_settings_leave_open_stays_and_what_they_say_changes() -> None:
    first = made(ipv6=True, bip="10.1.2.5/24")
    assert made(first, ipv6=True, bip="10.1.2.5/24") == first
    assert pools(made(first, ipv6=True)) == pools(first), "the subnet it has is as good as any"
    changed = made(first, icc=False, ip_masq=False, ip="127.0.0.1", mtu=1400)
    assert pools(changed) == [("10.1.2.0/24", "10.1.2.5", "")]
    assert not changed.enable_ipv6
    values = list(changed.options.values())
    assert values == ["true", "false", "false", "127.0.0.1", "berth0", "1400"]


def test_the_way_out_may_be_another_machine() -> None:
    assert made(default_gateway="172.17.0.99").pools[0].auxiliary == (("DefaultGatewayIPv4", "172.17.0.99"),)


def test_a_way_out_that_is_not_on_the_network_is_refused() -> None:
    with pytest.raises(
        BadOption, match=r"\(DefaultGatewayIPv4:10.9.9.9\) must belong to the master pool: 172.17.0.0/16"
    ):
        made(default_gateway="10.9.9.9")


def test_a_bridge_of_the_owners_gives_its_addresses() -> None:
    addresses = ("169.254.1.1/16", "10.7.7.5/24", "10.7.8.5/24", "fe80::1/64", "fd07::5/64")
    found = adopting(Config(bridge="br9", fixed_cidr="10.7.7.128/25"), addresses)
    assert (found.bip, found.bip6) == ("10.7.7.5/24", ""), "no IPv6 unless asked for"
    assert adopting(Config(bridge="br9", ipv6=True), addresses).bip6 == "fd07::5/64"
    assert adopting(Config(bridge="br9"), ()).bip == "", "then it gets one from the pools"
    with pytest.raises(BadSetting, match="fixed-cidr: 10.8.0.0/24 is not within 10.7.7.0/24"):
        adopting(Config(bridge="br9", fixed_cidr="10.8.0.0/24"), addresses)


def test_a_subnet_that_is_anothers_by_now_is_left_to_them() -> None:
    first = made()
    docker0 = [Routed(ip_network("172.17.0.0/16"), "docker0", 254)]
    moved = made(first, routed=docker0, free="172.18.0.0/16")
    assert pools(moved) == [("172.18.0.0/16", "172.18.0.1", "")]
    assert moved.id == first.id
    elsewhere = [Routed(ip_network("10.0.0.0/16"), "eth0", 254)]
    assert made(first, routed=elsewhere, free="172.18.0.0/16") == first


def test_a_subnet_that_the_settings_give_stays_whoever_has_it() -> None:
    first = made(bip="10.1.2.5/24")
    assert made(first, bip="10.1.2.5/24", routed=[Routed(ip_network("10.1.2.0/24"), "eth0", 254)]) == first
