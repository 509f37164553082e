"""`berth dns`: a user asks why a name leads where it leads, watches who asks what, and sees a dead name server."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import dns.message
import dns.query
import dns.rrset
import pytest

from berth.kernel import netns
from tests.support.engines import Berth, wait_for
from tests.support.pace import Pace

pytestmark = pytest.mark.root


class Upstream:
    """A name server at 127.0.0.1:53 inside a container, its own upstream; may fall silent."""

    def __init__(self, engine: Berth, name: str) -> None:
        pid = engine.docker("inspect", "-f", "{{.State.Pid}}", name).out.strip()
        self.space = f"/proc/{pid}/ns/net"
        self.silent = False
        self._sock = netns.inside(self.space, self._bind)
        threading.Thread(target=self._serve, daemon=True).start()

    def _bind(self) -> socket.socket:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 53))
        return sock

    def _serve(self) -> None:
        while True:
            try:
                wire, peer = self._sock.recvfrom(4096)
            except OSError:
                return
            if self.silent:
                continue
            query = dns.message.from_wire(wire)
            reply = dns.message.make_response(query)
            name = query.question[0].name
            if name.to_text().startswith("missing"):
                reply.set_rcode(3)
            else:
                reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.9"))
            self._sock.sendto(reply.to_wire(), peer)


@pytest.fixture(scope="module")
def port(berth_engine: Berth) -> Iterator[Berth]:
    """Containers ``asker`` and ``web`` on network ``dnsfront``, ``hidden`` on ``dnsback``, ``plain`` on the bridge."""
    engine = berth_engine
    for network in ("dnsfront", "dnsback"):
        engine.docker("network", "create", network)
    run = ("run", "-d", "--name")
    sleep = ("busybox", "sleep", "600")
    alias = ("--network-alias", "www", "--network-alias", "*.app.test")
    more = ("--link", "web:site", "--dns", "127.0.0.1", "--dns-search", "corp.test")
    engine.docker(*run, "web", "--network", "dnsfront", *alias, *sleep)
    engine.docker(*run, "asker", "--network", "dnsfront", *more, *sleep)
    engine.docker(*run, "hidden", "--network", "dnsback", *sleep)
    engine.docker(*run, "plain", "--dns", "127.0.0.1", *sleep)
    yield engine
    engine.docker("rm", "-f", "web", "asker", "hidden", "plain", check=False)
    engine.docker("network", "rm", "dnsfront", "dnsback", check=False)


@pytest.fixture(scope="module")
def upstream(port: Berth) -> Upstream:
    return Upstream(port, "asker")


def asked(engine: Berth, name: str, *more: str) -> dict[str, object]:
    done = engine.berth("dns", "query", name, "--from", "asker", "--format", "json", *more, check=False)
    answer: dict[str, object] = json.loads(done.out)
    assert done.code == (0 if answer["Found"] else 1)
    return answer


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("web", "container web on network dnsfront"),
        ("WEB.dnsfront", "container web on network dnsfront"),
        ("www", "alias www of web on network dnsfront"),
        ("a.b.app.test", "wildcard alias *.app.test of web on network dnsfront"),
        ("site", "link to web (web) on network dnsfront"),
        ("example.com", "name server 127.0.0.1"),
    ],
)
def test_an_answer_is_explained(port: Berth, upstream: Upstream, name: str, why: str) -> None:
    done = port.berth("dns", "query", name, "--from", "asker")
    assert why in done.out
    assert "127.0.0.11" in done.out


def test_reverse_and_other_types(port: Berth, upstream: Upstream) -> None:
    address = port.docker(
        "inspect", "-f", '{{(index .NetworkSettings.Networks "dnsfront").IPAddress}}', "web"
    ).out.strip()  # fmt: skip
    assert "web.dnsfront." in port.berth("dns", "query", address, "--from", "asker").out
    nothing = port.berth("dns", "query", "web", "--type", "AAAA", "--from", "asker", "--no-search", check=False)
    assert nothing.code == 1
    assert "no AAAA record" in nothing.out


def test_a_second_question_is_answered_from_what_was_kept(port: Berth, upstream: Upstream) -> None:
    asked(port, "kept.example")
    said = asked(port, "kept.example")["Tries"][-1]["Said"]  # type: ignore[index]
    assert (said["By"], said["Upstream"]) == ("cache", "127.0.0.1")


def test_the_search_domain_is_shown_on_its_way(port: Berth, upstream: Upstream) -> None:
    answer = asked(port, "missing.x")
    tried = [(one["Name"], one["Code"]) for one in answer["Tries"]]  # type: ignore[attr-defined]
    assert tried == [("missing.x", "NXDOMAIN"), ("missing.x.corp.test", "NXDOMAIN")]


def test_a_name_of_another_network_comes_with_the_command_that_helps(port: Berth, upstream: Upstream) -> None:
    missing = port.berth("dns", "query", "hidden", "--from", "plain", check=False)
    assert "only networks of your own have it" in missing.out
    upstream.silent = True
    try:
        done = port.berth("dns", "query", "hidden", "--from", "asker", "--no-search", check=False)
    finally:
        upstream.silent = False
    assert done.code == 1
    assert "berth network connect dnsback asker" in done.out


def test_the_log_follows_and_tells_who_asked(port: Berth, upstream: Upstream) -> None:
    argv = [port.argv()[0].replace("berthd", "berth"), "dns", "log", "-f", "--from", "asker", "--tail", "0"]
    following = subprocess.Popen(
        [*argv, "--format", "json"], stdout=subprocess.PIPE, text=True, env=port.environment
    )  # fmt: skip
    try:
        assert following.stdout is not None
        found: list[dict[str, object]] = []
        reader = threading.Thread(target=lambda: found.extend(map(json.loads, following.stdout or ())))
        reader.start()

        def seen() -> bool:
            port.docker("exec", "asker", "nslookup", "-type=a", "web", check=False)
            return any(line["Name"] == "web" and line["By"] == "name" for line in found)

        wait_for(seen, "the query in the log")
        assert {line["From"] for line in found} == {"asker"}
    finally:
        following.kill()
        following.wait()
        reader.join()
    text = port.berth("dns", "log", "--from", "asker", "--tail", "20").out
    assert 1 < len(text.splitlines()) <= 20
    assert " asker A web → A " in text


def test_a_dead_name_server_is_seen_and_told_once(port: Berth, upstream: Upstream) -> None:
    upstream.silent = True

    def ask(number: int) -> None:
        port.berth("dns", "query", f"dead{number}.example", "--from", "asker", "--no-search", check=False)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for one in askers:
        one.start()
    for one in askers:
        one.join()

    def stats() -> dict[str, object]:
        return json.loads(port.berth("dns", "stats", "--format", "json").out)  # type: ignore[no-any-return]

    (server,) = [one for one in stats()["Upstreams"] if one["Asked"]]  # type: ignore[attr-defined]
    assert (server["Address"], server["State"], server["Problem"]) == ("127.0.0.1", "dead", "no reply")
    wait_for(lambda: "does not answer" in port.log.read_text(), "the warning")
    events = ("events", "--since", "10m", "--until", "0s", "--filter", "type=daemon")
    wait_for(lambda: "name-server-down" in port.docker(*events).out, "the event")
    assert port.log.read_text().count("name server 127.0.0.1 does not answer") == 1
    upstream.silent = False
    port.berth("dns", "query", "back.example", "--from", "asker")
    wait_for(lambda: "name-server-up" in port.docker(*events).out, "the event of its return")
    row = next(one for one in stats()["Networks"] if one["Name"] == "dnsfront")  # type: ignore[attr-defined]
    assert row["Names"] > 0
    assert row["Cached"] > 0
    assert row["Forwarded"] > 0
    assert row["Failed"] >= 2
    assert "dnsfront" in port.berth("dns", "stats").out


def test_bad_questions(port: Berth) -> None:
    for argv, said in (
        (("query", "web"), "--from is required"),
        (("query", "web", "--from", "nobody"), "No such container: nobody"),
        (("query", "web", "--from", "asker", "--type", "BLA"), "unknown record type"),
        (("query", "a..b", "--from", "asker"), "a label of 0 bytes"),
        (("log", "--tail", "x"), "invalid --tail"),
    ):
        done = port.berth("dns", *argv, check=False)
        assert done.code != 0
        assert said in done.err, argv


def test_names_come_back_within_a_second_of_the_name_servers_death(port: Berth, upstream: Upstream) -> None:
    """With the daemon there; the containers' sockets are made anew."""
    for _ in range(3):
        victim = next(pid for pid, line in port.processes() if "berth.networks.dns.server" in line)
        clock = Pace(lambda: [os.getpid(), *(pid for pid, _ in port.processes())])
        os.kill(victim, signal.SIGKILL)
        _wait_until_answered(upstream.space)
        assert clock.taken() < 1
    assert "container web on network dnsfront" in port.berth("dns", "query", "web", "--from", "asker").out


