"""Every port by which containers are reached, by what way, and why. Pure.

Must not: look at the kernel or at containers' records; both are handed in.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from berth.kernel.listeners import Listener
from berth.networks.model import LiveEndpoint, LiveSandbox
from berth.networks.options import BridgeOptions, GatewayMode
from berth.networks.ports.publishing import LOOPBACK_6, publishers


class Exposure(NamedTuple):
    """One address and port at which something of a container answers."""

    protocol: str
    address: str
    port: int
    container: str
    #: Port inside the container.
    target: int
    #: rule, proxy, routed, unprotected or host.
    way: str
    #: Who reaches it: everybody, this machine, or subnets.
    reach: str
    why: str

    @property
    def is_outside(self) -> bool:
        """Whether other machines may reach it."""
        return self.reach != "this machine"


def of_published(name: str, live: LiveSandbox) -> list[Exposure]:
    """Return what a container publishes."""
    ends = publishers(live.endpoints)
    found = []
    for one in live.published:
        version = 6 if ":" in one.host_ip else 4
        end = ends.get(version)
        reach = "this machine" if _is_loopback(one.host_ip) else ", ".join(one.sources) or "everybody"
        why = f"published {one.container_port}/{one.protocol}"
        port = one.container_port
        if one.host_port:
            way = "rule" if end is not None and one.host_ip != LOOPBACK_6 else "proxy"
            found.append(Exposure(one.protocol, one.host_ip, one.host_port, name, port, way, reach, why))
        elif end is not None:
            address = end.ipv4 if version == 4 else end.ipv6
            found.append(Exposure(one.protocol, address, port, name, port, "routed", reach, why))
    return found


def of_open_network(
    name: str, end: LiveEndpoint, options: BridgeOptions, listeners: Iterable[Listener]
) -> list[Exposure]:
    """Return what listens in a container and is reached because its network protects nothing."""
    found = []
    for version, own in ((4, end.ipv4), (6, end.ipv6)):
        if not own or options.mode(version) is not GatewayMode.UNPROTECTED:
            continue
        found += [
            Exposure(
                one.protocol, own, one.port, name, one.port, "unprotected", "everybody",
                f"listens, and network {end.network_name} has gateway mode nat-unprotected",
            )
            for one in listeners
            if _takes(one.address, own)
        ]  # fmt: skip
    return found


def of_host_network(name: str, listeners: Iterable[Listener]) -> list[Exposure]:
    """Return what a container on the host's network listens to."""
    return [
        Exposure(
            one.protocol, one.address, one.port, name, one.port, "host",
            "this machine" if _is_loopback(one.address) else "everybody", "listens on the host's network",
        )
        for one in listeners
    ]  # fmt: skip


def _is_loopback(address: str) -> bool:
    parsed = ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _takes(bound: str, address: str) -> bool:
    """Tell whether a socket bound to one address takes what comes to another; ``::`` takes IPv4 too."""
    one, other = ip_address(bound), ip_address(address)
    return one == other or (one.is_unspecified and (one.version == 6 or other.version == 4))
