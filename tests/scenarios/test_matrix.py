"""Who reaches whom: every pair of places, by IPv4 and IPv6, over TCP, UDP and ICMP, proven by packets on both engines.

A place is a network namespace: the host, a remote host on a cable, or a container on one kind of network. A row reaches
the columns marked: `+` by all three protocols, `p` by ping only, `.` not at all, blank where there is nothing to ask
(an address the place has not). Nothing is published here; published ports are `test_ports`'.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.test_firewall import DOCKER, PLAIN, UFW
from tests.support.engines import Engine, wait_for
from tests.support.remote import Remote

pytestmark = [pytest.mark.root, pytest.mark.compat]

PROBER = Path(__file__).parents[1] / "support/prober.py"
PROTOCOLS = ("tcp", "udp", "icmp")
MODE = "com.docker.network.bridge.gateway_mode_ipv"

#   host     the host; the address asked is that of its cable     internal…  two containers, --internal
#   remote   the host at the other end; its way back is the host  isolated…  two containers, gateway mode isolated
#   bridge…  two containers on the default network                routed     a container, gateway mode routed
#   red…     two containers on a user network; blue: on another   macvlan    a container, parent is the cable
#   hostmode a container with the host's own network              none       a container without any
TABLE_4 = """
           host  remote  bridge  bridge2  red  red2  blue  internal  internal2  isolated  isolated2  routed  macvlan
host       +     +       +       +        +    +     +     +         +          .         .          +       .
remote     +     +       .       .        .    .     .     .         .          .         .          p       +
hostmode   +     +       +       +        +    +     +     +         +          .         .          +       .
none       .     .       .       .        .    .     .     .         .          .         .          .       .
bridge     +     +       +       +        .    .     .     .         .          .         .          p       .
red        +     +       .       .        +    +     .     .         .          .         .          p       .
blue       +     +       .       .        .    .     +     .         .          .         .          p       .
internal   .     .       .       .        .    .     .     +         +          .         .          .       .
isolated   .     .       .       .        .    .     .     .         .          +         +          .       .
routed     +     +       .       .        .    .     .     .         .          .         .          +       .
macvlan    .     +       .       .        .    .     .     .         .          .         .          .       +
"""
TABLE_6 = """
           host  remote  red  red2  blue  internal  internal2  isolated  isolated2  routed  macvlan
