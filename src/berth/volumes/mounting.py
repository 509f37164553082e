"""The mounts of containers: decided at creation, made ready at a start, let go of at the exit.

Must not: decide where a volume's data is; that is its driver's.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from berth.base.aio import finish, in_thread
from berth.base.ids import new_id
from berth.base.ownership import Owner
from berth.base.paths import Layout
from berth.kernel import foreign
from berth.kernel.files import write_atomically
from berth.volumes import references
from berth.volumes.copies.errors import HasSnapshots, NoSnapshotToMount
from berth.volumes.copies.model import snapshot_data
from berth.volumes.copies.mounts import of_snapshot
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import BadMount, NameTaken, VolumeInUse, VolumeOccupied, VolumeProtected
from berth.volumes.keeping import Keeping
from berth.volumes.model import ANONYMOUS_LABEL, LOCAL, VolumeRecord
from berth.volumes.mounts import access, away, order, owners, parse
from berth.volumes.mounts.away import Limits
from berth.volumes.mounts.model import MountPoint, MountType, OciMount
from berth.volumes.mounts.pins import ImageShelf, Pins, let_go
from berth.volumes.mounts.prepare import Away, filler, nothing_to_fill, prepare
from berth.volumes.options import check_name
from berth.volumes.register import Register
from berth.wire.volumes import Mount

log = logging.getLogger(__name__)

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


class _Root(NamedTuple):
    """A container's root directory, and who is who in there."""

    path: Path
    who: owners.WhoIs


