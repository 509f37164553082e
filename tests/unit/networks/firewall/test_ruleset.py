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

WEB = Forward("tcp", "0.0.0.0", 8080, "172.18.0.2", 80)
LOCAL = Forward("udp", "127.0.0.1", 53, "172.18.0.2", 53)


def test_a_bridge_is_a_handful_of_elements() -> None:
    assert add_bridge("berth", BridgePolicy("br-1")) == (
        'add element inet berth bridges { "br-1" }\n'
        'add element inet berth within { "br-1" . "br-1" }\n'
        'add element inet berth closed { "br-1" }\n'
        'add element inet berth masquerading4 { "br-1" }\n'
        'add element inet berth masquerading6 { "br-1" }\n'
    )


def test_what_a_bridge_may_do_is_where_it_is_listed() -> None:
    inner = add_bridge("t", BridgePolicy("b", icc=False, internal=True, trusted=("eth9",), direct=True))
    assert inner == 'add element inet t bridges { "b" }\nadd element inet t internal { "b" }\n'
    four, six = FamilyPolicy(source="192.0.2.1", open=True), FamilyPolicy(routed=True)
    mixed = add_bridge("t", BridgePolicy("b", icc=False, ipv4=four, ipv6=six))
    assert mixed.splitlines()[2:] == [
        'add element inet t sources4 { "b" : 192.0.2.1 }',
        'add element inet t open4 { "b" }',
        'add element inet t routed6 { "b" }',
        'add element inet t direct6 { "b" }',
    ]
    plain = add_bridge("t", BridgePolicy("b", ipv4=FamilyPolicy(masquerade=False)))
    assert "masquerading4" not in plain
    assert "masquerading6" in plain


def test_direct_access_is_for_trusted_links_or_for_all() -> None:
    assert 'trusted { "eth9" . "b" }' in add_bridge("t", BridgePolicy("b", trusted=("eth9", "wg0")))
    everybody = add_bridge("t", BridgePolicy("b", direct=True))
    assert 'direct4 { "b" }' in everybody
    assert 'direct6 { "b" }' in everybody
    assert "routed" not in everybody


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
        "add element inet berth published4 { 172.18.0.2 . tcp . 80, 172.18.0.2 . udp . 53 }\n"
    )


def test_ipv6_has_sets_of_its_own_and_routed_ports_no_host_port() -> None:
    six = [Forward("tcp", "::", 8080, "fd00::2", 80), Forward("tcp", "2001:db8::1", 81, "fd00::2", 81)]
    assert publish("berth", [*six, Forward("udp", "0.0.0.0", 0, "172.18.0.2", 53)]) == (
        "add element inet berth itself6 { fd00::2 . fd00::2 }\n"
        "add element inet berth ports6_any { tcp . 8080 : fd00::2 . 80 }\n"
        "add element inet berth ports6_at { 2001:db8::1 . tcp . 81 : fd00::2 . 81 }\n"
        "add element inet berth published4 { 172.18.0.2 . udp . 53 }\n"
        "add element inet berth published6 { fd00::2 . tcp . 81, fd00::2 . tcp . 80 }\n"
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


def test_ports_in_a_row_that_keep_their_number_are_one_element() -> None:
    row = [Forward("tcp", "0.0.0.0", port, "172.18.0.2", port) for port in range(9000, 10_000)]
    assert "add element inet t spans_any { tcp . 9000-9999 : 172.18.0.2 }\n" in publish("t", row)
    assert "ports_any" not in publish("t", row)
    assert "tcp . 9000-9499 : 172.18.0.2, tcp . 9501-9999 : 172.18.0.2" in publish("t", row[:500] + row[501:])
    moved = [Forward("tcp", "0.0.0.0", 80 + at, "172.18.0.2", 90 + at) for at in range(2)]
    assert "ports_any { tcp . 80 : 172.18.0.2 . 90, tcp . 81 : 172.18.0.2 . 91 }" in publish("t", moved)


def test_rows_end_where_protocol_address_or_container_changes() -> None:
    row = [
        Forward("tcp", "0.0.0.0", 80, "172.18.0.2", 80),
        Forward("udp", "0.0.0.0", 81, "172.18.0.2", 81),
        Forward("tcp", "0.0.0.0", 82, "172.18.0.3", 82),
        Forward("tcp", "127.0.0.1", 81, "172.18.0.2", 81),
    ]
    assert "spans" not in publish("t", row)


def test_a_limited_port_names_who_is_welcome_without_overlaps() -> None:
    one = Forward("tcp", "0.0.0.0", 80, "172.18.0.2", 8080, ("10.0.0.0/8", "10.1.0.0/16", "fd00::/8"))
    text = publish("t", [one])
    assert "add element inet t limited { 172.18.0.2 . tcp . 8080 }\n" in text
    assert "add element inet t welcome { 172.18.0.2 . tcp . 8080 . 10.0.0.0/8 }\n" in text
    assert "fd00" not in text
    assert "delete element inet t welcome { 172.18.0.2 . tcp . 8080 . 10.0.0.0/8 }\n" in unpublish("t", [one])


def test_a_guarded_bridge_lists_what_it_may_reach() -> None:
    policy = BridgePolicy("b", guarded=True, allowed=("10.0.0.0/8 . tcp . 443", "fd00::/8 . 0-255 . 0-65535"))
    text = add_bridge("t", policy)
    assert 'guarded { "b" }' in text
    assert 'denied { "b" }' in text
    assert 'allowed4 { "b" . 10.0.0.0/8 . tcp . 443 }' in text
    assert 'allowed6 { "b" . fd00::/8 . 0-255 . 0-65535 }' in text
    assert "guarded" not in add_bridge("t", policy._replace(internal=True)), "nothing leaves it anyway"