host       +     +       +    +     +     +         +          .         .          +       .
remote     +     +       .    .     .     .         .          .         .          p       +
hostmode   +     +       +    +     +     +         +          .         .          +       .
none       .     .       .    .     .     .         .          .         .          .       .
bridge     .     .       .    .     .     .         .          .         .          .       .
red        +     +       +    +     .     .         .          .         .          p       .
blue       +     +       .    .     +     .         .          .         .          p       .
internal   .     .       .    .     .     +         +          .         .          .       .
isolated   .     .       .    .     .     .         .          +         +          .       .
routed     +     +       .    .     .     .         .          .         .          +       .
macvlan    .     +       .    .     .     .         .          .         .          .       +
"""
#: Kinds of networks that 20.10 has not.
NEWER = ("isolated", "isolated2", "routed")
#: Where 20.10 answers otherwise: (IP version, from, to) → cell.
_SIX = ("red", "red2", "blue", "internal", "internal2")
THERE: dict[tuple[int, str, str], str] = {
    # 20.10 sets no rules for IPv6 unless told (ip6tables): everything that has a route gets through
    **{(6, start, end): "+" for start in ("remote", "red", "blue", "internal") for end in _SIX},
    (6, "internal", "remote"): "+",
    # 20.10 gives containers of internal networks a default route, so that all of the host is in reach; since 28 not
    (4, "internal", "host"): "+",
    (6, "internal", "host"): "+",
}

NETWORKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "red": ("10.93.1.0/24", "fd93:1::/64", ()),
    "blue": ("10.93.2.0/24", "fd93:2::/64", ()),
    "internal": ("10.93.3.0/24", "fd93:3::/64", ("--internal",)),
    "isolated": ("10.93.4.0/24", "fd93:4::/64",
                 ("--internal", "-o", f"{MODE}4=isolated", "-o", f"{MODE}6=isolated")),
    "routed": ("10.93.5.0/24", "fd93:5::/64", ("-o", f"{MODE}4=routed", "-o", f"{MODE}6=routed")),
    "macvlan": ("203.0.113.0/24", "2001:db8:113::/64",
                ("-d", "macvlan", "-o", "parent=cable0", "--gateway", "203.0.113.2", "--gateway", "2001:db8:113::2",
                 "--ip-range", "203.0.113.64/26", "--ip-range", "2001:db8:113::100/120")),
}  # fmt: skip
#: Place → network, for containers.
CONTAINERS = {
    "bridge": "bridge", "bridge2": "bridge", "red": "red", "red2": "red", "blue": "blue", "internal": "internal",
    "internal2": "internal", "isolated": "isolated", "isolated2": "isolated", "routed": "routed",
    "macvlan": "macvlan", "hostmode": "host", "none": "none",
}  # fmt: skip


def _parsed(table: str) -> dict[tuple[str, str], str]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return {(row[0], to): cell for row in rows for to, cell in zip(head, row[1:], strict=True)}


EXPECTED = {4: _parsed(TABLE_4), 6: _parsed(TABLE_6)}


class Prober:
    """One prober process in a place."""

    def __init__(self, inside: list[str], port: int) -> None:
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-I", str(PROBER), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def ask(self, questions: list[tuple[str, str, int]]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(questions).encode() + b"\n")
        self.process.stdin.flush()

    def answered(self) -> set[int]:
        assert self.process.stdout is not None
        return set(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Stage:
    """Every place on one engine's machine, a prober in each."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.probers: dict[str, Prober] = {}
        self.addresses: dict[tuple[str, int], str] = {}
        self.ports: dict[str, int] = {}
        self.remote = Remote(engine)
        newer = engine.kind == "berth"
        self.places = [one for one in CONTAINERS if newer or one not in NEWER]
        self._six()
        for name, (four, six, more) in NETWORKS.items():
            if name in self.places:
                engine.docker("network", "create", "--ipv6", "--subnet", four, "--subnet", six, *more, f"mx-{name}")
        inside_host, inside_remote = ["nsenter", "-t", str(engine.spaces.pid), "-n"], self.remote.spaces.inside([])
        self._place("host", inside_host, "203.0.113.1", "2001:db8:113::1")
        self._place("remote", inside_remote, "203.0.113.2", "2001:db8:113::2")
        for name in self.places:
            self._container(name, CONTAINERS[name])

    def _six(self) -> None:
        for run, link, address in ((self.engine.host, "cable0", "1"), (self.remote.spaces.run, "cable1", "2")):
            run("ip", "addr", "add", f"2001:db8:113::{address}/64", "dev", link, "nodad")
        self.remote.spaces.run("ip", "-6", "route", "add", "default", "via", "2001:db8:113::1")

    def _place(self, name: str, inside: list[str], four: str, six: str) -> None:
        self.ports[name] = 7000 + len(self.ports)
        self.probers[name] = Prober(inside, self.ports[name])
        self.addresses |= {(name, 4): four, (name, 6): six}

    def _container(self, name: str, network: str) -> None:
        full = network if network in ("bridge", "host", "none") else f"mx-{network}"
        self.engine.docker("run", "-d", "--name", f"mx-{name}", "--network", full, "busybox", "sleep", "600")
        seen = self.engine.api("GET", f"/containers/mx-{name}/json").body
        end = seen["NetworkSettings"]["Networks"][full]
        inside = ["nsenter", "-t", str(seen["State"]["Pid"]), "-n"]
        self._place(name, inside, end["IPAddress"], end["GlobalIPv6Address"])

    def look(self) -> dict[tuple[int, str, str], str]:
        """Return the cell of every pair; what should answer and does not is asked again, twice."""
        found: dict[tuple[int, str, str, str], bool] = {}
        pairs = [
            (version, start, end)
            for version, table in EXPECTED.items()
            for start, end in table
            if start in self.probers and end in self.probers
        ]
        wanted = [(*pair, protocol) for pair in pairs for protocol in PROTOCOLS if self.addresses[pair[2], pair[0]]]
        for _ in range(3):
            self._round(wanted, found)
            wanted = [one for one in wanted if not found[one] and self._should(*one)]
        return {pair: _cell([found.get((*pair, protocol)) for protocol in PROTOCOLS]) for pair in pairs}

    def expected(self, version: int, start: str, end: str) -> str:
        if self.engine.kind == "dockerd" and (version, start, end) in THERE:
            return THERE[version, start, end]
        return EXPECTED[version][start, end]

    def _should(self, version: int, start: str, end: str, protocol: str) -> bool:
        cell = self.expected(version, start, end)
        return cell == "+" or (cell == "p" and protocol == "icmp")

    def _round(self, wanted: list[tuple[int, str, str, str]], found: dict[Any, bool]) -> None:
        by_start: dict[str, list[tuple[int, str, str, str]]] = {}
        for one in wanted:
            by_start.setdefault(one[1], []).append(one)
        for start, asked in by_start.items():
            self.probers[start].ask(
                [(protocol, self.addresses[end, version], self.ports[end]) for version, _, end, protocol in asked]
            )
        for start, asked in by_start.items():
            answered = self.probers[start].answered()
            found |= {one: number in answered for number, one in enumerate(asked)}

    def close(self) -> None:
        for prober in self.probers.values():
            prober.close()
        self.engine.docker("rm", "-f", *(f"mx-{name}" for name in CONTAINERS), check=False)
        self.engine.docker("network", "rm", *(f"mx-{name}" for name in NETWORKS), check=False)
        self.remote.close(self.engine)


