"""The bytes between a terminal and a container."""

import pytest

from berth.cli.errors import CommandFailed
from berth.cli.streams import Demultiplexer, Detached, DetachFilter, StreamError, parse_detach_keys


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_frames_are_cut_whatever_the_pieces(step: int) -> None:
    data = frame(1, b"out") + frame(2, b"err") + frame(1, b"") + frame(1, b"more out")
    cutter = Demultiplexer()
    pieces: dict[int, bytes] = {1: b"", 2: b""}
    for at in range(0, len(data), step):
        for descriptor, piece in cutter.feed(data[at : at + step]):
            pieces[descriptor] += piece
    assert pieces == {1: b"outmore out", 2: b"err"}


def test_an_error_within_the_stream() -> None:
    with pytest.raises(StreamError, match="went wrong"):
        Demultiplexer().feed(frame(3, b"went wrong"))


def test_detach_keys() -> None:
    assert parse_detach_keys("") == b"\x10\x11"
    assert parse_detach_keys("ctrl-a,b,ctrl-[") == b"\x01b\x1b"
    with pytest.raises(CommandFailed):
        parse_detach_keys("ctrl-p,foo")


def test_a_part_of_the_keys_that_is_none_is_passed_on() -> None:
    keys = DetachFilter(b"ab")
    assert keys.feed(b"xa") == b"x"
    assert keys.feed(b"c") == b"ac"
    assert keys.feed(b"aa") == b"a"
    with pytest.raises(Detached):
        keys.feed(b"b")
