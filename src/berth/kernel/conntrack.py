"""Tracked connections of the kernel: forgets those that lead where they no longer should. Blocking.

Must not: know whose an address is.
"""

import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple, cast

from berth.kernel.families import Handler
from berth.kernel.netlink import Message, NetlinkError, RouteSocket, attribute, attributes, nested, u8, u32
from berth.plan.model import Step
from berth.plan.steps.flows import ForgetDatagrams

log = logging.getLogger(__name__)

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
NETLINK_NETFILTER: Final = 12
NFNL_SUBSYS_CTNETLINK: Final = 1
IPCTNL_MSG_CT_GET: Final = 1
IPCTNL_MSG_CT_DELETE: Final = 2
CTA_TUPLE_ORIG: Final = 1
CTA_TUPLE_REPLY: Final = 2
CTA_FILTER: Final = 25
CTA_FILTER_ORIG_FLAGS: Final = 1
CTA_FILTER_REPLY_FLAGS: Final = 2
CTA_TUPLE_IP: Final = 1
CTA_TUPLE_PROTO: Final = 2
#: Numbers of source and destination address, by the length of an address.
CTA_IP_SRC: Final = {4: 1, 16: 3}
CTA_IP_DST: Final = {4: 2, 16: 4}
CTA_PROTO_NUM: Final = 1
CTA_PROTO_DST_PORT: Final = 3
NLA_F_NESTED: Final = 0x8000
#: What of a tuple a dump is to be compared with (net/netfilter/nf_internals.h).
_BY_SOURCE: Final = 1 << 0
_BY_PROTOCOL: Final = 1 << 3
_BY_PORT: Final = 1 << 5
#: So many ports are asked for one by one; of more, every UDP flow is looked at.
_FEW_PORTS: Final = 8

_HEADS: Final = {4: struct.pack("=BBH", socket.AF_INET, 0, 0), 16: struct.pack("=BBH", socket.AF_INET6, 0, 0)}
_GET: Final = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET
_DELETE: Final = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE


class Flow(NamedTuple):
    """One UDP flow: whom its first datagram was sent to, and who answers."""

    asked: bytes
    port: int
    answers: bytes
    #: What names it: its original tuple, packed.
    key: bytes


def forget_datagrams(addresses: Collection[str]) -> int:
    """Forget UDP flows of the host's namespace that lead to these addresses; return how many.

    TCP ends by itself. A UDP client that goes on sending keeps its flow alive for ever, and with it the way to a
    container that is gone.
    """
    wanted = {ip_address(address).packed for address in addresses}
    asked = {(len(one), _udp(answers=one) if len(one) == 4 else _udp()) for one in wanted}
    return _forget(sorted(asked), lambda flow: flow.answers in wanted)


def forget_datagrams_to_ports(led: Iterable[tuple[str, int, str]]) -> int:
    """Forget UDP flows to ports of the host (address, port) that do not lead to an address; return how many.

    Whoever sent there before a rule led it elsewhere would reach the host itself for as long as it goes on sending.
    """
    ports: dict[int, list[tuple[bytes, bytes]]] = {}
    for host_ip, port, address in led:
        packed = ip_address(host_ip).packed if not ip_address(host_ip).is_unspecified else b""
        ports.setdefault(port, []).append((packed, ip_address(address).packed))
    if not ports:
        return 0
    own = _own_addresses()

    def is_astray(flow: Flow) -> bool:
        return any(
            len(flow.asked) == len(address) and flow.answers != address and flow.asked == (host_ip or flow.asked)
            for host_ip, address in ports.get(flow.port, ())
        ) and (flow.asked in own or ip_address(flow.asked).is_loopback)

    lengths = sorted({len(address) for pairs in ports.values() for _, address in pairs})
    asked = [_udp(port=port) for port in ports] if len(ports) <= _FEW_PORTS else [_udp()]
    return _forget([(length, one) for length in lengths for one in asked], is_astray)


def _own_addresses() -> set[bytes]:
    with RouteSocket() as there:
        return {ip_address(one.address).packed for one in there.addresses()}


def _udp(*, port: int = 0, answers: bytes = b"") -> bytes:
    """Return what has the kernel tell of UDP flows only: of those to a port, or answered by an IPv4 address, if given.

    Kernels before 5.8 do not know of it and tell everything; whoever asks chooses from what is told. Not by IPv6
    address: the kernel (seen with 6.18) then tells of all flows but those (ctnetlink_filter_match_tuple).
    """
    number = u8(CTA_PROTO_NUM, socket.IPPROTO_UDP)
    original = nested(CTA_TUPLE_PROTO, number, attribute(CTA_PROTO_DST_PORT, port.to_bytes(2, "big")) if port else b"")
    reply = nested(CTA_TUPLE_IP, attribute(CTA_IP_SRC[4], answers)) if answers else b""
    by = nested(
        CTA_FILTER,
        u32(CTA_FILTER_ORIG_FLAGS, _BY_PROTOCOL | (_BY_PORT if port else 0)),
        u32(CTA_FILTER_REPLY_FLAGS, _BY_SOURCE if answers else 0),
    )
    return nested(CTA_TUPLE_ORIG, original) + (nested(CTA_TUPLE_REPLY, reply) if answers else b"") + by


def _forget(dumps: Iterable[tuple[int, bytes]], is_wanted: Callable[[Flow], bool]) -> int:
    """Forget flows out of dumps (length of an address, filter). A kernel that does not let us is logged."""
    count = 0
    try:
        with RouteSocket(NETLINK_NETFILTER) as netfilter:
            for length, asked in dumps:
                for flow in [one for one in _datagrams(netfilter, length, asked) if is_wanted(one)]:
                    with contextlib.suppress(NetlinkError):  # it has just ended by itself
                        netfilter.send(Message(_DELETE, 0, _HEADS[length] + flow.key, "forget a flow"))
                        count += 1
    except (NetlinkError, OSError) as exc:
        log.warning("UDP clients that are under way may go on sending to where nobody is: %s", exc)
    return count


def _datagrams(netfilter: RouteSocket, length: int, asked: bytes) -> Iterator[Flow]:
    head = _HEADS[length]
    for body in netfilter.dump(_GET, head + asked, "list tracked connections"):
        flow = attributes(body, len(head))
        original = attributes(flow.get(CTA_TUPLE_ORIG, b""))
        protocol = attributes(original.get(CTA_TUPLE_PROTO, b""))
        to = attributes(original.get(CTA_TUPLE_IP, b"")).get(CTA_IP_DST[length])
        answers = attributes(attributes(flow.get(CTA_TUPLE_REPLY, b"")).get(CTA_TUPLE_IP, b"")).get(CTA_IP_SRC[length])
        if protocol.get(CTA_PROTO_NUM) == bytes((socket.IPPROTO_UDP,)) and to and answers:
            port = int.from_bytes(protocol.get(CTA_PROTO_DST_PORT, b""), "big")
            yield Flow(to, port, answers, attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, flow[CTA_TUPLE_ORIG]))


def _forget_step(step: Step) -> Step | None:
    forget_datagrams_to_ports(cast("ForgetDatagrams", step).led)
    return None


HANDLERS: dict[type[Step], Handler] = {ForgetDatagrams: _forget_step}
UNDO: dict[type[Step], Handler] = {}
