import os
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from berth.base.errors import EngineError, Kind
from berth.networks.allocation import allocate
from berth.networks.creation import with_gateway
from berth.networks.errors import AddressOfOldSubnet
from berth.networks.ipam.addresses import contains
from berth.networks.ipam.pools import PoolSource
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Tenant
from berth.networks.options import BridgeOptions
from berth.networks.register import Register
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings

A, B = "a1" + "0" * 62, "a2" + "0" * 62


def record(ident: str, name: str, subnet: str = "10.0.0.0/29") -> NetworkRecord:
    pool = Pool(subnet, gateway=subnet.replace("0/29", "1"))
    return NetworkRecord(id=ident, name=name, driver="bridge", pools=(pool,))


def filled() -> Register:
    register = Register()
    register.add(record(A, "red"))
    register.add(record(B, "a1", "10.1.0.0/29"))
    return register


def test_lookup_goes_by_id_then_name_then_prefix() -> None:
    register = filled()
    assert register.find(A).name == "red"
    assert register.find("red").id == A
    assert register.find("a1").id == B, "an exact name goes before an id that starts so"
    assert register.find("a10").id == A
    with pytest.raises(EngineError, match="ambiguous \\(2 matches") as several:
        register.find("a")
    assert several.value.kind is Kind.INVALID
    for missing in ("", "nope", "c" * 64):
        with pytest.raises(EngineError, match=f"network {missing} not found") as none:
            register.find(missing)
        assert none.value.kind is Kind.NOT_FOUND


def test_addresses_go_round_until_the_range_is_full() -> None:
    register, red = filled(), filled().find("red")
    given = [register.take(red, 4, f"c{n}", "")[0] for n in range(5)]
    assert given == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(EngineError, match="no available IPv4 addresses on this network's address pools: red") as caught:
        register.take(red, 4, "late", "")
    assert caught.value.kind is Kind.SYSTEM
    register.take_back(red.id, "c1", ["10.0.0.3"])
    register.take_back(red.id, "stranger", ["10.0.0.4"])
    assert register.take(red, 4, "late", "")[0] == "10.0.0.3"


def test_what_is_asked_for_by_number_is_kept_for_who_asked() -> None:
    register, red = filled(), filled().find("red")
    settings = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.0.0.2"))
    tenant = Tenant("owner", "owner", mode="red", endpoints={"red": settings})
    register.expect(tenant)
    assert register.take(red, 4, "other", "")[0] == "10.0.0.3"
    assert register.take(red, 4, "owner", "10.0.0.2") == ("10.0.0.2", 29, "10.0.0.1")
    with pytest.raises(EngineError, match="Address already in use") as caught:
        register.take(red, 4, "third", "10.0.0.2")
    assert caught.value.kind is Kind.FORBIDDEN
    register.take_back(red.id, "owner", ["10.0.0.2"])
    register.unexpect(tenant)
    assert register.take(red, 4, "third", "")[0] == "10.0.0.2"


def test_an_address_of_another_subnet_is_not_given() -> None:
    register = filled()
    network = register.all()[0]
    with pytest.raises(AddressOfOldSubnet):
        register.take(network, 4, "c1", "10.9.9.9")
    assert register.take(network, 4, "c1", "")[0]


def test_of_networks_that_are_gone_only_what_is_asked_for_is_remembered() -> None:
    register = filled()
    fixed = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.0.0.5"))
    waiting = Tenant("c2", "two", mode="red", endpoints={"red": fixed})
    register.expect(waiting)
    for name in ("red", "a1"):
        gone = register.find(name)
        register.take(gone, 4, "c1", "")
        register.discard(gone)
    assert list(register._books) == ["red"]
    register.add(record(A, "red"))
    assert register.take(register.find("red"), 4, "c2", "10.0.0.5")[0] == "10.0.0.5"


def test_attachments_are_known_until_detached() -> None:
    register = filled()
    end = LiveEndpoint(A, "red", "e" * 64, ipv4="10.0.0.2", prefix4=29)
    register.keep(A, "one", end)
    register.attach("one", end)
    assert register.attached(A) == {"one": end}
    assert register.take(register.find("red"), 4, "two", "")[0] == "10.0.0.3"
    register.detach("one", end)
    assert register.attached(A) == {}
    assert register.take(register.find("red"), 4, "three", "")[0] == "10.0.0.2"


