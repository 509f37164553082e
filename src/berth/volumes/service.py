"""The use cases of volumes; the only writer of their records.

Who uses a volume is derived from the containers' mount points at the moment of asking, never counted.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.store.base import Records
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, OciMount
from berth.wire.filters import Filters
from berth.wire.volumes import Mount

Users = Callable[[], Iterable[tuple[str, Sequence[MountPoint]]]]


class MountWishes(Protocol):
    """What of ``HostConfig`` says which mounts a container gets (`berth.wire.containers.HostConfig` fits)."""

    @property
    def binds(self) -> Sequence[str] | None:
        """What ``-v`` asked for."""
        ...

    @property
    def mounts(self) -> Sequence[Mount] | None:
        """What ``--mount`` asked for."""
        ...

    @property
    def tmpfs(self) -> dict[str, str] | None:
        """What ``--tmpfs`` asked for: target to options."""
        ...

    @property
    def volume_driver(self) -> str | None:
        """The driver of volumes that name none."""
        ...


class Volumes:
    """Volumes of one engine, and the mounts of its containers."""

    def __init__(self, layout: Layout, records: Records[VolumeRecord], bus: Bus, users: Users) -> None:
        self._layout = layout
        self._records = records
        self._bus = bus
        self._users = users

    async def create(
        self,
        name: str,
        driver: str = "",
        driver_opts: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume; an empty `name` makes an anonymous one; an existing one of the same driver is returned."""
        raise NotImplementedError

    def get(self, name: str) -> VolumeRecord:
        """Return one volume. Raises `NoSuchVolume`."""
        raise NotImplementedError

    def list(self, filters: Filters) -> list[VolumeRecord]:
        """Return the volumes that pass ``dangling``, ``driver``, ``label`` and ``name``."""
        raise NotImplementedError

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume nobody uses; with `force` a missing one is no error."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> tuple[tuple[str, ...], int]:
        """Remove unused volumes; return their names and the bytes they held."""
        raise NotImplementedError

    async def resolve(
        self,
        container_id: str,
        host_config: MountWishes,
        config_volumes: Collection[str],
        inherited: Sequence[MountPoint],
    ) -> tuple[MountPoint, ...]:
        """Decide the mounts of a container being created, all checked first; make the volumes they need."""
        raise NotImplementedError

    async def attach(self, container_id: str, points: Sequence[MountPoint], rootfs: Path) -> tuple[OciMount, ...]:
        """Make everything ready for a start: sources mounted, empty volumes filled, targets made inside `rootfs`."""
        raise NotImplementedError

    async def detach(self, container_id: str, points: Sequence[MountPoint]) -> None:
        """Let go after an exit: unmount what only this container had mounted; may be called twice."""
        raise NotImplementedError

    async def release(self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool) -> None:
        """Let go for good when the container is removed; with `remove_anonymous` its anonymous volumes go too."""
        raise NotImplementedError

    async def adopt(self, alive: set[str]) -> None:
        """Reconcile disk, mounts and records at start; containers not in `alive` hold nothing any more."""
        raise NotImplementedError
