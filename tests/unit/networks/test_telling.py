"""What those who listen are told, in Docker's words."""

from pathlib import Path

from tests.unit.networks.bench import Bench


async def test_attachments_come_and_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red)
    bench.attachments.telling.connected(tenant.container_id, live.endpoints[0])
    bench.attachments.telling.disconnected(tenant.container_id, live.endpoints[0])
    assert [(one.type, one.action, one.actor_id) for one in bench.events] == [
        ("network", "connect", bench.red.id),
        ("network", "disconnect", bench.red.id),
    ]
    assert bench.events[0].attributes == {"container": tenant.container_id, "name": "red", "type": "bridge"}


async def test_a_network_that_is_gone_already_has_no_type(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red)
    bench.register.discard(bench.red)
    bench.attachments.telling.disconnected(tenant.container_id, live.endpoints[0])
    assert bench.events[0].attributes["type"] == ""


async def test_networks_come_change_and_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tell = bench.attachments.telling
    for told in (tell.created, tell.changed, tell.destroyed):
        told(bench.inner)
    assert [one.action for one in bench.events] == ["create", "update", "destroy"]
    assert bench.events[2].attributes == {"name": "inner", "type": "bridge"}
