"""Which published ports the proxy listens on: those for IPv6.

Rules lead them to containers that have IPv6, before anything reaches the proxy, but for what rules cannot lead: from
the host's own ``::1`` and from link-local addresses. To a container without IPv6 the proxy is the only way.
A port published on ``0.0.0.0`` is two `Published`: one on ``0.0.0.0``, led by a rule, and one on ``::``. The caller
keeps both in its record; what is proxied follows from them, nothing else must be remembered.
Must not: choose ports.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from berth.base.aio import finish
from berth.networks.model import Published
from berth.networks.ports.proxy_client import ProxyClient, open_listener
from berth.networks.ports.proxy_control import Target

#: What the proxy can pass on.
PROTOCOLS: Final = ("tcp", "udp")


class HostPort(NamedTuple):
    """A port of the host."""

    protocol: str
    address: str
    port: int

    @property
    def key(self) -> str:
        """Name of its socket in the proxy."""
        return f"{self.protocol}/[{self.address}]:{self.port}"


def routes(published: Iterable[Published], *, ipv4: str, ipv6: str) -> dict[HostPort, Target]:
    """Return what of a container's ports the proxy must pass on, and where."""
    address = ipv6 or ipv4
    if not address:
        return {}
    return {
        HostPort(one.protocol, one.host_ip, one.host_port): Target(address, one.container_port)
        for one in published
        if ":" in one.host_ip and one.host_port and one.protocol in PROTOCOLS
    }


async def publish(proxy: ProxyClient, wanted: Mapping[HostPort, Target]) -> None:
    """Bind and pass on all, or none. Raises OSError for a port that is taken."""
    done: dict[HostPort, Target] = {}
    try:
        for port, target in wanted.items():
            fd = open_listener(port.protocol, port.address, port.port)
            done[port] = target
            await proxy.hold(port.key, fd, target)
    except BaseException:
        await finish(withdraw(proxy, done))
        raise


async def withdraw(proxy: ProxyClient, wanted: Iterable[HostPort]) -> None:
    """Stop passing on and free the ports. May be repeated."""
    for port in wanted:
        await proxy.release(port.key)


async def adopt(proxy: ProxyClient, wanted: Mapping[HostPort, Target]) -> None:
    """After a restart of the daemon: exactly these go on; connections under way too. Raises OSError as `publish`."""
    missing = await proxy.keep_only({port.key: target for port, target in wanted.items()})
    await publish(proxy, {port: target for port, target in wanted.items() if port.key in missing})
