"""Queries a second of a name server, and how long they take: batches by sendmmsg, several processes, replies checked.

bench/dnsload.py                                    own server, in a throw-away namespace (root)
bench/dnsload.py --pid PID --port 53 --name web     the resolver of a running container, Docker's or ours
"""

import argparse
import ctypes
import json
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
from typing import NamedTuple

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
    """Send `batch` queries, take `batch` replies, and so on; report counts, and the time from send to reply."""
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
    took: list[tuple[float, int]] = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
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
            took.append((time.monotonic() - begun, n))
        good += got
    flags, answers = struct.unpack_from("!2xH2xH", taking.buffers[0].raw)
    if flags & 0xF or not answers:
        raise SystemExit(f"bad reply: flags {flags:#x}, {answers} answers")
    out.put((good, lost, took))


class Result(NamedTuple):
    """One round: answers a second, lost queries, microseconds within which half and 99 % of the answers came."""

    rate: float
    lost: int
    half_us: float
    most_us: float


def within(took: list[tuple[float, int]], share: float) -> float:
    """Return within how many microseconds that share of the replies came."""
    wanted = share * sum(n for _, n in took)
    seen = 0
    for seconds, n in sorted(took):
        seen += n
        if seen >= wanted:
            return seconds * 1e6
    return 0.0


def measure(netns: str, target: tuple[str, int], options: argparse.Namespace) -> Result:
    out: Queue = multiprocessing.Queue()
    load_args = (netns, target, options.name, options.batch, options.seconds, out)
    workers = [multiprocessing.Process(target=load, args=load_args) for _ in range(options.processes)]
    for worker in workers:
        worker.start()
    results = [out.get(timeout=options.seconds + 30) for _ in workers]
    for worker in workers:
        worker.join()
    took = [one for _, _, times in results for one in times]
    return Result(
        sum(good for good, _, _ in results) / options.seconds,
        sum(lost for _, lost, _ in results),
        within(took, 0.5),
        within(took, 0.99),
    )


def own_server(options: argparse.Namespace) -> list[Result]:
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
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    options.name = options.name or ["web"]
    if options.pid:
        netns = f"/proc/{options.pid}/ns/net"
        results = [measure(netns, (options.address, options.port), options) for _ in range(options.rounds)]
    else:
        results = own_server(options)
    rates = [one.rate for one in results]
    half, most = (statistics.median(getattr(one, key) for one in results) for key in ("half_us", "most_us"))
    lost = sum(one.lost for one in results)
    if options.json:
        print(json.dumps({"rate": statistics.median(rates), "lost": lost, "half_us": half, "most_us": most}))
        return
    print(
        f"{statistics.median(rates):,.0f} queries/s (median of {len(rates)}: {min(rates):,.0f} to {max(rates):,.0f}), "
        f"{lost} lost; half within {half:,.0f} µs, 99 % within {most:,.0f} µs"
    )


if __name__ == "__main__":
    main()
