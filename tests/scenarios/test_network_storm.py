"""Several clients at once, at every verb of networks: in the end API, kernel, rules and names agree, and nothing leaks.

See `tests.support.storm` for how to make it bigger.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import dns.message
import dns.query
import pytest

from berth.kernel import netns
from tests.support import storm
from tests.support.engines import Answer, Berth, wait_for

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = storm.calls(90)
#: Few of each, so that lanes meet.
NAMES = [f"s{number}" for number in range(4)]
BOXES = [f"box{number}" for number in range(5)]
#: What may be answered with 500, whole: what Docker answers so, or what another lane made of it meanwhile.
SYSTEM = re.compile(
    "|".join(
        (
            "container [0-9a-f]{64} is not connected to (the )?network (s[0-9]|bridge)",
            "Container [0-9a-f]{64} is marked for removal and cannot be connected or disconnected to the network: .*",
            "driver failed programming external connectivity on endpoint box[0-9] .* port is already allocated .*",
        )
    )
)


class Lane(storm.Lane):
    """One client."""

    system = SYSTEM

    def verbs(self) -> list[Callable[[], Answer]]:
        often = [self.create, self.connect, self.connect, self.disconnect, self.make, self.start]
        seldom = [
            self.remove, self.prune, self.rename, self.change, self.change, self.limit, self.stop, self.stop,
            self.drop, self.name, self.look,
        ]  # fmt: skip
        return 3 * often + seldom

    def _net(self, *more: str) -> str:
        return self.random.choice([*NAMES, *more])

    def _box(self) -> str:
        return self.random.choice(BOXES)

    def create(self) -> Answer:
        body: dict[str, Any] = {"Name": self._net(), "Internal": self.random.random() < 0.2}
        if self.random.random() < 0.4:
            body["IPAM"] = {"Config": [{"Subnet": f"10.92.{self.random.randrange(3)}.0/24"}]}
        if self.random.random() < 0.3:
            body["EnableIPv6"] = True
        return self.engine.api("POST", "/networks/create", body)

    def remove(self) -> Answer:
        return self.engine.api("DELETE", f"/networks/{self._net()}")

    def prune(self) -> Answer:
        return self.engine.api("POST", "/networks/prune")

    def rename(self) -> Answer:
        return self.engine.api("POST", f"/berth/networks/{self._net()}/rename?name={self._net()}")

    def change(self) -> Answer:
        body = self.random.choice(
            [{"Internal": True}, {"Internal": False}, {"ICC": False}, {"Subnet": "10.93.0.0/24"}, {"MTU": 1400}]
        )
        return self.engine.api("POST", f"/berth/networks/{self._net()}/update", body)

    def connect(self) -> Answer:
        config = {"Aliases": [self.random.choice(["x", "y"])], "GwPriority": self.random.randrange(3)}
        body = {"Container": self._box(), "EndpointConfig": config}
        return self.engine.api("POST", f"/networks/{self._net('bridge')}/connect", body)

    def disconnect(self) -> Answer:
        body = {"Container": self._box(), "Force": self.random.random() < 0.3}
        return self.engine.api("POST", f"/networks/{self._net('bridge')}/disconnect", body)

    def limit(self) -> Answer:
        return self.engine.api(
            "POST", f"/berth/networks/{self._net()}/shape", {"Container": self._box(), "RateIn": "9mbit"}
        )

    def make(self) -> Answer:
        network = self._net("bridge")
        ports = {"80/tcp": [{"HostPort": str(8300 + self.random.randrange(4))}]} if self.random.random() < 0.4 else {}
        body = {
            "Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0,
            "HostConfig": {"NetworkMode": network, "PortBindings": ports},
        }  # fmt: skip
        return self.engine.api("POST", f"/containers/create?name={self._box()}", body)

    def start(self) -> Answer:
        return self.engine.api("POST", f"/containers/{self._box()}/start")

    def stop(self) -> Answer:
        return self.engine.api("POST", f"/containers/{self._box()}/{self.random.choice(['stop?t=0', 'kill'])}")

    def drop(self) -> Answer:
        return self.engine.api("DELETE", f"/containers/{self._box()}?force=1")

    def name(self) -> Answer:
        return self.engine.api("POST", f"/containers/{self._box()}/rename?name={self._box()}")

    def look(self) -> Answer:
        answer = self.engine.api("GET", f"/networks/{self._net('bridge')}")
        if answer.status == 200:
            given = [end["IPv4Address"] for end in answer.body["Containers"].values() if end["IPv4Address"]]
            assert len(given) == len(set(given)), answer.body
        return answer


class Seen:
    """All that the API tells of networks and running containers."""

    def __init__(self, engine: Berth) -> None:
        self.engine = engine
        rows = engine.api("GET", "/networks").body
        self.networks = {row["Name"]: engine.api("GET", f"/networks/{row['Id']}").body for row in rows}
        found = [
            engine.api("GET", f"/containers/{row['Id']}/json").body
            for row in engine.api("GET", "/containers/json?all=1").body
        ]
        self.containers = {one["Name"].removeprefix("/"): one for one in found}
        self.running = {name: one for name, one in self.containers.items() if one["State"]["Running"]}

    def ends(self, name: str) -> dict[str, Any]:
        return dict(self.containers[name]["NetworkSettings"]["Networks"])

    def agree(self) -> None:
        """See that networks, containers, kernel, rules and names say the same."""
        self._networks_and_containers()
        self._links()
        self._names()
        differences = self.engine.api("GET", "/berth/firewall/diff").body
        assert differences == []

    def _networks_and_containers(self) -> None:
        assert len({network["Id"] for network in self.networks.values()}) == len(self.networks)
        by_network = {
            (network, one["Id"]): end["IPv4Address"].partition("/")[0]
            for network, shown in self.networks.items()
            for one in self.running.values()
            if (end := shown["Containers"].get(one["Id"]))
        }
        by_container = {
            (network, one["Id"]): end["IPAddress"]
            for name, one in self.running.items()
            for network, end in self.ends(name).items()
            if end["EndpointID"] and network not in ("host", "none")
        }
        assert by_network == by_container
        for network, shown in self.networks.items():
            assert set(shown["Containers"]) <= {one["Id"] for one in self.running.values()}, network
        for name, one in self.running.items():
            for network, end in self.ends(name).items():
                assert end["NetworkID"] == self.networks[network]["Id"], (name, network)
            mode = one["HostConfig"]["NetworkMode"]
            assert mode not in self.networks or mode in (*self.ends(name), "bridge", *NAMES)

    def _links(self) -> None:
        def bridge(shown: dict[str, Any]) -> str:
            return str(shown["Options"].get("com.docker.network.bridge.name", f"br-{shown['Id'][:12]}"))

        wanted = {bridge(one): len(one["Containers"]) for one in self.networks.values() if one["Driver"] == "bridge"}
        # what is gone is deleted behind the answer
        wait_for(lambda: self._ports() == wanted, f"links to be {wanted}")
        for name, one in self.running.items():
            pid = str(one["State"]["Pid"])
            there = json.loads(self.engine.host("nsenter", "-t", pid, "-n", "ip", "-j", "-4", "addr").out)
            held = {each["local"] for link in there for each in link["addr_info"]} - {"127.0.0.1"}
            assert held == {end["IPAddress"] for end in self.ends(name).values() if end["IPAddress"]}, name

    def _ports(self) -> dict[str, int]:
        """How many containers' links each bridge of ours has."""
        links = json.loads(self.engine.host("ip", "-j", "link").out)
        ends = Counter(one.get("master") for one in links if one["ifname"].startswith(self.engine.layout.veth_prefix))
        bridges = json.loads(self.engine.host("ip", "-j", "link", "show", "type", "bridge").out)
        return {one["ifname"]: ends[one["ifname"]] for one in bridges if one}

    def _names(self) -> None:
        for name, one in self.running.items():
            mine = {network: end for network, end in self.ends(name).items() if network in NAMES and end["EndpointID"]}
            if not mine:
                continue
            for other in self.running:
                theirs = self.ends(other)
                for network in mine:
                    wanted = {theirs[network]["IPAddress"]} if theirs.get(network, {}).get("EndpointID") else set()
                    found = self._asked(one["State"]["Pid"], f"{other}.{network}")
                    assert found == wanted, (name, other, network)
                shared = [{theirs[one]["IPAddress"]} for one in mine if theirs.get(one, {}).get("EndpointID")]
                found = self._asked(one["State"]["Pid"], other)
                assert found in shared or (not shared and not found), (name, other)  # the first network that knows it

    def _asked(self, pid: int, name: str) -> set[str]:
        query = dns.message.make_query(name, "A")
        reply = netns.inside(f"/proc/{pid}/ns/net", lambda: dns.query.udp(query, "127.0.0.11", timeout=30))
        return {str(item) for rrset in reply.answer for item in rrset}


def test_clients_at_once_leave_one_truth(own_berth: Berth) -> None:
    print(f"STORM_SEED={storm.SEED} STORM_CALLS={CALLS}")
    lanes = [Lane(own_berth, number) for number in range(storm.LANES)]
    for _ in range(2):
        storm.blow(lanes, CALLS)
        Seen(own_berth).agree()
        before = Seen(own_berth)
        own_berth.restart()
        after = Seen(own_berth)
        assert json.dumps(after.networks, sort_keys=True) == json.dumps(before.networks, sort_keys=True)
        after.agree()
    made = ("create", "remove", "rename", "change", "connect", "disconnect", "limit", "make", "start", "drop")
    storm.answered(lanes, made)
    own_berth.wipe_containers()
    for row in own_berth.api("GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D").body:
        assert own_berth.api("DELETE", f"/networks/{row['Id']}").status == 204
    wait_for(lambda: not own_berth.leaks(), "nothing to be left")
    wait_for(lambda: "br-" not in own_berth.host("ip", "-br", "link").out, "no bridge to be left")
    assert own_berth.api("GET", "/berth/firewall/diff").body == []
