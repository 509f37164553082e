"""The program `berth.kernel.layers` runs: unpacks one layer into an empty directory, and says its digest.

``layer_child.py DIRECTORY BLOB PACKED``: PACKED is the SHA-256 that the file BLOB must have, or ``-`` if that has been
checked. Prints one line: ``ok DIFF_ID FILE_BYTES STREAM_BYTES``, or ``bad WORDS`` if the layer is at fault, or
``failed WORDS`` if this machine is. Started by file name with an isolated interpreter.
"""

import errno
import hashlib
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

#: Errors that say nothing about the layer.
MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EMLINK)
#: Pieces that may wait to be written.
AHEAD = 6
#: Space that is left to others, in bytes: a layer that unpacks to more than the disk has stops before its end.
RESERVE = 32 << 20
LOOK_EVERY = 64


def main(argv: list[str]) -> str:
    """Do it and return the answer."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from berth.kernel.inflate import BadPacking, pieces
    from berth.kernel.layertree import LayerTree
    from berth.kernel.tarstream import BadTar, TarStream

    directory, blob, packed = argv
    raw, unpacked = hashlib.sha256(), hashlib.sha256()
    length = 0
    try:
        source = pieces(blob, raw.update if packed != "-" else len)
        os.chroot(directory)
        os.chdir("/")

        def counted() -> Iterator[bytes]:
            nonlocal length
            for number, piece in enumerate(source):
                unpacked.update(piece)
                length += len(piece)
                yield piece
                if number % LOOK_EVERY == LOOK_EVERY - 1:
                    space = os.statvfs("/")
                    if space.f_bavail * space.f_frsize < RESERVE:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        stream = TarStream(ahead(counted()))
        size = LayerTree(stream).fill()
        stream.drain()
    except (BadTar, BadPacking) as exc:
        return f"bad {exc}"
    except OSError as exc:
        name = exc.filename.decode(errors="backslashreplace") if isinstance(exc.filename, bytes) else exc.filename
        kind = "failed" if exc.errno in MACHINES else "bad"
        return f"{kind} {f'{name}: ' if name else ''}{(exc.strerror or str(exc)).lower()}"
    if packed != "-" and raw.hexdigest() != packed:
        return f"bad its digest is sha256:{raw.hexdigest()}, not sha256:{packed}"
    return f"ok sha256:{unpacked.hexdigest()} {size} {length}"


def ahead(source: Iterator[bytes]) -> Iterator[bytes]:
    """Let a thread fetch pieces while others are being written: inflating and hashing hold no lock of Python's."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)

    def fetch() -> None:
        try:
            for piece in source:
                waiting.put(piece)
            waiting.put(None)
        except BaseException as exc:  # noqa: BLE001  handed on, and raised where the pieces are used
            waiting.put(exc)

    threading.Thread(target=fetch, name="inflate", daemon=True).start()
    while (got := waiting.get()) is not None:
        if isinstance(got, BaseException):
            raise got
        yield got


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]).replace("\n", " ") + "\n")
    sys.stdout.flush()
    os._exit(0)  # the thread may wait for ever
