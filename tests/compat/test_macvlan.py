"""Macvlan networks through the docker CLI and the API, on Berth and on the original."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Answer, Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]


@pytest.fixture
def parent(engine: Engine) -> Iterator[str]:
    """A link of the engine's host whose other end is another host, 192.168.78.1."""
    engine.host("ip", "link", "add", "mvp0", "type", "veth", "peer", "name", "mvp1")
    engine.host("ip", "link", "set", "mvp0", "up")
    engine.host("ip", "link", "set", "mvp1", "up")
    yield "mvp0"
    engine.wipe_containers()
    for name in engine.docker("network", "ls", "-q", "--filter", "driver=macvlan").out.split():
        engine.docker("network", "rm", name)
    engine.host("ip", "link", "del", "mvp0")


def create(engine: Engine, **options: str) -> Answer:
    # A subnet of no other test: dockerd 20.10 keeps some of those it has refused a network for.
    body = {
        "Name": "mvx",
        "Driver": "macvlan",
        "Options": options,
        "IPAM": {"Config": [{"Subnet": "10.176.77.0/24"}]},
    }
    return engine.api("POST", "/v1.41/networks/create", body)


def test_containers_meet_by_name_and_have_what_they_asked_for(engine: Engine, parent: str) -> None:
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--subnet", "192.168.78.0/24",
                  "--gateway", "192.168.78.1", "mv")  # fmt: skip
    engine.docker("run", "-d", "--name", "mvone", "--network", "mv", "--ip", "192.168.78.50", "--network-alias",
                  "first", "busybox", "sleep", "600")  # fmt: skip
    seen = engine.docker("run", "--rm", "--network", "mv", "busybox", "sh", "-c",
                         "ping -c1 -W5 mvone && ping -c1 -W5 first && ip route").out  # fmt: skip
    assert "from 192.168.78.50" in seen
    assert "default via 192.168.78.1 dev eth0" in seen
    shown = engine.docker("inspect", "-f", "{{json .NetworkSettings.Networks.mv}}", "mvone").out
    assert '"IPAddress":"192.168.78.50"' in shown
    assert '"Gateway":"192.168.78.1"' in shown
    mac = engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.mv.MacAddress}}", "mvone").out.strip()
    assert mac in engine.docker("exec", "mvone", "ip", "link", "show", "eth0").out
    assert engine.docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", "mvone").out.strip() == "{}"
    listed = engine.docker("network", "inspect", "-f", "{{.Driver}} {{len .Containers}} {{.Options.parent}}", "mv").out
    assert listed.split() == ["macvlan", "1", parent]


def test_connect_and_disconnect_while_running(engine: Engine, parent: str) -> None:
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--subnet", "192.168.78.0/24", "mv")
    engine.docker("run", "-d", "--name", "mvone", "--network", "mv", "busybox", "sleep", "600")
    engine.docker("run", "-d", "--name", "mvtwo", "busybox", "sleep", "600")
    engine.docker("network", "connect", "--alias", "second", "mv", "mvtwo")
    assert engine.docker("exec", "mvone", "ping", "-c1", "-W5", "second").ok
    refused = engine.docker("network", "rm", "mv", check=False)
    assert "has active endpoints" in refused.err
    engine.docker("network", "disconnect", "mv", "mvtwo")
    assert "eth1" not in engine.docker("exec", "mvtwo", "ip", "link").out
    assert not engine.docker("exec", "mvone", "ping", "-c1", "-W1", "second", check=False).ok


def test_a_container_starts_again(engine: Engine, parent: str) -> None:
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "-o", "macvlan_mode=private",
                  "--subnet", "192.168.78.0/24", "mv")  # fmt: skip
    engine.docker("run", "-d", "--name", "mvone", "--network", "mv", "busybox", "sleep", "600")
    engine.docker("restart", "-t", "0", "mvone")
    assert "192.168.78." in engine.docker("exec", "mvone", "ip", "addr", "show", "eth0").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ({"parent": "nosuch"}, "invalid subinterface vlan name nosuch, example formatting is eth0.10"),
        ({"parent": "nosuch.10"}, "was not found on the host: nosuch"),
        ({"parent": "mvp0.x"}, "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
        ({"parent": "mvp0.4095"}, "vlan id must be between 1-4094, received: 4095"),
        ({"parent": "mvp0", "macvlan_mode": "odd"}, "requested macvlan mode 'odd' is not valid, 'bridge' mode is"),
    ],
)
def test_what_is_refused(engine: Engine, parent: str, options: dict[str, str], words: str) -> None:
    answer = create(engine, **options)
    assert (answer.status, words in answer.message) == (500, True), answer
    assert engine.api("GET", "/v1.41/networks/mvx").status == 404


