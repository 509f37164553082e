"""Backups as both ends of the API see them: their names, what a file's two ends say, the frames they travel in. Pure.

The form itself is `berth.kernel.sealed`'s; here only its first and last comment are read, which are never packed.
Only the standard library is used: the command line reads directories of backups with it.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Kinds of frames of a streamed backup: each is a letter, four bytes of length, and as many bytes.
BEGIN, DATA, PROGRESS, ERROR, END = b"B", b"D", b"P", b"E", b"Z"
CONTENT_TYPE = "application/vnd.berth.backup"
#: So much of a file's beginning holds what it says of itself, and so much of its end.
HEAD_BYTES = 1 << 20
TAIL_BYTES = 64 << 10
_HEAD = b"comment=berth-backup 1 head "
_END = b"comment=berth-backup 1 end "
_ENCRYPTED = ((b"age-encryption.org/", "age"), (b"-----BEGIN AGE ENCRYPTED", "age"), (b"Salted__", "passphrase"))
_SUFFIX = {"zstd": ".tar.zst", "gzip": ".tar.gz", "none": ".tar"}
_NAME = re.compile(
    r"(?P<volume>[a-zA-Z0-9][a-zA-Z0-9_.-]*)-(?P<time>\d{8}T\d{6}Z)(?:-[0-9a-f]+)?\.tar(?:\.zst|\.gz)?(?:\.age|\.enc)?\Z"
)


def frame(kind: bytes, body: bytes) -> bytes:
    """Return one frame."""
    return kind + len(body).to_bytes(4, "big") + body


def frames(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Take frames apart again; one that is cut off is left out: the stream's `END` is then missing."""
    rest = bytearray()
    for piece in pieces:
        rest += piece
        at = 0
        while len(rest) - at >= 5:
            size = int.from_bytes(rest[at + 1 : at + 5], "big")
            if len(rest) - at - 5 < size:
                break
            yield bytes(rest[at : at + 1]), bytes(memoryview(rest)[at + 5 : at + 5 + size])
            at += 5 + size
        if at:
            del rest[:at]


def file_name(volume: str, stamp: str, pack: str, *, encrypted: str = "", mark: str = "") -> str:
    """Return the name a backup gets; `stamp` is the time as ``20261124T194702Z``.

    `mark`, of hexadecimal characters, tells it from others of the same second.
    """
    packed = f"{_SUFFIX[pack]}{'.age' if encrypted == 'age' else '.enc' if encrypted else ''}"
    return f"{volume}-{stamp}{mark and '-'}{mark}{packed}"


def named(name: str) -> tuple[str, str] | None:
    """Return the volume and the stamp in a backup's name; None for the name of something else."""
    match = _NAME.match(name)
    return (match["volume"], match["time"]) if match else None


def has_head(data: bytes) -> bool:
    """Tell by a file's first 4096 bytes whether a backup says something of itself there."""
    return data.find(_HEAD, 0, 4096) >= 0


def of_head(data: bytes) -> dict[str, Any] | None:
    """Return what the beginning of a file says of the backup in it; None if it is none of ours or cannot be read."""
    return _said(data, data.find(_HEAD, 0, 4096), len(_HEAD))


def of_tail(data: bytes) -> dict[str, Any] | None:
    """Return what the end of a file says."""
    return _said(data, data.rfind(_END), len(_END))


def encrypted_with(data: bytes) -> str:
    """Return what a file is encrypted with; empty if it is not."""
    return next((kind for start, kind in _ENCRYPTED if data.startswith(start)), "")


def _said(data: bytes, at: int, skip: int) -> dict[str, Any] | None:
    if at < 0:
        return None
    end = data.find(b"\n", at)
    try:
        found = json.loads(data[at + skip : end if end >= 0 else None])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
