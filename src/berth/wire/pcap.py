"""The file format of packet captures that tcpdump and Wireshark read (pcap, nanoseconds, Ethernet). Pure."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

#: Of draft-ietf-opsawg-pcap: this order of bytes, times in nanoseconds; LINKTYPE_ETHERNET.
MAGIC: Final = 0xA1B23C4D
ETHERNET: Final = 1
_FILE: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
#: Longest packet a record holds, bytes.
SNAP: Final = 262_144


class Record(NamedTuple):
    """One packet: when, in nanoseconds since the epoch, how long it was, and what of it was kept."""

    time_ns: int
    length: int
    data: bytes


def head() -> bytes:
    """Return the beginning of a file."""
    return _FILE.pack(MAGIC, 2, 4, 0, 0, SNAP, ETHERNET)


def packed(record: Record) -> bytes:
    """Return one packet as it is in a file."""
    seconds, rest = divmod(record.time_ns, 1_000_000_000)
    return _RECORD.pack(seconds, rest, len(record.data), record.length) + record.data


def records(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Read packets from the pieces of a file, each as soon as it is whole. Raises `ValueError` for another format."""
    buffer, begun = b"", False
    for chunk in chunks:
        buffer += chunk
        if not begun:
            if len(buffer) < _FILE.size:
                continue
            if _FILE.unpack_from(buffer)[0] != MAGIC:
                raise ValueError("not a capture with times in nanoseconds")
            buffer, begun = buffer[_FILE.size :], True
        at = 0
        while len(buffer) - at >= _RECORD.size:
            seconds, rest, kept, length = _RECORD.unpack_from(buffer, at)
            if len(buffer) - at - _RECORD.size < kept:
                break
            start = at + _RECORD.size
            yield Record(seconds * 1_000_000_000 + rest, length, buffer[start : start + kept])
            at = start + kept
        buffer = buffer[at:]
