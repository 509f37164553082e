"""What is in a packet: bytes of an Ethernet frame → who talks to whom about what, and one line that says so. Pure.

Reads what people look for first: ARP, IPv4, IPv6, TCP, UDP, ICMP, names in DNS. Whatever bytes come in, something
comes out. Must not: know any container.
"""

import contextlib
import struct
from ipaddress import ip_address
from typing import Final, NamedTuple

ETHERNET_BYTES: Final = 14
_ARP, _IP4, _IP6, _VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
#: Extension headers of IPv6 that have a length of their own (RFC 8200).
_EXTENSIONS: Final = frozenset({0, 43, 60})
_FLAGS: Final = ((0x02, "SYN"), (0x10, "ACK"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x20, "URG"))
_ICMP_KINDS: Final = {
    (4, 0): "echo reply", (4, 8): "echo request", (4, 3): "unreachable", (4, 11): "time exceeded", (4, 5): "redirect",
    (6, 128): "echo request", (6, 129): "echo reply", (6, 1): "unreachable", (6, 2): "packet too big",
    (6, 3): "time exceeded", (6, 133): "router solicitation", (6, 134): "router advertisement",
    (6, 135): "who has", (6, 136): "neighbour is",
}  # fmt: skip
_UNREACHABLE: Final = {0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed", 13: "filtered"}
_DNS_TYPES: Final = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
                     65: "HTTPS", 255: "ANY"}  # fmt: skip
_DNS_CODES: Final = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
#: Where containers find their name server; its packets have other ports than 53 by the time they are seen.
RESOLVER: Final = "127.0.0.11"


class Packet(NamedTuple):
    """A decoded frame; empty or 0 is what it has not."""

    #: ``arp``, ``ip``, ``ip6`` or ``other``.
    network: str
    source: str = ""
    target: str = ""
    #: ``tcp``, ``udp``, ``icmp`` or a number.
    protocol: str = ""
    source_port: int = 0
    target_port: int = 0
    #: What it says, in words.
    says: str = ""

    @property
    def line(self) -> str:
        """Return the packet in one line, without the time."""
        if self.network == "arp":
            return f"ARP {self.says}"
        if not self.source:
            return self.says
        name = "IP6" if self.network == "ip6" else "IP"
        ends = (_end(self.source, self.source_port), _end(self.target, self.target_port))
        return f"{name} {ends[0]} > {ends[1]}: {self.protocol.upper()} {self.says}".rstrip()


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def decode(frame: bytes, length: int = 0) -> Packet:
    """Decode an Ethernet frame, or what there is of it, that had `length` bytes (0: it is whole)."""
    try:
        kind, at = int.from_bytes(frame[12:14], "big"), ETHERNET_BYTES
        if kind == _VLAN:
            kind, at = int.from_bytes(frame[16:18], "big"), ETHERNET_BYTES + 4
        if kind == _ARP:
            return _arp(frame[at:])
        if kind == _IP4:
            return _ip4(frame[at:], (length or len(frame)) - at)
        if kind == _IP6:
            return _ip6(frame[at:])
    except (struct.error, IndexError, ValueError):
        return Packet("other", says=f"malformed, {len(frame)} bytes")
    return Packet("other", says=f"ethertype {kind:#06x}, {len(frame)} bytes")


def _arp(body: bytes) -> Packet:
    operation = struct.unpack_from("!H", body, 6)[0]
    sender, asked = str(ip_address(body[14:18])), str(ip_address(body[24:28]))
    if operation == 1:
        return Packet("arp", sender, asked, says=f"who has {asked}, tell {sender}")
    return Packet("arp", sender, asked, says=f"{sender} is at {body[8:14].hex(':')}")


def _ip4(body: bytes, whole: int) -> Packet:
    head = (body[0] & 0xF) * 4
    # 0: more than the field can say, a segment that the kernel has not cut into packets yet (linux/ip.h, iph_totlen)
    total = struct.unpack_from("!H", body, 2)[0] or whole
    fragment = struct.unpack_from("!H", body, 6)[0] & 0x1FFF
    source, target = str(ip_address(body[12:16])), str(ip_address(body[16:20]))
    if fragment:
        return Packet("ip", source, target, _name(body[9]), says=f"fragment at {fragment * 8}, {total - head} bytes")
    return _transport(Packet("ip", source, target), 4, body[9], body[head : max(total, head)], total - head)


