"""The firewall as a user sees it: flushed and back, policies, who may use a port, and what is exposed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, running, wait_for
from tests.support.remote import Remote

pytestmark = pytest.mark.root

SERVE = "mkdir -p /www && echo welcome > /www/index.html && exec httpd -f -p 80 -h /www"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    with running(Berth("firewall", tmp_path_factory.mktemp("firewall")), busybox) as one:
        yield one


@pytest.fixture(scope="module")
def remote(engine: Berth) -> Iterator[Remote]:
    one = Remote(engine)
    yield one
    one.close(engine)


def serve(engine: Berth, name: str, *flags: str) -> None:
    engine.berth("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", SERVE)
    wait_for(
        lambda: engine.docker("exec", name, "wget", "-qO-", "http://127.0.0.1/", check=False).ok, "httpd to listen"
    )


def test_a_flush_is_mended_seen_and_told(engine: Berth, remote: Remote) -> None:
    serve(engine, "web", "-p", "8080:80")
    assert remote.fetch("http://203.0.113.1:8080/") == "welcome\n"
    assert engine.berth("firewall", "diff").out == ""
    engine.host("nft", "flush", "ruleset")
    wait_for(lambda: remote.fetch("http://203.0.113.1:8080/", limit_s=3) == "welcome\n", "the port to be back")
    told = engine.berth("firewall", "status").out
    assert "Put back:     1 times, last because nft (pid " in told
    assert "watched" in told
    assert json.loads(engine.berth("firewall", "status", "--format", "json").out)["Foreign"] == []
    assert "elements" in engine.berth("firewall", "reload").out
    engine.host("iptables-nft", "-P", "FORWARD", "DROP")
    wait_for(lambda: "let through by one rule" in engine.berth("firewall", "status").out, "the rule in FORWARD")
    engine.host("nft", "add", "table", "inet", "mine")
    chain = "{ type filter hook forward priority 0; policy drop; }"
    engine.host("nft", "add", "chain", "inet", "mine", "forward", chain)
    wait_for(lambda: "run: nft 'insert rule" in engine.docker("info").err, "the warning of info")
    engine.host("nft", "delete", "table", "inet", "mine")
    engine.host("iptables-nft", "-P", "FORWARD", "ACCEPT")


def test_a_policy_made_by_either_client(engine: Berth) -> None:
    engine.berth("network", "create", "--egress", "deny", "--allow", "203.0.113.0/24:80/tcp", "tight")
    engine.docker("network", "create", "-o", "berth.egress=deny", "-o", "berth.egress.allow=203.0.113.9", "tighter")
    assert "allow   203.0.113.0/24:80/tcp" in engine.berth("network", "policy", "tight").out
    engine.docker("run", "--rm", "--network", "tighter", "busybox", "ping", "-c1", "-w1", "203.0.113.2", check=False)
    assert "refused by egress policy" in engine.berth("network", "policy", "tighter").out
    done = engine.docker("network", "create", "-o", "berth.egress=maybe", "bad", check=False)
    assert "failed to parse berth.egress value: maybe" in done.err


def test_a_port_for_some_and_all_that_is_exposed(engine: Berth, remote: Remote) -> None:
    serve(engine, "some", "-p", "published=8081,target=80,from=203.0.113.2")
    serve(engine, "none", "-p", "published=8082,target=80,from=192.0.2.0/24")
    serve(engine, "inner", "-p", "127.0.0.1:8083:80")
    engine.berth("run", "-d", "--name", "onhost", "--network", "host", "busybox", "sh", "-c", "exec httpd -f -p 8089")
    assert remote.fetch("http://203.0.113.1:8081/") == "welcome\n"
    assert remote.fetch("http://203.0.113.1:8082/", limit_s=3) == ""
    assert "80/tcp -> 0.0.0.0:8081" in engine.berth("port", "some").out
    wait_for(lambda: "onhost" in engine.berth("port", "ls", "--exposed").out, "the listener on the host's network")
    rows = {row.split()[1]: row for row in engine.berth("port", "ls", "--exposed").out.splitlines()[1:]}
    assert "203.0.113.2/32" in rows["some"]
    assert "inner" not in rows
    assert "host" in rows["onhost"]
    assert "this machine" in engine.berth("port", "ls").out


#: Answers every question for an address with 203.0.113.2, alive for a minute.
NAMES = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("203.0.113.1", 53))
while True:
    q, peer = s.recvfrom(512)
    end = q.index(0, 12) + 5
    a = q[end - 4 : end - 2] == bytes((0, 1))
    answer = bytes.fromhex("c00c000100010000003c0004cb007102") if a else b""
    s.sendto(q[:2] + bytes((0x81, 0x80, 0, 1, 0, int(a), 0, 0, 0, 0)) + q[12:end] + answer, peer)
"""


