"""A name server outside for measurements: answers every A question at 127.0.0.1:53 with one address for an hour."""

import socket
import struct

ANSWER = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 3600, 4) + bytes([192, 0, 2, 1])


def main() -> None:
    """Serve until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 53))
        while True:
            query, peer = sock.recvfrom(4096)
            end = query.index(b"\0", 12) + 5
            sock.sendto(query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + query[12:end] + ANSWER, peer)


if __name__ == "__main__":
    main()
