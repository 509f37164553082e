"""The name server and servers outside: the cache, the race, stale answers, truncation, forgery."""

import asyncio
import os
import random
import signal
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
import dns.rdataset
import dns.rrset
import pytest

from berth.kernel import netns
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import ServeConfig, Upstream
from tests.netns.test_dns import PATIENCE_S, Container, World, endpoint, serve, world
from tests.support.pace import Pace

__all__ = ["world"]
pytestmark = pytest.mark.root

Handler = Callable[[dns.message.Message, bool], list[bytes]]
#: The namespace of this test's own process, where the name server is.
HOST = SimpleNamespace(path="/proc/self/ns/net")


class Outside:
    """A server inside a container's namespace, at 127.0.0.1 or ::1: sends whatever packets `handler` gives."""

    def __init__(self, where: Container | SimpleNamespace, handler: Handler, address: str = "127.0.0.1") -> None:
        self.handler = handler
        self.asked: list[tuple[str, bool]] = []
        self._address = address
        self._sockets = netns.inside(where.path, self._bind)
        self.port = self._sockets[0].getsockname()[1]
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    @property
    def upstream(self) -> Upstream:
        return Upstream(self._address, port=self.port)

    @property
    def count(self) -> int:
        return len(self.asked)

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        while True:
            udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family)
            udp.bind((self._address, 0))
            try:
                tcp.bind((self._address, udp.getsockname()[1]))
            except OSError:
                continue
            tcp.listen()
            return udp, tcp

    def _take(self, wire: bytes, *, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        self.asked.append((query.question[0].name.to_text(omit_final_dot=True), tcp))
        return self.handler(query, tcp)

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, peer = self._sockets[0].recvfrom(4096)
            except OSError:
                return
            for packet in self._take(wire, tcp=False):
                self._sockets[0].sendto(packet, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._sockets[1].accept()
            except OSError:
                return
            with sock:
                size = struct.unpack("!H", sock.recv(2))[0]
                for packet in self._take(sock.recv(size), tcp=True):
                    sock.sendall(struct.pack("!H", len(packet)) + packet)

    def close(self) -> None:
        self._sockets[1].shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            sock.close()


def addresses(query: dns.message.Message, *texts: str, ttl: int = 60) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", *texts))
    return reply


def saying(*texts: str, ttl: int = 60, after_s: float = 0.0) -> Handler:
    def handle(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        if after_s:
            threading.Event().wait(after_s)  # a server that is slow
        return [addresses(query, *texts, ttl=ttl).to_wire()]

    return handle


def denying(ttl: int) -> Handler:
    def handle(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text("com.", 900, "IN", "SOA", f"a. b. 1 2 3 4 {ttl}"))
        return [reply.to_wire()]

    return handle


def silent(_query: dns.message.Message, _tcp: bool) -> list[bytes]:
    return []


@pytest.fixture
def outside() -> Iterator[Callable[..., Outside]]:
    made: list[Outside] = []

    def make(where: Container | SimpleNamespace, handler: Handler, address: str = "127.0.0.1") -> Outside:
        made.append(Outside(where, handler, address))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Outside]


def timed(client: DnsClient, asker: Container, name: str) -> tuple[set[str] | str, float]:
    """Return what the name server says, and the seconds it took, but for waits for a processor."""
    clock = Pace(lambda: (os.getpid(), client.pid))
    reply = asker.reply(name)
    took = clock.taken()
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode()), took
    return {str(item) for rrset in reply.answer for item in rrset}, took


def test_answers_are_kept_as_long_as_they_say(world: World, outside: Make) -> None:
    asker = world.container()
    there = outside(asker, saying("192.0.2.1"))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)

        def until_it_runs_out(name: str) -> list[int]:
            before, seen, end = there.count, list[int](), time.monotonic() + PATIENCE_S
            while there.count <= before + 1:
                assert time.monotonic() < end
                seen.append(asker.reply(name).answer[0].ttl)
            return seen[:-1]  # the last one is a new answer's

        def ask() -> None:
            for _ in range(50):
                assert asker.ask("example.com") == {"192.0.2.1"}
                assert asker.ask("EXAMPLE.com", tcp=True) == {"192.0.2.1"}
            assert there.count == 1
            there.handler = saying("192.0.2.1", ttl=2)
            names = (f"n{number}.example.com" for number in range(9))
            while set(seen := until_it_runs_out(next(names))) != {2, 1}:  # a busy machine asks too seldom to see both
                assert set(seen) <= {2, 1}
            assert seen == sorted(seen, reverse=True)
            there.handler = denying(60)
            assert asker.ask("missing.com") == asker.ask("missing.com") == "NXDOMAIN"
            assert [name for name, _ in there.asked].count("missing.com") == 1

        await asyncio.to_thread(ask)

    world.run(story)


