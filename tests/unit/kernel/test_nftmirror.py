from hypothesis import given
from hypothesis import strategies as st

from berth.kernel.nftmirror import Mirror
from berth.networks.firewall.ruleset import (
    BridgePolicy,
    FamilyPolicy,
    Forward,
    add_bridge,
    gone,
    publish,
    remove_bridge,
    unpublish,
    whole,
)

ONE, TWO = BridgePolicy("br-1"), BridgePolicy("br-2", ipv4=FamilyPolicy(source="192.0.2.1"))
WEB = Forward("tcp", "0.0.0.0", 80, "172.18.0.2", 8080, ("10.0.0.0/8",))


def after(*transactions: str) -> Mirror:
    mirror = Mirror()
    for commands in transactions:
        mirror.note(commands)
    return mirror


def test_a_table_written_whole_comes_out_the_same_however_it_came_about() -> None:
    at_once = after(whole("berth", [ONE, TWO], [WEB])).whole()
    by_steps = after(
        whole("berth", [], []), add_bridge("berth", TWO), publish("berth", [WEB]), add_bridge("berth", ONE)
    ).whole()
    assert at_once == by_steps
    assert after(at_once).whole() == at_once, "what it writes it can read"
    assert at_once.startswith(gone("berth"))


def test_what_was_taken_back_is_not_put_back() -> None:
    empty = after(whole("berth", [], [])).whole()
    mirror = after(whole("berth", [ONE], [WEB]), remove_bridge("berth", ONE), unpublish("berth", [WEB]))
    assert mirror.whole() == empty


def test_tables_of_others_are_not_kept() -> None:
    mirror = after('insert rule ip filter DOCKER-USER accept comment "berth"\n', "add element inet x y { 1 }\n")
    assert mirror.tables == {}


def test_a_table_that_is_gone_is_gone() -> None:
    assert after(whole("berth", [ONE], []), gone("berth")).whole() == ""


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=60))
def test_it_has_what_was_added_last(changes: list[tuple[bool, int]]) -> None:
    mirror, wanted = after(whole("t", [], [])), set()
    for is_added, port in changes:
        one = [Forward("udp", "0.0.0.0", port, "172.18.0.2", port + 1)]
        mirror.note(publish("t", one) if is_added else unpublish("t", one))
        (wanted.add if is_added else wanted.discard)(port)
    kept = mirror.tables["inet t"].elements.get("ports_any", {})
    assert kept == {f"udp . {port}": f"172.18.0.2 . {port + 1}" for port in wanted}