def test_the_driver_is_listed(engine: Engine) -> None:
    known = engine.api("GET", "/v1.41/info").body["Plugins"]["Network"]
    assert {"bridge", "host", "ipvlan", "macvlan", "null"} <= set(known)


# -- newer than 20.10, and beyond Docker: on Berth only -----------------------------------------------


@pytest.mark.parametrize("engine", ["berth"], indirect=True)
def test_a_killed_daemon_finds_its_networks_again(engine: Engine, parent: str) -> None:
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--subnet", "192.168.78.0/24",
                  "-o", "host_access=true", "mv")  # fmt: skip
    engine.docker("run", "-d", "--name", "mvone", "--network", "mv", "busybox", "sleep", "600")
    engine.docker("network", "create", "-d", "macvlan", "alone")
    engine.docker("run", "-d", "--name", "mvtwo", "--network", "alone", "busybox", "sleep", "600")
    address = engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.mv.IPAddress}}", "mvone").out.strip()
    busybox = engine.docker("exec", "mvone", "ping", "-c1", "-W5", "192.168.78.254")
    assert busybox.ok, "the host's own address on the network"
    engine.kill9()
    engine.start()
    assert f"{address}/24" in engine.docker("exec", "mvone", "ip", "addr").out
    assert engine.docker("exec", "mvone", "ping", "-c1", "-W5", "192.168.78.254").ok
    assert engine.docker("run", "--rm", "--network", "alone", "busybox", "ping", "-c1", "-W5", "mvtwo").ok
    made = engine.host("ip", "-o", "link").out
    assert "shim-" in made
    assert "dm-" in made
    engine.wipe_containers()
    engine.docker("network", "rm", "mv", "alone")
    left = engine.host("ip", "-o", "link").out
    assert "shim-" not in left
    assert "dm-" not in left
    assert parent in left


@pytest.mark.parametrize("engine", ["berth"], indirect=True)
def test_two_networks_share_a_parent(engine: Engine, parent: str) -> None:
    """Current Docker allows it; 20.10 did not."""
    assert create(engine, parent=parent).status == 201
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--subnet", "10.179.0.0/24", "mvy")
    engine.docker("run", "-d", "--name", "mvone", "--network", "mvx", "busybox", "sleep", "600")
    engine.docker("run", "-d", "--name", "mvtwo", "--network", "mvy", "busybox", "sleep", "600")


@pytest.fixture
def dhcp_server(engine: Engine, parent: str, tmp_path: Path) -> Iterator[Path]:
    """A DHCP server behind the parent; its list of leases."""
    held, pid = tmp_path / "leases", tmp_path / "pid"
    engine.host("ip", "addr", "add", "192.168.78.1/24", "dev", "mvp1")
    engine.host("dnsmasq", "--conf-file=/dev/null", "--port=0", "--interface=mvp1", "--user=root", "--no-ping",
                f"--dhcp-leasefile={held}", f"--pid-file={pid}", "--dhcp-range=192.168.78.100,192.168.78.150,1h",
                "--dhcp-authoritative")  # fmt: skip
    yield held
    engine.wipe_containers()
    os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("engine", ["berth"], indirect=True)
def test_addresses_from_the_networks_own_server(engine: Engine, parent: str, dhcp_server: Path) -> None:
    engine.docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--ipam-driver", "dhcp", "mv")
    engine.docker("run", "-d", "--name", "mvone", "--hostname", "web", "--network", "mv", "busybox", "sleep", "600")
    address = engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.mv.IPAddress}}", "mvone").out.strip()
    assert f" {address} web " in dhcp_server.read_text()
    assert f"{address}/24" in engine.docker("exec", "mvone", "ip", "addr").out
    assert "default via 192.168.78.1" in engine.docker("exec", "mvone", "ip", "route").out
    shown = engine.api("GET", "/networks/mv").body["Containers"]
    assert [one["Lease"]["Server"] for one in shown.values()] == ["192.168.78.1"]
    engine.kill9()
    engine.start()
    assert f"{address}/24" in engine.docker("exec", "mvone", "ip", "addr").out
    engine.docker("rm", "-f", "mvone")
    wait_for(lambda: address not in dhcp_server.read_text(), "the lease given back")
