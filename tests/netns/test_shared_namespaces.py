"""Containers in another's namespace, when the other ends, starts again, is made anew, or never comes back."""

import socket
from pathlib import Path

import pytest

from berth.base.errors import Kind
from berth.kernel import link, netns
from berth.networks.errors import NoNetworkNow
from berth.networks.model import Tenant
from berth.wire.networks import EndpointSettings
from tests.netns.test_endpoints import routes_inside
from tests.netns.test_networks import Container, World, ask, published, refused, ruleset, serve, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import failing, killing

pytestmark = pytest.mark.root

#: Where the guest's server listens: it was started before, and is never started again.
GUEST_PORT = 81


async def guest_of(world: World, owner: Container, name: str = "guest") -> Container:
    """A container in the owner's namespace, with a server of its own there."""
    ident = name.encode().hex().ljust(64, "e")[:64]
    await world.service.declare(Tenant(ident, name, mode=f"container:{owner.id}"))
    sandbox = await world.service.open(ident)
    guest = Container(world, ident, name, "", sandbox.files)
    guest.namespace = sandbox.netns_path or ""
    if name == "guest":
        serve(lambda: netns.inside(guest.namespace, socket.socket), name, GUEST_PORT)
    return guest


async def reopened(world: World, owner: Container) -> Container:
    """Start it again; the server of its first run is still there."""
    sandbox = await world.service.open(owner.id)
    again = Container(world, owner.id, owner.name, "", sandbox.files)
    again.namespace = sandbox.netns_path or ""
    return again


async def made_anew(world: World, name: str, network: str) -> Container:
    ident = f"{name}{len(world.tenants.all())}".encode().hex().ljust(64, "d")[:64]
    await world.service.declare(Tenant(ident, name, hostname=name, mode=network))
    return await reopened(world, Container(world, ident, name, "", {}))


async def stage(tmp_path: Path) -> tuple[World, Container, Container, Container]:
    world = World(tmp_path)
    await world.service.adopt(set())
    await world.network("red", enable_ipv6=True)
    await world.network("blue")
    both = {"red": EndpointSettings(), "blue": EndpointSettings()}
    owner = await world.container("owner", "red", endpoints=both, port_bindings=published("8080"))
    peer = await world.container("peer", "red")
    return world, owner, await guest_of(world, owner), peer


@isolated
async def test_a_guest_has_its_network_again_when_the_owner_starts_again(tmp_path: Path) -> None:
    world, owner, guest, peer = await stage(tmp_path)
    assert guest.namespace == owner.namespace
    address = owner.address("red")
    assert peer.ask(address, GUEST_PORT) == f"guest {peer.address('red')}"
    hosts = Path(guest.files["/etc/hosts"])
    for _ in range(3):
        await owner.close()
        await world.service.settle()
        assert peer.misses(address, GUEST_PORT)
        assert ask("127.0.0.1", 8080) == "ECONNREFUSED"
        assert [Path(guest.namespace).name] == [
            name for name in await world.namespaces() if name != Path(peer.namespace).name
        ]
        with link.inside(guest.namespace) as there:
            assert [each.name for each in there.links()] == ["lo"]
        assert routes_inside(guest.namespace) == ([], [], [], [])
        squatter = await world.container("squatter", "red", endpoints={"red": EndpointSettings()})
        sandbox = await world.service.open(owner.id)
        assert sandbox.netns_path == guest.namespace, "the same namespace"
        address = owner.address("red")
        assert peer.ask(address, GUEST_PORT) == f"guest {peer.address('red')}", "with no restart of the guest"
        assert ask("127.0.0.1", 8080).startswith("owner ")
        with link.inside(guest.namespace) as there:
            assert sorted(each.name for each in there.links()) == ["eth0", "eth1", "lo"]
        assert address in hosts.read_text()
        await world.service.forget(squatter.id)
    # the last to leave takes the namespace along
    await owner.close()
    await guest.close()
    assert await world.namespaces() == [Path(peer.namespace).name]