class Asker:
    """A container on a network that lets out by names, a name server outside, and a web server names lead to."""

    def __init__(self, engine: Berth, name: str, *allow: str) -> None:
        self.engine, self.name = engine, name
        engine.berth("network", "create", "--egress", "deny", *(f"--allow={one}" for one in allow), f"net-{name}")
        flags = ("--name", name, "--network", f"net-{name}", "--dns", "203.0.113.1")
        engine.berth("run", "-d", *flags, "busybox", "sleep", "600")

    def ask(self, name: str) -> None:
        assert "203.0.113.2" in self.engine.docker("exec", self.name, "nslookup", name).out

    def reaches(self) -> bool:
        ask_for = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 203.0.113.2 80"
        return "200 OK" in self.engine.docker("exec", self.name, "sh", "-c", ask_for, check=False).out


@pytest.fixture
def outside(engine: Berth, remote: Remote) -> Iterator[None]:
    names = subprocess.Popen(engine.spaces.inside([sys.executable, "-c", NAMES]))
    web = subprocess.Popen(
        remote.spaces.inside([sys.executable, "-m", "http.server", "80", "--directory", "/usr/share/doc/bash"])
    )
    try:
        wait_for(lambda: ":53 " in engine.host("ss", "-lun").out, "the name server")
        wait_for(lambda: remote.spaces.run("ss", "-ltn").out.count(":80 "), "the web server")
        yield
    finally:
        for one in (names, web):
            one.kill()
            one.wait()


@pytest.mark.usefixtures("outside")
def test_a_name_opens_the_way_to_what_it_resolves_to(engine: Berth) -> None:
    one = Asker(engine, "asks", "dns:*.example.com:80")
    assert not one.reaches(), "nobody has asked for a name yet"
    one.ask("elsewhere.test")
    assert not one.reaches(), "a name that is not allowed resolves, and leads nowhere"
    one.ask("api.example.com")
    assert one.reaches()
    assert engine.berth("firewall", "diff").out == "", "what the name server adds is no difference"
    before = json.loads(engine.berth("firewall", "status", "--format", "json").out)["Restorations"]
    one.ask("other.example.com")
    told = json.loads(engine.berth("firewall", "status", "--format", "json").out)
    assert told["Restorations"] == before, "nor a reason to put anything back"
    engine.host("nft", "flush", "ruleset")
    wait_for(lambda: not one.reaches() and engine.berth("firewall", "diff").out == "", "the policy to be back")
    one.ask("api.example.com")
    assert one.reaches(), "open again at the next question, though the answer was kept"


@pytest.mark.usefixtures("outside")
def test_allowed_names_change_while_containers_run(engine: Berth) -> None:
    one = Asker(engine, "moves", "192.0.2.1")
    one.ask("api.example.com")
    assert not one.reaches()
    (shown,) = json.loads(engine.berth("network", "inspect", "-v", "net-moves").out)
    blocked = shown["Berth"]["Drops"]["egress"]["packets"]
    assert blocked >= 1, "what was refused is counted"
    assert (shown["Berth"]["Egress"], shown["Berth"]["Allow"]) == ("deny", ["192.0.2.1"])
    assert "what they begin is let out to 192.0.2.1 only (egress deny)" in shown["Berth"]["Policy"]
    engine.berth("network", "update", "--allow", "dns:*.example.com:80", "net-moves")
    assert not one.reaches(), "a name opens nothing before it is asked for"
    one.ask("api.example.com")
    assert one.reaches(), "though the answer was kept from before"
    engine.berth("network", "update", "--allow", "dns:*.example.com:80,dns:www.elsewhere.test:80", "net-moves")
    assert one.reaches(), "one more name closes nothing"
    engine.berth("network", "update", "--allow", "dns:www.elsewhere.test:80", "net-moves")
    assert not one.reaches(), "the name that opened the way is allowed no more"
    one.ask("api.example.com")
    assert not one.reaches()
    one.ask("www.elsewhere.test")
    assert one.reaches()
    assert engine.berth("firewall", "diff").out == ""
    (shown,) = json.loads(engine.berth("network", "inspect", "-v", "net-moves").out)
    assert shown["Berth"]["Drops"]["egress"]["packets"] >= 1


def test_a_clean_end_with_nothing_running_leaves_no_table(own_berth: Berth) -> None:
    """The watch hears of the removal of the owner's chains too, and is not to put them back."""
    for _ in range(3):
        assert "inet berth" in own_berth.host("nft", "list", "tables").out
        own_berth.docker("network", "create", "brief")
        own_berth.docker("network", "rm", "brief")
        own_berth.stop()
        assert own_berth.host("nft", "list", "tables").out == ""
        own_berth.start()
