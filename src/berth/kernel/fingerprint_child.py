"""The program `berth.kernel.fingerprint` runs: what tells a tree from the same tree after any change of it.

Arguments: a directory, and ``sync`` or ``walk``. One line of JSON comes out: `berth.kernel.fingerprint.Fingerprint`, or
``{"why": "…"}``. It follows no symlink and enters no other file system, but sees that there is one. The standard
library only.
"""

import ctypes
import hashlib
import json
import os
import resource
import stat
import struct
import sys
import time

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: File systems on which every change of a file, a mapped one's too, sets its change time (linux/magic.h): ext2 to
#: ext4, XFS, btrfs, F2FS. Others may do so; tmpfs does not for mapped files, and a server's attributes are cached.
FAITHFUL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010})
_RECORD = struct.Struct("=QQQQQQIIIqq")


def faithful(fd: int) -> bool:
    """Tell whether the file system of a directory is known to set change times."""
    found = (ctypes.c_ulong * 32)()  # struct statfs has at most 120 bytes; its first field is the type
    if ctypes.CDLL(None, use_errno=True).fstatfs(fd, ctypes.byref(found)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found[0] & 0xFFFFFFFF in FAITHFUL


class Tree:
    """What has been seen of a tree. Entries are added up, so that it need not be sorted."""

    def __init__(self) -> None:
        self.total = 0
        self.entries = 0
        self.newest = 0

    def add(self, above: int, name: str, found: os.stat_result) -> None:
        """Take in one entry of the directory with the inode `above`."""
        known = _RECORD.pack(
            above, found.st_dev, found.st_ino, found.st_size, found.st_nlink, found.st_rdev, found.st_mode,
            found.st_uid, found.st_gid, found.st_mtime_ns, found.st_ctime_ns,
        )  # fmt: skip
        self.total += int.from_bytes(hashlib.sha256(known + os.fsencode(name)).digest())
        self.entries += 1
        self.newest = max(self.newest, found.st_ctime_ns)

    def walk(self, top: int) -> None:
        """Take in all below a directory. Raises `OSError` for what goes meanwhile: the tree is being changed."""
        root = os.fstat(top)
        self.add(0, "", root)
        #: Directories on the way down: their descriptor, and those of their directories that are to come.
        stack = [(top, self._inside(top, root))]
        while stack:
            fd, below = stack[-1]
            if not below:
                os.close(fd)
                stack.pop()
                continue
            down = os.open(below.pop(), _DIRECTORY, dir_fd=fd)
            stack.append((down, self._inside(down, root)))

    def _inside(self, fd: int, root: os.stat_result) -> list[str]:
        above = os.fstat(fd).st_ino
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                self.add(above, entry.name, found)
                if stat.S_ISDIR(found.st_mode) and found.st_dev == root.st_dev:
                    below.append(entry.name)
        return below


def main(argv: list[str]) -> int:
    """Take the fingerprint of what `argv` says."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path, how = argv
    tree = Tree()
    try:
        top = os.open(path, _DIRECTORY)
        trusted = faithful(top)
        if trusted and how == "sync" and ctypes.CDLL(None, use_errno=True).syncfs(top):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        began = time.time_ns()
        if trusted:
            tree.walk(top)
    except OSError as exc:
        said: dict[str, object] = {"why": exc.strerror}
    else:
        said = {
            "sum": hashlib.sha256(b"%d %d" % (tree.entries, tree.total)).hexdigest(), "entries": tree.entries,
            "began_ns": began, "newest_ns": tree.newest,
        } if trusted else {"why": "its file system is not known to set change times"}  # fmt: skip
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
