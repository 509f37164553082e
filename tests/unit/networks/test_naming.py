"""What the name server is told of containers."""

import os
from pathlib import Path

import pytest

from berth.networks.dns.model import Sockets
from berth.networks.errors import NotRunning
from berth.wire.networks import EndpointSettings
from tests.unit.networks.bench import Bench, ToldServer


async def test_names_are_for_networks_one_makes_unless_settings_say_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    _, default = await bench.runs("one", bench.register.find("bridge"))
    _, red = await bench.runs("two", bench.red)
    assert [bench.attachments.naming.is_for(live.endpoints) for live in (default, red)] == [False, True]
    more = Bench(tmp_path / "more", ToldServer(), default_bridge_names=True)
    assert more.attachments.naming.is_for(default.endpoints)
    nobody = Bench(tmp_path / "nobody")
    assert not nobody.attachments.naming.is_for(red.endpoints), "there is no name server to need"


async def test_an_attachment_has_its_names_addresses_and_links(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    settings = EndpointSettings(aliases=["www"], links=["db:sql", "cache"])
    tenant, live = await bench.runs("one", bench.red, endpoints={"red": settings})
    named = bench.attachments.naming.named_endpoint(tenant, live.endpoints[0])
    assert named is not None
    assert (named.addresses4, named.addresses6) == (("10.1.0.2",), ("fd01::2",))
    assert set(named.names) >= {"one", "www", tenant.container_id[:12]}
    assert named.links == (("sql", "db"), ("cache", "cache"))
    plain, on_bridge = await bench.runs("two", bench.register.find("bridge"))
    assert bench.attachments.naming.named_endpoint(plain, on_bridge.endpoints[0]) is None


async def test_the_server_is_told_of_a_container_and_its_end(tmp_path: Path) -> None:
    server = ToldServer()
    bench = Bench(tmp_path, server)
    tenant, live = await bench.runs("one", bench.red, bench.inner, dns=("192.0.2.1",))
    naming = bench.attachments.naming
    sockets = Sockets(*(os.open("/dev/null", os.O_RDONLY) for _ in range(3)))
    await naming.serve(tenant, live, sockets)
    assert [one[0] for one in server.told] == ["serve", "up", "up"]
    config = server.told[0][1]
    assert ([one.address for one in config.upstreams], config.internal) == (["192.0.2.1"], False)
    server.told.clear()
    left = type(live)(live.container_id, live.sandbox_id, live.netns_path, live.endpoints[1:], has_dns=True)
    await naming.withdraw(tenant, left, live.endpoints[0])
    assert server.told[0] == ("down", tenant.container_id, bench.red.id)
    assert server.told[1][1].internal, "only internal networks are left: nothing is asked from the host"
    await naming.forget(left)
    assert server.told[-1] == ("forget", tenant.container_id)


async def test_what_a_network_does_not_let_out_is_asked_for_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    guarded = bench.add("walled", bench.inner.pools[0], options={"berth.egress": "deny"})
    tenant, live = await bench.runs("one", guarded, dns=("192.0.2.1",))
    assert [one.from_host for one in bench.attachments.naming.upstreams(tenant, live)] == [True]


async def test_without_a_server_nobody_is_told_and_sockets_are_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    tenant, live = await bench.runs("one", bench.red)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    await bench.attachments.naming.serve(tenant, live, Sockets(*fds))
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    await bench.attachments.naming.adopt()
    await bench.attachments.naming.withdraw(tenant, live, live.endpoints[0])


async def test_a_server_that_is_back_is_told_of_everybody_it_is_for(tmp_path: Path) -> None:
    server = ToldServer()
    bench = Bench(tmp_path, server)
    await bench.runs("one", bench.red)
    await bench.runs("two", bench.register.find("bridge"))
    await bench.runs("x3", bench.red, bench.inner)
    await bench.attachments.naming.adopt()
    ((_, configs, named),) = server.told
    assert [one.container_id[0] for one in configs] == ["o", "x"]
    assert [(one.container_id[0], one.network_name) for one in named] == [("o", "red"), ("x", "red"), ("x", "inner")]
    with pytest.raises(NotRunning):
        await bench.attachments.naming.resolver_sockets("2" * 64)


async def test_the_hosts_other_servers_reach_containers_that_run(tmp_path: Path) -> None:
    server = ToldServer()
    bench = Bench(tmp_path, server)
    await bench.runs("one", bench.red)
    await bench.runs("two", bench.register.find("bridge"))
    await bench.attachments.naming.follow_host_servers()
    assert [(what, config.container_id[0]) for what, config in server.told] == [("configure", "o")]
