import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.dns.model import Upstream
from berth.networks.hosts_files import (
    ResolvConf,
    asked,
    extra_hosts,
    for_default_bridge,
    for_user_network,
    parse_extra_host,
    parse_resolv_conf,
    render_hosts,
    render_resolv_conf,
    upstreams,
)

HOST = """# made by something
nameserver 127.0.0.53
nameserver 192.0.2.53
search old.test
search lan.test corp.test
options edns0
"""


def test_a_resolv_conf_is_read() -> None:
    assert parse_resolv_conf(HOST) == ResolvConf(("127.0.0.53", "192.0.2.53"), ("lan.test", "corp.test"), ("edns0",))


words = st.text("abcdefghijklmnop.-0123456789", min_size=1, max_size=8)


@given(st.lists(words, max_size=3), st.lists(words, max_size=3), st.lists(words, max_size=3))
def test_printing_and_reading_agree(servers: list[str], search: list[str], options: list[str]) -> None:
    conf = ResolvConf(tuple(servers), tuple(search), tuple(options))
    assert parse_resolv_conf(render_resolv_conf(conf)) == conf


@given(st.text())
def test_junk_is_survived(text: str) -> None:
    parse_resolv_conf(text)


def test_the_default_bridge_gets_the_hosts_servers_without_loopback() -> None:
    assert for_default_bridge(parse_resolv_conf(HOST), ipv6=False).servers == ("192.0.2.53",)
    assert for_default_bridge(ResolvConf(("127.0.0.1", "::1")), ipv6=True).servers == ("8.8.8.8", "8.8.4.4")


def test_the_default_bridge_gets_servers_of_ipv6_only_with_ipv6() -> None:
    router = ResolvConf(("fe80::1%eth0", "2001:db8::53", "192.0.2.53"))
    assert for_default_bridge(router, ipv6=False).servers == ("192.0.2.53",)
    assert for_default_bridge(router, ipv6=True).servers == ("2001:db8::53", "192.0.2.53")
    assert for_default_bridge(ResolvConf(("2001:db8::53",)), ipv6=False).servers == ("8.8.8.8", "8.8.4.4")


def test_a_user_network_gets_ours() -> None:
    assert render_resolv_conf(for_user_network(parse_resolv_conf(HOST))) == (
        "nameserver 127.0.0.11\nsearch lan.test corp.test\noptions edns0 ndots:0\n"
    )
    assert for_user_network(ResolvConf(options=("ndots:2",))).options == ("ndots:2",)


def test_flags_replace_the_hosts_settings() -> None:
    host = parse_resolv_conf(HOST)
    assert asked(host, ("9.9.9.9",), (), ()).servers == ("9.9.9.9",)
    assert asked(host, (), ("other.test",), ()).search == ("other.test",)
    assert asked(host, (), (".",), ()).search == ()
    assert asked(host, (), (), ("ndots:3",)).options == ("ndots:3",)


def test_loopback_servers_are_asked_from_the_host_unless_named_for_the_container() -> None:
    conf = ResolvConf(("127.0.0.53", "192.0.2.53"))
    there, outside = Upstream("127.0.0.53", from_host=True), Upstream("192.0.2.53")
    assert upstreams(conf, explicit=False, ipv6=True) == (there, outside)
    assert upstreams(conf, explicit=True, ipv6=True)[0] == Upstream("127.0.0.53")


def test_servers_of_ipv6_are_asked_from_the_host_for_who_has_none() -> None:
    conf = ResolvConf(("fe80::1%eth0", "2001:db8::53", "192.0.2.53"))
    asked = [one.from_host for one in upstreams(conf, explicit=False, ipv6=False)]
    assert asked == [True, True, False]
    asked = [one.from_host for one in upstreams(conf, explicit=False, ipv6=True)]
    assert asked == [True, False, False], "an address of a link is of one of the host's"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db:10.0.0.1", ("db", "10.0.0.1")),
        ("db=10.0.0.1", ("db", "10.0.0.1")),
        ("db:fd00::1", ("db", "fd00::1")),
        ("db=[fd00::1]", ("db", "fd00::1")),
        ("host.docker.internal:host-gateway", ("host.docker.internal", "host-gateway")),
    ],
)
def test_extra_hosts_are_read(text: str, expected: tuple[str, str]) -> None:
    assert parse_extra_host(text) == expected


@pytest.mark.parametrize("text", ["db", ":10.0.0.1", "db:", "db:elsewhere"])
def test_bad_extra_hosts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="add-host"):
        parse_extra_host(text)


def test_servers_that_were_given_are_meant_as_the_container_sees_them() -> None:
    given = ResolvConf(("127.0.0.1", "192.0.2.53"))
    assert for_default_bridge(given, ipv6=False, explicit=True) == given
    assert for_default_bridge(given, ipv6=False).servers == ("192.0.2.53",)


def test_a_hosts_file() -> None:
    extra = extra_hosts(["gate:host-gateway", "db:10.0.0.1"], ["172.17.0.1", "fd00::1"])
    text = render_hosts(extra, ["172.18.0.2"], "web", "test")
    assert text.endswith("172.17.0.1\tgate\nfd00::1\tgate\n10.0.0.1\tdb\n172.18.0.2\tweb.test web\n")
    assert text.startswith("127.0.0.1\tlocalhost\n")
    assert render_hosts((), ["10.0.0.2"], "web.test", "").endswith("10.0.0.2\tweb.test web\n")
