"""The program `berth.kernel.volume_files` runs: looks into one directory tree, or puts files there.

It enters the tree as its root (`openat2` with RESOLVE_IN_ROOT): no symlink leads out. It says first, in a line of
JSON, what it found or why it cannot; then come the bytes asked for. Started by file name with an isolated interpreter.
"""

import ctypes
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from berth.base.errors import EngineError, InvalidArgument
from berth.kernel import shrunk
from berth.kernel.rootfiles import TAR, Wanted, followed, go_mode, go_time, packing
from berth.kernel.rootpath import open_inside
from berth.kernel.unpack import Unpacker

PR_SET_PDEATHSIG = 1
SIGKILL = 9
#: What tar returns when a file changed while it was read.
TAR_DIFFERS = 1
_PIECE = 256 * 1024
_LOOK = os.O_PATH | os.O_DIRECTORY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def main(argv: list[str]) -> int:
    """Do what `argv` says: verb, root, path, flags."""
    die_with_us()
    verb, place, path, flags = argv
    try:
        root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        wanted = Wanted("/", ".", through=True) if path.strip("/.") == "" else Wanted.parse(path)
        VERBS[verb](root, wanted, set(flags))
    except OSError as exc:
        if SAID:  # what follows the first line is content, and this would be taken for some of it
            return FAILED_LATER
        say(errno=exc.errno or errno.EIO)
    except EngineError as exc:
        if SAID:
            return FAILED_LATER
        say(errno=errno.EINVAL, said=str(exc))
    return 0


#: What the first line has said.
SAID: list[object] = []
#: Status of one that failed after its first line.
FAILED_LATER = 3


def say(**facts: object) -> None:
    """Write the first line."""
    SAID.append(facts)
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def find(root: int, wanted: Wanted) -> os.stat_result:
    """Describe a path: a symlink itself, unless a slash at the end asks for what it leads to."""
    flags = os.O_PATH if wanted.through else os.O_PATH | os.O_NOFOLLOW
    fd = open_inside(root, wanted.path, flags)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if wanted.through and not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory")
    return found


def described(root: int, wanted: Wanted) -> dict[str, Any]:
    """Describe a path as clients of Docker's are told."""
    found = find(root, wanted)
    return {
        "name": wanted.name,
        "size": found.st_size,
        "mode": go_mode(found.st_mode),
        "mtime": go_time(found.st_mtime_ns),
        "linkTarget": followed(root, wanted.path) if stat.S_ISLNK(found.st_mode) else "",
    }


def describe(root: int, wanted: Wanted, flags: set[str]) -> None:
    """Say what a path is."""
    del flags
    try:
        found = described(root, wanted)
    except NotADirectoryError:  # a slash after a file: whoever asks sees from the mode that it is none
        found = described(root, Wanted(wanted.path, wanted.name, through=False))
    say(errno=0, stat=found)


def cat(root: int, wanted: Wanted, flags: set[str]) -> None:
    """Write out a file; symlinks are followed, inside the tree."""
    del flags
    fd = open_inside(root, wanted.path)
    kind = os.fstat(fd).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if not stat.S_ISREG(kind):
        raise InvalidArgument("not a regular file")
    source = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    say(errno=0)
    while piece := os.read(source, _PIECE):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def pack(root: int, wanted: Wanted, flags: set[str]) -> None:
    """Write out a tar. Raises `OSError` for what cannot be read."""
    del flags
    about = described(root, wanted)
    with packing(root, wanted, without=()) as (place, args):
        say(errno=0, stat=about)
        # Of what cannot be read there is no copy that is worth anything: tar is to fail, not to leave it out.
        here = f"/proc/self/fd/{place}"
        argv = [*TAR, shrunk.LITERALLY, f"--directory={here}", *args]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, pass_fds=(place,), preexec_fn=die_with_us) as tar:  # noqa: PLW1509  one thread
            assert tar.stderr is not None
            small = [name for line in tar.stderr if (name := shrunk.named(line))]
        if tar.returncode not in (0, TAR_DIFFERS) or shrunk.unreadable(os.fsencode(here), small):
            raise OSError(errno.EIO, "cannot be read")


def die_with_us() -> None:
    """Have the kernel kill this process when the one that made it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)


def unpack(root: int, wanted: Wanted, flags: set[str]) -> None:
    """Unpack a tar from standard input into a directory."""
    fd = open_inside(root, wanted.path)
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory")
    os.close(fd)
    Unpacker(root, followed(root, wanted.path), keep_kinds="k" in flags).unpack(sys.stdin.buffer)
    while sys.stdin.buffer.read(65_536):  # what follows the archive's end
        pass
    say(errno=0)


def names(root: int, wanted: Wanted, flags: set[str]) -> None:
    """Write out a line of JSON for each entry of a directory, or for the file itself; with ``r`` all below it."""
    fd = open_inside(root, wanted.path, os.O_PATH if wanted.through else os.O_PATH | os.O_NOFOLLOW)
    found = os.fstat(fd)
    if stat.S_ISLNK(found.st_mode) and "l" not in flags:
        fd = open_inside(root, wanted.path)  # as ls does without -l
        found = os.fstat(fd)
    say(errno=0)
    if not stat.S_ISDIR(found.st_mode):
        parent = open_inside(root, os.path.dirname(wanted.path), _LOOK)
        _entry(parent, os.path.basename(wanted.path), wanted.name)
        return
    top = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack = [(top, "", sorted(os.listdir(top), reverse=True))]
    while stack:
        here, prefix, left = stack[-1]
        if not left:
            os.close(here)
            stack.pop()
            continue
        name = left.pop()
        if _entry(here, name, prefix + name) and "r" in flags:
            try:
                down = os.open(name, _DIRECTORY, dir_fd=here)
            except OSError:
                continue  # gone, or something else now
            stack.append((down, f"{prefix}{name}/", sorted(os.listdir(down), reverse=True)))
    sys.stdout.flush()


def _entry(directory: int, name: str, shown: str) -> bool:
    """Write out one entry; True for a directory."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else ""
    except OSError:
        return False  # gone meanwhile
    facts = {
        "Name": shown, "Mode": stat.filemode(found.st_mode), "Links": found.st_nlink, "Uid": found.st_uid,
        "Gid": found.st_gid, "Size": found.st_size, "ModifiedNs": found.st_mtime_ns, "Target": target,
    }  # fmt: skip
    sys.stdout.write(json.dumps(facts) + "\n")
    return stat.S_ISDIR(found.st_mode)


VERBS = {"stat": describe, "cat": cat, "pack": pack, "unpack": unpack, "list": names}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
