"""The program `berth.kernel.archiving` runs to make a backup: GNU tar walks, this process seals, packs and encrypts.

Its one argument is a descriptor to read what to do from, as JSON (`berth.kernel.archiving.Packing`): it may hold
secrets, which have no place among the arguments of a process. The archive goes to standard output; to standard error go
lines of JSON: ``{"progress": [files, bytes]}`` now and then, at the end ``{"end": {…}}`` or ``{"error": "…"}``.
Whatever it starts is killed when it ends, however it ends.
"""

import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20
#: Pieces that may wait to be packed.
AHEAD = 8
#: At least so many seconds between two lines of progress.
PROGRESS_S = 0.2
#: Complaints of tar that are passed on.
NOTES = 20
TAR = (
    "tar", "--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sparse",
    "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--no-check-device", "--one-file-system",
    "--warning=no-file-ignored", "--quoting-style=literal", "--directory",
)  # fmt: skip


def say(**words: object) -> None:
    """Write one line for the engine."""
    os.write(2, json.dumps(words).encode() + b"\n")


def told(fd: int) -> bytes:
    """Read all that a descriptor holds."""
    with open(fd, "rb") as source:
        return source.read()


def start(argv: list[str], **more: Any) -> "subprocess.Popen[bytes]":  # noqa: ANN401  as Popen takes it
    """Start a program that is killed when this one ends."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], **more)


def main(spec: dict[str, Any]) -> None:
    """Make the backup; raises `OSError` or `RuntimeError` with words for the user."""
    sys.path[:0] = [str(Path(__file__).parents[2]), *spec["path"]]
    from berth.kernel import sealed, shrunk
    from berth.kernel.sealer import Sealer

    kind = spec["pack"]
    crypt, out = encrypting(spec.get("encrypt"))
    root = os.stat(spec["directory"])
    owner = {"owner": f"{root.st_uid}:{root.st_gid}", "mode": f"{root.st_mode & 0o7777:04o}"}
    sealer = Sealer(sealed.comment(b"head", {**spec["head"], **owner}))
    tar = start([*TAR, spec["directory"], "."], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert tar.stdout is not None
    assert tar.stderr is not None
    complaints: list[str] = []
    small: list[bytes] = []

    def heard(raw: bytes) -> None:
        if name := shrunk.named(raw):
            small.append(name)

    listener = threading.Thread(target=listen, args=(tar.stderr, complaints, heard), daemon=True)
    listener.start()
    fcntl.fcntl(tar.stdout, fcntl.F_SETPIPE_SZ, CHUNK)
    writer = Writer(packer(kind, spec["level"], spec["threads"]), out)
    writer.write(sealed.stored(kind, sealer.head))
    said = time.monotonic()
    with open(tar.stdout.fileno(), "rb", buffering=CHUNK, closefd=False) as stream:
        while chunk := stream.read(CHUNK):
            for piece in sealer.feed(chunk):
                writer.put(piece)
            if time.monotonic() - said > PROGRESS_S:
                said = time.monotonic()
                say(progress=[sealer.files, sealer.bytes])
    status = tar.wait()
    listener.join()
    if status not in (0, 1) or not sealer.ended:  # 1: a file changed while it was read; the archive is whole
        raise RuntimeError(f"tar ended with status {status}: {'; '.join(complaints) or 'it said nothing'}")
    if small and (wrong := shrunk.unreadable(os.fsencode(spec["directory"]), small)):
        raise RuntimeError(wrong)
    notes = {"changed": complaints} if complaints else {}
    sums, last = sealer.finish(notes)
    writer.put(sums)
    writer.finish()
    writer.write(sealed.stored(kind, last))
    if crypt is not None:
        os.close(out)
        if crypt.wait() != 0:
            raise RuntimeError(f"encrypting ended with status {crypt.returncode}")
    if spec["sync"]:
        os.fsync(1)  # here: on a slow disk it takes minutes, which the engine's threads are too few for
    say(end={"files": sealer.files, "bytes": sealer.bytes, "members": sealer.members, "packed": writer.count, **notes})


def listen(pipe: IO[bytes], complaints: list[str], heard: Callable[[bytes], object]) -> None:
    """Collect what tar complains about; all of it is `heard`."""
    for raw in pipe:
        heard(raw)
        text = raw.decode(errors="backslashreplace").rstrip().removeprefix("tar: ")
        if text and len(complaints) < NOTES and not text.startswith("Exiting with failure"):
            complaints.append(text)


def encrypting(how: dict[str, Any] | None) -> "tuple[subprocess.Popen[bytes] | None, int]":
    """Start what encrypts, if anything does; return it and where to write."""
    if how is None:
        return None, 1
    if "recipients" in how:
        argv = ["age", "--encrypt", *(word for one in how["recipients"] for word in ("--recipient", one))]
        passed: tuple[int, ...] = ()
    else:
        secret = os.memfd_create("passphrase")
        os.write(secret, how["passphrase"].encode() + b"\n")
        os.lseek(secret, 0, os.SEEK_SET)
        argv = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-salt", "-pass", f"fd:{secret}"]
        passed = (secret,)
    process = start(argv, stdin=subprocess.PIPE, stdout=1, pass_fds=passed)
    assert process.stdin is not None
    out = os.dup(process.stdin.fileno())
    process.stdin.close()
    return process, out


Packer = tuple[Callable[[Any], bytes], Callable[[], bytes]]


def packer(kind: str, level: int, threads: int) -> Packer:
    """Return what packs a piece, and what packs the end."""
    if kind == "zstd":
        import zstandard

        # A checksum over the content costs nothing beside the rest and finds damage where it is.
        packing = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                level, threads=threads, write_checksum=True, write_content_size=False
            )
        ).compressobj()
        return packing.compress, packing.flush
    if kind == "gzip":
        from isal import isal_zlib

        zipping = isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31)
        return zipping.compress, zipping.flush
    return bytes, bytes


class Writer:
    """Packs and writes in a thread of its own, so that reading and summing go on meanwhile."""

    def __init__(self, pack: Packer, fd: int) -> None:
        self._pack, self._flush = pack
        self._fd = fd
        self.count = 0
        self._waiting: queue.Queue[Any] = queue.Queue(AHEAD)
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, piece: bytes | memoryview) -> None:
        """Hand over a piece to be packed."""
        if self._failed is not None:
            raise self._failed
        if len(piece):
            self._waiting.put(piece)

    def finish(self) -> None:
        """Wait until all is packed and written."""
        self._waiting.put(None)
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        while (piece := self._waiting.get()) is not None:
            if self._failed is None:
                self._try(self._pack, piece)
        if self._failed is None:
            self._try(self._flush)

    def _try(self, pack: Callable[..., bytes], *pieces: bytes | memoryview) -> None:
        try:
            self.write(pack(*pieces))
        except Exception as exc:  # noqa: BLE001  handed on, and raised where the pieces come from
            self._failed = exc

    def write(self, data: bytes) -> None:
        """Write packed bytes."""
        view = memoryview(data)
        self.count += len(view)
        while view:
            view = view[os.write(self._fd, view) :]


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        main(json.loads(told(int(sys.argv[1]))))
    except Exception as exc:  # noqa: BLE001  the border: the engine reads the words
        words = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)
        say(error=words or type(exc).__name__)
        os._exit(1)
    os._exit(0)