def _ip6(body: bytes) -> Packet:
    length, following = struct.unpack_from("!HB", body, 4)
    source, target = str(ip_address(body[8:24])), str(ip_address(body[24:40]))
    at = 40
    while following in _EXTENSIONS:
        following, size = body[at], (body[at + 1] + 1) * 8
        at += size
        length -= size
    return _transport(Packet("ip6", source, target), 6, following, body[at : at + length], length)


def _name(protocol: int) -> str:
    return {_TCP: "tcp", _UDP: "udp", _ICMP: "icmp", _ICMP6: "icmp"}.get(protocol, f"protocol {protocol}")


def _transport(packet: Packet, version: int, protocol: int, body: bytes, length: int) -> Packet:
    packet = packet._replace(protocol=_name(protocol), says=f"{length} bytes")
    if protocol == _TCP and len(body) >= 20:
        return _tcp(packet, body, length)
    if protocol == _UDP and len(body) >= 8:
        return _udp(packet, body, length)
    if protocol in (_ICMP, _ICMP6) and len(body) >= 4:
        return _icmp(packet, version, body, length)
    return packet


def _tcp(packet: Packet, body: bytes, length: int) -> Packet:
    source, target, sequence, acknowledged = struct.unpack_from("!HHII", body)
    head, bits, window = (body[12] >> 4) * 4, body[13], struct.unpack_from("!H", body, 14)[0]
    flags = " ".join(name for bit, name in _FLAGS if bits & bit)
    size = length - head
    numbers = f"seq {sequence}" if bits & 0x02 or size else ""
    ack = f"ack {acknowledged}" if bits & 0x10 and not numbers else ""
    said = ", ".join(part for part in (flags, numbers or ack, f"win {window}", f"{size} bytes" if size else "") if part)
    return packet._replace(source_port=source, target_port=target, says=said)


def _udp(packet: Packet, body: bytes, length: int) -> Packet:
    source, target = struct.unpack_from("!HH", body)
    said = f"{length - 8} bytes"
    if 53 in (source, target) or 5353 in (source, target) or RESOLVER in (packet.source, packet.target):
        said = _dns(body[8:]) or said
    return packet._replace(source_port=source, target_port=target, says=said)


def _icmp(packet: Packet, version: int, body: bytes, length: int) -> Packet:
    kind, code = body[0], body[1]
    said = _ICMP_KINDS.get((version, kind), f"type {kind} code {code}")
    if said.startswith("echo") and len(body) >= 8:
        number, sequence = struct.unpack_from("!HH", body, 4)
        said += f", id {number}, seq {sequence}, {length - 8} bytes"
    elif said == "unreachable" and version == 4:
        said = f"{_UNREACHABLE.get(code, f'code {code}')}{' unreachable' if code < 4 else ''}"
    elif kind in (135, 136) and version == 6 and len(body) >= 24:
        said += f" {ip_address(body[8:24])}"
    return packet._replace(says=said)


def _dns(body: bytes) -> str:
    with contextlib.suppress(struct.error, IndexError, ValueError):
        _, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", body)
        if questions != 1:
            return ""
        name, at = _dns_name(body, 12)
        rtype = struct.unpack_from("!H", body, at)[0]
        asked = f"{_DNS_TYPES.get(rtype, str(rtype))} {name}"
        if not flags & 0x8000:
            return f"DNS asks {asked}"
        code = flags & 0xF
        found = _dns_answers(body, at + 4, answers) if not code else []
        if code:
            return f"DNS {asked}: {_DNS_CODES.get(code, f'code {code}')}"
        return f"DNS {asked} is {', '.join(found) or 'nothing'}"
    return ""


def _dns_answers(body: bytes, at: int, count: int) -> list[str]:
    found = []
    for _ in range(min(count, 8)):
        at = _dns_name(body, at)[1]
        rtype, _, _, length = struct.unpack_from("!HHIH", body, at)
        at += 10
        if rtype in (1, 28) and length in (4, 16):
            found.append(str(ip_address(body[at : at + length])))
        elif rtype in (5, 12):
            found.append(_dns_name(body, at)[0])
        at += length
    return found