class Mounting:
    """The mounts of one engine's containers."""

    def __init__(
        self,
        layout: Layout,
        register: Register,
        drivers: Drivers,
        keeping: Keeping,
        images: ImageShelf,
        limits: Limits,
    ) -> None:
        self._layout = layout
        self._register = register
        self._drivers = drivers
        self._keeping = keeping
        self._images = images
        self._limits = limits

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
        asked = [of_snapshot(parse.near_root(one, str(self._layout.data_root))) for one in asked]
        for one in asked:
            self._check(one)
            owners.check_giveable(one.point, str(self._layout.data_root))
        asked = [self._with_image(container_id, one) for one in asked]
        images = [one.point for one in asked if one.point.type is MountType.IMAGE]
        claims = self._register.claims(container_id)
        # From here on nobody removes them; what is found gone now went before.
        claims[container_id] = (*claims.get(container_id, ()), *kept, *images)
        try:
            if claims is self._register.pending:
                await self._check_inherited(kept)
            await self._check_sources([one.point for one in asked])
            points = (*kept, *await self._with_volumes(container_id, asked))
        except BaseException:
            claims.pop(container_id, None)
            raise
        claims[container_id] = (*claims.get(container_id, ()), *points)
        return order.by_depth(points)

    def claiming_image(self, image_id: str) -> list[str]:
        """Return the containers that are about to get a mount of an image."""
        return self._register.claiming_image(image_id)

    async def _check_inherited(self, kept: Sequence[MountPoint]) -> None:
        """See that volumes taken over from another container are there: it may be on its way out with them."""
        for name in sorted({point.name for point in kept if point.type is MountType.VOLUME}):
            async with self._register.hold(name):
                self._register.get(name)

    async def forewarn(self, points: Sequence[MountPoint], user: access.User, layers: Sequence[str]) -> list[str]:
        """Say which writable mounts the user of a new container cannot write to; `layers` are its image's."""
        if user.uid == 0 or not points:
            return []
        unknown = {point.target for point in await away.may_hang(points, self._is_away)}
        unseen = {record.name for record in self._held_ones(points)}  # their own mount is made at a start
        known = [point for point in points if point.target not in unknown and point.name not in unseen]
        return await in_thread(access.warnings, known, user, layers)

    async def _check_sources(self, points: Sequence[MountPoint]) -> None:
        for point in points:
            if point.type is not MountType.BIND or point.create_source:
                continue
            if not await away.check_source(point, self._limits) and not await in_thread(os.path.exists, point.source):
                raise BadMount("bind", f"bind source path does not exist: {point.source}")

    def _check(self, asked: parse.Asked) -> None:
        point = asked.point
        if point.type is not MountType.VOLUME or not point.name:
            self._drivers.get(point.name, point.driver)
            return
        known = self._register.find(point.name)
        if known is None and point.snapshot:
            raise NoSnapshotToMount(point.reference)
        if known is None:
            check_name(point.name)
            self._drivers.get(point.name, point.driver).check(point.name, asked.driver_opts or {})
        elif point.driver and point.driver != known.driver:
            self._drivers.get(point.name, point.driver)
            raise NameTaken(point.name, known.driver)

    def _with_image(self, container_id: str, asked: parse.Asked) -> parse.Asked:
        point = asked.point
        if point.type is not MountType.IMAGE:
            return asked
        place = self._pins(container_id).place(point)
        seen = msgspec.structs.replace(point, image=self._images.identify(point.name), source=str(place))
        return msgspec.structs.replace(asked, point=seen)

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
            self._register.claims(container_id).pop(container_id, None)
            await finish(self.take_back(made))
            raise
        return tuple(points)

    async def _volume_for(self, container_id: str, asked: parse.Asked) -> tuple[MountPoint, bool]:
        point = asked.point
        anonymous = not point.name
        name = point.name or new_id()
        # Counts as used from here on, so that a prune beside us leaves it alone.
        named = msgspec.structs.replace(point, name=name, driver=point.driver or LOCAL, anonymous=anonymous)
        claims = self._register.claims(container_id)
        claims[container_id] = (*claims.get(container_id, ()), named)
        if point.snapshot:
            async with self._register.hold(name):  # neither being renamed nor losing snapshots
                found = self._register.get(name)
                data = snapshot_data(self._drivers.of(found).path(found), point.snapshot)
                if not await in_thread(data.is_dir):
                    raise NoSnapshotToMount(named.reference)
            return msgspec.structs.replace(named, driver=found.driver, source=str(data)), False
        labels = {ANONYMOUS_LABEL: "", **(asked.labels or {})} if anonymous else asked.labels
        record, new = await self._keeping.ensure(name, point.driver, asked.driver_opts, labels)
        source = str(self._drivers.of(record).path(record))
        return msgspec.structs.replace(named, driver=record.driver, source=source), new

    async def take_back(self, names: Sequence[str]) -> None:
        """Remove volumes that were made for what did not come about, unless somebody else uses them by now."""
        for name in reversed(names):
            async with self._register.hold(name):
                record = self._register.find(name)
                if record is not None and name not in self._register.holders():
                    await self._keeping.remove_locked(record)

    async def attach(
        self, container_id: str, points: Sequence[MountPoint], rootfs: Path, who: owners.WhoIs
    ) -> tuple[OciMount, ...]:
        """Make everything ready for a start: sources mounted, empty volumes filled, targets made inside `rootfs`.

        `who` knows the users of the container.
        """
        self._register.pending.pop(container_id, None)  # what starts has a record by now
        if not points:
            return ()
        for name in references.names(points):
            self._register.check_startable(container_id, name)
        self._register.attached.add(container_id)
        try:
            for record in self._held_ones(points):
                async with self._register.hold(record.name):
                    await self._drivers.of(record).hold(record, container_id)
            to_fill = self._unfilled(container_id, points)
            entries = await self._prepare(container_id, points, _Root(rootfs, who), to_fill)
        except BaseException:
            await finish(self._let_go(container_id, points))
            self._register.attached.discard(container_id)
            raise
        self._register.touch(references.names(points))
        for point in points:
            self.tell_mounted(container_id, point)
        return entries

    async def make_ready(
        self,
        container_id: str,
        new: Sequence[MountPoint],
        every: Sequence[MountPoint],
        rootfs: Path,
        who: owners.WhoIs,
    ) -> tuple[OciMount, ...]:
        """Do the same for some of the mounts of a container that runs; all it will have are `every`."""
        for name in references.names(new):
            self._register.check_startable(container_id, name)
        for record in self._held_ones(new):
            async with self._register.hold(record.name):
                await self._drivers.of(record).hold(record, container_id)
        self._register.attached.add(container_id)
        outer = [point.target for point in every if point not in new]
        to_fill = [point for point in new if point.copy_up]
        return await self._prepare(container_id, new, _Root(rootfs, who), to_fill, outer)

    def tell_mounted(self, container_id: str, point: MountPoint) -> None:
        """Publish that a container has a volume mounted."""
        if point.type is MountType.VOLUME:
            self._register.publish(
                "mount", point.reference, driver=point.driver, container=container_id, destination=point.target,
                propagation=point.propagation, **{"read/write": str(point.rw).lower()},
            )  # fmt: skip

    def tell_unmounted(self, container_id: str, point: MountPoint) -> None:
        """Publish that it has not any more."""
        if point.type is MountType.VOLUME:
            self._register.publish("unmount", point.reference, driver=point.driver, container=container_id)

    def _unfilled(self, container_id: str, points: Sequence[MountPoint]) -> list[MountPoint]:
        """Return the mounts whose volumes have not had their chance of being filled."""
        wanting = [point for point in points if point.copy_up]
        try:
            late = (self._layout.container(container_id) / _FILLED).read_text().split("\0") if wanting else ()
        except FileNotFoundError:
            return wanting
        return [point for point in wanting if point.target in late]

    def fill_later(self, container_id: str, targets: Sequence[str]) -> None:
        """Give volumes their chance at the next start though the container has been started before (blocking)."""
        marker = self._layout.container(container_id) / _FILLED
        if targets and marker.exists():
            write_atomically(marker, "\0".join((marker.read_text(), *targets)).encode())

    async def _prepare(
        self,
        container_id: str,
        points: Sequence[MountPoint],
        root: "_Root",
        to_fill: Sequence[MountPoint],
        outer: Sequence[str] = (),
    ) -> tuple[OciMount, ...]:
        home = self._layout.container(container_id)
        pins = self._pins(container_id)
        far = await away.look(points, self._is_away, pins, self._limits)
        seen = {**far, **await owners.map_owners(points, far, pins, root.who, self._limits)}
        if to_fill:
            entries = await self._prepare_filling(points, root, to_fill, pins, seen, outer)
            if home.is_dir():
                await in_thread((home / _FILLED).write_bytes, b"")
        else:
            entries = await in_thread(prepare, points, str(root.path), pins, nothing_to_fill, seen, outer)
        own = str(self._layout.data_root)
        await owners.give(points, entries, home, far, root.who, own=own, limits=self._limits)
        return entries

    async def _prepare_filling(
        self,
        points: Sequence[MountPoint],
        root: "_Root",
        to_fill: Sequence[MountPoint],
        pins: Pins,
        seen: Mapping[str, Away],
        outer: Sequence[str],
    ) -> tuple[OciMount, ...]:
        markers = {point.name: self._marker(point.name) for point in to_fill}
        rootfs = str(root.path)
        async with AsyncExitStack() as locks:
            for name in sorted(references.names(to_fill)):
                await locks.enter_async_context(self._register.hold(name))
            for point in to_fill:
                if point.target in seen:
                    marker = str(markers[point.name])
                    await foreign.fill(rootfs, point.target, point.source, marker, timeout_s=self._limits.mount_s)
            here = filler(rootfs, {point.target for point in to_fill}, markers.__getitem__, self._owner)
            return await in_thread(prepare, points, rootfs, pins, here, seen, outer)

    async def detach(self, container_id: str, points: Sequence[MountPoint]) -> None:
        """Let go after an exit: unmount what only this container had mounted; may be called twice."""
        if not points:
            return
        await finish(self._let_go(container_id, points))
        if container_id in self._register.attached:
            self._register.attached.discard(container_id)
            self._register.touch(references.names(points))
            for point in points:
                self.tell_unmounted(container_id, point)

    async def release(self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool) -> None:
        """Let go for good when the container is removed; with `remove_anonymous` its anonymous volumes go too.

        One that another container has inherited stays with it.
        """
        await self.detach(container_id, points)
        self._register.pending.pop(container_id, None)
        for point in points if remove_anonymous else ():
            if not point.anonymous:
                continue
            async with self._register.hold(point.name):
                record = self._register.find(point.name)
                if record is None:
                    continue
                try:
                    await finish(self._keeping.remove_locked(record, but=container_id))
                except (VolumeInUse, VolumeProtected):
                    pass  # it is another's too, or somebody wants it kept
                except (HasSnapshots, VolumeOccupied) as exc:
                    # The container goes all the same; a prune finds the volume when it is free.
                    log.warning("container %s: its volume stays: %s", container_id[:12], exc)

    def adopt(self, alive: Collection[str] | None) -> None:
        """Learn which containers run, and so hold their mounts, after a start."""
        self._register.attached |= set(alive or ())

    async def may_hang(self, points: Sequence[MountPoint]) -> Sequence[MountPoint]:
        """Return those of `points` whose source is on a file system that may never answer."""
        return await away.may_hang(points, self._is_away)

    # Volumes that have to be mounted first

    def _held_ones(self, points: Sequence[MountPoint]) -> Sequence[VolumeRecord]:
        found = (self._register.find(name) for name in sorted(references.names(points)))
        return [record for record in found if record is not None and self._drivers.of(record).wants_mount(record)]

    def _is_away(self, name: str) -> bool:
        record = self._register.find(name)
        return record is not None and self._drivers.of(record).away(record)

    def _owner(self, name: str) -> Owner:
        record = self._register.get(name)
        return self._drivers.of(record).owner(record)

    def _marker(self, name: str) -> Path:
        record = self._register.get(name)
        return self._drivers.of(record).filling(record)

    async def _let_go(self, container_id: str, points: Sequence[MountPoint]) -> None:
        if any(point.subpath or point.image or point.mapped for point in points):
            for point in await self.may_hang(points):
                if point.subpath:
                    await foreign.unmount(str(self._pins(container_id).place(point)))
            await in_thread(let_go, self._layout.pins(container_id))
        for record in self._held_ones(points):
            async with self._register.hold(record.name):
                await self._drivers.of(record).let_go(record, container_id)

    async def let_go_of(self, container_id: str, goes: Sequence[MountPoint], stays: Sequence[MountPoint]) -> None:
        """Let go of some mounts of a container that runs, and keeps others."""
        pinned = {point.target for point in stays}
        for point in goes:
            if point.target not in pinned:
                await in_thread(let_go, self._layout.pins(container_id), point.target)
        for record in self._held_ones([point for point in goes if point.name not in references.names(stays)]):
            async with self._register.hold(record.name):
                await self._drivers.of(record).let_go(record, container_id)

    def _pins(self, container_id: str) -> Pins:
        return Pins(self._layout.pins(container_id), self._images.lowers)
