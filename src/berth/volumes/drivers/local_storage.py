"""The local driver's directories: ``volumes/NAME/_data``, made and removed so that a crash leaves nothing unclear.

A directory is there before its record and is renamed out of the way before the record goes. All calls block.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.base.ids import new_id
from berth.base.ownership import NOBODY_SAID, Owner
from berth.kernel import btrfs
from berth.kernel.files import rename_exclusively, sync_directory
from berth.kernel.mountinfo import changes, mounts_below
from berth.kernel.removal import remove_tree
from berth.volumes.drivers.base import Leftovers
from berth.volumes.errors import VolumeMounted
from berth.volumes.options import NAME_MAX

_DATA: Final = "_data"
_FILLING: Final = ".filling"
#: A file system of a volume's own; one that was never mounted; one that is to replace another.
IMAGE: Final = "image"
_NEW_IMAGE: Final = "image.new"
NEXT_IMAGE: Final = "image.next"
#: The size a change under way leads to.
RESIZE: Final = ".resize"
#: A volume on its way out; no name starts with a dot.
_REMOVING: Final = ".removing-"
#: What was a volume: nothing is known of it any more, it is only to be deleted.
_GONE: Final = ".gone-"
#: After so many renames it is seen to that they are on the medium.
_MANY: Final = 1000
#: Anyone may pass through to a volume, nobody may list the names (as Docker's own directories).
_PARENT_MODE: Final = 0o701
_DATA_MODE: Final = 0o755


class LocalStorage:
    """The directories below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._text = str(root)
        #: Whether they are on btrfs, once somebody asked.
        self._subvolumes: bool | None = None
        #: Names that directories were moved away from, where that may not be on the medium yet.
        self._left: set[str] = set()
        #: The state of the mount table in which nothing is mounted below; 0 for none.
        self._bare = 0
        #: What is to be deleted and has no name any more.
        self._buried: list[Path] = []

    def data(self, name: str) -> Path:
        """Return where a volume's data is."""
        return self.root / name / _DATA

    def place(self, name: str) -> str:
        """Return the same as text: a path object of its own for each of thousands costs more than all else."""
        return f"{self._text}/{name}/{_DATA}"

    def filling(self, name: str) -> Path:
        """Return the marker of a volume whose first filling has not ended."""
        return self.root / name / _FILLING

    def directory(self, name: str) -> Path:
        """Return what holds all of a volume."""
        return self.root / name

    def image(self, name: str) -> Path:
        """Return the file with a volume's own file system, if it has one."""
        return self.root / name / IMAGE

    def new_image(self, name: str) -> Path:
        """Return the same of a volume that was never mounted."""
        return self.root / name / _NEW_IMAGE

    def make(self, name: str, owner: Owner = NOBODY_SAID) -> None:
        """Make a volume's directories, with an owner if one is wanted; what is there already stays as it is."""
        place = f"{self._text}/{name}"
        self.free(name)
        try:
            try:
                _make_directory(place, _PARENT_MODE)
            except FileNotFoundError:  # the first one
                self.root.parent.mkdir(parents=True, exist_ok=True)
                _make_directory(self._text, _PARENT_MODE)
                _make_directory(place, _PARENT_MODE)
            if self._make_data(f"{place}/{_DATA}") and owner != NOBODY_SAID:
                self.dress(name, owner)
        except OSError as exc:
            raise SystemFault(f"create {name}: cannot make {exc.filename}: {exc.strerror}") from exc

    def dress(self, name: str, owner: Owner) -> None:
        """Give the directory of a volume's data owner and mode."""
        data = self.data(name)
        os.chown(data, -1 if owner.uid is None else owner.uid, -1 if owner.gid is None else owner.gid)
        data.chmod(_DATA_MODE if owner.mode is None else owner.mode)

    def unmake(self, name: str) -> None:
        """Take back `make`, unless something was put there meanwhile."""
        for file in (self.new_image(name), self.directory(name) / NEXT_IMAGE):
            file.unlink(missing_ok=True)
        for path in (self.data(name), self.root / name):
            try:
                path.rmdir()
            except FileNotFoundError:  # killed between the two
                continue
            except OSError:
                return

    def set_aside(self, name: str) -> None:
        """Rename a volume's directory, if there is one, out of the way. Raises `VolumeMounted`."""
        self.check_unmounted(name)
        aside = self.aside(name)
        self.bury(aside.name)  # one removed earlier whose data is not deleted yet
        try:
            (self.root / name).rename(aside)
            self.sync()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise SystemFault(f"remove {name}: {exc.strerror}") from exc

    def check_unmounted(self, name: str) -> None:
        """Raise `VolumeMounted` if something is mounted in a volume's directory."""
        state = changes()
        if state == self._bare:
            return
        points = [point for point in mounts_below(self._text) if point != self._text]
        if not points:
            self._bare = state
        place = f"{self._text}/{name}"
        below = [point for point in points if point == place or point.startswith(f"{place}/")]
        if below:
            raise VolumeMounted(name, below[-1])

    def put_back(self, name: str) -> None:
        """Take back `set_aside`; nothing happens if nothing is there."""
        self.move(self.aside(name).name, name)

    def bury(self, entry: str) -> None:
        """Rename what is to be deleted, if it is there, so that it is nobody's; `discard` does the rest."""
        buried = self.root / f"{_GONE}{new_id()[:16]}"
        try:
            (self.root / entry).rename(buried)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise SystemFault(f"remove {entry}: {exc.strerror}") from exc
        self._buried.append(buried)

    def discard(self) -> None:
        """Delete all that was buried, also by an engine before this one. What fails is left for the next start."""
        failed = []
        while self._buried:
            buried = self._buried.pop()
            try:
                remove_tree(buried)
            except OSError as exc:
                failed.append(_undeleted(buried, exc))
        if failed:
            raise SystemFault("; ".join(failed))

    def move(self, source: str, target: str) -> bool:
        """Rename a directory; False if there is none. What stands in the way is never replaced.

        Whether it is on the medium is another matter: see `sync` and `free`.
        """
        try:
            rename_exclusively(self.root / source, self.root / target)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise SystemFault(f"cannot rename {self.root / source} to {target}: {exc.strerror}") from exc
        self._left.add(source)
        if len(self._left) > _MANY:
            self.sync()
        return True

    def sync(self) -> None:
        """Wait until all that was renamed is so on the medium."""
        left = tuple(self._left)
        try:
            sync_directory(self.root)
        except OSError as exc:
            raise SystemFault(f"cannot write {self.root} to its medium: {exc.strerror}") from exc
        self._left.difference_update(left)

    def free(self, name: str) -> None:
        """See to it that what was moved away from a name has not got it back after a power failure."""
        if name in self._left:
            self.sync()

    def settle(self) -> None:
        """See to it that a power failure takes nothing back of what an engine before this one did."""
        if self.root.is_dir():
            self.sync()

    def look(self, recorded: Iterable[str]) -> Leftovers:
        """Compare the disk with the names of the records; remove what was left empty."""
        known = set(recorded)
        unrecorded, removing = [], []
        marks = {_mark(name): name for name in known}
        for entry in os.scandir(self.root) if self.root.is_dir() else ():
            if entry.name.startswith(_GONE):
                self._buried.append(Path(entry.path))
            elif entry.name.startswith(_REMOVING):
                marked = entry.name.removeprefix(_REMOVING)
                removing.append(marks.get(marked, marked))
            elif entry.name not in known and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                if self._holds_data(entry.name):
                    unrecorded.append(entry.name)
                else:
                    self.unmake(entry.name)
        gone = tuple(name for name in sorted(removing) if not (self.root / name).exists())
        return Leftovers(tuple(sorted(unrecorded)), tuple(sorted(removing)), gone)

    def aside(self, name: str) -> Path:
        """Return where `set_aside` puts a volume."""
        return self.root / f"{_REMOVING}{_mark(name)}"

    def _holds_data(self, name: str) -> bool:
        if self.image(name).exists():
            return True
        try:
            with os.scandir(self.data(name)) as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def _make_data(self, path: str) -> bool:
        # On btrfs a subvolume: its snapshots are made in no time.
        if self._subvolumes is None:
            self._subvolumes = btrfs.is_on(self._text)
        if self._subvolumes and not os.path.exists(path) and btrfs.make_subvolume(path):
            os.chmod(path, _DATA_MODE)
            return True
        return _make_directory(path, _DATA_MODE)


def _mark(name: str) -> str:
    """Return what stands for a volume's name after a prefix: itself, or its digest where both are too long."""
    if len(_REMOVING) + len(name) <= NAME_MAX:
        return name
    return f"~{hashlib.sha256(name.encode()).hexdigest()}"  # no name has a ~


def _make_directory(path: str, mode: int) -> bool:
    """Make a directory; False if there is one. Text, no path object: most of the time would go into that."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        return False
    os.chmod(path, mode)  # whatever the umask
    return True


def _undeleted(buried: Path, exc: OSError) -> str:
    said = f"cannot delete {exc.filename or buried}: {exc.strerror}"
    if exc.errno == errno.EPERM:  # root is refused by nothing else
        said += f"; it is immutable or append-only: chattr -R -f -ia {buried} lets the next start delete it"
    return said
