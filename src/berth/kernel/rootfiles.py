"""Files below a root that is not to be trusted, as clients name them, are told of them and get them as a tar.

Names are resolved inside the root, whatever symlinks say. GNU tar packs: it walks by descriptors and follows no link.
Imports the standard library alone: isolated helper processes use it, too. Blocking.
"""

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from berth.base.errors import InvalidArgument
from berth.kernel.rootpath import open_inside

#: Go's file mode bits above the permissions (io/fs, FileMode), by the kernel's.
_GO_KINDS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
#: Kernel file systems, not part of what a container holds.
NOT_CONTENT: Final = ("proc", "sys", "dev")
_MAX_LINKS: Final = 40
#: GNU tar as it packs for clients; what it complains of is told on standard error.
TAR: Final = (
    "tar", "--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
    "--xattrs", "--xattrs-include=security.capability", "--absolute-names",
)  # fmt: skip
#: The same where what cannot be read is left out without a word.
LENIENT_TAR: Final = (*TAR, "--warning=none", "--ignore-failed-read")


@dataclass(frozen=True)
class Wanted:
    """A path as asked for: what it means, and what it is called in the archive."""

    path: str
    name: str
    #: It ends in a slash or ``/.``: a symlink is followed, and a directory must be there.
    through: bool

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Take a client's path apart. Raises `InvalidArgument` for an empty one or one with NUL."""
        if not text:
            raise InvalidArgument("bad parameter: path cannot be empty")
        if "\0" in text:
            raise InvalidArgument("bad parameter: path has a NUL byte")
        path = posixpath.normpath("/" + text.lstrip("/"))
        dotted = text.endswith("/.") or text == "."
        name = "." if dotted and path != "/" else posixpath.basename(path) or "/"
        return cls(path, name, dotted or text.endswith("/") or path == "/")


def go_mode(mode: int) -> int:
    """Translate a mode of stat(2) into Go's."""
    bits = sum(go for own, go in _GO_BITS.items() if mode & own)
    return _GO_KINDS.get(stat.S_IFMT(mode), 0) | bits | mode & 0o777


def go_time(ns: int) -> str:
    """Print a time as Go's RFC3339Nano: no zeros at the end of the fraction."""
    second = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // 1_000_000_000)
    fraction = f"{ns % 1_000_000_000:09d}".rstrip("0")
    return f"{second:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"


def followed(root: int, path: str) -> str:
    """Return where a path leads in the end, inside the root, whether that exists or not."""
    links = 0
    done, left = "/", [part for part in path.split("/") if part]
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            done = posixpath.dirname(done) if part == ".." else done
            continue
        target = ""
        with contextlib.suppress(OSError):
            fd = open_inside(root, done, os.O_PATH | os.O_DIRECTORY)
            try:
                target = os.readlink(part, dir_fd=fd)
            finally:
                os.close(fd)
        if not target or links >= _MAX_LINKS:
            done = posixpath.join(done, part)
            continue
        links += 1
        left = [one for one in target.split("/") if one] + left
        if target.startswith("/"):
            done = "/"
    return done


@contextmanager
def packing(root: int, wanted: Wanted, without: Sequence[str] = NOT_CONTENT) -> Iterator[tuple[int, list[str]]]:
    """Lend the directory tar starts in, and its arguments; at the root, what is in `without` is left out."""
    if wanted.through:
        place, args = wanted.path, ["--", "."]
        if wanted.name == "/":
            args = ["--anchored", *(f"--exclude=./{name}/*" for name in without),
                    "--transform=flags=rhS;s,^\\./*,/,", *args]  # fmt: skip
        elif wanted.name != ".":
            args = [f"--transform=flags=rhS;s,^\\.,{_replacement(wanted.name)},", *args]
    else:
        place, name = posixpath.split(wanted.path)
        args = ["--", name]
    fd = open_inside(root, place, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd, args
    finally:
        os.close(fd)


def _replacement(name: str) -> str:
    return "".join(f"\\{char}" if char in "\\,&" else char for char in name)


def escaped(pattern: str) -> str:
    """Return a pattern of tar's that means a name itself."""
    return "".join(f"\\{char}" if char in "\\*?[" else char for char in pattern)
