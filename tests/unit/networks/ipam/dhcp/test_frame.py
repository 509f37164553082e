"""Frames around DHCP messages."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from berth.networks.ipam.dhcp.frame import BROADCAST_MAC, CLIENT_PORT, Ends, unwrap, wrap

OURS, THEIRS = bytes.fromhex("02420a090002"), bytes.fromhex("020000000001")


def answered(frame: bytes) -> bytes:
    """The same frame, to the client's port."""
    return frame[:36] + struct.pack("!H", CLIENT_PORT) + frame[38:]


@given(st.binary(max_size=1400))
def test_round_trip(payload: bytes) -> None:
    frame = wrap(Ends(THEIRS, OURS, "10.9.0.1", "10.9.0.2"), payload)
    assert unwrap(frame) is None, "to a server, not to us"
    assert unwrap(answered(frame)) == (THEIRS, payload)
    assert unwrap(answered(frame) + b"\0" * 20) == (THEIRS, payload), "cards fill small frames up"


@given(st.binary(max_size=200))
def test_junk_is_nothing(data: bytes) -> None:
    unwrap(data)
    unwrap(bytes(12) + b"\x08\x00" + data)


def test_a_cut_frame_is_nothing() -> None:
    frame = answered(wrap(Ends(THEIRS, OURS, "10.9.0.1", "10.9.0.2"), b"x" * 40))
    assert all(unwrap(frame[:length]) is None for length in range(len(frame)))


def test_checksums_add_up() -> None:
    frame = wrap(Ends(OURS, BROADCAST_MAC), b"odd")
    assert frame[:14] == BROADCAST_MAC + OURS + b"\x08\x00"

    def folded(data: bytes) -> int:
        data += b"\0" * (len(data) % 2)
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return total

    ip, udp = frame[14:34], frame[34:]
    assert folded(ip) == 0xFFFF
    assert folded(ip[12:20] + struct.pack("!BBH", 0, 17, len(udp)) + udp) == 0xFFFF
