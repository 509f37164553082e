"""Published ports in a real kernel: who may use them, who holds them, by what way they are reached."""

import os
import socket
import struct
from pathlib import Path

import pytest

from berth.base.errors import Kind
from berth.kernel import listeners, netns, nft, sysctl
from berth.wire.networks import PortBinding
from tests.netns.test_firewall import run, six
from tests.netns.test_networks import DROPPED_S, World, ask, misses, neighbour, published, refused
from tests.netns.throwaway import isolated
from tests.support.faults import failing

pytestmark = pytest.mark.root


@isolated
async def test_a_port_for_some_is_for_them_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    remote = neighbour(tmp_path)
    six(remote)
    netns.inside(remote, run, "ip", "address", "add", "203.0.113.3/24", "dev", "cable1")
    one = await world.container(
        "one", "red", port_bindings=published("8080"), publish_from={"80/tcp": ("203.0.113.2/32", "2001:db8::/64")}
    )
    others = {"80/tcp": ("192.0.2.0/24",)}
    two = await world.container("two", "red", port_bindings=published("8081"), publish_from=others)
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2", "the address is kept"
    client = netns.inside(remote, socket.socket)
    with client:
        client.bind(("203.0.113.3", 0))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.connect(("203.0.113.1", 8080))
    assert misses("203.0.113.1", 8081, remote)
    assert ask("127.0.0.1", 8081).startswith("two "), "the machine itself may"
    drops = world.service.firewall.counters()[world.service.get("red").bridge]["unpublished"]
    assert drops.packets >= 2
    await world.fresh().adopt({one.id, two.id})
    assert misses("203.0.113.1", 8081, remote)
    assert ask("203.0.113.1", 8080, remote).startswith("one ")
    for each in (one, two):
        await each.close()
    kept = nft.host().mirror.tables[f"inet {world.layout.nft_table}"].elements
    assert not any(pairs for where, pairs in kept.items() if where.startswith(("limited", "welcome", "ports")))


