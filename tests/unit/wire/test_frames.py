import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.wire.frames import STDERR, STDOUT, BadFrame, Frames, frame


def test_the_header_is_dockers() -> None:
    assert frame(STDOUT, b"hi\n") == b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n"


@given(st.lists(st.tuples(st.sampled_from((STDOUT, STDERR)), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_survive_any_cutting(pieces: list[tuple[int, bytes]], step: int) -> None:
    wire = b"".join(frame(stream, data) for stream, data in pieces)
    frames = Frames()
    found = [one for at in range(0, len(wire), step) for one in frames.feed(wire[at : at + step])]
    assert found == pieces
    assert frames.pending == 0


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(BadFrame):
        list(Frames().feed(b"HTTP/1.1 200 OK"))


def test_an_unfinished_frame_is_told_of() -> None:
    frames = Frames()
    assert list(frames.feed(frame(STDOUT, b"abc")[:-1])) == []
    assert frames.pending == 10