def _cell(answers: list[bool | None]) -> str:
    if answers == [None] * 3:
        return " "
    return {(True, True, True): "+", (False, False, True): "p", (False, False, False): "."}.get(
        tuple(bool(one) for one in answers), "".join(str(int(bool(one))) for one in answers)
    )


@contextlib.contextmanager
def _staged(engine: Engine) -> Iterator[Stage]:
    made: list[Stage] = []
    try:
        made.append(Stage(engine))
        yield made[0]
    finally:
        for one in made:
            one.close()


@pytest.fixture(scope="module")
def berth_stage(berth_engine: Engine) -> Iterator[Stage]:
    with _staged(berth_engine) as stage:
        yield stage


@pytest.fixture(scope="module")
def dockerd_stage(dockerd_engine: Engine) -> Iterator[Stage]:
    with _staged(dockerd_engine) as stage:
        yield stage


def _wrong(stage: Stage) -> list[str]:
    return [
        f"IPv{version} {start} → {end}: {cell!r}, not {stage.expected(version, start, end)!r}"
        for (version, start, end), cell in stage.look().items()
        if cell.strip() and cell != stage.expected(version, start, end)
    ]


@pytest.mark.parametrize("kind", ["berth", "dockerd"])
def test_who_reaches_whom(kind: str, request: pytest.FixtureRequest) -> None:
    wrong = _wrong(request.getfixturevalue(f"{kind}_stage"))
    assert not wrong, f"{kind}:\n  " + "\n  ".join(wrong)


@pytest.mark.parametrize("rules", [UFW, DOCKER, PLAIN], ids=["ufw", "docker", "plain"])
def test_others_rules_that_drop_change_nothing(rules: str, berth_stage: Stage) -> None:
    """Set up as another tool does it, after us; the host's own rules for what comes in are not touched."""
    host = berth_stage.engine.host
    programs = (("iptables-nft", ""), ("ip6tables-nft", "6"))
    try:
        for program, six in programs:
            host(f"{program}-restore", feed=rules.replace("{6}", six))
        wait_for(
            lambda: all("accepted by its own table" in host(program, "-S").out for program, _ in programs),
            "our traffic to be let through",
        )
        wrong = _wrong(berth_stage)
    finally:
        for program, _ in programs:
            for words in (("-P", "FORWARD", "ACCEPT"), ("-F",), ("-X",)):
                host(program, *words)
    assert not wrong, "\n  ".join(wrong)
