"""Which prefixes the host routes and through what: read whole now and then, kept right by what the kernel tells.

Reading everything for each new network would cost more with each network there is, because every one adds a route.
The kernel does not tell of IPv4 routes that go because their link went down: what is known may be too much until the
next whole reading, never too little. Must not: decide whether a route is in anybody's way.
"""

import contextlib
import errno
import itertools
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from berth.kernel import netlink
from berth.kernel.netlink import RouteSocket

# linux/rtnetlink.h
RTNLGRP_IPV4_IFADDR: Final = 5
RTNLGRP_IPV4_ROUTE: Final = 7
RTNLGRP_IPV6_IFADDR: Final = 9
RTNLGRP_IPV6_ROUTE: Final = 11
RTA_PRIORITY: Final = 6
RTM_F_CLONED: Final = 0x200
GROUPS: Final = (RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE)
NETLINK_ADD_MEMBERSHIP: Final = 1

#: Seconds after which everything is read anew.
OLDEST_S: Final = 60.0
#: How many tidings are taken in while somebody waits who must not be kept waiting.
FEW: Final = 100
#: Bytes the kernel may keep for us between two questions: some thousand changes.
BUFFER_BYTES: Final = 4 << 20
#: Prefixes shorter than these are ways to the rest of the world, not to somebody's network: a VPN that takes
#: everything routes 0.0.0.0/1 and 128.0.0.0/1 beside the default route.
SHORTEST_PREFIX: Final = {4: 8, 6: 7}
#: Every link has it.
LINK_LOCAL: Final = ip_network("fe80::/10")

_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ADDRESS: Final = struct.Struct("=BBBBI")
_KINDS: Final = frozenset((netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE, netlink.RTM_NEWADDR, netlink.RTM_DELADDR))

Network = IPv4Network | IPv6Network
#: What tells one route or address from another.
Key = tuple[object, ...]


class Routed(NamedTuple):
    """One prefix that the host routes, or has an address of."""

    prefix: Network
    #: Name of the link, empty where the route names none.
    link: str
    table: int


class RouteView:
    """The prefixes routed in the namespace of the thread that asks first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._known: dict[Key, Routed] = {}
        self._read_at = 0.0

    def prefixes(self, is_ours: Callable[[str], bool], *, fresh: bool = False) -> list[Routed]:
        """Return what is routed in any table but through links that `is_ours`; `fresh` reads everything anew."""
        with self._lock:
            if (
                fresh
                or self._socket is None
                or time.monotonic() - self._read_at > OLDEST_S
                or not self._follow(is_ours)
            ):
                self._read_all(is_ours)
            return list(self._known.values())

    def at_hand(self, is_ours: Callable[[str], bool]) -> list[Routed] | None:
        """Return the same without waiting for anything, or None where that cannot be."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            old = self._socket is None or time.monotonic() - self._read_at > OLDEST_S
            return None if old or not self._follow(is_ours, at_most=FEW) else list(self._known.values())
        finally:
            self._lock.release()

    def fileno(self) -> int | None:
        """Return the descriptor that is readable when something has changed; None before the first question."""
        return None if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _listen(self) -> socket.socket:
        heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        with contextlib.suppress(OSError):  # needs CAP_NET_ADMIN; without it the kernel's own limit holds
            heard.setsockopt(socket.SOL_SOCKET, 33, BUFFER_BYTES)  # SO_RCVBUFFORCE (asm-generic/socket.h)
        heard.bind((0, 0))
        for group in GROUPS:
            heard.setsockopt(netlink.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        heard.setblocking(False)
        return heard

    def _read_all(self, is_ours: Callable[[str], bool]) -> None:
        if self._socket is None:
            self._socket = self._listen()  # before reading: what changes meanwhile is told as well
        else:
            while not self._follow(is_ours):  # what is told of now is in what is read below, if it is still so
                pass
        self._known = {}
        with RouteSocket() as there:
            for family in (socket.AF_INET, socket.AF_INET6):
                head = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
                for body in there.dump(netlink.RTM_GETROUTE, head, "list routes"):
                    self._learn(netlink.RTM_NEWROUTE, body, is_ours)
                for body in there.dump(netlink.RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0), "list addresses"):
                    self._learn(netlink.RTM_NEWADDR, body, is_ours)
        self._read_at = time.monotonic()

    def _follow(self, is_ours: Callable[[str], bool], *, at_most: int | None = None) -> bool:
        """Take in what has changed; False if some of it was lost, or more than `at_most` tidings wait."""
        assert self._socket is not None
        for _ in itertools.repeat(None) if at_most is None else range(at_most):
            try:
                data = memoryview(self._socket.recv(netlink.RECEIVE_BYTES))
            except BlockingIOError:
                return True
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    self._read_at = -OLDEST_S  # what was lost is found by reading everything
                    return False
                raise
            at = 0
            while at + 16 <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, at)
                if length < 16 or at + length > len(data):
                    break
                if kind in _KINDS:
                    self._learn(kind, bytes(data[at + 16 : at + length]), is_ours)
                at += (length + 3) & ~3
        return False

    def _learn(self, kind: int, body: bytes, is_ours: Callable[[str], bool]) -> None:
        is_route = kind in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE)
        key, found = _route(body) if is_route else _address(body)
        if found is None or not _counts(found.prefix):
            return
        if kind in (netlink.RTM_DELROUTE, netlink.RTM_DELADDR):
            self._known.pop(key, None)
            return
        try:
            name = socket.if_indextoname(int(found.link)) if found.link else ""
        except OSError:  # a link that is gone routes nothing
            return
        if not (name and is_ours(name)):
            self._known[key] = found._replace(link=name)


