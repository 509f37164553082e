import msgspec
import pytest

from berth.base.errors import EngineError, Kind
from berth.networks.model import LiveEndpoint, NetworkRecord, Pool, Tenant
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
