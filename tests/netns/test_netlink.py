"""Our netlink against an independent one: what ours made, pyroute2 sees, and the other way round."""

import socket
from pathlib import Path

import pyroute2
import pytest

from berth.kernel import link, netlink, netns
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root


@isolated
def test_the_witness_sees_what_we_made(tmp_path: Path) -> None:
    path = str(tmp_path / "space")
    netns.create(path)
    route = link.host()
    route.send(netlink.new_bridge("brx", "02:42:00:00:00:01", 1400))
    index = socket.if_nametoindex("brx")
    route.send(
        netlink.set_alias("brx", "ours"), netlink.new_address(index, "10.0.0.1", 24, broadcast="10.0.0.255"),
        netlink.set_up("brx"),
    )  # fmt: skip
    with netns.opened(path) as fd:
        route.send(
            netlink.new_veth("one", peer="eth0", peer_mac="02:42:0a:00:00:02", namespace_fd=fd, mtu=1400, master=index)
        )
    port = socket.if_nametoindex("one")
    route.send(netlink.configure_port(port, isolated=True, hairpin=True), netlink.set_up("one"))
    with link.inside(path) as there:
        inner = there.index("eth0")
        there.send(
            netlink.new_address(inner, "10.0.0.2", 24), netlink.set_up("eth0"), netlink.default_route("10.0.0.1", inner)
        )
    with pyroute2.IPRoute() as witness:
        bridge = witness.link("get", index=index)[0]
        assert bridge.get_attr("IFLA_IFALIAS") == "ours"
        assert bridge.get_attr("IFLA_MTU") == 1400
        assert bridge.get_attr("IFLA_ADDRESS") == "02:42:00:00:00:01"
        assert bridge["state"] == "up"
        member = witness.link("get", index=port)[0]
        assert member.get_attr("IFLA_MASTER") == index
        address = next(iter(witness.get_addr(index=index, family=socket.AF_INET)))
        assert (address.get_attr("IFA_LOCAL"), address["prefixlen"]) == ("10.0.0.1", 24)
    flags = {
        name: Path(f"/sys/class/net/one/brport/{name}").read_text().strip() for name in ("isolated", "hairpin_mode")
    }
    assert flags == {"isolated": "1", "hairpin_mode": "1"}

    def look() -> tuple[str, str]:
        with pyroute2.IPRoute() as inside:
            found = inside.get_default_routes(family=socket.AF_INET)[0]
            mac = inside.link("get", ifname="eth0")[0].get_attr("IFLA_ADDRESS")
            return found.get_attr("RTA_GATEWAY"), mac

    assert netns.inside(path, look) == ("10.0.0.1", "02:42:0a:00:00:02")


@isolated
def test_we_see_what_the_witness_made() -> None:
    with pyroute2.IPRoute() as witness:
        witness.link("add", ifname="brx", kind="bridge", address="02:42:00:00:00:09")
        index = witness.link_lookup(ifname="brx")[0]
        witness.addr("add", index=index, address="10.0.0.1", prefixlen=24)
        witness.link("set", index=index, state="up")
        witness.route("add", dst="10.7.0.0/16", gateway="10.0.0.9", table=100)
        witness.rule("add", table=100, priority=32000)
    route = link.host()
    seen = route.link("brx")
    assert (seen.number, seen.kind, seen.mac, seen.is_up) == (index, "bridge", "02:42:00:00:00:09", True)
    assert netlink.Address(index, "10.0.0.1", 24) in route.addresses(socket.AF_INET)
    assert 100 in route.rule_tables(socket.AF_INET)
    assert [(one.destination, one.prefix) for one in route.routes(socket.AF_INET, 100)] == [("10.7.0.0", 16)]


@isolated
def test_refusals_name_what_was_asked() -> None:
    route = link.host()
    with pytest.raises(netlink.LinkNotFound, match="look up link nowhere"):
        route.index("nowhere")
    route.send(netlink.new_bridge("brx", "02:42:00:00:00:01", 0))
    with pytest.raises(netlink.LinkExists, match="make bridge brx"):
        route.send(netlink.new_bridge("brx", "02:42:00:00:00:01", 0))
    said = route.try_send(netlink.set_up("brx"), netlink.delete_link("nowhere"), netlink.delete_link("brx"))
    assert [one is None for one in said] == [True, False, True]
    assert not link.look_up(["brx"])


@isolated
def test_a_group_goes_at_once() -> None:
    route = link.host()
    for name in ("one", "two", "three"):
        route.send(netlink.new_bridge(name, "02:42:00:00:00:01", 0))
    link.retire(["one", "two", "not-there"], 77)
    link.reap(77)
    link.reap(77)
    assert [one.name for one in link.links()] == ["lo", "three"]


@isolated
def test_a_namespace_is_pinned_until_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "space")
    netns.create(path)
    with pytest.raises(FileExistsError):
        netns.create(path)
    own = Path("/proc/self/ns/net").readlink()
    assert netns.inside(path, lambda: Path("/proc/thread-self/ns/net").readlink()) != own
    assert Path("/proc/self/ns/net").readlink() == own
    assert netns.remove(path)
    assert not netns.remove(path)
    with pytest.raises(netns.NamespaceGone):
        netns.inside(path, lambda: None)
