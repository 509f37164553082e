from berth.networks.firewall.compare import Difference, differences, lines

TABLE = """table inet t {
	set closed {
		type ifname
		counter
		elements = { "br-1" counter packets 4 bytes 9,
			"br-2" counter packets 0 bytes 0 }
	}

	map ports {
		type inet_proto . inet_service : ipv4_addr
		elements = { tcp . 80 : 172.18.0.2 }
	}

	chain forward {
		type filter hook forward priority filter - 5; policy accept;
		ct state established,related goto pass
	}
}
"""


def test_a_table_is_its_elements_and_rules() -> None:
    assert ("set closed", '"br-2"') in lines(TABLE)
    assert ("map ports", "tcp . 80 : 172.18.0.2") in lines(TABLE)
    assert ("chain forward", "ct state established,related goto pass") in lines(TABLE)
    assert not any(text.startswith("elements") for _, text in lines(TABLE))


def test_counts_are_no_difference() -> None:
    assert differences(TABLE, TABLE.replace("packets 4 bytes 9", "packets 5 bytes 10")) == []


def test_what_is_missing_and_what_is_foreign() -> None:
    changed = TABLE.replace("tcp . 80", "tcp . 81").replace("goto pass", "accept")
    assert differences(TABLE, changed) == [
        Difference("missing", "map ports", "tcp . 80 : 172.18.0.2"),
        Difference("missing", "chain forward", "ct state established,related goto pass"),
        Difference("foreign", "map ports", "tcp . 81 : 172.18.0.2"),
        Difference("foreign", "chain forward", "ct state established,related accept"),
    ]
    assert len(differences(TABLE, "")) == len(lines(TABLE))
