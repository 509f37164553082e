import pytest

from berth.networks.ports.errors import BadPort
from berth.networks.ports.sources import parse


def test_labels_say_who_may_use_a_port() -> None:
    labels = {"berth.publish.from.80": "10.0.0.0/8, 192.0.2.7", "berth.publish.from.53/udp": "fd00::/8", "other": "x"}
    assert parse(labels) == {"80/tcp": ("10.0.0.0/8", "192.0.2.7/32"), "53/udp": ("fd00::/8",)}
    assert parse({}) == {}


@pytest.mark.parametrize(
    ("key", "text"), [("80/tcp", ""), ("80/tcp", "10.0.0.1/8"), ("80/tcp", "example.com"), ("x", "10.0.0.1")]
)
def test_what_is_malformed_is_refused(key: str, text: str) -> None:
    with pytest.raises(BadPort):
        parse({f"berth.publish.from.{key}": text})
