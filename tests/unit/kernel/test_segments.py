"""What a bridge is like → what its next port gets, and what the bridge is told."""

from typing import cast

from berth.kernel import netlink, segments
from berth.kernel.netlink import Link, RouteEntry, RouteSocket
from berth.kernel.segments import USUAL

LARGE = 262_144


def bridge(segment: int, limit: int) -> Link:
    return Link(7, "br", True, 1500, "", 0, "bridge", "", True, segment, limit)


class Host:
    """A host whose way out takes segments of a size, or has none."""

    def __init__(self, size: int | None) -> None:
        self.size = size

    def way_to(self, address: str) -> RouteEntry:
        if self.size is None:
            raise netlink.NetlinkError(f"look up the way to {address}", 101, "")
        return RouteEntry(2, 254, "", 0, "192.168.0.1", 1, 1)

    def link(self, name: str) -> Link:
        return bridge(self.size or 0, USUAL)._replace(name=name)


def host(size: int | None = None) -> RouteSocket:
    return cast("RouteSocket", Host(size))


def test_a_kernel_that_does_not_say_is_told_nothing() -> None:
    assert segments.of_port(host(), bridge(0, 0), LARGE) == (0, [])
    assert segments.of_link(host(), bridge(0, 0), LARGE) == []
    assert segments.of_link(host(), bridge(0, 524_280), LARGE) == []


def test_the_first_port_decides_for_the_bridge() -> None:
    size, messages = segments.of_port(host(), bridge(USUAL, USUAL), LARGE)
    assert (size, messages) == (LARGE, [netlink.set_segment(7, LARGE)])
    assert segments.of_port(host(), bridge(USUAL, USUAL), USUAL) == (0, [])


def test_later_ports_have_what_the_bridge_has() -> None:
    assert segments.of_port(host(), bridge(USUAL, 524_280), LARGE) == (0, [])
    assert segments.of_port(host(), bridge(LARGE, 524_280), 0) == (LARGE, [])
    assert segments.of_port(host(), bridge(32_768, 524_280), LARGE) == (32_768, []), "less, if its owner says so"


def test_a_link_is_told_what_it_can_have() -> None:
    assert segments.of_link(host(), bridge(USUAL, 524_280), LARGE) == [netlink.set_segment(7, LARGE)]
    assert segments.of_link(host(), bridge(USUAL, USUAL), LARGE) == [], "a bridge without ports"


def test_without_a_way_out_it_is_as_usual() -> None:
    assert segments.of_way_out(host()) == USUAL
    assert segments.of_port(host(), bridge(USUAL, USUAL), 0) == (0, [])
