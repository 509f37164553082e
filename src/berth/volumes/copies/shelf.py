"""Where copies are, and the steps that make and exchange them: each is one change of the disk, whole or not at all.

    volumes/NAME/snapshots/SNAP/_data, snapshot.json      a snapshot; goes wherever the volume's directory goes
    volumes/NAME/snapshots/.taking-ID                     one that is being taken
    volumes/NAME/snapshots/.rolling-ID                    what a rollback exchanges the volume's data for
    volumes/NAME/snapshots/.instant-ID                    a copy of one instant that somebody reads
    volumes/.cloning-ID                                   a volume to be

What starts with a dot is nobody's after a crash, but for a rollback whose exchange was made: that one is finished.
Must not: know records of volumes. All calls block.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.base.ids import new_id
from berth.kernel import btrfs
from berth.kernel.files import (
    exchange_directories,
    identity,
    rename_exclusively,
    sync_directory,
    sync_filesystem,
    write_atomically,
)
from berth.kernel.removal import remove_tree
from berth.volumes.copies.errors import NoSuchSnapshot, SnapshotNameInUse
from berth.volumes.copies.model import SnapshotRecord, snapshot_data
from berth.volumes.drivers.local_storage import IMAGE

log = logging.getLogger(__name__)

DATA: Final = "_data"
_RECORD: Final = "snapshot.json"
_SNAPSHOTS: Final = "snapshots"
TAKING: Final = ".taking-"
ROLLING: Final = ".rolling-"
INSTANT: Final = ".instant-"
CLONING: Final = ".cloning-"
_GONE: Final = ".gone-"
_MODE: Final = 0o701


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Let an error of the disk be one of the engine's."""
    try:
        yield
    except OSError as exc:
        raise SystemFault(f"cannot {what}: {exc.filename or ''}: {exc.strerror}") from exc


