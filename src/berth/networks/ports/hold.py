"""Holds host ports: each published port is bound by a socket of ours before a rule promises it.

So nobody else can take it, and a clash is an error instead of a surprise. Must not: write rules.
"""

import errno
import os
import socket
from typing import Final, NamedTuple

from berth.kernel import listeners
from berth.networks.model import Published
from berth.networks.ports.choose import ANYWHERE, Wish
from berth.networks.ports.errors import AllPortsAllocated, PortAllocated, PortBusy
from berth.networks.ports.proxy_client import open_listener


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
#: Errors that say that the kernel, or this namespace, has no IPv6.
_NO_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
ANYWHERE_6: Final = "::"
#: Protocols the proxy passes on from IPv6.
_PROXIED: Final = ("tcp", "udp")
#: How often a port that is free for IPv4 and taken for IPv6 is given up for another one.
ATTEMPTS: Final = 8


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _bound(key: Key) -> socket.socket:
    """Bind a socket to a port; those for IPv6 listen too, as the proxy wants them."""
    try:
        return _plainly_bound(key)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE or key.protocol != "tcp":
            raise
    # Connections that a server has closed are remembered for a minute, and are in the way of all but those who listen.
    return socket.socket(fileno=open_listener(key.protocol, key.host_ip, key.port))


def _plainly_bound(key: Key) -> socket.socket:
    if ":" in key.host_ip:
        return socket.socket(fileno=open_listener(key.protocol, key.host_ip, key.port))
    kind, number = _KINDS[key.protocol]
    held = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, number)
    try:
        held.bind((key.host_ip, key.port))
    except OSError:
        held.close()
        raise
    return held


class PortHolder:
    """The sockets, and for whom."""

    def __init__(self) -> None:
        self._held: dict[Key, tuple[Claim, socket.socket | None]] = {}
        self._by_port: dict[tuple[str, int], set[Key]] = {}

    def claim(self, wishes: list[Wish], claim: Claim, *, ipv6: bool) -> tuple[Published, ...]:
        """Hold a host port for every wish, all or none; with `ipv6` also on ``[::]`` where no address was named.

        Raises `PortAllocated`, `PortBusy`, `AllPortsAllocated`.
        """
        got: list[Published] = []
        try:
            # named ports first: an ephemeral one must not take what is asked for by number
            for wish in sorted(wishes, key=lambda one: one.first == 0):
                got += self._grant(wish, claim, ipv6=ipv6)
        except BaseException:
            self.release(tuple(got))
            raise
        return tuple(sorted(got, key=lambda one: (one.container_port, one.protocol, one.host_port, one.host_ip)))

    def again(self, published: Published, claim: Claim) -> None:
        """Hold a port that a running container has had before. Raises `PortBusy`.

        The proxy has kept its own sockets; of those only the number is noted.
        """
        key = Key(published.protocol, published.host_ip, published.host_port)
        if ":" in key.host_ip:
            self._note(key, claim, None)
        else:
            self._hold(key, claim)

    def hand_over(self, published: Published) -> int:
        """Give away the socket of a held port, as a descriptor; the port stays noted. -1 if there is none."""
        key = Key(published.protocol, published.host_ip, published.host_port)
        claim, held = self._held[key]
        self._held[key] = (claim, None)
        return held.detach() if held is not None else -1

    def _grant(self, wish: Wish, claim: Claim, *, ipv6: bool) -> list[Published]:
        last_try = ATTEMPTS if wish.first == 0 or wish.first != wish.last else 1
        for attempt in range(1, last_try + 1):
            port = self._first_free(wish, claim)
            mine = [Published(wish.protocol, wish.container_port, wish.host_ip, port)]
            if not (ipv6 and wish.both and wish.protocol in _PROXIED):
                return mine
            try:
                found = self._hold(Key(wish.protocol, ANYWHERE_6, port), claim)
            except (PortAllocated, PortBusy):
                self.release(tuple(mine))
                if attempt == last_try:
                    raise
                continue
            if found:
                mine.append(Published(wish.protocol, wish.container_port, ANYWHERE_6, port))
            return mine
        raise AllPortsAllocated(claim.name, claim.endpoint_id)

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
        """Bind a port and return it; 0 when the kernel has no IPv6."""
        holder = self._holder(key)
        if holder is not None:
            raise PortAllocated(claim.name, claim.endpoint_id, key.host_ip, key.port, holder.name)
        try:
            held = _bound(key)
        except OSError as exc:
            if exc.errno in _NO_FAMILY and key.host_ip == ANYWHERE_6:
                return 0
            where = f"{_bracketed(key.host_ip)}:{key.port}/{key.protocol}"
            reason = os.strerror(exc.errno or 0).lower()
            if key.protocol == "sctp" and not listeners.has_protocol("sctp"):
                reason += " (this kernel has no SCTP)"
            if exc.errno == errno.EADDRINUSE and (other := listeners.holder(key.protocol, key.host_ip, key.port)):
                reason += f" (by {other})"
            raise PortBusy(claim.name, claim.endpoint_id, where, reason) from exc
        port: int = held.getsockname()[1]
        self._note(Key(key.protocol, key.host_ip, port), claim, held)
        return port

    def _note(self, key: Key, claim: Claim, held: socket.socket | None) -> None:
        self._held[key] = (claim, held)
        self._by_port.setdefault((key.protocol, key.port), set()).add(key)

    def _holder(self, key: Key) -> Claim | None:
        for other in self._by_port.get((key.protocol, key.port), ()):
            same_family = (":" in other.host_ip) == (":" in key.host_ip)
            either = {ANYWHERE, ANYWHERE_6} & {other.host_ip, key.host_ip}
            if other.host_ip == key.host_ip or (same_family and either):
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
