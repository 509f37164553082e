"""Whole frames of one link, received or sent, in any namespace. Must not: know what is in the frames."""

import ctypes
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Final

from berth.base.errors import SystemFault
from berth.kernel import netns

ETH_P_IP: Final = 0x0800
SO_ATTACH_FILTER: Final = 26

#: Classic BPF, as `tcpdump -dd 'udp dst port 68'` prints it for Ethernet: code, jump if true, if false, operand.
_UDP_TO: Final = (
    (0x28, 0, 0, 12),  # type of the frame
    (0x15, 0, 8, ETH_P_IP),
    (0x30, 0, 0, 23),  # protocol
    (0x15, 0, 6, 17),
    (0x28, 0, 0, 20),  # no fragment but the first
    (0x45, 4, 0, 0x1FFF),
    (0xB1, 0, 0, 14),  # length of the IP header
    (0x48, 0, 0, 16),  # destination port
    (0x15, 0, 1, -1),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class LinkUnusable(SystemFault):
    """Frames cannot be sent or received on a link."""

    def __init__(self, link: str, reason: str) -> None:
        super().__init__(f"link {link}: {reason}")


def open_link(namespace: str, link: str, *, udp_port: int) -> socket.socket:
    """Open a socket, not blocking, that sends whole frames on a link and receives those to a UDP port (blocking call).

    Its `getsockname()[4]` is the link's MAC. Raises `LinkUnusable`, `NamespaceGone`.
    """

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            _filter(made, udp_port)  # before the first frame can come
            made.bind((link, ETH_P_IP))
        except OSError as exc:
            made.close()
            raise LinkUnusable(link, exc.strerror or str(exc)) from exc
        return made

    return netns.inside(namespace, make)


def send(namespace: str, link: str, frames: Callable[[bytes], Iterable[bytes]]) -> socket.socket:
    """Send whole frames, made for the link's MAC, on a link (blocking). Raises `LinkUnusable`, `NamespaceGone`.

    The socket is given back because closing it takes some ten milliseconds, in which the kernel waits for all packets
    under way: nobody need wait for that.
    """

    def out() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)  # 0: it receives nothing
        try:
            made.bind((link, 0))
            for frame in frames(made.getsockname()[4]):
                made.send(frame)
        except OSError as exc:
            made.close()
            raise LinkUnusable(link, exc.strerror or str(exc)) from exc
        return made

    return netns.inside(namespace, out)


def _filter(one: socket.socket, udp_port: int) -> None:
    rows = [struct.pack("=HBBI", code, yes, no, udp_port if value < 0 else value) for code, yes, no, value in _UDP_TO]
    program = ctypes.create_string_buffer(b"".join(rows))
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(rows), ctypes.addressof(program)))
