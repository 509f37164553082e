"""How full a disk is. Blocking; only for disks of this machine."""

import os
from pathlib import Path


def free_share(path: Path) -> tuple[int, int]:
    """Return the bytes free to root and the bytes in all of the file system of `path`, or of what will hold it."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize, found.f_blocks * found.f_frsize
