"""Sockets that listen in a network namespace, and the processes that have them, as /proc tells. Reads only.

Must not: know whose they should be.
"""

import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
#: Tables of proc(5), net/: name → protocol, and the state of a socket that takes what comes (linux/tcp_states.h).
_TABLES: Final = {
    "tcp": ("tcp", 0x0A), "tcp6": ("tcp", 0x0A), "udp": ("udp", 0x07), "udp6": ("udp", 0x07),
}  # fmt: skip


class Listener(NamedTuple):
    """One socket that takes what comes to a port."""

    protocol: str
    address: str
    port: int
    inode: int


class Holder(NamedTuple):
    """A process."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def listening(net: Path = PROC / "thread-self" / "net") -> list[Listener]:
    """List what listens in the namespace of this thread, or in that of another process (``/proc/PID/net``)."""
    found: list[Listener] = []
    for name, (protocol, state) in _TABLES.items():
        try:
            rows = (net / name).read_text().splitlines()[1:]
        except OSError:  # a kernel without IPv6, or a process just gone
            continue
        found += [one for row in rows if (one := _parse(protocol, state, row))]
    return sorted(found)


def _parse(protocol: str, state: int, row: str) -> Listener | None:
    words = row.split()
    if int(words[3], 16) != state:
        return None
    address, _, port = words[1].partition(":")
    return Listener(protocol, _address(address), int(port, 16), int(words[9]))


def _address(text: str) -> str:
    """Read an address as the kernel prints it: words of 32 bits in the machine's order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return str(ip_address(b"".join(struct.pack("=I", word) for word in words)))


def holder(protocol: str, address: str, port: int) -> Holder | None:
    """Find the process that keeps a port of this thread's namespace from being bound; None if none is to be seen."""
    inodes = {
        one.inode
        for one in listening() + _bound(protocol)
        if (one.protocol, one.port) == (protocol, port) and _meet(one.address, address)
    }
    return next(iter(owners(inodes, _pids()).values()), None)


def _bound(protocol: str) -> list[Listener]:
    """List TCP sockets that do not listen, but may still hold their port: established ones and closing ones."""
    if protocol != "tcp":
        return []
    found = []
    for name in ("tcp", "tcp6"):
        try:
            rows = (PROC / "thread-self" / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        found += [one for row in rows if (one := _parse("tcp", int(row.split()[3], 16), row))]
    return found


def _meet(one: str, other: str) -> bool:
    first, second = ip_address(one), ip_address(other)
    mapped = getattr(first, "ipv4_mapped", None)
    if mapped is not None:
        first = mapped
    return first == second or first.is_unspecified or second.is_unspecified


def owners(inodes: Collection[int], pids: Iterable[int]) -> dict[int, Holder]:
    """Return inode → the first of the processes that has the socket open."""
    found: dict[int, Holder] = {}
    for pid in pids if inodes else ():
        for inode in _sockets(pid):
            if inode in inodes and inode not in found:
                found[inode] = Holder(pid, _command(pid))
        if len(found) == len(inodes):
            break
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in sorted(os.listdir(PROC)) if name.isdecimal())


def _sockets(pid: int) -> Iterator[int]:
    try:
        names = os.listdir(PROC / str(pid) / "fd")
    except OSError:  # just gone
        return
    for name in names:
        try:
            target = os.readlink(PROC / str(pid) / "fd" / name)
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _command(pid: int) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return " ".join(word.decode(errors="replace") for word in words if word)[:80]
    except OSError:
        return "?"


def has_protocol(protocol: str) -> bool:
    """Tell whether the kernel has a protocol published ports may use; only SCTP may be missing."""
    if protocol != "sctp":
        return True
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True
