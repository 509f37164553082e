"""What there is in a network namespace, as plain data: links, addresses, routes, neighbours, listeners. Blocking.

Must not: change anything or judge what it sees.
"""

import contextlib
import socket
import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from berth.kernel import netlink, netns
from berth.kernel.netlink import RTM_GETLINK, RouteSocket, attributes

# linux/rtnetlink.h, linux/neighbour.h, linux/if_link.h
RTM_GETNEIGH: Final = 30
NDA_DST: Final = 1
NUD_INCOMPLETE: Final = 0x01
NUD_FAILED: Final = 0x20
IFLA_IFNAME: Final = 3
IFLA_STATS64: Final = 23
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_LINK_HEAD: Final = struct.Struct("=BxHiII")
#: rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped.
_STATS: Final = struct.Struct("=8Q")

#: States of /proc/net/tcp and udp (net/tcp_states.h).
_TCP_LISTEN: Final = "0A"
_UDP_OPEN: Final = "07"


class LinkView(msgspec.Struct, frozen=True):
    """One link; `addresses` are CIDR texts."""

    name: str
    number: int = 0
    is_up: bool = True
    passes: bool = True
    mtu: int = 1500
    mac: str = ""
    kind: str = ""
    addresses: tuple[str, ...] = ()
    #: See `berth.kernel.netlink.Link.segment`.
    segment: int = 0


class RouteView(msgspec.Struct, frozen=True):
    """One route of the main table; an empty `destination` is a default route."""

    destination: str
    gateway: str
    link: str


class WayView(msgspec.Struct, frozen=True):
    """The way the kernel would take; `error` says why there is none."""

    link: str = ""
    gateway: str = ""
    error: str = ""


class ListenerView(msgspec.Struct, frozen=True):
    """A socket that waits for connections or datagrams."""

    protocol: str
    address: str
    port: int


class View(msgspec.Struct, frozen=True):
    """One namespace at one moment."""

    links: tuple[LinkView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    listeners: tuple[ListenerView, ...] = ()
    way: WayView | None = None


class Counters(msgspec.Struct, frozen=True):
    """What passed a link since it was made; rx and tx as seen from the link's own namespace."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


def look(namespace: str = "", towards: str = "") -> View:
    """Look around in a pinned namespace, the host's if empty, and ask for the way to an address if given."""
    return netns.inside(namespace, _look, towards) if namespace else _look(towards)


def _look(towards: str) -> View:
    with RouteSocket() as route:
        names = {one.number: one.name for one in route.links()}
        addresses: dict[int, list[str]] = {}
        for address in route.addresses():
            addresses.setdefault(address.link, []).append(f"{address.address}/{address.prefix}")
        links = tuple(
            LinkView(
                name=one.name,
                number=one.number,
                is_up=one.is_up,
                passes=one.passes or one.name == "lo",
                mtu=one.mtu,
                mac=one.mac,
                kind=one.kind,
                addresses=tuple(addresses.get(one.number, ())),
                segment=one.segment,
            )
            for one in route.links()
        )
        routes = tuple(
            RouteView(f"{one.destination}/{one.prefix}" if one.destination else "", one.gateway, names.get(one.oif, ""))
            for family in (socket.AF_INET, socket.AF_INET6)
            for one in route.routes(family, netlink.RT_TABLE_MAIN)
        )
        way = None
        if towards:
            try:
                found = route.way_to(towards)
                way = WayView(names.get(found.oif, ""), found.gateway)
            except netlink.NetlinkError as exc:
                way = WayView(error=str(exc).rpartition(": ")[2])
    return View(links, routes, _listeners(), way)


def _listeners() -> tuple[ListenerView, ...]:
    found = []
    for protocol, state in (("tcp", _TCP_LISTEN), ("udp", _UDP_OPEN)):
        for suffix in ("", "6"):
            # thread-self: the calling thread may be in another namespace than its process
            with contextlib.suppress(OSError):
                text = Path(f"/proc/thread-self/net/{protocol}{suffix}").read_text()
                found += parse_listeners(text, protocol, state)
    return tuple(dict.fromkeys(found))


def parse_listeners(text: str, protocol: str, state: str) -> list[ListenerView]:
    """Read /proc/net/tcp, udp and their kin for IPv6 (proc_pid_net(5)): addresses in words of the machine's order."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 4 or words[3] != state:
            continue
        packed, _, port = words[1].partition(":")
        raw = bytes.fromhex(packed)
        value = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
        found.append(ListenerView(protocol, str(ip_address(value)), int(port, 16)))
    return found


def missing_neighbours(namespace: str = "") -> set[str]:
    """Return the addresses that were asked for on their link and that nobody answered for."""
    return netns.inside(namespace, _missing_neighbours) if namespace else _missing_neighbours()


def _missing_neighbours() -> set[str]:
    found = set()
    with RouteSocket() as route:
        for body in route.dump(RTM_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0), "list neighbours"):
            _, _, state, _, _ = _NEIGHBOUR.unpack_from(body)
            packed = attributes(body, _NEIGHBOUR.size).get(NDA_DST)
            if packed and state & (NUD_INCOMPLETE | NUD_FAILED) and len(packed) in (4, 16):
                found.add(str(ip_address(packed)))
    return found


def counters(namespace: str = "") -> dict[str, Counters]:
    """Return what passed every link of a namespace, by its name."""
    return netns.inside(namespace, _counters) if namespace else _counters()


def _counters() -> dict[str, Counters]:
    found = {}
    with RouteSocket() as route:
        for body in route.dump(RTM_GETLINK, _LINK_HEAD.pack(0, 0, 0, 0, 0), "count packets"):
            attrs = attributes(body, _LINK_HEAD.size)
            name = attrs.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
            if IFLA_STATS64 in attrs:
                found[name] = Counters(*_STATS.unpack_from(attrs[IFLA_STATS64]))
    return found
