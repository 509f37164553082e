"""One container on several networks, and what may be asked of one attachment: by looking, and by packets."""

import asyncio
import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from berth.base.errors import Kind
from berth.kernel import link, netns, routing, shaping, sysctl
from berth.kernel.actuator import KernelActuator
from berth.networks import mending
from berth.networks.model import LiveEndpoint, LiveSandbox
from berth.networks.routing import plan_replies
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings
from tests.netns.test_networks import (
    PATIENCE_S,
    Container,
    World,
    ask,
    misses,
    neighbour,
    published,
    refused,
    ruleset,
    snapshot,
)
from tests.netns.throwaway import isolated
from tests.support.faults import elsewhere, failing, killing

pytestmark = pytest.mark.root

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"


def way_out(one: Container, family: int = socket.AF_INET) -> str:
    """Name the link of the default route."""
    with link.inside(one.namespace) as there:
        names = {each.number: each.name for each in there.links()}
        return next((names[route.oif] for route in there.routes(family, 254) if not route.destination), "")


def routes_inside(namespace: str) -> tuple[list[object], ...]:
    """Every route and rule of ours in a namespace, but for what the kernel numbers."""
    with link.inside(namespace) as there:
        names = {each.number: each.name for each in there.links()}
        return tuple(
            found
            for family in (socket.AF_INET, socket.AF_INET6)
            for found in (
                sorted((names.get(one.oif, ""), one.destination, one.gateway) for one in there.routes(family, 254)),
                sorted(one.source for one in routing.reply_rules(there, family)),
            )
        )


def rules(one: Container, family: int = socket.AF_INET) -> list[str]:
    with link.inside(one.namespace) as there:
        return [rule.source for rule in routing.reply_rules(there, family)]


def strict() -> None:
    """Have the host drop what comes in by another link than it would answer by."""
    for name in ("all", "default", *link.names()):
        sysctl.write(f"net/ipv4/conf/{name}/rp_filter", "1")


@isolated
async def test_the_default_route_follows_priority_and_name_while_it_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    for name in ("blue", "green", "red"):
        await world.network(name, enable_ipv6=name != "green")
    one = await world.container("one", "red")
    assert (way_out(one), way_out(one, socket.AF_INET6), rules(one)) == ("eth0", "eth0", [])
    await world.service.connect("green", one.id, EndpointSettings())
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("eth1", "eth0"), "each family has its own way"
    assert rules(one) == sorted([one.address("red"), one.address("green")])
    assert rules(one, socket.AF_INET6) == [], "one way needs no rules"
    await world.service.connect("blue", one.id, EndpointSettings(gw_priority=-1))
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("eth1", "eth0"), "a low priority takes nothing over"
    assert len(rules(one, socket.AF_INET6)) == 2
    await world.service.disconnect("green", one.id, force=False)
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("eth0", "eth0")
    await world.service.disconnect("red", one.id, force=False)
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("eth2", "eth2")
    assert (rules(one), rules(one, socket.AF_INET6)) == ([], [])
    await world.service.disconnect("blue", one.id, force=False)
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("", "")
    # and from the start
    await one.close()
    for name, priority in (("red", 0), ("blue", 3), ("green", 7)):
        await world.service.connect(name, one.id, EndpointSettings(gw_priority=priority))
    again = await world.service.open(one.id)
    one.namespace = again.netns_path or ""
    assert (way_out(one), way_out(one, socket.AF_INET6)) == ("eth2", "eth1"), "links are in the order as written"
    assert len(rules(one)) == 3


@isolated
async def test_answers_leave_by_the_network_they_were_asked_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", options={GATEWAY_MODE: "nat-unprotected"})
    await world.network("blue", options={GATEWAY_MODE: "nat-unprotected"})
    remote = neighbour(tmp_path)
    both = {"red": EndpointSettings(), "blue": EndpointSettings(gw_priority=1)}
    one = await world.container("one", "red", endpoints=both)
    strict()
    assert way_out(one) == "eth1"
    for network in ("blue", "red"):
        assert ask(one.address(network), 80, remote) == "one 203.0.113.2", network
    # without the rules the answer would leave by the wrong bridge, where the host drops it
    ends = world.live.all()[0].endpoints
    kernel = KernelActuator()
    undo = [kernel.apply(step) for step, _ in plan_replies(one.namespace, ends, ())]
    assert misses(one.address("red"), 80, remote)
    assert ask(one.address("blue"), 80, remote) == "one 203.0.113.2"
    for step in undo:
        kernel.apply(step)  # type: ignore[arg-type]
    assert ask(one.address("red"), 80, remote) == "one 203.0.113.2"


