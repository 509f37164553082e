"""Carries out the steps about answers (one policy rule and one table of routes for an address) and single routes.

The table's number follows from the link's index, so that it needs no record and two links never share one.
Must not: choose them.
"""

import contextlib
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Final, NamedTuple, cast

from berth.kernel.link import inside
from berth.kernel.netlink import (
    FRA_TABLE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_SCOPE_LINK,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_TABLE,
    RTM_DELROUTE,
    RTM_GETRULE,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTPROT_BOOT,
    LinkExists,
    LinkNotFound,
    Message,
    RouteSocket,
    attribute,
    attributes,
    static_route,
    u32,
)
from berth.kernel.netns import NamespaceGone
from berth.plan.model import Step
from berth.plan.steps.replies import ForgetReplies, RouteReplies
from berth.plan.steps.route import AddRoute, ForgetRoute

# linux/rtnetlink.h, linux/fib_rules.h
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
FRA_SRC: Final = 2
FRA_PRIORITY: Final = 6
FR_ACT_TO_TBL: Final = 1
RT_SCOPE_UNIVERSE: Final = 0
#: In a request to delete a rule: whatever its table is.
ANY_TABLE: Final = 0

#: Tables of ours are this and the link's index; far from those that VPN programs choose (wg-quick: 51820).
FIRST_TABLE: Final = 6_265_000
#: Our rules come before the main table's (32766) and before those of VPN programs, which the kernel numbers
#: downwards from there: an answer leaves by the network it came in on though a tunnel has the default route.
PRIORITY: Final = 30_000

#: Where default routes are.
MAIN_TABLE: Final = 254
#: struct rtmsg; struct fib_rule_hdr has the same layout.
_HEAD: Final = struct.Struct("=BBBBBBBBI")
_U32: Final = struct.Struct("=I")


class Rule(NamedTuple):
    """One policy rule by source address, as dumped."""

    priority: int
    source: str
    table: int


def _of(address: IPv4Address | IPv6Address) -> tuple[int, int]:
    return (socket.AF_INET, 32) if address.version == 4 else (socket.AF_INET6, 128)


