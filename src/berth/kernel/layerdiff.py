"""What an overlay's writable layer changes, seen against the layers below it. Blocking; follows no symlink."""

import os
import stat
from collections.abc import Collection, Sequence
from typing import Final

#: Kinds of change, by the numbers of ``GET /containers/{id}/changes``.
MODIFIED: Final = 0
ADDED: Final = 1
DELETED: Final = 2

_OPAQUE: Final = ("trusted.overlay.opaque", "user.overlay.opaque")


def changes(upper: str, lowers: Sequence[str], hidden: Collection[str] = ()) -> list[tuple[str, int]]:
    """List changed paths but for those `hidden`, in the order of their names.

    A directory is modified when something in it is.
    """
    found: dict[str, int] = {}
    for top, names, files in os.walk(upper):
        inside = top[len(upper) :] or "/"
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(inside, name)
            if path in hidden:
                continue
            info = os.lstat(os.path.join(top, name))
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                if _below(path, lowers) is not None:
                    found[path] = DELETED
            else:
                below = _below(path, lowers)
                is_new = below is None or stat.S_IFMT(below.st_mode) != stat.S_IFMT(info.st_mode)
                replaced = not is_new and stat.S_ISDIR(info.st_mode) and _is_opaque(os.path.join(top, name))
                if is_new or replaced or not stat.S_ISDIR(info.st_mode) or _differs(info, below):
                    found[path] = ADDED if is_new else MODIFIED
                if replaced:
                    found |= dict.fromkeys(_gone(path, os.path.join(top, name), lowers), DELETED)
            if path in found:
                _mark_parents(path, found)
    return sorted(found.items())


def _mark_parents(path: str, found: dict[str, int]) -> None:
    parent = os.path.dirname(path)
    while parent != "/":
        found.setdefault(parent, MODIFIED)
        parent = os.path.dirname(parent)


def _differs(info: os.stat_result, below: os.stat_result | None) -> bool:
    return below is not None and (info.st_mode, info.st_uid, info.st_gid) != (below.st_mode, below.st_uid, below.st_gid)


def _gone(path: str, upper: str, lowers: Sequence[str]) -> list[str]:
    """List what was in a directory that was removed and made anew, and is not in the new one."""
    names: set[str] = set()
    for lower in lowers:
        try:
            names.update(os.listdir(lower + path))
        except OSError:
            continue
    inside = [os.path.join(path, name) for name in sorted(names.difference(os.listdir(upper)))]
    return [name for name in inside if _below(name, lowers) is not None]


def _below(path: str, lowers: Sequence[str]) -> os.stat_result | None:
    """Find what a path was in the layers below, whiteouts and opaque directories heeded."""
    parents = path.strip("/").split("/")
    for lower in lowers:
        here = lower
        for index, name in enumerate(parents):
            here = os.path.join(here, name)
            try:
                info = os.lstat(here)
            except OSError:
                break
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                return None
            if index == len(parents) - 1:
                return info
            if not stat.S_ISDIR(info.st_mode):
                return None
            if _is_opaque(here) and not os.path.lexists(os.path.join(here, parents[index + 1])):
                return None
    return None


def _is_opaque(path: str) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
