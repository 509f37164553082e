"""Where a restore puts files until all are checked, and how they become a volume in one step.

A stage is ``volumes/.restoring-ID/``, on the file system of the volumes; no volume's name starts with a dot. It becomes
a volume's data by exchanging two directories, so that at every moment the volume has the old data or the new, whole.
What is found at a start was left by a restore that died: it goes. All calls block.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from berth.kernel.files import exchange, sync_directory, sync_filesystem
from berth.kernel.removal import remove_tree
from berth.volumes.backup.errors import StageFailed

_STAGE: Final = ".restoring-"
_UNFINISHED: Final = ".unfinished-"
_DATA: Final = "_data"


class Staging:
    """The stages below the root of the local driver's volumes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, ident: str) -> Path:
        """Make a stage; return the directory to fill. Raises `StageFailed`."""
        stage = self._root / f"{_STAGE}{ident}"
        data = stage / _DATA
        try:
            self._root.mkdir(0o701, parents=True, exist_ok=True)
            stage.mkdir(0o700)
            data.mkdir(0o755)
            data.chmod(0o755)  # whatever the umask
        except OSError as exc:
            with contextlib.suppress(OSError):
                stage.rmdir()
            raise StageFailed(exc) from exc
        return data

    def swap(self, filled: Path, data: Path, marker: Path) -> None:
        """Let the filled directory be a volume's data from now on; the stage holds the former data then.

        The new are on their disk before the former go, and a new volume's before anybody is told of it. `marker` says
        that the volume's first filling from an image has not ended: with new data it never will.
        """
        sync_filesystem(self._root)
        marker.unlink(missing_ok=True)
        exchange(filled, data)
        sync_directory(data.parent)

    def close(self, ident: str) -> None:
        """Remove a stage and what is in it."""
        remove_tree(self._root / f"{_STAGE}{ident}")

    def begin(self, name: str) -> None:
        """Note that the volume `name` is being made by a restore and is none yet. Raises `StageFailed`."""
        try:
            (self._root / f"{_UNFINISHED}{name}").touch(mode=0o600)
            sync_directory(self._root)
        except OSError as exc:
            raise StageFailed(exc) from exc

    def finished(self, name: str) -> None:
        """Take `begin` back: it is a volume now, or gone. Were the note there again after a power cut, it would go."""
        (self._root / f"{_UNFINISHED}{name}").unlink(missing_ok=True)
        sync_directory(self._root)

    def unfinished(self) -> tuple[str, ...]:
        """Remove the stages of a dead engine; return the volumes its restores had begun to make."""
        if not self._root.is_dir():
            return ()
        found = []
        for entry in sorted(os.listdir(self._root)):
            if entry.startswith(_STAGE):
                remove_tree(self._root / entry)
            elif entry.startswith(_UNFINISHED):
                found.append(entry.removeprefix(_UNFINISHED))
        return tuple(found)
