"""rtnetlink: links, addresses, routes. Messages are packed here and sent in batches; every answer is read.

One socket belongs to the namespace it was opened in and may then be used from any thread (a lock guards it).
Why not a library: see ADR 0003. Must not: know what a link is for.
"""

import contextlib
import errno
import itertools
import os
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple, Self

from berth.base.errors import SystemFault

# linux/netlink.h
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLM_F_CREATE: Final = 0x400
NLM_F_ACK_TLVS: Final = 0x200
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12
NLMSGERR_ATTR_MSG: Final = 1
# linux/rtnetlink.h
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_GETRULE: Final = 34
RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PREFSRC: Final = 7
RTA_TABLE: Final = 15
FRA_TABLE: Final = 15
RT_TABLE_UNSPEC: Final = 0
RT_TABLE_MAIN: Final = 254
RT_TABLE_LOCAL: Final = 255
RTPROT_BOOT: Final = 3
RTN_UNICAST: Final = 1
RT_SCOPE_LINK: Final = 253
# linux/if_link.h
IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_LINK: Final = 5
IFLA_MASTER: Final = 10
IFLA_PROTINFO: Final = 12
IFLA_OPERSTATE: Final = 16
IFLA_LINKINFO: Final = 18
IFLA_IFALIAS: Final = 20
IFLA_AF_SPEC: Final = 26
IFLA_GROUP: Final = 27
IFLA_NET_NS_FD: Final = 28
IFLA_EXT_MASK: Final = 29
IFLA_TSO_MAX_SIZE: Final = 59
IFLA_GSO_IPV4_MAX_SIZE: Final = 63
RTEXT_FILTER_SKIP_STATS: Final = 1 << 3
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_INFO_SLAVE_DATA: Final = 5
IFLA_BRPORT_STATE: Final = 1
IFLA_BRPORT_MODE: Final = 4
IFLA_BRPORT_ISOLATED: Final = 33
IFLA_INET6_ADDR_GEN_MODE: Final = 8
IN6_ADDR_GEN_MODE_NONE: Final = 1
VETH_INFO_PEER: Final = 1
BR_STATE_FORWARDING: Final = 3
IF_OPER_UP: Final = 6
IFF_UP: Final = 0x1
# linux/if_addr.h
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_BROADCAST: Final = 4
IFA_FLAGS: Final = 8
IFA_F_NODAD: Final = 0x02
AF_BRIDGE: Final = 7

#: Bytes read at once; the kernel fits a dump's parts to it (net/netlink/af_netlink.c, at most 32 KiB).
RECEIVE_BYTES: Final = 65_536
#: How often an interrupted dump is read again: under steady change it need not ever come out whole.
DUMP_ATTEMPTS: Final = 5

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_U32: Final = struct.Struct("=I")
_I32: Final = struct.Struct("=i")


class NetlinkError(SystemFault):
    """The kernel refused a request."""

    def __init__(self, what: str, number: int, reason: str) -> None:
        super().__init__(f"{what}: {os.strerror(number)}{f' ({reason})' if reason else ''}")
        self.number = number


class LinkNotFound(NetlinkError):
    """No link of that name is in the namespace."""


class LinkExists(NetlinkError):
    """The name, or the address or route, is taken."""


class Message(NamedTuple):
    """One request: type, flags beside REQUEST and ACK, body; `what` names it in an error."""

    kind: int
    flags: int
    body: bytes
    what: str


class Link(NamedTuple):
    """One link as dumped."""

    number: int
    name: str
    is_up: bool
    mtu: int
    mac: str
    master: int
    kind: str
    alias: str
    #: Packets pass: the kernel has seen the carrier, and a bridge port forwards.
    passes: bool
    #: Bytes of the largest TCP segment it is given whole, by IPv4; 0 where the kernel does not say (before 6.3).
    segment: int = 0
    #: What that can be set to at most.
    segment_limit: int = 0


class Address(NamedTuple):
    """One address on a link, as dumped."""

    link: int
    address: str
    prefix: int


