"""What networks are, on Berth and on the original: configuration networks, subnets in all forms, what inspect says."""

import json
from typing import Any

import pytest

from tests.support.clients import needs_client, needs_original_20
from tests.support.engines import Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    answer = engine.api("GET", f"/networks/{name}")
    assert answer.status == 200, answer
    return dict(answer.body)


def test_a_configuration_network_is_made_used_and_kept_while_used(engine: Engine) -> None:
    docker = engine.docker
    docker("network", "create", "--config-only", "--subnet", "10.189.0.0/24", "--gateway", "10.189.0.7", "--ip-range",
           "10.189.0.128/25", "--aux-address", "printer=10.189.0.200", "-o", "com.docker.network.driver.mtu=1400",
           "--label", "team=net", "cfgonly")  # fmt: skip
    try:
        held = inspected(engine, "cfgonly")
        assert (held["Driver"], held["Scope"], held["ConfigOnly"], held["Internal"]) == ("null", "local", True, False)
        pool = {
            "Subnet": "10.189.0.0/24", "IPRange": "10.189.0.128/25", "Gateway": "10.189.0.7",
            "AuxiliaryAddresses": {"printer": "10.189.0.200"},
        }  # fmt: skip
        assert held["IPAM"] == {"Driver": "default", "Options": {}, "Config": [pool]}
        docker("network", "create", "--config-from", "cfgonly", "--internal", "cfguser")
        made = inspected(engine, "cfguser")
        assert (made["Driver"], made["Internal"], made["ConfigOnly"]) == ("bridge", True, False)
        assert made["ConfigFrom"] == {"Network": "cfgonly"}
        assert made["Options"] == {"com.docker.network.driver.mtu": "1400"}
        assert made["Labels"] == {"team": "net"}
        assert made["IPAM"]["Config"] == [pool]
        second = docker("network", "create", "--config-from", "cfgonly", "cfgagain", check=False)
        assert "Pool overlaps with other one on this address space" in second.err
        for words, arguments in {
            "configuration network can only contain network specific fields": ("--config-only", "--internal"),
            'configuration network "cfgnone" does not exist': ("--config-from", "cfgnone"),
            "user specified configurations are not supported": ("--config-from", "cfgonly", "--label", "a=b"),
        }.items():
            refused = docker("network", "create", *arguments, "cfgx", check=False)
            assert words in refused.err, refused
        in_use = engine.api("DELETE", "/networks/cfgonly")
        assert in_use.status == 403
        assert in_use.message.startswith('error while removing network: configuration network "cfgonly" is in use')
        docker("network", "prune", "-f")
        assert inspected(engine, "cfgonly")["ConfigOnly"] is True
        gone = engine.api("GET", "/networks/cfguser")
        assert gone.status == 404, "unused ones that took settings are pruned, what holds settings is not"
    finally:
        docker("network", "rm", "cfguser", check=False)
        docker("network", "rm", "cfgonly")
    assert engine.api("GET", "/networks/cfgonly").status == 404


def test_no_container_is_on_a_configuration_network(engine: Engine) -> None:
    engine.docker("network", "create", "--config-only", "--subnet", "10.189.0.0/24", "cfgonly")
    try:
        run = engine.docker("run", "--rm", "--network", "cfgonly", "busybox", "true", check=False)
        assert run.code != 0
        assert "configuration" in run.err
    finally:
        engine.docker("ps", "-aq", "--filter", "network=cfgonly")
        engine.docker("network", "rm", "cfgonly")


def test_how_full_a_subnet_is(berth_engine: Engine) -> None:
    """API 1.52: the original here does not have it."""
    docker = berth_engine.docker
    docker("network", "create", "--ipv6", "--subnet", "10.188.0.0/24", "--ip-range", "10.188.0.64/26", "--subnet",
           "fd00:188::/64", "--aux-address", "x=10.188.0.70", "filling")  # fmt: skip
    try:
        docker("run", "-d", "--name", "filler", "--network", "filling", "busybox", "sleep", "600")
        docker("create", "--name", "waits", "--network", "filling", "--ip", "10.188.0.9", "busybox")
        seen = json.loads(docker("network", "inspect", "filling").out)[0]["Status"]["IPAM"]["Subnets"]
        # network, broadcast, gateway, named, running, waiting; of the range without gateway, named, running
        assert seen["10.188.0.0/24"] == {"IPsInUse": 6, "DynamicIPsAvailable": 61}
        assert seen["fd00:188::/64"] == {"IPsInUse": 3, "DynamicIPsAvailable": 2**64 - 3}
        listed = berth_engine.api("GET", '/networks?filters={"name":["filling"]}').body
        assert listed[0]["Status"]["IPAM"]["Subnets"] == seen
    finally:
        docker("rm", "-f", "filler", "waits", check=False)
        docker("network", "rm", "filling")


