"""What containers find in /etc/resolv.conf and /etc/hosts, on Berth and on dockerd alike."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.clients import needs_original_20
from tests.support.engines import Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

Start = Callable[..., None]


@pytest.fixture
def start(engine: Engine) -> Iterator[Start]:
    """Starts containers called ``files``; one network is there."""
    engine.docker("network", "create", "--subnet", "10.97.0.0/24", "dnsfiles")
    engine.docker("network", "create", "--subnet", "10.96.0.0/24", "dnsfiles2")

    def make(*options: str) -> None:
        engine.docker("rm", "-f", "files", check=False)
        engine.docker("run", "-d", "--name", "files", *options, "busybox", "sleep", "600")

    yield make
    engine.docker("rm", "-f", "files", check=False)
    engine.docker("network", "rm", "dnsfiles", "dnsfiles2", check=False)


def resolv(engine: Engine) -> dict[str, list[str]]:
    """Return resolv.conf by key word, comments left out."""
    found: dict[str, list[str]] = {}
    for line in engine.docker("exec", "files", "cat", "/etc/resolv.conf").out.splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            found.setdefault(words[0], []).extend(words[1:])
    return found


def hosts(engine: Engine) -> list[list[str]]:
    text = engine.docker("exec", "files", "cat", "/etc/hosts").out
    return [
        line.split() for line in text.splitlines() if line.strip() and not line.startswith(("127.", "::1", "f", "#"))
    ]


GIVEN = ("--dns", "192.0.2.53", "--dns", "2001:db8::53", "--dns-search", "a.test", "--dns-search", "b.test")


def test_what_is_given_is_what_is_written(engine: Engine, start: Start) -> None:
    start(*GIVEN, "--dns-option", "timeout:3")
    assert resolv(engine) == {
        "nameserver": ["192.0.2.53", "2001:db8::53"], "search": ["a.test", "b.test"], "options": ["timeout:3"],
    }  # fmt: skip
    needs_original_20(engine.kind)
    start(*GIVEN, "--dns-option", "timeout:3", "--network", "dnsfiles")
    servers = (
        ["127.0.0.11"] if engine.kind == "berth" else ["127.0.0.11", "2001:db8::53"]
    )  # 20.10 knew no IPv6 upstream
    assert resolv(engine) == {
        "nameserver": servers, "search": ["a.test", "b.test"], "options": ["timeout:3", "ndots:0"],
    }  # fmt: skip
    start("--dns-option", "ndots:2", "--dns-search", ".", "--network", "dnsfiles")
    assert resolv(engine) == {"nameserver": ["127.0.0.11"], "options": ["ndots:2"]}


def test_the_hosts_servers_of_ipv6_are_not_for_a_container_without_it(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver fe80::1%lo\nnameserver 2001:db8::53\nnameserver 192.0.2.53\n")
    engine.host("mount", "--bind", str(conf), "/etc/resolv.conf")
    try:
        start()
        assert resolv(engine)["nameserver"] == ["192.0.2.53"]
        engine.docker("network", "connect", "dnsfiles", "files")
        assert resolv(engine)["nameserver"] == ["127.0.0.11"]
        conf.write_text("nameserver fe80::1%lo\nnameserver 2001:db8::53\n")
        start()
        assert resolv(engine)["nameserver"] == ["8.8.8.8", "8.8.4.4"]
    finally:
        engine.host("umount", "/etc/resolv.conf")


def test_a_loopback_server_given_by_hand_stays(engine: Engine, start: Start) -> None:
    start("--dns", "127.0.0.1", "--dns-search", ".")
    assert resolv(engine)["nameserver"] == ["127.0.0.1"]
    assert "search" not in resolv(engine)


def test_hosts_have_the_container_and_what_was_added(engine: Engine, start: Start) -> None:
    more = ("--add-host", "other:192.0.2.9", "--add-host", "gate:host-gateway")
    start("--network", "dnsfiles", "--ip", "10.97.0.9", "--hostname", "web", "--domainname", "corp.test", *more)
    here = engine.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bridge").out.strip()
    bridge = str(next(ip_network(here).hosts()))
    assert hosts(engine) == [["192.0.2.9", "other"], [bridge, "gate"], ["10.97.0.9", "web.corp.test", "web"]]


def test_hosts_follow_connect_and_disconnect_and_keep_what_a_user_wrote(engine: Engine, start: Start) -> None:
    start("--network", "dnsfiles", "--ip", "10.97.0.9", "--hostname", "web")
    engine.docker("exec", "files", "sh", "-c", "echo '192.0.2.77 mine' >> /etc/hosts")
    engine.docker("network", "connect", "--ip", "10.96.0.9", "dnsfiles2", "files")
    own, mine, second = ["10.97.0.9", "web"], ["192.0.2.77", "mine"], ["10.96.0.9", "web"]
    assert hosts(engine) == [own, mine, second]
    engine.docker("network", "disconnect", "dnsfiles", "files")
    # 20.10 takes every line with the host name away, also that of the network which stays.
    assert hosts(engine) == [mine, second] if engine.kind == "berth" else mine in hosts(engine)


def test_a_resolv_conf_that_a_user_edited_is_left_alone(engine: Engine, start: Start) -> None:
    start()
    engine.docker("exec", "files", "sh", "-c", "echo 'nameserver 192.0.2.1' > /etc/resolv.conf")
    engine.docker("network", "connect", "dnsfiles", "files")
    engine.docker("network", "connect", "dnsfiles2", "files")
    engine.docker("network", "disconnect", "dnsfiles", "files")
    if engine.kind == "berth":  # 20.10 still overwrites it; later releases look first
        assert resolv(engine) == {"nameserver": ["192.0.2.1"]}


def test_an_untouched_resolv_conf_follows_the_first_user_network(engine: Engine, start: Start) -> None:
    start()
    assert "127.0.0.11" not in resolv(engine)["nameserver"]
    engine.docker("network", "connect", "dnsfiles", "files")
    assert resolv(engine)["nameserver"] == ["127.0.0.11"]
    assert "ndots:0" in resolv(engine)["options"]


def test_a_link_on_a_user_network_is_a_private_alias(engine: Engine, start: Start) -> None:
    try:
        engine.docker(
            "run", "-d", "--name", "target", "--network", "dnsfiles", "--ip", "10.97.0.20", "busybox", "sleep", "600"
        )
        start("--network", "dnsfiles", "--link", "target:database")
        asked = ("exec", "files", "nslookup", "-type=a", "database")
        assert "10.97.0.20" in engine.docker(*asked).out
        other = engine.docker("exec", "target", "nslookup", "-type=a", "database", check=False)
        assert "10.97.0.20" not in other.out
    finally:
        engine.docker("rm", "-f", "target", check=False)
