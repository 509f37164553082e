import itertools
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.networks.dns.model import Permit
from berth.networks.errors import BadOption
from berth.networks.firewall.egress import ALLOW, MODE, check, destinations, parse, permits


def texts(*entries: str) -> tuple[str, ...]:
    return destinations(parse({MODE: "deny", ALLOW: ",".join(entries)}).allowed)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("10.0.5.0/24:5432/tcp", ["10.0.5.0-10.0.5.255 . 6 . 5432"]),
        ("10.0.5.1:53", ["10.0.5.1 . 6 . 53", "10.0.5.1 . 17 . 53"]),
        ("10.0.5.1:8000-8010/udp", ["10.0.5.1 . 17 . 8000-8010"]),
        ("10.0.5.1", ["10.0.5.1 . 0-255 . 0-65535"]),
        ("10.0.5.1/32/tcp", ["10.0.5.1 . 6 . 0-65535"]),
        ("[2001:db8::/32]:443/tcp", ["2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff . 6 . 443"]),
        ("2001:db8::1", ["2001:db8::1 . 0-255 . 0-65535"]),
    ],
)
def test_an_entry_is_addresses_protocols_and_ports(entry: str, found: list[str]) -> None:
    assert list(texts(entry)) == found


@pytest.mark.parametrize(
    "entry",
    [
        "example.com",
        "10.0.0.1:0",
        "10.0.0.1:90000",
        "10.0.0.1:9-8",
        "10.0.0.1/24",
        "10.0.0.1:80/sctp",
        "[10.0.0.1",
        "::g",
    ],
)
def test_what_is_malformed_is_named(entry: str) -> None:
    with pytest.raises(BadOption, match="failed to parse berth.egress.allow value: "):
        texts(entry)


def test_names_are_for_the_name_server() -> None:
    options = {MODE: "deny", ALLOW: "dns:*.GitHub.com:443, dns:db.example 10.0.0.1 dns:x.y:22/tcp"}
    assert permits(options, "berth", "br-1") == (
        Permit("*.github.com", "berth", "br-1", "tcp", 443),
        Permit("*.github.com", "berth", "br-1", "udp", 443),
        Permit("db.example", "berth", "br-1"),
        Permit("x.y", "berth", "br-1", "tcp", 22),
    )
    assert list(destinations(parse(options).allowed)) == ["10.0.0.1 . 0-255 . 0-65535"]


@pytest.mark.parametrize(
    "entry", ["dns:", "dns:*", "dns:*.*.x", "dns:a b", "dns:x:0", "dns:x/tcp", "dns:x:1-2", "dns:é"]
)
def test_names_that_are_none_are_refused(entry: str) -> None:
    with pytest.raises(BadOption, match=r"failed to parse berth.egress.allow value: "):
        parse({MODE: "deny", ALLOW: entry})


def test_modes_and_what_goes_together() -> None:
    assert not parse({}).deny
    with pytest.raises(BadOption, match="failed to parse berth.egress value: no"):
        parse({MODE: "no"})
    with pytest.raises(BadOption, match="everything is allowed"):
        parse({ALLOW: "10.0.0.1"})
    with pytest.raises(BadOption, match="bridge networks"):
        check({MODE: "deny"}, "macvlan", internal=False)
    with pytest.raises(BadOption, match="internal"):
        check({MODE: "deny"}, "bridge", internal=True)
    check({MODE: "deny"}, "bridge", internal=False)


def test_entries_that_overlap_become_ranges_that_do_not() -> None:
    assert list(texts("10.0.0.0/29", "10.0.0.2:80/tcp")) == ["10.0.0.0-10.0.0.7 . 0-255 . 0-65535"]
    assert list(texts("10.0.0.0/30:80/tcp", "10.0.0.1:443/tcp")) == [
        "10.0.0.0 . 6 . 80",
        "10.0.0.1 . 6 . 80",
        "10.0.0.1 . 6 . 443",
        "10.0.0.2-10.0.0.3 . 6 . 80",
    ]
    assert list(texts("10.0.0.1:80-90/tcp", "10.0.0.1:85-99/tcp", "10.0.0.1:100/tcp")) == ["10.0.0.1 . 6 . 80-100"]


def within(text: str, number: int) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= number <= int(last or first)


def holds(text: str, address: IPv4Address, protocol: int, port: int) -> bool:
    addresses, protocols, ports = text.split(" . ")
    first, _, last = addresses.partition("-")
    return (
        IPv4Address(first) <= address <= IPv4Address(last or first)
        and within(protocols, protocol)
        and within(ports, port)
    )


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 15), st.integers(28, 32), st.sampled_from(["", ":5", ":3-9", ":7/tcp", ":1-5/udp", "/tcp"])
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(ENTRIES)
def test_the_ranges_hold_exactly_what_the_entries_hold(drawn: list[tuple[int, int, str]]) -> None:
    entries = [
        f"{ip_network((int(IPv4Address('10.0.0.0')) + low, prefix), strict=False)}{rest}" for low, prefix, rest in drawn
    ]
    found = texts(*entries)
    alone = [text for entry in entries for text in texts(entry)]
    for low, protocol, port in itertools.product(range(16), (1, 6, 17), (2, 4, 7, 10)):
        address = IPv4Address("10.0.0.0") + low
        wanted = any(holds(text, address, protocol, port) for text in alone)
        assert sum(holds(text, address, protocol, port) for text in found) == int(wanted)
