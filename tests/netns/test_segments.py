"""TCP segments beyond 64 KB in a real kernel: the links' limits, read back, and whether they pass whole, by packets."""

import hashlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from berth.base.errors import Kind
from berth.kernel import link, netlink, netns, netview, shaping, sysctl
from berth.kernel.capture import Tap
from berth.networks.options import PLAIN_SEGMENT, SEGMENT
from berth.networks.segments import LARGE
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import EndpointSettings
from tests.netns.test_networks import Container, World, neighbour, published, refused
from tests.netns.throwaway import isolated
from tests.scenarios.inside import old_segments
from tests.support import uml

pytestmark = pytest.mark.root

BLOCK: Final = bytes(range(256)) * 4096
#: Blocks in a test: enough for TCP to grow to its largest segments.
BLOCKS: Final = 48
#: Seconds for them.
LIMIT_S: Final = 30.0
#: What a captured frame has before the packet that a limit is about: an Ethernet header.
HEADER: Final = 14
UPLINK: Final = 131_072


def limits(namespace: str = "") -> dict[str, int]:
    """Every link's largest segment, but for the loopback's."""
    return {one.name: one.segment for one in netview.look(namespace).links if one.name != "lo"}


def sent(
    sender: str, target: str, address: str, *, port: int = 5001, to: int = 0, on: str = "eth0", blocks: int = BLOCKS
) -> int:
    """Send in bulk from one namespace to another; return the largest packet a link there took in, if all came whole."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = netns.inside(target, socket.socket, family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", to or port))
    listener.listen()
    listener.settimeout(LIMIT_S)
    client = netns.inside(sender, socket.socket, family) if sender else socket.socket(family)
    tap, done, largest = Tap(target, on), threading.Event(), [0]

    def watch() -> None:
        for caught in tap.packets(128, lambda: not done.is_set()):
            largest[0] = max(largest[0], caught.length - HEADER if caught else 0)

    def send() -> None:
        with client:
            client.settimeout(LIMIT_S)
            client.connect((address, port))
            for _ in range(blocks):
                client.sendall(BLOCK)

    threads = [threading.Thread(target=work, daemon=True) for work in (watch, send)]
    for thread in threads:
        thread.start()
    came, meant = hashlib.sha256(), hashlib.sha256()
    with listener, listener.accept()[0] as peer:
        peer.settimeout(LIMIT_S)
        while data := peer.recv(1 << 20):
            came.update(data)
    done.set()
    for thread in threads:
        thread.join()
    tap.close()
    for _ in range(blocks):
        meant.update(BLOCK)
    assert came.digest() == meant.digest()
    return largest[0]


def between(one: Container, two: Container, network: str) -> int:
    return sent(one.namespace, two.namespace, two.address(network))


def is_large(size: int, most: int = LARGE) -> bool:
    return PLAIN_SEGMENT < size <= most


def links_of(world: World, network: str) -> set[int]:
    """The limits of all links of a network, bridge, near ends and far ends."""
    record, here = world.service.get(network), limits()
    ends = [(live, end) for live in world.live.all() for end in live.endpoints if end.network_id == record.id]
    inside = {limits(live.netns_path or "")[end.link] for live, end in ends}
    return {here[record.bridge], *(here[end.host_link] for _, end in ends), *inside}


@isolated
async def test_what_never_leaves_goes_in_large_segments(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("in", internal=True)
    assert links_of(world, "in") == {PLAIN_SEGMENT}, "the kernel gives a bridge without ports no more"
    one, two = await world.container("one", "in"), await world.container("two", "in")
    assert links_of(world, "in") == {LARGE}
    assert limits(one.namespace) == {"eth0": LARGE}
    assert is_large(between(one, two, "in"))
    assert is_large(sent("", two.namespace, two.address("in"))), "from the host"
    shown = await world.service.see.network("in", ())
    assert shown["LargestSegment"] == LARGE
    # who comes later, by connect, or again, is no different; other networks are as ever
    three = await world.container("three", "bridge")
    await world.service.connect("in", three.id, EndpointSettings())
    assert limits(three.namespace) == {"eth0": PLAIN_SEGMENT, "eth1": LARGE}
    await one.close()
    await world.service.open(one.id)
    assert links_of(world, "in") == {LARGE}
    assert links_of(world, "bridge") == {PLAIN_SEGMENT}


@isolated
async def test_ipv6_stays_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("in", internal=True, enable_ipv6=True)
    one, two = await world.container("one", "in"), await world.container("two", "in")
    address = world.service.settings(two.id)["Networks"]["in"]["GlobalIPv6Address"]
    assert PLAIN_SEGMENT // 2 < sent(one.namespace, two.namespace, address) <= PLAIN_SEGMENT
    assert is_large(between(one, two, "in")), "IPv4 on the same links"


def way_out(place: Path, size: int) -> str:
    """Another host that everything leads to, by a link that takes segments of a size at both ends."""
    remote = neighbour(place)
    route = link.host()
    near = route.index("cable0")
    route.send(netlink.default_route("203.0.113.2", near), netlink.set_segment(near, size))
    with link.inside(remote) as there:
        there.send(netlink.set_segment(there.index("cable1"), size))
    return remote


@isolated
async def test_an_uplink_of_64_kb_leaves_things_as_they_were(tmp_path: Path) -> None:
    world = World(tmp_path)
    remote = way_out(tmp_path, PLAIN_SEGMENT)
    await world.service.adopt(set())
    await world.network("red")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    assert links_of(world, "red") == {PLAIN_SEGMENT}
    assert between(one, two, "red") <= PLAIN_SEGMENT
    # what leaves is not cut up for the link: that link takes what the container makes
    assert 2 * 1500 < sent(one.namespace, remote, "203.0.113.2", on="cable1") <= PLAIN_SEGMENT


@isolated
async def test_segments_an_uplink_takes_pass_both_kinds_of_translation_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    remote = way_out(tmp_path, UPLINK)
    await world.service.adopt(set())
    await world.network("red")
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "red")
    assert links_of(world, "red") == {UPLINK}
    assert is_large(between(one, two, "red"), UPLINK)
    assert is_large(sent(one.namespace, remote, "203.0.113.2", on="cable1"), UPLINK), "under the host's address"
    two_ports = {"5001/tcp": published("8081")["80/tcp"]}
    three = await world.container("three", "red", port_bindings=two_ports)
    came = sent(remote, three.namespace, "203.0.113.1", port=8081, to=5001)
    assert is_large(came, UPLINK), "by a published port"
    assert is_large(sent(two.namespace, three.namespace, "203.0.113.1", port=8081, to=5001), UPLINK)
    # with the bridge's packets passed through the rules of IP as well
    sysctl.write("net/bridge/bridge-nf-call-iptables", "1")
    assert is_large(between(one, two, "red"), UPLINK)


@isolated
async def test_an_option_says_otherwise(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("never", internal=True, options={SEGMENT: "65536"})
    await world.network("most", options={SEGMENT: "524280"})
    for network, size in (("never", PLAIN_SEGMENT), ("most", 524_280)):
        one, two = await world.container(f"{network}1", network), await world.container(f"{network}2", network)
        assert links_of(world, network) == {size}
        largest = between(one, two, network)
        assert is_large(largest, size) == (network == "most"), largest
        assert world.service.inspect(network)["Options"] == {SEGMENT: str(size)}
    assert SEGMENT not in world.service.inspect("bridge")["Options"]
    for bad in ("65535", "524281", "lots"):
        with refused(Kind.INVALID, SEGMENT):
            await world.network("bad", options={SEGMENT: bad})


@isolated
async def test_a_bridge_that_was_there_keeps_its_own_limit(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    link.host().send(netlink.new_bridge("theirs", "02:42:00:00:00:07", 1500))
    options = {"com.docker.network.bridge.name": "theirs"}
    with refused(Kind.INVALID, "ip link set theirs gso_ipv4_max_size"):
        await world.network("in", internal=True, options={**options, SEGMENT: "131072"})
    await world.network("in", internal=True, options=options)
    one = await world.container("one", "in")
    assert links_of(world, "in") == {PLAIN_SEGMENT}
    await one.close()
    # its owner's word counts for whoever comes next, and so does that of the owner of one of ours
    link.host().send(netlink.set_segment(link.host().index("theirs"), UPLINK))
    await world.service.open(one.id)
    assert links_of(world, "in") == {UPLINK}


@isolated
async def test_containers_that_are_there_already_are_joined_by_their_like(tmp_path: Path) -> None:
    """As after an engine that knew nothing of segments: nobody's are cut up for a neighbour."""
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("in", internal=True)
    one = await world.container("one", "in")
    end = world.live.all()[0].endpoints[0]
    route = link.host()
    for name in (end.host_link, world.service.get("in").bridge):
        route.send(netlink.set_segment(route.index(name), PLAIN_SEGMENT))
    with link.inside(one.namespace) as there:
        there.send(netlink.set_segment(there.index("eth0"), PLAIN_SEGMENT))
    await world.fresh().adopt({one.id})
    two = await world.container("two", "in")
    assert links_of(world, "in") == {PLAIN_SEGMENT}
    assert between(one, two, "in") <= PLAIN_SEGMENT


