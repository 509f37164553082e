import pytest

from berth.networks.firewall.foreign import Chain, comment, delete, insert, judge, jumps, last_word, places

OURS = "berth"
FORWARD = Chain("ip", "filter", "FORWARD", "forward", "drop", jumps=("DOCKER-USER",))
USERS = Chain("ip", "filter", "DOCKER-USER")
NATIVE = Chain("inet", "filter", "forward", "forward", "drop")


def test_only_forward_chains_of_others_that_drop_stand_in_the_way() -> None:
    harmless = [
        Chain("ip", "filter", "INPUT", "input", "drop"),
        Chain("ip", "filter", "FORWARD", "forward", "accept"),
        Chain("bridge", "filter", "forward", "forward", "drop"),
        Chain("inet", OURS, "forward", "forward", "drop"),
        USERS,
    ]
    assert judge(harmless, OURS) == []
    assert [one.chain for one in judge([*harmless, FORWARD, NATIVE], OURS)] == [FORWARD, NATIVE]


def test_a_last_rule_that_refuses_all_is_as_good_as_a_policy() -> None:
    ending = Chain("inet", "t", "forward", "forward", "accept", "reject")
    [found] = judge([ending], OURS)
    assert found.chain.drops == "reject"
    assert FORWARD.drops == "policy drop"


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ([], ""),
        ([{"expr": [{"drop": None}]}], "drop"),
        ([{"expr": [{"counter": {}}, {"log": {}}, {"reject": {}}]}], "reject"),
        ([{"expr": [{"drop": None}]}, {"expr": [{"accept": None}]}], ""),
        ([{"expr": [{"match": {}}, {"drop": None}]}], ""),
        ([{"expr": [{"limit": {}}, {"drop": None}]}], ""),
    ],
)
def test_the_last_word_is_that_of_a_rule_for_every_packet(rules: list[dict[str, object]], word: str) -> None:
    assert last_word(rules) == word


def test_jumps_are_read_from_rules() -> None:
    assert jumps([{"expr": [{"counter": {}}, {"jump": {"target": "a"}}]}, {"expr": [{"jump": {"target": "b"}}]}]) == (
        "a",
        "b",
    )


def test_the_place_is_the_tools_own_if_it_is_passed() -> None:
    assert judge([FORWARD, USERS], OURS)[0].place == USERS
    lone = FORWARD._replace(jumps=())
    assert judge([lone, USERS], OURS)[0].place == lone, "a chain that nothing jumps to is no way through"
    ufw = Chain("ip6", "filter", "FORWARD", "forward", "drop", jumps=("ufw6-before-forward",))
    users = Chain("ip6", "filter", "ufw6-user-forward")
    assert judge([ufw, users], OURS)[0].place == users


def test_without_a_place_there_is_a_command() -> None:
    [native] = judge([NATIVE], OURS)
    assert native.place is None
    assert native.command == (
        "nft 'insert rule inet filter forward meta mark & 0x2000000 == 0x2000000 accept comment \"berth\"'"
    )
    zones = Chain("inet", "firewalld", "filter_FORWARD", "forward", "accept", "reject")
    [found] = judge([zones], OURS, ["br-2", "br-1"])
    assert "--zone=trusted --add-interface=br-1 --add-interface=br-2" in found.command


def test_our_rule_goes_on_top_and_is_marked() -> None:
    assert insert(USERS, "berth") == (
        "insert rule ip filter DOCKER-USER meta mark & 0x2000000 == 0x2000000 accept "
        'comment "berth: accepted by its own table"\n'
    )
    assert comment("berth1a2b").startswith("berth1a2b:")
    assert delete(USERS, 7) == "delete rule ip filter DOCKER-USER handle 7\n"
    assert places([FORWARD, USERS, NATIVE]) == [FORWARD, USERS]
