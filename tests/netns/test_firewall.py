"""The engine's rules in a real kernel: taken away by others they come back; others' forward chains do not stop us."""

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from berth.kernel import netns, nft
from berth.networks.firewall import userchains
from berth.networks.firewall.ruleset import PASS_MARK
from tests.netns.test_networks import PATIENCE_S, World, misses, neighbour, published, serve
from tests.netns.test_networks import ask as fetch
from tests.netns.throwaway import isolated
from tests.support.pace import Pace

pytestmark = pytest.mark.root

#: Seconds within which rules must be back.
BACK_S = 1.0


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def users(world: World) -> str:
    return userchains.table_of(world.layout.nft_table)


def load(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], check=True, input=rules, text=True)


async def until(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def watched(world: World) -> AsyncIterator[None]:
    """The watcher of the rules, at work."""
    watcher = asyncio.ensure_future(world.service.firewall.watch())
    try:
        await until(lambda: world.service.firewall.is_watching)
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def restored(world: World, times: int) -> float:
    """Wait until the rules were put back so often; return the seconds it took, but for waits for a processor."""
    began, clock = time.monotonic(), Pace(lambda: (os.getpid(),))
    while world.service.firewall.restorations < times:
        assert time.monotonic() - began < 60, "the rules did not come back"
        await asyncio.sleep(0.005)
    return clock.taken()


class Talk:
    """A connection through a published port that never rests."""

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self.socket = netns.inside(namespace, socket.socket)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((address, port))
        self.rounds, self._over, self.broken = 0, False, ""
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        while not self._over:
            try:
                self.socket.sendall(b"ping")
                self.rounds += self.socket.recv(4) == b"ping"
            except OSError as exc:
                self.broken = repr(exc)
                return

    def end(self) -> None:
        self._over = True
        self._thread.join(PATIENCE_S)
        self.socket.close()


def echo(namespace: str, port: int) -> None:
    listener = netns.inside(namespace, socket.socket)
    listener.bind(("0.0.0.0", port))
    listener.listen()

    def loop() -> None:
        peer, _ = listener.accept()
        while data := peer.recv(4096):
            peer.sendall(data)

    threading.Thread(target=loop, daemon=True).start()


@isolated
async def test_after_a_flush_everything_is_back_within_a_second_and_nothing_is_cut_off(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    remote = neighbour(tmp_path)
    bindings = published("8080") | {"90/tcp": published("9090")["80/tcp"]}
    one = await world.container("one", "red", port_bindings=bindings)
    echo(one.namespace, 90)
    stream = await asyncio.to_thread(Talk, remote, "203.0.113.1", 9090)
    async with watched(world):
        for number, loss in enumerate(
            (
                ("nft", "flush", "ruleset"),
                ("nft", "delete", "table", "inet", world.layout.nft_table),
                ("nft", "delete", "element", "inet", world.layout.nft_table, "ports_any", "{ tcp . 8080 }"),
                ("nft", "flush", "chain", "inet", world.layout.nft_table, "forward"),
                ("nft", "insert", "rule", "inet", world.layout.nft_table, "forward", "drop"),
            ),
            1,
        ):
            await asyncio.to_thread(run, *loss)
            assert await restored(world, number) < BACK_S
            assert await world.service.firewall.differences() == []
            assert await asyncio.to_thread(fetch, "203.0.113.1", 8080, remote) == "one 203.0.113.2", loss
            assert await asyncio.to_thread(misses, one.address("red"), 80, remote)
            so_far = stream.rounds
            while stream.rounds < so_far + 10:
                assert not stream.broken, f"{loss}: {stream.broken}"
                await asyncio.sleep(0.01)
        assert world.service.firewall.last_reason.startswith("nft (pid ")
    stream.end()


@isolated
async def test_own_changes_are_no_reason_to_put_anything_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    async with watched(world):
        await world.network("red")
        one = await world.container("one", "red", port_bindings=published("8080"))
        await one.close()
        await world.service.remove("red")
        await asyncio.to_thread(run, "nft", "add", "table", "ip", "others")
        await until(lambda: world.service.firewall._looked > 0)
        assert world.service.firewall.restorations == 0
        # the partner: it would have been told
        await asyncio.to_thread(run, "nft", "delete", "table", "inet", world.layout.nft_table)
        await restored(world, 1)


@isolated
async def test_a_start_in_the_moment_of_a_flush_succeeds(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    run("nft", "flush", "ruleset")  # and nobody watches: the next change itself must notice
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "bridge")
    assert fetch("127.0.0.1", 8080).startswith("one ")
    assert two.misses(one.address("red"))
    assert await world.service.firewall.differences() == []


@isolated
async def test_the_difference_is_told_in_words(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.container("one", "bridge", port_bindings=published("8080"))
    assert await world.service.firewall.differences() == []
    run("nft", "delete", "element", "inet", world.layout.nft_table, "ports_any", "{ tcp . 8080 }")
    run("nft", "insert", "rule", "inet", world.layout.nft_table, "forward", "ip", "saddr", "192.0.2.1", "drop")
    found = {(one.kind, one.where, one.text.split(" : ")[0]) for one in await world.service.firewall.differences()}
    assert found == {
        ("missing", "map ports_any", "tcp . 8080"),
        ("foreign", "chain forward", "ip saddr 192.0.2.1 drop"),
    }
    assert await world.service.firewall.reload() > 0
    assert await world.service.firewall.differences() == []


@isolated
async def test_the_owners_rules_survive_and_come_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    one = await world.container("one", "bridge", port_bindings=published("8080"))
    assert fetch("203.0.113.1", 8080, remote).startswith("one ")
    run(
        "nft",
        "add",
        "rule",
        "inet",
        users(world),
        "user-publish",
        "ip",
        "saddr",
        "203.0.113.2",
        "tcp",
        "dport",
        "8080",
        "drop",
    )
    assert misses("203.0.113.1", 8080, remote)
    rules = nft.run_once(f"list table inet {users(world)}")
    await world.fresh().adopt({one.id})
    await world.service.firewall.reload()
    assert nft.run_once(f"list table inet {users(world)}") == rules
    await one.close()
    world.service.dissolve()
    assert nft.run_once(f"list table inet {users(world)}") == rules, "rules of the owner's are never removed"
    run("nft", "flush", "chain", "inet", users(world), "user-publish")
    await world.fresh().adopt(set())
    world.service.dissolve()
    assert "berth" not in nft.run_once("add table inet t; delete table inet t"), "empty, it goes"


@isolated
async def test_drops_are_counted_by_network(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("inner", internal=True)
    remote = neighbour(tmp_path)
    one = await world.container("one", "red")
    three = await world.container("three", "inner")
    before = world.service.firewall.counters()
    assert before[world.service.get("red").bridge]["unpublished"].packets == 0
    assert misses(one.address("red"), 80, remote)
    assert three.misses("203.0.113.2", 90)
    drops = (await world.service.firewall.status())["Drops"]
    assert drops["red"]["unpublished"]["packets"] >= 1
    assert drops["red"]["unpublished"]["bytes"] >= 40
    assert drops["bridge"]["unpublished"]["packets"] == 0


UFW = """
*filter
:FORWARD DROP [0:0]
:ufw{6}-before-forward - [0:0]
:ufw{6}-user-forward - [0:0]
:ufw{6}-reject-forward - [0:0]
-A FORWARD -j ufw{6}-before-forward
-A FORWARD -j ufw{6}-reject-forward
-A ufw{6}-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw{6}-before-forward -j ufw{6}-user-forward
-A ufw{6}-reject-forward -j REJECT
COMMIT
"""
PLAIN = """
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""
DOCKER = """
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A DOCKER-USER -j RETURN
COMMIT
"""


def xtables(version: int, rules: str) -> None:
    program = "iptables-nft-restore" if version == 4 else "ip6tables-nft-restore"
    subprocess.run([program], check=True, input=rules.replace("{6}", "6" if version == 6 else ""), text=True)


def saved(version: int) -> list[str]:
    return run("iptables-nft" if version == 4 else "ip6tables-nft", "-S").splitlines()


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        (DOCKER, ("DOCKER-USER", "DOCKER-USER")),
        (UFW, ("ufw-user-forward", "ufw6-user-forward")),
        (PLAIN, ("FORWARD", "FORWARD")),
    ],
    ids=["docker", "ufw", "plain"],
)
@isolated
async def test_a_policy_of_drop_stops_nothing_of_ours(tmp_path: Path, rules: str, place: tuple[str, str]) -> None:
    xtables(4, rules)
    xtables(6, rules)
    theirs = saved(4), saved(6)
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    remote = neighbour(tmp_path)
    six(remote)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    serve(lambda: netns.inside(remote, socket.socket, socket.AF_INET6), "remote6", 90)
    one = await world.container("one", "red", port_bindings=published("8080"))
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    assert one.ask("2001:db8::2", 90) == "remote6 2001:db8::1"
    assert fetch("203.0.113.1", 8080, remote) == "one 203.0.113.2"
    assert misses(one.address("red"), 80, remote)
    for version, name, before in ((4, place[0], theirs[0]), (6, place[1], theirs[1])):
        bit = f"{PASS_MARK:#x}"
        comment = f"berth{world.layout.instance}: accepted by its own table"
        rule = f'-A {name} -m mark --mark {bit}/{bit} -m comment --comment "{comment}" -j ACCEPT'
        now = saved(version)
        assert rule in now
        assert [line for line in now if line != rule] == before, "nothing else of theirs has changed"
    for number in range(3):
        await world.network(f"more{number}")
    assert len(saved(4)) == len(theirs[0]) + 1, "one rule, however many networks"
    await one.close()
    world.service.dissolve()
    assert (saved(4), saved(6)) == theirs


def six(remote: str) -> None:
    run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "cable0", "nodad")
    netns.inside(remote, Path("/proc/sys/net/ipv6/conf/cable1/disable_ipv6").write_text, "0")
    netns.inside(remote, run, "ip", "-6", "address", "add", "2001:db8::2/64", "dev", "cable1", "nodad")
    netns.inside(remote, run, "ip", "-6", "route", "add", "default", "via", "2001:db8::1")


@isolated
async def test_a_tool_that_reloads_takes_our_rule_and_gets_it_again(tmp_path: Path) -> None:
    xtables(4, UFW)
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "bridge")
    async with watched(world):
        await asyncio.to_thread(run, "iptables-nft", "-F", "ufw-user-forward")
        clock = Pace(lambda: (os.getpid(),))
        while not any("accepted by its own table" in line for line in await asyncio.to_thread(saved, 4)):
            assert clock.taken() < 2 * BACK_S
            await asyncio.sleep(0.02)
        assert await asyncio.to_thread(one.ask, "203.0.113.2", 90) == "remote 203.0.113.1"


NATIVE = """
table inet filter {
	chain forward { type filter hook forward priority filter; policy drop; ct state established,related accept; }
}
"""
#: The shape of firewalld 1.3 with an interface in no zone: the default zone, public, forwards nothing.
FIREWALLD = """
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		jump filter_FORWARD_ZONES
		ct state invalid drop
		reject with icmpx type admin-prohibited
	}
	chain filter_FORWARD_ZONES {
		iifname "trusted0" accept
	}
}
"""
#: The shape of libvirt 10's own table: it drops only what concerns its bridges.
LIBVIRT = """
table ip libvirt_network {
	chain forward {
		type filter hook forward priority filter; policy accept;
		iif "lo" accept
		iifname "virbr0" counter reject
		oifname "virbr0" counter reject
	}
}
"""


@pytest.mark.parametrize(
    ("rules", "tool"), [(NATIVE, "nft "), (FIREWALLD, "firewall-cmd ")], ids=["nftables", "firewalld"]
)
@isolated
async def test_where_no_place_is_left_the_command_is_told(tmp_path: Path, rules: str, tool: str) -> None:
    load(rules)
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "bridge")
    assert one.ask("203.0.113.2", 90) != "remote 203.0.113.1"
    [told] = (await world.service.firewall.status())["Foreign"]
    assert told["Place"] == ""
    assert told["Command"].startswith(tool)
    assert world.service.firewall.warnings() == [
        f"WARNING: chain {told['Chain']} ({told['Drops']}) stops containers' traffic; run: {told['Command']}"
    ]
    if tool == "nft ":
        run("sh", "-c", told["Command"])
        assert world.service.firewall.passage.verdicts[0].chain.policy == "drop"
    else:  # what the command makes of the zones
        run(
            "nft",
            "add",
            "rule",
            "inet",
            "firewalld",
            "filter_FORWARD_ZONES",
            "iifname",
            world.layout.default_bridge,
            "accept",
        )
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"


@isolated
async def test_libvirts_rules_are_none_of_our_business(tmp_path: Path) -> None:
    load(LIBVIRT)
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "bridge")
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    assert (await world.service.firewall.status())["Foreign"] == []


@pytest.mark.parametrize(("program", "family"), [("iptables-legacy", "ip"), ("ip6tables-legacy", "ip6")])
@isolated
async def test_a_policy_of_the_old_iptables_is_seen(tmp_path: Path, program: str, family: str) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    assert world.service.firewall.warnings() == []
    run(program, "-P", "FORWARD", "DROP")
    run(program, "-A", "FORWARD", "-i", "eth7", "-j", "ACCEPT")
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one = await world.container("one", "bridge")
    [told] = (await world.service.firewall.status())["Foreign"]
    assert told["Chain"] == f"{family} filter FORWARD"
    run("sh", "-c", told["Command"])
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    assert (await world.service.firewall.status())["Foreign"] == []
    run(program, "-P", "FORWARD", "ACCEPT")
    run(program, "-F", "FORWARD")
    run(program, "-P", "FORWARD", "DROP")
    assert len((await world.service.firewall.status())["Foreign"]) == 1


@isolated
async def test_the_mark_does_not_leave_the_machine_nor_open_dockers_bridges(tmp_path: Path) -> None:
    xtables(4, DOCKER)
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    spy = f"meta mark & {PASS_MARK:#x} != 0 counter\n oifname cable0 counter\n"
    load(f"table ip spy {{ chain out {{ type filter hook postrouting priority mangle; {spy} }}; }}")

    one = await world.container("one", "bridge")
    dockers = str(tmp_path / "dockers")
    netns.create(dockers)
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "address", "add", "198.51.100.1/24", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    run("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
    run("ip", "link", "set", "d0", "master", "docker0", "up")
    run("ip", "link", "set", "d1", "netns", dockers)
    for words in ("address add 198.51.100.2/24 dev d1", "link set d1 up", "route add default via 198.51.100.1"):
        run("nsenter", f"--net={dockers}", "ip", *words.split())
    serve(lambda: netns.inside(dockers, socket.socket), "dockers", 80)
    assert fetch("198.51.100.2").startswith("dockers ")
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    counted = nft.run_once("list table ip spy")
    marked, leaving = (line for line in counted.splitlines() if "counter" in line)
    assert "packets 0 " in marked
    assert "packets 0 " not in leaving
    assert one.misses("198.51.100.2"), "what enters Docker's bridges is Docker's to say"


@isolated
async def test_a_network_reaches_only_what_its_policy_allows(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    six(remote)
    for port in (90, 91, 92):
        serve(lambda: netns.inside(remote, socket.socket), "remote", port)
        serve(lambda: netns.inside(remote, socket.socket, socket.AF_INET6), "remote6", port)
    serve(socket.socket, "host", 93)
    allow = "203.0.113.0/24:90/tcp, 203.0.113.2:91, [2001:db8::/32]:90"
    options = {"berth.egress": "deny", "berth.egress.allow": allow}
    await world.network("tight", options=options, enable_ipv6=True)
    await world.network("red")
    one = await world.container("one", "tight", port_bindings=published("8080"))
    two = await world.container("two", "tight")
    other = await world.container("other", "red", port_bindings=published("8081"))
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    assert one.ask("203.0.113.2", 91).startswith("remote ")
    assert one.ask("203.0.113.2", 92) == "EHOSTUNREACH", "refused at once, not left waiting"
    assert one.ask("2001:db8::2", 90).startswith("remote6 ")
    assert one.ask("2001:db8::2", 91) == "EACCES"
    assert one.ask(two.address("tight")).startswith("two "), "its own containers it reaches"
    assert one.ask("203.0.113.1", 93) == "EHOSTUNREACH", "the host is outside too"
    assert one.ask("203.0.113.1", 8081) == "EHOSTUNREACH", "and other networks' published ports"
    assert other.ask("203.0.113.2", 92).startswith("remote "), "others are free"
    assert fetch("203.0.113.1", 8080, remote).startswith("one "), "what is asked from outside is answered"
    told = await world.service.firewall.policy(world.service.get("tight"))
    assert told["Drops"]["egress"]["packets"] >= 4
    assert told["Egress"] == "deny"
    assert told["Allow"] == ["203.0.113.0/24:90/tcp", "203.0.113.2:91", "[2001:db8::/32]:90"]
    for each in (one, two, other):
        await each.close()
    await world.service.remove("tight")
    kept = nft.host().mirror.tables[f"inet {world.layout.nft_table}"].elements
    assert not any(kept[where] for where in ("guarded", "denied", "allowed4", "allowed6"))
    assert await world.service.firewall.differences() == []


MANY_FILES = """
import os, resource
from berth.kernel import nft
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
nft.low_files()
opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
assert opened[-1] > 1024
for _ in range(100):
    nft.run_once("add table inet t; delete table inet t")
    opened.append(os.open("/dev/null", os.O_RDONLY))
print("all done")
"""


def test_rules_are_made_by_an_engine_with_more_than_a_thousand_files() -> None:
    """A process of its own: libnftables ends the one that gives it a number from 1,024 on."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2048:
        pytest.skip("fewer than 2,048 files may be opened here")
    assert run("unshare", "--net", sys.executable, "-c", MANY_FILES) == "all done\n"
