"""Reads a tar archive as it comes: ustar, pax and GNU's extensions, sparse files included.

Names and values stay bytes, as the file system has them. Sources: POSIX.1-2017 pax, "ustar Interchange Format" and
"pax Header Block"; GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
Runs inside `berth.kernel.layer_child`: standard library only. Must not: touch the file system but for the
descriptor that data are copied to.
"""

import os
from collections.abc import Iterator
from typing import Final

BLOCK: Final = 512
#: Largest extended header or long name that is read, in bytes: a path has 4096, an attribute 65,536.
_EXTENSION_LIMIT: Final = 1 << 20
#: Most pieces a sparse file may have.
_SPARSE_LIMIT: Final = 1 << 20
_SIZE_LIMIT: Final = 1 << 56
_TIME_LIMIT_S: Final = 1 << 34
_ZEROS: Final = bytes(BLOCK)
_XATTR: Final = b"SCHILY.xattr."
#: Kinds that have no data whatever their size field says.
_BARE: Final = b"123456"

Records = dict[bytes, bytes]


class BadTar(Exception):
    """The archive is damaged, cut short, or asks for what no archive may ask for."""


class Entry:
    """One member. `kind` is the type flag: ``0`` file, ``1`` link, ``2`` symlink, ``3`` ``4`` devices, ``5``, ``6``."""

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime_ns", "name", "size", "sparse", "uid", "xattrs")

    def __init__(self) -> None:
        self.name = b""
        self.kind = b"0"
        self.mode = 0
        self.uid = 0
        self.gid = 0
        #: Bytes of the file as it will be; of a sparse file its holes too.
        self.size = 0
        self.mtime_ns = 0
        self.link = b""
        self.device = (0, 0)
        self.xattrs: list[tuple[bytes, bytes]] = []
        #: Where the data that follow belong, as (offset, bytes); None for a file without holes.
        self.sparse: list[tuple[int, int]] | None = None


