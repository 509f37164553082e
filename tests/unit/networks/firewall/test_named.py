"""Ways that names have opened, closed again."""

from berth.networks.firewall.named import closing

ROWS = [
    {"metainfo": {}},
    {"set": {"name": "named4", "elem": [
        {"elem": {"val": {"concat": ["br-a", "192.0.2.1", "tcp", 443]}, "timeout": 300}},
        {"elem": {"val": {"concat": ["br-b", "192.0.2.2", "tcp", 443]}, "timeout": 300}},
    ]}},
]  # fmt: skip


def test_only_those_of_the_link_go() -> None:
    key = '{ "br-a" . 192.0.2.1 . tcp . 443 }'
    assert closing("t", "named4", "br-a", ROWS) == (
        f"add element inet t named4 {key}\ndelete element inet t named4 {key}\n"
    )
    assert closing("t", "named4", "br-c", ROWS) == ""
    assert closing("t", "named4", "br-a", [{"set": {"name": "named4"}}]) == ""
