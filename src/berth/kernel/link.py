"""Carries out the steps about links and routes: batches of netlink messages. Must not: decide names or addresses."""

import contextlib
import errno
import functools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_interface
from typing import Final, cast

from berth.base.errors import InvalidArgument
from berth.kernel import netlink, netns, segments, sysctl
from berth.kernel.netlink import LinkNotFound, Message, RouteSocket
from berth.plan.model import Step
from berth.plan.steps.link import (
    AddressBridge,
    DeleteLink,
    LeadLoopback,
    MakeBridge,
    MakeContainerLink,
    RetireBridge,
    UnaddressBridge,
)
from berth.plan.steps.route import SetDefaultRoute

log = logging.getLogger(__name__)

#: Longest wait for a fresh link to pass packets, seconds; usually a fraction of a millisecond.
CARRIER_S: Final = 1.0
#: Between two looks at it.
CARRIER_LOOK_S: Final = 0.000_2


@functools.cache
def host() -> RouteSocket:
    """Return the one socket of the namespace the engine runs in."""
    return RouteSocket()


class _Kept(threading.local):
    """Sockets of the plan that the thread carries out, by namespace; None outside of plans."""

    sockets: dict[str, RouteSocket] | None = None


_kept: Final = _Kept()


@contextlib.contextmanager
def sockets_kept() -> Iterator[None]:
    """Let all that this thread does in the block share one socket in each namespace.

    Entering a namespace needs a thread of its own, most of a millisecond. Not kept for longer: a socket keeps its
    namespace alive.
    """
    _kept.sockets = {}
    try:
        yield
    finally:
        sockets, _kept.sockets = _kept.sockets, None
        for one in sockets.values():
            one.close()


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[RouteSocket]:
    """Lend a socket in a pinned namespace."""
    if _kept.sockets is None:
        with netns.inside(namespace, RouteSocket) as one:
            yield one
        return
    if namespace not in _kept.sockets:
        _kept.sockets[namespace] = netns.inside(namespace, RouteSocket)
    yield _kept.sockets[namespace]


def address_messages(index: int, cidrs: Iterable[str]) -> list[Message]:
    """Return the requests that put addresses (CIDR texts) on a link."""
    out = []
    for cidr in cidrs:
        interface = ip_interface(cidr)
        network = interface.network
        has_broadcast = network.version == 4 and network.prefixlen < 31
        out.append(
            netlink.new_address(
                index,
                str(interface.ip),
                network.prefixlen,
                broadcast=str(network.broadcast_address) if has_broadcast else "",
                replace=True,
            )
        )
    return out


def _send_quietly(route: RouteSocket, *messages: Message) -> None:
    """Send requests of which one keeps a link's IPv6 quiet: on a link that has none (an MTU below 1280) that is so."""
    for failure in route.try_send(*messages):
        if failure is not None and failure.number != errno.EAFNOSUPPORT:
            raise failure


def _make_bridge(step: Step) -> Step | None:
    want = cast("MakeBridge", step)
    route = host()
    route.send(netlink.new_bridge(want.name, want.mac, want.mtu))
    try:
        # loopback publishing: packets from 127.0.0.1 leave through the bridge and their answers come back by it
        sysctl.write(f"net/ipv4/conf/{want.name}/route_localnet", "1")
        distrust(want.name)
        index = socket.if_nametoindex(want.name)
        quiet = [] if want.ipv6 else [netlink.no_link_local(want.name)]
        _send_quietly(
            route,
            *quiet,
            netlink.set_alias(want.name, want.alias),
            *address_messages(index, want.addresses),
            netlink.set_up(want.name),
        )
    except BaseException:
        route.try_send(netlink.delete_link(want.name))
        raise
    return DeleteLink(want.name)


def _address_bridge(step: Step) -> Step | None:
    want = cast("AddressBridge", step)
    route = host()
    if route.link(want.name).kind != "bridge":
        raise InvalidArgument(f"existing interface {want.name} is not a bridge")
    index = route.index(want.name)
    present = {f"{one.address}/{one.prefix}" for one in route.addresses_of(index)}
    missing = tuple(cidr for cidr in want.addresses if cidr not in present)
    route.send(*address_messages(index, want.addresses), netlink.set_up(want.name))
    return UnaddressBridge(want.name, missing) if missing else None


