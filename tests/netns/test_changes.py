"""Networks changed while containers are on them, in a real kernel: who follows, and what a failure leaves."""

import asyncio
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from berth.base.errors import Kind
from berth.kernel import link, netns, netview, nft, routing
from berth.networks.errors import NetworkNotFound
from berth.networks.model import NetworkRecord
from berth.networks.options import MTU, NAME_SERVERS
from berth.plan.model import Step
from berth.plan.steps.revise import ReviseLink
from berth.wire.network_changes import NetworkUpdate
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings
from tests.netns.test_names import named_world, resolve, unknown
from tests.netns.test_networks import Container, World, ask, misses, neighbour, published, refused, serve
from tests.netns.throwaway import isolated
from tests.support.engines import wait_for
from tests.support.faults import failing

pytestmark = pytest.mark.root

Change = Callable[[World], Awaitable[object]]


def update(name: str, **changes: object) -> Change:
    return lambda world: world.service.change.update(name, NetworkUpdate(**changes))  # type: ignore[arg-type]


def kernel(world: World, *containers: Container) -> tuple[object, ...]:
    """Everything a change may touch: links, addresses, routes here and in the containers, and our table."""
    views = [netview.look(), *(netview.look(one.namespace) for one in containers)]
    ports = sorted(
        (one.name, Path(f"/sys/class/net/{one.name}/brport/isolated").read_text())
        for one in views[0].links if one.kind == "veth" and Path(f"/sys/class/net/{one.name}/brport").exists()
    )  # fmt: skip
    plain = [([(one.name, one.mtu, one.segment, one.mac, sorted(one.addresses)) for one in view.links], sorted(
        (one.destination, one.gateway, one.link) for one in view.routes)) for view in views]  # fmt: skip
    return plain, ports, nft.run_once(f"list table inet {world.layout.nft_table}")


@isolated
async def test_a_network_moves_to_another_subnet_with_its_containers(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "red", port_bindings=published("8080"))
    fixed = {"red": EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.1.0.77"))}
    two = await world.container("two", "red", endpoints=fixed)
    hosts = Path(one.files["/etc/hosts"])
    await update("red", subnet="10.2.0.0/24")(world)
    assert one.address("red") == "10.2.0.2"
    assert two.address("red") == "10.2.0.77", "the end of an address stays"
    assert two.ask("10.2.0.2") == "one 10.2.0.77"
    assert one.route == "10.2.0.1"
    assert ask("127.0.0.1", 8080).startswith("one "), "the published port has followed"
    assert two.ask("10.2.0.1", 8080).startswith("one ")
    assert one.misses("10.1.0.77")
    assert "10.2.0.2\tone" in hosts.read_text()
    assert "10.1.0.2" not in hosts.read_text()
    shown = world.service.inspect("red")
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.2.0.0/24", "Gateway": "10.2.0.1"}]
    assert {member["IPv4Address"] for member in shown["Containers"].values()} == {"10.2.0.2/24", "10.2.0.77/24"}
    # who comes later, and who comes back, gets an address there
    three = await world.container("three", "red")
    assert three.ask("10.2.0.2").startswith("one 10.2.0.3")
    await two.close()
    await world.service.open(two.id)
    assert two.address("red") == "10.2.0.77"
    # the subnet it left may be given away
    await world.network("blue", subnet="10.1.0.0/24")
    with refused(Kind.FORBIDDEN, "10.1.0.0/24"):
        await update("red", subnet="10.1.0.0/24")(world)
    await world.service.remove("blue")
    await update("red", subnet="10.1.0.0/16", gateway="10.1.255.1")(world)
    assert one.route == "10.1.255.1"
    assert three.ask(one.address("red")).startswith("one ")


@isolated
async def test_a_network_becomes_internal_and_open_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    await world.network("red")
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "red")
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    await update("red", internal=True)(world)
    assert one.misses("203.0.113.2", 90)
    assert one.route == ""
    assert two.ask(one.address("red")).startswith("one ")
    assert ask("203.0.113.1", 8080) == "ECONNREFUSED"
    assert world.service.ports(one.id) == [{"PrivatePort": 80, "Type": "tcp"}], "exposed, no longer published"
    await update("red", internal=False)(world)
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    assert ask("203.0.113.1", 8080, remote) == "one 203.0.113.2"


