"""Frames and names of backups."""

from hypothesis import given
from hypothesis import strategies as st

from berth.wire import backups as wire


@given(st.lists(st.tuples(st.sampled_from((b"B", b"D", b"P", b"E", b"Z")), st.binary(max_size=50))), st.integers(1, 60))
def test_frames_come_apart_as_they_were_put_together(sent: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(wire.frame(kind, body) for kind, body in sent)
    pieces = (stream[at : at + size] for at in range(0, len(stream), size))
    assert list(wire.frames(pieces)) == sent


def test_a_frame_that_is_cut_off_is_left_out() -> None:
    stream = wire.frame(b"D", b"one") + wire.frame(b"Z", b"{}")[:-1]
    assert list(wire.frames(iter([stream]))) == [(b"D", b"one")]


def test_names() -> None:
    name = wire.file_name("my-db", "20261124T194702Z", "zstd", encrypted="age")
    assert name == "my-db-20261124T194702Z.tar.zst.age"
    assert wire.named(name) == ("my-db", "20261124T194702Z")
    assert wire.named("my-db-20261124T194702Z-2.tar.gz") == ("my-db", "20261124T194702Z")
    marked = wire.file_name("my-db", "20261124T194702Z", "none", mark="0a1b2c")
    assert marked == "my-db-20261124T194702Z-0a1b2c.tar"
    assert wire.named(marked) == ("my-db", "20261124T194702Z")
    assert wire.named("backup.tar.gz") is None


def test_what_is_no_backup_says_nothing() -> None:
    assert wire.of_head(b"\x1f\x8b whatever") is None
    assert wire.of_tail(b"comment=berth-backup 1 end {damaged\n") is None
    assert wire.encrypted_with(b"Salted__abc") == "passphrase"
    assert wire.encrypted_with(b"plain") == ""
