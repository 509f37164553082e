"""What a target may be called, and what a stub resolver makes of it."""

import struct

import pytest

from berth.base.errors import InvalidArgument
from berth.networks.dns import message
from berth.networks.explain.resolve import addresses_in, candidates, from_hosts
from berth.networks.explain.service import split_target
from berth.networks.hosts_files import ResolvConf


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("db", "db", 0),
        ("db:5432", "db", 5432),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("fd00::1", "fd00::1", 0),
        ("[fd00::1]:80", "fd00::1", 80),
        ("[fd00::1]", "fd00::1", 0),
    ],
)
def test_targets(text: str, name: str, port: int) -> None:
    assert split_target(text) == (name, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "db:", "db:0", "db:65536", "db:http", "[db]:80", "[fd00::1", "a:b:c", "db:٣"]
)
def test_wrong_targets(text: str) -> None:
    with pytest.raises(InvalidArgument):
        split_target(text)


def test_hosts_files() -> None:
    text = "127.0.0.1\tlocalhost\n10.0.0.2 db DB2 # db3\n10.0.0.3\tdb\n"
    assert from_hosts(text, "DB") == ("10.0.0.2", "10.0.0.3")
    assert from_hosts(text, "db3") == ()


def test_search_domains_and_ndots() -> None:
    assert candidates("db", ResolvConf(search=("a.b",))) == ["db.a.b", "db"]
    assert candidates("db", ResolvConf(search=("a.b",), options=("ndots:0",))) == ["db", "db.a.b"]
    assert candidates("db.c", ResolvConf(search=("a.b",))) == ["db.c", "db.c.a.b"]
    assert candidates("db.", ResolvConf(search=("a.b",))) == ["db"]


def test_addresses_of_a_reply_and_of_junk() -> None:
    query = message.parse_query(message.pack_query(7, "db", message.A))
    records = [message.Record(message.A, 60, bytes((10, 0, 0, 2))), message.Record(message.A, 60, bytes((10, 0, 0, 3)))]
    reply = message.pack_reply(query, message.NOERROR, records, 512)
    assert addresses_in(reply) == ("10.0.0.2", "10.0.0.3")
    for cut in range(len(reply)):
        assert set(addresses_in(reply[:cut])) <= {"10.0.0.2", "10.0.0.3"}
    assert addresses_in(struct.pack("!HHHHHH", 1, 0, 9, 9, 0, 0)) == ()
