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
    wait_for(lambda: remote.fetch("http://203.0.113.1:8080/") == "welcome\n", "the port to be back")
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
    assert remote.fetch("http://203.0.113.1:8082/") == ""
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


def test_a_name_opens_the_way_to_what_it_resolves_to(engine: Berth, remote: Remote) -> None:
    names = subprocess.Popen(engine.spaces.inside([sys.executable, "-c", NAMES]))
    web = subprocess.Popen(
        remote.spaces.inside([sys.executable, "-m", "http.server", "80", "--directory", "/usr/share/doc/bash"])
    )
    try:
        wait_for(lambda: ":53 " in engine.host("ss", "-lun").out, "the name server")
        wait_for(lambda: remote.spaces.run("ss", "-ltn").out.count(":80 "), "the web server")
        engine.berth("network", "create", "--egress", "deny", "--allow", "dns:*.example.com:80", "named")
        engine.berth(
            "run", "-d", "--name", "asks", "--network", "named", "--dns", "203.0.113.1", "busybox", "sleep", "600"
        )

        def ask(name: str) -> None:
            assert "203.0.113.2" in engine.docker("exec", "asks", "nslookup", name).out

        def reaches() -> bool:
            ask_for = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 203.0.113.2 80"
            return "200 OK" in engine.docker("exec", "asks", "sh", "-c", ask_for, check=False).out

        assert not reaches(), "nobody has asked for a name yet"
        ask("elsewhere.test")
        assert not reaches(), "a name that is not allowed resolves, and leads nowhere"
        ask("api.example.com")
        assert reaches()
        assert engine.berth("firewall", "diff").out == "", "what the name server adds is no difference"
        before = json.loads(engine.berth("firewall", "status", "--format", "json").out)["Restorations"]
        ask("other.example.com")
        told = json.loads(engine.berth("firewall", "status", "--format", "json").out)
        assert told["Restorations"] == before, "nor a reason to put anything back"
        engine.host("nft", "flush", "ruleset")
        wait_for(lambda: not reaches() and engine.berth("firewall", "diff").out == "", "the policy to be back")
        ask("api.example.com")
        assert reaches(), "open again at the next question, though the answer was kept"
    finally:
        for one in (names, web):
            one.kill()
            one.wait()


def test_a_clean_end_with_nothing_running_leaves_no_table(own_berth: Berth) -> None:
    """The watch hears of the removal of the owner's chains too, and is not to put them back."""
    for _ in range(3):
        assert "inet berth" in own_berth.host("nft", "list", "tables").out
        own_berth.docker("network", "create", "brief")
        own_berth.docker("network", "rm", "brief")
        own_berth.stop()
        assert own_berth.host("nft", "list", "tables").out == ""
        own_berth.start()
