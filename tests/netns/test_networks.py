"""Networks in a real kernel: who reaches whom, by packets; what is left, by looking."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.base.config import AddressPool, Config
from berth.base.errors import EngineError, Kind
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel import conntrack, link, netlink, netns, nft, sysctl
from berth.networks.dns.client import DnsClient
from berth.networks.errors import NoNetworkNow
from berth.networks.model import LastHeld, LiveSandbox, NetworkRecord, Tenant
from berth.networks.ports.proxy_client import ProxyClient, command
from berth.networks.processes import keeper
from berth.networks.service import Networks
from berth.plan.journal import Journal
from berth.plan.run import Runner
from berth.plugins.rpc import Plugins
from berth.store.base import Records
from berth.store.memory import MemoryRecords
from berth.wire.filters import Filters
from berth.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate, PortBinding
from tests.netns.throwaway import isolated
from tests.support.faults import FailingKernel, Fault, failing, killing

pytestmark = pytest.mark.root

#: Seconds for an answer that must come, and for one that must not.
PATIENCE_S = 30.0
DROPPED_S = 0.3

ICC = "com.docker.network.bridge.enable_icc"


class World:
    """A networks service over a kernel of its own, and containers that are namespaces only."""

    plugins: Plugins | None = None

    def __init__(
        self, root: Path, *, dns_server: DnsClient | None = None, proxy: ProxyClient | None = None, **config: object
    ) -> None:
        self.dns, self.proxy = dns_server, proxy
        self.layout = Layout(root / "data", root / "exec")
        self.layout.exec_root.mkdir(exist_ok=True)
        self.layout.data_root.mkdir(exist_ok=True)
        self.networks: Records[NetworkRecord] = MemoryRecords()
        self.tenants: Records[Tenant] = MemoryRecords()
        self.live: Records[LiveSandbox] = MemoryRecords()
        self.last: Records[LastHeld] = MemoryRecords()
        self.bus = Bus(SystemClock())
        self.fault = Fault()
        self.kernel = FailingKernel(self.fault)
        self.config = Config(**config)  # type: ignore[arg-type]
        self._count = 0
        self.service: Networks = None  # type: ignore[assignment]
        self.fresh()

    def fresh(self) -> Networks:
        """A service as after a restart of the daemon: same records, empty memory, no ports held."""
        if self.service is not None:
            self.service._publishing.close()
        self.runner = Runner(
            self.kernel, Journal(self.layout.journal, self.kernel.step_types), around=link.sockets_kept
        )
        self.service = Networks(
            self.layout,
            self.networks,
            self.tenants,
            self.live,
            self.runner,
            self.bus,
            self.dns,
            self.config,
            last=self.last,
            proxy=self.proxy,
            plugins=self.plugins,
        )
        return self.service

    async def namespaces(self) -> list[str]:
        """Pinned namespaces but for the one in reserve."""
        await self.service.settle()
        return sorted(set(os.listdir(self.layout.namespaces)) - {Path(self.spare).name if self.spare else ""})

    def wake(self) -> None:
        """Go on in a process that has just been forked."""

    @property
    def spare(self) -> str:
        reserve = self.service._attachments.spare
        return reserve.path(reserve._ready) if reserve._ready else ""

    async def network(self, name: str, *, subnet: str = "", **settings: object) -> str:
        if subnet:
            settings["ipam"] = IPAM(config=[IPAMConfig(subnet=subnet)])
        ident, _ = await self.service.create(NetworkCreate(name=name, **settings))  # type: ignore[arg-type]
        return ident

    async def container(self, name: str, network: str, **settings: object) -> "Container":
        self._count += 1
        ident = f"{self._count:02x}c0ffee" * 8
        await self.service.declare(Tenant(ident, name, hostname=name, mode=network, **settings))  # type: ignore[arg-type]
        sandbox = await self.service.open(ident)
        return Container(self, ident, name, sandbox.netns_path or "", sandbox.files)


class Container:
    """One namespace, with a server on port 80 that says its name and who asked."""

    def __init__(self, world: World, ident: str, name: str, namespace: str, files: dict[str, str]) -> None:
        self.world, self.id, self.name, self.namespace, self.files = world, ident, name, namespace, files
        if namespace:
            self.serve(80)

    def serve(self, port: int) -> None:
        serve(lambda: netns.inside(self.namespace, socket.socket), self.name, port)

    def address(self, network: str) -> str:
        return str(self.world.service.settings(self.id)["Networks"][network]["IPAddress"])

    def ask(self, address: str, port: int = 80) -> str:
        return ask(address, port, self.namespace)

    def misses(self, address: str, port: int = 80) -> bool:
        return misses(address, port, self.namespace)

    @property
    def route(self) -> str:
        with link.inside(self.namespace) as there:
            return next((one.gateway for one in there.routes(socket.AF_INET, 254) if not one.destination), "")

    async def close(self) -> None:
        await self.world.service.close(self.id)


def serve(make: "object", name: str, port: int) -> None:
    listener = make()  # type: ignore[operator]
    is_six = listener.family == socket.AF_INET6
    if is_six:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("::" if is_six else "0.0.0.0", port))
    listener.listen()

    def loop() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, source = listener.accept()
                with peer:
                    peer.sendall(f"{name} {source[0]}".encode())

    threading.Thread(target=loop, daemon=True).start()


def ask(address: str, port: int = 80, namespace: str = "", *, limit: float = PATIENCE_S) -> str:
    """Return what the server there says, or the name of what went wrong; a drop is a time-out."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = netns.inside(namespace, socket.socket, family) if namespace else socket.socket(family)
    with client:
        client.settimeout(limit)
        try:
            client.connect((address, port))
            return client.recv(99).decode()
        except TimeoutError:
            return "silence"
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]


