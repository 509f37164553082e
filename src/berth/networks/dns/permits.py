"""Lets containers reach what a name they may reach has just resolved to: elements of the firewall's sets, with a life.

It happens before the answer is told, so that a connection never comes first. Must not: decide which names (the daemon
says so in `ServeConfig.permits`).
"""

import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from berth.networks.dns import message, reply
from berth.networks.dns.forwarder import Tell
from berth.networks.dns.model import Permit
from berth.networks.dns.why import Why

log = logging.getLogger(__name__)

#: Least seconds an address stays reachable after an answer: programs keep addresses longer than they should.
LEAST_S = 300


def matching(permits: Iterable[Permit], name: str) -> list[Permit]:
    """Return the permits whose pattern a name fits: itself, or any name below where it begins with ``*.``."""
    asked = name.rstrip(".").lower()
    return [
        one
        for one in permits
        if asked == one.pattern or (one.pattern.startswith("*.") and asked.endswith(one.pattern[1:]))
    ]


def permitting(permits: Sequence[Permit], tell: Tell) -> Tell:
    """Return `tell` that lets an answer's addresses be reached first."""

    def permit_and_tell(wire: bytes, reason: Why) -> None:
        try:
            commands = elements(permits, reply.parse(wire))
        except ValueError:
            commands = ""
        if commands:
            _carry_out(commands)
        tell(wire, reason)

    return permit_and_tell


def elements(permits: Iterable[Permit], told: reply.Reply) -> str:
    """Return the nftables commands that let an answer's addresses be reached; empty if it has none."""
    found: dict[str, list[tuple[str, int]]] = {}
    for part in told.answers:
        data = told.wire[part.data_at : part.end]
        if part.rtype == message.A and len(data) == 4:
            version, address = 4, str(IPv4Address(data))
        elif part.rtype == message.AAAA and len(data) == 16:
            version, address = 6, str(IPv6Address(data))
        else:
            continue
        for one in permits:
            kind = f"named{version}" if one.port else f"named_any{version}"
            key = f'"{one.link}" . {address}' + (f" . {one.protocol} . {one.port}" if one.port else "")
            found.setdefault(f"{one.table} {kind}", []).append((key, max(part.ttl, LEAST_S)))
    return "".join(_renewed(where, dict(keys)) for where, keys in found.items())


def _renewed(where: str, keys: dict[str, int]) -> str:
    """An element that is there keeps its old end of life unless it goes first."""
    plain = ", ".join(keys)
    timed = ", ".join(f"{key} timeout {life_s}s" for key, life_s in keys.items())
    return (
        f"add element inet {where} {{ {plain} }}\n"
        f"delete element inet {where} {{ {plain} }}\n"
        f"add element inet {where} {{ {timed} }}\n"
    )


def _carry_out(commands: str) -> None:
    # imported at the first such answer: most servers never need the library
    from berth.kernel import nft

    try:
        nft.run_once(commands)
    except nft.FirewallRefused as refusal:
        log.warning("an allowed name stays out of reach: %s", refusal)
