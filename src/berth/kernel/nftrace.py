"""Follows packets of one probe through a namespace's nftables rules: which chains they met, which rule dropped them.

A table of ours, gone with the process that made it, marks the probe's packets; the kernel then reports every rule
they meet. Rules of others are neither changed nor counted. Blocking. Must not: know what a probe is for.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from berth.kernel import netns, nft
from berth.kernel.conntrack import NETLINK_NETFILTER
from berth.kernel.netlink import SOL_NETLINK, attributes
from berth.kernel.nft import FirewallRefused, Nft

# linux/netfilter/nfnetlink.h, nf_tables.h
NETLINK_ADD_MEMBERSHIP: Final = 1
NFNLGRP_NFTRACE: Final = 9
NFNL_SUBSYS_NFTABLES: Final = 10
NFT_MSG_TRACE: Final = 17
NFTA_TRACE_TABLE: Final = 1
NFTA_TRACE_CHAIN: Final = 2
NFTA_TRACE_RULE_HANDLE: Final = 3
NFTA_TRACE_TYPE: Final = 4
NFTA_TRACE_VERDICT: Final = 5
NFTA_TRACE_ID: Final = 6
NFTA_TRACE_TRANSPORT_HEADER: Final = 9
NFTA_TRACE_POLICY: Final = 16
NFTA_VERDICT_CODE: Final = 1
NFT_TRACETYPE_POLICY: Final = 1
NFT_TRACETYPE_RULE: Final = 3
NF_DROP: Final = 0

_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
#: Before any other chain, and after every other: how far a packet came is told by which of ours it met.
_FIRST: Final = -450
_LAST: Final = 2_147_483_000

#: The trace's hooks: name of our chain → hook.
ENTERED: Final = "entered"
SENT: Final = "sent"
ARRIVED: Final = "arrived"
LEFT: Final = "left"


class Seen(NamedTuple):
    """One event: a packet met a rule, or the end of a chain. `handle` is 0 for a chain's policy."""

    packet: int
    family: str
    table: str
    chain: str
    handle: int
    dropped: bool
    #: The first bytes of the transport header; only a packet's first event has them.
    header: bytes


class Watch:
    """Reports the packets that match, in one namespace, between `open` and `close`."""

    def __init__(self, table: str, matches: Sequence[str], namespace: str = "") -> None:
        """`matches` are nftables expressions, each for itself; an empty `namespace` is the host's."""
        self._table = table
        self._matches = tuple(matches)
        self._namespace = namespace
        self._rules: Nft | None = None
        self._events: socket.socket | None = None

    def open(self) -> None:
        """Begin. Raises `FirewallRefused`."""
        self._events, self._rules = netns.inside(self._namespace, self._made) if self._namespace else self._made()

    def _made(self) -> tuple[socket.socket, Nft]:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        rules = Nft()
        try:
            events.bind((0, 0))
            events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
            for family in ("inet", "bridge"):
                # owned: the kernel takes the table away with our socket, also when we are killed
                text = _table(family, self._table, self._matches)
                try:
                    rules.run(text.replace("{OWNER}", "flags owner;"))
                except FirewallRefused:
                    if family == "bridge":  # a kernel without it has no such rules to look for
                        continue
                    rules.run(text.replace("{OWNER}", ""))  # before Linux 5.12
        except BaseException:
            self._unmake(rules)
            events.close()
            raise
        return events, rules

    def _unmake(self, rules: Nft) -> None:
        for family in ("inet", "bridge"):
            with contextlib.suppress(FirewallRefused):
                rules.run(f"delete table {family} {self._table}\n")
        rules.close()

    def close(self) -> None:
        """Take our table away; may be repeated."""
        if self._rules is not None:
            self._unmake(self._rules)
            self._rules = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def seen(self, settle_s: float = 0.02) -> list[Seen]:
        """Return every event so far, in order, once none came for `settle_s` seconds."""
        found: list[Seen] = []
        if self._events is None:
            return found
        deadline = time.monotonic() + 1.0
        self._events.settimeout(settle_s)
        while time.monotonic() < deadline:
            try:
                data = self._events.recv(65_536)
            except TimeoutError:
                break
            except OSError:  # more events than the socket holds: what was read tells enough
                continue
            found += _parsed(data)
        return found

    def is_ours(self, seen: Seen) -> bool:
        """Tell whether an event is of our own table: it says how far a packet came, not what happened to it."""
        return seen.table == self._table


def _table(family: str, name: str, matches: Sequence[str]) -> str:
    rules = "".join(f"\t\t{match} meta nftrace set 1\n" for match in matches)
    chains = [
        (ENTERED, "prerouting", _FIRST, rules),
        (SENT, "output", _FIRST, rules),
        (ARRIVED, "input", _LAST, ""),
        (LEFT, "postrouting", _LAST, ""),
    ]
    body = "".join(
        f"\tchain {chain} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;\n{text}\t}}\n"
        for chain, hook, priority, text in chains
    )
    return f"table {family} {name} {{\n\t{{OWNER}}\n{body}}}\n"


def _parsed(data: bytes) -> Iterator[Seen]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 20 or at + length > len(data):
            return
        if kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE:
            event = _event(data[at + 16 : at + length])
            if event is not None:
                yield event
        at += (length + 3) & ~3


def _event(body: bytes) -> Seen | None:
    attrs = attributes(body, 4)
    kind = _number(attrs.get(NFTA_TRACE_TYPE, b""))
    verdict = attributes(attrs.get(NFTA_TRACE_VERDICT, b"")).get(NFTA_VERDICT_CODE, b"")
    if kind == NFT_TRACETYPE_POLICY:
        verdict = attrs.get(NFTA_TRACE_POLICY, b"")
    elif kind != NFT_TRACETYPE_RULE:
        return None
    return Seen(
        packet=_number(attrs.get(NFTA_TRACE_ID, b"")),
        family=_FAMILIES.get(body[0], "inet"),
        table=_text(attrs.get(NFTA_TRACE_TABLE, b"")),
        chain=_text(attrs.get(NFTA_TRACE_CHAIN, b"")),
        handle=_number(attrs.get(NFTA_TRACE_RULE_HANDLE, b"")),
        dropped=bool(verdict) and _number(verdict) == NF_DROP,
        header=attrs.get(NFTA_TRACE_TRANSPORT_HEADER, b""),
    )


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, "big")


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")


def rule_text(seen: Seen, namespace: str = "") -> str:
    """Return the rule an event names as nft prints it, or the chain's policy; empty if it is gone."""
    where = f"{seen.family} {seen.table} {seen.chain}"
    try:
        printed = netns.inside(namespace, _listed, where) if namespace else _listed(where)
    except FirewallRefused:
        return ""
    for line in printed.splitlines():
        text, mark, handle = line.strip().rpartition("# handle ")
        if mark and handle == str(seen.handle) and seen.handle:
            return text.strip()
        if not seen.handle and " policy " in line:
            return "policy " + line.rpartition(" policy ")[2].strip("; ")
    return ""


def _listed(where: str) -> str:
    return nft.run_once(f"list chain {where}", handles=True)
