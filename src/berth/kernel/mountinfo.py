"""Questions to the mount table (proc_pid_mountinfo(5)) that concern one path. Must not: change anything."""

import os
import select
import threading
from typing import NamedTuple


class Holder(NamedTuple):
    """The mount a path is on, and how it passes mounts on."""

    mount_point: str
    shared: bool
    slave: bool


def _escaped(path: str) -> str:
    for char, code in (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012")):
        path = path.replace(char, code)
    return path


def _plain(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _table() -> bytes:
    with open("/proc/self/mountinfo", "rb", buffering=0) as table:
        return table.read() or b""


def _rows() -> str:
    return os.fsdecode(_table())


def mounts_below(path: str) -> list[str]:
    """Return the mount points at or below `path`, which is absolute and without symlinks, deepest last."""
    want = _escaped(path)
    raw = _table()
    if os.fsencode(want) not in raw:  # one search, however many mounts there are
        return []
    points = (line.split(" ", 5)[4] for line in os.fsdecode(raw).splitlines())
    return sorted(_plain(point) for point in points if point == want or point.startswith(want + "/"))


def super_options(path: str) -> set[str] | None:
    """Return the options of the file system that is mounted at `path`; None if nothing is."""
    want = _escaped(path)
    raw = _table()
    if os.fsencode(f" {want} ") not in raw:  # one search, however many mounts there are
        return None
    found = None
    for line in os.fsdecode(raw).splitlines():
        left, _, right = line.partition(" - ")
        if left.split(" ", 5)[4] == want:  # of several the last lies on top
            found = set(right.split(" ")[2].split(","))
    return found


def fstype_of(path: str) -> str:
    """Return the type of the file system that `path`, absolute and without symlinks, is on."""
    best, found = "", ""
    for line in _rows().splitlines():
        left, _, right = line.partition(" - ")
        point = _plain(left.split(" ", 5)[4])
        if (point in ("/", path) or path.startswith(point + "/")) and len(point) >= len(best):
            best, found = point, right.split(" ", 1)[0]
    return found


def holder_of(path: str) -> Holder:
    """Return the mount that `path`, absolute and without symlinks, is on."""
    best = Holder("/", shared=False, slave=False)
    for line in _rows().splitlines():
        fields = line.partition(" - ")[0].split(" ")
        point = _plain(fields[4])
        holds = point in ("/", path) or path.startswith(point + "/")
        if holds and len(point) >= len(best.mount_point):  # of equal ones the later lies on top
            tags = fields[6:]
            best = Holder(
                point,
                shared=any(tag.startswith("shared:") for tag in tags),
                slave=any(tag.startswith("master:") for tag in tags),
            )
    return best


class _Changes:
    """The number of times that something was found mounted or unmounted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = 0
        self._count = 0
        self._news = select.poll()

    def count(self) -> int:
        with self._lock:
            if self._process != os.getpid():  # also after a fork: news is told once, to whoever asks first
                self._process = os.getpid()
                self._table = open("/proc/self/mountinfo", "rb", buffering=0)  # noqa: SIM115  for ever
                self._news = select.poll()
                self._news.register(self._table, select.POLLPRI)
                self._count += 1
            elif self._news.poll(0):
                self._count += 1
            return self._count


_CHANGES = _Changes()


def changes() -> int:
    """Return a number that is another one once something was mounted or unmounted; it costs as much in a long table.

    A directory that is renamed takes what is mounted in it along, and that counts for nothing.
    """
    return _CHANGES.count()