@isolated
async def test_a_connection_goes_on_though_the_default_route_moves(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    remote = neighbour(tmp_path)
    echo = await world.container("echo", "red", port_bindings={"81/tcp": published("8181")["80/tcp"]})
    strict()
    listener = netns.inside(echo.namespace, socket.socket)
    listener.bind(("0.0.0.0", 81))
    listener.listen()
    client = netns.inside(remote, socket.socket)
    client.settimeout(PATIENCE_S)
    client.connect(("203.0.113.1", 8181))
    peer, _ = listener.accept()
    with client, peer:
        await world.service.connect("blue", echo.id, EndpointSettings(gw_priority=5))
        assert way_out(echo) == "eth1"
        client.sendall(b"ping")
        assert peer.recv(9) == b"ping"
        peer.sendall(b"pong")
        assert client.recv(9) == b"pong", "the connection by red goes on"
    # new ones come by the network that has the default route, as in Docker
    again = netns.inside(remote, socket.socket)
    with listener, again:
        again.settimeout(PATIENCE_S)
        again.connect(("203.0.113.1", 8181))
        came, _ = listener.accept()
        with came:
            assert came.getsockname()[0] == echo.address("blue")


@isolated
async def test_published_ports_follow_the_networks_a_container_is_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    await world.network("inner", internal=True)
    remote = neighbour(tmp_path)
    one = await world.container("one", "red", port_bindings=published("8080"))
    strict()
    await world.service.connect("blue", one.id, EndpointSettings())
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2"
    await world.service.disconnect("blue", one.id, force=False)
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2"
    await world.service.connect("inner", one.id, EndpointSettings())
    await world.service.disconnect("red", one.id, force=False)
    assert ask("203.0.113.1", 8080, remote) == "ECONNREFUSED", "an internal network publishes nothing"
    assert world.service.ports(one.id) == [{"PrivatePort": 80, "Type": "tcp"}]
    taker = await world.container("taker", "red", port_bindings=published("8080"))
    with refused(Kind.SYSTEM, "port is already allocated"):
        await world.service.connect("red", one.id, EndpointSettings())
    assert way_out(one) == ""
    await taker.close()
    await world.service.connect("red", one.id, EndpointSettings())
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2"


@isolated
async def test_an_attachment_without_the_default_route_publishes_and_answers(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue", internal=True)
    remote = neighbour(tmp_path)
    never = {"no-default-route": "true"}
    wanted = {"red": EndpointSettings(driver_opts=never, gw_priority=9), "blue": EndpointSettings()}
    one = await world.container("one", "red", endpoints=wanted, port_bindings=published("8080"))
    strict()
    assert way_out(one) == ""
    assert rules(one) == [one.address("red")]
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2"
    assert one.ask("203.0.113.2", 90) == "ENETUNREACH", "and it reaches nothing by itself"


@isolated
async def test_settings_of_an_attachment(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")

    def near(ending: int, **options: str) -> EndpointSettings:
        local = EndpointIPAMConfig(link_local_ips=[f"169.254.7.{ending}", f"fe80::7:{ending}"])
        return EndpointSettings(ipam_config=local, driver_opts=options, mac_address=f"02:42:AA-00:00:0{ending}")

    log_martians = {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.neigh.IFNAME.gc_stale_time=77"}
    first = {"red": near(1, **{IFNAME: "wan"}, **log_martians), "blue": EndpointSettings()}
    one = await world.container("one", "red", endpoints=first)
    two = await world.container("two", "red", endpoints={"red": near(2)})
    with link.inside(one.namespace) as there:
        assert sorted(each.name for each in there.links()) == ["eth0", "lo", "wan"]
        assert there.link("wan").mac == "02:42:aa:00:00:01"
        index = there.index("wan")
        given = {f"{each.address}/{each.prefix}" for each in there.addresses() if each.link == index}
    assert given > {f"{one.address('red')}/24", "169.254.7.1/16", "fe80::7:1/64"}, "and the one the kernel makes"
    assert netns.inside(one.namespace, sysctl.read, "net/ipv4/conf/wan/log_martians") == "1"
    assert netns.inside(one.namespace, sysctl.read, "net/ipv4/neigh/wan/gc_stale_time") == "77"
    assert one.ask("169.254.7.2") == "two 169.254.7.1"
    assert two.ask("169.254.7.1") == "one 169.254.7.2"
    shown = world.service.settings(one.id)["Networks"]["red"]
    assert shown["DriverOpts"] == {IFNAME: "wan", **log_martians}
    assert shown["IPAMConfig"] == {"LinkLocalIPs": ["169.254.7.1", "fe80::7:1"]}
    # the same for one that runs; a name that is taken, and a setting that the kernel has not
    with refused(Kind.INVALID, "wan is the link into network red already"):
        await world.service.connect("bridge", one.id, EndpointSettings(driver_opts={IFNAME: "wan"}))
    before = routes_inside(one.namespace)
    with refused(Kind.SYSTEM, "nosuch"):
        bad = {SYSCTLS: "net.ipv4.conf.IFNAME.nosuch=1"}
        await world.service.connect("bridge", one.id, EndpointSettings(driver_opts=bad))
    assert routes_inside(one.namespace) == before
    await world.service.connect("bridge", one.id, EndpointSettings(driver_opts={IFNAME: "dmz"}))
    with link.inside(one.namespace) as there:
        assert there.link("dmz").is_up


@isolated
async def test_a_connect_or_disconnect_that_fails_anywhere_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    await world.network("blue", enable_ipv6=True)
    one = await world.container("one", "red", port_bindings=published("8080"))
    options = {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1", "rate-in": "10mbit", "rate-out": "10mbit"}
    wanted = EndpointSettings(
        ipam_config=EndpointIPAMConfig(link_local_ips=["169.254.7.1"]), driver_opts=options, gw_priority=1
    )

    async def state() -> object:
        await world.service.settle()
        return (
            snapshot(), ruleset(), routes_inside(one.namespace), world.live.all(),
            world.tenants.all(), sorted(world.service.inspect("blue")["Containers"]),
        )  # fmt: skip

    def connect() -> Coroutine[object, object, None]:
        return world.service.connect("blue", one.id, wanted)

    def disconnect() -> Coroutine[object, object, None]:
        return world.service.disconnect("blue", one.id, force=False)

    for change, steps in ((connect, 12), (disconnect, 7)):
        before = await state()
        done = 0
        async for done in failing(world.fault, change):
            assert await state() == before, done
        assert done == steps
        assert await state() != before
        assert ask("127.0.0.1", 8080).startswith("one ")


async def survives_kills(world: World, one: Container, change: Callable[[], Coroutine[object, object, None]]) -> int:
    """Kill the daemon in each step of a change, and see that its next start finds all as it was; return the steps."""
    await world.service.settle()
    before = snapshot(), ruleset(), routes_inside(one.namespace)

    async def restart() -> World:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id})
        await world.service.settle()
        return world

    steps = 0
    async for steps, _ in killing(world, lambda _: change(), restart):
        assert (snapshot(), ruleset(), routes_inside(one.namespace)) == before, steps
        assert ask("127.0.0.1", 8080).startswith("one ")
    return steps


@isolated
async def test_a_daemon_killed_in_a_change_leaves_the_container_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    await world.network("blue", enable_ipv6=True)
    one = await world.container("one", "red", port_bindings=published("8080"))
    wanted = EndpointSettings(gw_priority=1, driver_opts={"rate-out": "10mbit"})
    assert await survives_kills(world, one, lambda: world.service.connect("blue", one.id, wanted)) == 9


@isolated
async def test_and_so_does_one_killed_in_a_disconnect_or_a_change_of_limits(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    await world.network("blue", enable_ipv6=True)
    both = {"red": EndpointSettings(), "blue": EndpointSettings(gw_priority=1, driver_opts={"rate-in": "8mbit"})}
    one = await world.container("one", "red", endpoints=both, port_bindings=published("8080"))

    async def shape() -> None:
        await world.service.shape("blue", one.id, {"rate-in": "", "rate-out": "9mbit"})

    assert await survives_kills(world, one, shape) == 2
    host_link = world.live.all()[0].endpoints[1].host_link
    assert shaping.rate_of(link.host(), host_link) == 0, "the last try was left alone"
    steps = await survives_kills(world, one, lambda: world.service.disconnect("blue", one.id, force=False))
    assert steps == 7


def killed_by(world: World, work: Callable[[], Coroutine[object, object, None]]) -> Callable[[], int]:
    """Do `work` in a daemon of its own that is killed when it writes down that an attachment has changed."""

    def run() -> int:
        put = world.live.put

        async def deadly(key: str, record: LiveSandbox) -> None:
            if not record.changing:
                os._exit(7)
            await put(key, record)

        world.live.put = deadly  # type: ignore[method-assign]
        try:
            return elsewhere(world, lambda _: work())
        finally:
            world.live.put = put  # type: ignore[method-assign]

    return run


@isolated
async def test_a_daemon_killed_after_a_plan_and_before_its_record_is_mended(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    for name in ("red", "blue", "green"):
        await world.network(name, enable_ipv6=True)
    both = {"red": EndpointSettings(), "green": EndpointSettings(gw_priority=-1)}
    one = await world.container("one", "red", endpoints=both, port_bindings=published("8080"))

    async def restarted() -> None:
        """What the killed daemon wrote of its intention is in this one's records, as it would be on disk."""
        (live,) = world.live.all()
        await world.live.put(one.id, msgspec.structs.replace(live, changing=True))
        world.fresh()
        world.runner.recover()
        await world.service.adopt({one.id})
        await world.service.settle()

    async def state() -> object:
        await world.service.settle()
        return snapshot(), ruleset(), routes_inside(one.namespace), world.live.all()

    before = await state()
    wanted = EndpointSettings(gw_priority=1)
    connect = killed_by(world, lambda: world.service.connect("blue", one.id, wanted))
    assert await asyncio.to_thread(connect) == 7
    assert way_out(one) == "eth2", "it was done, and nobody knows"
    await restarted()
    assert await state() == before
    # a change of limits: made what the record says
    shape = killed_by(world, lambda: world.service.shape("red", one.id, {"rate-in": "8mbit"}))
    assert await asyncio.to_thread(shape) == 7
    await restarted()
    assert shaping.rate_of(link.host(), world.live.all()[0].endpoints[0].host_link) == 0
    assert await state() == before
    # what went and is still on record goes from there too
    disconnect = killed_by(world, lambda: world.service.disconnect("red", one.id, force=False))
    assert await asyncio.to_thread(disconnect) == 7
    await restarted()
    assert [end.network_name for end in world.live.all()[0].endpoints] == ["green"]
    assert (way_out(one), rules(one)) == ("eth1", [])
    assert not world.service.inspect("red")["Containers"]
    assert ask("127.0.0.1", 8080).startswith("one ")


@isolated
async def test_what_a_plugin_was_asked_for_stays_on_record_for_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one = await world.container("one", "red")
    before = routes_inside(one.namespace)
    (live,) = world.live.all()
    asked = LiveEndpoint("f" * 64, "alien", "e" * 64, link="eth7", gateway4="10.0.0.1", gw_priority=9, pending=True)
    noted = msgspec.structs.replace(live, endpoints=(*live.endpoints, asked), changing=True)
    wanting = world.service._attachments.tenant(one.id)
    mended = await asyncio.to_thread(mending.mend, world.runner, noted, wanting)
    assert mended.endpoints == noted.endpoints
    assert not mended.changing
    assert routes_inside(one.namespace) == before, "and nothing leads by it"
    await world.live.put(one.id, msgspec.structs.replace(noted, changing=False))
    await world.service._attachments._changing.mark(live)
    assert world.live.all() == [noted]


@isolated
async def test_a_change_is_marked_before_and_unmarked_after(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    one = await world.container("one", "red")
    seen: list[bool] = []
    put = world.live.put

    async def watched(key: str, record: LiveSandbox) -> None:
        seen.append(record.changing)
        await put(key, record)

    world.live.put = watched  # type: ignore[method-assign]
    await world.service.connect("blue", one.id, EndpointSettings())
    await world.service.shape("blue", one.id, {"rate-in": "8mbit"})
    await world.service.disconnect("blue", one.id, force=False)
    assert seen == [True, True, False, True, False, True, True, False]


def carried(sender: str, receiver: str, address: str, port: int, seconds: float = 0.6) -> float:
    """Send as fast as it goes from one namespace to another; return the rate, bits a second, after the first burst."""
    listener = netns.inside(receiver, socket.socket)
    listener.bind((address, port))
    listener.listen()
    client = netns.inside(sender, socket.socket)
    client.settimeout(PATIENCE_S)
    stop = threading.Event()

    def push() -> None:
        client.connect((address, port))
        data = b"x" * 65_536
        with contextlib.suppress(OSError):
            while not stop.is_set():
                client.sendall(data)

    thread = threading.Thread(target=push)
    thread.start()
    peer, _ = listener.accept()
    peer.settimeout(PATIENCE_S)
    skipped = 0
    while skipped < 2 * shaping.LEAST_BURST:
        skipped += len(peer.recv(65_536))
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        count += len(peer.recv(65_536))
    took = time.monotonic() - began
    stop.set()
    peer.close()
    client.close()
    listener.close()
    thread.join()
    return count * 8 / took


@isolated
async def test_limits_hold_change_and_go(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    limited = {"red": EndpointSettings(driver_opts={"rate-in": "20mbit", "rate-out": "40mbit"})}
    one = await world.container("one", "red", endpoints=limited)
    two = await world.container("two", "red")

    async def carries(source: Container, target: Container, least: float, most: float = 1e15) -> None:
        """See that the rate is within these bounds: in one of several looks, as a busy machine may spoil some."""
        rates: list[float] = []
        while not (rates and least < rates[-1] < most):
            assert len(rates) < 8, rates
            port = next(ports)
            ends = (source.namespace, target.namespace, target.address("red"))
            rates.append(await asyncio.to_thread(carried, *ends, port))

    ports = itertools.count(5001)
    await carries(two, one, 14e6, 24e6)
    await carries(one, two, 28e6, 48e6)
    await world.service.shape("red", one.id, {"rate-out": "", "rate-in": "80mbit"})
    await carries(two, one, 56e6, 96e6)
    await carries(one, two, 200e6)
    opts = world.service.settings(one.id)["Networks"]["red"]["DriverOpts"]
    assert opts == {"rate-in": "80mbit"}
    # kept for the next start
    await one.close()
    sandbox = await world.service.open(one.id)
    one.namespace = sandbox.netns_path or ""
    host_link = next(live for live in world.live.all() if live.container_id == one.id).endpoints[0].host_link
    assert shaping.rate_of(link.host(), host_link) == 10_000_000
    with refused(Kind.INVALID, "rate-in"):
        await world.service.shape("red", one.id, {"rate-in": "soon"})
    with refused(Kind.SYSTEM, "is not connected to the network bridge"):
        await world.service.shape("bridge", one.id, {"rate-in": "1mbit"})
    if not Path("/sys/module/sch_netem").exists():
        with refused(Kind.SYSTEM, "sch_netem"):
            await world.service.shape("red", one.id, {"delay": "50ms", "rate-in": "1mbit"})
        assert world.service.settings(one.id)["Networks"]["red"]["DriverOpts"] == {"rate-in": "80mbit"}
        assert shaping.rate_of(link.host(), host_link) == 10_000_000, "all or nothing"
