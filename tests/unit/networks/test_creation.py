import pytest

from berth.base.errors import EngineError, Kind
from berth.networks.creation import check_request, families, parse_pools, record_of, with_gateway
from berth.networks.model import Pool
from berth.networks.options import BridgeOptions, parse_bridge
from berth.wire.networks import IPAMConfig, NetworkCreate

Q = "com.docker.network."


@pytest.mark.parametrize(
    ("want", "kind", "words"),
    [
        (NetworkCreate(name=""), Kind.INVALID, "name is empty"),
        (NetworkCreate(name="  "), Kind.INVALID, "name is empty"),
        (NetworkCreate(name=None), Kind.INVALID, "name is empty"),
        (NetworkCreate(name="a/b"), Kind.INVALID, "invalid name"),
        (NetworkCreate(name="a\nb"), Kind.INVALID, "invalid name"),
        (NetworkCreate(name="bridge"), Kind.FORBIDDEN, "operation is not permitted on predefined bridge network"),
        (NetworkCreate(name="none"), Kind.FORBIDDEN, "operation is not permitted on predefined none network"),
        (NetworkCreate(name="x", driver="overlay"), Kind.FORBIDDEN, "This node is not a swarm manager."),
        (NetworkCreate(name="x", scope="swarm"), Kind.FORBIDDEN, "This node is not a swarm manager."),
        (NetworkCreate(name="x", driver="host"), Kind.FORBIDDEN, 'only one instance of "host" network is allowed'),
        (NetworkCreate(name="x", driver="null"), Kind.FORBIDDEN, 'only one instance of "null" network is allowed'),
        (NetworkCreate(name="x", enable_ipv4=False), Kind.INVALID, "IPv4 or IPv6 must be enabled"),
        (
            NetworkCreate(name="x", options={Q + "bridge.enable_icc": "foo"}),
            Kind.INVALID,
            "failed to parse com.docker.network.bridge.enable_icc value: foo (strconv.ParseBool: parsing",
        ),
        (
            NetworkCreate(name="x", options={Q + "advertise_addr_nmsgs": "4"}),
            Kind.INVALID,
            "com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3",
        ),
        (
            NetworkCreate(name="x", driver="macvlan", options={Q + "advertise_addr_nmsgs": "nonsense"}),
            Kind.INVALID,
            'value for option com.docker.network.advertise_addr_nmsgs "nonsense" must be an integer',
        ),
        (
            NetworkCreate(name="x", options={Q + "advertise_addr_ms": "2001"}),
            Kind.INVALID,
            "com.docker.network.advertise_addr_ms must be in the range 100 to 2000",
        ),
        (
            NetworkCreate(name="x", options={Q + "advertise_addr_ms": "nonsense"}),
            Kind.INVALID,
            'value for option com.docker.network.advertise_addr_ms "nonsense" must be integer milliseconds',
        ),
        (NetworkCreate(name="x", options={Q + "driver.mtu": "-1"}), Kind.INVALID, "invalid MTU number: -1"),
        (
            NetworkCreate(name="x", enable_ipv6=True, options={Q + "driver.mtu": "1279"}),
            Kind.INVALID,
            "invalid MTU number: 1279: a link with IPv6 carries at least 1280 bytes",
        ),
        (
            NetworkCreate(name="x", options={Q + "driver.mtu": "xx"}),
            Kind.INVALID,
            'failed to parse com.docker.network.driver.mtu value: xx (strconv.Atoi: parsing "xx": invalid syntax)',
        ),
        (NetworkCreate(name="x", options={Q + "bridge.name": "br%d"}), Kind.INVALID, "invalid bridge name 'br%d'"),
        (NetworkCreate(name="x", options={Q + "bridge.name": "br:1"}), Kind.INVALID, "invalid bridge name"),
        (NetworkCreate(name="x", options={Q + "bridge.name": "bridge-müller--"}), Kind.INVALID, "1 to 15 bytes"),
        (NetworkCreate(name="x", options={Q + "container_iface_prefix": "e%d"}), Kind.INVALID, "e%d"),
        (
            NetworkCreate(name="x", options={Q + "bridge.trusted_host_interfaces": 'a:b"'}),
            Kind.INVALID,
            "no link's name",
        ),
        (NetworkCreate(name="x", options={Q + "bridge.name": "sixteen-letters-"}), Kind.INVALID, "invalid bridge name"),
        (
            NetworkCreate(name="x", options={Q + "bridge.gateway_mode_ipv4": "odd"}),
            Kind.INVALID,
            "unknown gateway mode odd",
        ),
        (
            NetworkCreate(name="x", options={Q + "bridge.gateway_mode_ipv6": "isolated"}),
            Kind.SYSTEM,
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (
            NetworkCreate(name="x", options={Q + "bridge.gateway_mode_ipv6": ""}),
            Kind.INVALID,
            "failed to parse com.docker.network.bridge.gateway_mode_ipv6 value:  (unknown gateway mode )",
        ),
        (
            NetworkCreate(name="x", options={Q + "enable_ipv4": "false"}),
            Kind.INVALID,
            "IPv4 or IPv6 must be enabled",
        ),
        (
            NetworkCreate(name="x", options={Q + "enable_ipv6": "perhaps"}),
            Kind.INVALID,
            "failed to parse com.docker.network.enable_ipv6 value: perhaps",
        ),
        (
            NetworkCreate(name="x", options={Q + "host_ipv6": "192.0.2.1"}),
            Kind.INVALID,
            "failed to parse com.docker.network.host_ipv6 value: 192.0.2.1",
        ),
        (NetworkCreate(name="x", options={Q + "bridge.host_binding_ipv4": "nope"}), Kind.INVALID, "failed to parse"),
    ],
)
def test_what_is_refused_and_how(want: NetworkCreate, kind: Kind, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        check_request(want)
    assert caught.value.kind is kind
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "options", "versions"),
    [
        ({}, {}, {4}),
        ({"enable_ipv6": True}, {}, {4, 6}),
        ({"enable_ipv4": False, "enable_ipv6": True}, {}, {6}),
        ({}, {Q + "enable_ipv6": "true"}, {4, 6}),
        ({}, {Q + "enable_ipv4": "0", Q + "enable_ipv6": "1"}, {6}),
        ({"enable_ipv6": False}, {Q + "enable_ipv6": "true"}, {4}),
        ({"enable_ipv4": True}, {Q + "enable_ipv4": "false"}, {4}),
    ],
)
def test_families_follow_from_flags_before_options(
    flags: dict[str, bool], options: dict[str, str], versions: set[int]
) -> None:
    want = NetworkCreate(name="x", options=options, **flags)  # type: ignore[arg-type]
    assert families(want, parse_bridge(options)) == versions
    record = record_of(want, "a" * 64, (), 0)
    assert (record.enable_ipv4, record.enable_ipv6) == (4 in versions, 6 in versions)


