"""What networks and containers on them look like in the API."""

from pathlib import Path

import pytest

from berth.networks.errors import NetworkNotFound
from berth.networks.showing import Showing
from berth.networks.tenants import Tenants
from berth.wire.filters import Filters, InvalidFilter, parse_filters
from tests.unit.networks.bench import Bench


def showing(bench: Bench) -> Showing:
    return Showing(Tenants(bench.tenants), bench.live, bench.register)


def names(bench: Bench, text: str = "") -> list[str]:
    filters = parse_filters(text) if text else Filters({})
    return sorted(one["Name"] for one in showing(bench).list(filters))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", ["bridge", "inner", "red"]),
        ('{"name":["e"]}', ["bridge", "inner", "red"]),
        ('{"name":["^r"]}', ["red"]),
        ('{"name":["["]}', []),
        ('{"id":["rrr"]}', ["red"]),
        ('{"type":["builtin"]}', ["bridge"]),
        ('{"type":["custom"]}', ["inner", "red"]),
        ('{"dangling":["true"]}', ["inner"]),
        ('{"dangling":["false"]}', ["bridge", "red"]),
        ('{"driver":["macvlan"]}', []),
        ('{"scope":["local"]}', ["bridge", "inner", "red"]),
        ('{"label":["a"]}', []),
    ],
)
async def test_the_list_is_filtered(tmp_path: Path, filters: str, expected: list[str]) -> None:
    bench = Bench(tmp_path)
    await bench.runs("one", bench.red)
    assert names(bench, filters) == expected


@pytest.mark.parametrize("filters", ['{"type":["mine"]}', '{"until":["1h"]}', '{"dangling":["perhaps"]}'])
def test_filters_that_say_nothing_are_refused(tmp_path: Path, filters: str) -> None:
    with pytest.raises(InvalidFilter):
        names(Bench(tmp_path), filters)


async def test_a_network_shows_who_is_on_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red)
    shown = showing(bench).inspect("red")
    assert shown["Containers"] == {
        tenant.container_id: {
            "Name": "one",
            "EndpointID": live.endpoints[0].endpoint_id,
            "MacAddress": "02:42:0a:01:00:02",
            "IPv4Address": "10.1.0.2/24",
            "IPv6Address": "fd01::2/64",
        }
    }
    with pytest.raises(NetworkNotFound):
        showing(bench).inspect("red", scope="swarm")


async def test_a_container_shows_its_networks_running_or_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, _ = await bench.runs("one", bench.red)
    assert showing(bench).settings(tenant.container_id)["Networks"]["red"]["IPAddress"] == "10.1.0.2"
    assert "one" in showing(bench).summary(tenant.container_id)["Networks"]["red"]["DNSNames"]
    await bench.live.drop(tenant.container_id)
    assert showing(bench).settings(tenant.container_id)["Networks"]["red"]["IPAddress"] == ""
    assert showing(bench).ports(tenant.container_id) == []
