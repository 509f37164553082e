"""What an attachment needs is reserved, and let go again; its making is planned and nothing is done."""

from pathlib import Path

import msgspec
import pytest

from berth.base.errors import EngineError
from berth.networks.drivers.errors import MacFixed
from berth.networks.errors import ConfigNotJoinable, NetworkNotFound
from berth.networks.model import DEFAULT, Pool, Tenant
from berth.networks.options import ENDPOINT_LINK
from berth.plan.steps.link import MakeContainerLink
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings
from tests.unit.networks.bench import Bench

ONE = Tenant("1" * 64, "one", mode="red", endpoints={"red": EndpointSettings()})


def at(four: str = "", six: str = "") -> EndpointSettings:
    return EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=four, ipv6_address=six))


async def test_an_attachment_has_addresses_a_mac_made_of_them_and_the_next_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    first = await reserving.reserve(ONE, bench.red, EndpointSettings(), [])
    assert (first.ipv4, first.prefix4, first.gateway4) == ("10.1.0.2", 24, "10.1.0.1")
    assert (first.ipv6, first.prefix6, first.gateway6) == ("fd01::2", 64, "fd01::1")
    assert (first.link, first.mac) == ("eth0", "02:42:0a:01:00:02")
    assert first.host_link.startswith(bench.layout.veth_prefix)
    second = await reserving.reserve(ONE, bench.inner, EndpointSettings(), [first])
    assert (second.link, second.ipv4, second.gateway4) == ("eth1", "10.2.0.2", ""), "internal: it leads nowhere"
    assert bench.register.attached(bench.red.id) == {ONE.container_id: first}
    assert bench.kernel.steps == [], "nothing is done"


async def test_what_is_asked_for_is_given_and_names_wanted_elsewhere_are_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    asked = msgspec.structs.replace(at("10.1.0.77", "fd01::77"), mac_address="02-42-AA-BB-CC-DD", gw_priority=7)
    named = EndpointSettings(driver_opts={ENDPOINT_LINK: "eth0"})
    tenant = msgspec.structs.replace(ONE, endpoints={"red": asked, "inner": named})
    end = await reserving.reserve(tenant, bench.red, asked, [])
    assert (end.ipv4, end.ipv6, end.mac, end.gw_priority) == ("10.1.0.77", "fd01::77", "02:42:aa:bb:cc:dd", 7)
    assert end.link == "eth1", "eth0 is to be the other one's"


async def test_an_address_that_cannot_be_had_gives_the_other_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    other = msgspec.structs.replace(ONE, container_id="2" * 64)
    await reserving.reserve(other, bench.red, at("10.1.0.9", "fd01::9"), [])
    with pytest.raises(EngineError, match="Address already in use"):
        await reserving.reserve(ONE, bench.red, at("10.1.0.10", "fd01::9"), [])
    again = await reserving.reserve(msgspec.structs.replace(ONE, container_id="3" * 64), bench.red, at("10.1.0.10"), [])
    assert again.ipv4 == "10.1.0.10"
    assert set(bench.register.attached(bench.red.id)) == {"2" * 64, "3" * 64}


async def test_networks_that_cannot_be_joined_and_macs_that_cannot_be_had(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    config = bench.add("config", config_only=True)
    with pytest.raises(ConfigNotJoinable):
        await reserving.reserve(ONE, config, EndpointSettings(), [])
    vlan = bench.add("vlan", Pool("10.9.0.0/24", "10.9.0.1"), driver="ipvlan", options={"parent": "eth0"})
    with pytest.raises(MacFixed):
        await reserving.reserve(ONE, vlan, EndpointSettings(mac_address="02:42:00:00:00:01"), [])
    end = await reserving.reserve(ONE, vlan, EndpointSettings(), [])
    assert (end.mac, end.host_link, end.link) == ("", "", "eth0"), "the parent's MAC, and no near end"


async def test_what_is_given_back_is_free(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    end = await reserving.reserve(ONE, bench.red, at("10.1.0.9"), [])
    reserving.give_back(ONE.container_id, [end], ())
    assert bench.register.attached(bench.red.id) == {}
    other = msgspec.structs.replace(ONE, container_id="2" * 64)
    assert (await reserving.reserve(other, bench.red, at("10.1.0.9"), [])).ipv4 == "10.1.0.9"


async def test_the_plan_has_a_link_each_and_one_default_route(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    both = {"red": EndpointSettings(), DEFAULT: EndpointSettings(gw_priority=1)}
    tenant = msgspec.structs.replace(ONE, endpoints=both)
    ends = []
    for record in (bench.red, bench.register.find(DEFAULT)):
        ends.append(await reserving.reserve(tenant, record, both[record.name], ends))
    links = [one.step for one in reserving.plan(tenant, "/ns", ends, ()) if isinstance(one.step, MakeContainerLink)]
    assert [(one.bridge, one.gateways) for one in links] == [
        (bench.red.bridge, ("fd01::1",)),
        (bench.register.find(DEFAULT).bridge, ("172.17.0.1",)),
    ], "IPv4 by priority, IPv6 where there is some"
    assert reserving.plan(tenant, "", ends, ()) == (), "nothing is to be made on the host"


async def test_a_network_is_found_by_id_first_and_wanting_no_default_one_is_wanting_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reserving = bench.attachments._reserving
    renamed = EndpointSettings(network_id=bench.red.id)
    assert reserving.network_of("was-red", renamed) is bench.red
    with pytest.raises(NetworkNotFound):
        reserving.network_of("was-red", EndpointSettings())
    tenant = msgspec.structs.replace(ONE, endpoints={DEFAULT: EndpointSettings(), "red": EndpointSettings()})
    assert [record.name for record, _ in reserving.wanted(tenant)] == [DEFAULT, "red"]
    bench.register.discard(bench.register.find(DEFAULT))
    assert [record.name for record, _ in reserving.wanted(tenant)] == ["red"]