def _counts(prefix: Network) -> bool:
    if prefix.prefixlen < SHORTEST_PREFIX[prefix.version]:
        return False
    return not (
        isinstance(prefix, IPv6Network) and isinstance(LINK_LOCAL, IPv6Network) and prefix.subnet_of(LINK_LOCAL)
    )


def _route(body: bytes) -> tuple[Key, Routed | None]:
    """Read a route; `link` is still the index, as text."""
    family, length, _, _, low_table, _, _, _, flags = _ROUTE.unpack_from(body)
    attrs = netlink.attributes(body, _ROUTE.size)
    table = int.from_bytes(attrs[netlink.RTA_TABLE], sys.byteorder) if netlink.RTA_TABLE in attrs else low_table
    destination = attrs.get(netlink.RTA_DST)
    if destination is None or table == netlink.RT_TABLE_LOCAL or flags & RTM_F_CLONED:
        return (), None
    oif = int.from_bytes(attrs.get(netlink.RTA_OIF, b""), sys.byteorder)
    key = (family, table, destination, length, attrs.get(RTA_PRIORITY), oif, attrs.get(netlink.RTA_GATEWAY))
    return key, Routed(_network(destination, length), str(oif) if oif else "", table)


def _address(body: bytes) -> tuple[Key, Routed | None]:
    family, length, _, _, index = _ADDRESS.unpack_from(body)
    attrs = netlink.attributes(body, _ADDRESS.size)
    # of a point-to-point link the far end counts too, but that has a route
    packed = attrs.get(netlink.IFA_LOCAL) or attrs.get(netlink.IFA_ADDRESS)
    if packed is None or family not in (socket.AF_INET, socket.AF_INET6):
        return (), None
    loopback = packed[0] == 127 if len(packed) == 4 else packed == b"\0" * 15 + b"\1"
    if loopback:
        return (), None
    return ("address", index, packed, length), Routed(_network(packed, length), str(index), netlink.RT_TABLE_MAIN)


def _network(packed: bytes, length: int) -> Network:
    return (
        IPv4Network((packed, length), strict=False) if len(packed) == 4 else IPv6Network((packed, length), strict=False)
    )
