"""What the name server in a container says, bit by bit, on Berth and on dockerd alike."""

import socket
import struct
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from berth.kernel import netns
from tests.support.engines import Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]


class Asker:
    """Asks 127.0.0.11:53 from inside a container, and answers there as its upstream at 127.0.0.1:53."""

    def __init__(self, engine: Engine, name: str) -> None:
        pid = engine.docker("inspect", "-f", "{{.State.Pid}}", name).out.strip()
        self._space = f"/proc/{pid}/ns/net"
        self.asked: list[dns.message.Message] = []
        #: One in a container with an explicit ``ndots`` option.
        self.strict: Asker | None = None
        self._upstream = netns.inside(self._space, self._bind)
        threading.Thread(target=self._serve, daemon=True).start()

    def _bind(self) -> socket.socket:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 53))
        return sock

    def _serve(self) -> None:
        while True:
            wire, peer = self._upstream.recvfrom(4096)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            self.asked.append(query)
            reply = dns.message.make_response(query, recursion_available=True)
            name = query.question[0].name
            if name.to_text().startswith("missing"):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif name.to_text().startswith("broken"):
                reply.set_rcode(dns.rcode.SERVFAIL)
            else:
                reply.answer.append(dns.rrset.from_text(name, 7, "IN", "A", "192.0.2.9"))
            self._upstream.sendto(reply.to_wire(), peer)

    def ask(self, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
        how = dns.query.tcp if tcp else dns.query.udp
        return netns.inside(self._space, how, query, "127.0.0.11", timeout=30)

    def raw(self, packet: bytes, *, limit_s: float) -> bytes | None:
        def exchange() -> bytes | None:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.settimeout(limit_s)
                sock.sendto(packet, ("127.0.0.11", 53))
                try:
                    return sock.recv(4096)
                except TimeoutError:
                    return None

        return netns.inside(self._space, exchange)

    def close(self) -> None:
        def end() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", ("127.0.0.1", 53))

        netns.inside(self._space, end)


@pytest.fixture(scope="module", params=["berth", "dockerd"])
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    engine.docker("network", "create", "--subnet", "10.98.0.0/24", "dnswire")
    sleep = ("busybox", "sleep", "600")
    try:
        for name, last in (("web", 10), ("one", 21), ("two", 22)):
            more = ("--network-alias", "Pool") if last > 20 else ("--dns", "127.0.0.1", "--hostname", "webhost")
            address = ("--network", "dnswire", "--ip", f"10.98.0.{last}")
            engine.docker("run", "-d", "--name", f"dnswire-{name}", *address, *more, *sleep)
        strict = ("--network", "dnswire", "--dns", "127.0.0.1", "--dns-option", "ndots:1")
        engine.docker("run", "-d", "--name", "dnswire-strict", *strict, *sleep)
        made = Asker(engine, "dnswire-web")
        made.strict = Asker(engine, "dnswire-strict")
        yield made
        made.strict.close()
        made.close()
    finally:
        engine.docker("rm", "-f", "dnswire-web", "dnswire-one", "dnswire-two", "dnswire-strict", check=False)
        engine.docker("network", "rm", "dnswire", check=False)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("name", "kind", "answers"),
    [
        ("dnswire-one", "A", ["10.98.0.21"]),
        ("DNSWire-ONE", "A", ["10.98.0.21"]),
        ("dnswire-one.dnswire", "A", ["10.98.0.21"]),
        ("dnswire-web", "A", ["10.98.0.10"]),
        ("webhost", "A", ["10.98.0.10"]),
        ("pool", "A", ["10.98.0.21", "10.98.0.22"]),
        ("dnswire-one", "AAAA", []),
        ("dnswire-one", "MX", []),
        ("21.0.98.10.in-addr.arpa", "PTR", ["dnswire-one.dnswire."]),
    ],
)
def test_known_names(asker: Asker, name: str, kind: str, answers: list[str], *, tcp: bool) -> None:
    query = dns.message.make_query(name, kind)
    reply = asker.ask(query, tcp=tcp)
    assert reply.rcode() == dns.rcode.NOERROR
    assert dns.flags.to_text(reply.flags) == "QR RD RA"
    assert sorted(str(item) for rrset in reply.answer for item in rrset) == answers
    assert {rrset.ttl for rrset in reply.answer} <= {600}
    assert reply.question == query.question
    assert reply.authority == []


def test_known_names_are_never_sent_on(asker: Asker) -> None:
    before = len(asker.asked)
    for kind in ("A", "AAAA", "MX"):
        asker.ask(dns.message.make_query("dnswire-one", kind))
    assert len(asker.asked) == before


@pytest.mark.parametrize(
    ("name", "code", "answers"),
    [
        ("example.com", dns.rcode.NOERROR, ["192.0.2.9"]),
        ("missing.example.com", dns.rcode.NXDOMAIN, []),
        ("broken.example.com", dns.rcode.SERVFAIL, []),
        ("unknown", dns.rcode.NOERROR, ["192.0.2.9"]),
    ],
)
def test_unknown_names_are_sent_on_from_inside(
    asker: Asker, name: str, code: dns.rcode.Rcode, answers: list[str]
) -> None:
    reply = asker.ask(dns.message.make_query(name, "A"))
    assert reply.rcode() == code
    assert [str(item) for rrset in reply.answer for item in rrset] == answers


def test_with_ndots_names_without_a_dot_stay_inside(asker: Asker) -> None:
    strict = asker.strict
    assert strict is not None
    reply = strict.ask(dns.message.make_query("unknown", "A"))
    assert (reply.rcode(), reply.answer, strict.asked) == (dns.rcode.NOERROR, [], [])
    assert strict.ask(dns.message.make_query("dnswire-one", "A")).answer
    assert strict.ask(dns.message.make_query("with.dot", "A")).answer
    assert len(strict.asked) == 1


def test_edns_reaches_the_upstream(asker: Asker) -> None:
    asker.ask(dns.message.make_query("edns.example.com", "A", use_edns=0, payload=1432, want_dnssec=True))
    assert asker.asked[-1].payload == 1432
    assert asker.asked[-1].ednsflags & dns.flags.DO


HEADER = struct.Struct("!HHHHHH")
QUESTION = b"\x0bdnswire-one\0\0\1\0\1"


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (HEADER.pack(1, 0x0100, 0, 0, 0, 0), dns.rcode.FORMERR),
        (HEADER.pack(1, 0x0100, 2, 0, 0, 0) + 2 * QUESTION, dns.rcode.FORMERR),
        (HEADER.pack(1, 0x0100, 1, 0, 0, 0) + QUESTION[:5], dns.rcode.FORMERR),
        (HEADER.pack(1, 0x2900, 1, 0, 0, 0) + QUESTION, dns.rcode.NOTIMP),
        (HEADER.pack(1, 0x8100, 1, 0, 0, 0) + QUESTION, None),
        (b"\0\1\1", None),
    ],
    ids=["no question", "two questions", "cut", "update", "a reply", "no header"],
)
def test_unfit_packets(asker: Asker, packet: bytes, code: int | None) -> None:
    reply = asker.raw(packet, limit_s=1 if code is None else 30)
    if code is None:
        assert reply is None
    else:
        assert reply is not None
        assert reply[:2] == packet[:2]
        assert reply[3] & 0xF == code
