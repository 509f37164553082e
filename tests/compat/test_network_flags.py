"""Every flag of the network commands, and of `run` where it is about networks: what it does, on both engines.

Asked with `docker` of the original and of Berth, and with `berth` of Berth. What 20.10 has not is asked of Berth alone.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.clients import needs_client, needs_original_20
from tests.support.engines import Done, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

PAIRS = [("docker", "dockerd"), ("docker", "berth"), ("berth", "berth")]
OURS = PAIRS[1:]
SUBNET = ("--subnet", "10.92.0.0/24")
SIX = ("--ipv6", "--subnet", "fd92::/64")


@dataclass
class Seat:
    """One client before one engine; what it makes is called ``f-…`` and goes at the end."""

    client: str
    engine: Engine

    def run(self, *args: str, check: bool = True) -> Done:
        return self.engine.client(self.client)(*args, check=check)

    def create(self, *flags: str, name: str = "f-net") -> dict[str, Any]:
        self.run("network", "create", *flags, name)
        return self.network(name)

    def network(self, name: str = "f-net") -> dict[str, Any]:
        return dict(self.engine.api("GET", f"/networks/{name}").body)

    def container(self, *flags: str, name: str = "f-box") -> dict[str, Any]:
        self.run("run", "-d", "--name", name, *flags, "busybox", "sleep", "600")
        return self.ends(name)

    def ends(self, name: str = "f-box") -> dict[str, Any]:
        return dict(self.engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["Networks"])

    def inside(self, *command: str, name: str = "f-box", check: bool = True) -> str:
        return self.run("exec", name, *command, check=check).out

    def needs_client(self, major: int, what: str) -> None:
        """Skip the rest where the client is Docker's and older than `major`."""
        if self.client == "docker":
            needs_client(major, what)

    def clear(self) -> None:
        self.engine.wipe_containers()
        for row in self.engine.api("GET", "/networks").body:
            if row["Name"].startswith("f-"):
                self.engine.api("DELETE", f"/networks/{row['Id']}")
        for row in self.engine.api("GET", "/networks").body:  # those that others were made from
            if row["Name"].startswith("f-"):
                self.engine.api("DELETE", f"/networks/{row['Id']}")


@pytest.fixture
def seat(request: pytest.FixtureRequest) -> Iterator[Seat]:
    client, kind = request.param
    one = Seat(client, request.getfixturevalue(f"{kind}_engine"))
    yield one
    one.clear()