@isolated
async def test_an_owner_made_anew_under_the_same_name_takes_over(tmp_path: Path) -> None:
    world, owner, guest, peer = await stage(tmp_path)
    shown = open(guest.files["/etc/hosts"])  # as the guest's bind mount does: the file, whatever its name  # noqa: ASYNC230, SIM115
    await world.service.forget(owner.id)
    for left in world.layout.container(owner.id).iterdir():
        left.unlink()
    other = await world.container("other", "red")
    assert other.namespace != guest.namespace, "not just anybody"
    anew = await made_anew(world, "owner", "blue")
    assert anew.id != owner.id
    assert anew.namespace == guest.namespace
    with shown:
        assert anew.address("blue") in shown.read()
    far = await world.container("far", "blue")
    assert far.ask(anew.address("blue"), GUEST_PORT) == f"guest {far.address('blue')}"
    # from now on it is the owner: its restart, a change while it runs, and the guest's own restart
    await anew.close()
    anew = await reopened(world, anew)
    assert anew.namespace == guest.namespace
    await world.service.connect("red", anew.id, EndpointSettings())
    assert peer.ask(anew.address("red"), GUEST_PORT).startswith("guest ")
    await guest.close()
    again = await world.service.open(guest.id)
    assert again.netns_path == anew.namespace
    with refused(Kind.INVALID, "sharing network namespace with another container"):
        await world.service.connect("red", guest.id, EndpointSettings())


@isolated
async def test_nobody_new_joins_without_the_owner_and_one_that_rested_finds_its_successor(tmp_path: Path) -> None:
    world, owner, guest, _ = await stage(tmp_path)
    second = await guest_of(world, owner, "second")
    await second.close()
    await owner.close()
    with refused(Kind.CONFLICT, "cannot join network namespace of a non running container"):
        await world.service.open(second.id)
    # a chain: one that joins a guest is in the owner's namespace, and stays when the guest goes
    owner = await reopened(world, owner)
    third = await guest_of(world, guest, "third")
    await guest.close()
    await owner.close()
    assert (await reopened(world, owner)).namespace == third.namespace
    await world.service.forget(owner.id)
    anew = await made_anew(world, "owner", "red")
    assert (await world.service.open(second.id)).netns_path == anew.namespace == third.namespace


@isolated
async def test_a_renamed_owner_is_known_by_its_new_name(tmp_path: Path) -> None:
    world, owner, guest, _ = await stage(tmp_path)
    await world.service.renamed(owner.id, "lighthouse")
    await world.service.forget(owner.id)
    assert (await made_anew(world, "owner", "red")).namespace != guest.namespace
    assert (await made_anew(world, "lighthouse", "red")).namespace == guest.namespace


@isolated
async def test_a_new_daemon_knows_who_is_in_a_namespace(tmp_path: Path) -> None:
    world, owner, guest, peer = await stage(tmp_path)
    # the daemon is killed, and the owner ends while there is none
    await world.fresh().adopt({guest.id, peer.id})
    await world.service.settle()
    with pytest.raises(NoNetworkNow):
        world.service.namespace(owner.id)
    assert Path(guest.namespace).name in await world.namespaces()
    # it is killed once more while nobody owns the namespace
    await world.fresh().adopt({guest.id, peer.id})
    assert Path(guest.namespace).name in await world.namespaces()
    assert (await reopened(world, owner)).namespace == guest.namespace
    assert peer.ask(owner.address("red"), GUEST_PORT).startswith("guest ")
    # and everybody ends while there is none
    await world.fresh().adopt({peer.id})
    assert await world.namespaces() == [Path(peer.namespace).name]


def everything(world: World, namespace: str) -> object:
    return snapshot(), ruleset(), routes_inside(namespace), world.live.all(), world.tenants.all()


@isolated
async def test_a_start_in_a_kept_namespace_that_fails_anywhere_keeps_it_as_it_was(tmp_path: Path) -> None:
    world, owner, guest, peer = await stage(tmp_path)
    await owner.close()
    await world.service.settle()
    before = everything(world, guest.namespace)
    steps = 0
    async for steps in failing(world.fault, lambda: world.service.open(owner.id)):
        await world.service.settle()
        assert everything(world, guest.namespace) == before, steps
        assert Path(guest.namespace).exists()
    assert steps == 5, "two links, answers of two, ports"
    assert peer.ask(owner.address("red"), GUEST_PORT).startswith("guest ")


@isolated
async def test_a_daemon_killed_in_such_a_start_keeps_it_too(tmp_path: Path) -> None:
    world, owner, guest, peer = await stage(tmp_path)
    await owner.close()
    await world.service.settle()
    before = everything(world, guest.namespace)

    async def restart() -> World:
        world.fresh()
        world.runner.recover()
        await world.service.adopt({guest.id, peer.id})
        await world.service.settle()
        return world

    steps = 0
    async for steps, _ in killing(world, lambda world: world.service.open(owner.id), restart):
        assert everything(world, guest.namespace) == before, steps
    assert steps == 5