@pytest.mark.parametrize(
    ("subnet", "words"),
    [
        ("127.0.0.0/8", "loopback subnet '127.0.0.0/8' is not allowed"),
        ("127.5.0.0/16", "loopback"),
        ("224.1.0.0/16", "multicast"),
        ("128.0.0.0/1", "multicast"),
        ("240.0.0.0/24", "reserved"),
        ("0.5.0.0/16", "reserved"),
        ("0.0.0.0/0", "ipv4 pool is empty"),
        ("::/0", "ipv6 pool is empty"),
        ("ff02::/64", "multicast subnet 'ff02::/64' is not allowed"),
        ("::ffff:10.0.0.0/120", "reserved"),
        ("fe80::/80", "'fe80::/80' clashes with the Link-Local prefix 'fe80::/64'"),
        ("fe80::/10", "clashes"),
        ("10.0.0.0/32", "too small"),
    ],
)
def test_subnets_that_make_no_sense(subnet: str, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse_pools([IPAMConfig(subnet=subnet)])
    assert caught.value.kind is Kind.INVALID
    assert words in str(caught.value)


@pytest.mark.parametrize("subnet", ["fe80::/64", "169.254.7.0/24", "0.0.0.0/24", "::/80", "100.64.0.0/10"])
def test_subnets_that_look_odd_and_are_allowed(subnet: str) -> None:
    assert parse_pools([IPAMConfig(subnet=subnet)])[0].subnet == subnet


def test_a_gateway_is_nobody_elses_address() -> None:
    with pytest.raises(EngineError, match="Address already in use") as caught:
        parse_pools([IPAMConfig(subnet="10.0.0.0/24", gateway="10.0.0.1", auxiliary={"router": "10.0.0.1"})])
    assert caught.value.kind is Kind.SYSTEM
    pool = Pool("10.0.0.0/24", auxiliary=(("DefaultGatewayIPv4", "10.0.0.9"),))
    with pytest.raises(EngineError, match="no gateway can be set") as caught:
        with_gateway(pool, BridgeOptions(), internal=True)
    assert caught.value.kind is Kind.INVALID


def test_unknown_options_are_kept_and_ignored() -> None:
    check_request(NetworkCreate(name="x", options={"foo": "bar"}))


def test_every_problem_of_a_configuration_is_said_at_once() -> None:
    configs = [
        IPAMConfig(subnet="10.1.2.3/24"),
        IPAMConfig(subnet="10.1.2.0/24", ip_range="10.9.0.0/24", gateway="10.9.0.1", auxiliary={"a": "10.9.0.2"}),
        IPAMConfig(subnet="10.1.2.0/24", ip_range="10.1.0.0/16"),
        IPAMConfig(subnet="nonsense"),
        IPAMConfig(gateway="10.0.0.1"),
    ]
    with pytest.raises(EngineError) as caught:
        parse_pools(configs)
    said = str(caught.value)
    assert caught.value.kind is Kind.INVALID
    assert said.startswith("invalid network config:\n")
    for words in (
        "invalid subnet 10.1.2.3/24: it should be 10.1.2.0/24",
        "invalid ip-range 10.9.0.0/24",
        "invalid gateway 10.9.0.1: parent subnet 10.1.2.0/24 doesn't contain this address",
        "invalid auxiliary address a 10.9.0.2",
        "invalid ip-range 10.1.0.0/16",
        "invalid subnet nonsense: invalid CIDR block notation",
        "needs a subnet",
    ):
        assert words in said


def test_one_subnet_of_a_family() -> None:
    with pytest.raises(EngineError, match="bridge driver doesn't support multiple subnets") as caught:
        parse_pools([IPAMConfig(subnet="10.1.2.0/24"), IPAMConfig(subnet="10.1.3.0/24")])
    assert caught.value.kind is Kind.FORBIDDEN
    assert len(parse_pools([IPAMConfig(subnet="10.1.2.0/24"), IPAMConfig(subnet="fd00:1::/64")])) == 2


def test_a_record_names_its_bridge_as_docker_does() -> None:
    want = NetworkCreate(name="x", labels={"a": "b"}, internal=True)
    record = record_of(
        want, "abcdef0123456789" * 4, [with_gateway(Pool("10.0.0.0/24"), BridgeOptions(), internal=True)], 7
    )
    assert record.bridge == "br-abcdef012345"
    assert record.pools[0].gateway == "10.0.0.1"
    assert (record.internal, record.labels, record.created_ns) == (True, {"a": "b"}, 7)
