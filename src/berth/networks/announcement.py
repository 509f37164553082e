"""The frames by which a host says unasked which MAC an address has now. Pure.

For IPv4 an ARP announcement (RFC 5227, section 2.3), for IPv6 an unsolicited neighbour advertisement that overrides
(RFC 4861, section 7.2.6). Whoever remembers another MAC for the address takes the new one over at once.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

ARP: Final = 0x0806
IPV6: Final = 0x86DD
_EVERYBODY: Final = b"\xff" * 6
_ALL_NODES: Final = IPv6Address("ff02::1")
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_ICMPV6: Final = 58
_ADVERTISEMENT: Final = 136
#: Whoever has an older answer is to forget it.
_OVERRIDE: Final = 0x2000_0000
#: An option that tells the link's address; in units of eight bytes.
_TARGET_LINK: Final = 2


def frames(mac: bytes, ipv4: str, ipv6: str) -> tuple[bytes, ...]:
    """Return what to send from a link with this MAC for its addresses; either may be empty."""
    found = []
    if ipv4:
        found.append(arp(mac, IPv4Address(ipv4)))
    if ipv6:
        found.append(advertisement(mac, IPv6Address(ipv6)))
    return tuple(found)


def arp(mac: bytes, address: IPv4Address) -> bytes:
    """Return an ARP request of an address for itself, which nobody answers and everybody takes note of."""
    own = address.packed
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + own + bytes(6) + own
    return _EVERYBODY + mac + struct.pack("!H", ARP) + body


def advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """Return a neighbour advertisement to all nodes on the link."""
    option = struct.pack("!BB", _TARGET_LINK, 1) + mac
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    # a router passes nothing on with a hop limit of 255: who gets it knows that it is from this link
    head = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + address.packed + _ALL_NODES.packed
    return _ALL_NODES_MAC + mac + struct.pack("!H", IPV6) + head + body


def _checksum(data: bytes) -> int:
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
