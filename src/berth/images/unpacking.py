"""Receives an uploaded archive into a file and takes its compression off on the way."""

import bz2
import lzma
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from berth.base.aio import in_thread
from berth.images.errors import BadArchive
from berth.kernel import process

# Magic numbers: gzip RFC 1952 section 2.3.1, bzip2 "BZh", xz file format section 2.1.1.1, zstd RFC 8878 section 3.1.1.
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\x00"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
#: How long decompressing may take, in seconds.
_LIMIT_S: Final = 3600.0


class _Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class _Gzip:
    """gzip with any number of members."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, /) -> bytes:
        out = self._inner.decompress(data)
        while self._inner.eof and (rest := self._inner.unused_data.lstrip(b"\0")):
            self._inner = zlib.decompressobj(wbits=31)
            out += self._inner.decompress(rest)
        return out


class _Plain:
    def decompress(self, data: bytes, /) -> bytes:
        return data


async def unpack_stream(body: AsyncIterator[bytes], target: Path) -> None:
    """Write `body`, decompressed, to `target`; raises `BadArchive`."""
    decoder: _Decoder | None = None
    head = b""
    packed = target.with_name(target.name + ".zst")
    zstd = False
    fd = await in_thread(os.open, target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        async for piece in body:
            data = piece
            if decoder is None:
                head += data
                if len(head) < len(_XZ):
                    continue
                zstd = head.startswith(_ZSTD)
                decoder, data = _decoder(head), head
            await in_thread(_write, fd, decoder, data)
        if decoder is None:
            await in_thread(_write, fd, _Plain(), head)
    finally:
        os.close(fd)
    if zstd:
        await in_thread(os.rename, target, packed)
        await process.run(["zstd", "-d", "-q", "--rm", "-o", str(target), str(packed)], timeout_s=_LIMIT_S)


def _decoder(head: bytes) -> _Decoder:
    if head.startswith(_GZIP):
        return _Gzip()
    if head.startswith(_BZIP2):
        return bz2.BZ2Decompressor()
    if head.startswith(_XZ):
        return lzma.LZMADecompressor()
    return _Plain()


def _write(fd: int, decoder: _Decoder, data: bytes) -> None:
    try:
        view = memoryview(decoder.decompress(data))
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as exc:
        raise BadArchive(str(exc)) from None
    while view:
        view = view[os.write(fd, view) :]
