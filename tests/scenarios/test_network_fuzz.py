"""Seeded random calls about networks, sensible and not: no internal error, no leak, and a restart changes nothing.

    FUZZ_CALLS=10000 FUZZ_SEED=7 .venv/bin/python -m pytest tests/scenarios/test_network_fuzz.py

Each run prints its seed; the same seed makes the same calls.
"""

import ipaddress
import json
import os
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.engines import Answer, Berth

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = int(os.environ.get("FUZZ_CALLS", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
NAMES = [f"z{number}" for number in range(8)]
BOXES = [f"box{number}" for number in range(4)]
SUBNETS = [
    "10.91.0.0/24",
    "10.91.1.0/24",
    "10.91.0.0/16",
    "10.91.2.0/29",
    "10.91.3.0/31",
    "10.91.4.0/32",
    "10.91.5.7/24",
    "0.0.0.0/24",
    "::/64",
    "fd91::/64",
    "fd91:1::/126",
    "224.0.0.0/8",
    "127.0.0.0/8",
    "x",
    "",
    "10.91.6.0",
]
ADDRESSES = [
    "10.91.0.1",
    "10.91.0.2",
    "10.91.0.200",
    "10.91.2.6",
    "fd91::9",
    "::1",
    "nope",
    "",
    "10.91.0.0",
    "10.91.0.255",
]
OPTIONS = {
    "com.docker.network.bridge.enable_icc": ["true", "false", "maybe"],
    "com.docker.network.bridge.gateway_mode_ipv4": ["nat", "routed", "isolated", "nat-unprotected", "odd"],
    "com.docker.network.bridge.gateway_mode_ipv6": ["nat", "routed", "odd"],
    "com.docker.network.bridge.name": ["zbr0", "zbr1", "a-name-that-is-too-long", "lo", "z/z"],
    "com.docker.network.bridge.inhibit_ipv4": ["true", "1"],
    "com.docker.network.driver.mtu": ["1500", "1200", "68", "0", "-1", "99999", "abc"],
    "com.docker.network.container_iface_prefix": ["net", "a b", "waytoolongprefix"],
    "com.docker.network.bridge.host_binding_ipv4": ["127.0.0.1", "nope"],
    "parent": ["no-such-link", "lo"],
    "unknown": ["x"],
}
#: What Docker itself answers 500 to, whole: anything else with that status is a fault of the engine.
_ADDRESS = "[0-9a-f.:]+"
SYSTEM = re.compile(
    "|".join(
        (
            "container [0-9a-f]{64} is not connected to (the )?network (z[0-9]|bridge)",
            "Container [0-9a-f]{64} is marked for removal and cannot be connected or disconnected to the network: .*",
            "no available IPv[46] addresses on this network's address pools: z[0-9]",
            f"Invalid address {_ADDRESS}: It does not belong to any of this network's subnets. Network z[0-9] has .*",
            "gateway mode 'isolated' can only be used for an internal network; add --internal",
            rf"failed to allocate (gateway \(|secondary ip address \(a:){_ADDRESS}\): Address already in use \(by .*\)",
            "loopback interface is not a valid macvlan parent link",
            "invalid subinterface vlan name no-such-link, example formatting is eth0.10 .*",
        )
    )
)


class Fuzz:
    """One run."""

    def __init__(self, engine: Berth, seed: int) -> None:
        self.engine, self.random = engine, random.Random(seed)
        self.seen: dict[int, int] = {}

    def some(self, choices: list[Any], chance: float = 0.5) -> Any:
        return self.random.choice(choices) if self.random.random() < chance else None

    def calls(self) -> list[Callable[[], Answer]]:
        return [
            self.create,
            self.create,
            self.remove,
            self.connect,
            self.connect,
            self.disconnect,
            self.start,
            self.stop,
            self.inspect,
            self.listed,
            self.make,
            self.make,
            self.make,
            self.start,
            self.drop,
            self.prune,
        ]

    def one(self) -> None:
        call = self.random.choice(self.calls())
        answer = call()
        self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
        said = f"{call.__name__}: {answer.status} {answer.message}"
        assert answer.status < 600, said
        if answer.status == 500:
            assert SYSTEM.fullmatch(answer.message), said
        assert "Traceback" not in answer.message, said

    def _config(self) -> dict[str, Any]:
        pairs = (
            ("Subnet", self.some(SUBNETS, 0.9)),
            ("Gateway", self.some(ADDRESSES, 0.3)),
            ("IPRange", self.some(SUBNETS, 0.15)),
        )
        found: dict[str, Any] = {key: value for key, value in pairs if value is not None}
        if self.random.random() < 0.1:
            found["AuxiliaryAddresses"] = {"a": self.random.choice(ADDRESSES)}
        return found

    def create(self) -> Answer:
        options = {key: self.random.choice(OPTIONS[key]) for key in OPTIONS if self.random.random() < 0.12}
        body = {
            "Name": self.random.choice([*NAMES, "", "bridge", "a/b"])
            if self.random.random() < 0.1
            else self.random.choice(NAMES),
            "Driver": self.some(["bridge", "macvlan", "host", "nosuch", "overlay"], 0.15) or "bridge",
            "EnableIPv6": self.some([True, False], 0.4),
            "EnableIPv4": self.some([True, False], 0.15),
            "Internal": self.some([True], 0.2),
            "Options": options,
            "Labels": {"z": "1"},
            "ConfigOnly": self.some([True], 0.05),
        }
        if self.random.random() < 0.05:
            body["ConfigFrom"] = {"Network": self.random.choice(NAMES)}
        if self.random.random() < 0.5:
            configs = [self._config() for _ in range(self.random.randint(1, 3))]
            body["IPAM"] = {"Driver": self.some(["null", "nosuch"], 0.05) or "default", "Config": configs}
        return self.engine.api("POST", "/networks/create", body)

    def remove(self) -> Answer:
        return self.engine.api("DELETE", f"/networks/{self.random.choice([*NAMES, 'bridge', 'nosuch'])}")

    def _endpoint(self) -> dict[str, Any]:
        ipam = {"IPv4Address": self.some(ADDRESSES, 0.3) or "", "IPv6Address": self.some(ADDRESSES, 0.1) or ""}
        return {
            "IPAMConfig": ipam,
            "Aliases": self.some([["x"], ["*.y"], []], 0.3),
            "MacAddress": self.some(["02:00:00:00:00:07", "bad"], 0.1) or "",
            "GwPriority": self.random.choice([0, 0, 5, -1]),
        }

    def connect(self) -> Answer:
        body = {"Container": self.random.choice(BOXES), "EndpointConfig": self.some([self._endpoint()], 0.7)}
        return self.engine.api(
            "POST", f"/networks/{self.random.choice([*NAMES, 'bridge', 'host', 'none'])}/connect", body
        )

    def disconnect(self) -> Answer:
        body = {"Container": self.random.choice(BOXES), "Force": self.random.random() < 0.3}
        return self.engine.api("POST", f"/networks/{self.random.choice([*NAMES, 'bridge'])}/disconnect", body)

    def make(self) -> Answer:
        name = self.random.choice(BOXES)
        network = self.random.choice([*NAMES, "bridge", "none"])
        body = {
            "Image": "busybox",
            "Cmd": ["sleep", "600"],
            "StopTimeout": 0,
            "HostConfig": {"NetworkMode": network},
            "NetworkingConfig": {"EndpointsConfig": {network: self._endpoint()}},
        }
        return self.engine.api("POST", f"/containers/create?name={name}", body)

    def drop(self) -> Answer:
        return self.engine.api("DELETE", f"/containers/{self.random.choice(BOXES)}?force=1")

    def start(self) -> Answer:
        return self.engine.api("POST", f"/containers/{self.random.choice(BOXES)}/start")

    def stop(self) -> Answer:
        return self.engine.api("POST", f"/containers/{self.random.choice(BOXES)}/kill")

    def inspect(self) -> Answer:
        return self.engine.api("GET", f"/networks/{self.random.choice([*NAMES, 'bridge'])}")

    def listed(self) -> Answer:
        filters = self.random.choice(["{}", '{"name":["z"]}', '{"dangling":["true"]}', '{"bad":["x"]}', "junk"])
        return self.engine.api("GET", "/networks?filters=" + filters.replace('"', "%22").replace("{", "%7B"))

    def prune(self) -> Answer:
        return self.engine.api(
            "POST", "/networks/prune" + self.random.choice(["", "?filters=%7B%22label%22:[%22q%22]%7D"])
        )

    # -- what must hold

    def state(self) -> dict[str, Any]:
        networks = [
            self.engine.api("GET", f"/networks/{row['Id']}").body for row in self.engine.api("GET", "/networks").body
        ]
        boxes = self.engine.api("GET", "/containers/json?all=1").body
        ends = {
            row["Names"][0]: self.engine.api("GET", f"/containers/{row['Id']}/json").body["NetworkSettings"]["Networks"]
            for row in boxes
        }
        return {"networks": sorted(networks, key=lambda one: one["Id"]), "ends": ends}

    def check(self) -> None:
        state = self.state()
        subnets = [
            ipaddress.ip_network(pool["Subnet"])
            for net in state["networks"]
            if not net["ConfigOnly"]
            for pool in net["IPAM"]["Config"] or ()
            if net["Driver"] == "bridge"
        ]
        for at, one in enumerate(subnets):
            assert not any(one.version == two.version and one.overlaps(two) for two in subnets[at + 1 :]), subnets
        for net in state["networks"]:
            given = [
                end[key].partition("/")[0]
                for end in net["Containers"].values()
                for key in ("IPv4Address", "IPv6Address")
                if end[key]
            ]
            gateways = {pool.get("Gateway") for pool in net["IPAM"]["Config"] or ()}
            assert len(given) == len(set(given)), net
            assert not gateways & set(given), net
            pools = [ipaddress.ip_network(pool["Subnet"]) for pool in net["IPAM"]["Config"] or ()]
            assert all(any(ipaddress.ip_address(one) in pool for pool in pools) for one in given), net


def test_random_calls(own_berth: Berth) -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_CALLS={CALLS}")
    fuzz = Fuzz(own_berth, SEED)
    for number in range(1, CALLS + 1):
        fuzz.one()
        if number % 50 == 0:
            fuzz.check()
    print(f"answers by status: {sorted(fuzz.seen.items())}")
    assert fuzz.seen.get(201, 0) > CALLS // 30, fuzz.seen
    assert fuzz.seen.get(204, 0) or fuzz.seen.get(200, 0), fuzz.seen
    before = fuzz.state()
    own_berth.restart()
    assert json.dumps(fuzz.state(), sort_keys=True) == json.dumps(before, sort_keys=True)
    own_berth.wipe_containers()
    for _ in range(2):  # configuration networks after those made from them
        for row in own_berth.api("GET", "/networks").body:
            own_berth.api("DELETE", f"/networks/{row['Id']}")
    own_berth.restart()
    assert [row["Name"] for row in own_berth.api("GET", "/networks").body] == ["bridge", "host", "none"]
    assert own_berth.leaks() == []
    left = own_berth.host("ip", "-br", "link").out
    assert "br-" not in left
    assert "zbr" not in left
