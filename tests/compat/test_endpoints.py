"""A container's attachments as users ask for them, with the docker client and ours, on Berth and on the original."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import needs_client
from tests.support.engines import Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

LISTEN = "while true; do echo here | nc -l -p 7000; done"


@pytest.fixture
def quay(engine: Engine) -> Iterator[Engine]:
    """Networks ``ep-red`` and ``ep-blue``, and a container ``ep-peer`` on both."""
    engine.docker("network", "create", "--subnet", "10.177.8.0/24", "ep-red")
    engine.docker("network", "create", "--subnet", "10.177.9.0/24", "ep-blue")
    engine.docker("run", "-d", "--name", "ep-peer", "--network", "ep-red", "busybox", "sh", "-c", LISTEN)
    engine.docker("network", "connect", "ep-blue", "ep-peer")
    yield engine
    engine.wipe_containers()
    engine.docker("network", "rm", "ep-red", "ep-blue", check=False)


def attachment(engine: Engine, name: str, network: str) -> dict[str, Any]:
    return engine.api("GET", f"/containers/{name}/json").body["NetworkSettings"]["Networks"][network]


def reaches(engine: Engine, container: str, target: str) -> bool:
    return "here" in engine.docker("exec", container, "sh", "-c", f"nc -w 2 {target} 7000 </dev/null", check=False).out


def links(engine: Engine, container: str) -> list[str]:
    return engine.docker("exec", container, "ls", "/sys/class/net").out.split()


@pytest.mark.parametrize("client", ["docker", "berth"])
def test_flags_of_run_and_connect(quay: Engine, client: str) -> None:
    run = quay.client(client)
    mac = ["--mac-address", "02:42:0a:b1:08:99"] if quay.kind == "berth" else []  # for one network since API 1.44
    run("run", "-d", "--name", "ep-one", "--network", "ep-red", "--ip", "10.177.8.50", *mac, "--network-alias",
        "buoy", "--link", "ep-peer:pilot", "--link-local-ip", "169.254.9.9",
        "busybox", "sh", "-c", LISTEN)  # fmt: skip
    red = attachment(quay, "ep-one", "ep-red")
    assert (red["IPAddress"], red["MacAddress"]) == ("10.177.8.50", mac[1] if mac else "02:42:0a:b1:08:32")
    assert red["IPAMConfig"] == {"IPv4Address": "10.177.8.50", "LinkLocalIPs": ["169.254.9.9"]}
    assert "buoy" in red["Aliases"]
    assert "169.254.9.9/16" in quay.docker("exec", "ep-one", "ip", "-4", "addr").out
    assert reaches(quay, "ep-one", "pilot"), "the link's name is known to the one that has the link"
    assert not reaches(quay, "ep-peer", "pilot")
    assert reaches(quay, "ep-peer", "buoy")
    run("network", "connect", "--ip", "10.177.9.60", "--alias", "mole", "--link", "ep-peer:harbour", "--link-local-ip",
        "169.254.9.10", "--driver-opt", "some=thing", "ep-blue", "ep-one")  # fmt: skip
    blue = attachment(quay, "ep-one", "ep-blue")
    assert blue["IPAddress"] == "10.177.9.60"
    assert blue["DriverOpts"] == {"some": "thing"}
    assert blue["Links"] == ["ep-peer:harbour"]
    assert links(quay, "ep-one") == ["eth0", "eth1", "lo"]
    assert reaches(quay, "ep-peer", "mole")
    assert reaches(quay, "ep-one", "harbour")
    run("network", "disconnect", "ep-blue", "ep-one")
    wait_for(lambda: links(quay, "ep-one") == ["eth0", "lo"], "the link to be gone")
    assert not reaches(quay, "ep-peer", "mole")
    assert reaches(quay, "ep-peer", "buoy")


def test_a_stopped_container_is_connected_and_disconnected(quay: Engine) -> None:
    quay.docker("create", "--name", "ep-two", "--network", "ep-red", "busybox", "sh", "-c", LISTEN)
    quay.docker("network", "connect", "--ip", "10.177.9.70", "--alias", "skiff", "ep-blue", "ep-two")
    quay.docker("network", "disconnect", "ep-red", "ep-two")
    assert quay.docker("network", "disconnect", "ep-red", "ep-two", check=False).err.startswith("Error response")
    quay.docker("start", "ep-two")
    assert list(quay.api("GET", "/containers/ep-two/json").body["NetworkSettings"]["Networks"]) == ["ep-blue"]
    assert attachment(quay, "ep-two", "ep-blue")["IPAddress"] == "10.177.9.70"
    assert reaches(quay, "ep-peer", "skiff")
    # and what changes while it runs is still so after a restart
    quay.docker("network", "connect", "--ip", "10.177.8.71", "ep-red", "ep-two")
    quay.docker("restart", "-t", "0", "ep-two")
    assert attachment(quay, "ep-two", "ep-red")["IPAddress"] == "10.177.8.71"
    assert attachment(quay, "ep-two", "ep-blue")["IPAddress"] == "10.177.9.70"


def test_published_ports_follow_connect_and_disconnect(quay: Engine) -> None:
    serve = "mkdir -p /www && echo welcome > /www/index.html && exec httpd -f -p 80 -h /www"
    quay.docker("run", "-d", "--name", "ep-web", "--network", "ep-red", "-p", "18077:80", "busybox", "sh", "-c", serve)

    def answers() -> bool:
        return quay.host("curl", "-s", "-m", "1", "http://127.0.0.1:18077/", check=False).out == "welcome\n"

    wait_for(answers, "the page")
    quay.docker("network", "connect", "ep-blue", "ep-web")
    assert answers(), "by the network that has the default route now"
    quay.docker("network", "disconnect", "ep-blue", "ep-web")
    assert answers(), "by the one that is left"
    quay.docker("network", "connect", "ep-blue", "ep-web")
    quay.docker("network", "disconnect", "ep-red", "ep-web")
    assert answers(), "by the one that came later"
    assert quay.docker("port", "ep-web").out.startswith("80/tcp -> 0.0.0.0:18077")


@pytest.mark.parametrize("client", ["docker", "berth"])
def test_the_long_form(berth_engine: Engine, client: str) -> None:
    """Only here: the original of this machine knows none of it (API 1.44 and 1.48)."""
    if client == "docker":
        needs_client(28, "gw-priority")
    engine, run = berth_engine, berth_engine.client(client)
    for name, third in (("ep-b", 10), ("ep-a", 11)):
        engine.docker("network", "create", "--subnet", f"10.177.{third}.0/24", name)
    try:
        sysctl = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
        run("run", "-d", "--name", "ep-long", "--network",
            "name=ep-b,ip=10.177.10.9,alias=one,alias=two,mac-address=02:42:00:00:00:77,link-local-ip=169.254.3.3,"
            f"driver-opt=com.docker.network.endpoint.ifname=wan0,driver-opt={sysctl},driver-opt=rate-out=50mbit",
            "--network", "name=ep-a,gw-priority=5", "busybox", "sleep", "600")  # fmt: skip
        first = attachment(engine, "ep-long", "ep-b")
        assert (first["IPAddress"], first["MacAddress"]) == ("10.177.10.9", "02:42:00:00:00:77")
        assert first["Aliases"] == ["one", "two"]
        assert first["DriverOpts"]["rate-out"] == "50mbit"
        assert attachment(engine, "ep-long", "ep-a")["GwPriority"] == 5
        assert links(engine, "ep-long") == ["eth0", "lo", "wan0"]
        inside = engine.docker("exec", "ep-long", "sh", "-c",
                               "ip route; ip rule; cat /proc/sys/net/ipv4/conf/wan0/log_martians").out  # fmt: skip
        assert "default via 10.177.11.1 dev eth0" in inside
        assert "from 10.177.10.9" in inside
        assert inside.endswith("1\n")
        run("network", "disconnect", "ep-a", "ep-long")
        inside = engine.docker("exec", "ep-long", "sh", "-c", "ip route; ip rule").out
        assert "default via 10.177.10.1 dev wan0" in inside
        assert "from 10.177" not in inside
        run("network", "connect", "--gw-priority", "-3", "ep-a", "ep-long")
        assert "default via 10.177.10.1" in engine.docker("exec", "ep-long", "ip", "route").out
        # clashes are told by the client
        clash = run(
            "run", "--network", "name=ep-b,ip=10.177.10.8", "--ip", "10.177.10.7", "busybox", "true", check=False
        )
        assert clash.code == 125
        assert "cannot specify both --ip and per-network IPv4 address" in clash.err
    finally:
        engine.wipe_containers()
        engine.docker("network", "rm", "ep-a", "ep-b", check=False)


def test_limits_by_our_client(berth_engine: Engine) -> None:
    engine = berth_engine
    engine.docker("network", "create", "ep-slow")
    try:
        engine.berth(
            "run", "-d", "--name", "ep-lim", "--network", "name=ep-slow,rate-in=8mbit", "busybox", "sleep", "600"
        )
        done = engine.berth("network", "shape", "ep-slow", "ep-lim", "--rate-out", "10mbit")
        assert done.out == "rate-in=8mbit rate-out=10mbit delay=none loss=none\n"
        pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "ep-lim").out.strip()
        assert "rate 10Mbit" in engine.host("nsenter", "-t", pid, "-n", "tc", "qdisc", "show", "dev", "eth0").out
        assert "rate 8Mbit" in engine.host("tc", "qdisc", "show").out
        engine.docker("restart", "-t", "0", "ep-lim")
        pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "ep-lim").out.strip()
        assert "rate 10Mbit" in engine.host("nsenter", "-t", pid, "-n", "tc", "qdisc", "show", "dev", "eth0").out
        done = engine.berth("network", "shape", "ep-slow", "ep-lim", "--rate-out", "none", "--rate-in", "none")
        assert done.out == "rate-in=none rate-out=none delay=none loss=none\n"
        assert attachment(engine, "ep-lim", "ep-slow")["DriverOpts"] == {}
        # the link of before the restart goes behind the answer
        wait_for(lambda: "tbf" not in engine.host("tc", "qdisc", "show").out, "the limits to be gone")
        for words, code, said in (
            (("--rate-out", "lots"), 1, "invalid value for rate-out"),
            ((), 1, "nothing to change"),
        ):
            refused = engine.berth("network", "shape", "ep-slow", "ep-lim", *words, check=False)
            assert refused.code == code
            assert said in refused.err
    finally:
        engine.wipe_containers()
        engine.docker("network", "rm", "ep-slow", check=False)