class RouteEntry(NamedTuple):
    """One route as dumped; `destination` is empty for a default route."""

    family: int
    table: int
    destination: str
    prefix: int
    gateway: str
    oif: int
    kind: int


# -- attributes -------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """Pack one attribute with its padding."""
    length = len(value) + 4
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """Pack attributes inside one."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """Pack a NUL-ended text."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Pack an unsigned 32-bit number."""
    return attribute(kind, _U32.pack(value))


def u8(kind: int, value: int) -> bytes:
    """Pack a byte."""
    return attribute(kind, bytes((value,)))


def attributes(data: bytes | memoryview, at: int = 0) -> dict[int, bytes]:
    """Unpack a run of attributes; of doubles the last counts. Junk at the end is ignored."""
    found: dict[int, bytes] = {}
    end = len(data)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            break
        found[kind & NLA_TYPE_MASK] = bytes(data[at + 4 : at + length])
        at += (length + 3) & ~3
    return found


def _cut(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def pack_mac(mac: str) -> bytes:
    """Turn ``02:42:…`` into six bytes."""
    return bytes.fromhex(mac.replace(":", "").replace("-", ""))


def _family(address: IPv4Address | IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


# -- requests ---------------------------------------------------------------------------------------


def _link_head(*, index: int = 0, up: bool | None = None, family: int = 0) -> bytes:
    return _LINK.pack(family, 0, index, IFF_UP if up else 0, 0 if up is None else IFF_UP)


def link_head(index: int) -> bytes:
    """Begin a request about a link known by its index, for a family of messages of another module."""
    return _link_head(index=index)


def new_bridge(name: str, mac: str, mtu: int) -> Message:
    """Make a bridge, still down; a MAC of its own keeps it from changing with its ports."""
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    parts = text(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, pack_mac(mac)) + info
    if mtu:
        parts += u32(IFLA_MTU, mtu)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link_head() + parts, f"make bridge {name}")


def new_veth(
    name: str, *, peer: str, peer_mac: str, namespace_fd: int, mtu: int, master: int = 0, segment: int = 0
) -> Message:
    """Make a pair: `name` here, as a port of `master` if given, the peer at once in another namespace; both down.

    `segment` is the largest TCP segment they carry whole, 0 for the kernel's own limit.
    """
    inside = text(IFLA_IFNAME, peer) + attribute(IFLA_ADDRESS, pack_mac(peer_mac)) + u32(IFLA_NET_NS_FD, namespace_fd)
    outside = text(IFLA_IFNAME, name) + (u32(IFLA_MASTER, master) if master else b"")
    if mtu:
        inside += u32(IFLA_MTU, mtu)
        outside += u32(IFLA_MTU, mtu)
    if segment:
        inside += u32(IFLA_GSO_IPV4_MAX_SIZE, segment)
        outside += u32(IFLA_GSO_IPV4_MAX_SIZE, segment)
    data = nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, _link_head() + inside))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), data)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link_head() + outside + info, f"make link {name}")


def new_sublink(
    name: str, kind: str, *, parent: int, data: bytes = b"", mac: str = "", namespace_fd: int = -1
) -> Message:
    """Make a link of a `kind` (its attributes in `data`) on a parent, at once in another namespace if given; down."""
    parts = text(IFLA_IFNAME, name)
    if parent:
        parts += u32(IFLA_LINK, parent)
    if mac:
        parts += attribute(IFLA_ADDRESS, pack_mac(mac))
    if namespace_fd >= 0:
        parts += u32(IFLA_NET_NS_FD, namespace_fd)
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data) if data else b"")
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link_head() + parts + info, f"make {kind} link {name}")


def set_up(name: str, *, up: bool = True) -> Message:
    """Bring a link up, or down."""
    verb = "up" if up else "down"
    return Message(RTM_SETLINK, 0, _link_head(up=up) + text(IFLA_IFNAME, name), f"bring link {name} {verb}")


