from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.dns.model import NamedEndpoint
from berth.networks.dns.table import Found, NetworkNames, View, reverse_address


def endpoint(
    ident: str, *names: str, network: str = "net", v4: tuple[str, ...] = ("10.0.0.2",), **more: object
) -> NamedEndpoint:
    return NamedEndpoint(ident, f"id-{network}", network, names, v4, **more)  # type: ignore[arg-type]


def table(*endpoints: NamedEndpoint) -> NetworkNames:
    made = NetworkNames(endpoints[0].network_id, endpoints[0].network_name)
    for one in endpoints:
        made = made.with_endpoint(one)
    return made


def v4(*texts: str) -> tuple[bytes, ...]:
    return tuple(ip_address(text).packed for text in texts)


def at(found: Found | None) -> Found | None:
    """Only the addresses of what was found."""
    return found and Found(found.v4, found.v6)


def test_every_name_of_a_container_leads_to_it() -> None:
    view = View("x", (table(endpoint("c1", "web", "0123456789ab", "Alias", "host")),))
    for name in ("web", "0123456789ab", "alias", "host", "web.net", "alias.net"):
        assert at(view.find(name)) == Found(v4("10.0.0.2"), ())
    assert view.find("other") is None
    assert view.find("web.other") is None
    assert view.find("") is None


def test_a_name_with_dots_is_first_a_name_then_a_name_on_a_network() -> None:
    one = table(
        endpoint("c1", "a.b", v4=("10.0.0.1",), network="c"), endpoint("c2", "a", v4=("10.0.0.2",), network="c")
    )
    other = table(endpoint("c3", "a", v4=("10.0.0.3",), network="b.c"))
    assert at(View("x", (one, other)).find("a.b.c")) == Found(v4("10.0.0.1"), ())
    assert at(View("x", (other,)).find("a.b.c")) == Found(v4("10.0.0.3"), ())
    whole = table(endpoint("c4", "a.b.c", v4=("10.0.0.4",)))
    assert at(View("x", (one, whole)).find("a.b.c")) == Found(v4("10.0.0.4"), ())


def test_several_holders_are_all_found() -> None:
    names = table(
        endpoint("c1", "web", v4=("10.0.0.1",)), endpoint("c2", "WEB", v4=("10.0.0.2",), addresses6=("fd00::2",))
    )
    assert at(names.find("web")) == Found(v4("10.0.0.1", "10.0.0.2"), v4("fd00::2"))
    assert at(names.without("c1").find("web")) == Found(v4("10.0.0.2"), v4("fd00::2"))


def test_the_first_network_with_addresses_wins() -> None:
    empty = table(endpoint("c1", "web", v4=(), network="one"))
    full = table(endpoint("c2", "web", v4=("10.0.0.2",), network="two"))
    assert at(View("x", (empty, full)).find("web")) == Found(v4("10.0.0.2"), ())
    assert at(View("x", (empty,)).find("web")) == Found((), ())


def test_a_link_is_seen_by_its_owner_only_and_goes_first() -> None:
    names = table(
        endpoint("me", "me", v4=("10.0.0.1",), links=(("DB", "real"), ("web", "real"))),
        endpoint("c2", "real", v4=("10.0.0.2",)),
        endpoint("c3", "web", v4=("10.0.0.3",)),
    )
    assert at(View("me", (names,)).find("db")) == Found(v4("10.0.0.2"), ())
    assert at(View("me", (names,)).find("web")) == Found(v4("10.0.0.2"), ())
    assert View("c3", (names,)).find("db") is None
    assert at(View("c3", (names,)).find("web")) == Found(v4("10.0.0.3"), ())


def test_reverse_gives_the_first_name_and_the_network() -> None:
    names = table(endpoint("c1", "web", "alias", addresses6=("fd00::5",)))
    view = View("x", (names,))
    assert view.name_at(v4("10.0.0.2")[0]) == "web.net"
    assert view.name_at(v4("fd00::5")[0]) == "web.net"
    assert view.name_at(v4("10.0.0.9")[0]) is None


