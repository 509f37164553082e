"""Opens what the name server needs inside a container's namespace. Blocking, needs CAP_SYS_ADMIN.

Must not: make the redirect from port 53; the caller does, from the ports it is told.
"""

import os
import socket
from typing import Final, NamedTuple

from berth.kernel import netns
from berth.networks.dns.model import ADDRESS, Sockets

#: Connections that may wait for the server.
_BACKLOG: Final = 128


class Opened(NamedTuple):
    """Sockets, and the ports that 127.0.0.11:53 must lead to."""

    sockets: Sockets
    udp_port: int
    tcp_port: int


def open_sockets(netns_path: str, *, udp_port: int = 0, tcp_port: int = 0) -> Opened:
    """Bind and listen in a pinned namespace; 0 takes any port, another one that of a server that died.

    With the old ports no rule has to change when the server is revived. Raises OSError, NamespaceGone.
    """
    with netns.opened(netns_path) as space:
        udp, tcp = netns.inside(netns_path, _bind, udp_port, tcp_port)
        ports = int(udp.getsockname()[1]), int(tcp.getsockname()[1])
        return Opened(Sockets(udp.detach(), tcp.detach(), os.dup(space)), *ports)


def _bind(udp_port: int, tcp_port: int) -> tuple[socket.socket, socket.socket]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((ADDRESS, udp_port))
        tcp.bind((ADDRESS, tcp_port))
        tcp.listen(_BACKLOG)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp
