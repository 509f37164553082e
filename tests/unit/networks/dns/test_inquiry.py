import pytest

from berth.networks.dns.inquiry import candidates, reverse_name
from berth.networks.hosts_files import ResolvConf


@pytest.mark.parametrize(
    ("name", "options", "tried"),
    [
        ("db", (), ["db.a.test", "db.b.test", "db"]),
        ("db.net", (), ["db.net", "db.net.a.test", "db.net.b.test"]),
        ("db", ("ndots:0",), ["db", "db.a.test", "db.b.test"]),
        ("db.net", ("edns0", "ndots:2"), ["db.net.a.test", "db.net.b.test", "db.net"]),
        ("db.", (), ["db"]),
        ("db", ("ndots:x",), ["db.a.test", "db.b.test", "db"]),
    ],
)
def test_names_are_tried_in_the_order_of_resolver_libraries(
    name: str, options: tuple[str, ...], tried: list[str]
) -> None:
    assert candidates(name, ResolvConf((), ("a.test", "b.test."), options)) == tried


def test_without_search_domains_there_is_one_name() -> None:
    assert candidates("db", ResolvConf()) == ["db"]
    assert candidates("db", ResolvConf(search=(".",))) == ["db"]


def test_an_address_turned_round() -> None:
    assert reverse_name("192.0.2.7") == "7.2.0.192.in-addr.arpa"
    assert reverse_name("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")
