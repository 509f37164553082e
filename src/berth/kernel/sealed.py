"""The form of a backup: a tar archive that says what it holds, and by which every file in it can be checked.

It is a pax archive of GNU tar's. Between its members stand *global extended headers* whose one record is a
``comment``, which POSIX tells every reader to ignore (pax, "pax Header Block"); so any tar unpacks it, and unpacks
nothing but the files. The comments are

* ``berth-backup 1 head JSON``: first in the archive; what was backed up, when, and how.
* ``berth-backup 1 sums JSON`` and then lines as sha256sum(1) writes them: behind every few hundred files, the SHA-256
  of each file since the last such comment. ``~`` before a name: the file has holes; the sum is that of map and pieces.
* ``berth-backup 1 end JSON``: last; how much it was. Behind it stands the root directory a second time, because some
  readers take a comment with nothing behind it for damage.

The *seal* in ``sums`` and ``end`` is the SHA-256 of everything before, with each file's data replaced by their sum: so
names, owners, modes, attributes and the order are covered too, and no byte is hashed twice.

The first and the last piece of a packed archive are packed as they are ("stored"), each in a frame of its own, so
that what a backup holds can be read from a file's two ends without unpacking it.
Runs inside child processes: standard library only. Pure but for `SealedStream`'s source.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from berth.kernel.acltext import packed
from berth.kernel.tarstream import BLOCK, BadTar, Entry, Records, TarStream, show

MARK: Final = b"berth-backup 1 "
#: The name in the header block of a comment, for those who look with a hex editor.
_NAME: Final = b"berth-backup"
#: A batch of sums ends after so many files or so many bytes of lines: readers keep no more in memory.
BATCH_FILES: Final = 512
BATCH_BYTES: Final = 128 << 10
#: Largest comment in bytes: what a reader of ours accepts, and busybox does.
COMMENT_LIMIT: Final = 1 << 20
#: Damaged files that are named before reading goes on without naming more.
NAMED: Final = 20
#: From so many bytes on a piece is summed in another thread while it is written.
_BESIDE: Final = 128 << 10
_ACLS: Final = (
    (b"SCHILY.acl.access", b"system.posix_acl_access"),
    (b"SCHILY.acl.default", b"system.posix_acl_default"),
)
_EXTENDED: Final = b"x"[0]
_FILE: Final = b"0"[0]
_DOT: Final = b"."[0]
_LINE_END: Final = b"\n"[0]
#: The size of an extended header that holds a time in nanoseconds and nothing else.
_ONE_TIME: Final = b"%011o\0" % 30
_ZSTD_BLOCK: Final = 128 << 10
END_OF_ARCHIVE: Final = bytes(2 * BLOCK)


class Damaged(BadTar):
    """A backup is not what was written: files are named."""


def comment(what: bytes, said: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a global extended header that holds one comment."""
    value = MARK + what + b" " + json.dumps(said, separators=(",", ":")).encode() + (b"\n" + body if body else b"")
    record = _record(b"comment=" + value + b"\n")
    if len(record) > COMMENT_LIMIT:
        raise ValueError(f"a comment of {len(record)} bytes")
    header = bytearray(BLOCK)
    header[: len(_NAME)] = _NAME
    header[100:148] = b"0000644\x000000000\x000000000\x00%011o\x00%011o\x00" % (len(record), 0)
    header[148:156] = b" " * 8
    header[156:157] = b"g"
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\x00 " % sum(header)
    return bytes(header) + record + bytes(-len(record) % BLOCK)


def _record(rest: bytes) -> bytes:
    length = len(rest) + 2
    while len(b"%d " % length) + len(rest) != length:
        length = len(b"%d " % length) + len(rest)
    return b"%d %b" % (length, rest)


def sealed_with(seal: Any, said: dict[str, Any]) -> str:  # noqa: ANN401  a hash of hashlib's
    """Return the seal that stands in a comment: over all before it, and over what the comment says besides."""
    final = seal.copy()
    final.update(json.dumps(said, separators=(",", ":")).encode())
    found: str = final.hexdigest()
    return found


def line(digest: bytes, name: bytes, *, sparse: bool) -> bytes:
    """Return one line of sums; names with line ends and backslashes are written as sha256sum does."""
    if b"\\" in name or b"\n" in name or b"\r" in name:
        name = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        return b"\\%b %c%b\n" % (digest.hex().encode(), b"~" if sparse else b" ", name)
    return b"%b %c%b\n" % (digest.hex().encode(), b"~" if sparse else b" ", name)


