"""Carries out the steps about links that share another: macvlan, ipvlan, VLANs. Must not: decide names or addresses."""

import contextlib
import errno
import os
import socket
import struct
import zlib
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from typing import Final, cast

from berth.base.errors import SystemFault
from berth.kernel import link, netlink, netns, sysctl
from berth.kernel.netlink import LinkNotFound, Message, NetlinkError
from berth.plan.model import Step
from berth.plan.steps.link import DeleteLink
from berth.plan.steps.sublink import DeleteInside, MakeParent, MakeShim, MakeSubLink, RequireKind, UnmakeParent

_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")

# linux/if_link.h
IFLA_MACVLAN_MODE: Final = 1
IFLA_IPVLAN_MODE: Final = 1
IFLA_IPVLAN_FLAGS: Final = 2
IFLA_VLAN_ID: Final = 1
MACVLAN_MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES: Final = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS: Final = {"bridge": 0, "private": 1, "vepa": 2}

#: Kind of link → the kernel module that has it.
MODULES: Final = {"macvlan": "macvlan", "ipvlan": "ipvlan", "vlan": "8021q", "bridge": "bridge"}


class KindMissing(SystemFault):
    """This kernel has no links of a kind."""

    def __init__(self, kind: str) -> None:
        module = MODULES.get(kind, kind)
        super().__init__(
            f"this kernel ({os.uname().release}) has no {kind} links: its module {module} is not there; "
            f"'modprobe {module}' loads it where it is installed"
        )


class SubLinkRefused(SystemFault):
    """The kernel will not put another link on a parent; the first words are Docker's."""

    def __init__(self, kind: str, parent: str, cause: NetlinkError, hint: str) -> None:
        super().__init__(f"failed to create the {kind} port: {cause}{f': {hint}' if hint else ''}")
        self.parent = parent


class ParentGone(SystemFault):
    """The parent of a network is not on the host (any more)."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the requested parent interface {name} was not found on the Docker host: 'ip link' lists those there are"
        )


def _data(kind: str, mode: str, flag: str) -> bytes:
    if kind == "macvlan":
        return netlink.attribute(IFLA_MACVLAN_MODE, _U32.pack(MACVLAN_MODES[mode]))
    return netlink.attribute(IFLA_IPVLAN_MODE, _U16.pack(IPVLAN_MODES[mode])) + netlink.attribute(
        IFLA_IPVLAN_FLAGS, _U16.pack(IPVLAN_FLAGS[flag or "bridge"])
    )


def _busy(kind: str, mode: str, parent: str, number: int) -> str:
    """Say what an errno of the kernel means here, empty where it speaks for itself."""
    if number == errno.EBUSY:
        other = "ipvlan" if kind == "macvlan" else "macvlan"
        return (
            f"{parent} is a port of a bridge, or has {other} links: a link has one kind of use ('ip -d link' shows it)"
        )
    if number == errno.EINVAL and mode == "passthru":
        return f"{parent} already has a link on it, and passthru means that there is no other"
    if number == errno.EINVAL:
        return f"a link in mode passthru may have {parent} to itself ('ip -d link' shows it)"
    return ""


def _create(kind: str, mode: str, parent: str, message: Message) -> None:
    """Send one request for a new link, and say in the engine's words what was refused."""
    try:
        link.host().send(message)
    except NetlinkError as exc:
        if exc.number == errno.EOPNOTSUPP:
            raise KindMissing(kind) from exc
        raise SubLinkRefused(kind, parent, exc, _busy(kind, mode, parent, exc.number)) from exc


def _require(step: Step) -> Step | None:
    kind = cast("RequireKind", step).kind
    try:  # a request with no parent is refused by the kind itself, if there is one
        link.host().send(netlink.new_sublink("berth-probe", kind, parent=0))
    except NetlinkError as exc:
        if exc.number == errno.EOPNOTSUPP:
            raise KindMissing(kind) from exc
    return None


def _index(parent: str) -> int:
    try:
        return link.host().index(parent)
    except LinkNotFound:
        raise ParentGone(parent) from None


def _unnamed(want: MakeParent) -> str:
    """Return a name that only this request uses: under its own name an unmarked link could be anybody's."""
    return f"berth-{zlib.crc32(f'{want.alias} {want.name}'.encode()):08x}"


