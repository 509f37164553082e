"""A file system whose server hangs as a dead NFS server does: bindfs, a FUSE program, stopped where it stands."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.engines import wait_for


class Hangable:
    """A mount of `source` at `at` that can be made to hang."""

    def __init__(self, source: Path, at: Path, inside: Sequence[str] = ()) -> None:
        """Mount; `inside` is a command prefix that enters another mount namespace."""
        for place in (source, at):
            place.mkdir(exist_ok=True)
        self.source, self.at, self._inside = source, at, list(inside)
        self._server = subprocess.Popen(
            [*self._inside, "bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0", str(source), str(at)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self._mounted, f"bindfs at {at}")

    def _mounted(self) -> bool:
        assert self._server.poll() is None, "bindfs has ended"
        table = subprocess.run([*self._inside, "cat", "/proc/self/mountinfo"], capture_output=True, text=True).stdout
        return any(line.split()[4] == str(self.at) for line in table.splitlines())

    def hang(self) -> None:
        """Answer nothing any more."""
        os.kill(self._server.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        os.kill(self._server.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the server and unmount."""
        self._server.kill()
        self._server.wait()
        subprocess.run([*self._inside, "umount", "-l", str(self.at)], check=False, capture_output=True)


@contextlib.contextmanager
def hangable(place: Path, inside: Sequence[str] = ()) -> Iterator[Hangable]:
    """Lend one below `place`."""
    made = Hangable(place / "served", place / "hangs", inside)
    try:
        yield made
    finally:
        made.close()


def is_missing() -> str:
    """Return why there can be none here, or nothing."""
    return "" if shutil.which("bindfs") else "needs bindfs (Debian: apt-get install bindfs)"
