import pytest

from berth.base.errors import EngineError, Kind
from berth.networks.endpoint_options import parse_endpoint, parse_rate, parse_shape, parse_sysctls
from berth.networks.model import Shape

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"


def test_nothing_asked_is_nothing_set() -> None:
    options = parse_endpoint(None)
    assert (options.link, options.sysctls, options.no_default_route, options.shape) == ("", (), False, Shape())
    assert parse_endpoint({"some": "thing"}) == options, "unknown ones are ignored"


def test_sysctls() -> None:
    text = "net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.conf.ifname.accept_ra=2,net.mpls.conf.IFNAME.input=1"
    assert parse_sysctls(text) == (
        ("net/ipv4/conf/IFNAME/log_martians", "1"),
        ("net/ipv6/conf/IFNAME/accept_ra", "2"),
        ("net/mpls/conf/IFNAME/input", "1"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "net.core.somaxconn=1",
        "net.ipv4.conf.eth0.forwarding=1",
        "net.ipv4.ip_forward=1",
        "net.ipv4.conf.IFNAME.forwarding",
        "net.ipv4.conf.IFNAME.../../../../kernel/panic=1",
        "net.ipv4.conf/../x.IFNAME.y=1",
        "kernel.IFNAME.x.y=1",
        "net.ipv4.conf.IFNAME.a=1,,",
        "net.ipv4.conf.IFNAME.a=1=2",
    ],
)
def test_a_setting_that_is_none_of_a_links_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="unrecognised network interface sysctl") as caught:
        parse_sysctls(text)
    assert caught.value.kind is Kind.INVALID
    assert "net.X.Y.IFNAME.Z=V" in str(caught.value)


def test_all_wrong_settings_are_said_at_once() -> None:
    with pytest.raises(EngineError) as caught:
        parse_sysctls("a=1,net.ipv4.conf.IFNAME.ok=1,b=2")
    assert str(caught.value).count("unrecognised") == 2


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a b", "a:1", "eth%d", ".", "..", "lo", "all", "default"])
def test_a_name_no_link_can_have_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match=IFNAME):
        parse_endpoint({IFNAME: name})


def test_names_a_link_can_have() -> None:
    for name in ("eth0", "wan.7", "a" * 15, "lo0"):
        assert parse_endpoint({IFNAME: name}).link == name


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 0), ("8kbit", 1_000), ("10mbit", 1_250_000), ("10Mbit", 1_250_000), ("1.5gbit", 187_500_000),
        ("2mbps", 2_000_000), ("80000", 10_000), ("1tbit", 125_000_000_000),
    ],
)  # fmt: skip
def test_rates(text: str, rate: int) -> None:
    assert parse_rate("rate-in", text) == rate


@pytest.mark.parametrize("text", ["fast", "-1mbit", "1 mbit", "10mib", "1kbit", "9tbit", "1e9", "nan"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(EngineError, match="invalid value for rate-out"):
        parse_rate("rate-out", text)


def test_limits_together() -> None:
    wanted = {"rate-in": "8kbit", "rate-out": "16kbit", "delay": "1m", "loss": "0.5%"}
    assert parse_shape(wanted) == Shape(rate_in=1000, rate_out=2000, delay_us=60_000_000, loss_ppm=5_000)
    assert parse_shape({"delay": "50ms", "loss": "100"}) == Shape(delay_us=50_000, loss_ppm=1_000_000)


@pytest.mark.parametrize(
    ("key", "text"),
    [("delay", "61s"), ("delay", "-1ms"), ("delay", "50"), ("loss", "101%"), ("loss", "-1"), ("loss", "some"),
     ("loss", "nan"), ("no-default-route", "maybe"), ("no-default-route", "")],
)  # fmt: skip
def test_bad_values_name_their_option(key: str, text: str) -> None:
    with pytest.raises(EngineError, match=f"invalid value for {key}") as caught:
        parse_endpoint({key: text})
    assert caught.value.kind is Kind.INVALID
