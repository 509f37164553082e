"""The use cases of volumes; the only writer of their records.

Who uses a volume is derived from the containers' mount points at the moment of asking, never counted. Between the
creation of a container's mounts and the container's own record, `_pending` stands in for it.
"""

import asyncio
import logging
import socket
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Protocol

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.clock import Clock, SystemClock
from berth.base.errors import EngineError, NotFound
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.events.model import Event
from berth.kernel import foreign
from berth.kernel import mount as kernel_mount
from berth.kernel.files import remove_tree
from berth.kernel.tree import apparent_size
from berth.store.base import Records
from berth.volumes import local, references
from berth.volumes.errors import (
    BadMount,
    MountOfVolumeFailed,
    NameTaken,
    NoSuchDriver,
    NoSuchVolume,
    PruneRunning,
    VolumeInUse,
)
from berth.volumes.model import ANONYMOUS_LABEL, LOCAL, VolumeRecord, to_wire
from berth.volumes.mounts import order, parse
from berth.volumes.mounts.model import MountPoint, MountType, OciMount
from berth.volumes.mounts.prepare import filler, let_go, nothing_to_fill, prepare
from berth.volumes.options import LocalOptions, check_name, parse_local, read_only
from berth.volumes.references import Users
from berth.volumes.storage import LocalStorage
from berth.wire.filters import Filters
from berth.wire.volumes import Mount

log = logging.getLogger(__name__)