def _make_parent(step: Step) -> Step | None:
    want = cast("MakeParent", step)
    unnamed = _unnamed(want)
    below, data = 0, b""
    if want.kind == "vlan":
        below, data = _index(want.below), netlink.attribute(IFLA_VLAN_ID, _U16.pack(want.number))
    message = netlink.new_sublink(unnamed, want.kind, parent=below, data=data)
    _create(want.kind, "", want.below or want.name, message)
    try:
        link.distrust(unnamed)
        index = socket.if_nametoindex(unnamed)
        link.host().send(
            netlink.no_link_local(unnamed),
            netlink.set_alias(unnamed, want.alias),
            netlink.rename_link(index, want.name),
        )
        link.host().send(netlink.set_up(want.name))
    except BaseException as exc:
        _unmake_parent(UnmakeParent(want.name, want.alias, unnamed))
        if isinstance(exc, NetlinkError) and exc.number == errno.ENETDOWN:
            raise SubLinkRefused(want.kind, want.below, exc, f"'ip link set {want.below} up' brings it up") from exc
        raise
    return UnmakeParent(want.name, want.alias)


def _unmake_parent(step: Step) -> Step | None:
    want = cast("UnmakeParent", step)
    if want.unnamed:
        link.delete(want.unnamed)
    with contextlib.suppress(LinkNotFound):
        if link.host().link(want.name).alias.startswith(want.alias):
            link.delete(want.name)
    return None


def _make_sublink(step: Step) -> Step | None:
    # unlike a pair it need not be waited for: it has its parent's carrier from the first moment
    want = cast("MakeSubLink", step)
    parent = _index(want.parent)
    with netns.opened(want.namespace) as fd:
        message = netlink.new_sublink(
            want.inside,
            want.kind,
            parent=parent,
            data=_data(want.kind, want.mode, want.flag),
            mac=want.mac,
            namespace_fd=fd,
        )
        _create(want.kind, want.mode, want.parent, message)
    try:
        if any(":" in cidr for cidr in want.addresses):
            netns.inside(want.namespace, sysctl.write, f"net/ipv6/conf/{want.inside}/disable_ipv6", "0")
        with link.inside(want.namespace) as there:
            index = there.index(want.inside)
            there.send(
                *link.address_messages(index, want.addresses),
                netlink.set_up(want.inside),
                *(netlink.default_route(gateway, index, replace=True) for gateway in want.gateways),
            )
    except BaseException:
        _delete_inside(DeleteInside(want.namespace, want.inside))
        raise
    return DeleteInside(want.namespace, want.inside)


def delete_inside(namespace: str, name: str) -> None:
    """Delete a link in a pinned namespace; nothing happens if either is not there."""
    with contextlib.suppress(netns.NamespaceGone, LinkNotFound), link.inside(namespace) as there:
        there.send(netlink.delete_link(name))


def _delete_inside(step: Step) -> Step | None:
    want = cast("DeleteInside", step)
    delete_inside(want.namespace, want.name)
    return None


def _make_shim(step: Step) -> Step | None:
    want = cast("MakeShim", step)
    parent, route = _index(want.parent), link.host()
    _create(
        want.kind,
        want.mode,
        want.parent,
        netlink.new_sublink(want.name, want.kind, parent=parent, data=_data(want.kind, want.mode, "")),
    )
    try:
        link.distrust(want.name)
        index = socket.if_nametoindex(want.name)
        route.send(
            netlink.no_link_local(want.name),
            netlink.set_alias(want.name, want.alias),
            *link.address_messages(index, want.addresses),
            netlink.set_up(want.name),
        )
        sources = {ip_interface(cidr).version: str(ip_interface(cidr).ip) for cidr in want.addresses}
        for cidr in want.routes:
            source = sources.get(ip_network(cidr).version, "")
            route.send(netlink.link_route(cidr, index, source=source))
    except BaseException:
        route.try_send(netlink.delete_link(want.name))
        raise
    return DeleteLink(want.name)


def _undo_parent(step: Step) -> Step | None:
    want = cast("MakeParent", step)
    return UnmakeParent(want.name, want.alias, _unnamed(want))


def _undo_shim(step: Step) -> Step | None:
    return DeleteLink(cast("MakeShim", step).name)


def _undo_sublink(step: Step) -> Step | None:
    want = cast("MakeSubLink", step)
    return DeleteInside(want.namespace, want.inside)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {
    RequireKind: _require,
    MakeParent: _make_parent,
    UnmakeParent: _unmake_parent,
    MakeSubLink: _make_sublink,
    DeleteInside: _delete_inside,
    MakeShim: _make_shim,
}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {
    MakeParent: _undo_parent,
    UnmakeParent: lambda step: step,
    MakeSubLink: _undo_sublink,
    DeleteInside: lambda step: step,
    MakeShim: _undo_shim,
}