@isolated
async def test_isolation_and_size_change_while_running(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    address = two.address("red")
    assert one.ask(address).startswith("two ")
    await update("red", icc=False)(world)
    assert one.misses(address)
    await update("red", icc=True, mtu=1400)(world)
    assert one.ask(address).startswith("two ")
    bridge = world.service.get("red").bridge
    sizes = {one.mtu for one in netview.look().links if one.name == bridge or one.kind == "veth"}
    assert sizes == {1400}
    assert {one.mtu for one in netview.look(two.namespace).links if one.name == "eth0"} == {1400}
    three = await world.container("three", "red")
    assert {one.mtu for one in netview.look(three.namespace).links if one.name == "eth0"} == {1400}
    await update("red", mtu=0)(world)
    assert {one.mtu for one in netview.look(two.namespace).links if one.name == "eth0"} == {1500}


@isolated
async def test_what_may_leave_changes_while_running(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    remote = neighbour(tmp_path)
    serve(lambda: netns.inside(remote, socket.socket), "remote", 90)
    await world.network("red")
    one = await world.container("one", "red")
    before = kernel(world, one)
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    await update("red", egress="deny")(world)
    assert not one.ask("203.0.113.2", 90).startswith("remote ")
    await update("red", allow=["203.0.113.2:90"])(world)
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    with refused(Kind.INVALID, "do not go together"):
        await update("red", internal=True)(world)
    await update("red", egress="allow")(world)
    assert one.ask("203.0.113.2", 90).startswith("remote ")
    assert kernel(world, one)[:2] == before[:2]


@isolated
async def test_a_network_gets_ipv6_while_running(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    await update("red", subnets_add=["fd00:1::/64"])(world)
    serve(lambda: netns.inside(two.namespace, socket.socket, socket.AF_INET6), "two", 80)
    address = world.service.settings(two.id)["Networks"]["red"]["GlobalIPv6Address"]
    assert address.startswith("fd00:1::")
    assert one.ask(address).startswith("two ")
    with refused(Kind.FORBIDDEN, "multiple subnets"):
        await update("red", subnets_add=["fd00:2::/64"])(world)


@isolated
async def test_a_renamed_network_keeps_its_containers(tmp_path: Path) -> None:
    async with named_world(tmp_path) as world:
        await world.network("red")
        one, two = await world.container("one", "red"), await world.container("two", "red")
        stopped = await world.container("stopped", "red")
        await stopped.close()
        await world.service.change.rename("red", "crimson")
        assert list(world.service.settings(two.id)["Networks"]) == ["crimson"]
        assert resolve(one, "two.crimson") == [two.address("crimson")]
        assert unknown(one, "two.red")
        assert resolve(one, "two") == [two.address("crimson")]
        await world.service.open(stopped.id)
        assert resolve(one, "stopped.crimson") == [stopped.address("crimson")]
        await world.network("red")  # the name is free
        with refused(Kind.CONFLICT, "network with name red already exists"):
            await world.service.change.rename("crimson", "red")
        with refused(Kind.NOT_FOUND, "nobody"):
            await world.service.change.rename("nobody", "x")
        # a restart knows it too
        world.fresh()
        await world.service.adopt({one.id, two.id, stopped.id})
        assert list(world.service.settings(one.id)["Networks"]) == ["crimson"]
        assert resolve(one, "two.crimson") == [two.address("crimson")]
        # and names follow to another subnet
        await update("crimson", subnet="10.9.0.0/24")(world)
        assert resolve(one, "two") == [two.address("crimson")]
        assert two.address("crimson").startswith("10.9.0.")


@isolated
async def test_the_default_route_follows_a_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("blue")
    await world.network("red")
    one = await world.container("one", "red", port_bindings=published("8080"))
    await world.service.connect("blue", one.id, EndpointSettings())
    assert one.route == world.service.get("blue").pools[0].gateway
    await world.service.change.rename("red", "azure")
    assert one.route == world.service.get("azure").pools[0].gateway
    assert ask("127.0.0.1", 8080).startswith("one ")


@isolated
async def test_what_is_asked_of_a_container_that_is_starting_holds_once_it_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    for name in ("blue", "green", "red"):
        await world.network(name)
    one = await world.container("one", "red", endpoints={"red": EndpointSettings(), "green": EndpointSettings()})
    await one.close()
    opened, *_ = await asyncio.gather(
        world.service.open(one.id),
        world.service.connect("blue", one.id, EndpointSettings()),
        world.service.disconnect("green", one.id, force=False),
    )
    one.namespace = opened.netns_path or ""
    await world.service.settle()
    shown = world.service.settings(one.id)["Networks"]
    assert shown.keys() == {"blue", "red"}
    with link.inside(one.namespace) as there:
        held = {each.address for each in there.addresses(socket.AF_INET)} - {"127.0.0.1"}
    assert held == {one.address("blue"), one.address("red")}


@isolated
async def test_what_is_asked_of_a_network_means_the_one_there_is_when_its_turn_comes(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    for name in ("blue", "green", "red"):
        await world.network(name)
    one = await world.container("one", "red")
    blue, green = world.service.get("blue").id, world.service.get("green").id
    await asyncio.gather(
        world.service.change.rename("blue", "azure"), world.service.connect(blue, one.id, EndpointSettings())
    )
    assert world.service.settings(one.id)["Networks"].keys() == {"azure", "red"}
    assert one.address("azure")
    _, joined = await asyncio.gather(
        world.service.remove("green"), world.service.connect(green, one.id, EndpointSettings()), return_exceptions=True
    )
    assert isinstance(joined, NetworkNotFound)
    assert world.service.settings(one.id)["Networks"].keys() == {"azure", "red"}


@isolated
async def test_answers_still_leave_by_the_network_they_were_asked_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("blue", subnet="10.5.0.0/24")
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "red")
    await world.service.connect("blue", one.id, EndpointSettings())
    before = kernel(world, one)
    rules = _rules(one)
    assert rules == {"10.1.0.2", "10.5.0.2"}
    steps = 0
    async for steps in failing(world.fault, lambda: update("red", subnet="10.2.0.0/24")(world)):
        assert kernel(world, one) == before, steps
        assert _rules(one) == rules
    assert steps >= 5
    assert _rules(one) == {"10.2.0.2", "10.5.0.2"}
    assert ask("10.2.0.2").startswith("one ")
    assert ask("10.5.0.2").startswith("one ")


def _rules(one: Container) -> set[str]:
    with link.inside(one.namespace) as there:
        return {rule.source for rule in routing.reply_rules(there, socket.AF_INET)}


@isolated
async def test_what_cannot_be_changed_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    await world.network("blue", subnet="10.3.0.0/24")
    one = await world.container("one", "red")
    before = kernel(world, one)
    for name in ("bridge", "host", "none"):
        with refused(Kind.FORBIDDEN, f"operation is not permitted on predefined {name} network"):
            await update(name, labels_add={"a": "b"})(world)
        with refused(Kind.FORBIDDEN, "predefined"):
            await world.service.change.rename(name, "x")
    with refused(Kind.CONFLICT, "network with name blue already exists"):
        await world.service.change.rename("red", "blue")
    with refused(Kind.FORBIDDEN, "operation is not permitted on predefined host network"):
        await world.service.change.rename("red", "host")
    with refused(Kind.FORBIDDEN, "Pool overlaps with other one on this address space"):
        await update("red", subnet="10.3.0.128/25")(world)
    for wrong in (
        {"subnet": "10.1.0.7/24"},
        {"gateway": "10.1.0.9"},
        {"mtu": -1},
        {"dns": ["x"]},
        {"subnet": "fd::/64"},
    ):
        with refused(Kind.INVALID, ""):
            await update("red", **wrong)(world)
    with refused(Kind.NOT_FOUND, "network nobody not found"):
        await update("nobody", icc=False)(world)
    assert kernel(world, one) == before
    await world.network("six", enable_ipv6=True)
    await world.network("small", options={MTU: "1000"})
    two = await world.container("two", "six")
    held = world.service.settings(two.id)["Networks"]["six"]["GlobalIPv6Address"]
    with refused(Kind.INVALID, "a link with IPv6 carries at least 1280 bytes"):
        await update("six", mtu=1000)(world)
    with refused(Kind.INVALID, "a link with IPv6 carries at least 1280 bytes"):
        await update("small", subnets_add=["fd99::/64"])(world)
    assert any(held in text for one in netview.look(two.namespace).links for text in one.addresses)


@isolated
async def test_labels_and_name_servers(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", labels={"a": "1", "b": "2"})
    one = await world.container("one", "red")
    before = kernel(world, one)
    events = world.bus
    await update("red", labels_add={"c": "3", "a": "9"}, labels_remove=["b"], attachable=True)(world)
    assert world.service.inspect("red")["Labels"] == {"a": "9", "c": "3"}
    assert world.service.inspect("red")["Attachable"] is True
    assert [(one.action, one.attributes["name"]) for one in events.past(0, None) if one.action == "update"] == [
        ("update", "red")
    ]
    await update("red", dns=["192.0.2.1"])(world)
    assert world.service.get("red").options[NAME_SERVERS] == "192.0.2.1"
    live = world.live.get(one.id)
    assert live is not None
    servers = world.service._attachments.naming.upstreams(world.service._attachments.tenant(one.id), live)
    assert [server.address for server in servers] == ["192.0.2.1"]
    await update("red", dns=[])(world)
    assert NAME_SERVERS not in world.service.get("red").options
    assert kernel(world, one) == before


EVERYTHING = update("red", subnet="10.2.0.0/24", mtu=1400, icc=False, internal=True)


async def _stage(world: World) -> tuple[Container, Container, NetworkRecord]:
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one = await world.container("one", "red", port_bindings=published("8080"))
    two = await world.container("two", "red")
    return one, two, world.service.get("red")


@isolated
async def test_a_change_that_fails_at_any_step_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two, record = await _stage(world)
    before = kernel(world, one, two)
    steps = 0
    async for steps in failing(world.fault, lambda: EVERYTHING(world)):
        assert kernel(world, one, two) == before, steps
        assert world.service.get("red") == record
        assert two.address("red") == "10.1.0.3"
        assert ask("127.0.0.1", 8080).startswith("one ")
    assert steps >= 10, "two bridge steps, five or more for each container, the rules"
    assert kernel(world, one, two) != before
    assert two.address("red") == "10.2.0.3"
    assert misses("10.2.0.3", 80, one.namespace)


def remembered(address: str) -> str:
    """Return the MAC this machine has for a neighbour, or nothing."""
    words = subprocess.run(["ip", "neigh", "show", address], capture_output=True, text=True, check=True).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


@isolated
async def test_who_hears_of_a_new_address_too_early_is_told_of_its_link(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    one, two = await world.container("one", "red"), await world.container("two", "red")
    apply, asked = world.kernel.apply, []

    def curious(step: Step) -> Step | None:
        """Ask for the new address while the link still has the MAC of the old one."""
        done = apply(step)
        if isinstance(step, ReviseLink) and step.namespace == one.namespace and not asked:
            asked.append(ask("10.2.0.2"))
        return done

    world.kernel.apply = curious  # type: ignore[method-assign]
    before = netview.look(one.namespace)
    await update("red", subnet="10.2.0.0/24")(world)
    assert [answer.partition(" ")[0] for answer in asked] == ["one"]
    assert {eth.mac for eth in netview.look(one.namespace).links} != {eth.mac for eth in before.links}
    # told, and not found out by asking in vain for seconds: before anybody asks again
    mac = next(eth.mac for eth in netview.look(one.namespace).links if eth.name == "eth0")
    wait_for(lambda: remembered("10.2.0.2") == mac, "the machine to be told of its link")
    assert ask("10.2.0.2").startswith("one ")
    assert two.ask("10.2.0.2").startswith("one ")


@isolated
async def test_starts_and_changes_at_once_agree(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", subnet="10.1.0.0/24")
    made, _, _ = await asyncio.gather(
        asyncio.gather(*(world.container(f"c{n}", "red") for n in range(8))),
        update("red", subnet="10.2.0.0/24")(world),
        world.service.change.rename("red", "crimson"),
    )
    for one in made:
        address = next(iter(world.service.settings(one.id)["Networks"].values()))["IPAddress"]
        assert address.startswith("10.2.0.")
        view = netview.look(one.namespace)
        assert [addr for eth in view.links if eth.name == "eth0" for addr in eth.addresses] == [f"{address}/24"]
    assert world.service.inspect("crimson")["Containers"].keys() == {one.id for one in made}