def test_kept_answers_outlive_the_daemon_and_changes_of_names(world: World, outside: Make) -> None:
    asker = world.container()
    there = outside(asker, saying("192.0.2.1"))

    async def first(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))
        assert await asyncio.to_thread(asker.ask, "example.com") == {"192.0.2.1"}

    async def second(client: DnsClient) -> None:
        from berth.networks.dns.model import ServeConfig

        await client.adopt(
            [ServeConfig(asker.id, (there.upstream,))], [endpoint(asker, "net", "10.1.0.9", "asker", "new")]
        )
        assert await asyncio.to_thread(asker.ask, "new") == {"10.1.0.9"}
        assert await asyncio.to_thread(asker.ask, "example.com") == {"192.0.2.1"}

    world.run(first)
    world.run(second)
    assert there.count == 1


def test_a_name_that_comes_up_here_beats_a_kept_answer(world: World, outside: Make) -> None:
    asker = world.container()
    there = outside(asker, saying("192.0.2.1"))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))
        assert await asyncio.to_thread(asker.ask, "db.test") == {"192.0.2.1"}
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker", "db.test"))
        assert await asyncio.to_thread(asker.ask, "db.test") == {"10.1.0.9"}

    world.run(story)


def test_networks_do_not_see_each_others_kept_answers(world: World, outside: Make) -> None:
    """The server's address is 127.0.0.1 on the host: one server for all, yet nothing passes between networks."""
    one, two, three = (world.container() for _ in range(3))

    class Host(Container):
        def __init__(self) -> None:
            self.path = "/proc/self/ns/net"

    there = outside(Host(), saying("192.0.2.1"))
    upstream = Upstream("127.0.0.1", from_host=True, port=there.port)

    async def story(client: DnsClient) -> None:
        for i, (container, network) in enumerate(((one, "red"), (two, "red"), (three, "blue"))):
            await serve(client, container, upstream)
            await client.endpoint_up(endpoint(container, network, f"10.1.0.{i}", f"c{i}"))
        for container in (one, two):
            assert await asyncio.to_thread(container.ask, "example.com") == {"192.0.2.1"}
        assert there.count == 1
        assert await asyncio.to_thread(three.ask, "example.com") == {"192.0.2.1"}
        assert there.count == 2

    world.run(story)


def test_stale_answers_stand_in_while_nobody_answers(world: World, outside: Make) -> None:
    asker = world.container()
    there = outside(asker, saying("192.0.2.1", ttl=1))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)

        def ask() -> None:
            assert asker.ask("example.com") == {"192.0.2.1"}
            there.handler = silent
            end = time.monotonic() + PATIENCE_S
            while there.count == 1:  # until the answer ran out and is asked for again
                assert time.monotonic() < end
                reply, took = asker.reply("example.com"), 0.0
            assert reply.answer[0].ttl == 30
            answer, took = timed(client, asker, "example.com")
            assert answer == {"192.0.2.1"}
            assert took < 2.5
            there.handler = saying("192.0.2.7")
            end = time.monotonic() + PATIENCE_S
            while asker.ask("example.com") != {"192.0.2.7"}:
                assert time.monotonic() < end
                time.sleep(0.05)

        await asyncio.to_thread(ask)

    world.run(story)


