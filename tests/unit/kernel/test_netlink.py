import struct

from hypothesis import given
from hypothesis import strategies as st

from berth.kernel import netlink
from berth.kernel.netlink import attribute, attributes, nested, pack_mac, text, u8, u32

kinds = st.integers(1, netlink.NLA_TYPE_MASK)


@given(st.dictionaries(kinds, st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_packed(values: dict[int, bytes]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in values.items())
    assert len(packed) % 4 == 0
    assert attributes(packed) == values


@given(st.binary(max_size=200))
def test_junk_is_survived(data: bytes) -> None:
    attributes(data)


def test_nesting_is_flagged_and_read_without_the_flag() -> None:
    packed = nested(netlink.IFLA_LINKINFO, text(netlink.IFLA_INFO_KIND, "veth"))
    assert struct.unpack_from("=HH", packed)[1] & netlink.NLA_F_NESTED
    inner = attributes(packed)[netlink.IFLA_LINKINFO]
    assert attributes(inner) == {netlink.IFLA_INFO_KIND: b"veth\0"}


def test_numbers_are_in_the_machines_order() -> None:
    assert attributes(u32(4, 1500)) == {4: struct.pack("=I", 1500)}
    assert attributes(u8(33, 1)) == {33: b"\x01"}


def test_macs_are_read_in_both_spellings() -> None:
    assert pack_mac("02:42:ac:11:00:02") == pack_mac("02-42-AC-11-00-02") == b"\x02\x42\xac\x11\x00\x02"


def test_a_message_says_in_words_what_it_is_for() -> None:
    assert netlink.new_bridge("br-1", "02:42:00:00:00:01", 1500).what == "make bridge br-1"
    assert netlink.new_address(2, "10.0.0.1", 24).what == "add address 10.0.0.1/24"
    assert netlink.default_route("10.0.0.1", 2, delete=True).what == "delete default route through 10.0.0.1"
