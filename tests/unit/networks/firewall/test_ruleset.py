from berth.networks.firewall.ruleset import (
    BridgePolicy,
    Forward,
    add_bridge,
    gone,
    publish,
    remove_bridge,
    unpublish,
    whole,
)

WEB = Forward("tcp", "0.0.0.0", 8080, "172.18.0.2", 80)
LOCAL = Forward("udp", "127.0.0.1", 53, "172.18.0.2", 53)


def test_a_bridge_is_a_handful_of_elements() -> None:
    assert add_bridge("berth", BridgePolicy("br-1")) == (
        'add element inet berth bridges { "br-1" }\n'
        'add element inet berth within { "br-1" . "br-1" }\n'
        'add element inet berth masquerading { "br-1" }\n'
    )


def test_what_a_bridge_may_do_is_where_it_is_listed() -> None:
    inner = add_bridge("t", BridgePolicy("b", icc=False, internal=True))
    assert inner == 'add element inet t bridges { "b" }\nadd element inet t internal { "b" }\n'
    fixed = add_bridge("t", BridgePolicy("b", source="192.0.2.1", open=True))
    assert 'sources { "b" : 192.0.2.1 }' in fixed
    assert 'unprotected { "b" }' in fixed
    assert "masquerading" not in fixed
    assert "masquerading" not in add_bridge("t", BridgePolicy("b", masquerade=False))


def test_taking_out_can_be_repeated() -> None:
    policy = BridgePolicy("br-1")
    commands = remove_bridge("berth", policy)
    assert commands.startswith(add_bridge("berth", policy)), "an element that is not there cannot be deleted"
    assert commands.count("delete element") == commands.count("add element")


def test_ports_everywhere_and_at_one_address_are_kept_apart() -> None:
    assert publish("berth", [WEB, LOCAL]) == (
        "add element inet berth itself { 172.18.0.2 . 172.18.0.2 }\n"
        "add element inet berth ports_any { tcp . 8080 : 172.18.0.2 . 80 }\n"
        "add element inet berth ports_at { 127.0.0.1 . udp . 53 : 172.18.0.2 . 53 }\n"
    )


def test_no_ports_are_no_commands() -> None:
    assert publish("berth", []) == ""
    assert unpublish("berth", []) == ""


def test_unpublishing_names_the_same_elements() -> None:
    commands = unpublish("berth", [WEB, LOCAL])
    assert commands.startswith(publish("berth", [WEB, LOCAL]))
    assert "delete element inet berth ports_any { tcp . 8080 }\n" in commands
    assert "delete element inet berth ports_at { 127.0.0.1 . udp . 53 }\n" in commands


def test_the_whole_table_replaces_whatever_was_there() -> None:
    text = whole("berth", [BridgePolicy("br-1")], [WEB])
    assert text.startswith(gone("berth"))
    assert add_bridge("berth", BridgePolicy("br-1")) in text
    assert text.endswith(publish("berth", [WEB]))


def test_the_order_of_ports_does_not_matter() -> None:
    assert publish("berth", [WEB, LOCAL]) == publish("berth", [LOCAL, WEB])
