"""One plugin process of ours, spoken to by Berth and by the original: what passes here is what the protocol says.

The plugin makes real links in the engine's own network namespace (see `tests/support/network_plugin.py`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import Engine, wait_for
from tests.support.plugins import PluginProcess

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: Where both engines look.
_PLACE = "/run/docker/plugins"


@pytest.fixture
def plugin(engine: Engine, tmp_path: Path) -> Iterator[PluginProcess]:
    """A plugin in the engine's namespaces; its directory of sockets is there alone."""
    engine.host("mkdir", "-p", _PLACE)
    engine.host("mount", "-t", "tmpfs", "plugins", _PLACE)
    # dockerd's forward chain drops what bridges it did not make pass on between their ports
    bridged = "net.bridge.bridge-nf-call-iptables"
    filtered = engine.host("sysctl", "-n", bridged, check=False).out.strip() or "1"
    engine.host("sysctl", "-qw", f"{bridged}=0", check=False)
    # dockerd remembers plugins by name: another for each test
    name = "plug" + tmp_path.name.encode().hex()[-12:]
    one = PluginProcess(Path(f"{_PLACE}/{name}.sock"), tmp_path / "plugin", engine.spaces.inside)
    try:
        yield one
    finally:
        engine.wipe_containers()
        for row in engine.api("GET", "/networks").body:
            if row["Name"].startswith("pnet"):
                engine.api("DELETE", f"/networks/{row['Id']}")
        one.kill()
        engine.host("umount", _PLACE)
        engine.host("sysctl", "-qw", f"{bridged}={filtered}", check=False)


def container(engine: Engine, name: str, network: str, *flags: str) -> None:
    engine.docker("run", "-d", "--name", name, "--network", network, *flags, "busybox", "sleep", "600")


def inside(engine: Engine, name: str, *command: str) -> str:
    return engine.docker("exec", name, *command).out


def endpoint(engine: Engine, name: str, network: str) -> dict[str, Any]:
    found = engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["Networks"][network]
    return dict(found)


def links(engine: Engine) -> set[str]:
    rows = engine.host("ip", "-o", "link").out.splitlines()
    return {name for row in rows if (name := row.split(": ")[1].partition("@")[0]).startswith(("pb-", "pv-", "pc-"))}


def test_a_network_of_a_plugin_from_creation_to_removal(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "-d", plugin.name, "--subnet", "10.96.1.0/24", "-o", "color=blue", "pnet")
    told = plugin.last("NetworkDriver.CreateNetwork")
    found = engine.api("GET", "/networks/pnet").body
    assert (found["Driver"], found["Scope"], found["Id"]) == (plugin.name, "local", told["NetworkID"])
    assert told["Options"]["com.docker.network.generic"] == {"color": "blue"}
    assert told["Options"]["com.docker.network.enable_ipv6"] is False
    assert told["IPv4Data"] == [{"AddressSpace": "LocalDefault", "Gateway": "10.96.1.1/24", "Pool": "10.96.1.0/24"}]
    assert not told["IPv6Data"]

    container(engine, "p1", "pnet", "--ip", "10.96.1.77")
    container(engine, "p2", "pnet")
    made = next(one["ask"] for one in plugin.calls if one["method"] == "NetworkDriver.CreateEndpoint")
    assert made["Interface"] == {"Address": "10.96.1.77/24", "AddressIPv6": "", "MacAddress": ""}
    joined = plugin.last("NetworkDriver.Join")
    assert joined["SandboxKey"]
    one, two = endpoint(engine, "p1", "pnet"), endpoint(engine, "p2", "pnet")
    assert (one["IPAddress"], one["IPPrefixLen"], one["Gateway"]) == ("10.96.1.77", 24, "10.96.1.1")
    assert one["EndpointID"] == made["EndpointID"]
    assert one["MacAddress"].startswith("02:77:")
    assert one["MacAddress"] in inside(engine, "p1", "ip", "link", "show", "eth0")
    assert "inet 10.96.1.77/24" in inside(engine, "p1", "ip", "addr", "show", "eth0")
    assert "default via 10.96.1.1 dev eth0" in inside(engine, "p1", "ip", "route")
    inside(engine, "p1", "ping", "-c", "1", "-W", "5", two["IPAddress"])
    inside(engine, "p1", "ping", "-c", "1", "-W", "5", "p2")

    engine.docker("network", "disconnect", "pnet", "p1")
    assert "eth0" not in inside(engine, "p1", "ip", "link")
    engine.docker("rm", "-f", "p1", "p2")
    wait_for(lambda: not plugin.state["endpoints"], "the plugin to be told of the end")
    methods = plugin.methods()
    assert methods.count("NetworkDriver.Leave") == methods.count("NetworkDriver.DeleteEndpoint") == 2
    engine.docker("network", "rm", "pnet")
    assert plugin.last("NetworkDriver.DeleteNetwork") == {"NetworkID": told["NetworkID"]}
    assert plugin.is_empty()
    assert not links(engine)


