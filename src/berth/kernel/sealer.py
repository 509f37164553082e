"""Seals the tar archive GNU tar writes while it passes: finds the members, sums the files, puts the comments between.

The archive comes from a program of ours and is not doubted; of each member only what is needed is read.
Runs inside `berth.kernel.pack_child`: standard library only. Pure.
"""

import hashlib
from typing import Any, Final

from berth.kernel.sealed import BATCH_BYTES, BATCH_FILES, END_OF_ARCHIVE, comment, line, sealed_with
from berth.kernel.tarstream import BLOCK, _number, _pax

_EXTENDED: Final = b"x"[0]
_FILE: Final = b"0"[0]
_LONG: Final = (b"L"[0], b"K"[0])
_ZEROS: Final = bytes(BLOCK)


class Sealer:
    """Takes whole blocks in, gives the sealed archive out; `finish` gives its last piece."""

    def __init__(self, head: bytes) -> None:
        #: The first piece of the archive.
        self.head = head
        self.files = 0
        self.bytes = 0
        self.members = 0
        self.ended = False
        self._seal = hashlib.sha256(head)
        self._rest = b""
        self._left = 0  # data of the present file that are still to come, without padding
        self._padded = 0
        self._sum = hashlib.sha256()
        self._name = b""
        self._sparse = False
        self._path = b""  # what an extended header said about the next member
        self._size = -1
        self._real = -1
        self._lines: list[bytes] = []
        self._line_bytes = 0
        self._root = b""

    def feed(self, chunk: bytes) -> list[bytes | memoryview]:
        """Take the next blocks; return what is to be written."""
        data = self._rest + chunk if self._rest else chunk
        view = memoryview(data)
        out: list[bytes | memoryview] = []
        at = written = sealed = 0
        end = len(data)
        while True:
            if self._left:
                part = min(self._left, end - at)
                self._sum.update(view[at : at + part])
                at += part
                self._left -= part
                if self._left:
                    sealed = at
                    break
                self._close()
                sealed = at
                at += self._padded
            if len(self._lines) >= BATCH_FILES or self._line_bytes >= BATCH_BYTES:
                self._seal.update(view[sealed:at])
                out += (view[written:at], self._sums())
                written = sealed = at
            if at + BLOCK > end:
                break
            size = self._octal(data, at + 124)
            kind = data[at + 156]
            if kind == _EXTENDED or kind in _LONG:
                following = at + BLOCK + size + -size % BLOCK
                if following > end:
                    break
                self._extended(kind, data[at + BLOCK : at + BLOCK + size])
                at = following
                continue
            if data[at] == 0 and data[at : at + BLOCK] == _ZEROS:
                self.ended = True
                break
            at += BLOCK
            if not self.members:
                self._root = data[:at]
            if self._begin(data, at - BLOCK, kind, size):
                self._seal.update(view[sealed:at])
                sealed = at
            elif kind == _FILE:
                self._seal.update(view[sealed:at])
                sealed = at
                self._padded = 0
                self._close()
        self._seal.update(view[sealed:at])
        out.append(view[written:at])
        self._rest = b"" if self.ended else data[at:]
        return out

    def finish(self, said: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return the last sums, and the archive's last piece with what `said` adds to the end."""
        sums = self._sums() if self._lines else b""
        told = {"files": self.files, "bytes": self.bytes, "members": self.members, **said}
        # Python's tarfile takes a comment with nothing behind it for damage: the root, the first member, comes again.
        return sums, comment(b"end", {**told, "seal": sealed_with(self._seal, told)}) + self._root + END_OF_ARCHIVE

    def _sums(self) -> bytes:
        made = comment(b"sums", {"seal": sealed_with(self._seal, {})}, b"".join(self._lines))
        self._seal.update(made)
        self._lines.clear()
        self._line_bytes = 0
        return made

    def _close(self) -> None:
        digest = self._sum.digest()
        self._seal.update(digest)
        told = line(digest, self._name, sparse=self._sparse)
        self._lines.append(told)
        self._line_bytes += len(told)

    def _begin(self, data: bytes, at: int, kind: int, size: int) -> bool:
        self.members += 1
        if kind == _FILE:
            if self._size >= 0:
                size = self._size
            self._name = self._path or _name(data, at)
            self._sparse = self._real >= 0
            self.files += 1
            self.bytes += self._real if self._sparse else size
            self._sum = hashlib.sha256()
            self._left, self._padded = size, -size % BLOCK
        self._path, self._size, self._real = b"", -1, -1
        return self._left > 0

    def _extended(self, kind: int, body: bytes) -> None:
        if kind in _LONG:
            if kind == _LONG[0]:
                self._path = body.split(b"\0", 1)[0]
            return
        if body.startswith(b"30 mtime=") and len(body) == 30:
            return  # nine of ten files have nothing else
        records = _pax(body, [])
        self._path = records.get(b"GNU.sparse.name") or records.get(b"path", self._path)
        if b"size" in records:
            self._size = int(records[b"size"])
        if b"GNU.sparse.realsize" in records:
            self._real = int(records[b"GNU.sparse.realsize"])

    @staticmethod
    def _octal(data: bytes, at: int) -> int:
        field = data[at : at + 12]
        if field[0] & 0x80:
            return _number(field, "size")
        text = field[:11]
        return int(text, 8) if text != b"\0" * 11 else 0


def _name(data: bytes, at: int) -> bytes:
    name = data[at : at + 100].split(b"\0", 1)[0]
    if data[at + 345]:
        return data[at + 345 : at + 500].split(b"\0", 1)[0] + b"/" + name
    return name
