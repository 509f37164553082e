from typing import Any

import pytest

from berth.base.errors import EngineError, Kind
from berth.containers.modes import check_endpoint_count, check_network_mode
from berth.wire.containers import ContainerConfig, HostConfig
from berth.wire.networks import EndpointSettings, NetworkingConfig, PortBinding


@pytest.mark.parametrize(
    ("mode", "config", "host", "words"),
    [
        ("container:x", {"hostname": "h"}, {}, "hostname and the network mode"),
        ("container:x", {}, {"links": ["a:b"]}, "container type network can't be used with links"),
        ("container:x", {}, {"dns": ["1.1.1.1"]}, "dns and the network mode"),
        ("container:x", {}, {"extra_hosts": ["a:1.1.1.1"]}, "custom host-to-IP mapping and the network mode"),
        ("container:x", {"mac_address": "02:00:00:00:00:01"}, {}, "mac-address and the network mode"),
        ("host", {"mac_address": "02:00:00:00:00:01"}, {}, "mac-address and the network mode"),
        ("container:x", {}, {"port_bindings": {"80/tcp": [PortBinding()]}}, "port publishing and the container type"),
        ("container:x", {}, {"publish_all_ports": True}, "port publishing and the container type network mode"),
        ("container:x", {"exposed_ports": {"80/tcp": {}}}, {}, "port exposing and the container type network mode"),
        ("host", {}, {"links": ["a:b"]}, "host type networking can't be used with links"),
        ("bridge", {"hostname": "h"}, {"uts_mode": "host"}, "hostname and the UTS mode"),
        ("container:", {}, {}, "invalid container format container:<name|id>"),
        ("container", {}, {}, "invalid container format container:<name|id>"),
    ],
)
def test_contradictions(mode: str, config: dict[str, Any], host: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_network_mode(ContainerConfig(**config), HostConfig(network_mode=mode, **host))
    assert caught.value.kind is Kind.INVALID
    assert words in str(caught.value)


def test_what_goes_together() -> None:
    check_network_mode(ContainerConfig(), HostConfig(network_mode="container:x"))
    check_network_mode(ContainerConfig(hostname="h"), HostConfig(network_mode="host", dns=["1.1.1.1"]))
    check_network_mode(ContainerConfig(exposed_ports={"80/tcp": {}}), HostConfig(network_mode="containers"))


def test_several_networks_from_old_clients() -> None:
    both = NetworkingConfig(endpoints={"red": EndpointSettings(), "blue": None})
    check_endpoint_count(both, (1, 44))
    check_endpoint_count(NetworkingConfig(endpoints={"red": None}), (1, 24))
    with pytest.raises(EngineError, match="multiple network endpoints: blue, red"):
        check_endpoint_count(both, (1, 43))
