"""A container with an address that another had is reached at once: what neighbours remembered is replaced."""

import itertools
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from berth.kernel import netns
from berth.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate
from tests.netns.test_dhcp import until
from tests.netns.test_networks import Container, World, neighbour, serve
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root

FIRST, SECOND = "02:42:00:00:00:aa", "02:42:00:00:00:bb"
FOUR, SIX = "10.9.0.9", "fd09::9"
#: asm-generic/socket.h
SO_TIMESTAMPNS = 35
COUNT, PAUSE = "com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms"


async def lan(world: World, **options: str) -> None:
    await world.service.adopt(set())
    pools = [IPAMConfig(subnet="10.9.0.0/24"), IPAMConfig(subnet="fd09::/64")]
    await world.service.create(NetworkCreate(name="lan", enable_ipv6=True, options=options, ipam=IPAM(config=pools)))


def with_mac(mac: str, four: str = FOUR, six: str = SIX) -> dict[str, EndpointSettings]:
    config = EndpointIPAMConfig(ipv4_address=four, ipv6_address=six)
    return {"lan": EndpointSettings(mac_address=mac, ipam_config=config)}


def remembered(namespace: str = "") -> dict[str, str]:
    """Address → MAC, as a host remembers it."""
    inside = ["nsenter", f"--net={namespace}"] if namespace else []
    said = subprocess.run([*inside, "ip", "neigh"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: line.partition(" lladdr ")[2].split()[0] for line in said.splitlines() if "lladdr" in line}


async def taken_over(world: World) -> tuple[dict[str, str], dict[str, str], Container]:
    """Have a container's addresses taken over by one with another MAC; return what peer and host remember then."""
    peer = await world.container("peer", "lan")
    old = await world.container("old", "lan", endpoints=with_mac(FIRST))
    serve(lambda: netns.inside(old.namespace, socket.socket, socket.AF_INET6), "old", 80)
    for address in (FOUR, SIX):
        assert peer.ask(address).startswith("old ")
        with socket.create_connection((address, 80), 5):
            pass
    assert {remembered(peer.namespace)[one] for one in (FOUR, SIX)} == {FIRST}
    assert {remembered()[one] for one in (FOUR, SIX)} == {FIRST}
    await old.close()
    new = await world.container("new", "lan", endpoints=with_mac(SECOND))
    return remembered(peer.namespace), remembered(), new


@isolated
async def test_neighbours_take_over_the_new_mac_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await lan(world)
    peer, host, new = await taken_over(world)
    assert (peer[FOUR], peer[SIX], host[FOUR], host[SIX]) == (SECOND,) * 4
    there = next(one for one in world.live.all() if one.container_id == new.id)
    assert there.endpoints[0].mac == SECOND
    await world.service.shut()


@isolated
async def test_without_advertisements_they_go_on_with_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    await lan(world, **{COUNT: "0"})
    peer, host, _ = await taken_over(world)
    assert (peer[FOUR], peer[SIX], host[FOUR], host[SIX]) == (FIRST,) * 4, "this is what is to be prevented"


@isolated
async def test_a_connect_is_advertised_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    await lan(world)
    peer = await world.container("peer", "lan")
    old = await world.container("old", "lan", endpoints=with_mac(FIRST))
    assert peer.ask(FOUR).startswith("old ")
    await old.close()
    new = await world.container("new", "bridge")
    await world.service.connect("lan", new.id, with_mac(SECOND)["lan"])
    assert remembered(peer.namespace)[FOUR] == SECOND
    assert peer.ask(FOUR).startswith("new ")


@isolated
async def test_it_is_said_as_often_as_the_network_wants_while_the_container_is_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    await lan(world, **{COUNT: "3", PAUSE: "100"})
    peer = await world.container("peer", "lan")
    heard = netns.inside(peer.namespace, socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    heard.bind(("eth0", 0x0806))
    heard.setblocking(False)
    heard.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    times: list[float] = []

    def listen() -> int:
        while True:
            try:
                frame, notes, _, _ = heard.recvmsg(100, 64)
            except BlockingIOError:
                return len(times)
            if frame[6:12].hex(":") == FIRST and frame[28:32] == frame[38:42]:
                seconds, ns = struct.unpack("qq", notes[0][2])  # when the kernel had it, not when we looked
                times.append(seconds + ns / 1e9)

    one = await world.container("one", "lan", endpoints=with_mac(FIRST))
    assert listen() >= 1, "the first comes before the answer"
    await until(lambda: listen() == 3)
    assert all(later - earlier > 0.08 for earlier, later in itertools.pairwise(times)), times
    await one.close()
    two = await world.container("two", "lan", endpoints=with_mac(FIRST))
    await two.close()
    said = listen()
    await until(lambda: not world.service._attachments.advertising._tasks._tasks)
    assert listen() == said >= 4, "nothing is said for one that has gone"
    heard.close()


@isolated
async def test_other_machines_on_a_macvlans_wire_are_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    far = neighbour(tmp_path)
    ipam = IPAM(config=[IPAMConfig(subnet="203.0.113.0/24", gateway="203.0.113.2")])
    await world.service.create(NetworkCreate(name="lan", driver="macvlan", options={"parent": "cable0"}, ipam=ipam))

    def settings(mac: str) -> dict[str, EndpointSettings]:
        return {"lan": EndpointSettings(mac_address=mac, ipam_config=EndpointIPAMConfig(ipv4_address="203.0.113.9"))}

    old = await world.container("old", "lan", endpoints=settings(FIRST))
    assert old.ask("203.0.113.2") == "ECONNREFUSED"
    assert remembered(far)["203.0.113.9"] == FIRST
    await old.close()
    await world.container("new", "lan", endpoints=settings(SECOND))
    await until(lambda: remembered(far)["203.0.113.9"] == SECOND)
