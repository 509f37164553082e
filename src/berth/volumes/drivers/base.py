"""What a volume driver does, and nothing else: a new driver is a module and a line in `registry`.

A driver owns where the data is. Names, records, locks, users, events and the order of things are the services'; they
hold the volume's lock around every call. Must not: know any driver.
"""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeGuard, runtime_checkable

from berth.base.ownership import Owner
from berth.store.base import First
from berth.volumes.model import VolumeRecord


class Leftovers(NamedTuple):
    """What a look at the storage says against the records."""

    #: Data without a record: somebody's.
    unrecorded: tuple[str, ...]
    #: Names whose removal was begun.
    removing: tuple[str, ...]
    #: Those of `removing` of which nothing else is left: their records go.
    gone: tuple[str, ...] = ()


class VolumeDriver(Protocol):
    """One kind of volumes."""

    def check(self, name: str, options: Mapping[str, str]) -> None:
        """Refuse options that a volume cannot have. Raises `BadOption`."""
        ...

    def path(self, record: VolumeRecord) -> Path:
        """Return where the data is, or will be once `hold` returns."""
        ...

    def mountpoint(self, record: VolumeRecord) -> str:
        """Return the same as text, cheaply."""
        ...

    def away(self, record: VolumeRecord) -> bool:
        """Tell whether calls on the path may hang: only helper processes with a time limit may touch it."""
        ...

    def read_only(self, record: VolumeRecord) -> bool:
        """Tell whether the data cannot be written."""
        ...

    def wants_mount(self, record: VolumeRecord) -> bool:
        """Tell whether the path has data only between `hold` and the last `let_go`."""
        ...

    def owner(self, record: VolumeRecord) -> Owner:
        """Return who was said to own the data's directory: filling leaves that as it is."""
        ...

    def filling(self, record: VolumeRecord) -> Path:
        """Return the marker of a volume whose first filling has not ended; on a disk of this machine."""
        ...

    def brief_make(self, record: VolumeRecord) -> First | None:
        """Return what `make` does, if it takes no longer than writing a record: both are then done in one go."""
        ...

    def brief_set_aside(self, record: VolumeRecord) -> First | None:
        """Return what `set_aside` does, if it takes no longer than writing a record."""
        ...

    async def make(self, record: VolumeRecord) -> None:
        """Make the storage; its record follows. What is there already stays as it is."""
        ...

    async def unmake(self, record: VolumeRecord) -> None:
        """Take back `make`, unless data was put there meanwhile."""
        ...

    async def set_aside(self, record: VolumeRecord) -> None:
        """Put the storage where it is a volume no longer; its record is dropped next."""
        ...

    async def put_back(self, record: VolumeRecord) -> None:
        """Take back `set_aside`: the record could not be dropped."""
        ...

    async def hold(self, record: VolumeRecord, holder: str) -> None:
        """Make the data ready at the path, on behalf of a holder. Raises `MountOfVolumeFailed`."""
        ...

    async def let_go(self, record: VolumeRecord, holder: str) -> None:
        """Say that a holder needs the path no more; the last one ends the mount. May be called twice."""
        ...

    async def adopt(self, records: Sequence[VolumeRecord], alive: Collection[str] | None) -> None:
        """Make storage and mounts equal to the records after a start; only `alive` holders still hold.

        None for `alive` leaves the mounts alone.
        """
        ...

    async def look(self, recorded: Iterable[str]) -> Leftovers:
        """Compare the storage with the names of all records."""
        ...

    async def finish_removal(self, name: str) -> None:
        """Give what `set_aside` put away to `discard`; the record is gone. Nothing happens if there is nothing."""
        ...

    async def discard(self) -> None:
        """Delete the data of volumes that are gone: takes as long as it is large, and needs no lock."""
        ...

    async def size(self, record: VolumeRecord) -> int:
        """Return how many bytes the files take, -1 if that cannot be known."""
        ...


@runtime_checkable
class Movable(VolumeDriver, Protocol):
    """Storage that can be given another name without touching the data."""

    async def settle(self, record: VolumeRecord) -> None:
        """End the mount of a volume that nobody uses. Raises `VolumeMounted` if something else is mounted in it."""
        ...

    def brief_settle(self, record: VolumeRecord) -> First | None:
        """Return what `settle` does, if it takes no longer than writing a record."""
        ...

    async def move(self, source: str, target: str) -> bool:
        """Give storage another name, mounts included; False if there is none called `source` (any more).

        It has that name after a power failure too.
        """
        ...

    async def free(self, name: str) -> None:
        """See to it that no storage that was moved away from a name has that name again after a power failure.

        To be awaited before a record says that other storage is to have the name.
        """
        ...

    def brief_move(self, source: str, target: str) -> First:
        """Return what `move` does for storage that is not mounted; it takes no longer than writing a record.

        A power failure soon after may undo it: the record is written before, so that the next start does it again.
        """
        ...

    async def bury(self, entry: str) -> None:
        """Give storage to `VolumeDriver.discard`, for good; nothing happens if there is none of this name."""
        ...


def movable(driver: VolumeDriver) -> TypeGuard[Movable]:
    """Tell whether a driver's storage can be given another name."""
    return _is_movable(type(driver))


@functools.cache
def _is_movable(kind: type[VolumeDriver]) -> bool:
    # Asked once: whether a class has all methods of a protocol takes longer to find out than most calls of them.
    return issubclass(kind, Movable)
