"""`berth network trace` against seeded faults: each must be named, none on a path that is well.

One engine, a handful of containers; each case breaks one thing, asks, and puts it back.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.engines import Berth, import_busybox, wait_for
from tests.support.remote import Remote

pytestmark = pytest.mark.root

#: A server of datagrams that never answers, as many do.
DATAGRAMS = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 5353)); s.recv(1); s.recv(1)"
SERVE = (
    "mkdir -p /www; echo hello > /www/index.html; httpd -p 80 -h /www; httpd -p 127.0.0.1:5433 -h /www; exec sleep 9999"
)


class Lab:
    """An engine with networks, containers and another host."""

    def __init__(self, engine: Berth, remote: Remote) -> None:
        self.engine, self.remote = engine, remote
        for name, *flags in (
            ("front",), ("back",), ("inner", "--internal"), ("walled", "--egress", "deny", "--allow", "203.0.113.9"),
            ("quiet", "-o", "com.docker.network.bridge.enable_icc=false"),
        ):  # fmt: skip
            engine.berth("network", "create", *flags, name)
        self.run("web", "--network", "front")
        self.run("db", "--network", "front", command=SERVE)
        self.run("far", "--network", "back", command=SERVE)
        self.run("both", "--network", "front", command=SERVE)
        engine.berth("network", "connect", "--alias", "database", "back", "both")
        self.run("hidden", "--network", "inner", command=SERVE)
        self.run("shy1", "--network", "quiet", command=SERVE)
        self.run("shy2", "--network", "quiet", command=SERVE)
        self.run("inmate", "--network", "walled")
        self.run("alone", "--network", "none")
        self.run("plain", command=SERVE)
        self.run("plain2", "-p", "127.0.0.1:8081:80", "-p", "8082:80", "-p", "8083:81", command=SERVE)
        self.run("sleeper", "--network", "front", "-p", "8084:80", command=SERVE)
        self.run("gone", "--network", "front", "-p", "8085:80")
        engine.berth("kill", "gone")
        self.run("stale", "--network", "front", "--add-host", f"db:{self.address('db', last=250)}")
        self.run("lost", "--network", "front", "--dns", "203.0.113.77")
        self.datagrams = subprocess.Popen(
            engine.spaces.inside(["nsenter", f"--net={self.namespace('db')}", sys.executable, "-c", DATAGRAMS])
        )
        for name in ("db", "far", "both", "hidden", "shy2", "plain", "plain2", "sleeper"):
            self.until_listens(name, 5433)
        wait_for(lambda: ":14E9 " in self.inside("db", "cat", "/proc/net/udp"), "db to take datagrams")

    def run(self, name: str, *flags: str, command: str = "exec sleep 9999") -> None:
        self.engine.berth("run", "-d", "--cap-add", "NET_ADMIN", "--name", name, *flags, "busybox", "sh", "-c", command)

    def until_listens(self, name: str, port: int) -> None:
        wait_for(lambda: f":{port:04X} " in self.inside(name, "cat", "/proc/net/tcp"), f"{name} to listen")

    def address(self, name: str, network: str = "", *, last: int = 0) -> str:
        networks = self.engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["Networks"]
        found = networks[network] if network else next(iter(networks.values()))
        text: str = found["IPAddress"]
        return text.rpartition(".")[0] + f".{last}" if last else text

    def gateway(self, network: str) -> str:
        return str(self.engine.api("GET", f"/networks/{network}").body["IPAM"]["Config"][0]["Gateway"])

    def namespace(self, name: str) -> str:
        return str(self.engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["SandboxKey"])

    def inside(self, name: str, *argv: str) -> str:
        return self.engine.host("nsenter", f"--net={self.namespace(name)}", *argv).out

    def trace(self, source: str, target: str, proto: str = "") -> dict[str, Any]:
        flags = ("--proto", proto) if proto else ()
        done = self.engine.berth("network", "trace", source, target, *flags, "--format", "json", check=False)
        assert done.out, done.err
        answer: dict[str, Any] = json.loads(done.out)
        assert done.code == (0 if answer["Reached"] else 1)
        return answer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Lab]:
    engine = Berth("trace", tmp_path_factory.mktemp("trace"))
    try:
        engine.start()
        import_busybox(engine, busybox)
        remote = Remote(engine)
        try:
            made = Lab(engine, remote)
            try:
                yield made
            finally:
                made.datagrams.kill()
                made.datagrams.wait()
        finally:
            remote.close(engine)
    finally:
        engine.close()


Seed = Callable[[Lab], Callable[[], object] | None]


def commands(do: Callable[[Lab], object], undo: Callable[[Lab], object] | None = None) -> Seed:
    """A fault made by one command and taken back by another."""

    def seed(lab: Lab) -> Callable[[], object] | None:
        do(lab)
        return (lambda: undo(lab)) if undo else None

    return seed


def on_host(*argv: str) -> Callable[[Lab], object]:
    return lambda lab: lab.engine.host(*argv)


def nft(text: str) -> Callable[[Lab], object]:
    return lambda lab: lab.engine.host("nft", "-f", "-", feed=text)


def filter_inside(name: str, hook: str, rule: str) -> Seed:
    table = f"table inet x {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}"
    return commands(inside(name, "nft", table), inside(name, "nft", "delete table inet x"))


def inside(name: str, *argv: str) -> Callable[[Lab], object]:
    return lambda lab: lab.inside(name, *argv)


def engine(*argv: str) -> Callable[[Lab], object]:
    return lambda lab: lab.engine.berth(*argv)


def reconnect(name: str, network: str = "front") -> Callable[[Lab], object]:
    def again(lab: Lab) -> None:
        lab.engine.berth("network", "disconnect", network, name)
        lab.engine.berth("network", "connect", network, name)

    return again


class Case(NamedTuple):
    name: str
    source: str
    target: str
    fault: str
    #: Words of the cause and the mending commands.
    words: tuple[str, ...]
    seed: Seed | None = None
    proto: str = ""


HOLE = 1300

FAULTS = [
    Case("wrong network", "web", "far:80", "wrong-network",
         ("web is on front", "far is on back", "berth network connect back web")),
    Case("wrong network by address", "web", "{far}:80", "wrong-network", ("far is on back",)),
    Case("name typo", "web", "dbb:80", "name-typo", ("did you mean db", "berth network trace web db:80")),
    Case("name on another network only", "web", "database:80", "name-on-another-network",
         ("both on back", "berth network connect back web")),
    Case("no names on the default bridge", "plain", "plain2:80", "no-names-on-default", ("berth network create",)),
    Case("stale hosts entry", "stale", "db:80", "stale-hosts", ("/etc/hosts of stale", ".250", "{db}")),
    Case("dead upstream name server", "lost", "example.com:80", "dns-upstream-dead", ("203.0.113.77",)),
    Case("listens on loopback only", "web", "db:5433", "listener-loopback", ("127.0.0.1:5433/tcp", "0.0.0.0:5433")),
    Case("nothing listens", "db", "web:80", "nothing-listens", ("nothing listens on 80/tcp in web",)),
    Case("wrong port", "web", "db:8080", "wrong-port", ("it listens on 80/tcp", "berth network trace web db:80")),
    Case("tcp instead of udp", "web", "db:5353", "wrong-protocol", ("5353/udp", "--proto udp")),
    Case("udp instead of tcp", "web", "db:80", "wrong-protocol", ("80/tcp", "--proto tcp"), proto="udp"),
    Case("a user's drop rule on the host", "host", "db:80", "rule",
         ("tcp dport 80 drop", "ip mine out", "handle", "on the host", "nft delete rule ip mine out handle"),
         commands(nft("table ip mine { chain out { type filter hook output priority 0; tcp dport 80 drop; }; }"),
                  on_host("nft", "delete", "table", "ip", "mine"))),
    Case("a foreign chain's policy", "web", "203.0.113.2:81", "rule",
         ("chain ip mine through on the host", "policy drop", "nft insert rule ip mine through"),
         commands(nft("table ip mine { chain through { type filter hook forward priority 0; policy drop; }; }"),
                  on_host("nft", "delete", "table", "ip", "mine"))),
    Case("a rule for bridged packets", "web", "db:80", "rule", ("br", "handle", "nft delete rule"),
         commands(nft("table bridge mine { chain through { type filter hook forward priority 0; ip daddr != 1.1.1.1 "
                      "tcp dport 80 drop; }; }"), on_host("nft", "delete", "table", "bridge", "mine"))),
    Case("a rule of iptables", "host", "db:80", "rule", ("ip filter OUTPUT", "handle", "drop"),
         commands(on_host("iptables", "-I", "OUTPUT", "-p", "tcp", "--dport", "80", "-j", "DROP"),
                  on_host("iptables", "-D", "OUTPUT", "-p", "tcp", "--dport", "80", "-j", "DROP"))),
    Case("a drop rule inside the target", "web", "db:80", "rule", ("inside db", "nsenter --net=", "handle"),
         filter_inside("db", "input", "tcp dport 80 drop")),
    Case("a drop rule inside the source", "web", "db:80", "rule", ("inside web", "nsenter --net=", "handle"),
         filter_inside("web", "output", "tcp dport 80 drop")),
    Case("a rule that drops the answer", "web", "db:80", "rule", ("drops the answer", "inside db"),
         filter_inside("db", "output", "tcp sport 80 drop")),
    Case("a rule that rejects", "web", "db:80", "rule", ("reject", "inside db"),
         filter_inside("db", "input", "tcp dport 80 reject with tcp reset")),
    Case("the host's input firewall", "web", "host:9000", "rule", ("on the host", "input", "handle"),
         commands(nft("table inet fw { chain input { type filter hook input priority 0; tcp dport 9000 drop; }; }"),
                  on_host("nft", "delete", "table", "inet", "fw"))),
    Case("internal network", "hidden", "203.0.113.2:80", "internal", ("inner", "--internal=false")),
    Case("egress", "inmate", "203.0.113.2:80", "egress",
         ("network walled lets out only 203.0.113.9", "--egress deny --allow 203.0.113.9,203.0.113.2")),
    Case("icc=false", "shy1", "shy2:80", "icc", ("quiet", "berth network update quiet --icc=true")),
    Case("forwarding switched off", "web", "203.0.113.2:80", "forwarding-off", ("sysctl -w net.ipv4.ip_forward=1",),
         commands(on_host("sysctl", "-qw", "net.ipv4.ip_forward=0"),
                  on_host("sysctl", "-qw", "net.ipv4.ip_forward=1"))),
    Case("an MTU hole", "web", "203.0.113.2", "mtu-hole", (f"{HOLE} pass", "1500 bytes vanish"),
         commands(lambda lab: lab.remote.spaces.run("ip", "link", "set", "cable1", "mtu", str(HOLE)),
                  lambda lab: lab.remote.spaces.run("ip", "link", "set", "cable1", "mtu", "1500"))),
    Case("a container's link with a small MTU", "web", "db:80", "mtu-hole", ("eth0 of db has MTU 1280",),
         commands(inside("db", "ip", "link", "set", "eth0", "mtu", "1280"),
                  inside("db", "ip", "link", "set", "eth0", "mtu", "1500"))),
    Case("a default route that wins", "both", "203.0.113.2:80", "default-route-conflict", (".250", "default"),
         commands(lambda lab: lab.inside("both", "ip", "route", "replace", "default", "via",
                                         lab.gateway("front").rpartition(".")[0] + ".250"),
                  lambda lab: lab.inside("both", "ip", "route", "replace", "default", "via", lab.gateway("back")))),
    Case("a route that covers the network", "both", "db:80", "route-conflict", ("eth1", "ip route del"),
         commands(lambda lab: lab.inside("both", "ip", "route", "add", f"{lab.address('db')}/32", "dev", "eth1"),
                  lambda lab: lab.inside("both", "ip", "route", "del", f"{lab.address('db')}/32", "dev", "eth1"))),
    Case("no default route", "web", "203.0.113.2:80", "no-default-route", ("berth network connect front web",),
         commands(inside("web", "ip", "route", "del", "default"), reconnect("web"))),
    Case("link down", "web", "db:80", "link-down", ("eth0 of web", "berth network connect front web"),
         commands(inside("web", "ip", "link", "set", "eth0", "down"), reconnect("web"))),
    Case("address removed", "web", "db:80", "address-missing", ("has lost its address {web}",),
         commands(inside("web", "ip", "addr", "flush", "dev", "eth0"), reconnect("web"))),
    Case("address removed at the target", "web", "db:80", "address-missing", ("of db", "has lost its address {db}"),
         commands(inside("db", "ip", "addr", "flush", "dev", "eth0"), reconnect("db"))),
    Case("nobody has the address", "web", "{nobody}:80", "no-neighbour", ("nobody on eth0 answers for {nobody}",)),
    Case("network none", "alone", "db:80", "source-no-network", ("berth network disconnect none alone",)),
    Case("target on network none", "web", "alone:80", "target-no-network", ("network none",)),
    Case("published on loopback only", "web", "203.0.113.1:8081", "published-elsewhere", ("on 127.0.0.1 only",)),
    Case("published, nothing behind it", "host", "203.0.113.1:8083", "wrong-port", ("81/tcp", "-p 8083:80")),
    Case("published, container stopped", "host", "127.0.0.1:8085", "published-stopped", ("berth start gone",)),
    Case("target stopped", "web", "gone:80", "target-stopped", ("berth start gone",)),
    Case("source stopped", "gone", "db:80", "source-stopped", ("berth start gone",)),
    Case("target paused", "web", "sleeper:80", "target-paused", ("berth unpause sleeper",),
         commands(engine("pause", "sleeper"), engine("unpause", "sleeper"))),
    Case("source paused", "sleeper", "db:80", "source-paused", ("berth unpause sleeper",),
         commands(engine("pause", "sleeper"), engine("unpause", "sleeper"))),
]  # fmt: skip

#: Paths that are well, some of them odd.
HEALTHY = [
    Case("by name", "web", "db:80", "", ()),
    Case("by address", "web", "{db}:80", "", ()),
    Case("by id", "web", "{id:db}:80", "", ()),
    Case("echo", "web", "db", "", ()),
    Case("itself", "db", "127.0.0.1:5433", "", ()),
    Case("itself by name", "db", "db:80", "", ()),
    Case("from the host", "host", "db:80", "", ()),
    Case("a datagram", "web", "db:5353", "", (), proto="udp"),
    Case("published, from the host", "host", "127.0.0.1:8081", "", ()),
    Case("published, from another network", "web", "203.0.113.1:8082", "", ()),
    Case("published, by its own port", "plain2", "203.0.113.1:8082", "", ()),
    Case("default bridge by address", "plain", "{plain2}:80", "", ()),
    Case("on two networks", "both", "far:80", "", ()),
    Case("alias", "far", "database:80", "", ()),
    Case("the host's own address", "web", "host", "", ()),
    Case("outside", "web", "203.0.113.2", "", ()),
    Case("internal, within", "hidden", "hidden:80", "", ()),
    Case("with an accepting firewall", "web", "db:80", "", (),
         commands(nft("table inet fw { chain f { type filter hook forward priority 0; tcp dport 81 drop; }; }"),
                  on_host("nft", "delete", "table", "inet", "fw"))),
    Case("a hosts entry that works", "stale", "203.0.113.2", "", ()),
]  # fmt: skip


def filled(lab: Lab, text: str) -> str:
    """Put addresses and ids into a case's texts."""
    for name in ("web", "db", "far", "plain2"):
        text = text.replace(f"{{{name}}}", lab.address(name) if f"{{{name}}}" in text else "")
    if "{nobody}" in text:
        text = text.replace("{nobody}", lab.address("db", last=249))
    if "{id:db}" in text:
        text = text.replace("{id:db}", lab.engine.api("GET", "/containers/db/json").body["Id"][:7])
    return text


