"""Which paths may hang, found out without touching them.

A look at a path on a dead NFS server or a stopped FUSE process never returns. The mount table says what lies where; a
path is walked by name from the root, and the walk ends before the first mount that waits for somebody else.
Must not: look at anything behind such a mount.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from berth.base.filesystems import may_hang
from berth.kernel.mount import mount_table

#: How many symlinks in one path are followed before it counts as a loop (linux/namei.h, MAXSYMLINKS).
_MAX_LINKS: Final = 40


class Served(NamedTuple):
    """A mount whose file system waits for another machine or process."""

    mount_point: str
    fstype: str


def table() -> dict[str, str]:
    """Return the type of the file system seen at every mount point."""
    return {row.target: row.fstype for row in mount_table()}  # of several on one place the last lies on top


def served_mount(path: str, mounts: Mapping[str, str] | None = None) -> Served | None:
    """Return the mount that a look at `path`, symlinks followed, would wait for; None if there is none.

    `mounts` is the mount table, if it was read already. A path that does not exist waits for nobody.
    """
    mounts = table() if mounts is None else mounts
    at, left, links = "", [part for part in path.split("/") if part], 0
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            at = os.path.dirname(at).rstrip("/") if part == ".." else at
            continue
        deeper = f"{at}/{part}"
        if deeper in mounts:  # never a symlink, and not to be looked at
            if may_hang(mounts[deeper]):
                return Served(deeper, mounts[deeper])
            at = deeper
            continue
        try:
            to = os.readlink(deeper)
        except FileNotFoundError:
            return None
        except OSError:  # no symlink, or one that must not be read
            at = deeper
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        left = [one for one in to.split("/") if one] + left
        if to.startswith("/"):
            at = ""
    return None
