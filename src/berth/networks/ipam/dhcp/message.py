"""DHCP messages as bytes and as values (RFC 2131, 2132, 3396). Pure; must not know what a client does with them."""

import struct
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

import msgspec

#: op, htype, hlen, hops, xid, secs, flags, four addresses, chaddr, sname, file (RFC 2131, figure 1).
_FIXED: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_COOKIE: Final = bytes((99, 130, 83, 99))
_ETHERNET: Final = 1
_BROADCAST: Final = 0x8000
#: Smallest message relays and servers must take (RFC 1542, section 2.1).
SMALLEST: Final = 300

PAD: Final = 0
MASK: Final = 1
ROUTER: Final = 3
HOST_NAME: Final = 12
REQUESTED_ADDRESS: Final = 50
LEASE_TIME: Final = 51
OVERLOAD: Final = 52
MESSAGE_TYPE: Final = 53
SERVER: Final = 54
PARAMETERS: Final = 55
REASON: Final = 56
RENEWAL_TIME: Final = 58
REBINDING_TIME: Final = 59
CLIENT_ID: Final = 61
END: Final = 255


class Op(IntEnum):
    """Who speaks."""

    CLIENT = 1
    SERVER = 2


class Type(IntEnum):
    """What is said (RFC 2132, section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class NotDhcp(ValueError):
    """These bytes are no DHCP message."""


class Message(msgspec.Struct, frozen=True):
    """One message; addresses are texts, 0.0.0.0 for none; options by number, in no order."""

    op: Op
    xid: int
    #: Ethernet address of the client.
    mac: bytes
    options: dict[int, bytes] = {}
    secs: int = 0
    #: The client cannot take a unicast answer yet.
    broadcast: bool = False
    client: str = "0.0.0.0"  # noqa: S104  no address
    yours: str = "0.0.0.0"  # noqa: S104
    next_server: str = "0.0.0.0"  # noqa: S104
    relay: str = "0.0.0.0"  # noqa: S104

    @property
    def type(self) -> Type | None:
        """What is said, None for what RFC 2132 does not know."""
        value = self.options.get(MESSAGE_TYPE, b"")
        return Type(value[0]) if len(value) == 1 and value[0] in tuple(Type) else None

    def address(self, option: int) -> str:
        """Return an option's (first) address, empty for none."""
        value = self.options.get(option, b"")
        return str(IPv4Address(value[:4])) if len(value) >= 4 else ""

    def seconds(self, option: int) -> int | None:
        """Return an option's time in seconds, None if it is not there."""
        value = self.options.get(option, b"")
        return int.from_bytes(value, "big") if len(value) == 4 else None


def encode(message: Message) -> bytes:
    """Return a message's bytes. Options longer than 255 bytes are cut in pieces that follow each other (RFC 3396)."""
    addresses = (message.client, message.yours, message.next_server, message.relay)
    fixed = _FIXED.pack(
        message.op,
        _ETHERNET,
        6,
        0,
        message.xid,
        message.secs,
        _BROADCAST if message.broadcast else 0,
        *(IPv4Address(text).packed for text in addresses),
        message.mac.ljust(16, b"\0"),
        b"",
        b"",
    )
    # the type goes first: some servers look for it there
    order = sorted(message.options, key=lambda code: (code != MESSAGE_TYPE, code))
    tail = b"".join(_option(code, message.options[code]) for code in order)
    return (fixed + _COOKIE + tail + bytes((END,))).ljust(SMALLEST, b"\0")


def _option(code: int, value: bytes) -> bytes:
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [b""]
    return b"".join(bytes((code, len(piece))) + piece for piece in pieces)


def decode(data: bytes) -> Message:
    """Read a message. Raises `NotDhcp` for anything else, never another exception."""
    if len(data) < _FIXED.size + len(_COOKIE):
        raise NotDhcp(f"{len(data)} bytes are too few")
    op, kind, length, _, xid, secs, flags, *addresses, mac, server_name, file = _FIXED.unpack_from(data)
    if op not in tuple(Op) or kind != _ETHERNET or length != 6:
        raise NotDhcp("not of an Ethernet client")
    rest = data[_FIXED.size :]
    if not rest.startswith(_COOKIE):
        raise NotDhcp("no options")
    options = _options(rest[len(_COOKIE) :])
    overload = options.pop(OVERLOAD, b"\0")
    for bit, place in ((1, file), (2, server_name)):
        if len(overload) == 1 and overload[0] & bit:
            for code, value in _options(place).items():
                options[code] = options.get(code, b"") + value
    client, yours, next_server, relay = (str(IPv4Address(packed)) for packed in addresses)
    return Message(
        op=Op(op),
        xid=xid,
        mac=mac[:6],
        options=options,
        secs=secs,
        broadcast=bool(flags & _BROADCAST),
        client=client,
        yours=yours,
        next_server=next_server,
        relay=relay,
    )


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != END:
        code = data[at]
        at += 1
        if code == PAD:
            continue
        if at >= len(data) or at + 1 + data[at] > len(data):
            raise NotDhcp(f"option {code} is cut off")
        found[code] = found.get(code, b"") + data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return found
