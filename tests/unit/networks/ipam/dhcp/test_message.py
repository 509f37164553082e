"""DHCP messages: what is written is read again, and nothing that comes from a network ends in another error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.networks.ipam.dhcp.message import (
    LEASE_TIME,
    MESSAGE_TYPE,
    OVERLOAD,
    ROUTER,
    SERVER,
    SMALLEST,
    Message,
    NotDhcp,
    Op,
    Type,
    decode,
    encode,
)

MAC = bytes.fromhex("02420a090002")
addresses = st.ip_addresses(v=4).map(str)
codes = st.integers(1, 254).filter(lambda code: code != OVERLOAD)
messages = st.builds(
    Message,
    op=st.sampled_from(Op),
    xid=st.integers(0, 0xFFFF_FFFF),
    mac=st.binary(min_size=6, max_size=6),
    options=st.dictionaries(codes, st.binary(max_size=600), max_size=8),
    secs=st.integers(0, 0xFFFF),
    broadcast=st.booleans(),
    client=addresses,
    yours=addresses,
    next_server=addresses,
    relay=addresses,
)


@given(messages)
def test_round_trip(one: Message) -> None:
    data = encode(one)
    assert len(data) >= SMALLEST
    assert decode(data) == one


@given(st.binary(max_size=700))
def test_junk_is_refused_in_one_way(data: bytes) -> None:
    with contextlib.suppress(NotDhcp):
        decode(data)


@given(messages, st.data())
def test_a_damaged_message_is_read_or_refused(one: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(one))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        found = decode(cut)
    except NotDhcp:
        return
    assert len(found.mac) == 6
    _ = found.type, found.address(ROUTER), found.seconds(LEASE_TIME)


def test_fields() -> None:
    options = {MESSAGE_TYPE: b"\x05", SERVER: bytes((10, 9, 0, 1)), LEASE_TIME: (3600).to_bytes(4, "big")}
    one = Message(op=Op.SERVER, xid=7, mac=MAC, options=options, yours="10.9.0.2")
    data = encode(one)
    assert (data[0], data[1], data[2], data[4:8], data[16:20]) == (2, 1, 6, b"\0\0\0\x07", bytes((10, 9, 0, 2)))
    assert data[240:243] == b"\x35\x01\x05", "the type goes first"
    found = decode(data)
    assert (found.type, found.address(SERVER), found.seconds(LEASE_TIME)) == (Type.ACK, "10.9.0.1", 3600)
    assert (found.address(ROUTER), found.seconds(ROUTER)) == ("", None)


def test_options_in_the_fields_for_names() -> None:
    plain = bytearray(encode(Message(op=Op.SERVER, xid=7, mac=MAC, options={OVERLOAD: b"\x03"})))
    plain[108:112] = bytes((ROUTER, 2, 10, 9))  # field for the file
    plain[44:49] = bytes((ROUTER, 2, 0, 1, 255))  # field for the server's name, read last
    assert decode(bytes(plain)).address(ROUTER) == "10.9.0.1"


@pytest.mark.parametrize("at", [0, 1, 2, 236])
def test_what_is_not_dhcp(at: int) -> None:
    raw = bytearray(encode(Message(op=Op.SERVER, xid=7, mac=MAC)))
    raw[at] ^= 0x55
    with pytest.raises(NotDhcp):
        decode(bytes(raw))
