"""Addresses from a real DHCP server: asked for, kept, moved, given back."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import Kind, SystemFault
from berth.kernel import link, netlink
from berth.kernel.netlink import NetlinkError
from berth.networks.ipam.dhcp import client
from berth.networks.model import Lease
from berth.plan.steps.address import SwapAddress
from berth.wire.networks import IPAM, EndpointSettings, IPAMConfig, NetworkCreate
from tests.netns.test_macvlan import at, lan
from tests.netns.test_networks import Container, World, refused, snapshot
from tests.netns.throwaway import isolated
from tests.support.engines import wait_for
from tests.support.faults import INJECTED, failing, killing

pytestmark = pytest.mark.root


class Shifted(SystemClock):
    """The machine's clock, some seconds ahead."""

    ahead_s = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_s * 1_000_000_000


class Server:
    """dnsmasq in the neighbour's namespace."""

    def __init__(self, namespace: str, place: Path, first: int = 100, last: int = 150) -> None:
        self.leases = place / f"leases-{first}"
        # setpriv: it goes with the test, however that ends
        argv = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={namespace}", "dnsmasq", "--keep-in-foreground"]
        argv += ["--conf-file=/dev/null", "--port=0", "--interface=far", "--user=root", "--no-ping"]
        argv += ["--dhcp-authoritative", f"--dhcp-leasefile={self.leases}", "--log-facility=-", "--log-dhcp"]
        argv += [f"--pid-file={place / 'pid'}", f"--dhcp-range=192.168.77.{first},192.168.77.{last},10m"]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        while "sockets bound exclusively" not in said and "DHCP, IP range" not in said:
            line = self.process.stderr.readline()
            assert line, f"dnsmasq ended: {said}"
            said += line

    def held(self) -> dict[str, str]:
        """Address → name that has it; nothing while it writes this down anew, which it does behind its answers."""
        rows = [row.split() for row in self.leases.read_text().splitlines()] if self.leases.exists() else []
        return {row[2]: row[3] for row in rows if len(row) == 5}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def wait_no_longer_than(*seconds: float) -> None:
    """Change how long this process waits for a server's answer, each time it asks."""
    client.PATIENCE_S = client.RENEWAL_S = seconds  # type: ignore[misc,assignment]


@contextlib.contextmanager
def served(namespace: str, place: Path, first: int = 100, last: int = 150) -> Iterator[Server]:
    server = Server(namespace, place, first, last)
    wait_no_longer_than(1, 2, 4, 8, 8, 8)  # it answers, however busy the machine is
    try:
        yield server
    finally:
        server.stop()


#: The steps of a start that take back the link that was asked on: what fails there is logged.
ASKED = (3, 4)


