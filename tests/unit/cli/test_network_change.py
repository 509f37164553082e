"""What `network update` asks for: only what was said."""

from berth.cli.commands.network_change import UPDATE, body_of
from berth.cli.flags import parse


def body(*arguments: str) -> dict[str, object]:
    return body_of(parse([*arguments, "net"], UPDATE.flags))


def test_only_what_was_said() -> None:
    assert body() == {}
    assert body("--internal") == {"Internal": True}
    assert body("--internal=false", "--icc=false", "--mtu", "0") == {"Internal": False, "ICC": False, "MTU": 0}
    assert body("--dns", "192.0.2.1,192.0.2.2") == {"DNS": ["192.0.2.1", "192.0.2.2"]}
    assert body("--dns=") == {"DNS": []}
    assert body("--label-add", "a=1", "--label-rm", "b") == {"LabelsAdd": {"a": "1"}, "LabelsRemove": ["b"]}
    assert body("--subnet", "10.2.0.0/24", "--gateway", "10.2.0.9") == {"Subnet": "10.2.0.0/24", "Gateway": "10.2.0.9"}
    assert body("--egress", "deny", "--allow", "192.0.2.1,192.0.2.2:53/udp") == {
        "Egress": "deny", "Allow": ["192.0.2.1", "192.0.2.2:53/udp"],
    }  # fmt: skip
    assert body("--subnet-add", "fd00::/64") == {"SubnetsAdd": ["fd00::/64"]}
