"""Hears of every change of nftables, and who made it, from the kernel's own notifications. Must not: judge one.

A transaction is told as its single changes and then its generation, which counts the transactions of a namespace.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from berth.base.errors import SystemFault
from berth.kernel.netlink import NLM_F_REQUEST, NLMSG_ERROR, SOL_NETLINK, attributes

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
NETLINK_NETFILTER: Final = 12
NETLINK_ADD_MEMBERSHIP: Final = 1
NFNLGRP_NFTABLES: Final = 7
NFNL_SUBSYS_NFTABLES: Final = 10
NFT_MSG_NEWGEN: Final = 15
NFT_MSG_GETGEN: Final = 16
NFTA_GEN_ID: Final = 1
NFTA_GEN_PROC_PID: Final = 2
NFTA_GEN_PROC_NAME: Final = 3
#: Message type → verb, object, attribute of the name of the chain or set it is about; the table's is always 1.
_KINDS: Final = {
    0: ("add", "table", 0), 2: ("delete", "table", 0),
    3: ("add", "chain", 3), 5: ("delete", "chain", 3),
    6: ("add", "rule", 2), 8: ("delete", "rule", 2),
    9: ("add", "set", 2), 11: ("delete", "set", 2),
    12: ("add", "element", 2), 14: ("delete", "element", 2),
}  # fmt: skip
_TABLE: Final = 1

#: linux/netlink.h, nfnetlink.h: length, type, flags, sequence, port; then family, version, resource.
_HEADER: Final = struct.Struct("=IHHII")
_HEAD: Final = struct.Struct("=BBH")
_U32: Final = struct.Struct(">I")
_FAMILIES: Final = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
#: asm-generic/socket.h
_SO_RCVBUFFORCE: Final = 33
#: Bytes the kernel may keep for us: a flush of ten thousand elements is about a megabyte.
BUFFER_BYTES: Final = 8 << 20
RECEIVE_BYTES: Final = 65_536
#: Seconds that an answer may take.
ANSWER_S: Final = 5.0


class Change(NamedTuple):
    """One object added or deleted; `name` is the chain's or set's it is (in), empty for a table."""

    verb: str
    kind: str
    table: str
    name: str


class Transaction(NamedTuple):
    """What was done at once, and the process that did it."""

    generation: int
    pid: int
    process: str
    changes: tuple[Change, ...]


class Lost(NamedTuple):
    """More happened than the kernel could keep for us: what it was is not known."""


def open_asker() -> socket.socket:
    """Open a socket to ask for generations with, in this thread's namespace."""
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    asked.settimeout(ANSWER_S)
    return asked


def ask_generation(asked: socket.socket) -> int:
    """Return the number of the last transaction in the socket's namespace."""
    body = _HEAD.pack(socket.AF_UNSPEC, 0, 0)
    kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN
    asked.send(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST, 0, 0) + body)
    for answer, payload in _messages(asked.recv(RECEIVE_BYTES)):
        if answer == NLMSG_ERROR:
            number = -struct.unpack_from("=i", payload)[0]
            raise SystemFault(f"nftables: no generation: {os.strerror(number)}")
        found = attributes(payload, _HEAD.size).get(NFTA_GEN_ID)
        if found is not None:
            return int(_U32.unpack(found)[0])
    raise SystemFault("nftables: no generation")


class Watch:
    """The notifications of the namespace it is opened in."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        self._changes: list[Change] = []

    def fileno(self) -> int:
        """Return the descriptor: readable when something has happened."""
        return self._socket.fileno()

    def read(self) -> Iterator[Transaction | Lost]:
        """Yield what has happened since the last call, without waiting."""
        while True:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                self._changes.clear()
                yield Lost()
                continue
            for kind, payload in _messages(data):
                if kind >> 8 == NFNL_SUBSYS_NFTABLES:
                    yield from self._take(kind & 0xFF, payload)

    def _take(self, kind: int, payload: bytes) -> Iterator[Transaction]:
        if kind == NFT_MSG_NEWGEN:
            said = attributes(payload, _HEAD.size)
            number, pid = (int(_U32.unpack(said.get(key, bytes(4)))[0]) for key in (NFTA_GEN_ID, NFTA_GEN_PROC_PID))
            name = said.get(NFTA_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
            changes, self._changes = tuple(self._changes), []
            yield Transaction(number, pid, name, changes)
        elif kind in _KINDS:
            verb, what, where = _KINDS[kind]
            said = attributes(payload, _HEAD.size)
            family = _FAMILIES.get(payload[0], str(payload[0]))
            table = f"{family} {_text(said.get(_TABLE, b''))}"
            self._changes.append(Change(verb, what, table, _text(said.get(where, b"")) if where else ""))

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
