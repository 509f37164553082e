import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.containers.detach import DEFAULT, BadDetachKeys, DetachFilter, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [(DEFAULT, b"\x10\x11"), ("ctrl-x,a", b"\x18a"), ("a", b"a"), ("ctrl-[", b"\x1b"), ("ctrl-@", b"\0"),
     ("ctrl-_", b"\x1f")],
)  # fmt: skip
def test_keys_are_read(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["foo", "ctrl-", "ctrl-!", "ctrl-ab", "a,", "ä", "ctrl-P"])
def test_bad_keys_are_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(BadDetachKeys, match=r"Invalid detach keys \(.*\) provided"):
        parse_keys(text)


def test_the_keys_detach_and_are_not_passed_on() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"ls\n\x10") == b"ls\n"
    assert not keys.detached
    assert keys.feed(b"\x11rest") == b""
    assert keys.detached


def test_the_first_key_alone_is_passed_on_with_the_next() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"a\x10") == b"a"
    assert keys.feed(b"b") == b"\x10b"
    assert keys.feed(b"\x10\x10\x11") == b"\x10"
    assert keys.detached


@given(st.lists(st.binary(max_size=5)))
def test_nothing_is_lost_while_not_detached(pieces: list[bytes]) -> None:
    keys = DetachFilter(b"\x10\x11")
    out = b""
    for piece in pieces:
        out += keys.feed(piece)
        if keys.detached:
            break
    sent = b"".join(pieces)
    if keys.detached:
        assert sent.startswith(out + b"\x10\x11")
    else:
        assert sent in (out, out + b"\x10")


def test_without_keys_everything_passes() -> None:
    assert DetachFilter(b"").feed(b"\x10\x11") == b"\x10\x11"