class TarStream:
    """An archive whose bytes come in pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._view = memoryview(b"")
        self._at = 0
        self._left = 0  # data of the present entry not yet read
        self._padding = 0

    def entries(self) -> Iterator[Entry]:
        """Yield the members in turn; the data of each must be copied before the next is asked for, or are lost."""
        common: Records = {}
        own: Records = {}
        repeated: list[tuple[int, int]] = []
        while (block := self._header()) is not None:
            kind = block[156:157]
            size = _number(block[124:136], "size")
            if kind in b"xXgLK" and kind:
                if size > _EXTENSION_LIMIT:
                    raise BadTar(f"an extended header of {size} bytes")
                body = self._take(size)
                self._skip(-size % BLOCK)
                if kind == b"g":
                    common |= self._global(block, body)
                elif kind in b"xX":
                    own |= _pax(body, repeated)
                else:
                    own[b"path" if kind == b"L" else b"linkpath"] = body.split(b"\0", 1)[0]
                continue
            if kind == b"V":
                self._skip(size + -size % BLOCK)
                continue
            yield self._entry(block, kind, size, common | own if common else own, repeated)
            self._skip(self._left + self._padding)
            own, repeated = {}, []

    def drain(self) -> None:
        """Read what follows the archive's end."""
        for _ in self._pieces:
            pass

    def copy(self, entry: Entry, fd: int) -> None:
        """Write the data of the entry that came last to `fd`, a file that is empty."""
        if entry.sparse is None:
            self._copy(entry.size, fd)
            return
        for offset, size in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            self._copy(size, fd)
        os.ftruncate(fd, entry.size)

    def _copy(self, size: int, fd: int) -> None:
        self._left -= size
        while size:
            if self._at == len(self._piece):
                self._next()
            part = self._view[self._at : self._at + size]
            done = os.write(fd, part)
            self._at += done
            size -= done

    def _global(self, block: bytes, body: bytes) -> Records:  # noqa: ARG002  for readers that want to know
        """Return the records of a global extended header."""
        return _pax(body, [])

    def _header(self) -> bytes | None:
        """Return the next header, or None at the end: two blocks of zeros, one, or the end of the stream."""
        if self._at == len(self._piece) and not self._more():
            return None
        block = self._take(BLOCK)
        if block == _ZEROS:
            return None
        # The sum counts the sum's own field as spaces; some old programs summed signed bytes.
        field = block[148:156]
        stated = _checksum(field)
        if sum(block) - sum(field) + 256 != stated and _signed_sum(block) + 256 != stated:
            raise BadTar("it is no tar archive, or damaged: a header's checksum is wrong")
        return block

    def _entry(self, block: bytes, kind: bytes, size: int, pax: Records, repeated: list[tuple[int, int]]) -> Entry:
        entry = Entry()
        entry.name = name = block[:100].split(b"\0", 1)[0]
        if block[257:263] == b"ustar\0" and block[345]:
            entry.name = name = block[345:500].split(b"\0", 1)[0] + b"/" + name
        entry.link = block[157:257].split(b"\0", 1)[0]
        entry.mode = _number(block[100:108], "mode") & 0o7777
        entry.uid = _number(block[108:116], "owner")
        entry.gid = _number(block[116:124], "group")
        entry.mtime_ns = _seconds(_number(block[136:148], "time", signed=True)) * 1_000_000_000
        if kind in (b"3", b"4"):
            entry.device = _number(block[329:337], "device"), _number(block[337:345], "device")
        if pax:
            size = self._apply(entry, pax, size)
            name = entry.name
        if not 0 <= entry.uid < 1 << 32 or not 0 <= entry.gid < 1 << 32:
            raise BadTar(f"{show(name)}: owner {entry.uid}:{entry.gid}")
        if kind in (b"\0", b"7"):
            kind = b"5" if kind == b"\0" and name.endswith(b"/") else b"0"
        if kind in _BARE:
            size = 0
        entry.kind, entry.size = kind, size
        if size > _SIZE_LIMIT:
            raise BadTar(f"{show(name)}: a size of {size} bytes")
        self._left, self._padding = size, -size % BLOCK
        if kind == b"S":
            entry.kind = b"0"
            self._old_sparse(entry, block)
        elif kind == b"0" and pax:
            self._pax_sparse(entry, pax, repeated)
        elif kind not in b"0123456":
            raise BadTar(f"{show(name)}: an entry of unknown kind {kind!r}")
        return entry

    def _apply(self, entry: Entry, pax: Records, size: int) -> int:
        """Let the records of an extended header win over the header; return the size of the data."""
        for key, value in pax.items():
            if key.startswith(_XATTR):
                entry.xattrs.append((key[len(_XATTR) :], value))
            elif key in (b"path", b"linkpath"):
                if b"\0" in value:
                    raise BadTar("a name with a NUL character")
                if key == b"path":
                    entry.name = value
                else:
                    entry.link = value
            elif key == b"mtime":
                entry.mtime_ns = _time_ns(value)
            elif key == b"size":
                size = _decimal(value)
            elif key == b"uid":
                entry.uid = _decimal(value)
            elif key == b"gid":
                entry.gid = _decimal(value)
        return size

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        found = _sparse_fields(block, 386, 4)
        extended = block[482]
        while extended:
            more = self._take(BLOCK)
            found += _sparse_fields(more, 0, 21)
            extended = more[504]
            if len(found) > _SPARSE_LIMIT:
                raise BadTar(f"{show(entry.name)}: too many holes")
        self._set_sparse(entry, found, _number(block[483:495], "size"))

    def _pax_sparse(self, entry: Entry, pax: Records, repeated: list[tuple[int, int]]) -> None:
        if b"GNU.sparse.name" in pax:
            entry.name = pax[b"GNU.sparse.name"]
        if pax.get(b"GNU.sparse.major") == b"1":
            self._set_sparse(entry, self._sparse_map(), _decimal(pax.get(b"GNU.sparse.realsize", b"")))
        elif b"GNU.sparse.map" in pax:
            numbers = [_decimal(text) for text in pax[b"GNU.sparse.map"].split(b",")]
            pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
            self._set_sparse(entry, pairs, _decimal(pax.get(b"GNU.sparse.size", b"")))
        elif repeated:
            self._set_sparse(entry, repeated, _decimal(pax.get(b"GNU.sparse.size", b"")))

    def _sparse_map(self) -> list[tuple[int, int]]:
        """Read the map that precedes the data: decimal numbers, each on a line, padded to whole blocks."""
        numbers: list[int] = []
        rest, wanted = b"", 1
        while len(numbers) < wanted:
            if self._left < BLOCK:
                raise BadTar("a map of holes is damaged")
            rest += self._take(BLOCK)
            self._left -= BLOCK
            *lines, rest = rest.split(b"\n")
            numbers += [_decimal(line) for line in lines if line.strip(b"\0")]
            if numbers:
                wanted = 1 + 2 * numbers[0]
            if wanted > 2 * _SPARSE_LIMIT:
                raise BadTar("too many holes")
        return list(zip(numbers[1:wanted:2], numbers[2:wanted:2], strict=True))

    def _set_sparse(self, entry: Entry, found: list[tuple[int, int]], size: int) -> None:
        at = total = 0
        for offset, length in found:
            if offset < at or offset + length > size:
                raise BadTar(f"{show(entry.name)}: its map of holes is damaged")
            at, total = offset + length, total + length
        if total > self._left or size > _SIZE_LIMIT:
            raise BadTar(f"{show(entry.name)}: its map of holes is damaged")
        entry.sparse, entry.size = found, size

    def _take(self, size: int) -> bytes:
        at = self._at
        if at + size <= len(self._piece):
            self._at = at + size
            return self._piece[at : at + size]
        parts = []
        while size:
            if self._at == len(self._piece):
                self._next()
            part = self._piece[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        while size:
            if self._at == len(self._piece):
                self._next()
            step = min(size, len(self._piece) - self._at)
            self._at += step
            size -= step

    def _more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._piece, self._view, self._at = piece, memoryview(piece), 0
                return True
        return False

    def _next(self) -> None:
        if not self._more():
            raise BadTar("the archive ends in the middle of an entry: unexpected EOF")


def show(name: bytes) -> str:
    """Return a name as it may stand in a message."""
    return name[:200].decode(errors="backslashreplace")


def _number(field: bytes, what: str, *, signed: bool = False) -> int:
    """Read a header's number: octal, or in GNU's way binary with the first bit set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] == 0xFF:
            value = int.from_bytes(field, "big", signed=True)
        if value < 0 and not signed:
            raise BadTar(f"a header's {what} is negative")
        return value
    if field[:-1].isdigit() and field[-1] == 0:  # as nearly all programs write it
        try:
            return int(field[:-1], 8)
        except ValueError:
            raise BadTar(f"a header's {what} is no number") from None
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise BadTar(f"a header's {what} is no number")
    return int(text, 8)


def _signed_sum(block: bytes) -> int:
    return sum(b - 256 if b > 127 else b for b in block[:148] + block[156:])


def _checksum(field: bytes) -> int:
    text = field.split(b"\0", 1)[0].strip()
    return int(text, 8) if text and not text.strip(b"01234567") else -1


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise BadTar(f"an extended header's number is {show(text)!r}")
    return int(text)


def _seconds(value: int) -> int:
    return max(-_TIME_LIMIT_S, min(value, _TIME_LIMIT_S))


def _time_ns(text: bytes) -> int:
    if len(text) == 20 and text[10] == 0x2E and text[:10].isdigit() and text[11:].isdigit():  # as GNU tar writes it
        return int(text[:10]) * 1_000_000_000 + int(text[11:])
    sign = -1 if text.startswith(b"-") else 1
    whole, _, part = text.lstrip(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 20 or not (part.isdigit() or not part):
        raise BadTar(f"an extended header's time is {show(text)!r}")
    return sign * (_seconds(int(whole)) * 1_000_000_000 + int(part[:9].ljust(9, b"0")))


def _sparse_fields(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    found = []
    for start in range(at, at + 24 * count, 24):
        if not block[start]:
            break
        found.append((_number(block[start : start + 12], "hole"), _number(block[start + 12 : start + 24], "hole")))
    return found


def _pax(body: bytes, repeated: list[tuple[int, int]]) -> Records:
    """Read the records of an extended header, lines ``LENGTH KEY=VALUE``; GNU's oldest sparse form repeats two keys."""
    found: Records = {}
    offsets: list[bytes] = []
    at = 0
    while at < len(body) and body[at]:
        space = body.find(b" ", at, at + 20)
        length = int(body[at:space]) if space > at and body[at:space].isdigit() else 0
        equals = body.find(b"=", space, at + length)
        if length == 0 or equals < 0 or at + length > len(body) or body[at + length - 1] != 0x0A:
            raise BadTar("an extended header is damaged")
        key, value = body[space + 1 : equals], body[equals + 1 : at + length - 1]
        if key == b"GNU.sparse.offset":
            offsets.append(value)
        elif key == b"GNU.sparse.numbytes" and offsets:
            repeated.append((_decimal(offsets[-1]), _decimal(value)))
        else:
            found[key] = value
        at += length
    return found
