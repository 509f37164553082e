"""Files that GNU tar says have shrunk: whether they have, or cannot be read.

Where reading fails in the middle of a file, tar takes what came before for all there is, fills it up with zeros, and
ends as it does when somebody has written to a file meanwhile (status 1). In a backup that would be a disk's failure
passed off as content. Standard library only: child processes use it. Blocking.
"""

import os
import stat
from collections.abc import Iterable
from typing import Final

#: Has tar write names in its complaints as they are; one with a line end in it cannot be told from two lines.
LITERALLY: Final = "--quoting-style=literal"
_SHRANK: Final = b": File shrank by "
_PIECE_BYTES: Final = 1 << 20


def named(complaint: bytes) -> bytes:
    """Return the name of the file that has shrunk, as a line of tar's says; empty if it says something else."""
    name, shrank, _ = complaint.rpartition(_SHRANK)
    return name.removeprefix(b"tar: ") if shrank else b""


def unreadable(directory: bytes, names: Iterable[bytes]) -> str:
    """Return which of some files cannot be read to its end, and why; empty if all can, or are gone."""
    for name in names:
        try:
            fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # gone, or something else now: it was changed
        try:
            while stat.S_ISREG(os.fstat(fd).st_mode) and os.read(fd, _PIECE_BYTES):
                pass
        except OSError as exc:
            return f"{name.decode(errors='backslashreplace')}: {(exc.strerror or str(exc)).lower()}"
        finally:
            os.close(fd)
    return ""
