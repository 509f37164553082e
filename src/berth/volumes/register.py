"""What every part of volumes shares: the records, their locks, who uses which volume, the events.

Who uses a volume is derived from the containers' mount points at the moment of asking, never counted. Between the
creation of a container's mounts and the container's own record, `pending` stands in for it.
An operation on a volume's data occupies it, in memory: it ends with the engine at the latest.
Must not: touch the disk.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass

from berth.base.aio import KeyedLocks
from berth.base.clock import Clock, SystemClock
from berth.events.bus import Bus
from berth.events.model import Event
from berth.store.base import Records
from berth.volumes import references
from berth.volumes.errors import NoSuchVolume, User, VolumeMoving, VolumeOccupied, VolumeProtected, VolumeRunning
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint
from berth.volumes.references import Users

#: Gives id, name and state of every container.
States = Callable[[], Iterable[tuple[str, str, str]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Occupation:
    what: str
    exclusive: bool


class Register:
    """The volumes of one engine, as they are recorded and used."""

    def __init__(
        self,
        records: Records[VolumeRecord],
        bus: Bus,
        users: Users,
        clock: Clock | None = None,
        states: States = tuple,
    ) -> None:
        self.records = records
        self.clock = clock or SystemClock()
        #: Mount points of containers whose own record is not there yet.
        self.pending: dict[str, tuple[MountPoint, ...]] = {}
        #: Mount points, old and new, of containers whose mounts are being changed.
        self.changing: dict[str, tuple[MountPoint, ...]] = {}
        #: Containers that run, or are being started, with their mounts.
        self.attached: set[str] = set()
        #: When a container last began or ended to use a volume, in nanoseconds since the epoch.
        self.last_used: dict[str, int] = {}
        #: Set whenever that changes.
        self.touched = asyncio.Event()
        #: Names that storage may still have which belongs to a volume of another name (`VolumeRecord.moved_from`).
        self.moving: dict[str, str] = {}
        self._occupied: dict[str, list[_Occupation]] = {}
        self._bus = bus
        self._users = users
        self._states = states
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
        """Return for every volume in use the containers that hold it or a snapshot of it, running or not."""
        return dict(references.holders(self._every_user()))

    def _every_user(self) -> list[tuple[str, Sequence[MountPoint]]]:
        listed = list(self._users())
        for ident, _ in listed:
            self.pending.pop(ident, None)
        return [*listed, *self.pending.items(), *self.changing.items()]

    def claims(self, container_id: str) -> dict[str, tuple[MountPoint, ...]]:
        """Return where mount points stand in for a container's record: one that is made, or one that is changed."""
        return self.changing if container_id in self.changing else self.pending

    def claiming_image(self, image_id: str) -> list[str]:
        """Return the containers, made or changed now, that are to have a mount of an image."""
        claims = (*self.pending.items(), *self.changing.items())
        return [ident for ident, points in claims if any(point.image == image_id for point in points)]

    def users(self) -> list[tuple[str, Sequence[MountPoint]]]:
        """Return every container with its mount points."""
        return list(self._users())

    def occupied_by(self, name: str) -> str:
        """Return what works on a volume's data now, empty for nothing."""
        return ", ".join(other.what for other in self._occupied.get(name, ()))

    def describe(self, idents: Iterable[str]) -> tuple[User, ...]:
        """Say who containers are, for people."""
        known = {ident: (name, state) for ident, name, state in self._states()}
        return tuple(User(ident, *known.get(ident, ("", ""))) for ident in idents)

    def mounted_names(self) -> set[str]:
        """Return the volumes that a container has mounted now, or is about to."""
        return {name for name, idents in self.holders().items() if not self.attached.isdisjoint(idents)}

    def running_holders(self, name: str) -> tuple[str, ...]:
        """Return the containers that have a volume mounted now, or are about to."""
        users = references.users_of_data(self._every_user())
        return tuple(ident for ident in users.get(name, ()) if ident in self.attached)

    def writers(self, name: str) -> tuple[str, ...]:
        """Return the containers that can write a volume now, or are about to."""
        users = references.writers(self._every_user())
        return tuple(ident for ident in users.get(name, ()) if ident in self.attached)

    def snapshot_holders(self, name: str, snapshot: str) -> tuple[str, ...]:
        """Return the containers that mount a snapshot of a volume, running or not."""
        return references.snapshot_users(self._every_user(), name, snapshot)

    @contextmanager
    def occupy(self, name: str, what: str, *, exclusive: bool = False) -> Iterator[VolumeRecord]:
        """Keep a volume where it is while an operation, named by `what` ("backup"), works on its data.

        Until the end nobody removes or renames it. `exclusive` is for what replaces data: nobody else occupies it,
        no container that uses it runs or starts. Raises `NoSuchVolume`, `VolumeOccupied`, `VolumeRunning`.
        """
        record = self.get(name)
        if record.moved_from:  # its data are on the way to where the record says they are
            raise VolumeOccupied(what, name, "rename or restore")
        for other in self._occupied.get(name, ()):
            if exclusive or other.exclusive:
                raise VolumeOccupied(what, name, other.what)
        if exclusive and (running := self.running_holders(name)):
            raise VolumeRunning(what, name, running)
        with self._noted(name, _Occupation(what, exclusive)):
            yield record

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Let nobody begin to work on the data of a volume that loses its name. Raises `VolumeOccupied`."""
        self.check_unoccupied(what, name)
        with self._noted(name, _Occupation(what, exclusive=True)):
            yield

    @contextmanager
    def _noted(self, name: str, mine: _Occupation) -> Iterator[None]:
        self._occupied.setdefault(name, []).append(mine)
        try:
            yield
        finally:
            self._occupied[name].remove(mine)
            if not self._occupied[name]:
                del self._occupied[name]

    def check_unoccupied(self, action: str, name: str) -> None:
        """Raise `VolumeOccupied` if an operation works on a volume's data."""
        for other in self._occupied.get(name, ()):
            raise VolumeOccupied(action, name, other.what)

    def check_unprotected(self, action: str, record: VolumeRecord) -> None:
        """Raise `VolumeProtected` for a volume that nothing may remove or overwrite."""
        if record.protected:
            raise VolumeProtected(action, record.name)

    @asynccontextmanager
    async def exchanging(self, name: str, action: str) -> AsyncIterator[None]:
        """Hold the lock of a volume whose data are exchanged now; it may have been protected since `action` began.

        Raises `VolumeProtected`.
        """
        async with self.hold(name):
            self.check_unprotected(action, self.get(name))
            yield

    def check_not_moving(self, action: str, name: str) -> None:
        """Raise `VolumeMoving` if the storage of another volume may still be where this name's would be."""
        if name in self.moving:
            raise VolumeMoving(action, name, self.moving[name])

    def check_startable(self, container_id: str, name: str) -> None:
        """Raise `VolumeOccupied` if an operation is replacing the data of a volume that a container wants."""
        for other in self._occupied.get(name, ()):
            if other.exclusive:
                raise VolumeOccupied(f"start {container_id[:12]}: volume", name, other.what)

    def touch(self, names: Iterable[str]) -> None:
        """Remember that volumes are used now."""
        now = self.clock.now_ns()
        self.last_used.update((name, now) for name in names)
        self.touched.set()

    def rename_seen(self, old: str, new: str) -> None:
        """Let what is remembered of a volume follow its name."""
        if old in self.last_used:
            self.last_used[new] = self.last_used.pop(old)

    def publish(self, action: str, name: str, **attributes: str) -> None:
        """Tell who listens that something happened to a volume."""
        self._bus.publish(Event(type="volume", action=action, actor_id=name, attributes=attributes))
