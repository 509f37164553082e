"""Sealed archives: what was written is read, any tar reads it, and every damage is found with the name of a file."""

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.kernel import sealed
from berth.kernel.sealed import SealedStream, stored
from berth.kernel.sealer import Sealer
from berth.kernel.tarstream import BLOCK, BadTar
from berth.wire import backups

HEAD = {"volume": "db", "labels": {"a": "b"}}
FILES = {
    "./a": b"content of a",
    "./b": b"x" * 3000,
    "./empty": b"",
    "./back\\slash\nline": b"odd",
    "./d/" + "n" * 300: b"l",
}


def plain(files: dict[str, bytes]) -> bytes:
    """Return what GNU tar would write: the root first, names beginning with ``./``, times in extended headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        root = tarfile.TarInfo("./")
        root.type, root.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(root)
        for number, (name, content) in enumerate(files.items()):
            one = tarfile.TarInfo(name)
            one.size, one.mtime, one.uid = len(content), 1_700_000_000, number
            if number % 2:  # as GNU tar writes it, and most files of a backup have it
                one.pax_headers = {"mtime": "1700000000.123456789"}
            elif number % 4:
                one.mtime += 0.25
            tar.addfile(one, io.BytesIO(content))
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.SYMTYPE, "a"
        tar.addfile(link)
    return out.getvalue()


def seal(archive: bytes, chunk: int = 1 << 20) -> bytes:
    sealer = Sealer(sealed.comment(b"head", HEAD))
    out = [sealer.head]
    for at in range(0, len(archive), chunk):
        out += [bytes(piece) for piece in sealer.feed(archive[at : at + chunk])]
    return b"".join([*out, *sealer.finish({})])


def read(archive: bytes, chunk: int = 1 << 20) -> SealedStream:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(archive), chunk):
            yield archive[at : at + chunk]

    stream = SealedStream(pieces())
    for _ in stream.members_checked():
        pass
    stream.drain()
    return stream


SEALED = seal(plain(FILES))
#: Where the end's comment ends: behind it only the root stands once more, which says nothing new.
ENDS = SEALED.index(b"\n", SEALED.rindex(b"comment=berth-backup 1 end ")) + 1


def test_what_was_written_is_read() -> None:
    stream = read(SEALED)
    assert stream.head == HEAD
    assert (stream.files, stream.bytes, stream.members) == (5, sum(map(len, FILES.values())), 7)
    assert stream.end == {"files": 5, "bytes": stream.bytes, "members": 7}


@pytest.mark.parametrize("chunk", [BLOCK, 3 * BLOCK, 64 * BLOCK])
def test_the_size_of_pieces_changes_nothing(chunk: int) -> None:
    assert seal(plain(FILES), chunk) == SEALED
    assert read(SEALED, chunk + 7).files == 5


def test_many_files_have_their_sums_in_batches() -> None:
    many = {f"./{number}": b"%d" % number for number in range(2 * sealed.BATCH_FILES + 5)}
    archive = seal(plain(many))
    assert archive.count(b"comment=berth-backup 1 sums ") == 3
    assert read(archive).files == len(many)


def test_a_reader_that_is_none_of_ours_sees_the_files_and_nothing_else() -> None:
    with tarfile.open(fileobj=io.BytesIO(SEALED)) as tar:
        assert [one.name for one in tar] == [".", *FILES, "./link", "."]
        assert {name: tar.extractfile(name).read() for name in FILES} == FILES  # type: ignore[union-attr]


def test_the_two_ends_are_read_without_unpacking() -> None:
    for kind in ("zstd", "gzip", "none"):
        sealer = Sealer(sealed.comment(b"head", HEAD))
        sealer.feed(plain(FILES))
        _, last = sealer.finish({})
        assert backups.of_head(stored(kind, sealer.head)) == HEAD
        assert (backups.of_tail(b"before" + stored(kind, last)) or {})["files"] == 5


@pytest.mark.parametrize(("name", "content"), [("./a", b"content of a"), ("./b", b"x" * 3000)])
def test_a_changed_file_is_named(name: str, content: bytes) -> None:
    at = SEALED.index(content)
    with pytest.raises(BadTar, match=name + ": its data are not those that were backed up"):
        read(SEALED[:at] + b"?" + SEALED[at + 1 :])


def test_files_that_changed_places_are_named() -> None:
    files = {"./one": b"1" * BLOCK, "./two": b"2" * BLOCK}
    archive = seal(plain(files))
    swapped = archive.replace(files["./one"], b"!" * BLOCK).replace(files["./two"], files["./one"])
    with pytest.raises(BadTar, match=r"./one: its data .*; ./two: its data "):
        read(swapped.replace(b"!" * BLOCK, files["./two"]))


def test_an_owner_that_was_changed_is_noticed() -> None:
    at = SEALED.index(b"./b\0")
    header = bytearray(SEALED[at : at + BLOCK])
    header[108:116] = b"0000777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(BadTar, match="owners, modes"):
        read(SEALED[:at] + bytes(header) + SEALED[at + BLOCK :])


@given(st.integers(1, len(SEALED) - 1))
@settings(max_examples=300, deadline=None)
def test_an_archive_that_was_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(BadTar):
        read(SEALED[:length])


@given(st.integers(0, ENDS - 1), st.integers(1, 255))
@settings(max_examples=600, deadline=None)
def test_no_byte_changes_unnoticed(at: int, change: int) -> None:
    damaged = SEALED[:at] + bytes([SEALED[at] ^ change]) + SEALED[at + 1 :]
    with pytest.raises(BadTar):
        read(damaged)


@given(st.lists(st.integers(0, len(SEALED) // BLOCK - 1), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_block_is_missing_unnoticed(gone: list[int]) -> None:
    keep = [number for number in range(len(SEALED) // BLOCK) if number not in set(gone)]
    if ENDS < min(gone) * BLOCK < len(SEALED) - 2 * BLOCK:
        return  # the root's second time says nothing new
    with pytest.raises(BadTar):
        read(b"".join(SEALED[number * BLOCK : (number + 1) * BLOCK] for number in keep))


@pytest.mark.parametrize("at", [108, 116, 124])
def test_a_number_with_a_sign_is_refused_and_not_read_for_ever(at: int) -> None:
    archive = bytearray(SEALED)
    header = SEALED.index(b"./a\0")
    archive[header + at : header + at + 2] = b"-0"
    archive[header + at + 6] = ord("1")  # of a length that nothing can have
    with pytest.raises(BadTar):
        read(bytes(archive))


def test_other_archives_are_read_without_sums_but_not_when_cut_short() -> None:
    stream = read(plain(FILES))
    assert (stream.head, stream.end, stream.files) == (None, None, 5)
    with pytest.raises(BadTar, match="cut short"):
        read(plain({}).rstrip(b"\0") + bytes(-len(plain({}).rstrip(b"\0")) % BLOCK))