def test_a_dead_first_server_costs_a_quarter_of_a_second_and_then_nothing(world: World, outside: Make) -> None:
    asker = world.container()
    dead, good = outside(asker, silent), outside(asker, saying("192.0.2.2"))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, dead.upstream, good.upstream)

        def ask() -> None:
            answer, took = timed(client, asker, "a.com")
            assert answer == {"192.0.2.2"}
            assert 0.2 < took < 0.9
            end = time.monotonic() + PATIENCE_S
            while timed(client, asker, f"{time.monotonic_ns()}.com")[1] > 0.1:
                assert time.monotonic() < end, "the dead one is still asked first"
            before = dead.count
            answers = [timed(client, asker, f"n{i}.com") for i in range(20)]
            assert all(answer == {"192.0.2.2"} for answer, _ in answers)
            assert statistics.median(took for _, took in answers) < 0.1
            assert dead.count - before <= 4, "tried beside the other once in a while only"
            dead.handler = saying("192.0.2.1")
            end = time.monotonic() + PATIENCE_S
            while timed(client, asker, f"{time.monotonic_ns()}.com")[0] != {"192.0.2.1"}:
                assert time.monotonic() < end, "its return is not noticed"
                time.sleep(0.02)

        await asyncio.to_thread(ask)

    world.run(story)


def test_that_a_name_does_not_exist_is_first_the_first_servers_word(world: World, outside: Make) -> None:
    """The first is slow and knows the company's names, the second is quick and does not."""
    asker = world.container()
    company, public = outside(asker, saying("10.9.9.9", after_s=0.6)), outside(asker, denying(60))

    async def story(client: DnsClient) -> None:
        await serve(client, asker, company.upstream, public.upstream)
        assert await asyncio.to_thread(asker.ask, "wiki.corp") == {"10.9.9.9"}
        assert public.count == 1
        company.handler = silent
        answer, took = await asyncio.to_thread(timed, client, asker, "missing.corp")
        assert answer == "NXDOMAIN"
        assert took < 2

    world.run(story)


def test_what_was_cut_comes_by_tcp(world: World, outside: Make) -> None:
    asker = world.container()
    many = [f"192.0.2.{i}" for i in range(100)]

    def handle(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = addresses(query, *many)
        if tcp:
            return [reply.to_wire()]
        cut = dns.message.make_response(query)
        cut.flags |= dns.flags.TC
        return [cut.to_wire()]

    there = outside(asker, handle)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)

        def ask() -> None:
            wide = dns.message.make_query("big.com", "A", use_edns=0, payload=4096)
            reply = asker.exchange(wide)
            assert not reply.flags & dns.flags.TC
            assert len(reply.answer[0]) == 100
            assert [tcp for _, tcp in there.asked] == [False, True]
            narrow = asker.reply("big.com")
            assert narrow.flags & dns.flags.TC
            assert asker.ask("big.com", tcp=True) == set(many)

        await asyncio.to_thread(ask)

    world.run(story)


def test_giant_answers_pass_and_do_not_fill_memory(world: World, outside: Make) -> None:
    asker = world.container()
    texts = dns.rdataset.from_text("IN", "TXT", 300, *[f'"{i:03}{"x" * 250}"' for i in range(220)])

    def handle(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_rdata_list(query.question[0].name, 300, list(texts)))
        if tcp:
            return [reply.to_wire()]
        cut = dns.message.make_response(query)
        cut.flags |= dns.flags.TC
        return [cut.to_wire()]

    there = outside(asker, handle)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)

        def memory() -> int:
            return int(Path(f"/proc/{client.pid}/statm").read_text().split()[1]) * 4096

        def ask() -> None:
            before = memory()
            for i in range(150):
                wide = dns.message.make_query(f"big{i}.com", "TXT", use_edns=0, payload=65000)
                for _ in range(2):
                    assert len(asker.exchange(wide).answer[0]) == 220
            assert len(asker.reply("big0.com", "TXT", tcp=True).answer[0]) == 220
            assert memory() - before < 8 << 20

        await asyncio.to_thread(ask)
        (line, *_) = await client.recent(asker.id)
        assert (line.type, line.code, line.records) == ("TXT", "NOERROR", ())

    world.run(story)


