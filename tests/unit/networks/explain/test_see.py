"""Networks in words and numbers."""

from berth.kernel.netview import Counters
from berth.networks.explain.see import as_seen_inside, policy
from berth.networks.model import NetworkRecord
from berth.networks.options import GATEWAY_MODES, ICC, MASQUERADE, parse_bridge


def said(*, internal: bool = False, driver: str = "bridge", **options: str) -> str:
    record = NetworkRecord("i", "n", driver, internal=internal, options=options)
    return "; ".join(policy(record, parse_bridge(record.options)))


def test_policies() -> None:
    assert "only published ports are reached" in said()
    assert "internal: nothing enters or leaves but for the host" in said(internal=True)
    assert said(internal=True, **{GATEWAY_MODES[4]: "isolated"}).endswith("nothing enters or leaves")
    assert "do not reach each other" in said(**{ICC: "false"})
    assert "every port is reached from outside" in said(**{GATEWAY_MODES[4]: "nat-unprotected"})
    assert "published ports are reached at containers' own addresses" in said(**{GATEWAY_MODES[4]: "routed"})
    assert "keeps its address" in said(**{MASQUERADE: "false"})
    assert "let out nowhere (egress deny)" in said(**{"berth.egress": "deny"})
    assert "let out to 192.0.2.1, dns:a.b:80 only" in said(
        **{"berth.egress": "deny", "berth.egress.allow": "192.0.2.1,dns:a.b:80"}
    )
    assert "host's own network" in said(driver="host")
    assert "loopback" in said(driver="null")


def test_policies_of_two_families_are_said_apart_where_they_differ() -> None:
    record = NetworkRecord("i", "n", "bridge", enable_ipv6=True, options={GATEWAY_MODES[6]: "routed"})
    words = policy(record, parse_bridge(record.options))
    assert "IPv4: from outside and from other networks only published ports are reached" in words
    assert "IPv6: what leaves keeps its address: others need a route back" in words
    fixed = {"com.docker.network.host_ipv4": "192.0.2.7"}
    assert "IPv4: what leaves has the address 192.0.2.7" in said(**fixed)


def test_what_the_host_received_the_container_sent() -> None:
    host = Counters(rx_packets=1, tx_packets=2, rx_bytes=10, tx_bytes=20, rx_dropped=3, tx_dropped=4)
    inside = as_seen_inside(host)
    assert (inside["TxPackets"], inside["TxBytes"], inside["TxDropped"]) == (1, 10, 3)
    assert (inside["RxPackets"], inside["RxBytes"], inside["RxDropped"]) == (2, 20, 4)