def set_alias(name: str, alias: str) -> Message:
    """Write a link's alias: the only place in it for a mark of ours."""
    body = _link_head() + text(IFLA_IFNAME, name) + attribute(IFLA_IFALIAS, alias.encode())
    return Message(RTM_SETLINK, 0, body, f"mark link {name}")


def no_link_local(name: str) -> Message:
    """Keep a link that is down from making itself an IPv6 address when it comes up."""
    inet6 = nested(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
    body = _link_head() + text(IFLA_IFNAME, name) + nested(IFLA_AF_SPEC, inet6)
    return Message(RTM_SETLINK, 0, body, f"keep link {name} without IPv6")


def configure_port(index: int, *, isolated: bool, hairpin: bool) -> Message:
    """Set up a bridge port: isolated ones reach the bridge itself only; hairpin ones may get back what they sent."""
    parts = u8(IFLA_BRPORT_ISOLATED, int(isolated)) + u8(IFLA_BRPORT_MODE, int(hairpin))
    body = _link_head(index=index, family=AF_BRIDGE) + nested(IFLA_PROTINFO, parts)
    return Message(RTM_SETLINK, 0, body, f"configure bridge port {index}")


def retire(index: int, group: int) -> Message:
    """Bring a link down and put it into a group, by which many are deleted for the price of one.

    Down, a bridge port is cut off at once and its neighbours forgotten; deleting takes tens of milliseconds more,
    and its address may be given away before.
    """
    return Message(RTM_SETLINK, 0, _link_head(index=index, up=False) + u32(IFLA_GROUP, group), f"retire link {index}")


def delete_group(group: int) -> Message:
    """Delete every link of a group."""
    return Message(RTM_DELLINK, 0, _link_head() + u32(IFLA_GROUP, group), f"delete links of group {group:#x}")


def delete_link(name: str) -> Message:
    """Delete a link (and a pair's other end)."""
    return Message(RTM_DELLINK, 0, _link_head() + text(IFLA_IFNAME, name), f"delete link {name}")


def rename_link(index: int, name: str) -> Message:
    """Rename a link that is down."""
    return Message(RTM_SETLINK, 0, _link_head(index=index) + text(IFLA_IFNAME, name), f"rename link to {name}")


def move_link(index: int, namespace_fd: int) -> Message:
    """Move a link into another namespace; there it is down and has no addresses."""
    return Message(RTM_SETLINK, 0, _link_head(index=index) + u32(IFLA_NET_NS_FD, namespace_fd), f"move link {index}")


def set_mac(index: int, mac: str) -> Message:
    """Give a link a hardware address."""
    return Message(RTM_SETLINK, 0, _link_head(index=index) + attribute(IFLA_ADDRESS, pack_mac(mac)), f"set MAC {mac}")


def set_segment(index: int, size: int) -> Message:
    """Let a link carry TCP segments of up to so many bytes whole."""
    return Message(
        RTM_SETLINK, 0, _link_head(index=index) + u32(IFLA_GSO_IPV4_MAX_SIZE, size), f"limit segments of link {index}"
    )


def static_route(
    destination: str, index: int, gateway: str = "", *, flags: int = NLM_F_CREATE | NLM_F_REPLACE, delete: bool = False
) -> Message:
    """Add (or delete) a route to a prefix through a gateway, or by the link itself."""
    network = ip_network(destination, strict=False)
    scope = RT_SCOPE_LINK if network.version == 4 and not gateway else 0
    family = _family(network.network_address)
    head = _ROUTE.pack(family, network.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    body = head + attribute(RTA_DST, network.network_address.packed) + u32(RTA_OIF, index)
    if gateway:
        body += attribute(RTA_GATEWAY, ip_address(gateway).packed)
    if delete:
        return Message(RTM_DELROUTE, 0, body, f"delete route to {destination}")
    return Message(RTM_NEWROUTE, flags, body, f"add route to {destination}")


def new_address(index: int, address: str, prefix: int, *, broadcast: str = "", replace: bool = False) -> Message:
    """Put an address on a link; an IPv6 one is used at once, without asking around for doubles."""
    value = ip_address(address)
    parts = attribute(IFA_LOCAL, value.packed) + attribute(IFA_ADDRESS, value.packed)
    if broadcast:
        parts += attribute(IFA_BROADCAST, ip_address(broadcast).packed)
    if value.version == 6:
        parts += u32(IFA_FLAGS, IFA_F_NODAD)
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    body = _ADDRESS.pack(_family(value), prefix, 0, 0, index) + parts
    return Message(RTM_NEWADDR, flags, body, f"add address {address}/{prefix}")


def delete_address(index: int, address: str, prefix: int) -> Message:
    """Take an address from a link."""
    value = ip_address(address)
    body = _ADDRESS.pack(_family(value), prefix, 0, 0, index) + attribute(IFA_LOCAL, value.packed)
    return Message(RTM_DELADDR, 0, body, f"delete address {address}/{prefix}")


def default_route(gateway: str, index: int, *, delete: bool = False, replace: bool = False) -> Message:
    """Add, replace or delete the default route through `gateway`; an unspecified one means by the link itself."""
    value = ip_address(gateway)
    scope = RT_SCOPE_LINK if value.is_unspecified and value.version == 4 else 0
    head = _ROUTE.pack(_family(value), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    way = b"" if value.is_unspecified else attribute(RTA_GATEWAY, value.packed)
    body = head + way + u32(RTA_OIF, index)
    if delete:
        return Message(RTM_DELROUTE, 0, body, f"delete default route through {gateway}")
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Message(RTM_NEWROUTE, flags, body, f"add default route through {gateway}")


def link_route(destination: str, index: int, *, source: str = "") -> Message:
    """Add a route to a prefix that is reached by a link itself, with the address to send from."""
    network = ip_network(destination)
    scope = RT_SCOPE_LINK if network.version == 4 else 0
    head = _ROUTE.pack(
        _family(network.network_address), network.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0
    )
    body = head + attribute(RTA_DST, network.network_address.packed) + u32(RTA_OIF, index)
    if source:
        body += attribute(RTA_PREFSRC, ip_address(source).packed)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"add route to {destination}")


# -- the socket -------------------------------------------------------------------------------------

_ERRORS: Final = {errno.ENODEV: LinkNotFound, errno.ENXIO: LinkNotFound, errno.EEXIST: LinkExists}


class RouteSocket:
    """A socket of family ROUTE, if no other is named, in the namespace of the thread that makes it."""

    def __init__(self, family: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        with contextlib.suppress(OSError):  # before Linux 4.20: dumps are then filtered below, not by the kernel
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, 0))
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """Close the socket; may be repeated."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, *messages: Message) -> None:
        """Send all in one system call and read every answer; raises for the first that was refused.

        The kernel goes on after a refused message, so what follows it may be done.
        """
        refused = self.try_send(*messages)
        for failure in refused:
            if failure is not None:
                raise failure

    def try_send(self, *messages: Message) -> list[NetlinkError | None]:
        """Do the same and return, per message, what was refused."""
        if not messages:
            return []
        with self._lock:
            numbers = [next(self._numbers) & 0xFFFFFFFF for _ in messages]
            out = b"".join(
                _HEADER.pack(16 + len(m.body), m.kind, NLM_F_REQUEST | NLM_F_ACK | m.flags, number, 0) + m.body
                for m, number in zip(messages, numbers, strict=True)
            )
            self._socket.send(out)
            waiting = dict(zip(numbers, messages, strict=True))
            failures: dict[int, NetlinkError] = {}
            while waiting:
                for kind, flags, number, body in self._receive():
                    message = waiting.pop(number, None) if kind == NLMSG_ERROR else None
                    if message is not None and (failure := _failure(message.what, flags, body)) is not None:
                        failures[number] = failure
        return [failures.get(number) for number in numbers]

    def _receive(self) -> Iterator[tuple[int, int, int, memoryview]]:
        data = memoryview(self._socket.recv(RECEIVE_BYTES))
        at, end = 0, len(data)
        while at + 16 <= end:
            length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
            if length < 16 or at + length > end:
                break
            yield kind, flags, number, data[at + 16 : at + length]
            at += (length + 3) & ~3

    def dump(self, kind: int, head: bytes, what: str) -> list[bytes]:
        """Return the bodies of a dump; one that changes while it is read is read again."""
        for attempt in range(DUMP_ATTEMPTS):
            bodies, interrupted = self._dump_once(kind, head, what)
            if not interrupted or attempt == DUMP_ATTEMPTS - 1:
                return bodies
        raise AssertionError("unreachable")

    def _dump_once(self, kind: int, head: bytes, what: str) -> tuple[list[bytes], bool]:
        with self._lock:
            number = next(self._numbers) & 0xFFFFFFFF
            self._socket.send(_HEADER.pack(16 + len(head), kind, NLM_F_REQUEST | NLM_F_DUMP, number, 0) + head)
            bodies: list[bytes] = []
            interrupted = False
            while True:
                for answer, flags, sent, body in self._receive():
                    if sent != number:
                        continue
                    interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                    if answer == NLMSG_DONE:
                        return bodies, interrupted
                    if answer == NLMSG_ERROR:
                        failure = _failure(what, flags, body)
                        if failure is not None:
                            raise failure
                        return bodies, interrupted
                    bodies.append(bytes(body))

    # -- questions

    def index(self, name: str) -> int:
        """Return a link's index. Raises `LinkNotFound`."""
        number: int = _LINK.unpack_from(self._link(name))[2]
        return number

    def link(self, name: str) -> Link:
        """Return one link. Raises `LinkNotFound`."""
        return _link(self._link(name))

    def _link(self, name: str) -> memoryview:
        # its counters, most of the answer, are left out (before Linux 4.4 they come all the same)
        body = _link_head() + text(IFLA_IFNAME, name) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
        what = f"look up link {name}"
        with self._lock:
            number = next(self._numbers) & 0xFFFFFFFF
            self._socket.send(_HEADER.pack(16 + len(body), RTM_GETLINK, NLM_F_REQUEST, number, 0) + body)
            while True:
                for kind, flags, sent, answer in self._receive():
                    if sent != number:
                        continue
                    if kind == NLMSG_ERROR and (failure := _failure(what, flags, answer)) is not None:
                        raise failure
                    if kind == RTM_NEWLINK:
                        return answer

    def links(self) -> list[Link]:
        """Return every link of the namespace."""
        return [_link(body) for body in self.dump(RTM_GETLINK, _link_head(), "list links")]

    def addresses(self, family: int = 0) -> list[Address]:
        """Return every address of the namespace, of one family if given."""
        bodies = self.dump(RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0), "list addresses")
        return [one for body in bodies if (one := _address(body)) is not None]

    def addresses_of(self, index: int) -> list[Address]:
        """Return the addresses of one link."""
        bodies = self.dump(RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, index), "list addresses of a link")
        return [one for body in bodies if (one := _address(body)) is not None and one.link == index]

    def routes(self, family: int, table: int = RT_TABLE_UNSPEC) -> list[RouteEntry]:
        """Return the routes of a family, of one table if given. A table that is not there has none."""
        head = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        if table:
            head += u32(RTA_TABLE, table)
        try:
            bodies = self.dump(RTM_GETROUTE, head, "list routes")
        except NetlinkError as exc:
            if exc.number == errno.ENOENT:
                return []
            raise
        entries = [_route(body) for body in bodies]
        return [entry for entry in entries if not table or entry.table == table]

    def way_to(self, address: str) -> RouteEntry:
        """Ask which way the kernel would take to an address. Raises `NetlinkError` where there is none."""
        value = ip_address(address)
        head = _ROUTE.pack(_family(value), value.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
        body, what = head + attribute(RTA_DST, value.packed), f"look up the way to {address}"
        with self._lock:
            number = next(self._numbers) & 0xFFFFFFFF
            self._socket.send(_HEADER.pack(16 + len(body), RTM_GETROUTE, NLM_F_REQUEST, number, 0) + body)
            while True:
                for kind, flags, sent, answer in self._receive():
                    if (
                        sent == number
                        and kind == NLMSG_ERROR
                        and (failure := _failure(what, flags, answer)) is not None
                    ):
                        raise failure
                    if sent == number and kind == RTM_NEWROUTE:
                        return _route(bytes(answer))

    def rule_tables(self, family: int) -> list[int]:
        """Return the numbers of every table that a policy rule leads to."""
        tables = set()
        for body in self.dump(RTM_GETRULE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list rules"):
            attrs = attributes(body, _ROUTE.size)
            table = _U32.unpack(attrs[FRA_TABLE])[0] if FRA_TABLE in attrs else body[4]
            tables.add(table)
        return sorted(tables - {0})


def _failure(what: str, flags: int, body: bytes | memoryview) -> NetlinkError | None:
    number = -_I32.unpack_from(body)[0]
    if number == 0:
        return None
    reason = ""
    if flags & NLM_F_ACK_TLVS:
        reason = _cut(attributes(body, 4 + 16).get(NLMSGERR_ATTR_MSG, b""))
    return _ERRORS.get(number, NetlinkError)(what, number, reason)


def _link(body: bytes | memoryview) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    attrs = attributes(body, _LINK.size)
    info = attributes(attrs.get(IFLA_LINKINFO, b""))
    port = attributes(info.get(IFLA_INFO_SLAVE_DATA, b""))
    forwards = port.get(IFLA_BRPORT_STATE, bytes((BR_STATE_FORWARDING,)))[0] == BR_STATE_FORWARDING
    return Link(
        number=index,
        name=_cut(attrs.get(IFLA_IFNAME, b"")),
        is_up=bool(flags & IFF_UP),
        mtu=_U32.unpack(attrs[IFLA_MTU])[0] if IFLA_MTU in attrs else 0,
        mac=attrs.get(IFLA_ADDRESS, b"").hex(":"),
        master=_U32.unpack(attrs[IFLA_MASTER])[0] if IFLA_MASTER in attrs else 0,
        kind=_cut(info.get(IFLA_INFO_KIND, b"")),
        alias=_cut(attrs.get(IFLA_IFALIAS, b"")),
        passes=attrs.get(IFLA_OPERSTATE, b"\0")[0] == IF_OPER_UP and forwards,
        segment=_number(attrs.get(IFLA_GSO_IPV4_MAX_SIZE)),
        segment_limit=_number(attrs.get(IFLA_TSO_MAX_SIZE)),
    )


def _number(packed: bytes | None) -> int:
    return _U32.unpack(packed)[0] if packed else 0


def _address(body: bytes) -> Address | None:
    of, prefix, _, _, index = _ADDRESS.unpack_from(body)
    attrs = attributes(body, _ADDRESS.size)
    packed = attrs.get(IFA_LOCAL) or attrs.get(IFA_ADDRESS)
    return (
        Address(index, str(ip_address(packed)), prefix) if packed and of in (socket.AF_INET, socket.AF_INET6) else None
    )


def _route(body: bytes) -> RouteEntry:
    family, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    attrs = attributes(body, _ROUTE.size)
    destination, gateway = attrs.get(RTA_DST), attrs.get(RTA_GATEWAY)
    return RouteEntry(
        family=family,
        table=_U32.unpack(attrs[RTA_TABLE])[0] if RTA_TABLE in attrs else table,
        destination=str(ip_address(destination)) if destination else "",
        prefix=prefix,
        gateway=str(ip_address(gateway)) if gateway else "",
        oif=_U32.unpack(attrs[RTA_OIF])[0] if RTA_OIF in attrs else 0,
        kind=kind,
    )
