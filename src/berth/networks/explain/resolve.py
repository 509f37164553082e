"""Asks for a name as a container's own stub resolver would: hosts file, then the servers of resolv.conf. Blocking.

Must not: know any container's names.
"""

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from berth.kernel import netns
from berth.networks.dns import message
from berth.networks.dns.model import Upstream
from berth.networks.explain.model import Named
from berth.networks.hosts_files import ResolvConf

#: Seconds for one answer: programs wait five, people will not.
PATIENCE_S: Final = 2.0
#: The same for a name that the engine itself should know: it answers within a millisecond.
OWN_PATIENCE_S: Final = 0.7
#: Seconds for a sign of life of a server outside.
ALIVE_S: Final = 1.0


def from_hosts(text: str, name: str) -> tuple[str, ...]:
    """Return the addresses a hosts file has for a name."""
    found = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name.lower() in (one.lower() for one in names):
            found.append(address)
    return tuple(dict.fromkeys(found))


def candidates(name: str, conf: ResolvConf) -> list[str]:
    """Return the names a stub resolver asks for, in order (resolv.conf(5))."""
    ndots = next((int(one[6:]) for one in conf.options if one.startswith("ndots:") and one[6:].isdecimal()), 1)
    if name.endswith("."):
        return [name[:-1]]
    searched = [f"{name}.{domain}" for domain in conf.search]
    return [name, *searched] if name.count(".") >= ndots else [*searched, name]


def ask(name: str, conf: ResolvConf, namespace: str, patience_s: float = PATIENCE_S) -> Named:
    """Ask the servers in turn, as a program in the namespace would."""
    outcome, server = "silent", ", ".join(conf.servers)
    for one in conf.servers:
        for candidate in candidates(name, conf):
            code, addresses = _asked(one, candidate, namespace, patience_s)
            if addresses:
                return Named(name, "answered", addresses, one)
            if code in (message.NXDOMAIN, message.NOERROR):
                outcome, server = "unknown", one
            elif code is not None:
                outcome, server = "failed", one
        if outcome == "unknown":
            break
    return Named(name, outcome, (), server)


def _asked(server: str, name: str, namespace: str, patience_s: float) -> tuple[int | None, tuple[str, ...]]:
    """Return the response code, None for silence, and the addresses."""
    code: int | None = None
    for rtype in (message.A, message.AAAA):
        reply = _reply(server, name, rtype, namespace, patience_s)
        if reply is None:
            return code, ()
        code = message.code_of(reply)
        addresses = addresses_in(reply)
        if addresses or code != message.NOERROR:
            return code, addresses
    return code, ()


def _reply(server: str, name: str, rtype: int, namespace: str, patience_s: float) -> bytes | None:
    ident = secrets.randbits(16)
    try:
        query = message.pack_query(ident, name, rtype)
    except ValueError:
        return None
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    sock = _datagram(family, namespace)
    with sock:
        sock.settimeout(patience_s)
        try:
            sock.connect((server, 53))
            sock.send(query)
            while True:
                reply = sock.recv(65_536)
                if reply[:2] == query[:2]:
                    return reply
        except OSError:
            return None


def _datagram(family: int, namespace: str) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    return netns.inside(namespace, make) if namespace else make()


def addresses_in(reply: bytes) -> tuple[str, ...]:
    """Return the addresses of a reply's answer section; a malformed rest is left out."""
    found = []
    with contextlib.suppress(struct.error, IndexError, ValueError):
        _, _, questions, answers, _, _ = struct.unpack_from("!HHHHHH", reply)
        at = 12
        for _ in range(questions):
            at = _past_name(reply, at) + 4
        for _ in range(answers):
            at = _past_name(reply, at)
            rtype, _, _, length = struct.unpack_from("!HHIH", reply, at)
            at += 10
            if rtype in (message.A, message.AAAA) and length in (4, 16):
                found.append(str(ip_address(reply[at : at + length])))
            at += length
    return tuple(found)


def _past_name(data: bytes, at: int) -> int:
    while True:
        length = data[at]
        if length >= 0xC0:
            return at + 2
        at += length + 1
        if length == 0:
            return at


def alive(upstreams: Sequence[Upstream], name: str, namespace: str) -> tuple[tuple[str, bool], ...]:
    """Ask every server outside at once; return which gave any answer at all."""
    waiting: list[tuple[Upstream, socket.socket]] = []
    answered: set[str] = set()
    query = message.pack_query(secrets.randbits(16), name if len(name) < 200 else "berth.invalid", message.A)
    try:
        for one in upstreams:
            family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
            sock = _datagram(family, "" if one.from_host else namespace)
            waiting.append((one, sock))
            with contextlib.suppress(OSError):  # no route: as dead as a silent one
                sock.connect((one.address, one.port))
                sock.send(query)
        deadline = time.monotonic() + ALIVE_S
        for one, sock in waiting:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            with contextlib.suppress(OSError):
                sock.recv(512)
                answered.add(one.address)
    finally:
        for _, sock in waiting:
            sock.close()
    return tuple((one.address, one.address in answered) for one in upstreams)
