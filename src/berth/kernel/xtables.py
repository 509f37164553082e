"""The old iptables' forward chains, which nftables does not show, as the kernel gives them out. Reads only.

Must not: load what is not there: asking for a table that nobody uses would make it.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from berth.kernel.libc import LIBC, check

# linux/netfilter/x_tables.h, linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h
_GET_INFO: Final = 64
_GET_ENTRIES: Final = 65
_NAME: Final = struct.Struct("=32s")
#: name, valid hooks, five entry points, five underflows, number of entries, their size
_INFO: Final = struct.Struct("=32sI5I5III")
#: name, size of the entries, padding: they hold 64-bit counters
_ENTRIES: Final = struct.Struct("=32sI4x")
_OFFSETS: Final = struct.Struct("=HH")
_PART: Final = struct.Struct("=H29sB")
_MARK: Final = struct.Struct("=IIB")
#: NF_INET_FORWARD, linux/netfilter.h
_FORWARD: Final = 2
#: Verdicts as standard targets hold them: -NF_DROP - 1, -NF_ACCEPT - 1.
_DROP: Final = -1
_ACCEPT: Final = -2


class _Family(NamedTuple):
    names: Path
    family: socket.AddressFamily
    level: int
    #: Bytes of the addresses and links an entry matches, where its offsets are, and where its matches begin.
    head: int
    offsets_at: int
    matches_at: int


_FAMILIES: Final = {
    "ip": _Family(Path("/proc/net/ip_tables_names"), socket.AF_INET, socket.IPPROTO_IP, 84, 88, 112),
    "ip6": _Family(Path("/proc/net/ip6_tables_names"), socket.AF_INET6, socket.IPPROTO_IPV6, 136, 140, 168),
}


class _Entry(NamedTuple):
    offset: int
    anywhere: bool
    matches: tuple[tuple[str, bytes], ...]
    #: Empty for the standard target.
    target: str
    verdict: int

    @property
    def accepts_anywhere(self) -> bool:
        """Whether it accepts whatever its matches let through, from and to anywhere."""
        return self.anywhere and not self.target and self.verdict == _ACCEPT


def forward_drops(family: str) -> bool:
    """Tell whether the old filter table's FORWARD chain has the policy to drop."""
    kind = _FAMILIES[family]
    info = _info(kind)
    if info is None:
        return False
    policy = next(one for one in _entries(kind, info) if one.offset == info[7 + _FORWARD])
    return not policy.target and policy.verdict == _DROP


def forward_accepts_mark(family: str, mark: int) -> bool:
    """Tell whether a rule of that chain accepts every packet whose mark has this bit."""
    kind = _FAMILIES[family]
    info = _info(kind)
    if info is None:
        return False
    first, underflow = info[2 + _FORWARD], info[7 + _FORWARD]
    return any(
        first <= one.offset < underflow and one.accepts_anywhere and _is_mark(one.matches, mark)
        for one in _entries(kind, info)
    )


def _is_mark(matches: tuple[tuple[str, bytes], ...], mark: int) -> bool:
    told = [data for name, data in matches if name == "mark"]
    only = all(name in ("mark", "comment") for name, _ in matches)
    return only and len(told) == 1 and _MARK.unpack_from(told[0]) == (mark, mark, 0)


def _info(kind: _Family) -> tuple[int, ...] | None:
    try:
        if "filter" not in kind.names.read_text().split():
            return None
    except OSError:  # a kernel without the old tables
        return None
    return _INFO.unpack(_ask(kind, _GET_INFO, _NAME.pack(b"filter"), _INFO.size))


def _ask(kind: _Family, what: int, question: bytes, size: int) -> bytes:
    """Ask the kernel, with a question in the buffer that the answer comes in: Python's own getsockopt has none."""
    buffer = ctypes.create_string_buffer(question, size)
    length = ctypes.c_uint(size)
    with socket.socket(kind.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as asked:
        check(LIBC.getsockopt(asked.fileno(), kind.level, what, buffer, ctypes.byref(length)), "ask for the old tables")
    return buffer.raw


def _entries(kind: _Family, info: tuple[int, ...]) -> Iterator[_Entry]:
    size = info[-1]
    data = _ask(kind, _GET_ENTRIES, _ENTRIES.pack(b"filter", size), _ENTRIES.size + size)[_ENTRIES.size :]
    at = 0
    while at + kind.matches_at <= len(data):
        target_at, following = _OFFSETS.unpack_from(data, at + kind.offsets_at)
        matches = []
        part = at + kind.matches_at
        while part < at + target_at:
            length, name, _ = _PART.unpack_from(data, part)
            matches.append((_text(name), data[part + _PART.size : part + length]))
            part += length
        _, name, _ = _PART.unpack_from(data, at + target_at)
        verdict = struct.unpack_from("=i", data, at + target_at + _PART.size)[0]
        yield _Entry(at, not any(data[at : at + kind.head]), tuple(matches), _text(name), verdict)
        at += following


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace")
