"""The program `berth.volumes.copies.comparing` runs: compares two trees, one JSON line for each difference.

Arguments: two directories, and ``quick`` or ``whole``. Files of one size and time count as equal in content unless all
are to be read (``whole``). A line has ``change`` (added, removed or changed, from the first to the second), ``path``
and for what is changed ``what``. Lines with only ``entries`` say how far it is; the last one has ``done``, or ``errno``
and ``why``. The standard library only.
"""

import json
import os
import resource
import stat
import sys
import time

SAY_S = 0.25
_PIECE_BYTES = 1 << 20


def say(what: dict[str, object]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(what) + "\n")


def text_of(path: str) -> str:
    """Return a path as JSON can have it; bytes that are no text are written in hexadecimal."""
    return os.fsencode(path).decode(errors="backslashreplace")


class Comparison:
    """Two trees that are compared; directories are entered by descriptor."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._last = time.monotonic()
        self.entries = 0
        self.differences = 0
        self.at = ""

    def told(self, change: str, path: str, what: tuple[str, ...] = ()) -> None:
        """Say one difference."""
        self.differences += 1
        say({"change": change, "path": text_of(path), **({"what": what} if what else {})})

    def alive(self) -> None:
        """Say now and then how far it is."""
        if time.monotonic() - self._last > SAY_S:
            self._last = time.monotonic()
            say({"entries": self.entries})
            sys.stdout.flush()

    def directories(self, one: int, other: int, path: str) -> None:
        """Compare what two open directories hold."""
        names = set(os.listdir(one)), set(os.listdir(other))
        for name in sorted(names[0] | names[1]):
            below = f"{path}/{name}" if path else name
            self.at = below
            self.entries += 1
            self.alive()
            if name not in names[0]:
                self._only("added", other, name, below)
            elif name not in names[1]:
                self._only("removed", one, name, below)
            else:
                self._both(one, other, name, below)

    def _only(self, change: str, where: int, name: str, path: str) -> None:
        self.told(change, path)
        if not stat.S_ISDIR(os.stat(name, dir_fd=where, follow_symlinks=False).st_mode):
            return
        inner = _open_directory(where, name)
        try:
            for below in sorted(os.listdir(inner)):
                self._only(change, inner, below, f"{path}/{below}")
        finally:
            os.close(inner)

    def _both(self, one: int, other: int, name: str, path: str) -> None:
        seen = os.stat(name, dir_fd=one, follow_symlinks=False), os.stat(name, dir_fd=other, follow_symlinks=False)
        if stat.S_IFMT(seen[0].st_mode) != stat.S_IFMT(seen[1].st_mode):
            self.told("changed", path, ("type",))
            return
        what = self.metadata(f"/proc/self/fd/{one}/{name}", f"/proc/self/fd/{other}/{name}", *seen)
        if stat.S_ISREG(seen[0].st_mode) and self._content_differs(one, other, name, *seen):
            what = ("content", *what)
        elif stat.S_ISLNK(seen[0].st_mode) and os.readlink(name, dir_fd=one) != os.readlink(name, dir_fd=other):
            what = ("target", *what)
        elif seen[0].st_rdev != seen[1].st_rdev:
            what = ("device", *what)
        if what:
            self.told("changed", path, what)
        if stat.S_ISDIR(seen[0].st_mode):
            inner = _open_directory(one, name), _open_directory(other, name)
            try:
                self.directories(*inner, path)
            finally:
                for fd in inner:
                    os.close(fd)

    def metadata(self, one: str, other: str, first: os.stat_result, second: os.stat_result) -> tuple[str, ...]:
        """Return which of mode, owner and extended attributes differ."""
        what = []
        if stat.S_IMODE(first.st_mode) != stat.S_IMODE(second.st_mode):
            what.append("mode")
        if (first.st_uid, first.st_gid) != (second.st_uid, second.st_gid):
            what.append("owner")
        if _attributes(one) != _attributes(other):
            what.append("xattr")
        return tuple(what)

    def _content_differs(self, one: int, other: int, name: str, first: os.stat_result, second: os.stat_result) -> bool:
        if first.st_size != second.st_size:
            return True
        if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino) or not first.st_size:
            return False
        if first.st_mtime_ns == second.st_mtime_ns and not self._whole:
            return False
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC
        with (
            open(os.open(name, flags, dir_fd=one), "rb", buffering=0) as left,
            open(os.open(name, flags, dir_fd=other), "rb", buffering=0) as right,
        ):
            while True:
                piece = left.read(_PIECE_BYTES)
                self.alive()
                if piece != right.read(_PIECE_BYTES):
                    return True
                if not piece:
                    return False


def _open_directory(where: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)


def _attributes(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError:  # this file system has none
        return {}


def main(argv: list[str]) -> int:
    """Compare what `argv` says."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setrecursionlimit(1_000_000)
    one, other, how = argv
    comparison = Comparison(whole=how == "whole")
    try:
        first, second = (os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in (one, other))
        what = comparison.metadata(one, other, os.fstat(first), os.fstat(second))
        if what:
            comparison.told("changed", "", what)
        comparison.directories(first, second, "")
    except OSError as exc:
        say({"errno": exc.errno, "why": f"{text_of(comparison.at)}: {exc.strerror}"})
        return 0
    say({"done": True, "entries": comparison.entries, "differences": comparison.differences})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
