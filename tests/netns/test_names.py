"""Names on user networks: asked at 127.0.0.11:53 inside containers, as their resolvers do."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import pytest

from berth.kernel import netns
from berth.kernel.mount import mount
from berth.kernel.mountflags import MS_BIND
from berth.networks.dns.client import DnsClient, command
from berth.networks.dns.model import Sockets
from berth.wire.networks import EndpointSettings
from tests.netns.test_networks import PATIENCE_S, Container, World
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root

W = TypeVar("W", bound=World)

#: Names unknown here are asked for outside, where nobody answers: seconds after which that is clear.
LIMIT_S = 0.4


@contextlib.asynccontextmanager
async def named_world(
    root: Path, kind: Callable[..., W] = World, names: type[DnsClient] = DnsClient, **config: object
) -> AsyncIterator[W]:
    """A world with a name server of its own."""
    world: W
    place = root / "dns.sock"

    async def spawn() -> None:
        subprocess.Popen(command(place), env={**os.environ, "PYTHONPATH": "src"}, start_new_session=True)  # noqa: ASYNC220

    async def resupply(ident: str) -> Sockets:
        return await world.service.resolver_sockets(ident)

    client = names(place, spawn=spawn, resupply=resupply)
    world = kind(root, dns_server=client, **config)
    await client.start()
    try:
        await world.service.adopt(set())
        yield world
    finally:
        await client.quit()


def resolve(asker: Container, name: str, *, tcp: bool = False, limit: float = PATIENCE_S) -> list[str]:
    """Return the addresses 127.0.0.11 gives for a name; empty if it has none or does not answer."""
    query = dns.message.make_query(name, "A")

    def ask() -> dns.message.Message:
        if tcp:
            return dns.query.tcp(query, "127.0.0.11", timeout=limit)
        return dns.query.udp(query, "127.0.0.11", timeout=limit)

    try:
        reply = netns.inside(asker.namespace, ask)
    except (OSError, dns.exception.Timeout):
        return []
    return sorted(row.address for answer in reply.answer for row in answer if row.rdtype == dns.rdatatype.A)


def unknown(asker: Container, name: str) -> bool:
    """Whether 127.0.0.11 has no address for a name."""
    return resolve(asker, name, limit=LIMIT_S) == []


async def until(check: Callable[[], bool], limit: float = PATIENCE_S) -> None:
    end = time.monotonic() + limit
    while not await asyncio.to_thread(check):
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.02)


@isolated
async def test_names_follow_networks(tmp_path: Path) -> None:
    async with named_world(tmp_path) as world:
        await world.network("red")
        await world.network("blue")
        settings = {"red": EndpointSettings(aliases=["database"])}
        one = await world.container("one", "red")
        two = await world.container("two", "red", endpoints=settings)
        other = await world.container("other", "blue")
        default = await world.container("default", "bridge")
        here = [two.address("red")]
        for name in ("two", "TWO", "database", two.id[:12], "two.red"):
            assert await asyncio.to_thread(resolve, one, name) == here, name
        assert await asyncio.to_thread(lambda: resolve(one, "two", tcp=True)) == here
        assert await asyncio.to_thread(unknown, other, "two")
        assert await asyncio.to_thread(unknown, default, "two")
        assert "127.0.0.11" in Path(one.files["/etc/resolv.conf"]).read_text()
        assert "127.0.0.11" not in Path(default.files["/etc/resolv.conf"]).read_text()

        await world.service.connect("red", other.id, EndpointSettings())
        assert await asyncio.to_thread(resolve, other, "two") == here
        assert await asyncio.to_thread(resolve, one, "other") == [other.address("red")]
        await world.service.disconnect("red", other.id, force=False)
        assert await asyncio.to_thread(unknown, other, "two")

        await world.service.connect("red", default.id, EndpointSettings())
        assert await asyncio.to_thread(resolve, default, "two") == here
        assert "127.0.0.11" in Path(default.files["/etc/resolv.conf"]).read_text()

        await world.service.renamed(two.id, "deux")
        assert await asyncio.to_thread(resolve, one, "deux") == here
        assert await asyncio.to_thread(resolve, one, "two") == here, "its hostname stays"
        await two.close()
        assert await asyncio.to_thread(unknown, one, "deux")


@isolated
async def test_names_survive_the_daemon_and_the_name_server(tmp_path: Path) -> None:
    async with named_world(tmp_path) as world:
        await world.network("red")
        one, two = await world.container("one", "red"), await world.container("two", "red")
        assert await asyncio.to_thread(resolve, one, "two") == [two.address("red")]
        await world.fresh().adopt({one.id, two.id})
        assert await asyncio.to_thread(resolve, one, "two") == [two.address("red")]
        assert world.dns is not None
        os.kill(world.dns.pid, signal.SIGKILL)
        await until(lambda: resolve(one, "two", limit=LIMIT_S) == [two.address("red")])


@isolated
async def test_wildcard_aliases_lead_to_their_holder(tmp_path: Path) -> None:
    async with named_world(tmp_path) as world:
        await world.network("red")
        proxy = await world.container("proxy", "red", endpoints={"red": EndpointSettings(aliases=["*.app.test"])})
        shop = await world.container("shop", "red", endpoints={"red": EndpointSettings(aliases=["shop.app.test"])})
        here, there = [proxy.address("red")], [shop.address("red")]
        for name, wanted in (("a.app.test", here), ("A.B.App.Test", here), ("shop.app.test", there)):
            assert await asyncio.to_thread(resolve, proxy, name) == wanted, name
        assert await asyncio.to_thread(unknown, proxy, "app.test")
        await proxy.close()
        assert await asyncio.to_thread(unknown, shop, "a.app.test")


@isolated
async def test_names_on_the_default_bridge_where_the_settings_say_so(tmp_path: Path) -> None:
    async with named_world(tmp_path, default_bridge_names=True, host_gateway_ips=("192.0.2.1", "2001:db8::1")) as world:
        one = await world.container("one", "bridge", extra_hosts=("gate:host-gateway",))
        two = await world.container("two", "bridge")
        assert await asyncio.to_thread(resolve, one, "two") == [two.address("bridge")]
        assert "nameserver 127.0.0.11" in Path(one.files["/etc/resolv.conf"]).read_text()
        hosts = Path(one.files["/etc/hosts"]).read_text()
        assert "192.0.2.1\tgate\n2001:db8::1\tgate\n" in hosts


@isolated
async def test_leaving_the_last_open_network_closes_the_hosts_own_servers(tmp_path: Path) -> None:
    """A container on internal networks only must not reach the host's loopback name server through ours."""
    async with named_world(tmp_path) as world:
        await world.network("open")
        await world.network("sealed", internal=True)
        one = await world.container("one", "open")
        assert world.dns is not None

        def internal() -> bool:
            return world.dns is not None and world.dns.config_of(one.id).internal

        assert not internal()
        await world.service.connect("sealed", one.id, EndpointSettings())
        assert not internal()
        await world.service.disconnect("open", one.id, force=False)
        assert internal()
        await world.service.connect("open", one.id, EndpointSettings())
        assert not internal()


@isolated
async def test_containers_follow_the_hosts_name_servers(tmp_path: Path) -> None:
    """Another Wi-Fi, a VPN: Docker's containers go on asking the old ones until they are started anew."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.53\n")
    mount(str(conf), "/etc/resolv.conf", flags=MS_BIND)
    async with named_world(tmp_path) as world:
        await world.network("red")
        one = await world.container("one", "red")
        own = await world.container("own", "red", dns=("192.0.2.99",))
        assert world.dns is not None

        def asked(container: Container) -> list[str]:
            assert world.dns is not None
            return [upstream.address for upstream in world.dns.config_of(container.id).upstreams]

        await world.service.servers.look()
        assert asked(one) == ["192.0.2.53"]
        conf.write_text("nameserver 198.51.100.1\nnameserver 198.51.100.2\n")
        await world.service.servers.look()
        assert asked(one) == ["198.51.100.1", "198.51.100.2"]
        assert asked(own) == ["192.0.2.99"]
