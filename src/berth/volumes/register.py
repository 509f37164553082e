"""What every part of volumes shares: the records, their locks, who uses which volume, the events.

Who uses a volume is derived from the containers' mount points at the moment of asking, never counted. Between the
creation of a container's mounts and the container's own record, `pending` stands in for it.
Must not: touch the disk.
"""

from contextlib import AbstractAsyncContextManager

from berth.base.aio import KeyedLocks
from berth.base.clock import Clock, SystemClock
from berth.events.bus import Bus
from berth.events.model import Event
from berth.store.base import Records
from berth.volumes import references
from berth.volumes.errors import NoSuchVolume
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint
from berth.volumes.references import Users


class Register:
    """The volumes of one engine, as they are recorded and used."""

    def __init__(self, records: Records[VolumeRecord], bus: Bus, users: Users, clock: Clock | None = None) -> None:
        self.records = records
        self.clock = clock or SystemClock()
        #: Mount points of containers whose own record is not there yet.
        self.pending: dict[str, tuple[MountPoint, ...]] = {}
        self._bus = bus
        self._users = users
        self._locks = KeyedLocks()

    def get(self, name: str) -> VolumeRecord:
        """Return one volume. Raises `NoSuchVolume`."""
        record = self.records.get(name)
        if record is None:
            raise NoSuchVolume(name)
        return record

    def find(self, name: str) -> VolumeRecord | None:
        """Return one volume, or None."""
        return self.records.get(name)

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of one volume; of several, in the order of their names."""
        return self._locks.hold(name)

    def holders(self) -> dict[str, tuple[str, ...]]:
        """Return for every volume in use the containers that hold it, running or not."""
        listed = list(self._users())
        for ident, _ in listed:
            self.pending.pop(ident, None)
        return dict(references.holders([*listed, *self.pending.items()]))

    def publish(self, action: str, name: str, **attributes: str) -> None:
        """Tell who listens that something happened to a volume."""
        self._bus.publish(Event(type="volume", action=action, actor_id=name, attributes=attributes))
