"""Records, files and names follow attachments to other addresses and names, and back."""

from pathlib import Path

import msgspec

from berth.networks.model import LiveSandbox, Tenant
from berth.store.base import Records
from tests.unit.networks.bench import Bench, ToldServer


def elsewhere(live: LiveSandbox, ipv4: str) -> LiveSandbox:
    return msgspec.structs.replace(live, endpoints=(msgspec.structs.replace(live.endpoints[0], ipv4=ipv4),))


async def changed(tmp_path: Path) -> tuple[Bench, ToldServer, tuple[Tenant, Tenant], tuple[LiveSandbox, LiveSandbox]]:
    server = ToldServer()
    bench = Bench(tmp_path, server)
    tenant, live = await bench.runs("one", bench.red)
    wants = msgspec.structs.replace(tenant, domainname="example")
    return bench, server, (tenant, wants), (live, elsewhere(live, "10.1.0.99"))


async def test_a_lease_of_another_address_is_followed(tmp_path: Path) -> None:
    bench, server, (tenant, _), (before, after) = await changed(tmp_path)
    await bench.attachments.following.relet(before, after, before.endpoints[0], after.endpoints[0])
    hosts = bench.file(tenant, "hosts").read_text()
    assert "10.1.0.99\tone" in hosts
    assert "10.1.0.2\t" not in hosts
    ((what, named),) = server.told
    assert (what, named.addresses4) == ("up", ("10.1.0.99",))


async def test_records_are_written_and_written_back(tmp_path: Path) -> None:
    bench, _, tenants, lives = await changed(tmp_path)
    following, ident = bench.attachments.following, tenants[0].container_id
    await following.write_down([tenants], [lives])
    assert (bench.tenants.get(ident), bench.live.get(ident)) == (tenants[1], lives[1])
    await following.write_back([tenants], [lives])
    assert (bench.tenants.get(ident), bench.live.get(ident)) == (tenants[0], lives[0])
    await following.write_back([tenants], [lives])
    assert bench.live.get(ident) == lives[0], "what was not written is not written back"


async def test_those_who_are_gone_are_not_written_anew(tmp_path: Path) -> None:
    bench, _, tenants, lives = await changed(tmp_path)
    await _emptied(bench.live, lives[0].container_id)
    await bench.attachments.following.write_down([tenants], [lives], anew=False)
    assert bench.live.get(lives[0].container_id) is None, "containers that run end with the machine"
    assert bench.tenants.get(tenants[0].container_id) == tenants[1]


async def _emptied(records: Records[LiveSandbox], ident: str) -> None:
    await records.drop(ident)


async def test_files_follow_where_addresses_have_changed(tmp_path: Path) -> None:
    bench, _, tenants, lives = await changed(tmp_path)
    other, stays = await bench.runs("two", bench.red)
    untouched = bench.file(other, "hosts").read_text()
    following = bench.attachments.following
    same = (tenants[0], tenants[0])
    for _ in range(2):
        await following.readdress([same], [lives, (stays, stays)])
        hosts = bench.file(tenants[0], "hosts").read_text()
        assert hosts.count("10.1.0.99\tone") == 1, "it may be repeated"
        assert "10.1.0.2\t" not in hosts
    assert bench.file(other, "hosts").read_text() == untouched


async def test_names_follow_of_those_who_have_some(tmp_path: Path) -> None:
    bench, server, tenants, lives = await changed(tmp_path)
    other, quiet = await bench.runs("two", bench.register.find("bridge"))
    await bench.attachments.following.follow([(tenants[1], *lives), (other, quiet, quiet)])
    assert [(one[0], one[1].container_id[0]) for one in server.told] == [("configure", "o"), ("up", "o")]
    assert server.told[1][1].addresses4 == ("10.1.0.99",)