def dhcp(driver: str = "macvlan", **options: str) -> NetworkCreate:
    return NetworkCreate(name="lan", driver=driver, options=options, ipam=IPAM(driver="dhcp"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  what is waited for is another process's file
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def keeping(world: World, clock: Shifted) -> AsyncIterator[None]:
    """The task that renews leases, by a clock of ours."""
    leases = world.service._attachments.leases
    leases._clock = clock
    task = asyncio.ensure_future(world.service.keep_leases())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def lease(world: World, one: Container) -> Lease:
    live = world.live.get(one.id)
    found = live.endpoints[0].lease if live else None
    assert found is not None
    return found


@isolated
async def test_a_container_has_the_address_its_server_gives(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    with served(neighbour, tmp_path) as server:
        await world.service.create(dhcp(parent="wire"))
        one = await world.container("one", "lan")
        address = one.address("lan")
        await until(lambda: server.held() == {address: "one"})
        assert 100 <= int(address.rpartition(".")[2]) <= 150
        assert one.ask("192.168.77.1") == f"neighbour {address}"
        assert one.route == "192.168.77.1"
        assert address in Path(one.files["/etc/hosts"]).read_text()
        shown = world.service.settings(one.id)["Networks"]["lan"]
        assert shown["Lease"]["Server"] == "192.168.77.1"
        assert shown["Lease"]["ClientID"] == "01" + shown["MacAddress"].replace(":", "")
        assert world.service.inspect("lan")["Containers"][one.id]["Lease"] == shown["Lease"]
        # a second attachment, live, with an address and a MAC that were asked for
        two = await world.container("two", "bridge")
        asked = "192.168.77.142" if address != "192.168.77.142" else "192.168.77.143"  # which one gets is by its MAC
        settings = at(asked, mac_address="02:42:00:00:00:42")
        await world.service.connect("lan", two.id, settings)
        await until(lambda: server.held().get(asked) == "two")
        assert two.ask(address) == f"one {asked}"
        await world.service.disconnect("lan", two.id, force=False)
        await until(lambda: asked not in server.held())
        # given back at the end, and had again by the next container of the name
        await one.close()
        await until(lambda: not server.held())
        again = await world.container("one", "lan")
        assert again.address("lan") == address
        await again.close()
        await two.close()
    await world.service.remove("lan")
    await world.service.settle()
    assert snapshot() == before


@isolated
async def test_a_lease_is_kept_also_by_the_next_daemon(tmp_path: Path) -> None:
    world, neighbour, clock = World(tmp_path), lan(tmp_path), Shifted()
    await world.service.adopt(set())
    with served(neighbour, tmp_path) as server:
        await world.service.create(dhcp(parent="wire"))
        one = await world.container("one", "lan")
        first = lease(world, one)
        assert (first.seconds, first.renewal, first.rebinding) == (600, 300, 525)
        clock.ahead_s = 200
        async with keeping(world, clock):
            await asyncio.sleep(0)
            world.service._attachments.leases.stir()
        assert lease(world, one) == first, "not yet time"
        clock.ahead_s = 310
        async with keeping(world, clock):
            await until(lambda: lease(world, one).obtained_ns > first.obtained_ns)
        second = lease(world, one)
        assert (second.address, second.server) == (first.address, first.server)
        # the daemon is killed; the next one takes the lease over, and asks any server when its own is silent
        await world.fresh().adopt({one.id})
        clock.ahead_s += 530
        async with keeping(world, clock):
            await until(lambda: lease(world, one).obtained_ns > second.obtained_ns)
        assert one.ask("192.168.77.1") == f"neighbour {first.address}"
        await until(lambda: server.held() == {first.address: "one"})


@isolated
async def test_a_container_moves_when_its_server_wants_it(tmp_path: Path) -> None:
    world, neighbour, clock = World(tmp_path), lan(tmp_path), Shifted()
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    with served(neighbour, tmp_path):
        one = await world.container("one", "lan")
    old = one.address("lan")
    with served(neighbour, tmp_path, 200, 210) as server:
        clock.ahead_s = 310
        async with keeping(world, clock):
            await until(lambda: one.address("lan") != old)
        new = one.address("lan")
        await until(lambda: server.held() == {new: "one"})
        assert one.ask("192.168.77.1") == f"neighbour {new}"
        assert one.route == "192.168.77.1"
        hosts = Path(one.files["/etc/hosts"]).read_text()
        assert new in hosts
        assert old not in hosts
        with link.inside(one.namespace) as there:
            held = [each.address for each in there.addresses(2) if each.address.startswith("192")]
        assert held == [new]


@isolated
async def test_a_lease_that_nobody_renews_is_asked_for_again_and_again(tmp_path: Path) -> None:
    world, neighbour, clock = World(tmp_path), lan(tmp_path), Shifted()
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    with served(neighbour, tmp_path):
        one = await world.container("one", "lan")
    first, leases = lease(world, one), world.service._attachments.leases
    wait_no_longer_than(0.1)
    clock.ahead_s = 310
    async with keeping(world, clock):
        await until(lambda: leases._again_ns)
        wait_s = (next(iter(leases._again_ns.values())) - clock.now_ns()) / 1e9
        assert 90 < wait_s < 120, "half of what is left until T2"
        assert one.address("lan") == first.address, "it is ours still"
        leases._again_ns.clear()
        clock.ahead_s = 700
        leases.stir()
        await until(lambda: leases._again_ns)
        with served(neighbour, tmp_path):
            leases._again_ns.clear()
            leases.stir()
            await until(lambda: lease(world, one).obtained_ns > first.obtained_ns)
    assert one.address("lan") == first.address


@isolated
async def test_on_a_bridge_that_is_there(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path, own="")
    route = link.host()
    route.send(netlink.new_bridge("lanbr", "02:00:00:00:00:09", 1500), netlink.set_up("lanbr"))
    await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "wire", "master", "lanbr"], check=True)
    await world.service.adopt(set())
    with served(neighbour, tmp_path) as server:
        await world.service.create(dhcp("bridge", **{"com.docker.network.bridge.name": "lanbr"}))
        one = await world.container("one", "lan")
        await until(lambda: server.held() == {one.address("lan"): "one"})
        assert one.ask("192.168.77.1") == f"neighbour {one.address('lan')}"
        await one.close()
        await until(lambda: not server.held())


@isolated
async def test_what_is_refused(tmp_path: Path) -> None:
    wait_no_longer_than(0.1, 0.2)
    world = World(tmp_path)
    lan(tmp_path)
    await world.service.adopt(set())
    for want, words in (
        (dhcp(), "name a parent that leads to one"),
        (dhcp("bridge"), "name a bridge that is there"),
        (dhcp("ipvlan", parent="wire", ipvlan_mode="l3"), "in mode l2 only"),
        (
            NetworkCreate(name="x", driver="macvlan", options={"parent": "wire"},
                          ipam=IPAM(driver="dhcp", config=[IPAMConfig(subnet="10.9.0.0/24")])),
            "takes no subnet",
        ),
        (
            NetworkCreate(name="x", driver="macvlan", options={"parent": "wire"}, enable_ipv6=True,
                          ipam=IPAM(driver="dhcp")),
            "has IPv4 only",
        ),
        (dhcp(parent="wire", host_access="true"), "host_access needs a subnet"),
    ):  # fmt: skip
        with refused(Kind.INVALID, words):
            await world.service.create(want)
    await world.service.create(dhcp(parent="wire"))
    await world.service.settle()
    before = snapshot(), await world.namespaces()
    with refused(Kind.SYSTEM, "network lan: no DHCP server answered within 0.3 s"):
        await world.container("one", "lan")
    await world.service.settle()
    assert (snapshot(), await world.namespaces()) == before
    assert not world.live.all()


@isolated
async def test_failing_at_any_step_leaves_nothing_and_gives_the_lease_back(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    await world.service.settle()
    before = snapshot(), await world.namespaces()
    with served(neighbour, tmp_path) as server:
        made: list[Container] = []

        async def start() -> None:
            made.append(await world.container("one", "lan", endpoints={"lan": EndpointSettings()}))

        steps = 0
        async for steps in failing(world.fault, start, unheard=ASKED):
            await world.service.settle()
            assert (snapshot(), await world.namespaces()) == before, steps
            assert not world.live.all()
            await until(lambda: not server.held())
        assert steps == 6, "namespace and link to ask on, both taken back; namespace and link"
        await until(lambda: server.held() == {made[0].address("lan"): "one"})


@isolated
async def test_an_address_that_cannot_be_swapped_stays(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    with served(neighbour, tmp_path):
        one = await world.container("one", "lan")
    old, way = one.address("lan"), "192.168.77.1"
    with pytest.raises(NetlinkError, match="default route"):  # its gateway is in no network of the link
        world.kernel.apply(SwapAddress(one.namespace, "eth0", f"{old}/24", "10.9.0.2/24", (way, "10.8.0.1")))
    assert one.ask(way) == f"neighbour {old}"
    assert one.route == way
    undo = world.kernel.apply(SwapAddress(one.namespace, "eth0", f"{old}/24", "192.168.77.240/24", (way, way)))
    assert one.ask(way) == "neighbour 192.168.77.240"
    assert undo is not None
    world.kernel.apply(undo)
    assert one.ask(way) == f"neighbour {old}"
    assert one.route == way


@isolated
async def test_a_live_attachment_that_fails_gives_its_lease_back(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    one = await world.container("one", "bridge")
    with served(neighbour, tmp_path) as server:
        steps = 0
        async for steps in failing(
            world.fault,
            lambda: world.service.connect("lan", one.id, EndpointSettings()),
            unheard=ASKED,
        ):
            await until(lambda: not server.held())
            with link.inside(one.namespace) as there:
                assert [each.name for each in there.links()] == ["lo", "eth0"], steps
            assert list(world.service.settings(one.id)["Networks"]) == ["bridge"]
        assert steps == 7, "namespace and link to ask on, both taken back; link, two rules for answers"
        await until(lambda: server.held() == {one.address("lan"): "one"})
        assert one.ask("192.168.77.1") == f"neighbour {one.address('lan')}"


async def _create_everything(world: World) -> None:
    await world.service.create(dhcp(parent="wire"))
    await world.container("one", "lan")


@isolated
async def test_killed_in_any_step_leaves_nothing_to_the_next_start(tmp_path: Path) -> None:
    async def start() -> World:
        world = World(tmp_path)
        world.runner.recover()
        await world.service.adopt(set())
        return world

    neighbour, world = lan(tmp_path), await start()
    before = snapshot()
    with served(neighbour, tmp_path) as server:
        steps = 0
        async for steps, later in killing(world, _create_everything, start):
            # its records are in memory: what has been made belongs to nothing now
            assert snapshot() == before, steps
            assert await later.namespaces() == []
        assert steps == 7, "kind of link; namespace and link to ask on, both taken back; namespace and link"
        await until(lambda: "one" in server.held().values())


@isolated
async def test_a_lease_of_which_no_attachment_is_made_is_given_back(tmp_path: Path) -> None:
    world, neighbour = World(tmp_path), lan(tmp_path)
    await world.service.adopt(set())
    await world.service.create(dhcp(parent="wire"))
    reserving = world.service._attachments._reserving
    held: list[dict[str, str]] = []
    with served(neighbour, tmp_path) as server:

        def refuse(*_: object) -> None:
            held.append(wait_for(server.held, "the lease to be written down"))
            raise SystemFault(INJECTED)

        take, reserving._take = reserving._take, refuse  # type: ignore[method-assign,assignment]
        with refused(Kind.SYSTEM, INJECTED):
            await world.container("one", "lan")
        assert list(held[0].values()) == ["one"], "it had one"
        await until(lambda: not server.held())
        reserving._take = take  # type: ignore[method-assign]
        one = await world.container("one", "lan")
        await until(lambda: server.held() == {one.address("lan"): "one"})
