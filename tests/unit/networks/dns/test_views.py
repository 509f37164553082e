from berth.networks.dns.model import NamedEndpoint, ServeConfig
from berth.networks.dns.views import Views


def up(views: Views, ident: str, network: str, last: int) -> None:
    views.up(NamedEndpoint(ident, f"id-{network}", network, (f"name-{ident}",), (f"10.0.0.{last}",)))


def test_a_container_sees_the_networks_it_is_on_and_no_other() -> None:
    views = Views()
    up(views, "a", "one", 1)
    up(views, "b", "one", 2)
    up(views, "c", "two", 3)
    assert views.view("a").find("name-b")[:2] == ((bytes([10, 0, 0, 2]),), ())
    assert views.view("a").find("name-c") is None
    up(views, "a", "two", 4)
    assert views.view("a").find("name-c") is not None
    assert views.view("c").find("name-a")[:2] == ((bytes([10, 0, 0, 4]),), ())
    views.down("a", "id-two")
    assert views.view("a").find("name-c") is None
    assert views.view("c").find("name-a") is None


def test_a_view_is_a_snapshot() -> None:
    views = Views()
    up(views, "a", "one", 1)
    before = views.view("a")
    views.forget("a")
    assert before.find("name-a") is not None
    assert views.view("a").find("name-a") is None


def test_forgetting_all_leaves_nothing() -> None:
    views = Views()
    views.configs["a"] = ServeConfig("a")
    for network in ("one", "two"):
        up(views, "a", network, 1)
        up(views, "b", network, 2)
    views.forget("a")
    views.forget("b")
    views.forget("b")
    views.down("b", "id-one")
    assert (views.configs, views._networks, views._on) == ({}, {}, {})
