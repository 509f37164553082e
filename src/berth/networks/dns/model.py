"""What the name server is told: endpoints with their names, and how each container is served.

The same records are kept by the daemon and sent over the control socket. Pure.
"""

from ipaddress import ip_address
from typing import Final, NamedTuple

import msgspec

#: Where a container finds its name server (Docker's address; written into resolv.conf).
ADDRESS: Final = "127.0.0.11"


class Upstream(msgspec.Struct, frozen=True):
    """A name server outside that unknown names are asked of."""

    address: str
    #: Ask from the host's namespace: for servers that listen on the host's loopback only.
    from_host: bool = False
    port: int = 53


def is_own_loopback(upstream: Upstream) -> bool:
    """Tell whether the server is one inside the container that asks."""
    return not upstream.from_host and ip_address(upstream.address).is_loopback


class Permit(msgspec.Struct, frozen=True):
    """A name whose addresses may be reached from a network that lets out little."""

    #: A name, or ``*.`` and the name that all it fits end with; lower case.
    pattern: str
    #: The engine's nftables table, and the network's link.
    table: str
    link: str
    #: Protocol by name and port; empty and 0 for all.
    protocol: str = ""
    port: int = 0


class ServeConfig(msgspec.Struct, frozen=True):
    """How one container is served. Which names it sees follows from the endpoints it has up."""

    container_id: str
    #: Asked in order; all after the third are ignored, as Docker does.
    upstreams: tuple[Upstream, ...] = ()
    #: The user gave an explicit ``ndots`` option: one-label names then stay inside.
    ndots_set: bool = False
    #: All its networks are internal: nothing is asked from the host's namespace for it.
    internal: bool = False
    #: What answers from outside open a way to.
    permits: tuple[Permit, ...] = ()


class NamedEndpoint(msgspec.Struct, frozen=True):
    """One container on one network, and the names it is found by there.

    `names`: the container's name first (the answer to reverse look-ups), then 12-character id, aliases, hostname in
    any order; doubles are allowed. `links`: pairs (alias, name on this network), seen by this container only.
    """

    container_id: str
    network_id: str
    network_name: str
    names: tuple[str, ...]
    addresses4: tuple[str, ...] = ()
    addresses6: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


class Sockets(NamedTuple):
    """Descriptors the server needs for one container, all made inside its network namespace.

    `udp` is bound to 127.0.0.11, `tcp` is bound to 127.0.0.11 and listening (any ports: a redirect leads port 53
    there); `netns` is the namespace itself (an open ``/run/berth/netns/ID``), in which the server makes a socket for
    every query it sends on.
    """

    udp: int
    tcp: int
    netns: int
