"""The port proxy with real sockets: IPv6 in, IPv4 out; kills on either side."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from berth.kernel import netns
from berth.networks.ports import proxied
from berth.networks.ports.proxied import HostPort
from berth.networks.ports.proxy_client import ProxyClient, command, open_listener
from berth.networks.ports.proxy_control import Target
from berth.networks.processes.keeper import Refused

pytestmark = pytest.mark.root

T = TypeVar("T")
PAYLOAD = bytes(range(256)) * 40_000


class World:
    """A namespace as the host, the proxy in it, and an echo server on IPv4 only."""

    def __init__(self, place: Path) -> None:
        self.space = str(place / "netns")
        self.control = place / "proxy.sock"
        self.proxies: list[subprocess.Popen[bytes]] = []
        self.peers: set[tuple[str, int]] = set()
        netns.create(self.space)
        self.tcp, self.udp = self.inside(self._bind)
        self.tcp_target = Target("127.0.0.1", self.tcp.getsockname()[1])
        self.udp_target = Target("127.0.0.1", self.udp.getsockname()[1])
        for serve in (self._serve_tcp, self._serve_udp):
            threading.Thread(target=serve, daemon=True).start()

    def inside(self, work: Callable[..., T], *args: object) -> T:
        return netns.inside(self.space, work, *args)

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        udp = socket.socket(type=socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        return socket.create_server(("127.0.0.1", 0)), udp

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.tcp.accept()
                threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        """Read all, then say it again: only half-close makes that work."""
        with sock, contextlib.suppress(OSError):
            got = b""
            while piece := sock.recv(65536):
                got += piece
                if got.startswith(b"chat"):
                    sock.sendall(piece)
            if not got.startswith(b"chat"):
                sock.sendall(got)

    def _serve_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.udp.recvfrom(65535)
                self.peers.add(peer)
                self.udp.sendto(data.upper(), peer)

    async def spawn(self) -> None:
        env = {**os.environ, "PYTHONPATH": "src"}
        start = lambda: subprocess.Popen(command(self.control), env=env, start_new_session=True)  # noqa: E731
        self.proxies.append(self.inside(start))

    def run(self, story: Callable[[ProxyClient], Awaitable[T]]) -> T:
        async def tell() -> T:
            client = ProxyClient(self.control, spawn=self.spawn)
            await client.start()
            try:
                return await story(client)
            finally:
                await client.close()

        return asyncio.run(tell())

    def listener(self, protocol: str, address: str = "::", port: int = 0) -> tuple[int, int]:
        fd = self.inside(open_listener, protocol, address, port)
        with socket.socket(fileno=os.dup(fd)) as sock:
            return fd, sock.getsockname()[1]

    def connect(self, port: int, address: str = "::1", kind: int = socket.SOCK_STREAM) -> socket.socket:
        def work() -> socket.socket:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            sock.settimeout(10)
            sock.connect((address, port))
            return sock

        return self.inside(work)

    def echoed(self, port: int, data: bytes) -> bytes:
        with self.connect(port) as sock:
            threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR))).start()
            got = bytearray()
            while piece := sock.recv(1 << 20):
                got += piece
            return bytes(got)

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.kill()
            proxy.wait()
        for sock in (self.tcp, self.udp):
            sock.close()
        netns.remove(self.space)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_tcp_is_passed_on_whole_with_half_close(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("tcp")
        await client.hold("web", fd, world.tcp_target)
        assert await asyncio.to_thread(world.echoed, port, b"") == b""
        assert await asyncio.to_thread(world.echoed, port, PAYLOAD) == PAYLOAD
        answers = await asyncio.gather(*(asyncio.to_thread(world.echoed, port, PAYLOAD[:300_000]) for _ in range(8)))
        assert all(answer == PAYLOAD[:300_000] for answer in answers)
        with pytest.raises(OSError, match="refused"):
            world.connect(port, "127.0.0.1")

    world.run(story)


def test_a_reader_that_stops_reading_is_waited_for(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("tcp")
        await client.hold("web", fd, world.tcp_target)

        def slow() -> None:
            with world.connect(port) as sock:
                sender = threading.Thread(target=lambda: (sock.sendall(PAYLOAD), sock.shutdown(socket.SHUT_WR)))
                sender.start()
                sender.join()
                assert world.echoed(port, b"meanwhile") == b"meanwhile"
                got = bytearray()
                while piece := sock.recv(1 << 20):
                    got += piece
                assert got == PAYLOAD

        await asyncio.to_thread(slow)
        memory = int(Path(f"/proc/{client.pid}/statm").read_text().split()[1]) * 4096
        assert memory < 25 << 20

    world.run(story)


def test_udp_flows_answer_from_the_address_asked(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("udp")
        await client.hold("dns", fd, world.udp_target)
        fd4, port4 = world.listener("udp", "0.0.0.0")
        await client.hold("dns4", fd4, world.udp_target)

        def talk() -> None:
            socks = [world.connect(port, kind=socket.SOCK_DGRAM) for _ in range(5)]
            # Connected sockets take replies only from the very address they asked.
            socks += [world.connect(port4, address, socket.SOCK_DGRAM) for address in ("127.0.0.1", "127.0.0.77")]
            for turn in range(2):
                for i, sock in enumerate(socks):
                    sock.send(f"hello {i} {turn}".encode())
                for i, sock in enumerate(socks):
                    assert sock.recv(100) == f"HELLO {i} {turn}".encode()
            for sock in socks:
                sock.close()

        await asyncio.to_thread(talk)
        assert len(world.peers) == 7, "one flow each"

    world.run(story)


def test_nobody_behind_ends_the_connection(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("tcp")
        await client.hold("web", fd, Target("127.0.0.1", 1))
        with world.connect(port) as sock:
            assert await asyncio.to_thread(sock.recv, 1) == b""
        await client.release("web")
        await client.release("web")
        with pytest.raises(OSError, match="refused"):
            world.connect(port)
        assert await client.holding() == set()

    world.run(story)


def test_the_daemon_may_die_and_take_over_again(world: World) -> None:
    fd, port = world.listener("tcp")
    only_held, held_port = world.listener("tcp", "0.0.0.0")
    spare, _ = world.listener("udp")

    async def first(client: ProxyClient) -> None:
        await client.hold("web", fd, world.tcp_target)
        await client.hold("reserved", only_held, None)
        await client.hold("spare", spare, world.udp_target)

    world.run(first)
    with world.connect(port) as sock:
        sock.sendall(b"chat 1")
        assert sock.recv(100) == b"chat 1"
        with pytest.raises(OSError, match="in use"):
            world.listener("tcp", "0.0.0.0", held_port)

        async def second(client: ProxyClient) -> None:
            wanted = {"web": world.tcp_target, "reserved": None, "other": None}
            assert await client.keep_only(wanted) == {"other"}
            assert await client.holding() == {"web", "reserved"}
            sock.sendall(b"chat 2")
            assert await asyncio.to_thread(sock.recv, 100) == b"chat 2", "a connection under way went on"
            assert await asyncio.to_thread(world.echoed, port, b"new") == b"new"
            again = await client.fetch("reserved")
            with socket.socket(fileno=again) as got:
                assert got.getsockname()[1] == held_port
            with pytest.raises(Refused):
                await client.fetch("other")
            await client.release("web")
            assert await asyncio.to_thread(sock.recv, 100) == b"", "released with the connections of both times"

        world.run(second)
    assert len(world.proxies) == 1


def test_killed_it_comes_back_with_the_same_sockets(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("tcp")
        await client.hold("web", fd, world.tcp_target)
        for _ in range(3):
            os.kill(client.pid, signal.SIGKILL)
            # Taken by the kernel meanwhile, served by the next proxy.
            assert await asyncio.to_thread(world.echoed, port, b"again") == b"again"
        assert await client.holding() == {"web"}
        assert len(world.proxies) == 4

    world.run(story)


def test_bad_requests_change_nothing(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        with pytest.raises(Refused):
            await client.hold("file", os.open("/dev/null", os.O_RDONLY), world.tcp_target)
        fd, _ = world.listener("tcp")
        with pytest.raises(Refused):
            await client.hold("name", fd, Target("example.com", 80))
        assert await client.holding() == set()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)

    world.run(story)


def test_resets_on_either_side_leave_nothing(world: World) -> None:
    async def story(client: ProxyClient) -> None:
        fd, port = world.listener("tcp")
        await client.hold("web", fd, world.tcp_target)

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{client.pid}/fd"))

        before = descriptors()

        def reset() -> None:
            for i in range(50):
                with world.connect(port) as sock:
                    if i % 2:
                        sock.sendall(b"chat" + PAYLOAD[:100_000])
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end = time.monotonic() + 5
            while descriptors() > before:
                assert time.monotonic() < end, "descriptors of ended connections stay"
                time.sleep(0.01)
            assert world.echoed(port, b"fine") == b"fine"

        await asyncio.to_thread(reset)

    world.run(story)


def test_all_ports_of_a_container_or_none(world: World) -> None:
    """Bound on the test's own loopback: the daemon binds where it runs."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        free, clash = HostPort("udp", "::1", port), HostPort("tcp", "::1", port)

        async def story(client: ProxyClient) -> None:
            with pytest.raises(OSError, match="in use"):
                await proxied.publish(client, {free: world.udp_target, clash: world.tcp_target})
            assert await client.holding() == set()
            await proxied.publish(client, {free: world.udp_target})
            assert await client.holding() == {free.key}

        async def after_a_restart(client: ProxyClient) -> None:
            other = HostPort("udp", "::1", port + 1 if port < 65535 else port - 1)
            await proxied.adopt(client, {free: world.udp_target, other: world.udp_target})
            assert await client.holding() == {free.key, other.key}
            await proxied.adopt(client, {other: world.udp_target})
            await proxied.withdraw(client, [free, other])
            assert await client.holding() == set()

        world.run(story)
        world.run(after_a_restart)