def _rule(kind: int, flags: int, address: str, table: int) -> Message:
    value = ip_interface(address).ip
    family, bits = _of(value)
    head = _HEAD.pack(family, 0, bits, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    body = head + attribute(FRA_SRC, value.packed) + u32(FRA_TABLE, table) + u32(FRA_PRIORITY, PRIORITY)
    return Message(kind, flags, body, f"policy rule for answers from {value}")


def _routes(kind: int, flags: int, address: str, gateway: str, index: int, table: int) -> tuple[Message, Message]:
    """Return the two routes of a table: to the neighbours, and by the gateway to everybody else.

    An unspecified gateway means by the link itself.
    """
    network, way = ip_interface(address).network, ip_address(gateway)
    family, _ = _of(way)
    out = u32(RTA_OIF, index) + u32(RTA_TABLE, table)
    by_link = way.is_unspecified
    scope = RT_SCOPE_LINK if by_link and way.version == 4 else RT_SCOPE_UNIVERSE
    near = _HEAD.pack(family, network.prefixlen, 0, 0, 0, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0)
    far = _HEAD.pack(family, 0, 0, 0, 0, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    far += b"" if by_link else attribute(RTA_GATEWAY, way.packed)
    return (
        Message(kind, flags, near + attribute(RTA_DST, network.network_address.packed) + out, f"route to {network}"),
        Message(kind, flags, far + out, f"route for answers by {gateway}"),
    )


def _route_replies(step: Step) -> Step | None:
    want = cast("RouteReplies", step)
    with inside(want.namespace) as there:
        index = there.index(want.link)
        table = FIRST_TABLE + index
        flags = NLM_F_CREATE | NLM_F_REPLACE
        try:
            routes = _routes(RTM_NEWROUTE, flags, want.address, want.gateway, index, table)
            there.send(*routes, _rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, want.address, table))
        except BaseException:
            _forget(there, want.link, want.address, want.gateway)
            raise
    return ForgetReplies(want.namespace, want.link, want.address, want.gateway)


def _forget(there: RouteSocket, link: str, address: str, gateway: str) -> bool:
    """Take rule and routes away, the routes unless they went with their link; tell whether the rule was there."""
    gone = there.try_send(_rule(RTM_DELRULE, 0, address, ANY_TABLE))
    with contextlib.suppress(LinkNotFound):
        index = there.index(link)
        there.try_send(*_routes(RTM_DELROUTE, 0, address, gateway, index, FIRST_TABLE + index))
    return gone[0] is None


def _forget_replies(step: Step) -> Step | None:
    want = cast("ForgetReplies", step)
    with inside(want.namespace) as there:
        was = _forget(there, want.link, want.address, want.gateway)
    return RouteReplies(want.namespace, want.link, want.address, want.gateway) if was else None


def _undo_route_replies(step: Step) -> Step | None:
    want = cast("RouteReplies", step)
    return ForgetReplies(want.namespace, want.link, want.address, want.gateway)


def _undo_forget_replies(step: Step) -> Step | None:
    want = cast("ForgetReplies", step)
    return RouteReplies(want.namespace, want.link, want.address, want.gateway)


def _add_route(step: Step) -> Step | None:
    want = cast("AddRoute", step)
    with inside(want.namespace) as there:
        message = static_route(want.destination, there.index(want.link), want.gateway, flags=NLM_F_CREATE | NLM_F_EXCL)
        (refusal,) = there.try_send(message)
    if isinstance(refusal, LinkExists):
        return None
    if refusal is not None:
        raise refusal
    return ForgetRoute(want.namespace, want.link, want.destination, want.gateway)


def _forget_route(step: Step) -> Step | None:
    want = cast("ForgetRoute", step)
    try:
        with inside(want.namespace) as there:
            message = static_route(want.destination, there.index(want.link), want.gateway, delete=True)
            (refusal,) = there.try_send(message)
    except (LinkNotFound, NamespaceGone):  # gone with its container
        return None
    return None if refusal is not None else AddRoute(want.namespace, want.link, want.destination, want.gateway)


def _undo_add_route(step: Step) -> Step | None:
    want = cast("AddRoute", step)
    return ForgetRoute(want.namespace, want.link, want.destination, want.gateway)


def _undo_forget_route(step: Step) -> Step | None:
    want = cast("ForgetRoute", step)
    return AddRoute(want.namespace, want.link, want.destination, want.gateway)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {
    RouteReplies: _route_replies,
    ForgetReplies: _forget_replies,
    AddRoute: _add_route,
    ForgetRoute: _forget_route,
}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {
    RouteReplies: _undo_route_replies,
    ForgetReplies: _undo_forget_replies,
    AddRoute: _undo_add_route,
    ForgetRoute: _undo_forget_route,
}


def forget_all(route: RouteSocket) -> None:
    """Delete every rule of our priority in a namespace; their tables' routes are replaced, or go with their links."""
    for family in (socket.AF_INET, socket.AF_INET6):
        rules = [_rule(RTM_DELRULE, 0, rule.source, ANY_TABLE) for rule in reply_rules(route, family)]
        if rules:
            route.try_send(*rules)


# -- questions --------------------------------------------------------------------------------------


def reply_rules(route: RouteSocket, family: int) -> list[Rule]:
    """Return the rules of our priority in a namespace."""
    found = []
    for body in route.dump(RTM_GETRULE, _HEAD.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list rules"):
        attrs = attributes(body, _HEAD.size)
        priority = _U32.unpack(attrs[FRA_PRIORITY])[0] if FRA_PRIORITY in attrs else 0
        if priority == PRIORITY and FRA_SRC in attrs:
            table = _U32.unpack(attrs[FRA_TABLE])[0] if FRA_TABLE in attrs else body[4]
            found.append(Rule(priority, str(ip_address(attrs[FRA_SRC])), table))
    return sorted(found)