def test_a_size_out_of_the_pools_and_families_by_flag(berth_engine: Engine) -> None:
    """Docker 28 and 29: the original here does not have it."""
    needs_client(28, "--ipv4")
    docker = berth_engine.docker
    docker("network", "create", "--subnet", "0.0.0.0/28", "--ipv6", "--subnet", "::/80", "sized")
    docker("network", "create", "--ipv4=false", "--ipv6", "sixonly")
    try:
        sized, six = inspected(berth_engine, "sized"), inspected(berth_engine, "sixonly")
        subnets = [one["Subnet"] for one in sized["IPAM"]["Config"]]
        assert subnets[0].endswith("/28")
        assert subnets[0].startswith(("172.", "192.168."))
        assert subnets[1].startswith("fd")
        assert subnets[1].endswith("/80")
        assert (six["EnableIPv4"], six["EnableIPv6"], len(six["IPAM"]["Config"])) == (False, True, 1)
        out = docker("run", "--rm", "--network", "sixonly", "busybox", "ip", "-6", "-o", "addr", "show", "eth0").out
        assert six["IPAM"]["Config"][0]["Subnet"].partition("::")[0] in out
        none = docker("network", "create", "--ipv4=false", "nothing", check=False)
        assert "IPv4 or IPv6 must be enabled" in none.err
    finally:
        docker("network", "rm", "sized", "sixonly")


def test_a_full_range_is_said_so(engine: Engine) -> None:
    engine.docker("network", "create", "--subnet", "10.90.0.0/30", "tight")
    try:
        engine.docker("run", "-d", "--name", "tight1", "--network", "tight", "busybox", "sleep", "600")
        engine.docker("create", "--name", "tight2", "--network", "tight", "busybox", "true")
        answer = engine.api("POST", "/containers/tight2/start")
        assert answer.status == 500, answer
        assert "no available IPv4 addresses on this network's address pools: tight" in answer.message
    finally:
        engine.docker("rm", "-f", "tight1", "tight2", check=False)
        engine.docker("network", "rm", "tight", check=False)


def test_a_prefix_of_two_ids_is_ambiguous(engine: Engine) -> None:
    names = [f"prefix{number}" for number in range(17)]  # one more than there are first characters
    try:
        idents = [engine.api("POST", "/networks/create", {"Name": name}).body["Id"] for name in names]
        first = next(one[0] for one in idents if sum(two[0] == one[0] for two in idents) > 1)
        answer = engine.api("GET", f"/networks/{first}")
        assert answer.status == 400, answer
        assert f"network {first} is ambiguous" in answer.message
        assert "matches found" in answer.message
    finally:
        for name in names:
            engine.api("DELETE", f"/networks/{name}")


def test_an_address_asked_for_is_refused_when_the_network_was_made_anew_elsewhere(engine: Engine) -> None:
    docker = engine.docker
    docker("network", "create", "--subnet", "10.189.1.0/24", "anew")
    docker("create", "--name", "stays", "--network", "anew", "--ip", "10.189.1.9", "busybox", "sleep", "600")
    try:
        docker("network", "rm", "anew")
        docker("network", "create", "--subnet", "10.189.2.0/24", "anew")
        refused = engine.api("POST", "/containers/stays/start")
        needs_original_20(engine.kind)
        assert refused.status == 500
        assert refused.message.startswith("Invalid address 10.189.1.9: It does not belong to any of this network's")
        assert inspected(engine, "anew")["Containers"] == {}
    finally:
        docker("rm", "-f", "stays", check=False)
        docker("network", "rm", "anew", check=False)


def test_who_gets_the_address_of_a_stopped_container(engine: Engine) -> None:
    """A difference: the original remembers nothing, and gives the lowest free address."""
    sleep = {"Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0, "HostConfig": {"NetworkMode": "again"}}
    assert engine.api("POST", "/networks/create", {"Name": "again", "IPAM": {"Config": [{"Subnet": "10.86.0.0/24"}]}})

    def address(name: str) -> str:
        found = engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["Networks"]
        return str(found["again"]["IPAddress"])

    names = ("first", "second")
    try:
        for name in names:
            assert engine.api("POST", f"/containers/create?name={name}", sleep).status == 201
            assert engine.api("POST", f"/containers/{name}/start").status == 204
        before = [address(name) for name in names]
        for name in names:
            engine.api("POST", f"/containers/{name}/stop")
        for name in reversed(names):
            assert engine.api("POST", f"/containers/{name}/start").status == 204
        after = [address(name) for name in names]
        assert before == ["10.86.0.2", "10.86.0.3"]
        assert after == (before if engine.kind == "berth" else before[::-1])
    finally:
        for name in names:
            engine.api("DELETE", f"/containers/{name}?force=1")
        engine.api("DELETE", "/networks/again")