@contextlib.contextmanager
def seeded(lab: Lab, case: Case) -> Iterator[None]:
    undo = case.seed(lab) if case.seed else None
    try:
        yield
    finally:
        if undo:
            undo()


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_a_fault_is_named(lab: Lab, case: Case) -> None:
    words = [filled(lab, word) for word in case.words]
    target = filled(lab, case.target)
    with seeded(lab, case):
        answer = lab.trace(case.source, target, case.proto)
    assert (answer["Reached"], answer["Fault"]) == (False, case.fault), json.dumps(answer, indent=1)
    said = "\n".join((answer["Cause"], *answer["Mend"]))
    for word in words:
        assert word in said
    assert [step["Mark"] for step in answer["Steps"]].count("fail") == 1
    assert answer["Steps"][-1]["Mark"] == "fail"


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_path_that_is_well_is_not_blamed(lab: Lab, case: Case) -> None:
    with seeded(lab, case):
        answer = lab.trace(case.source, filled(lab, case.target), case.proto)
    assert (answer["Reached"], answer["Fault"]) == (True, ""), json.dumps(answer, indent=1)
    assert "fail" not in [step["Mark"] for step in answer["Steps"]]


def test_a_trace_leaves_nothing_behind(lab: Lab) -> None:
    before = lab.engine.host("nft", "list", "tables").out
    lab.trace("web", "db:80")
    lab.trace("web", "db:9")
    assert lab.engine.host("nft", "list", "tables").out == before
    assert "trace" not in lab.inside("web", "nft", "list", "tables")
    assert "trace" not in lab.inside("db", "nft", "list", "tables")


