"""Freezing a whole file system (FIFREEZE, ioctl_fifreeze(2)): what is on its medium is one instant, and writers wait.

The calls run in a process of their own: a medium that does not answer holds them for good. This file is that program,
too, started by name with an isolated interpreter. Must not: freeze what others have mounted, too; see `is_alone`.
"""

import fcntl
import os
import sys

#: uapi/linux/fs.h: _IOWR('X', 119, int) and 120
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
#: File systems that can be frozen and are on a medium of this machine.
FREEZABLE = frozenset({"ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs"})
#: How long a freeze or a thaw may take, in seconds: everything unwritten goes to the medium first.
LIMIT_S = 60.0


def is_alone(path: str, ours: str) -> bool:
    """Tell whether `path` is where a freezable file system is mounted, and it is mounted nowhere else but below `ours`.

    A bind mount is not alone: its file system is somebody's.
    """
    rows = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields = left.split(" ")
            rows.append((fields[2], fields[3], fields[4], right.split(" ", 1)[0]))
    mine = [row for row in rows if row[2] == path]
    if not mine or mine[-1][1] != "/" or mine[-1][3] not in FREEZABLE:
        return False
    return all(row[2] == path or row[2].startswith(f"{ours}/") for row in rows if row[0] == mine[-1][0])


async def freeze(path: str) -> None:
    """Freeze the file system at `path`. Raises `ProgramFailed`, `ProgramTimedOut`."""
    await _run("freeze", path)


async def thaw(path: str) -> None:
    """Let the file system at `path` go on; nothing happens if it is not frozen."""
    await _run("thaw", path)


async def _run(verb: str, path: str) -> None:
    from berth.kernel import process  # not known to the program

    await process.run((sys.executable, "-I", "-S", __file__, verb, path), timeout_s=LIMIT_S, env={})


def main(argv: list[str]) -> int:
    """Do what `argv` says; the reason of a failure goes to standard error."""
    verb, path = argv
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, FIFREEZE if verb == "freeze" else FITHAW, 0)
    except OSError as exc:
        if verb == "thaw" and exc.errno == 22:  # EINVAL: not frozen
            return 0
        sys.stderr.write(exc.strerror or str(exc))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
