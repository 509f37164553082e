"""Which host ports a container wants: bindings → wishes. Pure."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple

from berth.base.units import MAX_PORT
from berth.networks.ports.errors import BadPort
from berth.wire.networks import PortMap

PROTOCOLS: Final = ("tcp", "udp", "sctp")
ANYWHERE: Final = "0.0.0.0"  # noqa: S104  Docker's default


class Wish(NamedTuple):
    """One port to publish; `first` to `last` are the host ports to try in turn, 0 = any."""

    protocol: str
    container_port: int
    host_ip: str
    first: int
    last: int
    #: On ``[::]`` too: nobody named an address.
    both: bool = False


def parse_port(text: str) -> tuple[int, str]:
    """Parse ``80/tcp`` (``80`` is tcp). Raises `BadPort`."""
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise BadPort(f"invalid port specification: {text!r} (invalid proto: {protocol})")
    return _number(number, text), protocol


def _number(text: str, whole: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= MAX_PORT:
        raise BadPort(f"invalid port specification: {whole!r}")
    return int(text)


def parse_host_port(text: str) -> tuple[int, int]:
    """Parse a host port, a range ``8000-8010`` or nothing (any free port: 0). Raises `BadPort`."""
    if text in ("", "0"):
        return 0, 0
    first, dash, last = text.partition("-")
    low = _number(first, text)
    high = _number(last, text) if dash else low
    if high < low:
        raise BadPort(f"invalid range specified for port: {text}")
    return low, high


def wishes(bindings: PortMap, exposed: Iterable[str], *, publish_all: bool, default_ip: str = ANYWHERE) -> list[Wish]:
    """Return every publication wanted, in order of container port. Raises `BadPort`."""
    found: list[Wish] = []
    bound = set()
    for text, hosts in bindings.items():
        port, protocol = parse_port(text)
        bound.add((port, protocol))
        for host in hosts or ():
            address = host_address(host.host_ip or "", default_ip)
            both = not host.host_ip and address == ANYWHERE
            found.append(Wish(protocol, port, address, *parse_host_port(host.host_port or ""), both))
    if publish_all:
        wanted = {parse_port(text) for text in exposed}
        found += [Wish(protocol, port, default_ip, 0, 0, default_ip == ANYWHERE) for port, protocol in wanted - bound]
        bare = {parse_port(text) for text, hosts in bindings.items() if not hosts}
        found += [Wish(protocol, port, default_ip, 0, 0, default_ip == ANYWHERE) for port, protocol in bare]
    return sorted(
        found, key=lambda wish: (wish.container_port, wish.protocol, wish.first == 0, wish.first, wish.host_ip)
    )


def host_address(text: str, default: str) -> str:
    """Return the canonical host address of a binding. Raises `BadPort`."""
    if not text:
        return default
    try:
        return str(ip_address(text))
    except ValueError:
        raise BadPort(f"invalid IP address in port binding: {text}") from None
