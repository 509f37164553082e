"""Who is linked to whom, and what that lets through; what the kernel makes of it is shown in tests/netns."""

import pytest

from berth.base.paths import Layout
from berth.networks.firewall.ruleset import Hole, link, unlink
from berth.networks.linking import Linking, hosts_names, parsed
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Tenant
from berth.networks.options import ICC
from berth.networks.register import Register
from berth.networks.tenants import Tenants
from berth.plan.steps.nft import NftTransaction
from berth.plan.steps.route import AddRoute, ForgetRoute
from berth.store.memory import MemoryRecords


class Bridge:
    """The default network and containers on it."""

    def __init__(self, layout: Layout, *, icc: bool) -> None:
        self.tenants: MemoryRecords[Tenant] = MemoryRecords()
        self.live: MemoryRecords[LiveSandbox] = MemoryRecords()
        self.register, self.table = Register(), layout.nft_table
        pool = Pool("172.17.0.0/16", "172.17.0.1")
        options = {ICC: str(icc).lower()}
        self.register.add(NetworkRecord("n" * 64, "bridge", "bridge", 1, pools=(pool,), options=options, bridge="b0"))
        self.linking = Linking(layout, Tenants(self.tenants), self.live, self.register)

    async def run(self, number: int, name: str, *links: str, mode: str = "bridge") -> tuple[Tenant, LiveEndpoint]:
        ident = f"{number}" * 64
        tenant = Tenant(ident, name, hostname=f"h{number}", mode=mode, links=links, exposed_ports=("80/tcp", "53/udp"))
        end = LiveEndpoint("n" * 64, "bridge", "e", host_link=f"v{number}", link="eth0", ipv4=f"172.17.0.{number}")
        await self.tenants.put(ident, tenant)
        await self.live.put(ident, LiveSandbox(ident, "s", f"/ns/{number}", (end,)))
        self.register.attach(ident, end)
        return tenant, end


@pytest.fixture
def apart(tmp_path) -> Bridge:  # type: ignore[no-untyped-def]
    return Bridge(Layout(tmp_path / "data", tmp_path / "exec"), icc=False)


def test_links_are_read_as_docker_writes_them() -> None:
    tenant = Tenant("1", "web", mode="bridge", links=("db", "/db:sql", "/db:/web/alias"))
    assert parsed(tenant) == [("db", "db"), ("/db", "sql"), ("/db", "alias")]
    assert parsed(Tenant("1", "web", mode="mine", links=("db",))) == [], "names on a network one makes are DNS's"


def test_hosts_names_have_no_doubles() -> None:
    assert hosts_names("db", Tenant("1" * 64, "db")) == f"db {'1' * 12}"
    assert hosts_names("a", Tenant("1" * 64, "db", hostname="h")) == "a h db"


async def test_both_ends_get_a_way_and_the_target_a_hole(apart: Bridge) -> None:
    await apart.run(2, "db")
    web, end = await apart.run(3, "web", "db:a", "db:b")
    plan = apart.linking.plan(web, "/ns/3", [end])
    steps = [planned.step for planned in plan]
    assert steps[:-1] == [
        AddRoute("/ns/3", "eth0", "172.17.0.2/32", "172.17.0.1"),
        AddRoute("/ns/2", "eth0", "172.17.0.3/32", "172.17.0.1"),
    ]
    opened = [Hole("172.17.0.3", "172.17.0.2", "tcp", 80), Hole("172.17.0.3", "172.17.0.2", "udp", 53)]
    assert steps[-1] == NftTransaction(link(apart.table, opened), unlink(apart.table, opened))
    assert apart.linking.opened([web.container_id, "2" * 64]) == opened
    assert apart.linking.opened([web.container_id]) == [], "one of the two does not run"
    ended = [planned.step for planned in apart.linking.plan_end(web, "/ns/3", [end])]
    assert ended[1:] == [ForgetRoute("/ns/2", "eth0", "172.17.0.3/32", "172.17.0.1")]


async def test_the_target_of_a_link_finds_who_is_linked_to_it(apart: Bridge) -> None:
    db, end = await apart.run(2, "db")
    await apart.run(3, "web", "db:sql")
    await apart.run(4, "other")
    assert [(alias, place.tenant.name) for alias, place in apart.linking.to(db)] == [("sql", "web")]
    assert apart.linking.plan(db, "/ns/2", [end]) == apart.linking.plan(db, "/ns/2", [end])
    assert len(apart.linking.plan(db, "/ns/2", [end])) == 3


async def test_where_containers_reach_each_other_anyway_nothing_is_planned(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bridge = Bridge(Layout(tmp_path / "data", tmp_path / "exec"), icc=True)
    await bridge.run(2, "db")
    web, end = await bridge.run(3, "web", "db")
    assert bridge.linking.plan(web, "/ns/3", [end]) == bridge.linking.plan_end(web, "/ns/3", [end]) == ()
    assert bridge.linking.opened(["2" * 64, web.container_id]) == []
    assert [one.address for one in bridge.linking.of(web)] == ["172.17.0.2"], "it is told all the same"
