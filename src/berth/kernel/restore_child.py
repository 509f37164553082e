"""The program `berth.kernel.archiving` runs to restore or verify: decrypts, unpacks, checks every sum, makes the files.

Its one argument is a descriptor to read what to do from, as JSON (`berth.kernel.archiving.Unpacking`); the archive
comes from standard input. To standard error goes, as a line of JSON, ``{"head": {…}}`` once that is known, and at last
one: ``{"ok": {…}}``, or ``{"bad": "…"}`` if the archive is at fault, or ``{"failed": "…"}`` if this
machine is. Files are made only below a directory that is the process's root before it reads the first header.
"""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

CHUNK = 1 << 20
#: Errors that say nothing about the archive.
MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EMLINK)
#: Space that is left to others, in bytes.
RESERVE = 32 << 20
LOOK_EVERY = 16
#: What users have, too: first bytes, name, and what makes a tar of it.
PACKED_OTHERWISE = (
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc FILE | berth volume restore --as NAME -"),
    (b"LZIP", "lzip", "lzip -dc FILE | berth volume restore --as NAME -"),
    (b"\x89LZO", "lzop", "lzop -dc FILE | berth volume restore --as NAME -"),
    (b"\x5d\x00\x00", "lzma", "xz --format=lzma -dc FILE | berth volume restore --as NAME -"),
    (b"\x1f\x9d", "compress", "gzip -dc FILE | berth volume restore --as NAME -"),
    (b"PK\x03\x04", "zip", "unzip FILE -d DIR && tar -C DIR -c . | berth volume restore --as NAME -"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x -oDIR FILE && tar -C DIR -c . | berth volume restore --as NAME -"),
    (b"07070", "cpio", "bsdtar -cf - @FILE | berth volume restore --as NAME -"),
)
AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED")
OPENSSL = b"Salted__"


def say(**words: object) -> None:
    """Write one line for the engine."""
    os.write(2, json.dumps(words).encode() + b"\n")


def told(fd: int) -> bytes:
    """Read all that a descriptor holds."""
    with open(fd, "rb") as source:
        return source.read()


class Wrong(Exception):
    """The archive cannot be used, by its own fault or by that of the key."""


def main(spec: dict[str, Any]) -> None:
    """Read the archive and say how it went."""
    sys.path[:0] = [str(Path(__file__).parents[2]), *spec["path"]]
    from berth.kernel.inflate import BadPacking
    from berth.kernel.layer_child import ahead
    from berth.kernel.restoretree import RestoreTree
    from berth.kernel.sealed import SealedStream
    from berth.kernel.tarstream import BadTar
    from berth.kernel.tartree import inside

    source = Source(spec)
    stream: SealedStream | None = None
    try:
        pieces = unpacked(source)
        if spec["directory"]:
            os.chroot(spec["directory"])
            os.chdir("/")
        stream = SealedStream(
            ahead(bounded(pieces, source, spec, lambda: stream is not None and stream.head)),
            lambda head: say(head=head),
        )
        notes: list[str] = []
        prefix = ""
        if spec["directory"]:
            tree = RestoreTree(stream)
            tree.fill()
            prefix, notes = tree.prefix, tree.notes
        else:
            for entry in stream.members_checked():
                inside(entry.name, "volume")
        stream.drain()
        source.end()
    except (BadTar, BadPacking) as exc:
        # What was not decrypted to its end is no tar: the key is at fault, not the archive.
        at = f", at {stream.where()}" if stream is not None and stream.where() not in str(exc) else ""
        say(bad=source.said_of_key() or f"{exc}{at}")
        return
    except Wrong as exc:
        say(bad=str(exc))
        return
    except OSError as exc:
        name = exc.filename.decode(errors="backslashreplace") if isinstance(exc.filename, bytes) else exc.filename
        kind = "failed" if exc.errno in MACHINES else "bad"
        say(**{kind: f"{f'{name}: ' if name else ''}{(exc.strerror or str(exc)).lower()}"})
        return
    say(ok={"head": stream.head, "end": stream.end, "files": stream.files, "bytes": stream.bytes,
            "members": stream.members, "read": source.count, "prefix": prefix, "notes": notes})  # fmt: skip


def bounded(
    pieces: Iterator[bytes], source: "Source", spec: dict[str, Any], ours: Callable[[], object]
) -> Iterator[bytes]:
    """Stop an archive that unpacks to more than was allowed, or than there is room for."""
    total = 0
    for number, piece in enumerate(pieces):
        total += len(piece)
        if spec["most"] and total > spec["most"]:
            raise Wrong(f"the archive unpacks to more than the {spec['most']} bytes that were allowed")
        ratio = spec["ratio"] or (0 if ours() else spec["foreign_ratio"])
        if ratio and total > spec["ratio_from"] and total > ratio * source.count:
            raise Wrong(f"the archive unpacks to more than {ratio} times its size; if that is meant, raise --max-ratio")
        yield piece
        if spec["directory"] and number % LOOK_EVERY == LOOK_EVERY - 1:
            space = os.statvfs("/")
            if space.f_bavail * space.f_frsize < RESERVE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Source:
    """Standard input, decrypted if need be; `count` is what came in."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.count = 0
        self._crypt: subprocess.Popen[bytes] | None = None
        self._name = ""
        head = b""
        while len(head) < 64 and (piece := os.read(0, 1 << 16)):
            head += piece
        self.count = len(head)
        self._head = head
        self._read = self._plain
        if head.startswith(AGE):
            if not spec.get("identity"):
                raise_wrong("the backup is encrypted with age: the identity file that opens it is needed (--identity)")
            self._decrypt(["age", "--decrypt", "--identity"], spec["identity"], "/dev/fd/{}")
        elif head.startswith(OPENSSL):
            if not spec.get("passphrase"):
                raise_wrong("the backup is encrypted with a passphrase, which is needed (--passphrase-file)")
            argv = ["openssl", "enc", "-d", "-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-pass"]
            self._decrypt(argv, spec["passphrase"] + "\n", "fd:{}")

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        return self._read(size)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece

    def said_of_key(self) -> str:
        """Return why nothing could be decrypted; empty if that is not what went wrong."""
        if self._crypt is None:
            return ""
        self._crypt.kill()
        status = self._crypt.wait()
        said = (self._crypt.stderr.read() if self._crypt.stderr else b"").decode(errors="replace")
        if status in (0, -9) and not said:
            return "the passphrase is wrong, or the backup is damaged" if self._name == "openssl" else ""
        if "no identity matched" in said:
            return "the identity does not open this backup: it was encrypted to another key"
        if "bad decrypt" in said or "wrong final block" in said or self._name == "openssl":
            return "the passphrase is wrong, or the backup is damaged"
        first = next((line for line in said.splitlines() if line.startswith("age: ")), said.strip())
        return f"the backup cannot be decrypted: {first.removeprefix('age: ').removeprefix('error: ')}"

    def end(self) -> None:
        """See that decryption came to a good end."""
        if self._crypt is None:
            return
        for _ in self:
            pass
        if self._crypt.wait() != 0:
            raise Wrong(self.said_of_key())

    def _plain(self, size: int) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        piece = os.read(0, min(size, CHUNK))
        self.count += len(piece)
        return piece

    def _decrypt(self, argv: list[str], secret: str, form: str) -> None:
        held = os.memfd_create("secret")
        os.write(held, secret.encode())
        os.lseek(held, 0, os.SEEK_SET)
        self._name = argv[0]
        self._crypt = process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv, form.format(held)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(held,),
        )  # fmt: skip
        os.close(held)
        out = process.stdout
        assert out is not None

        def feed() -> None:
            assert process.stdin is not None
            try:
                while piece := self._plain(CHUNK):
                    process.stdin.write(piece)
                process.stdin.close()
            except OSError:
                return  # it has ended; why is read from what it said

        threading.Thread(target=feed, daemon=True).start()
        self._read = lambda size: os.read(out.fileno(), size)


def raise_wrong(words: str) -> None:
    """Raise `Wrong`."""
    raise Wrong(words)


def unpacked(source: Source) -> Iterator[bytes]:
    """Return the archive's bytes; what unpacks them is imported now, because later the root is another."""
    from berth.kernel.inflate import decoded, gzip_step, plain_step

    first = source.read()
    while len(first) < 6 and (more := source.read()):
        first += more
    rest = _joined(first, source)
    if first.startswith(b"\x1f\x8b"):
        from isal import isal_zlib

        return _guarded(decoded(_small(rest, 1 << 17), lambda: isal_zlib.decompressobj(31), gzip_step))
    if first.startswith(b"BZh"):
        import bz2

        return decoded(_small(rest, 1 << 17), bz2.BZ2Decompressor, plain_step)
    if first.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return decoded(_small(rest, 1 << 17), lzma.LZMADecompressor, plain_step)
    if first.startswith(b"\x28\xb5\x2f\xfd") or first[1:4] == b"\x2a\x4d\x18":
        import zstandard

        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            cast("IO[bytes]", _File(rest)), read_size=1 << 17, read_across_frames=True
        )
        return _guarded(iter(lambda: reader.read(CHUNK), b""))
    if not first and not source.count:  # a wrong key, too, leaves nothing; that is told otherwise
        raise Wrong("the archive is empty: there is not one byte of it")
    for magic, name, command in PACKED_OTHERWISE:
        if first.startswith(magic) and first[257:262] != b"ustar":
            raise Wrong(f"the archive is made by {name}, which is not read here; unpack it first: {command}")
    return rest


def _joined(first: bytes, source: Source) -> Iterator[bytes]:
    if first:
        yield first
    yield from source


def _small(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), size):
            yield piece[at : at + size]


def _guarded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    from berth.kernel.inflate import BadPacking

    try:
        yield from pieces
    except Exception as exc:
        if type(exc).__name__ in ("ZstdError", "IsalError", "error"):
            raise BadPacking(f"the packed data are damaged: {exc}") from None
        raise


class _File:
    """Pieces as a file, for what only reads files."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""

    def read(self, size: int) -> bytes:
        if not self._piece:
            self._piece = next(self._pieces, b"")
        part, self._piece = self._piece[:size], self._piece[size:]
        return part


if __name__ == "__main__":
    try:
        main(json.loads(told(int(sys.argv[1]))))
    except Wrong as exc:
        say(bad=str(exc))
    sys.stderr.flush()
    os._exit(0)  # threads may wait for ever