def _unaddress_bridge(step: Step) -> Step | None:
    want = cast("UnaddressBridge", step)
    _unaddress(want.name, want.addresses)
    return None


def _unaddress(name: str, addresses: Sequence[str]) -> None:
    with contextlib.suppress(LinkNotFound):
        index = host().index(name)
        given = [ip_interface(cidr) for cidr in addresses]
        host().try_send(*(netlink.delete_address(index, str(one.ip), one.network.prefixlen) for one in given))


def leave(name: str, addresses: Sequence[str], leads_loopback: bool) -> None:  # noqa: FBT001  a worker's arguments
    """Leave a bridge that stays as it was: without our addresses. Nothing happens if it is gone."""
    lead_loopback(name, on=leads_loopback)
    _unaddress(name, addresses)


def leads_loopback(name: str) -> bool:
    """Tell whether a link takes packets for loopback addresses from others."""
    try:
        return sysctl.read(f"net/ipv4/conf/{name}/route_localnet") == "1"
    except sysctl.SysctlRefused:  # it is gone
        return False


def lead_loopback(name: str, *, on: bool) -> bool:
    """Have it take them, or not; tell whether that is a change. Off, on a link that is gone, is so."""
    try:
        return sysctl.write(f"net/ipv4/conf/{name}/route_localnet", str(int(on))) is not None
    except sysctl.SysctlRefused:
        if on:
            raise
        return False


def _lead_loopback(step: Step) -> Step | None:
    want = cast("LeadLoopback", step)
    changed = lead_loopback(want.name, on=want.leads[1])
    return LeadLoopback(want.name, want.leads[::-1]) if changed else None


def _undo_lead_loopback(step: Step) -> Step | None:
    want = cast("LeadLoopback", step)
    return LeadLoopback(want.name, want.leads[::-1])


def distrust(name: str) -> None:
    """Keep a link that is down from learning routes: on it a container could pose as the host's router."""
    with contextlib.suppress(sysctl.SysctlRefused):  # a kernel without IPv6 learns none
        sysctl.write(f"net/ipv6/conf/{name}/accept_ra", "0")


def until_passes(*ends: tuple[RouteSocket, str]) -> None:
    """Wait until the kernel's own worker has noticed that both ends of a pair are up.

    Before, what is sent is dropped, and a lost first packet of a connection costs its sender a second.
    """
    deadline = time.monotonic() + CARRIER_S
    for socket_there, name in ends:
        while not socket_there.link(name).passes:
            if time.monotonic() > deadline:
                log.warning("link %s is up and not ready after %.1f s", name, CARRIER_S)
                return
            time.sleep(CARRIER_LOOK_S)


def _make_container_link(step: Step) -> Step | None:
    want = cast("MakeContainerLink", step)
    route = host()
    with netns.opened(want.namespace) as fd:
        bridge = route.link(want.bridge)
        segment, limits = segments.of_port(route, bridge, want.segment)
        pair = netlink.new_veth(
            want.name,
            peer=want.inside,
            peer_mac=want.mac,
            namespace_fd=fd,
            mtu=want.mtu,
            master=bridge.number,
            segment=segment,
        )
        refused, *unlimited = route.try_send(pair, *limits)
        if refused is not None:
            raise refused
        for failure in filter(None, unlimited):  # a port that somebody else gave it takes less: it works all the same
            log.info("bridge %s: %s", want.bridge, failure)
    try:
        port = socket.if_nametoindex(want.name)
        special = want.isolated or want.hairpin
        flags = [netlink.configure_port(port, isolated=want.isolated, hairpin=want.hairpin)] if special else []
        _send_quietly(route, netlink.no_link_local(want.name), *flags, netlink.set_up(want.name))
        has_ipv6 = any(":" in cidr for cidr in want.addresses)
        if has_ipv6:
            netns.inside(want.namespace, sysctl.write, f"net/ipv6/conf/{want.inside}/disable_ipv6", "0")
        with inside(want.namespace) as there:
            index = there.index(want.inside)
            routes = [netlink.default_route(gateway, index, replace=True) for gateway in want.gateways]
            there.send(*address_messages(index, want.addresses), netlink.set_up(want.inside), *routes)
            until_passes((route, want.name), (there, want.inside))
    except BaseException:
        route.try_send(netlink.delete_link(want.name))
        raise
    return DeleteLink(want.name)


