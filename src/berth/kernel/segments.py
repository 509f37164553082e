"""How large TCP segments a link carries whole ("BIG TCP", IPv4, kernel 6.3). Must not: choose for a network.

A bridge cannot be told before it has a port: the kernel limits it to what its ports take, and before to the usual.
So its first port brings the limit along, and every later one takes on what the bridge has: a port with less would have
the others' segments cut up for it.
"""

import contextlib
import socket
from typing import Final

from berth.kernel import netlink
from berth.kernel.netlink import Link, Message, NetlinkError, RouteSocket

#: What every link carries (linux/netdevice.h, GSO_LEGACY_MAX_SIZE).
USUAL: Final = 65_536
#: Nobody's (RFC 5737): only a default route leads there. Nothing is sent.
ANYWHERE: Final = "192.0.2.1"


def of_port(route: RouteSocket, bridge: Link, wanted: int) -> tuple[int, list[Message]]:
    """Return the size for both ends of a bridge's next port, 0 for the usual, and what the bridge is to be told then.

    `wanted` is for a first port; 0 is as the host's way out.
    """
    if not bridge.segment:  # the kernel is too old
        return 0, []
    if bridge.segment_limit > USUAL:
        return 0 if bridge.segment == USUAL else bridge.segment, []
    size = wanted or of_way_out(route)
    return (size, [netlink.set_segment(bridge.number, size)]) if size > USUAL else (0, [])


def of_link(host: RouteSocket, link: Link, wanted: int) -> list[Message]:
    """Return what tells a link of its new size, nothing where it cannot have it: a bridge without ports, an old kernel.

    `host` is where the way out is looked for.
    """
    size = wanted or of_way_out(host)
    return [netlink.set_segment(link.number, size)] if link.segment and size <= link.segment_limit else []


def of_way_out(route: RouteSocket) -> int:
    """Return what the link takes by which the host reaches the world; the usual where there is none."""
    with contextlib.suppress(NetlinkError, OSError):  # no such route, or its link has just gone
        link = route.link(socket.if_indextoname(route.way_to(ANYWHERE).oif))
        return max(link.segment, USUAL)
    return USUAL
