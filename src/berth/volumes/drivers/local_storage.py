"""The local driver's directories: ``volumes/NAME/_data``, made and removed so that a crash leaves nothing unclear.

A directory is there before its record and is renamed out of the way before the record goes. All calls block.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.kernel.files import remove_tree
from berth.kernel.mountinfo import mounts_below
from berth.volumes.drivers.base import Leftovers
from berth.volumes.errors import VolumeMounted

_DATA: Final = "_data"
_FILLING: Final = ".filling"
#: A volume on its way out; no name starts with a dot.
_REMOVING: Final = ".removing-"
#: Anyone may pass through to a volume, nobody may list the names (as Docker's own directories).
_PARENT_MODE: Final = 0o701
_DATA_MODE: Final = 0o755


class LocalStorage:
    """The directories below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, name: str) -> Path:
        """Return where a volume's data is."""
        return self.root / name / _DATA

    def filling(self, name: str) -> Path:
        """Return the marker of a volume whose first filling has not ended."""
        return self.root / name / _FILLING

    def make(self, name: str) -> None:
        """Make a volume's directories; what is there already stays as it is."""
        try:
            self._directory(self.root, _PARENT_MODE, parents=True)
            self._directory(self.root / name, _PARENT_MODE)
            self._directory(self.data(name), _DATA_MODE)
        except OSError as exc:
            raise SystemFault(f"create {name}: cannot make {exc.filename}: {exc.strerror}") from exc

    def unmake(self, name: str) -> None:
        """Take back `make`, unless something was put there meanwhile."""
        for path in (self.data(name), self.root / name):
            try:
                path.rmdir()
            except FileNotFoundError:  # killed between the two
                continue
            except OSError:
                return

    def set_aside(self, name: str) -> None:
        """Rename a volume's directory, if there is one, out of the way. Raises `VolumeMounted`."""
        where = self.root / name
        if below := mounts_below(str(where)):
            raise VolumeMounted(name, below[-1])
        aside = self.root / f"{_REMOVING}{name}"
        remove_tree(aside)
        try:
            where.rename(aside)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise SystemFault(f"remove {name}: {exc.strerror}") from exc

    def discard(self, aside: Path) -> None:
        """Delete what `set_aside` renamed."""
        try:
            remove_tree(aside)
        except OSError as exc:
            raise SystemFault(f"remove {aside.name.removeprefix(_REMOVING)}: {exc.strerror}") from exc

    def look(self, recorded: Iterable[str]) -> Leftovers:
        """Compare the disk with the names of the records; remove what was left empty."""
        known = set(recorded)
        unrecorded, removing = [], []
        for entry in os.scandir(self.root) if self.root.is_dir() else ():
            if entry.name.startswith(_REMOVING):
                removing.append(entry.name.removeprefix(_REMOVING))
            elif entry.name not in known and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                if self._holds_data(entry.name):
                    unrecorded.append(entry.name)
                else:
                    self.unmake(entry.name)
        gone = tuple(name for name in sorted(removing) if not (self.root / name).exists())
        return Leftovers(tuple(sorted(unrecorded)), tuple(sorted(removing)), gone)

    def aside(self, name: str) -> Path:
        """Return where `set_aside` puts a volume."""
        return self.root / f"{_REMOVING}{name}"

    def _holds_data(self, name: str) -> bool:
        try:
            with os.scandir(self.data(name)) as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def _directory(self, path: Path, mode: int, *, parents: bool = False) -> bool:
        try:
            path.mkdir(mode, parents=parents)
        except FileExistsError:
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise
            return False
        path.chmod(mode)  # whatever the umask
        return True
