import pytest

from berth.base.errors import EngineError, Kind
from berth.networks import configs
from berth.networks.creation import check_request, parse_pools, record_of
from berth.networks.model import NetworkRecord
from berth.wire.networks import IPAM, ConfigReference, IPAMConfig, NetworkCreate

FROM = ConfigReference("shared")


def config() -> NetworkRecord:
    ipam = IPAM("default", {"a": "b"}, [IPAMConfig("10.4.0.0/24", "10.4.0.128/25", "10.4.0.9", {"x": "10.4.0.2"})])
    want = NetworkCreate(
        name="shared", config_only=True, ipam=ipam, options={"o": "1"}, labels={"l": "2"}, enable_ipv6=True
    )
    check_request(want)
    return configs.held(record_of(want, "c" * 64, parse_pools(ipam.config or ()), 0))


@pytest.mark.parametrize(
    ("want", "words"),
    [
        (NetworkCreate(name="x", config_only=True, internal=True), "can only contain network specific fields"),
        (NetworkCreate(name="x", config_only=True, attachable=True), "can only contain network specific fields"),
        (NetworkCreate(name="x", config_only=True, ingress=True), "can only contain network specific fields"),
        (NetworkCreate(name="x", config_only=True, scope="local"), "can only contain network specific fields"),
        (NetworkCreate(name="x", config_only=True, config_from=FROM), "cannot depend on another configuration network"),
        (NetworkCreate(name="x", config_from=FROM, enable_ipv6=True), "user specified configurations"),
        (NetworkCreate(name="x", config_from=FROM, labels={"a": "b"}), "user specified configurations"),
        (NetworkCreate(name="x", config_from=FROM, options={"a": "b"}), "user specified configurations"),
        (NetworkCreate(name="x", config_from=FROM, ipam=IPAM(config=[IPAMConfig("10.0.0.0/8")])), "user specified"),
    ],
)
def test_what_does_not_go_together_is_forbidden(want: NetworkCreate, words: str) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        check_request(want)
    assert caught.value.kind is Kind.FORBIDDEN


def test_what_the_client_always_sends_is_no_setting_of_ones_own() -> None:
    check_request(NetworkCreate(name="x", config_from=FROM, driver="bridge", ipam=IPAM("default", {}, []), labels={}))
    check_request(NetworkCreate(name="x", config_from=FROM, internal=True, attachable=True))


def test_a_configuration_network_is_nothing_in_the_kernel() -> None:
    held = config()
    assert (held.driver, held.bridge, held.config_only) == ("null", "", True)
    assert [(pool.subnet, pool.gateway) for pool in held.pools] == [("10.4.0.0/24", "10.4.0.9")]


def test_its_settings_are_filled_in() -> None:
    want = configs.applied(NetworkCreate(name="x", config_from=FROM, internal=True), config())
    assert (want.options, want.labels, want.enable_ipv6, want.internal) == ({"o": "1"}, {"l": "2"}, True, True)
    made = record_of(want, "a" * 64, parse_pools(want.ipam.config or ()) if want.ipam else (), 0)
    assert (made.config_from, made.driver, made.ipam_options) == ("shared", "bridge", {"a": "b"})
    assert made.pools == config().pools


def test_where_they_come_from_must_be_there_and_hold_settings() -> None:
    want = NetworkCreate(name="x", config_from=FROM)
    with pytest.raises(EngineError, match='configuration network "shared" does not exist') as caught:
        configs.applied(want, None)
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(EngineError, match='configuration network "shared" does not exist; .* --config-only') as caught:
        configs.applied(want, NetworkRecord("r" * 64, "shared", "bridge"))
    assert caught.value.kind is Kind.NOT_FOUND
