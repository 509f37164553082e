"""Who reaches whom: every pair of places, by IPv4 and IPv6, over TCP, UDP and ICMP, proven by packets on both engines.

What is expected is the table in `tests.support.reachability`. Nothing is published here; published ports are
`test_ports`'. Ipvlan, which this machine's kernel may lack, is asked in a kernel of its own.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.test_firewall import DOCKER, PLAIN, UFW
from tests.scenarios.inside import ipvlan_matrix
from tests.support import uml
from tests.support.clients import needs_original_20
from tests.support.engines import Engine, wait_for
from tests.support.reachability import EXPECTED, Pair, Places, differences
from tests.support.remote import Remote

pytestmark = [pytest.mark.root, pytest.mark.compat]

MODE = "com.docker.network.bridge.gateway_mode_ipv"

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


class Stage:
    """Every place on one engine's machine, a prober in each."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked = Places()
        self.remote = Remote(engine)
        newer = engine.kind == "berth"
        self.places = [one for one in CONTAINERS if newer or one not in NEWER]
        self._six()
        for name, (four, six, more) in NETWORKS.items():
            if name in self.places:
                engine.docker("network", "create", "--ipv6", "--subnet", four, "--subnet", six, *more, f"mx-{name}")
        inside_host, inside_remote = ["nsenter", "-t", str(engine.spaces.pid), "-n"], self.remote.spaces.inside([])
        self.asked.add("host", inside_host, "203.0.113.1", "2001:db8:113::1")
        self.asked.add("remote", inside_remote, "203.0.113.2", "2001:db8:113::2")
        for name in self.places:
            self._container(name, CONTAINERS[name])

    def _six(self) -> None:
        for run, link, address in ((self.engine.host, "cable0", "1"), (self.remote.spaces.run, "cable1", "2")):
            run("ip", "addr", "add", f"2001:db8:113::{address}/64", "dev", link, "nodad")
        self.remote.spaces.run("ip", "-6", "route", "add", "default", "via", "2001:db8:113::1")

    def _container(self, name: str, network: str) -> None:
        full = network if network in ("bridge", "host", "none") else f"mx-{network}"
        self.engine.docker("run", "-d", "--name", f"mx-{name}", "--network", full, "busybox", "sleep", "600")
        seen = self.engine.api("GET", f"/containers/mx-{name}/json").body
        end = seen["NetworkSettings"]["Networks"][full]
        inside = ["nsenter", "-t", str(seen["State"]["Pid"]), "-n"]
        self.asked.add(name, inside, end["IPAddress"], end["GlobalIPv6Address"])

    def wrong(self) -> list[str]:
        """Say who reaches whom otherwise than expected."""
        probers = self.asked.probers
        pairs = [
            (version, start, end)
            for version, table in EXPECTED.items()
            for start, end in table
            if start in probers and end in probers
        ]
        return differences(self.asked.look(pairs, self.expected), self.expected)

    def expected(self, pair: Pair) -> str:
        if self.engine.kind == "dockerd" and pair in THERE:
            return THERE[pair]
        version, start, end = pair
        return EXPECTED[version][start, end]

    def close(self) -> None:
        self.asked.close()
        self.engine.docker("rm", "-f", *(f"mx-{name}" for name in CONTAINERS), check=False)
        self.engine.docker("network", "rm", *(f"mx-{name}" for name in NETWORKS), check=False)
        self.remote.close(self.engine)


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


@pytest.mark.parametrize("kind", ["berth", "dockerd"])
def test_who_reaches_whom(kind: str, request: pytest.FixtureRequest) -> None:
    needs_original_20(kind)  # later ones answer from an internal network's gateway less
    wrong = request.getfixturevalue(f"{kind}_stage").wrong()
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
        wrong = berth_stage.wrong()
    finally:
        for program, _ in programs:
            for words in (("-P", "FORWARD", "ACCEPT"), ("-F",), ("-X",)):
                host(program, *words)
    assert not wrong, "\n  ".join(wrong)


@pytest.fixture(scope="module")
def ipvlan_told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """What was asked and what was wrong there, by ipvlan mode."""
    if reason := uml.is_missing():
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("ipvlan")
    place.chmod(0o755)
    ran = uml.run(Path(ipvlan_matrix.__file__), place, modules=ipvlan_matrix.MODULES)
    assert ran.code == 0, ran.err
    found: dict[str, dict[str, list[str]]] = json.loads(ran.out)
    return found


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_who_reaches_whom_by_ipvlan(ipvlan_told: dict[str, dict[str, list[str]]], mode: str) -> None:
    told = ipvlan_told[mode]
    assert not told["wrong"], "\n  ".join(told["wrong"])
    assert sorted(told["asked"]) == sorted(" ".join(map(str, pair)) for pair in ipvlan_matrix.pairs(mode))
