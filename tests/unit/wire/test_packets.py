"""Frames → words, filters, capture files."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.wire import pcap
from berth.wire.packets import BadFilter, decode, parse_filter, passes

ETHER4, ETHER6 = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"


def ip4(protocol: int, body: bytes, source: str = "10.0.0.2", target: str = "10.0.0.3", offset: int = 0) -> bytes:
    ends = bytes(map(int, source.split("."))) + bytes(map(int, target.split(".")))
    return ETHER4 + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, offset, 64, protocol, 0) + ends + body


def tcp(flags: int, data: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, 80, 7, 9, 0x50, flags, 512, 0, 0) + data


def udp(source: int, target: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(data), 0) + data


def dns(flags: int, answers: bytes = b"", count: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 1, flags, 1, count, 0, 0) + b"\x03web\x05front\x00\x00\x01\x00\x01" + answers


A = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04\x0a\x00\x00\x02"


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (ip4(6, tcp(0x02)), "IP 10.0.0.2:40000 > 10.0.0.3:80: TCP SYN, seq 7, win 512"),
        (ip4(6, tcp(0x10)), "IP 10.0.0.2:40000 > 10.0.0.3:80: TCP ACK, ack 9, win 512"),
        (ip4(6, tcp(0x18, b"hello")), "IP 10.0.0.2:40000 > 10.0.0.3:80: TCP ACK PSH, seq 7, win 512, 5 bytes"),
        (ip4(17, udp(5000, 6000, b"xyz")), "IP 10.0.0.2:5000 > 10.0.0.3:6000: UDP 3 bytes"),
        (ip4(17, udp(5000, 53, dns(0x100))), "IP 10.0.0.2:5000 > 10.0.0.3:53: UDP DNS asks A web.front"),
        (ip4(17, udp(53, 5000, dns(0x8180, A, 1))), "IP 10.0.0.2:53 > 10.0.0.3:5000: UDP DNS A web.front is 10.0.0.2"),
        (ip4(17, udp(53, 5000, dns(0x8183))), "IP 10.0.0.2:53 > 10.0.0.3:5000: UDP DNS A web.front: no such name"),
        (ip4(17, udp(9, 8, dns(0x100)), target="127.0.0.11"), "IP 10.0.0.2:9 > 127.0.0.11:8: UDP DNS asks A web.front"),
        (ip4(1, b"\x08\x00\x00\x00\x00\x05\x00\x01abcd"),
         "IP 10.0.0.2 > 10.0.0.3: ICMP echo request, id 5, seq 1, 4 bytes"),
        (ip4(1, b"\x03\x03\x00\x00\x00\x00\x00\x00"), "IP 10.0.0.2 > 10.0.0.3: ICMP port unreachable"),
        (ip4(6, b"x" * 8, offset=10), "IP 10.0.0.2 > 10.0.0.3: TCP fragment at 80, 8 bytes"),
        (ip4(47, b"x" * 8), "IP 10.0.0.2 > 10.0.0.3: PROTOCOL 47 8 bytes"),
        (ETHER6 + struct.pack("!IHBB", 0x60000000, 20, 6, 64) + bytes(15) + b"\x01" + bytes(15) + b"\x02" + tcp(0x04),
         "IP6 [::1]:40000 > [::2]:80: TCP RST, win 512"),
        (bytes(12) + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + bytes(6) + bytes((10, 0, 0, 2))
         + bytes(6) + bytes((10, 0, 0, 3)), "ARP who has 10.0.0.3, tell 10.0.0.2"),
        (bytes(12) + b"\x88\xcc" + b"x", "ethertype 0x88cc, 15 bytes"),
    ],
)  # fmt: skip
def test_lines(frame: bytes, line: str) -> None:
    assert decode(frame).line == line


def test_a_segment_beyond_what_its_header_can_say_has_the_length_it_was_captured_with() -> None:
    frame = ip4(6, tcp(0x10, bytes(10)))
    cut = frame[:16] + b"\0\0" + frame[18:60]
    assert decode(cut, 14 + 262_144).line.endswith("TCP ACK, seq 7, win 512, 262104 bytes")
    assert decode(frame[:16] + b"\0\0" + frame[18:]).line.endswith(", 10 bytes"), "whole"


@given(st.binary(max_size=200), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"]))
def test_any_bytes_come_to_something(body: bytes, kind: bytes) -> None:
    assert decode(bytes(12) + kind + body).line
    assert decode(body).line
    decode(ip4(17, udp(53, 1, body)))


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("", True), ("tcp", True), ("udp", False), ("tcp port 80", True), ("port 40000", True), ("src port 80", False),
        ("dst port 80 and host 10.0.0.2", True), ("not tcp", False), ("udp or port 80", True), ("host 10.0.0.9", False),
        ("src host 10.0.0.2", True), ("dst host 10.0.0.2", False), ("not (udp or icmp)", True), ("ip6 or arp", False),
        ("ip and not dns", True), ("icmp", False), ("icmp6", False),
    ],
)  # fmt: skip
def test_filters(text: str, hit: bool) -> None:
    assert passes(decode(ip4(6, tcp(0x02))), parse_filter(text)) is hit


@pytest.mark.parametrize("text", ["port", "port x", "host web", "and", "(tcp", "tcp)", "frobnicate", "not", "src tcp"])
def test_bad_filters(text: str) -> None:
    with pytest.raises(BadFilter):
        parse_filter(text)


@given(st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=50)), max_size=5), st.integers(1, 30))
def test_captures_come_back_however_they_are_cut(packets: list[tuple[int, bytes]], size: int) -> None:
    there = [pcap.Record(at % (2**32 * 10**9), len(data) + 3, data) for at, data in packets]
    raw = pcap.head() + b"".join(pcap.packed(one) for one in there)
    assert list(pcap.records(raw[at : at + size] for at in range(0, len(raw), size))) == there


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not a capture"):
        list(pcap.records([b"\x0a\x0d\x0d\x0a" + bytes(40)]))
