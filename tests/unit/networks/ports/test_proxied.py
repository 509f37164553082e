from berth.networks.model import Published
from berth.networks.ports.proxied import HostPort, routes
from berth.networks.ports.proxy_control import Target

PUBLISHED = (
    Published("tcp", 80, "0.0.0.0", 8080),
    Published("tcp", 80, "::", 8080),
    Published("udp", 53, "::1", 5353),
    Published("sctp", 90, "::", 9090),
)


def test_the_proxy_listens_for_ipv6_and_passes_on_to_what_the_container_has() -> None:
    assert routes(PUBLISHED, ipv4="172.17.0.2", ipv6="") == {
        HostPort("tcp", "::", 8080): Target("172.17.0.2", 80),
        HostPort("udp", "::1", 5353): Target("172.17.0.2", 53),
    }
    assert routes(PUBLISHED, ipv4="172.17.0.2", ipv6="fd00::2") == {
        HostPort("tcp", "::", 8080): Target("fd00::2", 80),
        HostPort("udp", "::1", 5353): Target("fd00::2", 53),
    }
    assert routes(PUBLISHED, ipv4="", ipv6="") == {}
    assert routes([Published("tcp", 80, "::", 0)], ipv4="", ipv6="fd00::2") == {}, "routed: there is no host port"


def test_a_key_names_protocol_address_and_port() -> None:
    assert HostPort("tcp", "::", 8080).key == "tcp/[::]:8080"