def test_what_a_plugin_says_of_the_link_is_done(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker(
        "network", "create", "-d", plugin.name, "--subnet", "10.96.2.0/24", "-o", "prefix=data", "-o",
        "route=10.250.0.0/16 10.96.2.1", "-o", "gateway=none", "pnet",
    )  # fmt: skip
    container(engine, "p1", "pnet")
    assert "inet 10.96.2.2/24" in inside(engine, "p1", "ip", "addr", "show", "data0")
    routes = inside(engine, "p1", "ip", "route")
    assert "10.250.0.0/16 via 10.96.2.1 dev data0" in routes
    assert "default" not in routes, "the plugin gives no gateway and wants none"


def test_a_route_by_the_link_itself(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "-d", plugin.name, "--subnet", "10.96.3.0/24", "-o", "route=10.251.0.0/16",
                  "-o", "gateway=none", "pnet")  # fmt: skip
    container(engine, "p1", "pnet")
    assert "10.251.0.0/16 dev eth0 scope link" in inside(engine, "p1", "ip", "route")


def test_addresses_from_the_plugin_where_nobody_manages_them(engine: Engine, plugin: PluginProcess) -> None:
    # without "gateway=none" dockerd gives the containers a way out of its own, and filters bridges for it
    engine.docker("network", "create", "-d", plugin.name, "--ipam-driver", "null", "-o", "gateway=none", "pnet")
    told = plugin.last("NetworkDriver.CreateNetwork")
    assert [one["Pool"] for one in told["IPv4Data"]] == ["0.0.0.0/0"]
    assert "Gateway" not in told["IPv4Data"][0]
    found = engine.api("GET", "/networks/pnet").body["IPAM"]
    assert (found["Driver"], found["Config"]) == ("null", [{"Subnet": "0.0.0.0/0"}])
    container(engine, "p1", "pnet")
    container(engine, "p2", "pnet")
    assert endpoint(engine, "p1", "pnet")["IPAddress"] == "10.99.0.2"
    assert "inet 10.99.0.3/24" in inside(engine, "p2", "ip", "addr", "show", "eth0")
    inside(engine, "p1", "ping", "-c", "1", "-W", "5", "10.99.0.3")


def test_another_link_of_a_running_container(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "-d", plugin.name, "--subnet", "10.96.4.0/24", "-o", "gateway=none", "pnet")
    container(engine, "p1", "bridge")
    engine.docker("network", "connect", "--ip", "10.96.4.9", "pnet", "p1")
    assert "inet 10.96.4.9/24" in inside(engine, "p1", "ip", "addr", "show", "eth1")
    assert "default via" in inside(engine, "p1", "ip", "route"), "the way out stays where it was"
    engine.docker("network", "disconnect", "pnet", "p1")
    assert "eth1" not in inside(engine, "p1", "ip", "link")
    assert not plugin.state["endpoints"]


def test_subnets_and_addresses_from_a_plugin(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "--ipam-driver", plugin.name, "--ipam-opt", "size=small", "pnet")
    assert plugin.last("IpamDriver.RequestPool") == {
        "AddressSpace": "plugged", "Pool": "", "SubPool": "", "Options": {"size": "small"}, "V6": False,
    }  # fmt: skip
    gateway = plugin.last("IpamDriver.RequestAddress")
    assert gateway["Options"] == {"RequestAddressType": "com.docker.network.gateway"}
    found = engine.api("GET", "/networks/pnet").body["IPAM"]
    assert (found["Driver"], found["Options"]) == (plugin.name, {"size": "small"})
    assert found["Config"] == [{"Subnet": "10.199.0.0/24", "Gateway": "10.199.0.254"}]
    container(engine, "p1", "pnet")
    assert endpoint(engine, "p1", "pnet")["IPAddress"] == "10.199.0.253"
    assert "inet 10.199.0.253/24" in inside(engine, "p1", "ip", "addr", "show", "eth0")
    inside(engine, "p1", "ping", "-c", "1", "-W", "5", "10.199.0.254")
    engine.docker("rm", "-f", "p1")
    assert plugin.last("IpamDriver.ReleaseAddress") == {"PoolID": gateway["PoolID"], "Address": "10.199.0.253"}
    engine.docker("network", "rm", "pnet")
    assert plugin.is_empty()


def test_a_subnet_named_for_a_plugin(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker(
        "network", "create", "--ipam-driver", plugin.name, "--subnet", "10.198.0.0/16", "--ip-range", "10.198.7.0/24",
        "--gateway", "10.198.0.1", "--aux-address", "router=10.198.0.9", "pnet",
    )  # fmt: skip
    asked = plugin.last("IpamDriver.RequestPool")
    assert (asked["Pool"], asked["SubPool"]) == ("10.198.0.0/16", "10.198.7.0/24")
    wanted = [one["ask"]["Address"] for one in plugin.calls if one["method"] == "IpamDriver.RequestAddress"]
    assert wanted == ["10.198.0.1", "10.198.0.9"]
    container(engine, "p1", "pnet", "--ip", "10.198.3.3")
    assert "inet 10.198.3.3/16" in inside(engine, "p1", "ip", "addr", "show", "eth0")
    config = engine.api("GET", "/networks/pnet").body["IPAM"]["Config"][0]
    assert config == {"Subnet": "10.198.0.0/16", "IPRange": "10.198.7.0/24", "Gateway": "10.198.0.1",
                      "AuxiliaryAddresses": {"router": "10.198.0.9"}}  # fmt: skip


def test_a_plugin_may_name_the_gateway_with_the_subnet(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "--ipam-driver", plugin.name, "--ipam-opt", "gateway=10.199.0.77/24", "pnet")
    assert "IpamDriver.RequestAddress" not in plugin.methods()
    config = engine.api("GET", "/networks/pnet").body["IPAM"]["Config"]
    assert config[0]["Gateway"] in ("10.199.0.77", "10.199.0.77/24")


def test_both_of_one_plugin(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "-d", plugin.name, "--ipam-driver", plugin.name, "pnet")
    told = plugin.last("NetworkDriver.CreateNetwork")["IPv4Data"]
    assert told == [{"AddressSpace": "plugged", "Gateway": "10.199.0.254/24", "Pool": "10.199.0.0/24"}]
    container(engine, "p1", "pnet")
    container(engine, "p2", "pnet")
    inside(engine, "p1", "ping", "-c", "1", "-W", "5", "10.199.0.252")
    engine.docker("rm", "-f", "p1", "p2")
    engine.docker("network", "rm", "pnet")
    assert plugin.is_empty()
    assert not links(engine)


REFUSED = [
    ("NetworkDriver_CreateNetwork", "create", "remote: made to fail in NetworkDriver.CreateNetwork"),
    ("IpamDriver_RequestPool", "create", "remote: made to fail in IpamDriver.RequestPool"),
    ("IpamDriver_RequestAddress", "create", "remote: made to fail in IpamDriver.RequestAddress"),
    ("NetworkDriver_CreateEndpoint", "run", "remote: made to fail in NetworkDriver.CreateEndpoint"),
    ("NetworkDriver_Join", "run", "remote: made to fail in NetworkDriver.Join"),
    ("IpamDriver_RequestAddress", "run", "remote: made to fail in IpamDriver.RequestAddress"),
]


@pytest.mark.parametrize(("method", "when", "words"), REFUSED, ids=lambda value: value[:40])
def test_a_plugins_own_words_reach_the_user_and_nothing_remains(
    engine: Engine, plugin: PluginProcess, method: str, when: str, words: str
) -> None:
    body = {"Name": "pnet", "Driver": plugin.name, "IPAM": {"Driver": plugin.name}}
    before = None
    if when == "run":
        engine.docker("network", "create", "-d", plugin.name, "--ipam-driver", plugin.name, "pnet")
        before = plugin.state
        engine.docker("create", "--name", "p1", "--network", "pnet", "busybox", "sleep", "600")
    links_before = links(engine)
    plugin.faults(**{method: "err"})
    if when == "run":
        answer = engine.api("POST", "/containers/p1/start")
    else:
        answer = engine.api("POST", "/networks/create", body)
    assert answer.status == 500, answer
    assert words in answer.message
    plugin.faults()
    assert plugin.state == before if before else plugin.is_empty()
    assert links(engine) == links_before
    if when == "run":
        engine.docker("start", "p1")
        assert "inet 10.199.0.253/24" in inside(engine, "p1", "ip", "addr", "show", "eth0")


def test_it_is_listed_and_inspected_as_json_of_the_client(engine: Engine, plugin: PluginProcess) -> None:
    engine.docker("network", "create", "-d", plugin.name, "pnet")
    listed = engine.docker("network", "ls", "--filter", f"driver={plugin.name}", "--format", "{{json .}}").out
    assert [json.loads(row)["Name"] for row in listed.splitlines()] == ["pnet"]