@isolated
async def test_a_restart_leaves_the_limits(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("in", internal=True)
    one = await world.container("one", "in")
    await world.fresh().adopt({one.id})
    two = await world.container("two", "in")
    assert links_of(world, "in") == {LARGE}
    assert is_large(between(one, two, "in"))


@isolated
async def test_a_network_in_use_gets_other_limits_when_it_becomes_internal(tmp_path: Path) -> None:
    world = World(tmp_path)
    remote = way_out(tmp_path, PLAIN_SEGMENT)
    await world.service.adopt(set())
    await world.network("red", internal=True)
    one, two = await world.container("one", "red"), await world.container("two", "red")
    await world.network("empty", internal=True)
    await world.service.change.update("red", NetworkUpdate(internal=False))
    assert links_of(world, "red") == {PLAIN_SEGMENT}
    assert 2 * 1500 < sent(one.namespace, remote, "203.0.113.2", on="cable1") <= PLAIN_SEGMENT
    await world.service.change.update("red", NetworkUpdate(internal=True))
    assert links_of(world, "red") == {LARGE}
    assert is_large(between(one, two, "red"))
    # nobody has ever been on it: the first one decides, by what it is by then
    await world.service.change.update("empty", NetworkUpdate(internal=False))
    await world.container("first", "empty")
    assert links_of(world, "empty") == {PLAIN_SEGMENT}


@isolated
async def test_limits_of_rates_hold_for_large_segments(tmp_path: Path) -> None:
    """A packet beyond what may leave at once is cut up by the discipline, not lost."""
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("in", internal=True)
    shaped = {"in": EndpointSettings(driver_opts={"rate-in": "40mbit", "rate-out": "800mbit"})}
    one, two = await world.container("one", "in", endpoints=shaped), await world.container("two", "in")
    assert links_of(world, "in") == {LARGE}
    assert shaping.burst_of(5_000_000) < LARGE < shaping.burst_of(100_000_000)
    assert is_large(between(one, two, "in")), "as much may leave at once as a segment has"
    began = time.monotonic()
    came = sent(two.namespace, one.namespace, one.address("in"), blocks=4)
    took = time.monotonic() - began
    assert came <= shaping.burst_of(5_000_000)
    assert 15e6 < (4 * len(BLOCK) - shaping.burst_of(5_000_000)) * 8 / took < 45e6


def test_a_kernel_that_knows_no_such_limit_makes_the_links_all_the_same(tmp_path: Path) -> None:
    if reason := uml.is_missing():
        pytest.skip(reason)
    ran = uml.run(Path(old_segments.__file__), tmp_path, modules=("veth", "bridge"))
    assert ran.code == 0, ran.err
    seen = json.loads(ran.out)
    if tuple(int(part) for part in seen["kernel"].split(".")[:2]) >= (6, 3):
        pytest.skip(f"{uml.NOT_OF_THE_DISTRIBUTION} has no kernel before 6.3 for user-mode-linux")
    assert (seen["said"], seen["source"], seen["sizes"]) == ("here", "10.1.0.3", [0])
