"""Queries a second of a name server: batches of packets by sendmmsg, several processes, replies checked.

bench/dnsload.py                                    own server, in a throw-away namespace (root)
bench/dnsload.py --pid PID --port 53 --name web     the resolver of a running container, Docker's or ours
"""

import argparse
import ctypes
import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x4000_0000


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("length", ctypes.c_uint32)]


class Packets:
    """`count` buffers and the headers that the kernel wants for them."""

    def __init__(self, count: int, size: int) -> None:
        self.buffers = [ctypes.create_string_buffer(size) for _ in range(count)]
        self.iovecs = (Iovec * count)()
        self.headers = (Mmsghdr * count)()
        for i, buffer in enumerate(self.buffers):
            self.iovecs[i].base = ctypes.addressof(buffer)
            self.iovecs[i].length = size
            self.headers[i].hdr.iov = ctypes.pointer(self.iovecs[i])
            self.headers[i].hdr.iovlen = 1

    def fill(self, i: int, packet: bytes) -> None:
        self.buffers[i].raw = packet.ljust(len(self.buffers[i]), b"\0")
        self.iovecs[i].length = len(packet)


def enter(netns: str) -> None:
    fd = os.open(netns, os.O_RDONLY)
    if LIBC.setns(fd, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def question(name: str, ident: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def load(netns: str, target: tuple[str, int], names: list[str], batch: int, seconds: float, out: Queue) -> None:
    """Send `batch` queries, take `batch` replies, and so on; report counts."""
    if netns:
        enter(netns)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(target)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sending, taking = Packets(batch, 256), Packets(batch, 512)
    for i in range(batch):
        sending.fill(i, question(names[i % len(names)], i))
    fd = sock.fileno()
    timeout = struct.pack("ll", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    good = lost = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent = 0
        while sent < batch:
            sent += max(
                0, LIBC.sendmmsg(fd, ctypes.byref(sending.headers, sent * ctypes.sizeof(Mmsghdr)), batch - sent, 0)
            )
        got = 0
        while got < batch:
            n = LIBC.recvmmsg(fd, taking.headers, batch - got, 0x10000, None)  # MSG_WAITFORONE
            if n <= 0:
                lost += batch - got
                break
            got += n
        good += got
    flags, answers = struct.unpack_from("!2xH2xH", taking.buffers[0].raw)
    if flags & 0xF or not answers:
        raise SystemExit(f"bad reply: flags {flags:#x}, {answers} answers")
    out.put((good, lost))


def measure(netns: str, target: tuple[str, int], options: argparse.Namespace) -> tuple[float, int]:
    out: Queue = multiprocessing.Queue()
    load_args = (netns, target, options.name, options.batch, options.seconds, out)
    workers = [multiprocessing.Process(target=load, args=load_args) for _ in range(options.processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results = [out.get(timeout=5) for _ in workers]
    return sum(good for good, _ in results) / options.seconds, sum(lost for _, lost in results)


def own_server(options: argparse.Namespace) -> list[tuple[float, int]]:
    """Serve one container in a throw-away namespace and measure that."""
    import asyncio

    from berth.kernel import netns
    from berth.networks.dns.client import DnsClient, command
    from berth.networks.dns.model import NamedEndpoint, ServeConfig

    with tempfile.TemporaryDirectory(prefix="berth-dnsload-") as place:
        pinned, control = f"{place}/netns", Path(place, "dns.sock")
        netns.create(pinned)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        server = subprocess.Popen(command(control), env=env)

        def sockets() -> tuple[socket.socket, socket.socket]:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for sock in (udp, tcp):
                sock.bind(("127.0.0.11", 0))
            tcp.listen()
            return udp, tcp

        async def serve() -> tuple[str, int]:
            while not control.exists():  # noqa: ASYNC110  another process makes it
                await asyncio.sleep(0.02)
            client = DnsClient(control)
            await client.start()
            udp, tcp = netns.inside(pinned, sockets)
            target = udp.getsockname()
            for name in options.name:
                await client.endpoint_up(NamedEndpoint(name.ljust(64, "0"), "n" * 64, "net", (name,), ("10.0.0.2",)))
            config = ServeConfig("c" * 64)
            await client.endpoint_up(NamedEndpoint("c" * 64, "n" * 64, "net", ("self",), ("10.0.0.9",)))
            await client.serve(config, udp.detach(), tcp.detach(), os.open(pinned, os.O_RDONLY))
            await client.close()
            return target

        try:
            target = asyncio.run(serve())
            results = [measure(pinned, target, options) for _ in range(options.rounds)]
            status = Path(f"/proc/{server.pid}/status").read_text()
            rss = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
            print(f"server's memory: {int(rss) / 1024:.1f} MiB")
        finally:
            server.terminate()
            server.wait()
            netns.remove(pinned)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pid", type=int, help="process whose network namespace is used")
    parser.add_argument("--address", default="127.0.0.11")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--name", action="append", help="name to ask for; may be repeated")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64, help="queries under way per process")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.name = options.name or ["web"]
    if options.pid:
        netns = f"/proc/{options.pid}/ns/net"
        results = [measure(netns, (options.address, options.port), options) for _ in range(options.rounds)]
    else:
        results = own_server(options)
    rates = [rate for rate, _ in results]
    print(
        f"{statistics.median(rates):,.0f} queries/s (median of {len(rates)}: {min(rates):,.0f} to {max(rates):,.0f}), "
        f"{sum(lost for _, lost in results)} lost"
    )


if __name__ == "__main__":
    main()