def test_forged_answers_are_not_believed(world: World, outside: Make) -> None:
    asker = world.container()
    liar = [b""]

    def handle(query: dns.message.Message, tcp: bool) -> list[bytes]:
        good = addresses(query, "192.0.2.1")
        if tcp:
            return [good.to_wire()]
        other = dns.message.make_query("other.com", "A", id=query.id)
        number = addresses(dns.message.make_query(query.question[0].name, "A", id=query.id ^ 1), "192.0.2.66").to_wire()
        lies = [
            number,
            addresses(other, "192.0.2.66").to_wire(),
            query.to_wire(),
            number[:11],
            b"",
            addresses(query, "192.0.2.66").to_wire()[:-9].replace(b"\x81\x80", b"\x01\x80"),
        ]
        return [*lies, good.to_wire()] if not liar[0] else lies * 3

    there = outside(asker, handle)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)
        assert await asyncio.to_thread(asker.ask, "example.com") == {"192.0.2.1"}
        liar[0] = b"!"
        assert await asyncio.to_thread(asker.ask, "example.org") == {"192.0.2.1"}, "many lies: asked by TCP"
        assert there.asked[-1] == ("example.org", True)

    world.run(story)


def test_an_upstream_by_ipv6(world: World, outside: Make) -> None:
    asker = world.container()
    there = outside(asker, saying("192.0.2.6"), "::1")

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)
        assert await asyncio.to_thread(asker.ask, "six.com") == {"192.0.2.6"}
        assert await asyncio.to_thread(lambda: asker.ask("seven.com", tcp=True)) == {"192.0.2.6"}

    world.run(story)


def test_an_upstream_on_a_link_of_the_hosts(world: World, outside: Make) -> None:
    asker = world.container()
    here = outside(HOST, saying("192.0.2.7"), "::1")
    index = socket.if_nametoindex("lo")
    links = [Upstream(f"::1%{link}", from_host=True, port=here.port) for link in ("gone0", "lo", str(index))]

    async def story(client: DnsClient) -> None:
        await serve(client, asker, *links[:2])
        assert await asyncio.to_thread(asker.ask, "six.com") == {"192.0.2.7"}
        await client.configure(ServeConfig(asker.id, (links[2],)))
        assert await asyncio.to_thread(asker.ask, "seven.com") == {"192.0.2.7"}

    world.run(story)


def test_junk_from_outside_harms_nobody(world: World, outside: Make) -> None:
    asker = world.container()
    dice = random.Random(7)

    def handle(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        wire = bytearray(addresses(query, *(f"192.0.2.{i}" for i in range(20))).to_wire())
        for _ in range(dice.randrange(1, 20)):
            wire[dice.randrange(30, len(wire))] = dice.randrange(256)
        return [bytes(wire[: dice.randrange(len(wire))]), bytes(wire)]

    there = outside(asker, handle)

    async def story(client: DnsClient) -> None:
        await serve(client, asker, there.upstream)
        await client.endpoint_up(endpoint(asker, "net", "10.1.0.9", "asker"))

        def ask() -> None:
            with asker.connected(tcp=False) as sock:
                for i in range(100):
                    sock.send(dns.message.make_query(f"n{i:03}.example", "A").to_wire())
                    sock.recv(65535)
                    sock.send(dns.message.make_query(f"n{i:03}.example", "A").to_wire())
                    sock.recv(65535)
            assert asker.ask("asker") == {"10.1.0.9"}

        await asyncio.to_thread(ask)
        assert world.servers[0].poll() is None

    world.run(story)


def test_killed_it_is_back_with_all_names_within_a_second(world: World) -> None:
    containers = [world.container() for _ in range(30)]

    async def story(client: DnsClient) -> None:
        for i, container in enumerate(containers):
            await serve(client, container)
            await client.endpoint_up(endpoint(container, "net", f"10.1.0.{i}", f"c{i}"))

        def back() -> float:
            begun, clock = time.monotonic(), Pace(lambda: (os.getpid(), client.pid))
            for i, container in enumerate(containers):
                wanted = {f"10.1.0.{(i + 1) % 30}"}
                while True:
                    assert time.monotonic() - begun < 30
                    try:
                        with container.connected(tcp=False) as sock:
                            sock.settimeout(0.05)
                            sock.send(dns.message.make_query(f"c{(i + 1) % 30}", "A").to_wire())
                            reply = dns.message.from_wire(sock.recv(512))
                    except OSError:
                        time.sleep(0.01)
                        continue
                    assert {str(item) for rrset in reply.answer for item in rrset} == wanted
                    break
            return clock.taken()

        for _ in range(3):
            os.kill(client.pid, signal.SIGKILL)
            assert await asyncio.to_thread(back) < 1

    world.run(story)
