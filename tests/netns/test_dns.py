"""The name server with real namespaces, real packets and an independent DNS library."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from berth.kernel import netns
from berth.networks.dns import control
from berth.networks.dns.client import DnsClient, command
from berth.networks.dns.model import ADDRESS, NamedEndpoint, ServeConfig, Sockets, Upstream
from berth.networks.processes import packets
from berth.networks.processes.keeper import Refused
from tests.support.pace import Pace

pytestmark = pytest.mark.root

T = TypeVar("T")

#: Seconds after which what must come never will.
PATIENCE_S = 30.0


class Container:
    """A namespace with bound sockets, and an asker inside it."""

    def __init__(self, place: Path, number: int) -> None:
        self.id = f"{number:064x}"
        self.path = str(place / f"netns-{number}")
        self.port = (0, 0)
        netns.create(self.path)

    def sockets(self) -> Sockets:
        """New sockets, at the old ports if there were any: where a redirect leads to."""

        def bind() -> tuple[int, int]:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            udp.bind((ADDRESS, self.port[0]))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((ADDRESS, self.port[1]))
            tcp.listen(64)
            self.port = (udp.getsockname()[1], tcp.getsockname()[1])
            return udp.detach(), tcp.detach()

        return Sockets(*netns.inside(self.path, bind), os.open(self.path, os.O_RDONLY))

    def exchange(
        self, query: dns.message.Message, *, tcp: bool = False, timeout: float = PATIENCE_S
    ) -> dns.message.Message:
        def ask() -> dns.message.Message:
            if tcp:
                return dns.query.tcp(query, ADDRESS, port=self.port[1], timeout=timeout)
            return dns.query.udp(query, ADDRESS, port=self.port[0], timeout=timeout)

        return netns.inside(self.path, ask)

    def reply(
        self, name: str, kind: str = "A", *, tcp: bool = False, timeout: float = PATIENCE_S
    ) -> dns.message.Message:
        return self.exchange(dns.message.make_query(name, kind), tcp=tcp, timeout=timeout)

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> set[str] | str:
        """Answers as texts, or the error's name."""
        reply = self.reply(name, kind, tcp=tcp)
        if reply.rcode() != dns.rcode.NOERROR:
            return dns.rcode.to_text(reply.rcode())
        return {str(item) for rrset in reply.answer for item in rrset}

    def both(self, name: str, kind: str = "A") -> set[str] | str:
        """Ask over UDP and TCP; both must say the same."""
        one, other = self.ask(name, kind), self.ask(name, kind, tcp=True)
        assert one == other
        return one

    def connected(self, *, tcp: bool) -> socket.socket:
        def connect() -> socket.socket:
            sock = socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
            sock.settimeout(PATIENCE_S)
            sock.connect((ADDRESS, self.port[tcp]))
            return sock

        return netns.inside(self.path, connect)


