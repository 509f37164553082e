"""A container's hosts, resolv.conf and hostname: what is in them at its start, and what follows."""

from pathlib import Path

import msgspec

from berth.networks.model import Tenant
from berth.networks.options import NAME_SERVERS
from tests.unit.networks.bench import Bench, ToldServer


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def test_a_container_finds_itself_and_the_name_server(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    tenant, _ = await bench.runs("one", bench.red, domainname="example", extra_hosts=("gate:host-gateway", "x:1.2.3.4"))
    hosts = lines(bench.file(tenant, "hosts"))
    assert hosts[-2:] == ["10.1.0.2\tone.example one", "fd01::2\tone.example one"]
    assert "172.17.0.1\tgate" in hosts
    assert "1.2.3.4\tx" in hosts
    assert "nameserver 127.0.0.11" in lines(bench.file(tenant, "resolv.conf"))
    assert bench.file(tenant, "hostname").read_text() == "one\n"
    paths = bench.attachments._files.paths(tenant.container_id)
    assert paths["/etc/hosts"] == str(bench.file(tenant, "hosts"))
    assert set(paths) == {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"}


async def test_servers_are_its_own_then_its_networks_then_everybodys(tmp_path: Path) -> None:
    bench = Bench(tmp_path, dns=("192.0.2.3",))
    served = bench.add("served", bench.red.pools[0], options={NAME_SERVERS: "192.0.2.2"})
    files = bench.attachments._files
    wants = Tenant("1" * 64, "one", dns=("192.0.2.1",), endpoints={served.name: None})  # type: ignore[dict-item]
    plain = msgspec.structs.replace(wants, dns=())
    neither = msgspec.structs.replace(plain, endpoints={})
    found = [files.resolv_conf(one).servers for one in (wants, plain, neither)]
    assert found == [("192.0.2.1",), ("192.0.2.2",), ("192.0.2.3",)]
    assert [files.names_servers(one) for one in (wants, plain, neither)] == [True] * 3
    assert not Bench(tmp_path / "other").attachments._files.names_servers(neither)


async def test_host_gateway_is_what_settings_say_or_the_host_itself(tmp_path: Path) -> None:
    named = Bench(tmp_path / "a", host_gateway_ips=("192.0.2.9",))
    tenant, _ = await named.runs("one", named.red, extra_hosts=("gate:host-gateway",))
    assert "192.0.2.9\tgate" in lines(named.file(tenant, "hosts"))
    without = Bench(tmp_path / "b")
    without.register.discard(without.register.find("bridge"))
    tenant, _ = await without.runs("one", without.red, extra_hosts=("gate:host-gateway",))
    assert "127.0.0.1\tgate" in lines(without.file(tenant, "hosts"))


async def test_on_the_host_it_has_the_hosts_file_unless_it_adds_to_it(tmp_path: Path) -> None:
    files = Bench(tmp_path).attachments._files
    tenant = Tenant("1" * 64, "one", hostname="one")
    own = files.texts(tenant, [], resolver=False, on_host=True)
    assert Path("/etc/hosts").read_text() in own.values()
    adding = msgspec.structs.replace(tenant, extra_hosts=("x:1.2.3.4",))
    texts = files.texts(adding, [], resolver=False, on_host=True)
    assert any("1.2.3.4\tx" in text for text in texts.values())


async def test_lines_come_move_and_go_and_a_users_stay(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    tenant, live = await bench.runs("one", bench.register.find("bridge"))
    hosts, files, end = bench.file(tenant, "hosts"), bench.attachments._files, live.endpoints[0]
    hosts.write_text(hosts.read_text() + "192.0.2.1\tmine")
    before = lines(hosts)
    more = msgspec.structs.replace(end, ipv4="10.1.0.2", ipv6="fd01::2")
    files.add(tenant, more, resolver=True)
    assert lines(hosts) == [*before, "10.1.0.2\tone", "fd01::2\tone"]
    assert "nameserver 127.0.0.11" in lines(bench.file(tenant, "resolv.conf"))
    files.move(tenant, more, msgspec.structs.replace(more, ipv4="10.1.0.7"))
    assert lines(hosts)[-2:] == ["10.1.0.7\tone", "fd01::2\tone"]
    files.drop(tenant, msgspec.structs.replace(more, ipv4="10.1.0.7"), resolver=True)
    assert lines(hosts) == before
    assert "nameserver 127.0.0.11" not in lines(bench.file(tenant, "resolv.conf"))


async def test_a_resolv_conf_that_a_user_edited_is_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ToldServer())
    tenant, live = await bench.runs("one", bench.register.find("bridge"))
    bench.file(tenant, "resolv.conf").write_text("nameserver 192.0.2.7\n")
    bench.attachments._files.add(tenant, live.endpoints[0], resolver=True)
    assert bench.file(tenant, "resolv.conf").read_text() == "nameserver 192.0.2.7\n"


async def test_a_linked_container_is_followed_and_one_taken_out_stays_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    default = bench.register.find("bridge")
    await bench.runs("db", default)
    tenant, _ = await bench.runs("web", default, links=("db:sql",))
    hosts, files = bench.file(tenant, "hosts"), bench.attachments._files
    assert "172.17.0.2\tsql db" in lines(hosts)
    files.relink(tenant, "sql db", "172.17.0.9")
    assert "172.17.0.9\tsql db" in lines(hosts)
    assert not any(line.startswith("172.17.0.2\t") for line in lines(hosts))
    hosts.write_text("172.17.0.3\tweb\n")
    files.relink(tenant, "sql db", "172.17.0.10")
    assert hosts.read_text() == "172.17.0.3\tweb\n"