def _wait_until_answered(space: str) -> None:
    def ask() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.05)
            sock.connect(("127.0.0.11", 53))
            sock.send(dns.message.make_query("web", "A").to_wire())
            return bool(dns.message.from_wire(sock.recv(512)).answer)

    def answered() -> bool:
        try:
            return netns.inside(space, ask)
        except OSError:
            return False

    wait_for(answered, "an answer")


def test_kept_answers_and_names_outlive_the_daemons_death(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("network", "create", "front")
    run = ("run", "-d", "--network", "front", "--dns", "127.0.0.1", "--name")
    engine.docker(*run, "asker", "busybox", "sleep", "600")
    engine.docker(*run, "web", "busybox", "sleep", "600")
    outside = Upstream(engine, "asker")

    def by(name: str) -> str:
        done = engine.berth("dns", "query", name, "--from", "asker", "--format", "json")
        return json.loads(done.out)["Tries"][-1]["Said"]["By"]  # type: ignore[no-any-return]

    assert by("warm.example") == "upstream"
    engine.kill9()
    query = dns.message.make_query("warm.example", "A")
    for name in ("warm.example", "web"):
        query = dns.message.make_query(name, "A")
        reply = netns.inside(outside.space, lambda query=query: dns.query.udp(query, "127.0.0.11", timeout=30))  # type: ignore[misc]
        assert reply.answer, name
    engine.start()
    assert (by("warm.example"), by("web")) == ("cache", "name")
    engine.docker("rm", "-f", "asker", "web")
    engine.docker("network", "rm", "front")