def test_a_network_without_a_pool_gives_no_address() -> None:
    register = filled()
    assert register.take(register.find("red"), 6, "one", "") == ("", 0, "")


def test_a_network_is_known_as_it_was_made_not_as_it_was_planned() -> None:
    register = Register()
    planned = msgspec.structs.replace(record(A, "red"), bridge="br0")
    register.claim(planned)
    made = msgspec.structs.replace(planned, adopted_bridge=True, made_links=("eth0.10",))
    register.add(made)
    assert register.on_bridge("br0") == made
    assert list(register.claimed()) == [made]


def test_an_address_comes_from_the_first_subnet_that_has_one() -> None:
    pools = (Pool("10.0.0.0/30", gateway="10.0.0.1"), Pool("10.0.1.0/24", gateway="10.0.1.1"))
    two = msgspec.structs.replace(record(A, "two"), pools=pools)
    register = Register()
    register.add(two)
    assert register.take(two, 4, "c1", "10.0.1.9") == ("10.0.1.9", 24, "10.0.1.1")
    assert register.take(two, 4, "c2", "") == ("10.0.0.2", 30, "10.0.0.1")
    assert register.take(two, 4, "c3", "") == ("10.0.1.2", 24, "10.0.1.1")


class Machine(RuleBasedStateMachine):
    """Networks and containers come and go in any order; creations and daemons are cut off; nothing may overlap or leak.

    What the services keep on record is kept here as they do; the register is the only thing that is made anew.
    """

    SOURCES = (PoolSource(IPv4Network("10.0.0.0/24"), 28), PoolSource(IPv6Network("fd00::/60"), 64))

    def __init__(self) -> None:
        super().__init__()
        self.register = Register()
        self.networks: dict[str, NetworkRecord] = {}
        self.making: list[NetworkRecord] = []
        self.tenants: dict[str, Tenant] = {}
        self.live: dict[str, dict[str, LiveEndpoint]] = {}
        self.count = 0

    def _new(self, name: str, asked: tuple[Pool, ...], families: tuple[int, ...]) -> NetworkRecord | None:
        self.count += 1
        ident = f"{self.count:064x}"
        try:
            pools = allocate(
                asked, families, sources=self.SOURCES, taken=self.register.subnets, routed=(), random=os.urandom
            )
        except EngineError:
            return None
        pools = [with_gateway(pool, BridgeOptions(), internal=False) for pool in pools]
        return NetworkRecord(
            ident, name, "bridge", pools=tuple(pools), bridge=f"br-{ident[-12:]}", enable_ipv6=6 in families
        )

    @rule(
        name=st.sampled_from("rgb"),
        number=st.integers(0, 15),
        size=st.sampled_from((26, 27, 28, 29, 30)),
        how=st.sampled_from(("named", "sized", "free")),
        families=st.sampled_from(((4,), (4, 6), (6,))),
    )
    def begin_network(self, name: str, number: int, size: int, how: str, families: tuple[int, ...]) -> None:
        if name in self.networks or any(one.name == name for one in self.making):
            return
        subnet = IPv4Network(((0x0A000000 + number * 16) >> (32 - size) << (32 - size), size))
        asked = {"named": (Pool(str(subnet)),), "sized": (Pool(f"0.0.0.0/{size}"),), "free": ()}[how]
        record = self._new(name, asked, families)
        if record is not None:
            self.register.claim(record)
            self.making.append(record)

    @precondition(lambda self: self.making)
    @rule()
    def network_is_made(self) -> None:
        record = self.making.pop(0)
        self.register.add(record)
        self.networks[record.name] = record

    @precondition(lambda self: self.making)
    @rule()
    def network_fails(self) -> None:
        self.register.unclaim(self.making.pop(0))

    @precondition(lambda self: self.networks)
    @rule(data=st.data())
    def remove_network(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.networks)))
        if not any(name in ends for ends in self.live.values()):
            self.register.discard(self.networks.pop(name))

    @rule(ident=st.sampled_from("1234"), name=st.sampled_from("rgb"), at=st.none() | st.integers(0, 20))
    def declare(self, ident: str, name: str, at: int | None) -> None:
        if ident in self.tenants:
            return
        asked = EndpointIPAMConfig(ipv4_address=f"10.0.0.{at}") if at is not None else None
        tenant = Tenant(ident, ident, mode=name, endpoints={name: EndpointSettings(ipam_config=asked)})
        self.register.expect(tenant)
        self.tenants[ident] = tenant

    @precondition(lambda self: self.networks and self.tenants)
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        name, ident = (
            data.draw(st.sampled_from(sorted(self.networks))),
            data.draw(st.sampled_from(sorted(self.tenants))),
        )
        record, tenant, ends = self.networks[name], self.tenants[ident], self.live.setdefault(ident, {})
        if name in ends:
            return
        wanted = tenant.endpoints.get(name, EndpointSettings()).ipam_config
        address = (wanted.ipv4_address or "") if wanted else ""
        pool = next((pool for pool in record.pools if ":" not in pool.subnet), None)
        if address and (pool is None or not contains(pool, ip_address(address))):
            return  # refused when it was declared, or the network is another by now
        got: list[str] = []
        try:
            for version, text in ((4, address), (6, "")):
                got.append(self.register.take(record, version, ident, text)[0])
        except EngineError:
            self.register.take_back(record.id, ident, got)
            return
        end = LiveEndpoint(record.id, name, "e" * 64, ipv4=got[0], ipv6=got[1])
        self.register.attach(ident, end)
        ends[name] = end

    @precondition(lambda self: any(self.live.values()))
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        pairs = sorted((ident, name) for ident, ends in self.live.items() for name in ends)
        ident, name = data.draw(st.sampled_from(pairs))
        self.register.detach(ident, self.live[ident].pop(name))

    @rule(ident=st.sampled_from("1234"))
    def forget(self, ident: str) -> None:
        for end in self.live.pop(ident, {}).values():
            self.register.detach(ident, end)
        tenant = self.tenants.pop(ident, None)
        if tenant is not None:
            self.register.forget(tenant)

    @rule()
    def the_daemon_is_killed_and_starts_again(self) -> None:
        self.making.clear()
        self.register = Register()
        lives = [LiveSandbox(ident, "s", endpoints=tuple(ends.values())) for ident, ends in self.live.items()]
        self.register.load(self.networks.values(), self.tenants.values(), lives)

    @invariant()
    def no_two_networks_overlap(self) -> None:
        every = [*self.networks.values(), *self.making]
        subnets = [ip_network(pool.subnet) for record in every for pool in record.pools]
        assert not any(a.version == b.version and a.overlaps(b) for a, b in combinations(subnets, 2))
        for version in (4, 6):
            kept = self.register.subnets.spans(version).count(0, (1 << 128) - 1)
            assert kept == sum(one.num_addresses for one in subnets if one.version == version), "no subnet leaks"

    @invariant()
    def no_two_containers_share_and_none_has_what_another_asked_for(self) -> None:
        for name, record in self.networks.items():
            ends = {ident: ends[name] for ident, ends in self.live.items() if name in ends}
            for texts in (
                [end.ipv4 for end in ends.values() if end.ipv4],
                [end.ipv6 for end in ends.values() if end.ipv6],
            ):
                assert len(set(texts)) == len(texts)
                assert not set(texts) & {pool.gateway for pool in record.pools}
            assert self.register.attached(record.id) == ends

    @invariant()
    def nothing_is_lost_or_leaks(self) -> None:
        for name, record in self.networks.items():
            for subnet, usage in self.register.usage(record).items():
                network = ip_network(subnet)
                texts = [
                    text for ends in self.live.values() if name in ends for text in (ends[name].ipv4, ends[name].ipv6)
                ]
                for tenant in self.tenants.values():
                    wanted = tenant.endpoints.get(name, EndpointSettings()).ipam_config
                    texts.append((wanted.ipv4_address or "") if wanted else "")
                used = {ip_address(text) for text in texts if text and ip_address(text) in network}
                used |= {ip_address(pool.gateway) for pool in record.pools if pool.subnet == subnet}
                used |= {network.network_address} | ({network.broadcast_address} if network.version == 4 else set())
                assert usage.in_use == len(used), (subnet, used)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
