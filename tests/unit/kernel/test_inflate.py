"""Taking the packing off a file, piece by piece."""

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from berth.kernel.inflate import PIECE_BYTES, BadPacking, pieces

DATA = random.Random(1).randbytes(700_000) + bytes(3 * PIECE_BYTES)


def members(data: bytes) -> bytes:
    return gzip.compress(data[:1000]) + gzip.compress(b"") + gzip.compress(data[1000:])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, members, bz2.compress, lzma.compress])
@pytest.mark.parametrize("data", [DATA, b"", b"a"])
def test_what_was_packed_comes_out(tmp_path: Path, pack: Callable[[bytes], bytes], data: bytes) -> None:
    file = tmp_path / "packed"
    file.write_bytes(pack(data))
    seen: list[bytes] = []
    found = list(pieces(str(file), seen.append, igzip=""))
    assert b"".join(found) == data
    assert all(len(piece) <= PIECE_BYTES for piece in found)
    assert b"".join(seen) == file.read_bytes()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_damage_and_a_missing_end(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(DATA)
    file = tmp_path / "packed"
    file.write_bytes(packed[:-20])
    with pytest.raises(BadPacking, match="end too early"):
        list(pieces(str(file), len, igzip=""))
    file.write_bytes(packed[:1000] + bytes(100) + packed[1100:])
    with pytest.raises(BadPacking, match="damaged"):
        list(pieces(str(file), len, igzip=""))


def test_padding_after_the_end(tmp_path: Path) -> None:
    file = tmp_path / "packed"
    file.write_bytes(gzip.compress(b"a") + bytes(600_000))
    assert b"".join(pieces(str(file), len, igzip="")) == b"a"
