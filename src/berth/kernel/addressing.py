"""Carries out the steps about further addresses of a link. Must not: choose them."""

import contextlib
from collections.abc import Callable
from ipaddress import ip_interface
from typing import cast

from berth.kernel import netlink, netns, sysctl
from berth.kernel.link import address_messages, inside
from berth.kernel.netlink import LinkNotFound
from berth.plan.model import Step
from berth.plan.steps.address import AddAddresses, DropAddresses, SwapAddress


def _add(step: Step) -> Step | None:
    want = cast("AddAddresses", step)
    if any(":" in cidr for cidr in want.addresses):
        netns.inside(want.namespace, sysctl.write, f"net/ipv6/conf/{want.link}/disable_ipv6", "0")
    undo = DropAddresses(want.namespace, want.link, want.addresses)
    with inside(want.namespace) as there:
        index = there.index(want.link)
        given = [ip_interface(cidr) for cidr in want.addresses]
        try:
            there.send(*(netlink.new_address(index, str(one.ip), one.network.prefixlen, replace=True) for one in given))
        except BaseException:
            _drop(undo)
            raise
    return undo


def _drop(step: Step) -> Step | None:
    want = cast("DropAddresses", step)
    with inside(want.namespace) as there, contextlib.suppress(LinkNotFound):
        index = there.index(want.link)
        given = [ip_interface(cidr) for cidr in want.addresses]
        there.try_send(*(netlink.delete_address(index, str(one.ip), one.network.prefixlen) for one in given))
    return None


def _undo_add(step: Step) -> Step | None:
    want = cast("AddAddresses", step)
    return DropAddresses(want.namespace, want.link, want.addresses)


def _swap(step: Step) -> Step | None:
    want = cast("SwapAddress", step)
    undo = SwapAddress(want.namespace, want.link, want.after, want.before, want.gateways[::-1])
    with inside(want.namespace) as there:
        index = there.index(want.link)
        old, gateway = ip_interface(want.before), want.gateways[1]
        # first the old: of two addresses in a subnet the first one's end is the second's, too
        there.try_send(netlink.delete_address(index, str(old.ip), old.network.prefixlen))
        route = [netlink.default_route(gateway, index, replace=True)] if gateway else []
        refused = [one for one in there.try_send(*address_messages(index, (want.after,)), *route) if one is not None]
        if refused:
            new = ip_interface(want.after)
            back = [netlink.default_route(want.gateways[0], index, replace=True)] if want.gateways[0] else []
            there.try_send(
                netlink.delete_address(index, str(new.ip), new.network.prefixlen),
                *address_messages(index, (want.before,)),
                *back,
            )
            raise refused[0]
    return undo


def _undo_swap(step: Step) -> Step | None:
    want = cast("SwapAddress", step)
    return SwapAddress(want.namespace, want.link, want.after, want.before, want.gateways[::-1])


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {
    AddAddresses: _add,
    DropAddresses: _drop,
    SwapAddress: _swap,
}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {AddAddresses: _undo_add, SwapAddress: _undo_swap}
