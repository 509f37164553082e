"""What neighbours are told of a new address, byte for byte."""

from berth.networks.announcement import frames

MAC = bytes.fromhex("0242ac110002")


def test_arp_says_it_to_everybody() -> None:
    (frame,) = frames(MAC, "172.17.0.2", "")
    ethernet, body = frame[:14], frame[14:]
    assert ethernet.hex() == "ffffffffffff0242ac1100020806"
    assert body.hex() == "00010800060400010242ac110002ac110002000000000000ac110002"


def test_an_advertisement_overrides_and_comes_from_this_link() -> None:
    (frame,) = frames(MAC, "", "fd00::2")
    ethernet, head, body = frame[:14], frame[14:54], frame[54:]
    assert ethernet.hex() == "3333000000010242ac11000286dd"
    own, everybody = "fd" + "00" * 14 + "02", "ff02" + "00" * 13 + "01"
    assert head.hex() == f"6000000000203aff{own}{everybody}", "32 bytes of ICMPv6, hop limit 255"
    assert body.hex() == f"8800{body[2:4].hex()}20000000{own}0201{MAC.hex()}", (
        "override, neither solicited nor a router's"
    )
    # RFC 4443, section 2.3: the sum over pseudo header and message, checksum included, is all ones
    whole = bytes.fromhex(own + everybody) + (32).to_bytes(4, "big") + (58).to_bytes(4, "big") + body
    total = sum(int.from_bytes(whole[at : at + 2], "big") for at in range(0, len(whole), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_both_in_one_go_and_nothing_without_an_address() -> None:
    assert len(frames(MAC, "172.17.0.2", "fd00::2")) == 2
    assert frames(MAC, "", "") == ()