def _dns_name(body: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    after = 0
    for _ in range(64):
        length = body[at]
        if length >= 0xC0:
            after = after or at + 2
            at = (length & 0x3F) << 8 | body[at + 1]
            continue
        at += 1
        if length == 0:
            return ".".join(labels) or ".", after or at
        labels.append(body[at : at + length].decode("ascii", "backslashreplace"))
        at += length
    raise ValueError("a name that never ends")


# -- filters ------------------------------------------------------------------------------------------------


class BadFilter(ValueError):
    """A filter that cannot be read."""


_WORDS: Final = frozenset({"arp", "ip", "ip6", "tcp", "udp", "icmp", "icmp6", "dns"})
#: A filter, parsed: nested tuples of an operator or a test with its operands.
Filter = tuple[object, ...]


def parse_filter(text: str) -> Filter | None:
    """Read a filter: ``tcp port 80 and not host 10.0.0.1``; None for an empty one. Raises `BadFilter`.

    Tests: arp ip ip6 tcp udp icmp icmp6 dns, [src|dst] host ADDRESS, [src|dst] port NUMBER; joined by and, or, not
    and brackets.
    """
    words = text.replace("(", " ( ").replace(")", " ) ").lower().split()
    if not words:
        return None
    words.reverse()  # a stack: the next word is the last
    found = _any(words)
    if words:
        raise BadFilter(f"bad filter: unexpected {words[-1]!r}")
    return found


def _any(words: list[str]) -> Filter:
    found = _all(words)
    while words and words[-1] in ("or", "||"):
        words.pop()
        found = ("or", found, _all(words))
    return found


def _all(words: list[str]) -> Filter:
    found = _one(words)
    while words and words[-1] not in ("or", "||", ")"):
        if words[-1] in ("and", "&&"):  # may be left out between tests, as in “tcp port 80”
            words.pop()
        found = ("and", found, _one(words))
    return found


def _one(words: list[str]) -> Filter:
    if not words:
        raise BadFilter("bad filter: it ends in the middle")
    word = words.pop()
    if word in ("not", "!"):
        return ("not", _one(words))
    if word == "(":
        found = _any(words)
        if not words or words.pop() != ")":
            raise BadFilter("bad filter: a bracket is not closed")
        return found
    if word in _WORDS:
        return ("is", word)
    side = ""
    if word in ("src", "dst"):
        side, word = word, words.pop() if words else ""
    if word not in ("host", "port"):
        raise BadFilter(f"bad filter: unknown word {word!r} (known: {' '.join(sorted(_WORDS))} [src|dst] host port)")
    value = words.pop() if words else ""
    try:
        operand: object = str(ip_address(value)) if word == "host" else int(value)
    except ValueError:
        needs = "an address" if word == "host" else "a number"
        raise BadFilter(f"bad filter: {word} needs {needs}, not {value!r}") from None
    return (word, side, operand)


def passes(packet: Packet, test: Filter | None) -> bool:
    """Tell whether a packet passes a filter."""
    if test is None:
        return True
    kind = test[0]
    if kind == "and":
        return passes(packet, test[1]) and passes(packet, test[2])  # type: ignore[arg-type]
    if kind == "or":
        return passes(packet, test[1]) or passes(packet, test[2])  # type: ignore[arg-type]
    if kind == "not":
        return not passes(packet, test[1])  # type: ignore[arg-type]
    if kind == "is":
        if test[1] in ("icmp", "icmp6"):
            return packet.protocol == "icmp" and packet.network == ("ip" if test[1] == "icmp" else "ip6")
        is_dns = test[1] == "dns" and packet.says.startswith("DNS ")
        return is_dns or test[1] in (packet.network, packet.protocol)
    ends = (packet.source, packet.target) if kind == "host" else (packet.source_port, packet.target_port)
    wanted = {"src": ends[:1], "dst": ends[1:]}.get(str(test[1]), ends)
    return test[2] in wanted
