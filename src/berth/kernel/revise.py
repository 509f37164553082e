"""Carries out changes of links that are in use. Must not: decide what they become."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import cast

from berth.kernel import netlink, netns, segments, sysctl
from berth.kernel.link import host, inside
from berth.kernel.netlink import (
    IFLA_ADDRESS,
    IFLA_MTU,
    RTM_SETLINK,
    Message,
    NetlinkError,
    RouteSocket,
    attribute,
    pack_mac,
    u32,
)
from berth.plan.model import Step
from berth.plan.steps.revise import ReviseLink, SetPort


def _revised(name: str, index: int, *, mtu: int, mac: str) -> list[Message]:
    parts = (u32(IFLA_MTU, mtu) if mtu else b"") + (attribute(IFLA_ADDRESS, pack_mac(mac)) if mac else b"")
    return [Message(RTM_SETLINK, 0, netlink.link_head(index) + parts, f"change link {name}")] if parts else []


def _added(index: int, cidr: str) -> Message:
    one = ip_interface(cidr)
    network = one.network
    has_broadcast = network.version == 4 and network.prefixlen < 31
    broadcast = str(network.broadcast_address) if has_broadcast else ""
    return netlink.new_address(index, str(one.ip), network.prefixlen, broadcast=broadcast, replace=True)


def _carry_out(route: RouteSocket, want: ReviseLink) -> None:
    """Change the link: addresses go before its MAC changes, and come after."""
    link = route.link(want.name)
    index = link.number
    before, after = want.addresses
    given = [ip_interface(one) for one in before if one not in after]
    drop = [netlink.delete_address(index, str(one.ip), one.network.prefixlen) for one in given]
    for refused in route.try_send(*drop) if drop else ():
        if refused is not None and refused.number != errno.EADDRNOTAVAIL:  # that it is gone already is as good
            raise refused
    mtu = want.mtu[1] if want.mtu[0] != want.mtu[1] else 0
    mac = want.mac[1] if want.mac[0] != want.mac[1] else ""
    add = [_added(index, one) for one in after if one not in before]
    limit = segments.of_link(host(), link, want.segment[1]) if want.segment[0] != want.segment[1] else []
    messages = [*_revised(want.name, index, mtu=mtu, mac=mac), *limit, *add]
    if messages:
        route.send(*messages)


@contextlib.contextmanager
def _announcing(want: ReviseLink) -> Iterator[None]:
    """Have the kernel tell the network of the link's new MAC, with the addresses it has then.

    Who has asked for one of them before remembers it under the old MAC, and reaches nobody for seconds.
    """
    keys = [f"net/ipv4/conf/{want.name}/arp_notify", f"net/ipv6/conf/{want.name}/ndisc_notify"]
    found: list[tuple[str, str | None]] = []

    def tell() -> None:
        for key in keys:
            with contextlib.suppress(sysctl.SysctlRefused):  # a kernel without IPv6
                found.append((key, sysctl.write(key, "1")))

    def rest() -> None:
        for key, before in found:
            if before is not None:
                sysctl.write(key, before)

    _at(want.namespace, tell)
    try:
        yield
    finally:
        _at(want.namespace, rest)


def _at(namespace: str, work: Callable[[], None]) -> None:
    if namespace:
        netns.inside(namespace, work)
    else:
        work()


def _reversed(want: ReviseLink) -> ReviseLink:
    return ReviseLink(
        want.name, want.namespace, want.addresses[::-1], want.mtu[::-1], want.mac[::-1], want.segment[::-1]
    )


def _revise(step: Step) -> Step | None:
    want = cast("ReviseLink", step)
    if any(":" in one for one in want.addresses[1]):
        switch = f"net/ipv6/conf/{want.name}/disable_ipv6"
        if want.namespace:
            netns.inside(want.namespace, sysctl.write, switch, "0")
        else:
            sysctl.write(switch, "0")
    with (
        inside(want.namespace) if want.namespace else contextlib.nullcontext(host()) as route,
        _announcing(want) if want.mac[0] != want.mac[1] else contextlib.nullcontext(),
    ):
        try:
            _carry_out(route, want)
        except BaseException:
            with contextlib.suppress(NetlinkError):
                _carry_out(route, _reversed(want))
            raise
    return _reversed(want)


def _undo_revise(step: Step) -> Step | None:
    return _reversed(cast("ReviseLink", step))


def _set_port(step: Step) -> Step | None:
    want = cast("SetPort", step)
    route = host()
    route.send(netlink.configure_port(route.index(want.name), isolated=want.isolated[1], hairpin=want.hairpin))
    return SetPort(want.name, want.isolated[::-1], want.hairpin)


def _undo_port(step: Step) -> Step | None:
    want = cast("SetPort", step)
    return SetPort(want.name, want.isolated[::-1], want.hairpin)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {ReviseLink: _revise, SetPort: _set_port}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {ReviseLink: _undo_revise, SetPort: _undo_port}
