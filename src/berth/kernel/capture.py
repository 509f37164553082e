"""Copies the packets that pass the links of a namespace. Blocking. Must not: know whose they are, or keep any."""

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from berth.kernel import netns

# linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h
ETH_P_ALL: Final = 0x0003
PACKET_OUTGOING: Final = 4
SO_TIMESTAMPNS: Final = 35
SOL_PACKET: Final = 263
PACKET_AUXDATA: Final = 8
#: Bytes the kernel keeps for us while we are slow, above what it allows by itself (SO_RCVBUFFORCE).
BUFFER_BYTES: Final = 8 * 1024 * 1024
SO_RCVBUFFORCE: Final = 33
#: Seconds between two looks at whether to go on.
LOOK_S: Final = 0.1
_TIMESPEC: Final = struct.Struct("=qq")
#: struct tpacket_auxdata: the state and the length a packet had, before more that is not of interest.
_AUXILIARY: Final = struct.Struct("=II")


class Caught(NamedTuple):
    """One packet on one link."""

    link: str
    time_ns: int
    length: int
    data: bytes


class Tap:
    """An open tap on every link of a namespace, or on one."""

    def __init__(self, namespace: str, link: str = "") -> None:
        """Open it in a pinned namespace, the host's if empty. Raises `OSError` where there is no such link."""
        self._socket = netns.inside(namespace, self._made, link) if namespace else self._made(link)

    @staticmethod
    def _made(link: str) -> socket.socket:
        everything = 0 if link else socket.htons(ETH_P_ALL)  # an unbound socket hears every link
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, everything)
        try:
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            with contextlib.suppress(PermissionError):
                made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            if link:
                made.bind((link, ETH_P_ALL))
            made.settimeout(LOOK_S)
        except BaseException:
            made.close()
            raise
        return made

    def packets(self, snap: int, goes_on: Callable[[], bool]) -> Iterator[Caught | None]:
        """Yield packets, cut to `snap` bytes, and None in every moment of silence, as long as `goes_on` says so."""
        while goes_on():
            try:
                data, extra, _, place = self._socket.recvmsg(snap, 128)
            except TimeoutError:
                yield None
                continue
            except OSError as exc:
                if exc.errno != errno.ENETDOWN:  # a link has gone down; others go on
                    raise
                continue
            link, _, kind = place[:3]
            if kind == PACKET_OUTGOING and link == "lo":
                continue  # it is seen once more as it comes in
            yield Caught(link, _time(extra), max(len(data), _length(extra)), data)

    def close(self) -> None:
        """Close it; may be repeated."""
        self._socket.close()


def _length(extra: list[tuple[int, int, bytes]]) -> int:
    """Return the length a packet had before it was cut; what its IP header says is 0 beyond 64 KiB."""
    for level, kind, data in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA and len(data) >= _AUXILIARY.size:
            return int(_AUXILIARY.unpack_from(data)[1])
    return 0


def _time(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, rest = _TIMESPEC.unpack_from(data)
            return int(seconds * 1_000_000_000 + rest)
    return time.time_ns()
