"""The bytes of a packed file, piece by piece: gzip, zstd, bzip2, xz, or not packed at all.

Runs inside `berth.kernel.layer_child`: standard library only, and what one kind needs is imported for it alone.
A piece is never larger than `PIECE_BYTES`, however well it was packed.
"""

import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

PIECE_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 17
# Magic numbers: gzip RFC 1952 section 2.3.1, bzip2 "BZh", xz file format section 2.1.1.1, zstd RFC 8878 sections
# 3.1.1 and 3.1.2 (a frame that is to be skipped, as zstd:chunked begins with).
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\x00"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPED: Final = b"\x2a\x4d\x18"
#: Unpacks gzip three times as fast as zlib; used where it is installed (package isal).
IGZIP: Final = "/usr/bin/igzip"


class BadPacking(Exception):
    """The file is damaged, or of a kind that cannot be read here."""


def pieces(path: str, note: Callable[[bytes], object], *, igzip: str = IGZIP) -> Iterator[bytes]:
    """Open `path` and return the iterator over its content; `note` sees every byte of the file as it is."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    head = os.pread(fd, 6, 0)
    if head.startswith(_GZIP):
        if os.access(igzip, os.X_OK):
            return _program([igzip, "-d", "-c", "--", path], fd, note)
        return decoded(_read(fd, note), lambda: zlib.decompressobj(wbits=31), gzip_step)
    if head.startswith(_BZIP2):
        import bz2

        return decoded(_read(fd, note), bz2.BZ2Decompressor, plain_step)
    if head.startswith(_XZ):
        import lzma

        return decoded(_read(fd, note), lzma.LZMADecompressor, plain_step)
    if head.startswith(_ZSTD) or head[1:4] == _SKIPPED:
        return _program(["zstd", "-d", "-c", "-q", "--", path], fd, note)
    return _plain(fd, note)


def _plain(fd: int, note: Callable[[bytes], object]) -> Iterator[bytes]:
    while piece := os.read(fd, PIECE_BYTES):
        note(piece)
        yield piece


def _read(fd: int, note: Callable[[bytes], object]) -> Iterator[bytes]:
    while data := os.read(fd, _READ_BYTES):
        note(data)
        yield data


def decoded(
    source: Iterator[bytes], make: Callable[[], Any], step: Callable[[Any, bytes], tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """Decode any number of streams one after the other; zeros after the last are padding."""
    decoder = make()
    begun = False
    for read in source:
        data = read
        while data or begun:
            if decoder.eof:
                data = data.lstrip(b"\0")
                if not data:
                    begun = False
                    break
                decoder = make()
            begun = True
            try:
                piece, data = step(decoder, data)
            except (zlib.error, OSError, EOFError, ValueError) as exc:
                raise BadPacking(f"the packed data are damaged: {exc}") from None
            except Exception as exc:
                if type(exc).__name__ != "LZMAError":  # lzma is imported only where it is used
                    raise
                raise BadPacking(f"the packed data are damaged: {exc}") from None
            if piece:
                yield piece
            elif not data and not decoder.eof:
                break
    if begun and not decoder.eof:
        raise BadPacking("the packed data end too early")


def gzip_step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:  # noqa: ANN401  zlib does not name its type
    """Let a decoder of zlib's kind take a step: what came out, what is left to be taken."""
    piece = decoder.decompress(data, PIECE_BYTES)
    return piece, decoder.unused_data if decoder.eof else decoder.unconsumed_tail


def plain_step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:  # noqa: ANN401  bz2's and lzma's have the same methods
    """Let a decoder of bz2's kind take a step."""
    piece = decoder.decompress(data, PIECE_BYTES)
    return piece, decoder.unused_data if decoder.eof else b""


def _program(argv: list[str], fd: int, note: Callable[[bytes], object]) -> Iterator[bytes]:
    """Let a program unpack it; it starts now, because later its file may be out of reach."""
    out, their_out = os.pipe()
    err, their_err = os.pipe()
    fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
    files = [(os.POSIX_SPAWN_DUP2, their_out, 1), (os.POSIX_SPAWN_DUP2, their_err, 2)]
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=files)
    except FileNotFoundError:
        raise BadPacking(f"it is packed with {argv[0]}, and the program {argv[0]} is not installed") from None
    os.close(their_out)
    os.close(their_err)

    def read() -> Iterator[bytes]:
        while packed := os.read(fd, PIECE_BYTES):
            note(packed)
        while piece := os.read(out, PIECE_BYTES):
            yield piece
        said = os.read(err, _READ_BYTES).decode(errors="replace").strip()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
            raise BadPacking(f"the packed data are damaged: {said}")

    return read()
