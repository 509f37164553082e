"""Tracked connections of the kernel: forgets those that lead to an address. Blocking. Must not: know whose it is."""

import contextlib
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Final

from berth.kernel.netlink import Message, NetlinkError, RouteSocket, attribute, attributes

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
NETLINK_NETFILTER: Final = 12
NFNL_SUBSYS_CTNETLINK: Final = 1
IPCTNL_MSG_CT_GET: Final = 1
IPCTNL_MSG_CT_DELETE: Final = 2
CTA_TUPLE_ORIG: Final = 1
CTA_TUPLE_REPLY: Final = 2
CTA_TUPLE_IP: Final = 1
CTA_TUPLE_PROTO: Final = 2
#: Number of the source address, by the length of an address.
CTA_IP_SRC: Final = {4: 1, 16: 3}
CTA_PROTO_NUM: Final = 1
NLA_F_NESTED: Final = 0x8000

_HEADS: Final = {4: struct.pack("=BBH", socket.AF_INET, 0, 0), 16: struct.pack("=BBH", socket.AF_INET6, 0, 0)}
_GET: Final = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET
_DELETE: Final = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE


def forget_datagrams(addresses: Collection[str]) -> int:
    """Forget UDP flows of the host's namespace that lead to these addresses; return how many.

    TCP ends by itself. A UDP client that goes on sending keeps its flow alive for ever, and with it the way to a
    container that is gone.
    """
    wanted = {ip_address(address).packed for address in addresses}
    with RouteSocket(NETLINK_NETFILTER) as netfilter:
        count = 0
        for length, head in _HEADS.items():
            mine = {address for address in wanted if len(address) == length}
            for flow in list(_datagrams_to(netfilter, length, mine)) if mine else ():
                with contextlib.suppress(NetlinkError):  # it has just ended by itself
                    netfilter.send(Message(_DELETE, 0, head + flow, "forget a flow"))
                    count += 1
        return count


def _datagrams_to(netfilter: RouteSocket, length: int, wanted: Collection[bytes]) -> Iterator[bytes]:
    """Yield what names each flow: its original tuple, packed."""
    head = _HEADS[length]
    for body in netfilter.dump(_GET, head, "list tracked connections"):
        flow = attributes(body, len(head))
        reply = attributes(flow.get(CTA_TUPLE_REPLY, b""))
        source = attributes(reply.get(CTA_TUPLE_IP, b"")).get(CTA_IP_SRC[length])
        protocol = attributes(reply.get(CTA_TUPLE_PROTO, b"")).get(CTA_PROTO_NUM)
        if source in wanted and protocol == bytes((socket.IPPROTO_UDP,)):
            yield attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, flow[CTA_TUPLE_ORIG])
