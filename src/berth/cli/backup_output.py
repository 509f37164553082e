"""What a backup leaves on the user's side: a file that appears whole, and how far it is."""

from __future__ import annotations

import os
import sys
import threading

from berth.cli.errors import CommandFailed
from berth.cli.files import leave_at_signals, private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


#: Bytes after which the disk is asked to take what has been written.
_SYNC_EVERY = 32 << 20


def _sync(fd: int, failed: list[OSError]) -> None:
    try:
        os.fdatasync(fd)
    except OSError as error:
        failed.append(error)  # the kernel tells it once
    finally:
        os.close(fd)


class Target:
    """A file that gets its name once it is whole and on its disk; or standard output."""

    def __init__(self, output: str, name: str) -> None:
        self._partial = ""
        self._unsynced = 0
        self._failed: list[OSError] = []
        self._syncing: threading.Thread | None = None
        self._file: IO[bytes] = sys.stdout.buffer
        if output == "-":
            self.path = "-"
            return
        self.path = os.path.join(output, name) if not output or os.path.isdir(output) else output
        if not output or os.path.isdir(output):
            self.path = _free(self.path)
        # A device or a pipe is written as it is: a file that took its place would be the end of it.
        if not os.path.exists(self.path) or os.path.isfile(self.path):
            place = os.path.dirname(os.path.realpath(self.path))
            self._partial = os.path.join(place, f".berth-{os.urandom(4).hex()}.partial")

    def open(self) -> None:
        """Make the file; from now on `finish` or `drop` must follow, also when a signal ends the process."""
        if self.path == "-":
            return
        leave_at_signals()
        try:
            self._file = open(  # noqa: SIM115  `finish`, `drop`
                self._partial or self.path, "xb" if self._partial else "wb", opener=private
            )
        except OSError as error:
            raise CommandFailed(f"open {self.path}: {str(error.strerror).lower()}") from None

    def write(self, data: bytes) -> None:
        """Write a piece; the disk gets what came before meanwhile, so that little is left for the end."""
        try:
            self._file.write(data)
            self._unsynced += len(data)
            if (
                self._partial
                and self._unsynced >= _SYNC_EVERY
                and (self._syncing is None or not self._syncing.is_alive())
            ):
                self._unsynced = 0
                self._file.flush()
                self._syncing = threading.Thread(target=_sync, args=(os.dup(self._file.fileno()), self._failed))
                self._syncing.start()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"write {self.path}: {str(error.strerror).lower()}") from None

    def finish(self) -> None:
        """See that all is on the disk, and give the file its name."""
        try:
            if self._syncing is not None:
                self._syncing.join()
            if self._failed:
                raise self._failed[0]
            self._file.flush()
            if not self._partial:
                if self.path != "-":
                    self._file.close()
                return
            os.fsync(self._file.fileno())
            self._file.close()
            path = os.path.realpath(self.path)
            os.replace(self._partial, path)
            directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(directory)
            os.close(directory)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"write {self.path}: {str(error.strerror).lower()}") from None

    def drop(self) -> None:
        """Remove what has been written."""
        if self._file is not sys.stdout.buffer:
            try:
                self._file.close()
            except OSError:
                pass  # a disk that is full; the file goes anyway
        if self._partial:
            try:
                os.unlink(self._partial)
            except FileNotFoundError:
                pass


def _free(path: str) -> str:
    """Return `path`, or with a number if it is taken: two backups in one second are two files."""
    if not os.path.exists(path):
        return path
    stem, dot, suffix = path.rpartition(".tar")
    number = 2
    while os.path.exists(found := f"{stem}-{number}{dot}{suffix}"):
        number += 1
    return found


class Meter:
    """Shows how far it is, on a terminal and only there."""

    def __init__(self, *, quiet: bool) -> None:
        self._on = not quiet and os.isatty(2)
        self._shown = 0.0

    def show(self, what: str, count: int, more: str = "", total: int = 0) -> None:
        """Draw how far it is, unless that was done just now."""
        if not self._on:
            return
        import time

        if time.monotonic() - self._shown < 0.1:
            return
        self._shown = time.monotonic()
        from berth.cli.human import size
        from berth.cli.progress import bar_text

        text = bar_text({"current": count, "total": total}, 120) if total else size(count)
        sys.stderr.write(f"\r\x1b[2K{what}: {text}{more}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._on and self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._shown = 0.0
