import pytest

from berth.base.errors import EngineError, Kind
from berth.networks.model import NetworkRecord, Pool, Tenant
from berth.networks.register import Register
from berth.networks.wants import check, check_joinable, normalised
from berth.wire.networks import EndpointIPAMConfig, EndpointSettings, PortBinding

RED = NetworkRecord(id="1" * 64, name="red", driver="bridge", pools=(Pool("10.0.0.0/24", "10.0.0.1"),))
BRIDGE = NetworkRecord(id="2" * 64, name="bridge", driver="bridge", pools=(Pool("172.17.0.0/16", "172.17.0.1"),))
HOST = NetworkRecord(id="3" * 64, name="host", driver="host")
NONE = NetworkRecord(id="4" * 64, name="none", driver="null")
ALIASED = EndpointSettings(aliases=["x"])


def register() -> Register:
    made = Register()
    for record in (RED, BRIDGE, HOST, NONE):
        made.add(record)
    return made


def tenant(mode: str, **settings: object) -> Tenant:
    return normalised(Tenant("c" * 64, "web", mode=mode, **settings), register())  # type: ignore[arg-type]


def at(address: str) -> EndpointSettings:
    return EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=address))


def test_without_endpoints_the_mode_is_the_only_one() -> None:
    assert list(tenant("default").endpoints) == ["bridge"]
    assert list(tenant("").endpoints) == ["bridge"]
    assert list(tenant("red").endpoints) == ["red"]
    assert list(tenant("missing").endpoints) == ["missing"]
    assert tenant("container:abc").endpoints == {}


def test_endpoints_are_keyed_by_name_and_the_modes_comes_first() -> None:
    found = tenant("red", endpoints={"bridge": EndpointSettings(), RED.id: EndpointSettings(aliases=["db"])})
    assert list(found.endpoints) == ["red", "bridge"]
    assert found.endpoints["red"].aliases == ["db"]
    assert list(tenant("default", endpoints={"default": EndpointSettings()}).endpoints) == ["bridge"]


def test_the_containers_mac_is_its_first_networks() -> None:
    assert tenant("red", mac_address="02:00:00:00:00:01").endpoints["red"].mac_address == "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("mode", "settings", "words"),
    [
        ("bridge", {"endpoints": {"bridge": at("172.17.0.9")}}, "address is supported on user defined networks only"),
        ("bridge", {"endpoints": {"bridge": ALIASED}}, "supported only for containers in user defined networks"),
        ("red", {"endpoints": {"red": at("10.9.0.1")}}, "no configured subnet contains IP address 10.9.0.1"),
        ("red", {"endpoints": {"red": at("fd00::1")}}, "invalid IPv4 address"),
        ("red", {"endpoints": {"red": at("300.1.1.1")}}, "invalid IP address"),
        ("red", {"endpoints": {"red": EndpointSettings(mac_address="xx")}}, "invalid MAC address: xx"),
        ("missing", {"endpoints": {"missing": at("nope")}}, "invalid IP address: nope"),
        ("red", {"endpoints": {"red": EndpointSettings(), "none": EndpointSettings()}}, "private (none) mode"),
        ("red", {"endpoints": {"red": EndpointSettings(), "host": EndpointSettings()}}, "host network"),
        ("red", {"port_bindings": {"80/foo": [PortBinding()]}}, "invalid proto"),
        ("red", {"port_bindings": {"80/tcp": [PortBinding("", "99999")]}}, "invalid port"),
        ("red", {"extra_hosts": ("db",)}, "bad format for add-host"),
        ("red", {"dns": ("nope",)}, "invalid DNS address"),
        ("container:x", {"publish_all_ports": True}, "port publishing and the container type network mode"),
        ("container:x", {"dns": ("1.1.1.1",)}, "conflicting options: dns and the network mode"),
        ("container:x", {"links": ("db:db",)}, "conflicting options: container type network can't be used with links"),
        ("container:x", {"extra_hosts": ("a:1.1.1.1",)}, "custom host-to-IP mapping and the network mode"),
        ("container:x", {"mac_address": "02:00:00:00:00:01"}, "conflicting options: mac-address and the network mode"),
    ],
)  # fmt: skip
def test_what_can_never_work_is_refused_at_once(mode: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(EngineError) as caught:
        check(tenant(mode, **settings), register())
    assert caught.value.kind is Kind.INVALID
    assert words in str(caught.value)


def test_what_fits_passes() -> None:
    check(tenant("red", endpoints={"red": at("10.0.0.9"), "bridge": EndpointSettings()}), register())
    check(tenant("missing"), register())


@pytest.mark.parametrize(
    ("mode", "record", "words"),
    [
        ("red", HOST, "connected to host network"),
        ("host", RED, "sharing network namespace"),
        ("container:x", RED, "sharing network namespace"),
        ("none", RED, "private (none) mode"),
        ("red", NONE, "private (none) mode"),
    ],
)
def test_what_cannot_be_joined(mode: str, record: NetworkRecord, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_joinable(tenant(mode), record)
    assert caught.value.kind is Kind.INVALID
    assert words in str(caught.value)