class World:
    """One name server process, its client, and containers to serve."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.control = place / "dns.sock"
        self.containers: dict[str, Container] = {}
        self.servers: list[subprocess.Popen[bytes]] = []
        self.options: tuple[str, ...] = ()

    def container(self) -> Container:
        made = Container(self.place, len(self.containers) + 1)
        self.containers[made.id] = made
        return made

    async def spawn(self) -> None:
        env = {**os.environ, "PYTHONPATH": "src"}
        argv = (*command(self.control), *self.options)
        self.servers.append(subprocess.Popen(argv, env=env, start_new_session=True))  # noqa: ASYNC220

    async def resupply(self, ident: str) -> Sockets:
        return await asyncio.to_thread(self.containers[ident].sockets)

    def client(self) -> DnsClient:
        return DnsClient(self.control, spawn=self.spawn, resupply=self.resupply)

    def run(self, story: Callable[[DnsClient], Awaitable[T]]) -> T:
        """Run a story with a started client; the server outlives it."""

        async def tell() -> T:
            client = self.client()
            await client.start()
            try:
                return await story(client)
            finally:
                await client.close()

        return asyncio.run(tell())

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        for container in self.containers.values():
            netns.remove(container.path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def endpoint(container: Container, network: str, address: str, *names: str, **more: tuple[str, ...]) -> NamedEndpoint:
    return NamedEndpoint(container.id, f"id-{network}", network, names, (address,), **more)  # type: ignore[arg-type]


async def serve(client: DnsClient, container: Container, *upstreams: Upstream, **more: bool) -> None:
    await client.serve(ServeConfig(container.id, upstreams, **more), *container.sockets())


class Outside:
    """A name server elsewhere that answers everything by `behave`, over UDP and TCP on one port of 127.0.0.1."""

    def __init__(self, behave: Callable[[dns.message.Message], dns.message.Message | None], inside: str = "") -> None:
        self.asked: list[dns.message.Message] = []
        self.ports: set[int] = set()
        self._behave = behave
        self._udp, self._tcp = netns.inside(inside, self._bind) if inside else self._bind()
        self.port: int = self._udp.getsockname()[1]
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        while True:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(("127.0.0.1", udp.getsockname()[1]))
            except OSError:
                continue
            tcp.listen()
            return udp, tcp

    def _reply(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        reply = self._behave(query)
        return reply.to_wire() if reply else None

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            self.ports.add(peer[1])
            if reply := self._reply(wire):
                self._udp.sendto(reply, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            with sock:
                size = struct.unpack("!H", sock.recv(2))[0]
                if reply := self._reply(sock.recv(size)):
                    for byte in struct.pack("!H", len(reply)) + reply:
                        sock.send(bytes([byte]))

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while len(self.asked) < count:
            assert time.monotonic() < end, f"{len(self.asked)} of {count} queries came"
            time.sleep(0.001)

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            sock.shutdown(socket.SHUT_RDWR) if sock is self._tcp else None
            sock.close()


def answering(text: str) -> Callable[[dns.message.Message], dns.message.Message]:
    def behave(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", text))
        return reply

    return behave


def failing(code: dns.rcode.Rcode) -> Callable[[dns.message.Message], dns.message.Message]:
    def behave(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.set_rcode(code)
        return reply

    return behave


@pytest.fixture
def outside() -> Iterator[Callable[..., Outside]]:
    made: list[Outside] = []

    def make(behave: Callable[[dns.message.Message], dns.message.Message | None], inside: str = "") -> Outside:
        made.append(Outside(behave, inside))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_names_hold_on_shared_networks_only(world: World) -> None:
    web, database, stranger = (world.container() for _ in range(3))

    async def story(client: DnsClient) -> None:
        for container in (web, database, stranger):
            await serve(client, container)
        await client.endpoint_up(endpoint(web, "front", "10.1.0.2", "web", web.id[:12], "www"))
        await client.endpoint_up(endpoint(database, "front", "10.1.0.3", "db", addresses6=("fd00::3",)))
        await client.endpoint_up(endpoint(stranger, "back", "10.2.0.4", "stranger"))
        for name in ("web", "WEB", "www", web.id[:12], "web.front"):
            assert await asyncio.to_thread(database.both, name) == {"10.1.0.2"}
        assert await asyncio.to_thread(web.both, "db", "AAAA") == {"fd00::3"}
        assert await asyncio.to_thread(web.both, "web", "AAAA") == set()
        assert await asyncio.to_thread(web.both, "db", "MX") == set()
        assert await asyncio.to_thread(web.both, "3.0.1.10.in-addr.arpa", "PTR") == {"db.front."}
        assert await asyncio.to_thread(stranger.both, "web") == "SERVFAIL"
        assert await asyncio.to_thread(web.both, "stranger") == "SERVFAIL"

        await client.endpoint_up(endpoint(stranger, "front", "10.1.0.4", "stranger"))
        assert await asyncio.to_thread(stranger.both, "web") == {"10.1.0.2"}
        assert await asyncio.to_thread(web.both, "stranger") == {"10.1.0.4"}
        await client.endpoint_down(stranger.id, "id-front")
        assert await asyncio.to_thread(stranger.both, "web") == "SERVFAIL"
        assert await asyncio.to_thread(web.both, "stranger") == "SERVFAIL"
        assert await asyncio.to_thread(stranger.both, "stranger") == {"10.2.0.4"}

        await client.endpoint_up(endpoint(web, "front", "10.1.0.2", "renamed"))
        assert await asyncio.to_thread(database.both, "web") == "SERVFAIL"
        assert await asyncio.to_thread(database.both, "renamed") == {"10.1.0.2"}
        await client.forget(web.id)
        await client.forget(web.id)
        assert await asyncio.to_thread(database.both, "renamed") == "SERVFAIL"
        assert await client.serving() == {database.id, stranger.id}

    world.run(story)


def test_all_holders_of_a_name_take_turns(world: World) -> None:
    asker, *holders = (world.container() for _ in range(4))

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))
        for i, holder in enumerate(holders):
            await client.endpoint_up(endpoint(holder, "net", f"10.1.0.{i}", "pool"))

        def first() -> str:
            return str(asker.reply("pool").answer[0][0])

        firsts = [await asyncio.to_thread(first) for _ in range(12)]
        assert set(firsts) == {"10.1.0.0", "10.1.0.1", "10.1.0.2"}
        assert await asyncio.to_thread(asker.both, "pool") == set(firsts)

    world.run(story)


def test_what_does_not_fit_is_marked_and_comes_by_tcp(world: World) -> None:
    asker = world.container()

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))
        for i in range(100):
            await client.endpoint_up(NamedEndpoint(f"{i:064}", "id-net", "net", ("pool",), (f"10.1.1.{i}",)))

        def sizes() -> None:
            plain = asker.exchange(dns.message.make_query("pool", "A", use_edns=False))
            assert plain.flags & dns.flags.TC
            assert len(plain.answer[0]) == (512 - 12 - 10) // 16
            wide = asker.exchange(dns.message.make_query("pool", "A", use_edns=0, payload=4096))
            assert not wide.flags & dns.flags.TC
            assert len(wide.answer[0]) == 100
            whole = asker.exchange(dns.message.make_query("pool", "A", use_edns=False), tcp=True)
            assert not whole.flags & dns.flags.TC
            assert len(whole.answer[0]) == 100

        await asyncio.to_thread(sizes)

    world.run(story)


def test_unknown_names_go_out_through_the_containers_namespace(world: World, outside: Callable[..., Outside]) -> None:
    """The same address and port means one server inside the namespace and another on the host."""
    asker, internal = world.container(), world.container()
    within = outside(answering("192.0.2.1"), asker.path)
    on_host = outside(answering("192.0.2.2"))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, Upstream("127.0.0.1", port=within.port))
        assert await asyncio.to_thread(asker.both, "example.com") == {"192.0.2.1"}
        await client.configure(ServeConfig(asker.id, (Upstream("127.0.0.1", port=on_host.port, from_host=True),)))
        assert await asyncio.to_thread(asker.both, "example.com") == {"192.0.2.2"}
        await serve(client, internal, Upstream("127.0.0.1", port=on_host.port, from_host=True), internal=True)
        assert await asyncio.to_thread(internal.both, "example.com") == "SERVFAIL"
        await client.configure(ServeConfig(asker.id, (Upstream("127.0.0.1", port=within.port),), ndots_set=True))
        assert await asyncio.to_thread(asker.both, "single") == set()

    world.run(story)
    assert len(within.asked) == len(on_host.asked) == 1, "the answer by TCP came out of the cache"


def test_queries_leave_from_fresh_ports_with_edns_untouched(world: World, outside: Callable[..., Outside]) -> None:
    asker = world.container()
    within = outside(answering("192.0.2.1"), asker.path)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, Upstream("127.0.0.1", port=within.port))

        def ask() -> None:
            for i in range(8):
                query = dns.message.make_query(f"n{i}.example.com", "A", use_edns=0, payload=1400 + i, want_dnssec=True)
                assert asker.exchange(query).id == query.id

        await asyncio.to_thread(ask)

    world.run(story)
    assert len(within.ports) == 8
    assert [query.payload for query in within.asked] == [1400 + i for i in range(8)]
    assert all(query.ednsflags & dns.flags.DO for query in within.asked)


@pytest.mark.parametrize("tcp", [False, True])
def test_the_next_upstream_is_asked_after_a_failure(
    world: World, outside: Callable[..., Outside], *, tcp: bool
) -> None:
    asker = world.container()
    broken = outside(failing(dns.rcode.SERVFAIL), asker.path)
    refusing = outside(failing(dns.rcode.REFUSED), asker.path)
    good = outside(answering("192.0.2.1"), asker.path)
    denying = outside(failing(dns.rcode.NXDOMAIN), asker.path)
    nobody = Upstream("127.0.0.1", port=1)

    def at(*servers: Outside) -> tuple[Upstream, ...]:
        return tuple(Upstream("127.0.0.1", port=server.port) for server in servers)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, *at(broken, refusing, good))
        assert await asyncio.to_thread(asker.ask, "example.com", tcp=tcp) == {"192.0.2.1"}
        await client.configure(ServeConfig(asker.id, (nobody, *at(good))))
        assert await asyncio.to_thread(asker.ask, "example.com", tcp=tcp) == {"192.0.2.1"}
        await client.configure(ServeConfig(asker.id, at(denying, good)))
        assert await asyncio.to_thread(asker.ask, "example.com", tcp=tcp) == "NXDOMAIN"
        await client.configure(ServeConfig(asker.id, (*at(broken, refusing, broken), *at(good))))
        assert await asyncio.to_thread(asker.ask, "example.com", tcp=tcp) == "SERVFAIL", "a fourth is never asked"

    world.run(story)


def test_too_many_queries_under_way_are_refused(world: World, outside: Callable[..., Outside]) -> None:
    asker = world.container()
    silent = outside(lambda _: None, asker.path)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, Upstream("127.0.0.1", port=silent.port))

        def flood() -> list[int]:
            codes = []
            with asker.connected(tcp=False) as sock:
                for i in range(1030):
                    sock.send(dns.message.make_query(f"n{i}.example", "A", id=i).to_wire())
                    if i >= 1024:
                        codes.append(dns.message.from_wire(sock.recv(512)).rcode())
                    elif i % 32 == 31:  # more at once would be dropped on the way
                        silent.wait_for(i + 1)
            return codes

        assert await asyncio.to_thread(flood) == [dns.rcode.REFUSED] * 6
        await client.forget(asker.id)
        assert await client.serving() == set()

    world.run(story)


def test_a_tcp_connection_takes_many_queries_in_any_pieces(world: World) -> None:
    asker = world.container()

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))

        def talk() -> None:
            wires = [dns.message.make_query("asker", "A", id=i).to_wire() for i in range(50)]
            stream = b"".join(struct.pack("!H", len(wire)) + wire for wire in wires)
            with asker.connected(tcp=True) as sock:
                for byte in stream[:100]:
                    sock.send(bytes([byte]))
                sock.sendall(stream[100:])
                sock.shutdown(socket.SHUT_WR)
                got = b""
                while piece := sock.recv(4096):
                    got += piece
            idents = []
            while got:
                size = struct.unpack("!H", got[:2])[0]
                idents.append(dns.message.from_wire(got[2 : 2 + size]).id)
                got = got[2 + size :]
            assert idents == list(range(50))
            with asker.connected(tcp=True) as sock:
                sock.sendall(b"\0\3abc")
                assert sock.recv(10) == b"", "junk ends the connection"

        await asyncio.to_thread(talk)

    world.run(story)


def test_an_asker_that_reads_nothing_holds_nobody_up(world: World) -> None:
    greedy, other = world.container(), world.container()

    async def story(client: DnsClient) -> None:
        for i, container in enumerate((greedy, other)):
            await serve(client, container)
            await client.endpoint_up(endpoint(container, "net", f"10.1.0.{i}", f"c{i}"))
        for i in range(200):
            await client.endpoint_up(NamedEndpoint(f"x{i:063}", "id-net", "net", ("pool",), (f"10.1.1.{i}",)))

        def flood() -> None:
            wire = dns.message.make_query("pool", "A").to_wire()
            with greedy.connected(tcp=True) as sock:
                sock.setblocking(False)
                try:
                    while True:
                        sock.send((struct.pack("!H", len(wire)) + wire) * 100)
                except BlockingIOError:
                    pass
                for _ in range(20):
                    assert other.ask("c0") == {"10.1.0.0"}

        await asyncio.to_thread(flood)
        memory = int(Path(f"/proc/{client.pid}/statm").read_text().split()[1]) * 4096
        assert memory < 40 << 20

    world.run(story)


def test_connections_left_open_take_nothing_from_others(world: World) -> None:
    greedy, other = world.container(), world.container()

    async def story(client: DnsClient) -> None:
        for i, container in enumerate((greedy, other)):
            await serve(client, container)
            await client.endpoint_up(endpoint(container, "net", f"10.1.0.{i}", f"c{i}"))

        def hold() -> None:
            with contextlib.ExitStack() as stack:
                held = [stack.enter_context(greedy.connected(tcp=True)) for _ in range(140)]
                wire = dns.message.make_query("c1", "A").to_wire()
                for sock in held[:128]:
                    sock.sendall((struct.pack("!H", len(wire)) + wire)[:20])  # and never the rest
                assert {sock.recv(1) for sock in held[128:]} == {b""}, "one container has 128 at most"
                assert other.both("c0") == {"10.1.0.0"}
                assert greedy.ask("c1") == {"10.1.0.1"}
                held[0].sendall((struct.pack("!H", len(wire)) + wire)[20:])
                assert held[0].recv(512), "a query in two pieces is answered all the same"

        await asyncio.to_thread(hold)

    world.run(story)


def test_malformed_packets_leave_it_unharmed(world: World) -> None:
    asker = world.container()
    dice = random.Random(20)

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))

        def junk() -> bytes:
            wire = bytearray(dns.message.make_query("asker", "A", use_edns=0).to_wire())
            for _ in range(dice.randrange(1, 6)):
                wire[dice.randrange(len(wire))] = dice.randrange(256)
            return bytes(wire[: dice.randrange(len(wire) + 1)])

        def fuzz() -> None:
            with asker.connected(tcp=False) as sock:
                for i in range(3000):
                    sock.send(junk() if i % 3 else dice.randbytes(dice.randrange(600)))
            for i in range(100):
                with asker.connected(tcp=True) as sock:
                    wire = junk()
                    sock.sendall(struct.pack("!H", dice.choice((len(wire), 0, 65535))) + wire)
                    if i % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert asker.both("asker") == {"10.1.0.9"}

        await asyncio.to_thread(fuzz)
        assert client.pid == world.servers[0].pid
        assert world.servers[0].poll() is None

    world.run(story)


def test_it_outlives_the_daemon_and_a_new_one_takes_over(world: World) -> None:
    old, new, gone = (world.container() for _ in range(3))

    async def first(client: DnsClient) -> None:
        for i, container in enumerate((old, gone)):
            await serve(client, container)
            await client.endpoint_up(endpoint(container, "net", f"10.1.0.{i}", f"c{i}"))

    world.run(first)
    assert old.both("c1") == {"10.1.0.1"}, "served though no daemon is there"

    async def second(client: DnsClient) -> None:
        assert await client.serving() == {old.id, gone.id}
        configs = [ServeConfig(old.id), ServeConfig(new.id)]
        names = [endpoint(old, "net", "10.1.0.7", "renamed"), endpoint(new, "net", "10.1.0.8", "new")]
        assert await client.adopt(configs, names) == set()
        assert await client.serving() == {old.id, new.id}
        assert await asyncio.to_thread(old.both, "new") == {"10.1.0.8"}
        assert await asyncio.to_thread(new.both, "renamed") == {"10.1.0.7"}
        assert await asyncio.to_thread(old.both, "c1") == "SERVFAIL"

    world.run(second)
    assert len(world.servers) == 1


def test_a_half_told_description_is_never_seen(world: World) -> None:
    asker = world.container()

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.1", "asker"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as half:
            half.settimeout(PATIENCE_S)
            half.connect(str(world.control))
            for request in (control.Begin(1), control.Up(2, endpoint(asker, "net", "10.1.0.2", "asker"))):
                half.send(packets.encode(request))
                assert packets.decode_reply(half.recv(65536)).error is None
            assert await asyncio.to_thread(asker.both, "asker") == {"10.1.0.1"}
        assert await asyncio.to_thread(asker.both, "asker") == {"10.1.0.1"}
        assert await client.serving() == {asker.id}

    world.run(story)


def test_killed_it_is_revived_with_everything_it_knew(world: World) -> None:
    containers = [world.container() for _ in range(20)]

    async def story(client: DnsClient) -> None:
        for i, container in enumerate(containers):
            await serve(client, container)
            await client.endpoint_up(endpoint(container, "net", f"10.1.0.{i}", f"c{i}"))
        for _ in range(3):
            before = client.pid
            os.kill(before, signal.SIGKILL)
            # A change asked for in the middle of it is neither lost nor refused.
            await client.endpoint_up(endpoint(containers[0], "net", "10.1.0.99", "moved"))
            async with asyncio.timeout(PATIENCE_S):
                while await client.serving() != {container.id for container in containers}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert client.pid != before
            for i in (0, 7, 19):
                assert await asyncio.to_thread(containers[i].both, "c3") == {"10.1.0.3"}
                assert await asyncio.to_thread(containers[i].both, "moved") == {"10.1.0.99"}

    world.run(story)


def test_bad_requests_are_refused_and_change_nothing(world: World) -> None:
    asker = world.container()

    async def story(client: DnsClient) -> None:
        await serve(client, asker)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.1", "asker"))
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
        with pytest.raises(Refused):
            await client.serve(ServeConfig(asker.id), *files)
        for fd in files:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
            raw.settimeout(PATIENCE_S)
            raw.connect(str(world.control))
            for packet in (b"junk", packets.encode(control.Serve(1, ServeConfig("x"))), b"x" * 100_000):
                raw.send(packet)
                assert packets.decode_reply(raw.recv(65536)).error
        assert await asyncio.to_thread(asker.both, "asker") == {"10.1.0.1"}

    world.run(story)


def test_one_server_at_a_time_and_none_without_work(world: World) -> None:
    world.options = ("--idle", "0.2")

    async def story(client: DnsClient) -> None:
        await world.spawn()
        assert world.servers[1].wait(PATIENCE_S) == 0
        assert world.servers[0].poll() is None

    world.run(story)
    assert world.servers[0].wait(PATIENCE_S) == 0
    assert not world.control.exists()


def test_told_to_end_it_ends(world: World) -> None:
    async def story() -> None:
        client = world.client()
        await client.start()
        await client.quit()

    asyncio.run(story())
    assert world.servers[0].wait(PATIENCE_S) == 0


def test_three_hundred_containers(world: World) -> None:
    """Costs stay flat, memory small, every container is served."""
    containers = [world.container() for _ in range(300)]

    async def story(client: DnsClient) -> None:
        costs = []
        for i, container in enumerate(containers):
            sockets = container.sockets()
            clock = Pace(lambda: (os.getpid(), client.pid))
            await client.serve(ServeConfig(container.id), *sockets)
            await client.endpoint_up(
                endpoint(container, f"net{i % 3}", f"10.1.{i // 250}.{i % 250}", f"c{i}", container.id[-12:])
            )
            costs.append(clock.taken())
        assert statistics.median(costs[-50:]) < 5 * statistics.median(costs[:50])
        for i in range(0, 300, 7):
            other = (i + 3) % 300
            assert await asyncio.to_thread(containers[i].ask, f"c{other}") == {f"10.1.{other // 250}.{other % 250}"}
            assert await asyncio.to_thread(containers[i].ask, f"c{(i + 1) % 300}") == "SERVFAIL"
        memory = int(Path(f"/proc/{client.pid}/statm").read_text().split()[1]) * 4096
        assert memory < 22 << 20
        clock = Pace(lambda: (os.getpid(), client.pid))
        again = world.client()
        await again.start()
        names = [endpoint(c, f"net{i % 3}", f"10.9.0.{i % 250}", f"c{i}") for i, c in enumerate(containers)]
        await again.adopt([ServeConfig(c.id) for c in containers], names)
        assert clock.taken() < 2
        await again.close()
        assert await asyncio.to_thread(containers[5].ask, "c8") == {"10.9.0.8"}

    world.run(story)