_LIST_FILTERS: Final = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS: Final = ("all", "label", "label!")
#: Size of a volume whose file system may not answer.
_UNKNOWN: Final = -1
#: File in a container's directory: its volumes have had their chance of being filled.
_FILLED: Final = "volumes-filled"


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

    def __init__(
        self,
        layout: Layout,
        records: Records[VolumeRecord],
        bus: Bus,
        users: Users,
        clock: Clock | None = None,
    ) -> None:
        self._layout = layout
        self._storage = LocalStorage(layout.volumes)
        self._records = records
        self._bus = bus
        self._users = users
        self._clock = clock or SystemClock()
        self._locks = KeyedLocks()
        self._pending: dict[str, tuple[MountPoint, ...]] = {}
        self._attached: set[str] = set()
        self._pruning = False

    # Volumes by themselves

    async def create(
        self,
        name: str,
        driver: str = "",
        driver_opts: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume; an empty `name` makes an anonymous one; an existing one of the same driver is returned."""
        if not name:
            name, labels = new_id(), {ANONYMOUS_LABEL: "", **(labels or {})}
        record, _ = await self._ensure(name, driver, driver_opts, labels)
        return record

    def get(self, name: str) -> VolumeRecord:
        """Return one volume. Raises `NoSuchVolume`."""
        record = self._records.get(name)
        if record is None:
            raise NoSuchVolume(name)
        return record

    def list(self, filters: Filters) -> Sequence[VolumeRecord]:
        """Return the volumes that pass ``dangling``, ``driver``, ``label`` and ``name``, by name."""
        filters.only(_LIST_FILTERS)
        found = [
            record
            for record in self._records.all()
            if filters.substring("name", record.name)
            and filters.exact("driver", record.driver)
            and filters.labels(record.labels or {})
        ]
        if "dangling" in filters:
            dangling = filters.boolean("dangling", default=False)
            used = self._holders()
            found = [record for record in found if (record.name not in used) == dangling]
        return sorted(found, key=lambda record: record.name)

    def inspect(self, record: VolumeRecord) -> dict[str, object]:
        """Render a volume as the API shows it."""
        return to_wire(record, str(self._storage.data(record.name)))

    async def usage(self) -> Sequence[dict[str, object]]:
        """Render every volume with its size in bytes (-1 if that cannot be known) and how many containers hold it."""
        used = self._holders()
        records = self.list(Filters())
        sizes = await in_thread(lambda: [self._size(record) for record in records])
        return [
            self.inspect(record) | {"UsageData": {"RefCount": len(used.get(record.name, ())), "Size": size}}
            for record, size in zip(records, sizes, strict=True)
        ]

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume nobody uses; with `force` a missing one is no error."""
        async with self._locks.hold(name):
            if force and self._records.get(name) is None:
                return
            await finish(self._remove_locked(self.get(name)))

    async def prune(self, filters: Filters) -> tuple[tuple[str, ...], int]:
        """Remove unused plain volumes, anonymous ones only unless ``all``; return their names and the bytes freed."""
        filters.only(_PRUNE_FILTERS)
        every = filters.boolean("all", default=False)
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        try:
            return await self._prune(filters, every=every)
        finally:
            self._pruning = False

    async def _prune(self, filters: Filters, *, every: bool) -> tuple[tuple[str, ...], int]:
        gone: list[str] = []
        freed = 0
        for record in self._records.all():
            labels = record.labels or {}
            wanted = (every or record.anonymous) and record.driver == LOCAL and not record.options
            if not wanted or not filters.labels(labels) or not filters.without_labels(labels):
                continue
            async with self._locks.hold(record.name):
                if self._records.get(record.name) is None or record.name in self._holders():
                    continue
                size = await in_thread(self._size, record)
                try:
                    await finish(self._remove_locked(record))
                except EngineError as exc:
                    log.warning("prune: %s", exc)
                    continue
            gone.append(record.name)
            freed += size
        self._publish("prune", "", reclaimed=str(freed))
        return tuple(gone), freed

    # Mounts of containers

    async def resolve(
        self,
        container_id: str,
        host_config: MountWishes,
        config_volumes: Collection[str],
        inherited: Sequence[MountPoint],
    ) -> tuple[MountPoint, ...]:
        """Decide the mounts of a container being created, all checked first; make the volumes they need.

        Until the container is listed by `users`, or `release` is called, its volumes count as used.
        """
        driver = host_config.volume_driver or ""
        kept, asked = order.combine(
            inherited,
            [parse.parse_bind(raw, driver) for raw in host_config.binds or ()],
            [parse.parse_mount(mount) for mount in host_config.mounts or ()],
            [parse.parse_tmpfs(target, options) for target, options in (host_config.tmpfs or {}).items()],
            [parse.parse_config_volume(target, driver) for target in sorted(config_volumes)],
        )
        asked = [parse.near_root(one, str(self._layout.data_root)) for one in asked]
        for one in asked:
            self._check(one)
        if any(one.point.type is MountType.BIND and not one.point.create_source for one in asked):
            await in_thread(_check_sources, asked)
        self._pending[container_id] = tuple(kept)
        try:
            points = (*kept, *await self._with_volumes(container_id, asked))
        except BaseException:
            self._pending.pop(container_id, None)
            raise
        self._pending[container_id] = points
        return order.by_depth(points)

    def _check(self, asked: parse.Asked) -> None:
        point = asked.point
        if point.type is not MountType.VOLUME or not point.name:
            _driver(point.name, point.driver)
            return
        known = self._records.get(point.name)
        if known is None:
            check_name(point.name)
            _driver(point.name, point.driver)
            parse_local(point.name, asked.driver_opts or {})
        elif point.driver and point.driver != known.driver:
            raise NameTaken(point.name, known.driver)

    async def _with_volumes(self, container_id: str, asked: Sequence[parse.Asked]) -> tuple[MountPoint, ...]:
        made: list[str] = []
        points: list[MountPoint] = []
        try:
            for one in asked:
                point = one.point
                if point.type is MountType.VOLUME:
                    point, new = await self._volume_for(container_id, one)
                    made += [point.name] if new else []
                points.append(point)
        except BaseException:
            self._pending.pop(container_id, None)
            await finish(self._take_back(made))
            raise
        return tuple(points)

    async def _volume_for(self, container_id: str, asked: parse.Asked) -> tuple[MountPoint, bool]:
        point = asked.point
        anonymous = not point.name
        name = point.name or new_id()
        # Counts as used from here on, so that a prune beside us leaves it alone.
        named = msgspec.structs.replace(
            point, name=name, source=str(self._storage.data(name)), driver=LOCAL, anonymous=anonymous
        )
        self._pending[container_id] = (*self._pending[container_id], named)
        labels = {ANONYMOUS_LABEL: "", **(asked.labels or {})} if anonymous else asked.labels
        record, new = await self._ensure(name, point.driver, asked.driver_opts, labels)
        return msgspec.structs.replace(named, driver=record.driver), new

    async def _take_back(self, names: Sequence[str]) -> None:
        for name in reversed(names):
            async with self._locks.hold(name):
                record = self._records.get(name)
                if record is not None and name not in self._holders():
                    await self._remove_locked(record)

    async def attach(self, container_id: str, points: Sequence[MountPoint], rootfs: Path) -> tuple[OciMount, ...]:
        """Make everything ready for a start: sources mounted, empty volumes filled, targets made inside `rootfs`."""
        self._pending.pop(container_id, None)  # what starts has a record by now
        if not points:
            return ()
        mounted = self._mounted_ones(points)
        try:
            for record, options in mounted:
                await self._hold_mount(container_id, record, options)
            entries = await self._prepare(container_id, points, rootfs)
        except BaseException:
            await finish(self._let_go(container_id, points))
            raise
        self._attached.add(container_id)
        for point in points:
            if point.type is MountType.VOLUME:
                self._publish(
                    "mount", point.name, driver=point.driver, container=container_id, destination=point.target,
                    propagation=point.propagation, **{"read/write": str(point.rw).lower()},
                )  # fmt: skip
        return entries

    async def _prepare(self, container_id: str, points: Sequence[MountPoint], rootfs: Path) -> tuple[OciMount, ...]:
        home = self._layout.container(container_id)
        scratch = self._scratch(container_id)
        filled = home / _FILLED
        to_fill = [point for point in points if point.copy_up]
        away = {record.name: read_only(options) for record, options in self._mounted_ones(points) if options.networked}
        if not to_fill or filled.exists():
            return await in_thread(prepare, points, str(rootfs), scratch, nothing_to_fill, away)
        async with AsyncExitStack() as locks:
            for name in sorted(references.names(to_fill)):
                await locks.enter_async_context(self._locks.hold(name))
            for point in to_fill:
                if point.name in away:
                    marker = self._storage.filling(point.name)
                    await foreign.fill(
                        str(rootfs), point.target, point.source, str(marker), timeout_s=foreign.MOUNT_TIMEOUT_S
                    )
            here = filler(str(rootfs), self._storage.filling)

            def work() -> tuple[OciMount, ...]:
                def fill(point: MountPoint) -> None:
                    if point.name not in away:
                        here(point)

                entries = prepare(points, str(rootfs), scratch, fill, away)
                if home.is_dir():
                    filled.touch()
                return entries

            return await in_thread(work)

    async def detach(self, container_id: str, points: Sequence[MountPoint]) -> None:
        """Let go after an exit: unmount what only this container had mounted; may be called twice."""
        if not points:
            return
        await finish(self._let_go(container_id, points))
        if container_id in self._attached:
            self._attached.discard(container_id)
            for point in points:
                if point.type is MountType.VOLUME:
                    self._publish("unmount", point.name, driver=point.driver, container=container_id)

    async def release(self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool) -> None:
        """Let go for good when the container is removed; with `remove_anonymous` its anonymous volumes go too.

        One that another container has inherited stays with it.
        """
        await self.detach(container_id, points)
        self._pending.pop(container_id, None)
        for point in points if remove_anonymous else ():
            if not point.anonymous:
                continue
            async with self._locks.hold(point.name):
                record = self._records.get(point.name)
                if record is not None and not set(self._holders().get(point.name, ())) - {container_id}:
                    await finish(self._remove_locked(record, but=container_id))

    async def adopt(self, alive: Collection[str] | None = None) -> None:
        """Reconcile disk, mounts and records at start; containers not in `alive` hold nothing any more.

        Data without a record is somebody's: it becomes a volume again. None for `alive` leaves the mounts alone.
        """
        left = await in_thread(self._storage.look, self._records.keys())
        for name in left.removing:
            if not await in_thread(self._storage.data(name).parent.exists):
                await self._records.drop(name)
            await in_thread(self._storage.discard, self._storage.aside(name))
        for name in left.unrecorded:
            log.warning("volume %s has data but no record; it is a volume again", name)
            await self._records.put(name, VolumeRecord(name=name, created_ns=self._clock.now_ns()))
        records = self._records.all()
        await in_thread(lambda: [self._storage.make(record.name) for record in records])
        if alive is None:
            return
        self._attached |= set(alive)
        for record in records:
            if parse_local(record.name, record.options or {}).wants_mount:
                for holder in self._mount_holders(record.name) - set(alive):
                    await self._drop_mount(holder, record)
                if not self._mount_holders(record.name):
                    await self._unmount(record)

    # One volume, its lock held

    async def _ensure(
        self, name: str, driver: str, options: dict[str, str] | None, labels: dict[str, str] | None
    ) -> tuple[VolumeRecord, bool]:
        async with self._locks.hold(name):
            known = self._records.get(name)
            if known is not None:
                if driver and driver != known.driver:
                    _driver(name, driver)
                    raise NameTaken(name, known.driver)
                return known, False
            check_name(name)
            _driver(name, driver)
            parse_local(name, options or {})
            record = VolumeRecord(
                name=name, driver=LOCAL, options=options, labels=labels, created_ns=self._clock.now_ns()
            )
            return await finish(self._make(record)), True

    async def _make(self, record: VolumeRecord) -> VolumeRecord:
        await in_thread(self._storage.make, record.name)
        try:
            await self._records.put(record.name, record)
        except BaseException:
            await in_thread(self._storage.unmake, record.name)
            raise
        self._publish("create", record.name, driver=record.driver)
        return record

    async def _remove_locked(self, record: VolumeRecord, *, but: str = "") -> None:
        holding = [ident for ident in self._holders().get(record.name, ()) if ident != but]
        if holding:
            raise VolumeInUse(record.name, holding)
        if parse_local(record.name, record.options or {}).wants_mount:
            await self._unmount(record)
        aside = await in_thread(self._storage.set_aside, record.name)
        await self._records.drop(record.name)
        if aside is not None:
            await in_thread(self._storage.discard, aside)
        self._publish("destroy", record.name, driver=record.driver)

    # Volumes that have to be mounted first

    def _mounted_ones(self, points: Sequence[MountPoint]) -> Sequence[tuple[VolumeRecord, LocalOptions]]:
        found = []
        for name in sorted(references.names(points)):
            record = self._records.get(name)
            if record is not None and record.options:
                options = parse_local(name, record.options)
                if options.wants_mount:
                    found.append((record, options))
        return found

    async def _hold_mount(self, container_id: str, record: VolumeRecord, options: LocalOptions) -> None:
        async with self._locks.hold(record.name):
            holder = self._layout.volume_holders / record.name / container_id
            await in_thread(_touch, holder)
            target = str(self._storage.data(record.name))
            if await in_thread(kernel_mount.is_mounted, target):
                return
            try:
                address = await _resolved(local.server_name(options))
                for call in local.mount_calls(options, target, address):
                    await _mount(call, foreign_to_us=options.type != "tmpfs")
            except foreign.ForeignMountFailed as exc:
                reason = local.failed_text(options, target, exc.reason)
                raise MountOfVolumeFailed(target, reason) from exc
            except _AddressUnknown as exc:
                raise MountOfVolumeFailed(target, str(exc)) from exc

    async def _drop_mount(self, container_id: str, record: VolumeRecord) -> None:
        async with self._locks.hold(record.name):
            (self._layout.volume_holders / record.name / container_id).unlink(missing_ok=True)
            if not self._mount_holders(record.name):
                await self._unmount(record)

    async def _unmount(self, record: VolumeRecord) -> None:
        target = str(self._storage.data(record.name))
        if not await foreign.unmount(target):
            log.warning("volume %s could not be unmounted from %s", record.name, target)
        await in_thread(remove_tree, self._layout.volume_holders / record.name)

    def _mount_holders(self, name: str) -> set[str]:
        try:
            return {entry.name for entry in (self._layout.volume_holders / name).iterdir()}
        except FileNotFoundError:
            return set()

    async def _let_go(self, container_id: str, points: Sequence[MountPoint]) -> None:
        if any(point.subpath for point in points):
            await in_thread(let_go, self._scratch(container_id))
        for record, _ in self._mounted_ones(points):
            await self._drop_mount(container_id, record)

    def _scratch(self, container_id: str) -> Path:
        return self._layout.bundle(container_id) / "subpaths"

    # Small things

    def _holders(self) -> "dict[str, tuple[str, ...]]":
        listed = list(self._users())
        for ident, _ in listed:
            self._pending.pop(ident, None)
        return dict(references.holders([*listed, *self._pending.items()]))

    def _size(self, record: VolumeRecord) -> int:
        if parse_local(record.name, record.options or {}).networked:
            return _UNKNOWN
        return apparent_size(str(self._storage.data(record.name)))

    def _publish(self, action: str, name: str, **attributes: str) -> None:
        self._bus.publish(Event(type="volume", action=action, actor_id=name, attributes=attributes))


class _AddressUnknown(NotFound):
    """The server of a volume has no address."""


def _driver(name: str, driver: str) -> None:
    if driver not in ("", LOCAL):
        raise NoSuchDriver(name, driver)


def _check_sources(asked: Sequence[parse.Asked]) -> None:
    for one in asked:
        point = one.point
        if point.type is MountType.BIND and not point.create_source and not Path(point.source).exists():
            raise BadMount("bind", f"bind source path does not exist: {point.source}")


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


async def _resolved(host: str) -> str:
    """Return the address of a server; the kernel's file systems take no names."""
    if not host:
        return ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise _AddressUnknown(f"error resolving passed in network volume address: lookup {host}: {exc}") from exc
    return str(found[0][4][0])


async def _mount(call: local.MountCall, *, foreign_to_us: bool) -> None:
    if foreign_to_us:
        await foreign.mount(*call, timeout_s=foreign.MOUNT_TIMEOUT_S)
        return
    try:
        await in_thread(kernel_mount.mount, *call)
    except kernel_mount.MountFailed as exc:
        raise foreign.ForeignMountFailed(exc.reason.lower()) from exc