def stored(kind: str, data: bytes) -> bytes:
    """Pack a short piece readable as it stands: a zstd frame of raw blocks (RFC 8878), or gzip of level 0."""
    if kind == "gzip":
        packer = zlib.compressobj(0, wbits=31)
        return packer.compress(data) + packer.flush()
    if kind != "zstd":
        return data
    # One segment, its size in four bytes, no checksum: section 3.1.1.1. Blocks: section 3.1.1.2.
    frame = [b"\x28\xb5\x2f\xfd\xa0", len(data).to_bytes(4, "little")]
    for at in range(0, max(len(data), 1), _ZSTD_BLOCK):
        block = data[at : at + _ZSTD_BLOCK]
        last = at + _ZSTD_BLOCK >= len(data)
        frame += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(frame)


class SealedStream(TarStream):
    """Reads an archive and checks it while it passes; one that is no backup of ours is read as any other.

    `files` counts regular files, `bytes` their bytes as they will be, `head` and `end` are what the comments say.
    """

    def __init__(self, pieces: Iterator[bytes], note_head: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        super().__init__(pieces)
        self._note_head = note_head
        self.head: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.files = 0
        self.bytes = 0
        self.members = 0
        self.wrong: list[str] = []
        self.last = b""
        self._seal = hashlib.sha256()
        self._before = self._seal
        self._sum = self._seal
        self._batch: list[bytes] = []
        self._padded = b""
        self._pool = ThreadPoolExecutor(1)

    def members_checked(self) -> Iterator[Entry]:
        """Yield the members in turn as `entries` does. Raises `Damaged` at once where a part cannot be trusted."""
        for entry in self.entries():
            if self.end is not None:
                if entry.kind == b"5" and entry.name in (b".", b"./"):
                    continue
                raise Damaged(f"{show(entry.name)}: stands behind the end of the backup")
            self.members += 1
            self.last = entry.name
            if entry.kind != b"0":
                yield entry
                continue
            self.files += 1
            self.bytes += entry.size
            yield entry
            # What was not copied is hashed as it is skipped; then the padding belongs to the seal again.
            left = self._left
            self._left = 0
            while left:
                part = self._part(left)
                self._sum.update(part)
                left -= len(part)
            self._close(entry)
        if self.head is not None and self.end is None:
            raise Damaged(f"the backup ends too early, after {show(self.last) if self.last else 'its head'}")

    def drain(self) -> None:
        """Read what follows the archive's end: the second block of zeros, and of other archives whatever there is."""
        left = len(self._piece) - self._at + sum(map(len, self._pieces))
        if self.head is not None and left != BLOCK:
            raise Damaged("the backup was cut short, or something was put behind it")

    def where(self) -> str:
        """Say how far reading got, for messages about damage."""
        return show(self.last) if self.last else "its beginning"

    def entries(self) -> Iterator[Entry]:
        """Yield the members in turn; the plain files of a backup, which are nearly all, in a shorter way."""
        others = super().entries()
        while True:
            entry = self._quick() if self.head is not None else None
            if entry is None:
                entry = next(others, None)
                if entry is None:
                    return
            yield entry
            self._skip(self._left + self._padding)

    def _quick(self) -> Entry | None:
        """Read a plain file's headers, if all of them are at hand and none holds anything but the usual; else nothing.

        Their checksums are not looked at: the seal is over them, and says more.
        """
        at, piece = self._at, self._piece
        if at + 3 * BLOCK > len(piece):
            return None
        time = b""
        if piece[at + 156] == _EXTENDED:
            if piece[at + 124 : at + 136] != _ONE_TIME or not piece.startswith(b"30 mtime=", at + BLOCK):
                return None
            time = piece[at + BLOCK + 9 : at + BLOCK + 30]
            at += 2 * BLOCK
        if piece[at + 156] != _FILE or piece[at + 345]:
            return None
        entry = Entry()
        try:
            size = int(piece[at + 124 : at + 135], 8)
            entry.mode = int(piece[at + 100 : at + 107], 8) & 0o7777
            entry.uid = int(piece[at + 108 : at + 115], 8)
            entry.gid = int(piece[at + 116 : at + 123], 8)
            if not time:
                entry.mtime_ns = int(piece[at + 136 : at + 147], 8) * 1_000_000_000
            elif time[10] == _DOT and time[20] == _LINE_END:
                entry.mtime_ns = int(time[:10]) * 1_000_000_000 + int(time[11:20])
            else:
                return None
        except ValueError:
            return None
        if min(size, entry.uid, entry.gid) < 0:  # int() takes a sign, which no header has
            return None
        entry.name = piece[at : at + 100].split(b"\0", 1)[0]
        entry.size = size
        self._seal.update(self._view[self._at : at + BLOCK])
        self._sum = hashlib.sha256()
        self._at = at + BLOCK
        self._left, self._padding = size, -size % BLOCK
        return entry

    def _copy(self, size: int, fd: int) -> None:
        self._left -= size
        digest = self._sum if self.head is not None else None
        while size:
            part = self._part(size)
            size -= len(part)
            if digest is None:
                _write(fd, part)
            elif len(part) < _BESIDE:
                digest.update(part)
                _write(fd, part)
            else:
                summed = self._pool.submit(digest.update, part)
                _write(fd, part)
                summed.result()

    def _close(self, entry: Entry) -> None:
        if self.head is None:
            return
        digest = self._sum.digest()
        self._sum = self._seal
        self._seal.update(digest)
        self._batch.append(line(digest, entry.name, sparse=entry.sparse is not None))
        if len(self._batch) > 4 * BATCH_FILES:
            raise Damaged(f"the sums of the files up to {show(entry.name)} are missing")

    # What TarStream calls; each byte goes into the seal or into the sum of the file it belongs to.

    def _take(self, size: int) -> bytes:
        taken = super()._take(size)
        if self.head is not None:
            self._sum.update(taken)
        return taken

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        while size:
            part = self._part(size)
            if self.head is not None:
                self._seal.update(part)
            elif not self.members:
                self._padded += part  # of what may be the head, which is not known yet
            size -= len(part)

    def _part(self, most: int) -> memoryview:
        if self._at == len(self._piece):
            self._next()
        part = self._view[self._at : self._at + most]
        self._at += len(part)
        return part

    def _header(self) -> bytes | None:
        if self.head is not None:
            self._before = self._seal.copy()
        elif self._at == len(self._piece) and not self._more():
            raise BadTar(f"the archive ends without its end mark, after {self.where()}: it was cut short")
        return super()._header()

    def _apply(self, entry: Entry, pax: Records, size: int) -> int:
        size = super()._apply(entry, pax, size)
        for key, kind in _ACLS:
            if key in pax and all(name != kind for name, _ in entry.xattrs):
                value = packed(pax[key])
                if value is not None:
                    entry.xattrs.append((kind, value))
        return size

    def _entry(self, block: bytes, kind: bytes, size: int, pax: Records, repeated: list[tuple[int, int]]) -> Entry:
        if self.head is None:
            return super()._entry(block, kind, size, pax, repeated)
        self._sum = hashlib.sha256()  # of a file with holes also the map that precedes its data
        entry = super()._entry(block, kind, size, pax, repeated)
        if entry.kind != b"0":
            self._sum = self._seal
        return entry

    def _global(self, block: bytes, body: bytes) -> Records:
        records = super()._global(block, body)
        said = records.pop(b"comment", b"")
        if not said.startswith(MARK):
            if block.startswith(_NAME):
                raise Damaged(f"a note of the backup is damaged, after {self.where()}")
            return records
        what, _, rest = said[len(MARK) :].partition(b" ")
        told, _, lines = rest.partition(b"\n")
        try:
            value: dict[str, Any] = json.loads(told)
        except ValueError:
            raise Damaged(f"a note of the backup is damaged, after {self.where()}") from None
        if what == b"head" and self.head is None and not self.members:
            self.head = value
            self._note_head(value)
            self._seal.update(block + body + self._padded)
        elif what in (b"sums", b"end") and self.head is not None and self.end is None:
            self._check(lines, value.pop("seal", ""), value)
            if what == b"end":
                self._count(value)
                self.end = value
        else:
            raise Damaged(f"a note of the backup stands where none belongs, after {self.where()}")
        return records

    def _check(self, lines: bytes, seal: str, value: dict[str, Any]) -> None:
        told = lines.splitlines(keepends=True)
        before = len(self.wrong)
        for index, mine in enumerate(self._batch):
            stated = told[index] if index < len(told) else b""
            if stated == mine:
                continue
            if _name(stated) == _name(mine):
                self._blame(f"{show(_name(mine))}: its data are not those that were backed up")
            else:
                other = f": {show(_name(stated))} was" if stated else ""
                self._blame(f"{show(_name(mine))}: was not backed up in this place{other}")
        for stated in told[len(self._batch) :]:
            self._blame(f"{show(_name(stated))}: is missing")
        self._batch.clear()
        if len(self.wrong) == before and seal != sealed_with(self._before, value):
            self._blame(f"{self.where()}: names, owners, modes or attributes up to here are not those backed up")
        if self.wrong:
            raise Damaged("; ".join(self.wrong))

    def _count(self, value: dict[str, Any]) -> None:
        seen = {"files": self.files, "bytes": self.bytes, "members": self.members}
        if any(value.get(key) != count for key, count in seen.items()):
            raise Damaged(f"the backup has {self.members} members, of the {value.get('members')} that were backed up")

    def _blame(self, words: str) -> None:
        if len(self.wrong) < NAMED:
            self.wrong.append(words)


def _write(fd: int, part: memoryview) -> None:
    done = os.write(fd, part)
    while done < len(part):
        done += os.write(fd, part[done:])


def _name(told: bytes) -> bytes:
    return told.rstrip(b"\n").lstrip(b"\\")[66:]
