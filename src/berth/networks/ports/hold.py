"""Holds host ports: each published port is bound by a socket of ours before a rule promises it.

So nobody else can take it, and a clash is an error instead of a surprise. Must not: write rules.
"""

import errno
import os
import socket
from typing import Final, NamedTuple

from berth.networks.errors import AllPortsAllocated, PortAllocated, PortBusy
from berth.networks.model import Published
from berth.networks.ports.choose import ANYWHERE, Wish


class Key(NamedTuple):
    """One host port."""

    protocol: str
    host_ip: str
    port: int


class Claim(NamedTuple):
    """For whom a port is held; words of error messages."""

    container_id: str
    name: str
    endpoint_id: str


_KINDS: Final = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
#: Errors that say that the kernel has no such protocol: then there is nobody to clash with either.
_NO_PROTOCOL: Final = frozenset({errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT})


class PortHolder:
    """The sockets, and for whom."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[Claim, socket.socket | None]] = {}
        self._by_port: dict[tuple[str, int], set[Key]] = {}

    def claim(self, wishes: list[Wish], claim: Claim) -> tuple[Published, ...]:
        """Hold a host port for every wish, all or none. Raises `PortAllocated`, `PortBusy`, `AllPortsAllocated`."""
        got: list[Published] = []
        try:
            # named ports first: an ephemeral one must not take what is asked for by number
            for wish in sorted(wishes, key=lambda one: one.first == 0):
                port = self._first_free(wish, claim)
                got.append(Published(wish.protocol, wish.container_port, wish.host_ip, port))
        except BaseException:
            self.release(tuple(got))
            raise
        return tuple(sorted(got, key=lambda one: (one.container_port, one.protocol, one.host_ip, one.host_port)))

    def again(self, published: Published, claim: Claim) -> None:
        """Hold a port that a running container has had before. Raises `PortBusy`."""
        self._hold(Key(published.protocol, published.host_ip, published.host_port), claim)

    def _first_free(self, wish: Wish, claim: Claim) -> int:
        if wish.first == wish.last:
            return self._hold(Key(wish.protocol, wish.host_ip, wish.first), claim)
        for port in range(wish.first, wish.last + 1):
            try:
                return self._hold(Key(wish.protocol, wish.host_ip, port), claim)
            except (PortAllocated, PortBusy):
                continue
        raise AllPortsAllocated(claim.name, claim.endpoint_id)

    def _hold(self, key: Key, claim: Claim) -> int:
        holder = self._holder(key)
        if holder is not None:
            raise PortAllocated(claim.name, claim.endpoint_id, key.host_ip, key.port, holder.name)
        kind, number = _KINDS[key.protocol]
        family = socket.AF_INET6 if ":" in key.host_ip else socket.AF_INET
        held: socket.socket | None
        try:
            held = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
        except OSError as exc:
            if exc.errno not in _NO_PROTOCOL:
                raise
            held = None
        port = key.port
        if held is not None:
            try:
                held.bind((key.host_ip, key.port))
            except OSError as exc:
                held.close()
                where = f"{key.host_ip}:{key.port}/{key.protocol}"
                raise PortBusy(claim.name, claim.endpoint_id, where, os.strerror(exc.errno or 0).lower()) from exc
            port = held.getsockname()[1]
        final = Key(key.protocol, key.host_ip, port)
        self._held[final] = (claim, held)
        self._by_port.setdefault((key.protocol, port), set()).add(final)
        return port

    def _holder(self, key: Key) -> Claim | None:
        for other in self._by_port.get((key.protocol, key.port), ()):
            if other.host_ip == key.host_ip or ANYWHERE in (other.host_ip, key.host_ip):
                return self._held[other][0]
        return None

    def release(self, published: tuple[Published, ...]) -> None:
        """Give ports back; those not held are ignored."""
        for one in published:
            key = Key(one.protocol, one.host_ip, one.host_port)
            entry = self._held.pop(key, None)
            if entry is None:
                continue
            self._by_port[one.protocol, one.host_port].discard(key)
            if not self._by_port[one.protocol, one.host_port]:
                del self._by_port[one.protocol, one.host_port]
            if entry[1] is not None:
                entry[1].close()

    def close(self) -> None:
        """Give everything back."""
        for _, held in self._held.values():
            if held is not None:
                held.close()
        self._held.clear()
        self._by_port.clear()
