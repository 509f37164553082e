"""Networks and addresses of a plugin that fails anywhere, and an engine that is killed anywhere: nothing remains."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from berth.base.errors import EngineError
from berth.kernel import netns, nft
from berth.networks.model import Tenant
from berth.networks.service import Networks
from berth.plugins import steps
from berth.plugins.discovery import Places
from berth.plugins.rpc import Plugins
from berth.wire.networks import IPAM, EndpointSettings, IPAMConfig, NetworkCreate
from tests.netns.stored import StoredWorld
from tests.netns.test_networks import Container, ask, snapshot
from tests.netns.throwaway import isolated
from tests.support.faults import elsewhere, failing, killing
from tests.support.plugins import PluginProcess

pytestmark = pytest.mark.root

T = TypeVar("T")
SUBNET = "10.95.0.0/24"


class MortalPlugins(Plugins):
    """The real one, but for a call after whose answer the daemon is killed."""

    kill_after = ""

    def expect(self, fault: str) -> None:
        """Give up soon a plugin that is made to hang, and wait for any other, however busy the machine is."""
        self._limit_s = 0.4 if "hang" in fault else 60

    def call(self, name: str, method: str, body: object, answer: type[T], **more: Any) -> T:
        said = super().call(name, method, body, answer, **more)
        if method == self.kill_after:
            os._exit(7)
        return said


class PluggedWorld(StoredWorld):
    """A world with a plugin ``plug``."""

    def __init__(self, root: Path) -> None:
        self.plugins = MortalPlugins(Places((root,), ()), limit_s=60, patience_s=0.3, first_pause_s=0.05)
        super().__init__(root)

    def fresh(self) -> Networks:
        self.kernel._handlers |= steps.handlers(self.plugins)
        self.kernel._undo |= steps.UNDO
        return super().fresh()

    async def start(self, alive: set[str] | None = None) -> None:
        self.runner.recover(self.service.is_recorded)
        await self.service.adopt(alive or set())

    async def plugged(self, name: str = "pnet", *, ipam: str = "", driver: str = "plug") -> str:
        config = None if ipam else [IPAMConfig(subnet=SUBNET)]
        want = NetworkCreate(name=name, driver=driver, ipam=IPAM(driver=ipam, config=config))
        return (await self.service.create(want))[0]


@contextlib.contextmanager
def plugin_in(root: Path) -> Iterator[PluginProcess]:
    one = PluginProcess(root / "plug.sock", root / "plug")
    try:
        yield one
    finally:
        one.kill()


def revive(plugin: PluginProcess) -> None:
    """Start it again if it died; it has its memory."""
    plugin.faults()
    assert plugin.process is not None
    if plugin.process.poll() is not None:
        plugin.kill()
        plugin.start()


FAULTS = ["err", "500", "junk", "hang", "die", "did junk", "did hang", "null"]


@pytest.mark.parametrize("fault", FAULTS)
@isolated
async def test_a_network_that_a_plugin_fails_to_make_leaves_nothing(tmp_path: Path, fault: str) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        before = snapshot(), nft.run_once("list ruleset")
        for method in (
            "NetworkDriver_CreateNetwork", "IpamDriver_RequestPool", "IpamDriver_RequestAddress",
            "IpamDriver_GetDefaultAddressSpaces", "NetworkDriver_GetCapabilities",
        ):  # fmt: skip
            if fault.startswith("did") and method.startswith("IpamDriver"):
                continue  # whom would one give back what has no name?
            plugin.faults(**{method: fault})
            world.plugins.expect(fault)
            with pytest.raises(EngineError):
                await world.plugged(ipam="plug")
            world.plugins.expect("")
            revive(plugin)
            # a plugin that died is told of the end now
            await world.service._attachments._foreign.require_driver("plug")
            assert world.service._register.named("pnet") is None
            assert (snapshot(), nft.run_once("list ruleset")) == before, method
            assert plugin.is_empty(), (method, plugin.state)
        await world.plugged(ipam="plug")
        assert not plugin.is_empty(), "and it was not for want of trying"
        await world.service.remove("pnet")
        assert plugin.is_empty()


@pytest.mark.parametrize("fault", FAULTS)
@isolated
async def test_a_container_that_a_plugin_fails_leaves_nothing_and_starts_the_next_time(
    tmp_path: Path, fault: str
) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged(ipam="plug")
        await world.service.settle()
        before, memory = snapshot(), plugin.state
        for method in ("NetworkDriver_CreateEndpoint", "NetworkDriver_Join", "IpamDriver_RequestAddress"):
            if fault.startswith("did") and method.startswith("IpamDriver"):
                continue
            plugin.faults(**{method: fault})
            world.plugins.expect(fault)
            with pytest.raises(EngineError):
                await world.container("one", "pnet")
            world.plugins.expect("")
            revive(plugin)
            # a plugin that died is told of the end now
            await world.service._attachments._foreign.require_driver("plug")
            assert plugin.state == memory, (method, plugin.state)
            assert world.live.all() == []
            assert await world.namespaces() == []
            assert snapshot() == before, method
        one = await world.container("one", "pnet")
        assert one.address("pnet") in ("10.199.0.253", "10.199.0.252")
        await one.close()


@isolated
async def test_a_plugin_that_is_gone_keeps_nobody_from_stopping_and_removing(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged()
        one = await world.container("one", "pnet")
        plugin.kill()
        await one.close()
        assert world.live.all() == []
        with pytest.raises(EngineError):
            await world.container("two", "pnet")
        assert [live.container_id for live in world.live.all()] == []
        await world.service.remove("pnet")
        assert world.service._register.named("pnet") is None
        plugin.start()
        assert not plugin.is_empty()
        await world.service._attachments._foreign.require_driver("plug")
        assert plugin.is_empty(), "it is told when it is back"


@isolated
async def test_a_step_that_fails_gives_the_link_back_and_tells_the_plugin(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged()
        await world.network("red")
        before = snapshot()
        both = {"pnet": EndpointSettings(), "red": EndpointSettings()}
        made: list[Container] = []

        async def start() -> None:
            made.append(await world.container("one", "pnet", endpoints=both))

        steps = 0
        async for steps in failing(world.fault, start):
            await world.service.settle()
            assert not plugin.state["endpoints"], steps
            assert (snapshot(), await world.namespaces()) == (before, []), steps
        assert steps == 8, "wish; namespace, record, the plugin's link, ours, answers of two; record"
        (one,) = made
        assert "10.95.0.2" in str(world.service.settings(one.id))
        await one.close()
        assert not plugin.state["endpoints"]


def _dies(world: PluggedWorld, work: Callable[[], Awaitable[object]]) -> int:
    """Run work in a daemon of its own; return how it ended."""
    return elsewhere(world, lambda _: work())


@isolated
async def test_an_engine_killed_after_any_answer_tells_the_plugin_at_its_next_start(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        empty = snapshot()
        world.plugins.kill_after = "NetworkDriver.CreateNetwork"
        assert _dies(world, world.plugged) == 7
        assert not plugin.is_empty(), "and something was there"
        world.plugins.kill_after = ""
        world.fresh()
        await world.start()
        assert plugin.is_empty()
        assert snapshot() == empty

        async def restart() -> PluggedWorld:
            world.fresh()
            await world.start()
            return world

        seen = []
        async for steps, _ in killing(world, PluggedWorld.plugged, restart):
            seen.append(world.service._register.named("pnet") is not None)
            assert plugin.is_empty() is not seen[-1], steps
            if seen[-1]:
                await world.service.remove("pnet")
        assert seen == [False] * 2 + [True], "the plugin's answer; before the record, after it"
        await restart()
        before = snapshot()
        for method in ("NetworkDriver.CreateEndpoint", "NetworkDriver.Join"):
            world.plugins.kill_after = method
            assert _dies(world, lambda: world.container("one", "pnet")) == 7
            assert plugin.state["endpoints"], method
            world.plugins.kill_after = ""
            world.fresh()
            await world.start()
            assert not plugin.state["endpoints"], method
            assert (snapshot(), await world.namespaces()) == (before, []), method

        one = await world.container("one", "bridge")
        world.plugins.kill_after = "NetworkDriver.Join"
        record = world.service.get("pnet")
        joining = lambda: world.service.connect(record.id, one.id, EndpointSettings())  # noqa: E731
        assert _dies(world, joining) == 7
        assert plugin.state["endpoints"]
        world.plugins.kill_after = ""
        world.fresh()
        await world.start({one.id})
        assert not plugin.state["endpoints"]
        assert [end.network_name for end in world.live.all()[0].endpoints] == ["bridge"]
        await joining()
        assert one.address("pnet") == "10.95.0.2"
        await one.close()
        await world.service.remove("pnet")
        assert plugin.is_empty()


@isolated
async def test_a_restarted_engine_knows_what_it_has_of_a_plugin(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged(ipam="plug")
        one = await world.container("one", "pnet")
        calls = len(plugin.calls)
        world.fresh()
        await world.start({one.id})
        assert len(plugin.calls) == calls, "a plugin remembers its networks itself"
        assert one.address("pnet") == "10.199.0.253"
        assert ask("10.199.0.253") == "one 10.199.0.254"
        await world.service.disconnect("pnet", one.id, force=False)
        assert plugin.state["endpoints"] == {}
        await one.close()
        await world.service.remove("pnet")
        assert plugin.is_empty()


ODD_JOINS = [
    ({"InterfaceName": {"SrcName": "no-such-link", "DstPrefix": "eth"}}, "error moving interface no-such-link"),
    ({"InterfaceName": {"SrcName": "lo", "DstPrefix": "a b"}}, "cannot begin a link's name"),
    ({"Gateway": "nowhere"}, 'unable to parse Gateway "nowhere"'),
    ({"StaticRoutes": [{"Destination": "x", "RouteType": 1}]}, "static route"),
    ({"StaticRoutes": [{"Destination": "10.0.0.0/8", "RouteType": 0, "NextHop": ""}]}, "static route"),
]


@isolated
async def test_nonsense_in_an_answer_is_named_and_undone(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged()
        before = snapshot()
        for answer, words in ODD_JOINS:
            plugin.faults(NetworkDriver_Join=answer)
            with pytest.raises(EngineError) as caught:
                await world.container("one", "pnet")
            assert words in str(caught.value)
            assert not plugin.state["endpoints"], answer
            assert (snapshot(), await world.namespaces()) == (before, []), answer
        plugin.faults(NetworkDriver_CreateEndpoint={"Interface": {"Address": "10.95.0.77/24"}})
        with pytest.raises(EngineError, match="driver modified interface address"):
            await world.container("one", "pnet")
        plugin.faults(NetworkDriver_GetCapabilities={"Scope": "universe"})
        with pytest.raises(EngineError, match="could not resolve driver plug in registry"):
            await world.plugged("other")


@isolated
async def test_a_plugin_may_hand_over_no_link(tmp_path: Path) -> None:
    with plugin_in(tmp_path) as plugin:
        world = PluggedWorld(tmp_path)
        await world.start()
        await world.plugged()
        plugin.faults(NetworkDriver_Join={})
        await world.service.declare(Tenant("aa" * 32, "one", hostname="one", mode="pnet"))
        sandbox = await world.service.open("aa" * 32)
        names = netns.inside(sandbox.netns_path or "", lambda: sorted(os.listdir("/proc/sys/net/ipv4/conf")))
        assert "eth0" not in names
        await world.service.close("aa" * 32)
        assert not plugin.state["endpoints"]
