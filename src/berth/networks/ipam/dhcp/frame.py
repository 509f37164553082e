"""A DHCP message in UDP in IPv4 in Ethernet, for a client that has no address yet. Pure.

The checksum of what is received is not looked at: between ends of a pair the kernel leaves it for a card to fill in.
"""

import struct
from ipaddress import IPv4Address
from typing import Final, NamedTuple

#: IANA: bootps, bootpc.
SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
BROADCAST_MAC: Final = b"\xff" * 6
EVERYBODY: Final = "255.255.255.255"

_ETHERNET: Final = struct.Struct("!6s6sH")
#: Version and length, service, total length, number, fragment, life, protocol, checksum, from, to (RFC 791).
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_UDP: Final = struct.Struct("!HHHH")
_TYPE_IPV4: Final = 0x0800
_PROTOCOL_UDP: Final = 17
_FRAGMENT: Final = 0x3FFF


class Ends(NamedTuple):
    """Between whom a frame goes."""

    from_mac: bytes
    to_mac: bytes
    from_ip: str = "0.0.0.0"  # noqa: S104  no address yet
    to_ip: str = EVERYBODY


def wrap(ends: Ends, payload: bytes) -> bytes:
    """Return the frame that carries a client's message to a server."""
    source, target = IPv4Address(ends.from_ip).packed, IPv4Address(ends.to_ip).packed
    length = _UDP.size + len(payload)
    pseudo = source + target + struct.pack("!BBH", 0, _PROTOCOL_UDP, length)
    bare = _UDP.pack(CLIENT_PORT, SERVER_PORT, length, 0)
    udp = _UDP.pack(CLIENT_PORT, SERVER_PORT, length, _checksum(pseudo + bare + payload) or 0xFFFF)
    head = (0x45, 0, _IPV4.size + length, 0, 0, 64, _PROTOCOL_UDP)
    ip = _IPV4.pack(*head, _checksum(_IPV4.pack(*head, 0, source, target)), source, target)
    return _ETHERNET.pack(ends.to_mac, ends.from_mac, _TYPE_IPV4) + ip + udp + payload


def unwrap(frame: bytes) -> tuple[bytes, bytes] | None:
    """Return the sender's MAC and the message of a frame to a DHCP client, None for any other frame."""
    if len(frame) < _ETHERNET.size + _IPV4.size:
        return None
    _, sender, kind = _ETHERNET.unpack_from(frame)
    packet = frame[_ETHERNET.size :]
    first, _, total, _, fragment, _, protocol, *_ = _IPV4.unpack_from(packet)
    head = (first & 0x0F) * 4
    if kind != _TYPE_IPV4 or first >> 4 != 4 or protocol != _PROTOCOL_UDP or fragment & _FRAGMENT:
        return None
    if head < _IPV4.size or total > len(packet) or total < head + _UDP.size:
        return None
    _, port, length, _ = _UDP.unpack_from(packet, head)
    if port != CLIENT_PORT or not _UDP.size <= length <= total - head:
        return None
    return sender, packet[head + _UDP.size : head + length]


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
