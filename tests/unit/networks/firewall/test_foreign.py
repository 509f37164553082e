from berth.networks.firewall.foreign import Chain, comment, droppers, has_user_chain, replace, unhelped, wanted

DOCKERS = Chain("ip", "filter", "FORWARD", "forward", "drop")
USERS = Chain("ip", "filter", "DOCKER-USER")
UFW = Chain("inet", "firewalld", "filter_FORWARD", "forward", "drop")


def test_only_forward_chains_that_drop_stand_in_the_way() -> None:
    harmless = [
        Chain("ip", "filter", "INPUT", "input", "drop"),
        Chain("ip", "filter", "FORWARD", "forward", "accept"),
        Chain("ip6", "filter", "FORWARD", "forward", "drop"),
        USERS,
    ]
    assert droppers([*harmless, DOCKERS, UFW]) == [DOCKERS, UFW]


def test_docker_leaves_a_place_for_others_and_some_do_not() -> None:
    assert has_user_chain([DOCKERS, USERS])
    assert not has_user_chain([DOCKERS])
    assert unhelped([DOCKERS, USERS]) == []
    assert unhelped([DOCKERS, USERS, UFW]) == [UFW]
    assert unhelped([DOCKERS]) == [DOCKERS]


def test_what_leaves_a_bridge_of_ours_may_not_enter_dockers() -> None:
    assert wanted(["br-1"]) == [
        'oifname "br-1" accept',
        'iifname "br-1" oifname "docker*" return',
        'iifname "br-1" oifname "br-*" return',
        'iifname "br-1" accept',
    ]


def test_inside_an_internal_bridge_its_own_containers_talk() -> None:
    assert wanted([], ["br-2"]) == ['iifname "br-2" oifname "br-2" accept']


def test_rules_end_up_on_top_in_order_and_are_marked() -> None:
    text = replace("berth", [7], ['oifname "br-1" accept', 'iifname "br-1" accept'])
    assert text == (
        "delete rule ip filter DOCKER-USER handle 7\n"
        'insert rule ip filter DOCKER-USER iifname "br-1" accept comment "berth: iifname br-1 accept"\n'
        'insert rule ip filter DOCKER-USER oifname "br-1" accept comment "berth: oifname br-1 accept"\n'
    )
    assert comment("berth", 'oifname "br-1" accept') == "berth: oifname br-1 accept"