def on(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("seat", pairs, indirect=True, ids=lambda pair: f"{pair[0]}-on-{pair[1]}")


everywhere, ours = on(PAIRS), on(OURS)

# -- network create


@everywhere
def test_create_addresses(seat: Seat) -> None:
    kept = ("--aux-address", "one=10.92.0.129", "--aux-address", "two=10.92.0.130")
    made = seat.create("-d", "bridge", *SUBNET, "--ip-range", "10.92.0.128/25", "--gateway", "10.92.0.9", *kept,
                       "--ipam-opt", "a=b")  # fmt: skip
    assert made["IPAM"] == {
        "Driver": "default", "Options": {"a": "b"},
        "Config": [{"Subnet": "10.92.0.0/24", "IPRange": "10.92.0.128/25", "Gateway": "10.92.0.9",
                    "AuxiliaryAddresses": {"one": "10.92.0.129", "two": "10.92.0.130"}}],
    }  # fmt: skip
    assert seat.container("--network", "f-net")["f-net"]["IPAddress"] not in ("10.92.0.129", "10.92.0.130")
    assert "default via 10.92.0.9" in seat.inside("ip", "route")


@everywhere
def test_create_labels_options_internal_attachable(seat: Seat) -> None:
    made = seat.create(
        "--label",
        "x=y",
        "--label",
        "z",
        "--internal",
        "--attachable",
        "-o",
        "com.docker.network.driver.mtu=1234",
        "-o",
        "own=1",
    )
    assert made["Labels"] == {"x": "y", "z": ""}
    assert made["Options"] == {"com.docker.network.driver.mtu": "1234", "own": "1"}
    assert (made["Internal"], made["Attachable"], made["Scope"]) == (True, True, "local")
    seat.container("--network", "f-net")
    assert "mtu 1234" in seat.inside("ip", "link", "show", "eth0")
    assert "default" not in seat.inside("ip", "route") or seat.engine.kind == "dockerd"


@everywhere
def test_create_both_families(seat: Seat) -> None:
    made = seat.create(*SUBNET, *SIX, "--gateway", "fd92::9")
    assert made["EnableIPv6"] is True
    assert [one["Subnet"] for one in made["IPAM"]["Config"]] == ["10.92.0.0/24", "fd92::/64"]
    end = seat.container("--network", "f-net")["f-net"]
    assert end["IPv6Gateway"] == "fd92::9"
    assert f"inet6 {end['GlobalIPv6Address']}/64" in seat.inside("ip", "-6", "addr", "show", "eth0")


@ours
def test_create_ipv6_alone(seat: Seat) -> None:
    """New in API 1.48."""
    seat.needs_client(28, "--ipv4")
    made = seat.create("--ipv4=false", *SIX)
    assert (made["EnableIPv4"], made["EnableIPv6"]) == (False, True)
    end = seat.container("--network", "f-net")["f-net"]
    assert (end["IPAddress"], end["IPPrefixLen"]) == ("", 0)
    assert end["GlobalIPv6Address"].startswith("fd92::")


@everywhere
def test_create_what_needs_a_swarm(seat: Seat) -> None:
    for flags in (("--scope", "swarm"), ("--ingress", "-d", "overlay"), ("-d", "overlay")):
        done = seat.run("network", "create", *flags, "f-net", check=False)
        assert done.code == 1, flags
        assert "swarm" in done.err.lower(), flags


@everywhere
def test_create_scope_local(seat: Seat) -> None:
    assert seat.create("--scope", "local")["Scope"] == "local"


@everywhere
def test_create_from_a_configuration(seat: Seat) -> None:
    seat.create("--config-only", *SUBNET, "-o", "com.docker.network.driver.mtu=1300", "--label", "a=b", name="f-config")
    made = seat.create("--config-from", "f-config")
    assert made["ConfigFrom"] == {"Network": "f-config"}
    assert made["IPAM"]["Config"][0]["Subnet"] == "10.92.0.0/24"
    assert seat.network("f-config")["ConfigOnly"] is True
    seat.container("--network", "f-net")
    assert "mtu 1300" in seat.inside("ip", "link", "show", "eth0")
    done = seat.run("network", "rm", "f-config", check=False)
    assert "is in use" in done.err


@everywhere
def test_create_with_no_address_management_needs_another_driver(seat: Seat) -> None:
    done = seat.run("network", "create", "--ipam-driver", "null", "f-net", check=False)
    assert "ipv4 pool is empty" in done.err


# -- network ls, inspect, rm, prune


@everywhere
def test_ls_forms(seat: Seat) -> None:
    made = seat.create("--label", "f=1")
    assert seat.run("network", "ls", "-q", "-f", "name=f-net").out.split() == [made["Id"][:12]]
    assert seat.run("network", "ls", "-q", "--no-trunc", "-f", "name=f-net").out.split() == [made["Id"]]
    assert (
        seat.run("network", "ls", "--format", "{{.Name}}|{{.Driver}}|{{.Scope}}", "-f", "label=f").out
        == "f-net|bridge|local\n"
    )
    assert seat.run("network", "list", "-f", "name=f-net").out.startswith("NETWORK ID")
    seat.needs_client(23, "--format json")
    assert json.loads(seat.run("network", "ls", "--format", "json", "-f", "name=f-net").out)["ID"] == made["Id"][:12]


LISTED = {
    ("driver=bridge", "type=custom"): ["f-net", "f-used"],
    ("driver=host",): ["host"],
    ("driver=null",): ["none"],
    ("type=builtin",): ["bridge", "host", "none"],
    ("name=f-n",): ["f-net"],
    ("label=f=1",): ["f-net"],
    ("label=f=2",): [],
    ("dangling=true", "name=f-"): ["f-net"],
    ("dangling=false", "name=f-"): ["f-used"],
    ("scope=local", "name=f-"): ["f-net", "f-used"],
    ("scope=swarm",): [],
}


@everywhere
def test_ls_filters(seat: Seat) -> None:
    seat.create("--label", "f=1")
    seat.create(name="f-used")
    seat.container("--network", "f-used")
    for filters, found in LISTED.items():
        if filters[0].startswith("dangling") and seat.engine.kind == "dockerd":
            continue  # 20.10 does not look at containers here
        flags = [word for one in filters for word in ("--filter", one)]
        listed = seat.run("network", "ls", "--format", "{{.Name}}", *flags).out.split()
        assert sorted(listed) == found, filters


@everywhere
def test_ls_by_id(seat: Seat) -> None:
    made = seat.create()
    assert seat.run("network", "ls", "-f", f"id={made['Id'][:20]}", "--format", "{{.Name}}").out == "f-net\n"


@everywhere
def test_inspect_forms(seat: Seat) -> None:
    seat.create(*SUBNET)
    assert [one["Name"] for one in json.loads(seat.run("network", "inspect", "f-net", "none").out)] == ["f-net", "none"]
    assert seat.run("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "f-net").out == "10.92.0.0/24\n"
    assert "f-net" in seat.run("network", "inspect", "-v", "f-net").out


@everywhere
def test_rm_many_by_force(seat: Seat) -> None:
    seat.create()
    seat.create(name="f-two")
    done = seat.run("network", "rm", "f-net", "f-nosuch", "f-two", check=False)
    assert (done.code, done.out.split()) == (1, ["f-net", "f-two"])
    assert re.search("network f-nosuch not found|No such network: f-nosuch", done.err)
    seat.needs_client(23, "network rm -f")
    assert seat.run("network", "remove", "-f", "f-nosuch").code == 0


@everywhere
def test_prune_filters(seat: Seat) -> None:
    seat.create("--label", "keep")
    seat.create("--label", "go", name="f-two")
    seat.create("--label", "go", name="f-used")
    seat.container("--network", "f-used")
    assert "f-" not in seat.run("network", "prune", "-f", "--filter", "until=1h").out
    assert "f-two" in seat.run("network", "prune", "-f", "--filter", "label=go").out
    assert "f-net" not in seat.run("network", "prune", "-f", "--filter", "label!=keep").out
    assert "f-net" in seat.run("network", "prune", "--force").out
    assert seat.network("f-used")["Name"] == "f-used"


# -- network connect, disconnect


@everywhere
def test_connect_addresses_and_names(seat: Seat) -> None:
    seat.create(*SUBNET, *SIX)
    seat.container(name="f-first")
    seat.run("network", "connect", "f-net", "f-first")
    seat.container()
    seat.run("network", "connect", "--ip", "10.92.0.50", "--ip6", "fd92::50", "--alias", "nick", "--alias", "other",
             "--link", "f-first:friend", "--link-local-ip", "169.254.7.7", "f-net", "f-box")  # fmt: skip
    end = seat.ends()["f-net"]
    assert (end["IPAddress"], end["GlobalIPv6Address"]) == ("10.92.0.50", "fd92::50")
    assert {"nick", "other"} <= set(end["Aliases"])
    assert end["Links"] == ["f-first:friend"]
    assert "inet 169.254.7.7/16" in seat.inside("ip", "addr", "show", "eth1")
    assert "10.92.0.50" in seat.inside("nslookup", "nick", name="f-first", check=False)
    seat.inside("ping", "-c", "1", "-W", "5", "friend")
    seat.run("network", "disconnect", "f-net", "f-box")
    assert "f-net" not in seat.ends()


@everywhere
def test_connect_driver_options_are_kept(seat: Seat) -> None:
    seat.create()
    seat.container()
    seat.run("network", "connect", "--driver-opt", "own=1", "f-net", "f-box")
    assert seat.ends()["f-net"]["DriverOpts"] == {"own": "1"}


@ours
def test_connect_gateway_priority(seat: Seat) -> None:
    """New in API 1.48."""
    seat.needs_client(28, "--gw-priority")
    seat.create(*SUBNET)
    seat.container()
    seat.run("network", "connect", "--gw-priority", "7", "f-net", "f-box")
    assert seat.ends()["f-net"]["GwPriority"] == 7
    assert "default via 10.92.0.1" in seat.inside("ip", "route")


@everywhere
def test_disconnect_by_force_of_a_stopped_container(seat: Seat) -> None:
    seat.create()
    seat.container("--network", "f-net")
    seat.run("kill", "f-box")
    seat.run("network", "disconnect", "-f", "f-net", "f-box")
    assert "f-net" not in seat.ends()
    done = seat.run("network", "disconnect", "f-net", "f-box", check=False)
    assert "is not connected to" in done.err


# -- run


@everywhere
def test_run_old_flags(seat: Seat) -> None:
    seat.create(*SUBNET, *SIX)
    seat.container("--network", "f-net", name="f-first")
    # the client of today asks for a MAC in a way that 20.10 does not know
    mac = () if seat.engine.kind == "dockerd" else ("--mac-address", "02:11:22:33:44:55")
    end = seat.container("--net", "f-net", "--network-alias", "nick", "--net-alias", "more", "--ip", "10.92.0.60",
                         "--ip6", "fd92::60", *mac, "--link", "f-first:friend")["f-net"]  # fmt: skip
    assert (end["IPAddress"], end["GlobalIPv6Address"]) == ("10.92.0.60", "fd92::60")
    if mac:
        assert end["MacAddress"] == mac[1]
    assert {"nick", "more"} <= set(end["Aliases"])
    assert end["MacAddress"] in seat.inside("ip", "link", "show", "eth0")
    seat.inside("ping", "-c", "1", "-W", "5", "friend")


@everywhere
def test_run_link_local(seat: Seat) -> None:
    seat.create(*SUBNET)
    seat.container("--network", "f-net", "--link-local-ip", "169.254.9.9")
    assert "inet 169.254.9.9/16" in seat.inside("ip", "addr", "show", "eth0")


@everywhere
def test_run_long_form(seat: Seat) -> None:
    seat.needs_client(25, "link-local-ip in the long form of --network")
    seat.create(*SUBNET, *SIX)
    form = "name=f-net,alias=nick,alias=other,ip=10.92.0.70,ip6=fd92::70,link-local-ip=169.254.8.8,driver-opt=own=1"
    end = seat.container("--network", form)["f-net"]
    assert (end["IPAddress"], end["GlobalIPv6Address"]) == ("10.92.0.70", "fd92::70")
    assert {"nick", "other"} <= set(end["Aliases"])
    assert end["DriverOpts"] == {"own": "1"}
    assert "inet 169.254.8.8/16" in seat.inside("ip", "addr", "show", "eth0")


@ours
def test_run_several_networks(seat: Seat) -> None:
    """Several in one creation: new in API 1.44; priorities: 1.48."""
    seat.needs_client(28, "gw-priority in the long form of --network")
    seat.create(*SUBNET)
    seat.create("--subnet", "10.92.1.0/24", name="f-two")
    ends = seat.container(
        "--network", "name=f-net,mac-address=02:11:22:33:44:66", "--network", "name=f-two,gw-priority=1,alias=nick"
    )
    assert set(ends) == {"f-net", "f-two"}
    assert ends["f-net"]["MacAddress"] == "02:11:22:33:44:66"
    assert "default via 10.92.1.1" in seat.inside("ip", "route")


_CONFLICT = "conflicting options: "
REFUSED = {
    ("--network", "name=f-net,alias=a", "--network-alias", "b"): _CONFLICT + "cannot specify both",
    ("--network", "name=f-net,ip=10.92.0.7", "--ip", "10.92.0.8"): _CONFLICT + "cannot specify both",
    ("--network", "name=f-net,nosuch=1"): "invalid",
    ("--network", "host", "--ip", "10.92.0.8"): "IP address is supported on user defined networks only",
    ("--network", "f-net", "--ip", "10.93.0.8"): "no configured subnet",
    ("--network", "container:f-nosuch"): "No such container",
    ("--network", "container:f-first", "-p", "80"): _CONFLICT + "port publishing and the container type network mode",
    ("--network", "container:f-first", "--hostname", "x"): _CONFLICT + "hostname and the network mode",
    ("--network", "container:f-first", "--dns", "1.1.1.1"): _CONFLICT + "dns and the network mode",
    ("--network", "bridge", "--network-alias", "x"): "network-scoped alias",
}
#: What 20.10 says instead.
REFUSED_THERE = {"no configured subnet": "Invalid address"}


@everywhere
def test_run_refused(seat: Seat) -> None:
    seat.create(*SUBNET)
    seat.container(name="f-first")
    needs_original_20(seat.engine.kind)
    for flags, words in REFUSED.items():
        done = seat.run("run", "--rm", "--name", "f-box", *flags, "busybox", "true", check=False)
        assert done.code != 0, flags
        there = REFUSED_THERE.get(words, words) if seat.engine.kind == "dockerd" else words
        assert there.lower() in done.err.lower(), (flags, done.err)
        seat.run("rm", "-f", "f-box", check=False)


MODES = {
    (): ["eth0", "lo"],
    ("--network", "default"): ["eth0", "lo"],
    ("--network", "bridge"): ["eth0", "lo"],
    ("--network", "none"): ["lo"],
    ("--network", "container:f-first"): ["eth0", "lo"],
}


@everywhere
def test_run_modes(seat: Seat) -> None:
    seat.container(name="f-first")
    for number, (flags, links) in enumerate(MODES.items()):
        seat.container(*flags, name=f"f-box{number}")
        said = seat.inside("ip", "-o", "link", name=f"f-box{number}")
        listed = re.findall(r"^\d+: ([a-z0-9]+)[@:]", said, re.MULTILINE)
        assert sorted(one for one in listed if not one.startswith(("tun", "sit", "gre", "ip"))) == links, flags


@everywhere
def test_run_on_the_hosts_network(seat: Seat) -> None:
    seat.container("--network", "host")
    here = seat.engine.host("readlink", "/proc/self/ns/net").out
    assert seat.inside("readlink", "/proc/self/ns/net") == here
