"""Removes trees of directories, however deep they are and whatever is in the way. Blocking.

What containers leave behind is not ours to have opinions of: a thousand directories within each other are no error.
What cannot be removed (a file that somebody made immutable) stays, with what leads to it; all else goes, and the
error names the first such file. Must not: enter what is mounted in the tree, though it be a directory of the same file
system; follow a symbolic link.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth.kernel.rootpath import RESOLVE_NO_XDEV, open_inside

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How many directories are held open at once; those above are found again by their "..".
_HELD: Final = 32


@dataclass(slots=True)
class _Level:
    """A directory that is being emptied."""

    name: str
    #: Device and inode.
    ident: tuple[int, int]
    #: Descriptor, -1 while none is held.
    fd: int
    #: Directories in it that are still to be removed.
    below: list[str]


def remove_tree(path: Path | str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a directory and all below it, or a symbolic link to one; nothing happens if it is not there.

    Raises `OSError` with the path of the first thing that could not be removed, after all else was.
    """
    name = os.fsdecode(path)
    removal = _Removal()
    try:
        removal.enter(dir_fd, name)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=dir_fd)
        return
    removal.run(dir_fd)


class _Removal:
    def __init__(self) -> None:
        self._levels: list[_Level] = []
        self._failed: OSError | None = None

    def run(self, top: int | None) -> None:
        """Remove what was entered, and what was found in it."""
        try:
            while self._levels:
                level = self._levels[-1]
                if not level.below:
                    self._leave(top)
                    continue
                name = level.below.pop()
                try:
                    self.enter(level.fd, name)
                except OSError as exc:
                    self._note(exc, name)
        finally:
            for level in self._levels:
                _close(level)
        if self._failed is not None:
            raise self._failed

    def enter(self, above: int | None, name: str) -> None:
        """Open a directory and remove all in it that is none."""
        fd = self._inner(above, name) if above is not None and self._levels else os.open(name, _DIRECTORY, dir_fd=above)
        found = os.fstat(fd)
        level = _Level(name, (found.st_dev, found.st_ino), fd, [])
        self._levels.append(level)
        if len(self._levels) > _HELD:
            _close(self._levels[-1 - _HELD])
        with os.scandir(fd) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_directory in listed:
            if is_directory:
                level.below.append(inner)
                continue
            try:
                os.unlink(inner, dir_fd=fd)
            except OSError as exc:
                self._note(exc, inner)

    @staticmethod
    def _inner(above: int, name: str) -> int:
        # Device numbers tell neither a bind mount, which has that of its own tree, nor the mount of a btrfs subvolume
        # from a subvolume that lies here.
        try:
            return open_inside(above, name, _DIRECTORY, RESOLVE_NO_XDEV)
        except OSError as exc:
            if exc.errno == errno.EXDEV:
                raise OSError(errno.EXDEV, "something is mounted there") from None
            raise

    def _leave(self, top: int | None) -> None:
        level = self._levels.pop()
        above = top
        if self._levels:
            _reopen(self._levels[-1], level.fd)
            above = self._levels[-1].fd
        _close(level)
        try:
            os.rmdir(level.name, dir_fd=above)
        except OSError as exc:
            self._note(exc, level.name)

    def _note(self, exc: OSError, name: str) -> None:
        if self._failed is None and not isinstance(exc, FileNotFoundError):
            exc.filename = os.path.join(*(level.name for level in self._levels), name)
            self._failed = exc


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1


def _reopen(level: _Level, below: int) -> None:
    if level.fd >= 0:
        return
    fd = os.open("..", _DIRECTORY, dir_fd=below)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != level.ident:
        os.close(fd)
        raise OSError(errno.ESTALE, "was moved while it was removed", level.name)
    level.fd = fd