class Shelf:
    """The copies below the directory of volumes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def data(self, volume: str) -> Path:
        """Return where a volume's data is."""
        return self.root / volume / DATA

    def snapshot(self, volume: str, name: str) -> Path:
        """Return where a snapshot's data is."""
        return snapshot_data(self.data(volume), name)

    def names(self, volume: str) -> tuple[str, ...]:
        """Return the names of a volume's snapshots."""
        try:
            return tuple(sorted(name for name in os.listdir(self._place(volume)) if not name.startswith(".")))
        except FileNotFoundError:
            return ()

    def all(self, volume: str) -> tuple[SnapshotRecord, ...]:
        """Return a volume's snapshots, oldest first."""
        found = []
        for name in self.names(volume):
            with contextlib.suppress(NoSuchSnapshot):  # removed meanwhile
                found.append(self.get(volume, name))
        return tuple(sorted(found, key=lambda record: (record.created_ns, record.name)))

    def every(self, volumes: Iterable[str]) -> list[tuple[str, SnapshotRecord]]:
        """Return the snapshots of many volumes, with the volumes' names; cheap for those that have none."""
        root = str(self.root)
        having = [name for name in volumes if os.path.isdir(f"{root}/{name}/{_SNAPSHOTS}")]
        return [(name, one) for name in having for one in self.all(name)]

    def get(self, volume: str, name: str) -> SnapshotRecord:
        """Return one snapshot. Raises `NoSuchSnapshot`."""
        record = _read(self._place(volume) / name)
        if record is None or name.startswith("."):
            raise NoSuchSnapshot(volume, name)
        return record

    def _place(self, volume: str) -> Path:
        return self.root / volume / _SNAPSHOTS

    # -- steps

    def stage(self, volume: str, prefix: str) -> Path:
        """Make a directory in which a copy is made; for a clone `volume` is empty."""
        where = self._place(volume) if volume else self.root
        stage = where / f"{prefix}{new_id()[:16]}"
        with _said("begin a copy"):
            if volume:
                where.mkdir(_MODE, exist_ok=True)
                where.chmod(_MODE)
            stage.mkdir(_MODE)
            stage.chmod(_MODE)
        return stage

    def sync(self, stage: Path) -> None:
        """Wait until a copy is on its medium: what gets a name after this stays whole, whatever fails."""
        with _said("write a copy to its medium"):
            sync_filesystem(stage)

    def write(self, stage: Path, record: SnapshotRecord) -> None:
        """Write down what the data of a directory is."""
        with _said("write down a snapshot"):
            write_atomically(stage / _RECORD, msgspec.json.encode(record), mode=0o600, durable=True)

    def publish(self, stage: Path, volume: str, name: str) -> None:
        """Give a snapshot its name. Raises `SnapshotNameInUse`."""
        with _said(f"name snapshot {name}"):
            try:
                rename_exclusively(stage, self._place(volume) / name)
            except FileExistsError:
                raise SnapshotNameInUse(volume, name) from None
            sync_directory(self._place(volume))

    def identify(self, stage: Path) -> str:
        """Return what tells a copy, or a volume's twin, from what it is to be exchanged for."""
        return _identity(stage)

    def exchange(self, volume: str, stage: Path) -> None:
        """Exchange the volume's data for what is in a directory, in one step."""
        with _said(f"exchange the data of volume {volume}"):
            exchange_directories(self.data(volume), stage / DATA)
            sync_directory(stage)
            sync_directory(self.root / volume)

    def retire(self, volume: str, name: str) -> Path:
        """Take a snapshot's name away; what is left is for `discard`. Raises `NoSuchSnapshot`."""
        gone = self._place(volume) / f"{_GONE}{new_id()[:16]}"
        with _said(f"remove snapshot {name}"):
            try:
                (self._place(volume) / name).rename(gone)
            except FileNotFoundError:
                raise NoSuchSnapshot(volume, name) from None
            sync_directory(self._place(volume))  # after a power failure half of it must not have its name
        return gone

    def discard(self, stage: Path) -> None:
        """Delete a directory of ours and all below it. Takes as long as it is large."""
        with _said(f"delete {stage}"):
            btrfs.destroy(str(stage / DATA))
            remove_tree(stage)

    # -- after a crash

    def is_spare(self, stage: Path, volume: str) -> bool:
        """Tell whether a directory that was begun is nobody's: it holds nothing that a rollback has put away."""
        record = _read(stage) if stage.name.startswith(ROLLING) else None
        return record is None or not record.keep or not self._exchanged(volume, record)

    def _exchanged(self, volume: str, record: SnapshotRecord) -> bool:
        return bool(record.exchanged_for) and _identity(self.root / volume) == record.exchanged_for

    def settle(self, volume: str) -> bool:
        """Finish a rollback whose exchange was made; True if there was one to finish."""
        finished = False
        for stage in self._begun(self._place(volume)):
            record = _read(stage) if stage.name.startswith(ROLLING) else None
            if record is not None and record.keep and self._exchanged(volume, record):
                self.publish(stage, volume, record.name)
                finished = True
        return finished

    def left(self, volume: str) -> list[Path]:
        """Return what was begun and is nobody's, of a volume, or with an empty name of no volume."""
        if not volume:
            return [path for path in self._begun(self.root) if path.name.startswith(CLONING)]
        return [path for path in self._begun(self._place(volume)) if self.is_spare(path, volume)]

    def _begun(self, where: Path) -> list[Path]:
        try:
            return sorted(where / name for name in os.listdir(where) if name.startswith("."))
        except FileNotFoundError:
            return []


def _identity(place: Path) -> str:
    """Return what tells the data of a volume from other data: of the file it is in, if it is in one."""
    image = place / IMAGE
    return f"image {image.stat().st_ino}" if image.exists() else identity(place / DATA)


def _read(place: Path) -> SnapshotRecord | None:
    try:
        return msgspec.json.decode((place / _RECORD).read_bytes(), type=SnapshotRecord)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as exc:
        log.warning("%s cannot be read: %s", place / _RECORD, exc)
        return None
