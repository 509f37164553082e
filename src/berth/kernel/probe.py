"""Sends one real probe from a namespace: a TCP connection, a datagram, an echo request; and echoes of many sizes.

A probe is made first and sent later: its own port (or echo number) tells its packets from all others. Blocking.
Must not: judge what came back.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self

from berth.kernel import netns

#: linux/in.h, linux/in6.h: send as told, with "don't fragment", whatever path MTU the kernel remembers.
IP_MTU_DISCOVER: Final = 10
IPV6_MTU_DISCOVER: Final = 23
IP_PMTUDISC_PROBE: Final = 3

_ECHO: Final = {4: (8, 0), 6: (128, 129)}
_UNREACHABLE: Final = {4: 3, 6: 1}
_HEADER_BYTES: Final = {4: 28, 6: 48}
#: What is sent as a datagram: small, and no valid beginning of a known protocol.
_DATAGRAM: Final = b"\0"


@dataclass(frozen=True)
class Outcome:
    """What came of a probe: ``answered``, ``refused``, ``silent``, ``unreachable`` or ``failed`` with the reason."""

    result: str
    reason: str = ""
    ms: float = 0.0


class Probe:
    """One probe, whose packets `matches` tells from all others."""

    def __init__(self, protocol: str, address: str, namespace: str = "") -> None:
        """Make the socket in a pinned namespace, the host's if empty; nothing is sent yet. Raises `OSError`."""
        self.protocol, self.address = protocol, address
        self.version = ip_address(address).version
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        self._socket = netns.inside(namespace, self._made, family) if namespace else self._made(family)
        #: Port of ours, or number of the echo.
        self.key = os.getpid() & 0x7FFF | 0x8000 if protocol == "icmp" else int(self._socket.getsockname()[1])
        if protocol == "icmp":
            self.key = (self.key + int.from_bytes(os.urandom(1), "big")) & 0xFFFF

    def _made(self, family: int) -> socket.socket:
        if self.protocol == "icmp":
            number = socket.IPPROTO_ICMP if self.version == 4 else socket.IPPROTO_ICMPV6
            return socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, number)
        kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
        made = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        made.bind(("::" if self.version == 6 else "0.0.0.0", 0))  # noqa: S104  any of ours, chosen by the kernel
        return made

    @property
    def matches(self) -> tuple[str, ...]:
        """The nftables expressions that its packets and their answers fit."""
        if self.protocol == "icmp":
            name = "icmp" if self.version == 4 else "icmpv6"
            return (f"{name} type {{ echo-request, echo-reply }} {name} id {self.key}",)
        return tuple(f"meta l4proto {self.protocol} th {which} {self.key}" for which in ("sport", "dport"))

    def is_answer(self, header: bytes) -> bool:
        """Tell from the first bytes of a transport header whether a packet is on its way back."""
        if self.protocol == "icmp":
            return bool(header) and header[0] == _ECHO[self.version][1]
        return len(header) >= 4 and int.from_bytes(header[2:4], "big") == self.key

    def send(self, port: int, patience_s: float) -> Outcome:
        """Send it and wait for what comes of it."""
        began = time.monotonic()
        self._socket.settimeout(patience_s)
        try:
            if self.protocol == "icmp":
                outcome = self._echo(patience_s)
            else:
                self._socket.connect((self.address, port))
                outcome = self._datagram() if self.protocol == "udp" else Outcome("answered")
        except TimeoutError:
            outcome = Outcome("silent")
        except ConnectionRefusedError:
            outcome = Outcome("refused")
        except OSError as exc:
            outcome = _failed(exc)
        return Outcome(outcome.result, outcome.reason, (time.monotonic() - began) * 1e3)

    def _datagram(self) -> Outcome:
        self._socket.send(_DATAGRAM)
        self._socket.recv(65_536)
        return Outcome("answered")

    def _echo(self, patience_s: float) -> Outcome:
        self._socket.sendto(_echo_request(self.version, self.key, 1, 8), (self.address, 0))
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            kind, number, _, inner = self._received()
            if kind == _ECHO[self.version][1] and number == self.key:
                return Outcome("answered")
            if kind == _UNREACHABLE[self.version] and struct.pack("!H", self.key) in inner[:64]:
                return Outcome("unreachable", "an ICMP message says so")
        return Outcome("silent")

    def _received(self) -> tuple[int, int, int, bytes]:
        data = self._socket.recv(65_536)
        if self.version == 4:
            data = data[(data[0] & 0xF) * 4 :]
        if len(data) < 8:
            return -1, 0, 0, b""
        kind, _, _, number, sequence = struct.unpack_from("!BBHHH", data)
        return kind, number, sequence, data[8:]

    def close(self) -> None:
        """Close the socket; may be repeated."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _failed(exc: OSError) -> Outcome:
    if exc.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM):
        return Outcome("unreachable", os.strerror(exc.errno or 0).lower())
    return Outcome("failed", os.strerror(exc.errno or 0).lower())


def _echo_request(version: int, number: int, sequence: int, size: int) -> bytes:
    body = bytes(size)
    head = struct.pack("!BBHHH", _ECHO[version][0], 0, 0, number, sequence)
    if version == 6:  # the kernel fills this sum in
        return head + body
    total = sum(struct.unpack(f"!{(len(head) + size) // 2}H", (head + body)[: (8 + size) // 2 * 2]))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return struct.pack("!BBHHH", _ECHO[version][0], 0, ~total & 0xFFFF, number, sequence) + body


@dataclass(frozen=True)
class Sizes:
    """Which packet sizes, in bytes, came back, and whether somebody said that one is too big."""

    passed: tuple[int, ...] = ()
    told: bool = False


def passing_sizes(address: str, sizes: Sequence[int], namespace: str, patience_s: float) -> Sizes:
    """Send echo requests of all these sizes that may not be fragmented, at once; return which were answered."""
    with Probe("icmp", address, namespace) as probe:
        version, sock = probe.version, probe._socket  # noqa: SLF001  the same module
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        waiting, passed, told = set(), [], False
        for size in sizes:
            payload = (size - _HEADER_BYTES[version]) & ~1
            try:
                sock.sendto(_echo_request(version, probe.key, size, payload), (address, 0))
            except OSError:  # larger than the link itself takes
                continue
            waiting.add(size)
        deadline = time.monotonic() + patience_s
        while waiting and (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                kind, number, sequence, _ = probe._received()  # noqa: SLF001
            except OSError:
                break
            if kind == _ECHO[version][1] and number == probe.key and sequence in waiting:
                waiting.discard(sequence)
                passed.append(sequence)
            told = told or kind == (_UNREACHABLE[4] if version == 4 else 2)
        return Sizes(tuple(sorted(passed)), told)
