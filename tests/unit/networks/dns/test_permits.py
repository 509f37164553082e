import dns.message
import dns.rrset
import pytest

from berth.networks.dns import reply
from berth.networks.dns.model import Permit
from berth.networks.dns.permits import elements, matching

ALL = Permit("db.example", "berth", "br-1")
WEB = Permit("*.github.com", "berth", "br-1", "tcp", 443)


def told(*records: str) -> reply.Reply:
    answer = dns.message.make_response(dns.message.make_query("api.github.com.", "A"))
    answer.answer = [dns.rrset.from_text(*record.split(maxsplit=4)) for record in records]
    return reply.parse(answer.to_wire())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("db.example", [ALL]),
        ("DB.example.", [ALL]),
        ("x.db.example", []),
        ("api.github.com", [WEB]),
        ("a.b.GitHub.com", [WEB]),
        ("github.com", []),
        ("evilgithub.com", []),
        ("github.com.evil", []),
    ],
)
def test_a_pattern_is_a_name_or_what_is_below_it(name: str, found: list[Permit]) -> None:
    assert matching([ALL, WEB], name) == found


def test_an_answers_addresses_get_a_way_for_as_long_as_it_lives_and_a_little_more() -> None:
    answer = told(
        "api.github.com. 30 IN CNAME lb.github.com.",
        "lb.github.com. 900 IN A 192.0.2.1",
        "lb.github.com. 30 IN A 192.0.2.2",
    )
    key = '"br-1" . 192.0.2.1 . tcp . 443'
    other = '"br-1" . 192.0.2.2 . tcp . 443'
    assert elements([WEB], answer) == (
        f"add element inet berth named4 {{ {key}, {other} }}\n"
        f"delete element inet berth named4 {{ {key}, {other} }}\n"
        f"add element inet berth named4 {{ {key} timeout 900s, {other} timeout 300s }}\n"
    )


def test_without_a_port_everything_may_be_used() -> None:
    assert '{ "br-1" . 2001:db8::1 timeout 300s }' in elements([ALL], told("db.example. 1 IN AAAA 2001:db8::1"))
    assert "named_any6" in elements([ALL], told("db.example. 1 IN AAAA 2001:db8::1"))
    assert elements([ALL], told("db.example. 1 IN TXT x")) == ""
