"""A small prober for one network namespace: answers on UDP and TCP, and asks many others at once, by packets.

    python prober.py PORT

Reads lines of JSON from standard input: a list of ``[protocol, address, port]``; answers each with the list of those
(as positions) that answered within a second and a half. Standard library only, no threads: it runs in many namespaces.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from typing import Any

PORT = int(sys.argv[1])
LIMIT_S = 1.5
WORD = b"probe"
#: linux/in.h
IP_PKTINFO = 8


def listeners() -> list[socket.socket]:
    found = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                one = socket.socket(family, kind)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                else:
                    one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                one.bind((address, PORT))
            except OSError:
                continue  # a namespace without IPv6
            if kind == socket.SOCK_STREAM:
                one.listen(64)
            one.setblocking(False)
            found.append(one)
    return found


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(version: int, number: int) -> bytes:
    kind = 8 if version == 4 else 128
    head = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, number)
    summed = checksum(head) if version == 4 else 0  # the kernel sums ICMPv6
    return struct.pack("!BBHHH", kind, 0, summed, os.getpid() & 0xFFFF, number)


class Round:
    """One list of questions, all asked at once."""

    def __init__(self, asked: list[list[Any]]) -> None:
        self.sockets: dict[socket.socket, tuple[str, int]] = {}
        self.writing: set[socket.socket] = set()
        self.answered: set[int] = set()
        self.pending = set()
        self.echo: dict[int, socket.socket] = {}
        for number, (protocol, address, port) in enumerate(asked):
            self.pending.add(number)
            try:
                self.ask(number, protocol, address, port)
            except OSError:
                self.pending.discard(number)  # no way there at all

    def ask(self, number: int, protocol: str, address: str, port: int) -> None:
        version = 6 if ":" in address else 4
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        if protocol == "icmp":
            if version not in self.echo:
                raw = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
                self.echo[version] = socket.socket(family, socket.SOCK_RAW, raw)
                self.echo[version].setblocking(False)
                self.sockets[self.echo[version]] = ("icmp", version)
            self.echo[version].sendto(echo_request(version, number), (address, 0))
            return
        one = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        one.setblocking(False)
        self.sockets[one] = (protocol, number)
        if protocol == "tcp":
            self.writing.add(one)
        try:
            one.connect((address, port))
            if protocol == "udp":
                one.send(WORD)
        except BlockingIOError:
            pass
        except OSError:
            self.done(one, number)

    def read(self, one: socket.socket) -> None:
        kind, number = self.sockets[one]
        try:
            data = one.recv(2048)
        except OSError:
            if kind != "icmp":
                self.done(one, number)
            return
        if kind == "udp" and data == WORD:
            self.answered.add(number)
            self.done(one, number)
        elif kind == "icmp":
            reply = data[(data[0] & 15) * 4 :] if number == 4 else data
            what, _, _, ident, sequence = struct.unpack("!BBHHH", reply[:8])
            if what == (0 if number == 4 else 129) and ident == os.getpid() & 0xFFFF:
                self.answered.add(sequence)
                self.pending.discard(sequence)

    def write(self, one: socket.socket) -> None:
        _, number = self.sockets[one]
        self.writing.discard(one)
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self.answered.add(number)
        self.done(one, number)

    def done(self, one: socket.socket, number: int) -> None:
        self.pending.discard(number)
        self.writing.discard(one)
        del self.sockets[one]
        one.close()

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def answer(one: socket.socket) -> None:
    """Send a datagram back from the address it was sent to: a host with many would choose another."""
    data, notes, _, source = one.recvmsg(2048, 128)
    if one.family == socket.AF_INET:
        asked = next(note[4:8] for level, kind, note in notes if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO))
        back = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4x", 0, asked))
    else:
        asked = next(note[:16] for level, kind, note in notes if kind == socket.IPV6_PKTINFO)
        back = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16sI", asked, 0))
    one.sendmsg([data], [back], 0, source)


def serve(ready: list[Any]) -> None:
    for one in ready:
        try:
            if one.type == socket.SOCK_STREAM:
                one.accept()[0].close()
            else:
                answer(one)
        except OSError:
            pass


def main() -> None:
    listening = listeners()
    print("ready", flush=True)
    rest = b""
    while True:
        readable, _, _ = select.select([*listening, 0], [], [])
        serve([one for one in readable if one != 0])
        if 0 not in readable:
            continue
        data = os.read(0, 1 << 20)
        if not data:
            return
        rest += data
        while b"\n" in rest:
            line, _, rest = rest.partition(b"\n")
            now = Round(json.loads(line))
            end = time.monotonic() + LIMIT_S
            while now.pending and (left := end - time.monotonic()) > 0:
                readable, writable, _ = select.select([*listening, *now.sockets], list(now.writing), [], left)
                serve([one for one in readable if one not in now.sockets])
                for one in writable:
                    now.write(one)
                for one in readable:
                    if one in now.sockets:
                        now.read(one)
            now.close()
            print(json.dumps(sorted(now.answered)), flush=True)


if __name__ == "__main__":
    main()