def delete(name: str) -> None:
    """Delete a link; nothing happens if it is not there. Takes tens of milliseconds."""
    with contextlib.suppress(LinkNotFound):
        host().send(netlink.delete_link(name))


def retire(ports: Sequence[str], group: int) -> None:
    """Cut container links off at once and mark them for `reap`; what is not there is left out."""
    messages = []
    for name in ports:
        with contextlib.suppress(OSError):
            messages.append(netlink.retire(socket.if_nametoindex(name), group))
    if messages:
        host().try_send(*messages)


def take_out(namespace: str, name: str) -> None:
    """Bring a link inside a namespace down and out of the way of its name's next holder, before it is reaped."""
    with inside(namespace) as there, contextlib.suppress(LinkNotFound):
        index = there.index(name)
        there.try_send(netlink.set_up(name, up=False), netlink.rename_link(index, f"gone{index}"))


def reap(group: int) -> None:
    """Delete every retired link; tens of milliseconds, however many they are."""
    with contextlib.suppress(LinkNotFound):
        host().send(netlink.delete_group(group))


def _retire_bridge(step: Step) -> Step | None:
    want = cast("RetireBridge", step)
    try:
        index = socket.if_nametoindex(want.name)
    except OSError:
        return None
    given = [ip_interface(cidr) for cidr in want.addresses]
    dropped = [netlink.delete_address(index, str(one.ip), one.network.prefixlen) for one in given]
    host().try_send(*dropped, netlink.set_up(want.name, up=False))
    return None


def _delete_link(step: Step) -> Step | None:
    delete(cast("DeleteLink", step).name)
    return None


def _set_default_route(step: Step) -> Step | None:
    want = cast("SetDefaultRoute", step)
    with inside(want.namespace) as there:
        if want.gateway:
            there.send(netlink.default_route(want.gateway, there.index(want.link), replace=True))
        elif want.before[0]:
            with contextlib.suppress(LinkNotFound):
                index = there.index(want.before[1])
                there.try_send(netlink.default_route(want.before[0], index, delete=True))
    return _undo_default_route(want)


def _undo_default_route(step: Step) -> Step | None:
    want = cast("SetDefaultRoute", step)
    return SetDefaultRoute(want.namespace, *want.before, before=(want.gateway, want.link))


def _undo_bridge(step: Step) -> Step | None:
    return DeleteLink(cast("MakeBridge", step).name)


def _undo_address_bridge(step: Step) -> Step | None:
    want = cast("AddressBridge", step)
    return UnaddressBridge(want.name, want.addresses)


def _undo_container_link(step: Step) -> Step | None:
    return DeleteLink(cast("MakeContainerLink", step).name)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {
    MakeBridge: _make_bridge,
    AddressBridge: _address_bridge,
    LeadLoopback: _lead_loopback,
    UnaddressBridge: _unaddress_bridge,
    MakeContainerLink: _make_container_link,
    RetireBridge: _retire_bridge,
    DeleteLink: _delete_link,
    SetDefaultRoute: _set_default_route,
}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {
    MakeBridge: _undo_bridge,
    AddressBridge: _undo_address_bridge,
    LeadLoopback: _undo_lead_loopback,
    MakeContainerLink: _undo_container_link,
    DeleteLink: lambda step: step,
    UnaddressBridge: lambda step: step,
    SetDefaultRoute: _undo_default_route,
}


# -- questions for planning -------------------------------------------------------------------------


def look_up(names: Iterable[str]) -> dict[str, netlink.Link]:
    """Return those of the links named that the host has."""
    found = {}
    for name in names:
        with contextlib.suppress(LinkNotFound):
            found[name] = host().link(name)
    return found


def addresses_of(one: netlink.Link) -> tuple[str, ...]:
    """Return a link's addresses as CIDR texts."""
    return tuple(f"{each.address}/{each.prefix}" for each in host().addresses_of(one.number))


def names() -> list[str]:
    """Return the name of every link of the host."""
    return [name for _, name in socket.if_nameindex()]


def links() -> list[netlink.Link]:
    """Return every link of the host."""
    return host().links()