def test_a_rename_leaves_nothing_of_the_old_name() -> None:
    names = table(endpoint("c1", "old", "alias"), endpoint("c1", "new", "alias", v4=("10.0.0.7",)))
    assert names.find("old") is None
    assert at(names.find("new")) == at(names.find("alias")) == Found(v4("10.0.0.7"), ())
    assert names.name_at(v4("10.0.0.2")[0]) is None


idents = st.sampled_from(["c1", "c2", "c3"])
some_names = st.lists(st.sampled_from(["a", "B", "b", "c.d", ""]), max_size=4).map(tuple)
addresses = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), max_size=2).map(tuple)


@given(st.lists(st.tuples(idents, some_names, addresses), max_size=8), st.permutations(["c1", "c2", "c3"]))
def test_taking_all_out_leaves_an_empty_table(
    changes: list[tuple[str, tuple[str, ...], tuple[str, ...]]], order: list[str]
) -> None:
    names = NetworkNames("n", "net")
    wanted: dict[str, NamedEndpoint] = {}
    for ident, given_names, held in changes:
        before = names
        copy = dict(before.by_name)
        wanted[ident] = NamedEndpoint(ident, "n", "net", given_names, held)
        names = names.with_endpoint(wanted[ident])
        assert dict(before.by_name) == copy, "a table never changes"
    for name in ("a", "b", "c.d"):
        holders = {ident for ident, one in wanted.items() if name in [n.lower() for n in one.names]}
        assert set(names.by_name.get(name, ())) == holders
    for ident in order:
        names = names.without(ident)
    assert (names.holders, names.by_name) == ({}, {})


@pytest.mark.parametrize("text", ["10.0.0.2", "255.1.0.9", "fd00::1", "2001:db8:1:2:3:4:5:6"])
def test_reverse_names_are_read(text: str) -> None:
    address = ip_address(text)
    assert reverse_address(address.reverse_pointer) == address.packed


@pytest.mark.parametrize(
    "name",
    [
        "in-addr.arpa",
        "1.2.3.in-addr.arpa",
        "256.1.1.1.in-addr.arpa",
        "x.1.1.1.in-addr.arpa",
        "1.ip6.arpa",
        "web",
        "²3.1.1.1.in-addr.arpa",
    ],
)
def test_other_names_are_no_addresses(name: str) -> None:
    assert reverse_address(name) is None


def test_wildcards_hold_below_them_and_the_longest_wins() -> None:
    names = table(
        endpoint("c1", "web", "*.app.test", v4=("10.0.0.1",)),
        endpoint("c2", "api", "*.v2.app.test", "exact.app.test", v4=("10.0.0.2",)),
    )
    view = View("x", (names,))
    for name, last in (("a.app.test", 1), ("a.b.app.test", 1), ("a.v2.app.test", 2), ("exact.app.test", 2)):
        assert at(view.find(name)) == Found(v4(f"10.0.0.{last}"), ()), name
    assert view.find("app.test") is None
    assert view.find("a.app.test.elsewhere") is None
    found = view.find("a.v2.app.test")
    assert found is not None
    assert found[2:] == ("net", "*.v2.app.test", "wildcard", ("api",))
    less = View("x", (names.without("c2"),))
    assert at(less.find("a.v2.app.test")) == Found(v4("10.0.0.1"), ())
    assert View("x", (names.without("c2").without("c1"),)).find("a.app.test") is None


def test_an_exact_name_on_any_network_beats_a_wildcard() -> None:
    wild = table(endpoint("c1", "web", "*.test", v4=("10.0.0.1",), network="one"))
    exact = table(endpoint("c2", "api", "a.test", v4=("10.0.0.2",), network="two"))
    assert at(View("x", (wild, exact)).find("a.test")) == Found(v4("10.0.0.2"), ())
    assert at(View("x", (wild, exact)).find("b.test")) == Found(v4("10.0.0.1"), ())


def test_a_find_says_how() -> None:
    names = table(
        endpoint("c1", "Web", "www", v4=("10.0.0.1",)), endpoint("me", "me", v4=(), links=(("database", "web"),))
    )
    view = View("me", (names,))
    said = {name: found[3:5] for name in ("web", "www", "database") if (found := view.find(name))}
    assert said == {"web": ("web", "name"), "www": ("www", "alias"), "database": ("web", "link")}
