from berth.kernel.listeners import Listener
from berth.networks.model import LiveEndpoint, LiveSandbox, Published
from berth.networks.options import BridgeOptions, parse_bridge
from berth.networks.ports.exposure import of_host_network, of_open_network, of_published

END = LiveEndpoint("n", "net", "e", host_link="v", ipv4="172.18.0.2", prefix4=16, gateway4="172.18.0.1")


def test_what_is_published_is_reached_by_a_rule_the_proxy_or_its_own_address() -> None:
    ports = (
        Published("tcp", 80, "0.0.0.0", 8080),
        Published("tcp", 80, "::", 8080),
        Published("tcp", 81, "127.0.0.1", 8081, ("192.0.2.0/24",)),
        Published("tcp", 82, "0.0.0.0", 0, ("192.0.2.0/24",)),
    )
    found = of_published("one", LiveSandbox("c", "s", endpoints=(END,), published=ports))
    assert [(row.address, row.port, row.way, row.reach) for row in found] == [
        ("0.0.0.0", 8080, "rule", "everybody"),
        ("::", 8080, "proxy", "everybody"),
        ("127.0.0.1", 8081, "rule", "this machine"),
        ("172.18.0.2", 82, "routed", "192.0.2.0/24"),
    ]
    assert [row.is_outside for row in found] == [True, True, False, True]


def test_an_unprotected_network_exposes_what_listens_beyond_loopback() -> None:
    listeners = [Listener("tcp", "0.0.0.0", 80, 1), Listener("tcp", "127.0.0.11", 53, 2), Listener("tcp", "::", 90, 3)]
    bare = parse_bridge({"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"})
    assert [row.port for row in of_open_network("one", END, bare, listeners)] == [80, 90]
    assert of_open_network("one", END, BridgeOptions(), listeners) == []


def test_on_the_hosts_network_loopback_stays_inside() -> None:
    found = of_host_network("one", [Listener("tcp", "127.0.0.1", 80, 1), Listener("udp", "::", 53, 2)])
    assert [row.is_outside for row in found] == [False, True]
