"""What the host routes, seen from a real kernel: nothing may be missed, and a question must not read everything."""

import socket
import subprocess

import pytest

from berth.kernel import link, netlink
from berth.kernel.routes import BUFFER_BYTES, FEW, RouteView
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def seen(view: RouteView, **how: bool) -> set[str]:
    return {f"{one.prefix} {one.link} {one.table}" for one in view.prefixes(lambda name: name == "ours", **how)}


def tunnel(name: str) -> None:
    link.host().send(netlink.new_bridge(name, "02:00:00:00:00:01", 0), netlink.set_up(name))


@isolated
def test_routes_of_every_table_peers_and_single_addresses_are_seen() -> None:
    tunnel("vpn0")
    ip("address", "add", "10.8.0.1", "peer", "10.8.0.2/32", "dev", "vpn0")
    ip("route", "add", "10.20.0.0/16", "dev", "vpn0", "table", "51820")
    ip("route", "add", "10.30.0.7/32", "dev", "vpn0")
    ip("route", "add", "blackhole", "10.40.0.0/16")
    ip("route", "add", "0.0.0.0/1", "dev", "vpn0")
    ip("route", "add", "128.0.0.0/1", "dev", "vpn0")
    ip("route", "add", "default", "dev", "vpn0")
    ip("-6", "route", "add", "2001:db8:7::/48", "dev", "vpn0")
    view = RouteView()
    # what takes everything is a way out, not somebody's network
    assert seen(view) == {
        "10.8.0.1/32 vpn0 254",
        "10.8.0.2/32 vpn0 254",
        "10.20.0.0/16 vpn0 51820",
        "10.30.0.7/32 vpn0 254",
        "10.40.0.0/16  254",
        "2001:db8:7::/48 vpn0 254",
    }
    view.close()


@isolated
def test_changes_are_followed_without_reading_everything_again() -> None:
    view = RouteView()
    assert seen(view) == set()
    first = view._socket
    tunnel("vpn0")
    ip("address", "add", "10.9.0.1/24", "dev", "vpn0")
    ip("route", "add", "10.20.0.0/16", "via", "10.9.0.2")
    ip("-6", "address", "add", "2001:db8::1/64", "dev", "vpn0")
    assert seen(view) == {"10.9.0.0/24 vpn0 254", "10.20.0.0/16 vpn0 254", "2001:db8::/64 vpn0 254"}
    ip("route", "del", "10.20.0.0/16")
    assert seen(view) == {"10.9.0.0/24 vpn0 254", "2001:db8::/64 vpn0 254"}
    ip("address", "del", "10.9.0.1/24", "dev", "vpn0")
    assert seen(view) == {"2001:db8::/64 vpn0 254"}
    # of IPv4 routes that go with their link the kernel does not tell
    ip("route", "add", "10.30.0.0/16", "dev", "vpn0")
    assert "10.30.0.0/16 vpn0 254" in seen(view)
    ip("link", "set", "vpn0", "down")
    assert seen(view) >= {"10.30.0.0/16 vpn0 254"}
    assert view._socket is first
    assert seen(view, fresh=True) == set()
    view.close()


@isolated
def test_our_own_bridges_are_left_out() -> None:
    view = RouteView()
    seen(view)
    for name in ("ours", "theirs"):
        tunnel(name)
    ip("address", "add", "10.1.0.1/24", "dev", "ours")
    ip("address", "add", "10.2.0.1/24", "dev", "theirs")
    assert seen(view) == seen(RouteView()) == {"10.2.0.0/24 theirs 254"}
    view.close()


@isolated
def test_changes_that_were_lost_are_made_good() -> None:
    view = RouteView()
    seen(view)
    assert view._socket is not None
    assert view._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= BUFFER_BYTES
    view._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    tunnel("vpn0")
    for number in range(40):
        ip("route", "add", f"10.{number}.0.0/16", "dev", "vpn0")
    assert len(seen(view)) == 40
    view.close()


@isolated
def test_what_is_at_hand_is_never_too_little() -> None:
    def at_hand() -> set[str] | None:
        found = view.at_hand(lambda name: name == "ours")
        return None if found is None else {str(one.prefix) for one in found}

    view = RouteView()
    assert at_hand() is None  # nobody has read anything yet
    assert view.fileno() is None
    seen(view)
    assert at_hand() == set()
    tunnel("vpn0")
    ip("route", "add", "10.20.0.0/16", "dev", "vpn0")
    assert at_hand() == {"10.20.0.0/16"}
    for number in range(FEW + 1):
        ip("route", "add", f"10.30.{number}.0/24", "dev", "vpn0")
    assert at_hand() is None  # more than one who must not wait takes in
    assert len(at_hand() or ()) == FEW + 2
    assert view._socket is not None
    view._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    for number in range(40):
        ip("route", "add", f"10.40.{number}.0/24", "dev", "vpn0")
    assert at_hand() is None
    assert at_hand() is None  # what was lost stays lost until all is read again
    assert len(seen(view)) == FEW + 42
    assert len(at_hand() or ()) == FEW + 42
    view.close()
