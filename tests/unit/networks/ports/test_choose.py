import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.ports.choose import Wish, parse_host_port, parse_port, wishes
from berth.networks.ports.errors import BadPort
from berth.wire.networks import PortBinding


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80/tcp", (80, "tcp")), ("80", (80, "tcp")), ("53/UDP", (53, "udp")), ("1/sctp", (1, "sctp"))],
)
def test_ports_are_read(text: str, expected: tuple[int, str]) -> None:
    assert parse_port(text) == expected


@pytest.mark.parametrize(
    "text", ["", "/tcp", "0/tcp", "65536/tcp", "80/icmp", "80/", "-1/tcp", "a/tcp", "²/tcp", "80 /tcp"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadPort):
        parse_port(text)


@pytest.mark.parametrize("text", ["x", "8-", "-8", "9-8", "70000", "1-70000", "8080:80"])
def test_what_is_no_host_port_is_refused(text: str) -> None:
    with pytest.raises(BadPort):
        parse_host_port(text)


@given(st.integers(1, 65535), st.integers(0, 100))
def test_ranges_are_read(first: int, length: int) -> None:
    last = min(first + length, 65535)
    assert parse_host_port(f"{first}-{last}") == (first, last)


def test_every_binding_is_a_wish() -> None:
    bindings = {
        "80/tcp": [PortBinding("", "8080"), PortBinding("127.0.0.1", "9090")],
        "53/udp": [PortBinding(None, None)],
        "7/tcp": None,
    }
    assert wishes(bindings, ("99/tcp",), publish_all=False) == [
        Wish("udp", 53, "0.0.0.0", 0, 0, both=True),
        Wish("tcp", 80, "0.0.0.0", 8080, 8080, both=True),
        Wish("tcp", 80, "127.0.0.1", 9090, 9090),
    ]


def test_publish_all_adds_what_is_exposed_and_unbound() -> None:
    bindings = {"80/tcp": [PortBinding("", "8080")]}
    found = wishes(bindings, ("80/tcp", "443/tcp"), publish_all=True, default_ip="127.0.0.1")
    assert found == [Wish("tcp", 80, "127.0.0.1", 8080, 8080), Wish("tcp", 443, "127.0.0.1", 0, 0)]


def test_a_bad_host_address_is_refused() -> None:
    with pytest.raises(BadPort, match="invalid IP address"):
        wishes({"80/tcp": [PortBinding("example.org", "80")]}, (), publish_all=False)
