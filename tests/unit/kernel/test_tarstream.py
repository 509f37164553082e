"""Reading tar archives: what others write is read as it is, what is damaged is refused."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kernel.tarstream import BadTar, Entry, TarStream

KINDS = {
    b"0": tarfile.REGTYPE,
    b"1": tarfile.LNKTYPE,
    b"2": tarfile.SYMTYPE,
    b"3": tarfile.CHRTYPE,
    b"4": tarfile.BLKTYPE,
    b"5": tarfile.DIRTYPE,
    b"6": tarfile.FIFOTYPE,
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, tmp_path: Path, piece: int = 1000) -> list[tuple[Entry, bytes]]:
    """Return every entry with its data."""
    found = []
    stream = TarStream(cut(data, piece))
    for number, entry in enumerate(stream.entries()):
        body = b""
        if entry.kind == b"0":
            target = tmp_path / f"body{number}"
            fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                stream.copy(entry, fd)
            finally:
                os.close(fd)
            body = target.read_bytes()
        found.append((entry, body))
    stream.drain()
    return found


def written(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, body in members:
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


_PART = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=60)
_NAMES = st.lists(_PART, min_size=1, max_size=6).map("/".join)
_MEMBERS = st.builds(
    member,
    _NAMES,
    type=st.sampled_from(sorted(KINDS.values())),
    linkname=_NAMES,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**31),
    gid=st.integers(0, 2**31),
    mtime=st.integers(0, 2**33),
    devmajor=st.integers(0, 4095),
    devminor=st.integers(0, 255),
)


@given(
    st.lists(st.tuples(_MEMBERS, st.binary(max_size=2000)), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 511, 512, 700, 1 << 20]),
)
def test_what_tarfile_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[tarfile.TarInfo, bytes]], form: int, piece: int
) -> None:
    made = [(info, body if info.isreg() else b"") for info, body in members]
    found = read(written(*made, form=form), tmp_path_factory.mktemp("tar"), piece)
    assert len(found) == len(made)
    for (entry, body), (info, data) in zip(found, made, strict=True):
        wanted_name = info.name.encode().rstrip(b"/") if info.isdir() else info.name.encode()
        assert (entry.name.rstrip(b"/") if info.isdir() else entry.name) == wanted_name
        assert KINDS[entry.kind] == info.type
        assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
        assert entry.mtime_ns == info.mtime * 10**9
        assert body == data
        if info.islnk() or info.issym():
            assert entry.link == info.linkname.encode()
        if info.ischr() or info.isblk():
            assert entry.device == (info.devmajor, info.devminor)


@given(st.binary(max_size=3000), st.integers(0, 2999), st.integers(0, 255))
def test_noise_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, byte: int
) -> None:
    directory = tmp_path_factory.mktemp("noise")
    damaged = bytearray(written((member("a" * 150, pax_headers={"mtime": "1.5", "x": "y"}), b"data" * 200)))
    damaged[at] = byte
    for data in (noise, bytes(damaged)):
        try:
            read(data, directory)
        except BadTar:
            continue


def test_names_longer_than_the_header_has_room_for(tmp_path: Path) -> None:
    name = "d/" * 60 + "f" * 150
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        (entry, body), (second, _) = read(
            written((member(name), b"x"), (member("s", type=tarfile.SYMTYPE, linkname=name), b""), form=form), tmp_path
        )
        assert (entry.name, body, second.link) == (name.encode(), b"x", name.encode())
    (entry, _), *_ = read(written((member("p/" * 60 + "f"), b""), form=tarfile.USTAR_FORMAT), tmp_path)
    assert entry.name == b"p/" * 60 + b"f"


def test_what_only_extended_headers_can_say(tmp_path: Path) -> None:
    headers = {"mtime": "1700000000.123456789", "SCHILY.xattr.user.a=b": "v\n=w", "uid": str(3_000_000_000)}
    (entry, _), (second, _) = read(
        written((member("a", pax_headers=headers), b"x"), (member("b", pax_headers={"mtime": "-1.25"}), b"")), tmp_path
    )
    assert entry.mtime_ns == 1_700_000_000_123_456_789
    assert entry.uid == 3_000_000_000
    # A record's key ends at the first equals sign.
    assert entry.xattrs == [(b"user.a", b"b=v\n=w")]
    assert (second.mtime_ns, second.xattrs) == (-1_250_000_000, [])


def test_data_that_are_not_asked_for_are_passed_over() -> None:
    stream = TarStream(cut(written((member("a"), b"x" * 1000), (member("b"), b"y")), 300))
    assert [entry.name for entry in stream.entries()] == [b"a", b"b"]


@pytest.mark.parametrize("records", [
    {"GNU.sparse.map": "512,3,4096,2", "GNU.sparse.size": "8192", "GNU.sparse.name": "real"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "8192", "GNU.sparse.name": "real"},
])  # fmt: skip
def test_sparse_files(tmp_path: Path, records: dict[str, str]) -> None:
    data = b"abcde"
    if "GNU.sparse.major" in records:
        data = b"2\n512\n3\n4096\n2\n".ljust(512, b"\0") + data
    ((entry, body),) = read(written((member("GNUSparseFile.0/x", pax_headers=records), data)), tmp_path)
    assert (entry.name, entry.size) == (b"real", 8192)
    assert body == bytes(512) + b"abc" + bytes(4096 - 515) + b"de" + bytes(8192 - 4098)


@pytest.mark.parametrize("text", ["512,3,100,2", "8000,500", "0,9999999", "x,1", "-1,5"])
def test_a_damaged_map_of_holes(tmp_path: Path, text: str) -> None:
    records = {"GNU.sparse.map": text, "GNU.sparse.size": "8192"}
    with pytest.raises(BadTar):
        read(written((member("x", pax_headers=records), b"abcde")), tmp_path)


def test_an_archive_may_end_without_its_end_mark_but_not_within_an_entry(tmp_path: Path) -> None:
    data = written((member("a"), b"x" * 600))
    assert len(read(data[: 512 + 1024], tmp_path)) == 1
    assert read(b"", tmp_path) == []
    for size in (100, 512 + 300, 512 + 700):
        with pytest.raises(BadTar):
            read(data[:size], tmp_path)


def test_no_archive_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadTar, match="no tar archive"):
        read(b"this is no archive at all" * 100, tmp_path)


def _header(kind: bytes, size: int, body: bytes = b"") -> bytes:
    info = member("x", type=kind)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    "data",
    [
        _header(b"x", 1 << 40),
        _header(b"L", 1 << 33),
        _header(b"x", 9, b"999 a=b\n"),
        _header(b"x", 6, b"6 a=b!"),
        _header(b"x", 9, b"9999999999999999999999999 a=b\n"),
        _header(b"0", 1 << 60),
        _header(b"Z", 0),
        written((member("a", pax_headers={"size": "-5"}), b"")),
        written((member("a", pax_headers={"mtime": "soon"}), b"")),
        written((member("a", pax_headers={"path": "a\0b"}), b"")),
        written((member("a", pax_headers={"uid": str(1 << 40)}), b"")),
    ],
)
def test_absurd_claims_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadTar):
        read(data, tmp_path)