def test_wrong_questions_are_refused(lab: Lab) -> None:
    ask = lambda query: lab.engine.api("GET", f"/berth/networks/trace?{query}")  # noqa: E731
    assert ask("from=web").status == 400
    assert ask("from=nobody&to=db").status == 404
    assert ask("from=web&to=db:99999").status == 400
    assert ask("from=web&to=db&proto=tcp").message == "tcp needs a port: db:PORT"
    assert ask("from=web&to=db:80&proto=sctp").status == 400


def test_networks_are_shown_as_the_kernel_has_them(lab: Lab) -> None:
    listed = lab.engine.berth("network", "ls", "--subnet", "--containers", "--free").out.splitlines()
    assert listed[0].split()[-3:] == ["SUBNET", "CONTAINERS", "FREE"]
    front = next(line.split() for line in listed if line.split()[1] == "front")
    running = len(lab.engine.api("GET", "/networks/front").body["Containers"])
    assert front[-3:] == [lab.address("web", last=0).rpartition(".")[0] + ".0/24", str(running), str(253 - running)]
    rows = lab.engine.berth("network", "links", "--format", "{{.Container}} {{.Link}} {{.HostLink}} {{.Bridge}}").out
    here = {line.split()[0]: line.split() for line in rows.splitlines() if line.startswith("db ")}
    _, link, host_link, bridge = here["db"]
    number = lab.engine.host("ip", "-o", "link", "show", host_link).out.partition(":")[0]
    assert f" {link}@if{number}: " in lab.inside("db", "ip", "-o", "link", "show", link)
    assert f"master {bridge} " in lab.engine.host("ip", "-o", "link", "show", host_link).out


def test_inspect_tells_more_when_asked_to(lab: Lab) -> None:
    plain = json.loads(lab.engine.berth("network", "inspect", "front").out)[0]
    assert "Berth" not in plain
    more = json.loads(lab.engine.berth("network", "inspect", "--verbose", "front").out)[0]
    ours = more.pop("Berth")
    assert more == plain
    web = next(one for one in ours["Containers"] if one["Name"] == "web")
    assert {"Destination": "default", "Gateway": lab.gateway("front"), "Link": "eth0"} in web["Routes"]
    before = web["Counters"]["TxPackets"]
    assert lab.trace("web", "db")["Reached"]
    again = lab.engine.api("GET", "/berth/networks/front").body
    assert next(one for one in again["Containers"] if one["Name"] == "web")["Counters"]["TxPackets"] > before


def test_the_map_shows_everything_that_runs(lab: Lab, tmp_path: Path) -> None:
    drawn = lab.engine.berth("network", "map").out
    picture = tmp_path / "map.svg"
    lab.engine.berth("network", "map", "--svg", str(picture))
    for name in ("web", "db", "both", "hidden", "shy1", "plain2"):
        assert name in drawn
        assert name in picture.read_text()
    assert "127.0.0.1:8081->80/tcp" in drawn