def misses(address: str, port: int = 80, namespace: str = "") -> bool:
    """Whether what is sent there is dropped, or has no way at all."""
    return ask(address, port, namespace, limit=DROPPED_S) in ("silence", "EHOSTUNREACH", "ENETUNREACH")


def neighbour(place: Path, name: str = "remote") -> str:
    """Another host: a namespace at 203.0.113.2 that routes everything through ours, at 203.0.113.1."""
    path = str(place / name)
    netns.create(path)
    route = link.host()
    with netns.opened(path) as fd:
        route.send(netlink.new_veth("cable0", peer="cable1", peer_mac="02:00:00:00:00:02", namespace_fd=fd, mtu=1500))
    near = route.index("cable0")
    route.send(netlink.new_address(near, "203.0.113.1", 24), netlink.set_up("cable0"))
    with link.inside(path) as there:
        far = there.index("cable1")
        there.send(
            netlink.new_address(far, "203.0.113.2", 24),
            netlink.set_up("cable1"),
            netlink.default_route("203.0.113.1", far),
        )
    return path


def snapshot() -> tuple[list[str], list[str]]:
    """What there is: links and rules."""
    return sorted(one.name for one in link.links()), sorted(nft.run_once("list tables").splitlines())


def ruleset() -> list[str]:
    """Every line of every table, whatever the order in which the tables were made."""
    return sorted(nft.run_once("list ruleset").splitlines())


def published(port: str, host: str = "") -> dict[str, list[PortBinding]]:
    return {"80/tcp": [PortBinding(host, port)]}


@contextlib.contextmanager
def refused(kind: Kind, words: str) -> Iterator[None]:
    with pytest.raises(EngineError) as caught:
        yield
    assert caught.value.kind is kind, repr(caught.value)
    assert words in str(caught.value)


@isolated
async def test_containers_of_one_network_meet_and_of_two_do_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    other = await world.container("other", "blue")
    default = await world.container("default", "default")
    assert one.ask(two.address("red")) == f"two {one.address('red')}"
    assert two.ask(one.address("red")) == f"one {two.address('red')}"
    assert one.misses(other.address("blue"))
    assert other.misses(one.address("red"))
    assert default.misses(one.address("red"))
    assert one.misses(default.address("bridge"))
    assert ask(one.address("red")).startswith("one ")


