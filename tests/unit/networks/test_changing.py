"""One attachment more, one less, other limits: on record whole or not at all, whatever the kernel says."""

import errno
from pathlib import Path

import msgspec
import pytest

from berth.base.errors import SystemFault
from berth.networks.errors import HostNetworkFixed
from berth.networks.model import LiveSandbox, Shape, Tenant
from berth.plan.steps.link import MakeContainerLink
from berth.store.base import First
from berth.wire.networks import EndpointSettings
from tests.unit.networks.bench import Bench, ToldServer


class Kept:
    """Who keeps what the container wants; it may fail."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.times, self.problem = 0, problem

    async def __call__(self, *, first: First | None = None) -> None:
        self.times += 1
        if first is not None:
            first()
        if self.problem is not None:
            raise self.problem


async def started(tmp_path: Path) -> tuple[Bench, Tenant, LiveSandbox]:
    bench = Bench(tmp_path, ToldServer())
    tenant, live = await bench.runs("one", bench.inner)
    more = {**tenant.endpoints, "red": EndpointSettings()}
    return bench, msgspec.structs.replace(tenant, endpoints=more), live


async def test_a_connect_is_planned_recorded_named_and_told(tmp_path: Path) -> None:
    bench, tenant, live = await started(tmp_path)
    keep = Kept()
    await bench.attachments._changing.connect(tenant, live, bench.red, EndpointSettings(), keep)
    now = bench.live.get(tenant.container_id)
    assert now is not None
    assert [one.network_name for one in now.endpoints] == ["inner", "red"]
    assert (now.changing, keep.times) == (False, 1)
    (link,) = (one for one in bench.kernel.steps if isinstance(one, MakeContainerLink))
    assert (link.bridge, link.inside) == (bench.red.bridge, "eth1")
    assert "10.1.0.2\tone" in bench.file(tenant, "hosts").read_text()
    assert [(one.action, one.attributes["name"]) for one in bench.events] == [("connect", "red")]
    await bench.attachments.advertising.close()


@pytest.mark.parametrize("fails_at", [1, 2, 0])
async def test_one_that_fails_leaves_all_as_it_was(tmp_path: Path, fails_at: int) -> None:
    bench, tenant, live = await started(tmp_path)
    hosts = bench.file(tenant, "hosts").read_text()
    bench.kernel.fails_at = fails_at
    keep = Kept(None if fails_at else OSError(errno.ENOSPC, "no space left"))
    with pytest.raises((SystemFault, OSError)):
        await bench.attachments._changing.connect(tenant, live, bench.red, EndpointSettings(), keep)
    assert bench.live.get(tenant.container_id) == live
    assert bench.register.attached(bench.red.id) == {}
    assert bench.file(tenant, "hosts").read_text() == hosts
    assert bench.events == []
    bench.kernel.fails_at = 0
    await bench.attachments._changing.connect(tenant, live, bench.red, EndpointSettings(), Kept())
    assert bench.register.attached(bench.red.id)[tenant.container_id].ipv4 == "10.1.0.2", "it was free again"
    await bench.attachments.advertising.close()


async def test_the_hosts_namespace_is_nobodys_to_change(tmp_path: Path) -> None:
    bench, tenant, live = await started(tmp_path)
    on_host = msgspec.structs.replace(live, netns_path="")
    with pytest.raises(HostNetworkFixed):
        await bench.attachments._changing.connect(tenant, on_host, bench.red, EndpointSettings(), Kept())
    assert bench.register.attached(bench.red.id) == {}


async def test_limits_are_changed_on_one_attachment_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red, bench.inner)
    shape = Shape(rate_out=1_000_000)
    await bench.attachments._changing.shape(live, live.endpoints[1], shape, Kept())
    now = bench.live.get(tenant.container_id)
    assert now is not None
    assert [one.shape for one in now.endpoints] == [Shape(), shape]
    assert not now.changing
    assert bench.register.attached(bench.inner.id)[tenant.container_id].shape == shape
    bench.kernel.fails_at = len(bench.kernel.steps) + 1
    with pytest.raises(SystemFault):
        await bench.attachments._changing.shape(now, now.endpoints[1], Shape(rate_out=2_000_000), Kept())
    assert bench.live.get(tenant.container_id) == now


async def test_a_mark_keeps_what_is_on_record(tmp_path: Path) -> None:
    bench, tenant, live = await started(tmp_path)
    pending = msgspec.structs.replace(live, endpoints=(*live.endpoints, live.endpoints[0]))
    await bench.live.put(tenant.container_id, pending)
    await bench.attachments._changing.mark(live)
    assert bench.live.get(tenant.container_id) == msgspec.structs.replace(pending, changing=True)


async def test_what_a_plugin_was_asked_for_is_abandoned(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red, bench.inner)
    half = msgspec.structs.replace(
        live, endpoints=(live.endpoints[0], msgspec.structs.replace(live.endpoints[1], pending=True))
    )
    await bench.attachments._changing.abandon(half)
    now = bench.live.get(tenant.container_id)
    assert now is not None
    assert [one.network_name for one in now.endpoints] == ["red"]
    assert bench.register.attached(bench.inner.id) == {}
