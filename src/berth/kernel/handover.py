"""Carries out the steps about links that others made: into a container's namespace and back. Must not: delete them."""

import contextlib
import os
from collections.abc import Callable
from typing import Final, cast

from berth.base.errors import SystemFault
from berth.kernel import netlink, netns, sysctl
from berth.kernel.link import address_messages, host, inside
from berth.kernel.netlink import LinkNotFound
from berth.plan.model import Step
from berth.plan.steps.handover import MoveLinkIn, MoveLinkOut

#: The namespace of the process, whatever namespace one of its threads is in.
_OWN: Final = "/proc/self/ns/net"


class LinkNotHanded(SystemFault):
    """The link that was promised is not on the host."""

    def __init__(self, name: str) -> None:
        super().__init__(f"error moving interface {name}: there is no such link on the host")


def _move_in(step: Step) -> Step | None:
    want = cast("MoveLinkIn", step)
    try:
        index = host().index(want.source)
    except LinkNotFound:
        raise LinkNotHanded(want.source) from None
    back = MoveLinkOut(want.namespace, want.inside, want.source)
    with netns.opened(want.namespace) as fd:
        host().send(netlink.move_link(index, fd))
    try:
        with inside(want.namespace) as there:
            number = there.index(want.source)
            mac = [netlink.set_mac(number, want.mac)] if want.mac else []
            there.send(
                netlink.set_up(want.source, up=False),
                *([netlink.rename_link(number, want.inside)] if want.inside != want.source else []),
                *mac,
            )
            if any(":" in cidr for cidr in want.addresses):
                netns.inside(want.namespace, sysctl.write, f"net/ipv6/conf/{want.inside}/disable_ipv6", "0")
            there.send(
                *address_messages(number, want.addresses),
                netlink.set_up(want.inside),
                # those by the link itself first: the others' gateways may be behind them
                *(netlink.static_route(to, number) for to, by in want.routes if not by),
                *(netlink.static_route(to, number, by) for to, by in want.routes if by),
                *(netlink.default_route(gateway, number, replace=True) for gateway in want.gateways),
            )
    except BaseException:
        _move_out(back)
        raise
    return back


def _move_out(step: Step) -> Step | None:
    want = cast("MoveLinkOut", step)
    with contextlib.suppress(LinkNotFound, netns.NamespaceGone), inside(want.namespace) as there:
        try:
            link = there.link(want.inside)
        except LinkNotFound:
            link = there.link(want.source)  # a move in that got no further
        there.send(netlink.set_up(link.name, up=False))
        if link.name != want.source:
            there.send(netlink.rename_link(link.number, want.source))
        fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            there.send(netlink.move_link(link.number, fd))
        finally:
            os.close(fd)
    return None


def _undo_move(step: Step) -> Step | None:
    want = cast("MoveLinkIn", step)
    return MoveLinkOut(want.namespace, want.inside, want.source)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {MoveLinkIn: _move_in, MoveLinkOut: _move_out}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {MoveLinkIn: _undo_move, MoveLinkOut: lambda step: step}