@isolated
async def test_connect_and_disconnect_while_running(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    red, blue = await world.network("red"), await world.network("blue")
    one, other = await world.container("one", "red"), await world.container("other", "blue")
    assert one.misses(other.address("blue"))
    await world.service.connect("blue", one.id, EndpointSettings(aliases=["guest"]))
    assert one.ask(other.address("blue")) == f"other {one.address('blue')}"
    assert other.ask(one.address("blue")).startswith("one ")
    assert set(world.service.inspect("blue")["Containers"]) == {one.id, other.id}
    hosts = Path(one.files["/etc/hosts"]).read_text()
    assert one.address("blue") in hosts
    with refused(Kind.FORBIDDEN, "endpoint with name one already exists in network blue"):
        await world.service.connect("blue", one.id, EndpointSettings())
    # blue comes first by name and has the default route now; it moves back
    assert one.route == world.service.get(blue).pools[0].gateway
    address = one.address("blue")
    await world.service.disconnect("blue", one.id, force=False)
    assert one.route == world.service.get(red).pools[0].gateway
    assert one.misses(other.address("blue"))
    assert other.misses(address)
    assert address not in Path(one.files["/etc/hosts"]).read_text()
    with refused(Kind.SYSTEM, f"container {one.id} is not connected to network blue"):
        await world.service.disconnect("blue", one.id, force=False)


@isolated
async def test_a_published_port_answers_from_everywhere(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    red, _ = await world.network("red"), await world.network("blue")
    remote = neighbour(tmp_path)
    one = await world.container("one", "red", port_bindings=published("8080"))
    peer, other = await world.container("peer", "red"), await world.container("other", "blue")
    gateway = world.service.get(red).pools[0].gateway
    assert ask("127.0.0.1", 8080).startswith("one ")
    assert ask("203.0.113.1", 8080).startswith("one ")
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2", "a remote client's address is kept"
    assert one.ask(gateway, 8080).startswith("one "), "itself, by its published port"
    assert peer.ask(gateway, 8080).startswith("one ")
    assert other.ask("203.0.113.1", 8080).startswith("one "), "from another network by the host's address"
    # and not past the published port
    assert misses(one.address("red"), 80, remote)
    assert world.service.ports(one.id) == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
    ]
    await one.close()
    assert ask("127.0.0.1", 8080) == "ECONNREFUSED"
    assert ask("203.0.113.1", 8080, remote) == "ECONNREFUSED"


@isolated
async def test_a_port_published_on_loopback_stays_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    one = await world.container("one", "bridge", port_bindings=published("8080", "127.0.0.1"))
    other = await world.container("other", "bridge")
    assert ask("127.0.0.1", 8080).startswith("one ")
    assert ask("203.0.113.1", 8080) == "ECONNREFUSED"
    assert ask("203.0.113.1", 8080, remote) == "ECONNREFUSED"
    # a neighbour that routes our loopback addresses here gets nothing, and neither does a container
    with link.inside(remote) as there:
        there.send(netlink.set_up("lo", up=False))
    assert misses("127.0.0.1", 8080, remote)
    assert other.ask("172.17.0.1", 8080) == "ECONNREFUSED"
    assert one.id


@isolated
async def test_traffic_that_leaves_has_the_hosts_address(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network(
        "plain", options={"com.docker.network.bridge.enable_ip_masquerade": "false"}, subnet="10.9.0.0/24"
    )
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one, plain = await world.container("one", "red"), await world.container("plain", "plain")
    assert one.ask("203.0.113.2", 90) == "remote 203.0.113.1"
    assert plain.ask("203.0.113.2", 90) == f"remote {plain.address('plain')}"


@isolated
async def test_an_internal_network_has_no_way_out_or_in(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("inner", internal=True)
    await world.network("red")
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    one, two = await world.container("one", "inner"), await world.container("two", "inner")
    red = await world.container("red", "red", port_bindings=published("8080"))
    assert one.route == ""
    assert one.ask(two.address("inner")).startswith("two ")
    assert one.misses("203.0.113.2", 90)
    gateway = world.service.inspect("inner")["IPAM"]["Config"][0]["Gateway"]
    with link.inside(one.namespace) as there:  # even if it makes itself a route
        there.send(netlink.default_route(gateway, there.index("eth0")))
    assert one.misses("203.0.113.2", 90)
    assert one.misses(red.address("red"))
    assert red.misses(one.address("inner"))


@isolated
async def test_without_icc_containers_reach_the_host_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("quiet", options={ICC: "false"})
    one, two = await world.container("one", "quiet"), await world.container("two", "quiet")
    assert one.misses(two.address("quiet"))
    assert ask(two.address("quiet")).startswith("two ")


@isolated
async def test_a_taken_port_is_refused_and_nothing_remains(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.container("one", "bridge", port_bindings=published("8080"))
    before = snapshot()
    with refused(Kind.SYSTEM, "Bind for 0.0.0.0:8080 failed: port is already allocated"):
        await world.container("two", "bridge", port_bindings=published("8080"))
    with refused(Kind.SYSTEM, "Bind for 127.0.0.1:8080 failed: port is already allocated"):
        await world.container("three", "bridge", port_bindings=published("8080", "127.0.0.1"))
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 9090))
        holder.listen()
        with refused(Kind.SYSTEM, "failed to bind host port for 0.0.0.0:9090"):
            await world.container("four", "bridge", port_bindings=published("9090"))
    assert snapshot() == before
    assert await world.namespaces() == [Path(world.live.all()[0].netns_path).name]
    freed = await world.container("five", "bridge", port_bindings=published("9090"))
    assert freed.address("bridge") == "172.17.0.3", "addresses of the refused are free again"


@isolated
async def test_ports_answer_on_ipv6_too(tmp_path: Path) -> None:
    place = tmp_path / "proxy.sock"

    async def spawn() -> None:
        environment = {**os.environ, "PYTHONPATH": "src"}
        subprocess.Popen(command(place), env=environment, start_new_session=True)  # noqa: ASYNC220

    proxy = ProxyClient(place, spawn=spawn)
    await proxy.start()
    try:
        world = World(tmp_path, proxy=proxy)
        await world.service.adopt(set())
        await world.network("anew")
        one = await world.container("one", "bridge", port_bindings=published("8080"))
        two = await world.container("two", "bridge", port_bindings=published("8081", "127.0.0.1"))
        any_port = await world.container("any", "bridge", publish_all_ports=True, exposed_ports=("80/tcp",))
        assert world.service.settings(one.id)["Ports"] == {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
        }
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("one ")
        assert ask("127.0.0.1", 8080).startswith("one ")
        assert ask("::1", 8081) == "ECONNREFUSED"
        rows = world.service.ports(any_port.id)
        assert [row["IP"] for row in rows] == ["0.0.0.0", "::"]
        assert rows[0]["PublicPort"] == rows[1]["PublicPort"]
        with refused(Kind.SYSTEM, "port is already allocated"):
            await world.container("late", "bridge", port_bindings=published("8080"))
        await world.service.connect("anew", one.id, EndpointSettings())
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("one ")
        await world.fresh().adopt({one.id, two.id})
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("one ")
        assert ask("::1", rows[0]["PublicPort"]) == "ECONNREFUSED"
        await one.close()
        assert ask("::1", 8080) == "ECONNREFUSED"
        again = await world.container("again", "bridge", port_bindings=published("8080"))
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("again ")
        await again.close()
    finally:
        await proxy.quit()


@isolated
async def test_a_proxy_that_hangs_keeps_nothing_from_being_given_back(tmp_path: Path) -> None:
    keeper.LIMIT_S = 0.5  # type: ignore[misc]  in a process of its own
    place = tmp_path / "proxy.sock"

    async def spawn() -> None:
        environment = {**os.environ, "PYTHONPATH": "src"}
        subprocess.Popen(command(place), env=environment, start_new_session=True)  # noqa: ASYNC220

    proxy = ProxyClient(place, spawn=spawn)
    await proxy.start()
    world = World(tmp_path, proxy=proxy)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("shut", internal=True)
    try:
        one = await world.container("one", "bridge", port_bindings=published("8080"))
        shut = await world.container("shut", "shut", port_bindings=published("8081"))
        await world.service.settle()
        before = snapshot(), ruleset(), world.live.get(shut.id), world.tenants.get(shut.id)
        os.kill(proxy.pid, signal.SIGSTOP)
        with refused(Kind.UNAVAILABLE, "the port proxy does not answer"):
            await world.container("two", "bridge", port_bindings=published("8082"))
        with refused(Kind.UNAVAILABLE, "the port proxy does not answer"):
            await world.service.connect("red", shut.id, EndpointSettings())
        await world.service.settle()
        assert (snapshot(), ruleset(), world.live.get(shut.id), world.tenants.get(shut.id)) == before
        await one.close()
        assert [each.container_id for each in world.live.all()] == [shut.id]
        os.kill(proxy.pid, signal.SIGCONT)
        keeper.LIMIT_S = 20.0  # type: ignore[misc]
        assert await proxy.holding() == set(), "it has been told, and does it when it can"
        three = await world.container("three", "bridge", port_bindings=published("8080"))
        assert three.address("bridge") == "172.17.0.2", "addresses and ports are free again"
        assert (await asyncio.to_thread(ask, "::1", 8080)).startswith("three ")
        await world.service.connect("red", shut.id, EndpointSettings())
        assert (await asyncio.to_thread(ask, "::1", 8081)).startswith("shut ")
    finally:
        os.kill(proxy.pid, signal.SIGCONT)
        await proxy.quit()


@isolated
async def test_ranges_and_any_port(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    first = await world.container("first", "bridge", port_bindings=published("8000-8002"))
    second = await world.container("second", "bridge", port_bindings=published("8000-8002"))
    third = await world.container("third", "bridge", publish_all_ports=True, exposed_ports=("80/tcp", "53/udp"))
    assert [one["PublicPort"] for one in world.service.ports(first.id)] == [8000]
    assert [one["PublicPort"] for one in world.service.ports(second.id)] == [8001]
    rows = world.service.ports(third.id)
    assert [(row["PrivatePort"], row["Type"]) for row in rows] == [(53, "udp"), (80, "tcp")]
    assert all(row["PublicPort"] > 1024 for row in rows)
    assert ask("127.0.0.1", rows[1]["PublicPort"]).startswith("third ")


@isolated
async def test_static_addresses(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("own", subnet="10.5.0.0/24")

    def at(address: str) -> dict[str, EndpointSettings]:
        return {"own": EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=address))}

    one = await world.container("one", "own", endpoints=at("10.5.0.2"))
    two = await world.container("two", "own")
    assert (one.address("own"), two.address("own")) == ("10.5.0.2", "10.5.0.3")
    with refused(Kind.FORBIDDEN, "Address already in use"):
        await world.container("again", "own", endpoints=at("10.5.0.2"))
    with refused(Kind.FORBIDDEN, "Address already in use"):
        await world.container("gateway", "own", endpoints=at("10.5.0.1"))
    with refused(Kind.INVALID, "no configured subnet contains IP address 10.6.0.2"):
        await world.container("outside", "own", endpoints=at("10.6.0.2"))
    with refused(Kind.INVALID, "user specified IP address is supported on user defined networks only"):
        await world.container("default", "bridge", endpoints={"bridge": next(iter(at("172.17.0.9").values()))})
    await one.close()
    three = await world.container("three", "own")
    assert three.address("own") == "10.5.0.4", "what a stopped container asked for by number stays its own"


@isolated
async def test_an_address_can_be_given_away_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    witness = await world.container("witness", "red")
    for turn in range(5):
        one = await world.container(f"turn{turn}", "red")
        address = one.address("red")
        assert address.endswith(".3")
        assert witness.ask(address) == f"turn{turn} {witness.address('red')}"
        assert ask(address).startswith(f"turn{turn} ")
        await one.close()
    await world.service.settle()
    assert len([name for name in snapshot()[0] if name.startswith(world.layout.veth_prefix)]) == 1


@isolated
async def test_everything_that_was_made_goes(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    before = snapshot()
    rules = nft.run_once(f"list table inet {world.layout.nft_table}")
    await world.network("red")
    one = await world.container("one", "red", port_bindings=published("8080"))
    assert snapshot() != before
    with refused(Kind.FORBIDDEN, "has active endpoints"):
        await world.service.remove("red")
    await one.close()
    await one.close()
    await world.service.forget(one.id)
    await world.service.remove("red")
    await world.service.settle()
    assert snapshot() == before
    assert nft.run_once(f"list table inet {world.layout.nft_table}") == rules
    assert await world.namespaces() == []
    assert not world.live.all()
    assert not world.tenants.all()
    world.service.dissolve()
    assert snapshot() == (["lo"], [])


@isolated
async def test_a_restart_of_the_daemon_interrupts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one = await world.container("one", "red", port_bindings=published("8080"))
    gone = await world.container("gone", "red", port_bindings=published("8081"))
    remote = neighbour(tmp_path)
    talk = netns.inside(one.namespace, socket.socket)
    talk.bind(("0.0.0.0", 81))
    talk.listen()
    caller = netns.inside(remote, socket.socket)
    await asyncio.to_thread(lambda: serve(lambda: netns.inside(one.namespace, socket.socket), "late", 82))
    caller.settimeout(PATIENCE_S)
    caller.connect(("203.0.113.1", 8080))
    assert caller.recv(9).startswith(b"one")
    address = one.address("red")
    failures: list[str] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            said = ask("203.0.113.1", 8080, remote)
            if not said.startswith("one "):
                failures.append(said)

    thread = threading.Thread(target=load)
    thread.start()
    service = world.fresh()
    await service.adopt({one.id})
    done.set()
    thread.join()
    assert not failures
    assert service.settings(one.id)["Networks"]["red"]["IPAddress"] == address
    with pytest.raises(NoNetworkNow):
        service.namespace(gone.id)
    assert ask("127.0.0.1", 8081) == "ECONNREFUSED"
    with refused(Kind.SYSTEM, "port is already allocated"):
        await world.container("new", "red", port_bindings=published("8080"))
    assert (await world.container("other", "red")).address("red") != address


@isolated
async def test_what_nobody_needs_is_swept(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one = await world.container("one", "red")
    before = snapshot()
    route = link.host()
    route.send(netlink.new_bridge("br-lost", "02:42:00:00:00:09", 1500))
    route.send(netlink.set_alias("br-lost", f"berth{world.layout.instance}:network:{'0' * 64}"))
    route.send(netlink.new_bridge("br-foreign", "02:42:00:00:00:08", 1500))
    netns.create(str(world.layout.namespaces / "lost"))
    await world.fresh().adopt({one.id})
    links, rules = snapshot()
    assert (sorted({*links} - {"br-foreign"}), rules) == before
    assert "br-foreign" in links
    assert await world.namespaces() == [Path(world.live.all()[0].netns_path).name]
    assert ask(one.address("red")).startswith("one ")


@isolated
async def test_host_none_and_shared_namespaces(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    host, none = await world.container("host", "host"), await world.container("none", "none")
    assert host.namespace == ""
    with link.inside(none.namespace) as there:
        assert [(one.name, one.is_up) for one in there.links()] == [("lo", True)]
    owner = await world.container("owner", "red")
    await world.service.declare(Tenant("ff" * 32, "guest", mode=f"container:{owner.id}"))
    shared = await world.service.open("ff" * 32)
    assert shared.netns_path == owner.namespace
    assert shared.files == owner.files
    await owner.close()
    with refused(Kind.CONFLICT, "cannot join network namespace of a non running container"):
        await world.service.open("ff" * 32)
    with refused(Kind.INVALID, "sharing network namespace with another container or host"):
        await world.service.connect("red", host.id, EndpointSettings())
    with refused(Kind.INVALID, "cannot be disconnected from host network or connected to host network"):
        await world.service.disconnect("host", host.id, force=False)
    with refused(Kind.INVALID, "private (none) mode"):
        await world.service.connect("red", none.id, EndpointSettings())
    assert set(world.service.inspect("host")["Containers"]) == {host.id}


@isolated
async def test_subnets_keep_clear_of_the_hosts_routes(tmp_path: Path) -> None:
    route = link.host()
    route.send(netlink.new_bridge("vpn0", "02:42:00:00:00:05", 1500))
    index = route.index("vpn0")
    route.send(netlink.new_address(index, "172.18.0.77", 25), netlink.set_up("vpn0"))
    route.send(netlink.new_address(index, "172.17.3.1", 24))
    world = World(tmp_path)
    await world.service.adopt(set())
    assert world.service.get("bridge").pools[0].subnet == "172.19.0.0/16"
    await world.network("red")
    assert world.service.get("red").pools[0].subnet == "172.18.1.0/24"
    with refused(Kind.FORBIDDEN, "Pool overlaps with other one on this address space"):
        await world.network("blue", subnet="172.18.1.128/25")


@isolated
async def test_a_subnet_that_is_asked_for_and_routed_elsewhere_is_made_with_a_warning(tmp_path: Path) -> None:
    route = link.host()
    route.send(netlink.new_bridge("vpn0", "02:42:00:00:00:05", 1500), netlink.set_up("vpn0"))
    subprocess.run(["ip", "route", "add", "10.44.0.7/32", "dev", "vpn0", "table", "99"], check=True)  # noqa: ASYNC221
    world = World(tmp_path)
    await world.service.adopt(set())
    want = NetworkCreate(name="red", ipam=IPAM(config=[IPAMConfig(subnet="10.44.0.0/16")]))
    _, warning = await world.service.create(want)
    assert "subnet 10.44.0.0/16 overlaps 10.44.0.7/32 (routed through vpn0, table 99)" in warning
    _, warning = await world.service.create(NetworkCreate(name="blue"))
    assert warning == ""
    # an address put on a link after the engine has started counts as well
    route.send(netlink.new_address(route.index("vpn0"), "172.18.1.77", 25))
    await world.network("green")
    assert world.service.get("green").pools[0].subnet == "172.18.2.0/24"


@isolated
async def test_a_container_has_its_address_again_if_it_is_free(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    first, second = one.address("red"), two.address("red")
    await two.close()
    await one.close()
    for each in (two, one):  # the other way round
        await world.service.open(each.id)
    assert (one.address("red"), two.address("red")) == (first, second)
    await one.close()
    # also of the next daemon; `two` ends while there is none
    await world.fresh().adopt(set())
    for each in (two, one):
        await world.service.open(each.id)
    assert (one.address("red"), two.address("red")) == (first, second)
    await one.close()
    thief = await world.container("thief", "red")
    assert thief.address("red") == first
    await world.service.open(one.id)
    assert one.address("red") == first[:-1] + "4"
    await one.close()
    await thief.close()
    await world.service.forget(one.id)
    assert [last.container_id for last in world.last.all()] == [two.id, thief.id]


@isolated
async def test_a_container_starts_again_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    one = await world.container("one", "bridge", port_bindings=published("8080"))
    for _ in range(3):
        await one.close()
        sandbox = await world.service.open(one.id)
        again = Container(world, one.id, "one", sandbox.netns_path or "", sandbox.files)
        assert again.address("bridge") == "172.17.0.2"
        assert ask("127.0.0.1", 8080).startswith("one ")
    await world.service.settle()
    assert len(await world.namespaces()) == 1


@isolated
async def test_options_of_a_bridge(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network(
        "own",
        options={
            "com.docker.network.bridge.name": "mybridge",
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.container_iface_prefix": "net",
            "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        },
    )
    assert {one.name: one.mtu for one in link.links()}["mybridge"] == 1400
    one = await world.container("one", "own", port_bindings=published("8080"))
    with link.inside(one.namespace) as there:
        assert there.link("net0").mtu == 1400
    assert world.service.ports(one.id)[0]["IP"] == "127.0.0.1"
    with refused(Kind.FORBIDDEN, "networks have same bridge name"):
        await world.network("other", options={"com.docker.network.bridge.name": "mybridge"})
    await one.close()
    await world.service.remove("own")
    # an adopted bridge is not ours to delete; and one that was just removed does not count as there
    link.host().send(netlink.new_bridge("theirs", "02:42:00:00:00:07", 1500))
    await world.network("again", options={"com.docker.network.bridge.name": "mybridge"})
    await world.network("adopted", options={"com.docker.network.bridge.name": "theirs"})
    await world.service.remove("adopted")
    await world.service.remove("again")
    await world.service.settle()
    assert "theirs" in snapshot()[0]
    assert "mybridge" not in snapshot()[0]


@isolated
async def test_a_start_that_fails_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    both = {"red": EndpointSettings(), "blue": EndpointSettings()}
    await world.service.settle()
    before = snapshot(), ruleset(), await world.namespaces()
    made: list[Container] = []

    async def start() -> None:
        made.append(await world.container("one", "red", endpoints=both, port_bindings=published("8080")))

    steps = 0
    async for steps in failing(world.fault, start):
        await world.service.settle()
        assert (snapshot(), ruleset(), await world.namespaces()) == before, steps
        assert not world.live.all()
        assert not world.service.inspect("red")["Containers"]
    assert steps == 6, "namespace, two links, answers of two, rules"
    assert made[0].address("red") == world.service.get("red").pools[0].gateway[:-1] + "2"
    assert ask("127.0.0.1", 8080).startswith("one ")


@isolated
async def test_a_daemon_killed_in_any_step_leaves_nothing_to_its_next_start(tmp_path: Path) -> None:
    async def start() -> World:
        world = World(tmp_path)
        world.runner.recover()
        await world.service.adopt(set())
        return world

    world = await start()
    before = snapshot()
    steps = 0
    async for steps, _ in killing(  # its records are in memory: what was made belongs to nothing now
        world, lambda world: world.container("one", "bridge", port_bindings=published("8080")), start
    ):
        assert snapshot() == before, steps
    assert steps == 3, "namespace, link, rules"
    assert snapshot() != before


@isolated
async def test_many_start_and_end_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    many = await asyncio.gather(*(world.container(f"c{n}", "red", port_bindings=published("")) for n in range(20)))
    addresses = {one.address("red") for one in many}
    ports = {world.service.ports(one.id)[0]["PublicPort"] for one in many}
    assert len(addresses) == len(ports) == 20
    assert many[0].ask(many[19].address("red")).startswith("c19 ")
    await asyncio.gather(*(one.close() for one in many))
    await world.service.remove("red")
    await world.service.settle()
    assert await world.namespaces() == []
    assert [name for name in snapshot()[0] if name.startswith("br-")] == []


@isolated
async def test_networks_of_a_stopped_container_change_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("blue")
    one = await world.container("one", "red")
    await one.close()
    await world.service.connect("blue", one.id, EndpointSettings())
    assert set(world.service.settings(one.id)["Networks"]) == {"red", "blue"}
    await world.service.disconnect("red", one.id, force=False)
    with refused(Kind.SYSTEM, f"container {one.id} is not connected to the network red"):
        await world.service.disconnect("red", one.id, force=False)
    sandbox = await world.service.open(one.id)
    with link.inside(sandbox.netns_path or "") as there:
        assert sorted(each.name for each in there.links()) == ["eth0", "lo"]
    assert list(world.service.inspect("blue")["Containers"]) == [one.id]
    assert not world.service.inspect("red")["Containers"]
    # a network may go and come back under the same name while a container that names it is stopped
    await world.service.close(one.id)
    await world.service.remove("blue")
    with refused(Kind.NOT_FOUND, "network blue not found"):
        await world.service.open(one.id)
    await world.network("blue")
    await world.service.open(one.id)
    assert list(world.service.inspect("blue")["Containers"]) == [one.id]


@isolated
async def test_two_networks_of_one_name_or_subnet_cannot_be_made_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    tries = [world.network("red") for _ in range(4)] + [world.network(f"n{n}", subnet="10.5.0.0/24") for n in range(4)]
    made = await asyncio.gather(*tries, return_exceptions=True)
    kinds = [one.kind for one in made if isinstance(one, EngineError)]
    assert kinds == [Kind.CONFLICT] * 3 + [Kind.FORBIDDEN] * 3
    subnets = [one["IPAM"]["Config"][0]["Subnet"] for one in world.service.list(Filters({"type": ("custom",)}))]
    assert len(subnets) == len(set(subnets)) == 2


@isolated
async def test_ipv6_when_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    route = link.host()
    route.send(netlink.new_address(route.index("cable0"), "2001:db8::1", 64))
    with link.inside(remote) as there:
        netns.inside(remote, sysctl.write, "net/ipv6/conf/cable1/disable_ipv6", "0")
        there.send(netlink.new_address(there.index("cable1"), "2001:db8::2", 64))
    serve(lambda: netns.inside(remote, socket.socket, socket.AF_INET6), "remote", 90)
    await world.network("six", enable_ipv6=True)
    await world.network("other", enable_ipv6=True)
    one, two = await world.container("one", "six"), await world.container("two", "six")
    far = await world.container("far", "other")
    for each in (one, two, far):
        serve(lambda each=each: netns.inside(each.namespace, socket.socket, socket.AF_INET6), each.name, 80)

    def six(each: Container, network: str) -> str:
        return str(world.service.settings(each.id)["Networks"][network]["GlobalIPv6Address"])

    assert six(one, "six").startswith("fd")
    assert one.ask(six(two, "six")).startswith("two ")
    assert ask(six(two, "six")).startswith("two ")
    assert one.ask("2001:db8::2", 90) == "remote 2001:db8::1"
    assert one.misses(six(far, "other"))
    assert one.ask(two.address("six")).startswith("two ")


@isolated
async def test_datagrams_find_the_containers_successor(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    wanted = {"53/udp": [PortBinding("", "5353")]}
    one = await world.container("one", "bridge", port_bindings=wanted)
    first = one.address("bridge")
    client = netns.inside(remote, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)

    def arrives(at: Container) -> bool:
        listener = netns.inside(at.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with listener:
            listener.bind(("0.0.0.0", 53))
            listener.settimeout(DROPPED_S)
            for _ in range(5):
                client.sendto(b"hello", ("203.0.113.1", 5353))
                with contextlib.suppress(TimeoutError):
                    return listener.recv(9) == b"hello"
        return False

    assert await asyncio.to_thread(arrives, one)
    await world.container("squatter", "bridge")
    await one.close()
    await world.container("other", "bridge")
    two = await world.container("two", "bridge", port_bindings=wanted)
    assert two.address("bridge") != first
    assert await asyncio.to_thread(arrives, two)


@isolated
async def test_datagrams_that_were_sent_before_there_was_a_container_find_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    client = netns.inside(remote, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        for sender, address in ((client, "203.0.113.1"), (near, "127.0.0.1")):
            with contextlib.suppress(ConnectionRefusedError):
                sender.sendto(b"hello", (address, 5353))

    def arrived(at: Container) -> int:
        listener = netns.inside(at.namespace, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with listener:
            listener.bind(("0.0.0.0", 53))
            listener.settimeout(DROPPED_S)
            send()
            with contextlib.suppress(TimeoutError):
                return len({listener.recvfrom(9)[1] for _ in range(2)})
        return 0

    await asyncio.to_thread(send)  # nobody is there: the kernel remembers that it was for the host itself
    one = await world.container("one", "bridge", port_bindings={"53/udp": [PortBinding("", "5353")]})
    assert await asyncio.to_thread(arrived, one) == 2
    await one.close()
    await asyncio.to_thread(send)  # a client that never pauses
    two = await world.container("two", "bridge", port_bindings={"53/udp": [PortBinding("", "5353")]})
    assert await asyncio.to_thread(arrived, two) == 2


@isolated
def test_only_flows_that_lead_elsewhere_are_forgotten() -> None:
    def sent(address: str, *ports: int) -> list[socket.socket]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = [socket.socket(family, socket.SOCK_DGRAM) for _ in ports]
        for one, port in zip(made, ports, strict=True):
            one.sendto(b"hello", (address, port))
        return made

    nft.run_once("table inet t { chain c { type filter hook output priority 0; ct state new accept\n }\n }\n")
    kept = [sent("127.0.0.1", 53, 54), sent("127.0.0.9", 53, 54), sent("::1", 53, 54)]
    assert conntrack.forget_datagrams(["127.0.0.9"]) == 2
    assert conntrack.forget_datagrams(["::2"]) == 0
    assert conntrack.forget_datagrams_to_ports([("0.0.0.0", 53, "127.0.0.1"), ("::", 53, "::1")]) == 0
    assert conntrack.forget_datagrams_to_ports([("127.0.0.2", 53, "10.0.0.1")]) == 0
    assert conntrack.forget_datagrams_to_ports([("0.0.0.0", 53, "10.0.0.1"), ("::", 53, "fd00::1")]) == 2
    assert conntrack.forget_datagrams_to_ports([("0.0.0.0", port, "10.0.0.1") for port in range(50, 70)]) == 1
    assert conntrack.forget_datagrams(["::1"]) == 1
    for one in kept[0]:
        one.close()


@isolated
async def test_the_default_bridge_follows_its_settings_when_nobody_is_on_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    one = await world.container("one", "bridge")
    first = world.service.get("bridge")
    world.config = Config(bip="10.66.0.9/24", ipv6=True, icc=False, mtu=1400)
    await world.fresh().adopt({one.id})
    assert world.service.get("bridge") == first, "not under a container that runs"
    assert ask(one.address("bridge")).startswith("one ")
    await one.close()
    await world.service.settle()
    await world.fresh().adopt(set())
    record = world.service.get("bridge")
    assert record.id == first.id
    assert record.pools[0].gateway == "10.66.0.9"
    two, three = await world.container("two", "bridge"), await world.container("three", "bridge")
    assert two.address("bridge") == "10.66.0.1"
    assert ask(two.address("bridge")).startswith("two ")
    assert two.misses(three.address("bridge"))
    with link.inside(two.namespace) as there:
        assert there.link("eth0").mtu == 1400
        assert any(each.address.startswith("fd") for each in there.addresses(socket.AF_INET6))
    assert len([name for name in snapshot()[0] if name == record.bridge]) == 1


@isolated
async def test_the_default_bridge_leaves_its_subnet_to_who_took_it_meanwhile(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    first = world.service.get("bridge")
    assert first.pools[0].subnet == "172.17.0.0/16"
    link.delete(first.bridge)  # as it is while no engine runs
    route = link.host()
    route.send(netlink.new_bridge("docker0", "02:42:00:00:00:05", 1500), netlink.set_up("docker0"))
    route.send(netlink.new_address(route.index("docker0"), "172.17.0.1", 16))
    await world.fresh().adopt(set())
    assert world.service.get("bridge").pools[0].subnet == "172.18.0.0/16"
    one = await world.container("one", "bridge")
    assert ask(one.address("bridge")).startswith("one ")


@isolated
async def test_options_and_pools_for_networks_that_name_none(tmp_path: Path) -> None:
    options = {"bridge": {"com.docker.network.driver.mtu": "1300", "com.docker.network.enable_ipv6": "true"}}
    pools = (AddressPool("10.50.0.0/16", 26), AddressPool("fd50::/48", 64))
    world = World(tmp_path, default_network_opts=options, default_address_pools=pools)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("own", enable_ipv6=False, options={"com.docker.network.driver.mtu": "1400"})
    red, own = world.service.inspect("red"), world.service.inspect("own")
    assert [one["Subnet"] for one in red["IPAM"]["Config"]] == ["10.50.0.0/26", "fd50::/64"]
    assert [one["Subnet"] for one in own["IPAM"]["Config"]] == ["10.50.0.64/26"]
    assert (red["Options"]["com.docker.network.driver.mtu"], own["EnableIPv6"]) == ("1300", False)
    assert own["Options"]["com.docker.network.driver.mtu"] == "1400"
    assert {one.name: one.mtu for one in link.links()}[world.service.get("own").bridge] == 1400


@isolated
async def test_a_network_that_fails_takes_its_addresses_from_a_bridge_that_was_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    route = link.host()
    route.send(netlink.new_bridge("theirs", "02:42:00:00:00:07", 1500))
    index = route.index("theirs")
    route.send(netlink.new_address(index, "10.9.0.1", 24))
    world.fault.arm(2)
    named = {"com.docker.network.bridge.name": "theirs"}
    with refused(Kind.SYSTEM, "made to fail"):
        await world.network("red", enable_ipv6=True, options=named, subnet="10.9.0.0/24")
    assert [each.address for each in route.addresses() if each.link == index] == ["10.9.0.1"], "its own stays"
    world.fault.arm(0)
    await world.network("red", enable_ipv6=True, options=named, subnet="10.9.0.0/24")
    assert len([each for each in route.addresses() if each.link == index and not each.address.startswith("fe80")]) == 2


@isolated
async def test_no_container_can_pose_as_the_hosts_router(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    await world.network("six", enable_ipv6=True)  # forwarding of IPv6 is switched on now
    for name in ("bridge", "red", "six"):
        assert sysctl.read(f"net/ipv6/conf/{world.service.get(name).bridge}/accept_ra") == "0"
    lies = await world.container("lies", "six")
    maker = netns.inside(lies.namespace, socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with maker:
        maker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        # a router's advertisement, with a lifetime of 1800 s (RFC 4861, section 4.2)
        maker.sendto(bytes((134, 0, 0, 0, 64, 0, 7, 8)) + bytes(8), ("ff02::1", 0))
        heard = await asyncio.to_thread(lambda: ask("127.0.0.1", 9))
    assert heard == "ECONNREFUSED"
    assert not [one for one in link.host().routes(socket.AF_INET6, 254) if not one.destination]


@isolated
async def test_bridges_are_deleted_when_nobody_is_kept_waiting_by_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    names = [world.service.get(await world.network(f"n{number}")).bridge for number in range(8)]
    for number in range(8):
        await world.service.remove(f"n{number}")
    there = {one.name: one.is_up for one in link.links() if one.name in names}
    assert there == dict.fromkeys(names, False), "out of use at once, deleted later"
    again = await world.network("again")
    assert world.service.get(again).pools[0].subnet == "172.18.0.0/24", "and their subnets are free"
    await world.service.settle()
    assert not [one.name for one in link.links() if one.name in names]


@isolated
async def test_a_network_that_fails_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    mode = {"com.docker.network.bridge.gateway_mode_ipv6": "routed", "com.docker.network.host_ipv4": "192.0.2.1"}
    before = snapshot(), ruleset()
    steps = 0
    async for steps in failing(
        world.fault, lambda: world.network("red", enable_ipv6=True, options=mode, subnet="10.9.0.0/24")
    ):
        await world.service.settle()
        assert (snapshot(), ruleset()) == before, steps
        assert not any(one.name == "red" for one in world.networks.all())
    assert steps == 2, "bridge, rules"
    assert snapshot() != before[0]
    assert ruleset() != before[1]


@isolated
async def test_a_daemon_killed_while_it_makes_a_network_leaves_nothing_to_its_next_start(tmp_path: Path) -> None:
    async def start() -> World:
        world = World(tmp_path)
        world.runner.recover()
        await world.service.adopt(set())
        return world

    world = await start()
    before = snapshot(), nft.run_once(f"list table inet {world.layout.nft_table}")
    steps = 0
    async for steps, world in killing(
        world, lambda world: world.network("red", enable_ipv6=True, subnet="10.9.0.0/24"), start
    ):
        assert (snapshot(), nft.run_once(f"list table inet {world.layout.nft_table}")) == before, steps
    assert steps == 2, "bridge, rules"
    assert snapshot() != before[0]


@isolated
async def test_a_routed_container_of_two_families_that_fails_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True, options={"com.docker.network.bridge.gateway_mode_ipv4": "routed"})
    await world.service.settle()
    before = snapshot(), ruleset(), await world.namespaces()
    made: list[Container] = []

    async def start() -> None:
        made.append(await world.container("one", "red", port_bindings=published("8080")))

    steps = 0
    async for steps in failing(world.fault, start):
        await world.service.settle()
        assert (snapshot(), ruleset(), await world.namespaces()) == before, steps
        assert world.service.inspect("red")["Status"]["IPAM"]["Subnets"]["172.18.0.0/24"]["IPsInUse"] == 3
    assert steps == 3, "namespace, link, rules"
    assert (snapshot(), ruleset(), await world.namespaces()) != before
    assert world.service.settings(made[0].id)["Networks"]["red"]["GlobalIPv6Address"]