@isolated
async def test_what_only_the_proxy_could_lead_cannot_be_kept_for_some(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    with refused(Kind.INVALID, "give its network --ipv6"):
        await world.container(
            "one", "bridge", port_bindings=published("8080", "::1"), publish_from={"80/tcp": ("192.0.2.0/24",)}
        )
    two = await world.container("two", "bridge", port_bindings=published("8080"), publish_from={"80/tcp": ("::/0",)})
    assert [one.host_ip for one in world.live.all()[-1].published] == ["0.0.0.0"], "not on [::] by the proxy"
    await two.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@isolated
async def test_who_has_the_port_is_named(tmp_path: Path, family: socket.AddressFamily) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    holder = socket.create_server(("", 8080), family=family, dualstack_ipv6=family == socket.AF_INET6)
    with refused(Kind.SYSTEM, f"address already in use (by process {os.getpid()} ("):
        await world.container("one", "bridge", port_bindings=published("8080"))
    holder.close()
    await world.container("one", "bridge", port_bindings=published("8080"))
    with refused(Kind.SYSTEM, "port is already allocated (by container one)"):
        await world.container("two", "bridge", port_bindings=published("8080"))


@isolated
async def test_connections_that_a_server_has_just_closed_keep_no_port_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    server = socket.create_server(("0.0.0.0", 8080))
    client = socket.create_connection(("127.0.0.1", 8080))
    near, _ = server.accept()
    near.close()  # it closes first, and the kernel remembers the connection for a minute
    client.recv(1)
    client.close()
    server.close()
    with pytest.raises(OSError, match="in use"), socket.socket() as plain:
        plain.bind(("0.0.0.0", 8080))
    one = await world.container("one", "bridge", port_bindings=published("8080"))
    assert ask("127.0.0.1", 8080).startswith("one ")
    with pytest.raises(OSError, match="in use"):  # and it is held like any other
        socket.create_server(("127.0.0.1", 8080))
    await world.fresh().adopt({one.id})
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", 8080))
    await one.close()
    socket.create_server(("0.0.0.0", 8080)).close()


@isolated
async def test_without_sctp_in_the_kernel_it_is_refused_and_said(tmp_path: Path) -> None:
    if listeners.has_protocol("sctp"):
        pytest.skip("this kernel has SCTP")
    world = World(tmp_path)
    await world.service.adopt(set())
    with refused(Kind.SYSTEM, "protocol not supported (this kernel has no SCTP)"):
        await world.container("one", "bridge", port_bindings={"80/sctp": [PortBinding("", "8080")]})
    assert "8080" not in nft.run_once(f"list table inet {world.layout.nft_table}")


@isolated
async def test_ephemeral_ports_are_of_the_kernels_range_without_those_reserved(tmp_path: Path) -> None:
    sysctl.write("net.ipv4.ip_local_port_range", "40000 40007")
    sysctl.write("net.ipv4.ip_local_reserved_ports", "40002-40005")
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    got = set()
    for name in ("one", "two", "three", "four"):
        await world.container(name, "red", port_bindings=published(""))
        four, sixth = world.live.all()[-1].published
        assert four.host_port == sixth.host_port, "the same for IPv4 and IPv6"
        got.add(four.host_port)
    assert got == {40000, 40001, 40006, 40007}
    with refused(Kind.SYSTEM, "address already in use"):
        await world.container("five", "red", port_bindings=published(""))


@isolated
async def test_a_range_is_one_element_and_every_port_of_it_leads(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    bindings = {f"{port}/tcp": [PortBinding("", str(port))] for port in range(9000, 9100)}
    one = await world.container("one", "bridge", port_bindings=bindings)
    one.serve(9000)
    one.serve(9099)
    assert ask("203.0.113.1", 9000, remote) == "one 203.0.113.2"
    assert ask("203.0.113.1", 9099, remote).startswith("one ")
    assert ask("203.0.113.1", 9100, remote) == "ECONNREFUSED"
    listed = nft.run_once(f"list map inet {world.layout.nft_table} spans_any")
    assert "tcp . 9000-9099" in listed
    await one.close()
    assert "9000" not in nft.run_once(f"list map inet {world.layout.nft_table} spans_any")


@isolated
async def test_every_way_in_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("bare", options={"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"})
    one = await world.container(
        "one", "bridge",
        port_bindings=published("8080") | {"90/udp": [PortBinding("127.0.0.1", "5353")]},
        publish_from={"80/tcp": ("192.0.2.0/24",)},
    )  # fmt: skip
    two = await world.container("two", "bare")
    found = {(row.container, row.port, row.protocol): row for row in await world.service.exposed.all({})}
    limited, inner, bare = (found[key] for key in (("one", 8080, "tcp"), ("one", 5353, "udp"), ("two", 80, "tcp")))
    assert (limited.address, limited.way, limited.reach, limited.target) == ("0.0.0.0", "rule", "192.0.2.0/24", 80)
    assert (inner.reach, inner.is_outside) == ("this machine", False)
    assert (bare.address, bare.way, bare.is_outside) == (two.address("bare"), "unprotected", True)
    assert len(found) == 3
    listener = socket.create_server(("0.0.0.0", 7070))
    host = [row for row in await world.service.exposed.all({"four": [os.getpid()]}) if row.way == "host"]
    assert [(row.container, row.port, row.is_outside) for row in host if row.port == 7070] == [("four", 7070, True)]
    listener.close()
    await one.close()


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def is_answered(namespace: str, address: str, port: int) -> bool:
    """Whether a neighbour that sends a connection's first packet right to our link gets an answer to it."""
    wire = netns.inside(namespace, socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    source, target = socket.inet_aton("203.0.113.2"), socket.inet_aton(address)
    head = struct.pack("!HHIIBBH", 4242, port, 1, 0, 5 << 4, 2, 1024)
    check = _sum(source + target + struct.pack("!HH", 6, 20) + head + bytes(4))
    first = struct.pack("!BBHHHBB", 0x45, 0, 40, 1, 0, 64, 6)
    packet = first + struct.pack("!H", _sum(first + bytes(2) + source + target)) + source + target
    packet += head + struct.pack("!HH", check, 0)
    mac = bytes.fromhex(Path("/sys/class/net/cable0/address").read_text().strip().replace(":", ""))
    with wire:
        wire.bind(("cable1", 0x0800))
        wire.sendto(packet, ("cable1", 0x0800, 0, 0, mac))
        wire.settimeout(DROPPED_S)
        try:
            while True:
                got = wire.recv(2048)
                if got[9] == 6 and got[20:24] == struct.pack("!HH", port, 4242):
                    return got[33] == 0x12  # SYN and ACK
        except TimeoutError:
            return False


@isolated
async def test_loopback_is_for_nobody_else_whatever_they_send_to_our_link(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    bindings = {"80/tcp": [PortBinding("127.0.0.1", "8080"), PortBinding("0.0.0.0", "8081")]}
    await world.container("one", "bridge", port_bindings=bindings)
    assert ask("127.0.0.1", 8080).startswith("one ")
    assert is_answered(remote, "203.0.113.1", 8081), "the partner: such a packet is answered"
    assert not is_answered(remote, "127.0.0.1", 8080)
    assert not is_answered(remote, "203.0.113.1", 8080)
    assert ask("203.0.113.1", 8080, remote) == "ECONNREFUSED"


@isolated
async def test_a_start_that_fails_at_any_step_leaves_no_limited_port(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    settings = {"port_bindings": published("8080"), "publish_from": {"80/tcp": ("192.0.2.0/24",)}}
    await world.service.settle()
    clean = sorted(nft.host().mirror.tables[f"inet {world.layout.nft_table}"].elements["bridges"])
    steps = 0
    async for steps in failing(world.fault, lambda: world.container("one", "bridge", **settings)):
        assert await world.service.firewall.differences() == [], steps
        kept = nft.host().mirror.tables[f"inet {world.layout.nft_table}"].elements
        assert not any(pairs for where, pairs in kept.items() if where.startswith(("limited", "welcome", "ports")))
        assert sorted(kept["bridges"]) == clean
    assert steps == 3, "namespace, link, rules"
    assert "8080" in nft.run_once(f"list table inet {world.layout.nft_table}"), "the partner: something was there"
