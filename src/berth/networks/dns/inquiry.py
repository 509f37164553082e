"""Asks as a resolver library inside a container would: its servers, its search domains, real packets. Blocking.

Must not: know the tables; who answered, and why, is read in the name server's log afterwards.
"""

import secrets
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from berth.kernel import netns
from berth.networks.dns import message, reply
from berth.networks.dns.reply import Reply
from berth.networks.hosts_files import ResolvConf

#: How long one server has, seconds: longer than ours needs to find out that nobody answers.
TIMEOUT_S: Final = 5.0
#: Servers and search domains that resolver libraries take (resolv.h: MAXNS; six domains).
_MOST_SERVERS: Final = 3
_MOST_DOMAINS: Final = 6
_PORT: Final = 53


class Try(NamedTuple):
    """One name asked of one server."""

    name: str
    server: str
    ident: int
    took_s: float
    reply: Reply | None
    #: Why there is no reply.
    problem: str = ""

    @property
    def is_found(self) -> bool:
        """Tell whether there are records."""
        return self.reply is not None and self.reply.code == message.NOERROR and bool(self.reply.answers)


def reverse_name(address: str) -> str:
    """Return the name that a reverse look-up of an address asks for. Raises ValueError."""
    return ip_address(address).reverse_pointer


def check(name: str) -> None:
    """Refuse a name that no packet can carry. Raises ValueError."""
    message.pack_name(name)


def candidates(name: str, conf: ResolvConf) -> list[str]:
    """Return the names that are tried one after the other (resolv.conf(5): search, ndots)."""
    if name.endswith("."):
        return [name.rstrip(".")]
    wanted = 1
    for option in conf.options:
        key, _, value = option.partition(":")
        if key == "ndots" and value.isascii() and value.isdecimal():
            wanted = min(int(value), 15)
    searched = [f"{name}.{domain.rstrip('.')}" for domain in conf.search[:_MOST_DOMAINS] if domain.strip(".")]
    return [name, *searched] if name.count(".") >= wanted else [*searched, name]


def inquire(namespace: str, conf: ResolvConf, name: str, qtype: int, *, search: bool) -> list[Try]:
    """Ask until something is found; return every attempt. `namespace` empty: the host's."""
    tries: list[Try] = []

    def work() -> None:
        for candidate in candidates(name, conf) if search else [name.rstrip(".")]:
            tries.extend(_ask_servers(conf.servers[:_MOST_SERVERS], candidate, qtype))
            if tries and tries[-1].is_found:
                return

    if namespace:
        netns.inside(namespace, work)
    else:
        work()
    return tries


def _ask_servers(servers: Sequence[str], name: str, qtype: int) -> list[Try]:
    tries = []
    for server in servers:
        tries.append(_ask(server, name, qtype))
        got = tries[-1].reply
        if got is not None and got.code not in (message.SERVFAIL, message.REFUSED):
            break
    return tries


def _ask(server: str, name: str, qtype: int) -> Try:
    ident = secrets.randbelow(1 << 16)
    packet = message.pack_query(ident, name, qtype, payload=message.OWN_LIMIT)
    begun = time.monotonic()
    try:
        wire = _by_udp(server, packet)
        if message.is_cut(wire):
            wire = _by_tcp(server, packet)
        return Try(name, server, ident, time.monotonic() - begun, reply.parse(wire))
    except TimeoutError:
        return Try(name, server, ident, time.monotonic() - begun, None, f"no reply in {TIMEOUT_S:g} s")
    except (OSError, ValueError) as exc:
        return Try(name, server, ident, time.monotonic() - begun, None, str(exc))


def _by_udp(server: str, packet: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        end = time.monotonic() + TIMEOUT_S
        sock.settimeout(TIMEOUT_S)
        sock.connect((server, _PORT))
        sock.send(packet)
        query = message.parse_query(packet)
        while not message.answers_to(query, wire := sock.recv(message.TCP_LIMIT), query.ident):
            sock.settimeout(max(0.001, end - time.monotonic()))
        return wire


def _by_tcp(server: str, packet: bytes) -> bytes:
    with socket.create_connection((server, _PORT), timeout=TIMEOUT_S) as sock:
        sock.sendall(len(packet).to_bytes(2, "big") + packet)
        with sock.makefile("rb") as stream:
            size = int.from_bytes(stream.read(2), "big")
            wire = stream.read(size)
    if not message.answers_to(message.parse_query(packet), wire, int.from_bytes(packet[:2], "big")):
        raise ValueError("the reply by TCP does not belong to the question")
    return wire
