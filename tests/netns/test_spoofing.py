"""Packets under addresses that are not their sender's: no way into another network, nor into the host's routes."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from berth.kernel import netns, sysctl
from tests.netns.test_macvlan import macvlan
from tests.netns.test_networks import DROPPED_S, World, neighbour
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root


def send_as(namespace: str, source: tuple[str, int], target: tuple[str, int]) -> None:
    """Send a datagram under another's address: raw sockets are in a container's usual capabilities."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    udp = struct.pack("!HHHH", source[1], target[1], 8 + 6, 0) + b"forged"
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    with netns.inside(namespace, socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(head + udp, (target[0], 0))


def hears(one: socket.socket) -> bytes:
    one.settimeout(DROPPED_S)
    try:
        return one.recv(64)
    except TimeoutError:
        return b""


@isolated
async def test_nobody_answers_for_an_outside_server_but_itself(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    await world.network("red")
    await world.network("blue")
    victim, liar = await world.container("victim", "red"), await world.container("liar", "blue")
    with (
        netns.inside(victim.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asks,
        netns.inside(remote, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        asks.bind(("0.0.0.0", 4040))
        server.bind(("203.0.113.2", 53))
        asks.sendto(b"question", ("203.0.113.2", 53))
        _, seen = await asyncio.to_thread(server.recvfrom, 64)
        assert seen[0] == "203.0.113.1", "under the host's address"
        await asyncio.to_thread(send_as, liar.namespace, ("203.0.113.2", 53), seen)
        assert await asyncio.to_thread(hears, asks) == b""
        server.sendto(b"answer", seen)
        assert await asyncio.to_thread(hears, asks) == b"answer"


@isolated
async def test_a_link_is_for_the_linked_container_not_for_its_address(tmp_path: Path) -> None:
    world = World(tmp_path, icc=False)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    await world.network("blue")
    target = await world.container("target", "bridge", exposed_ports=("53/udp",))
    friend = await world.container("friend", "bridge", links=("target",))
    liar = await world.container("liar", "blue")
    own = friend.address("bridge")
    with netns.inside(target.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 53))
        for namespace in (liar.namespace, remote):
            await asyncio.to_thread(send_as, namespace, (own, 99), (target.address("bridge"), 53))
            assert await asyncio.to_thread(hears, server) == b"", namespace
        await asyncio.to_thread(send_as, friend.namespace, (own, 99), (target.address("bridge"), 53))
        assert await asyncio.to_thread(hears, server) == b"forged"


@isolated
async def test_the_host_learns_no_routes_by_links_made_for_containers(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    ident, _ = await world.service.create(macvlan("lan", subnet="10.9.0.0/24", host_access="true"))
    for name in (f"dm-{ident[:12]}", f"shim-{ident[:10]}"):
        assert sysctl.read(f"net/ipv6/conf/{name}/accept_ra") == "0", name
