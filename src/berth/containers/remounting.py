"""The use case "change the mounts of a container that is there", running or not; and mounting a volume anew in all.

A container that does not run has its record changed and no more. Must not: touch the kernel; the volumes do.
"""

import logging
from collections.abc import Collection, Sequence

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.errors import EngineError, InvalidArgument
from berth.containers.announce import Announce
from berth.containers.forewarning import Forewarn, unwritable
from berth.containers.launch import Launcher
from berth.containers.life import Life
from berth.containers.model import ContainerRecord
from berth.containers.register import Register
from berth.volumes.live import LiveMounts, Running
from berth.volumes.mounts.model import MountPoint
from berth.volumes.mounts.parse import check_target, parse_bind
from berth.wire.containers import HostConfig
from berth.wire.volumes import MountsUpdate

log = logging.getLogger(__name__)


class Remounting:
    """Changes of containers' mounts."""

    def __init__(
        self,
        *,
        register: Register,
        life: Life,
        launcher: Launcher,
        live: LiveMounts,
        locks: KeyedLocks,
        announce: Announce,
        volumes: Forewarn,
    ) -> None:
        self._register = register
        self._life = life
        self._launcher = launcher
        self._live = live
        self._locks = locks
        self._announce = announce
        self._volumes = volumes

    async def change(self, ref: str, want: MountsUpdate) -> tuple[ContainerRecord, list[str]]:
        """Take mounts out, then put others in, all or nothing; return the record and warnings.

        Raises `NoSuchMount`, `MountBelow`, `TargetTaken`, `LiveMountFailed`, and what a creation raises.
        """
        add, remove = want.add or [], want.remove or []
        if not add and not remove:
            raise InvalidArgument("no mount is to be added or removed")
        ident = self._register.find(ref).id
        async with self._locks.hold(ident):
            record = self._life.present(ident)
            wanted = await self._live.resolve(ident, record.mounts, add, remove)
            changed = msgspec.structs.replace(
                record, mounts=wanted.after, host_config=_host_config(record.host_config, want)
            )

            async def commit() -> None:
                await self._register.put(changed)

            try:
                if record.running:
                    await self._live.apply(self._running(record), record.mounts, wanted, commit)
                else:
                    await in_thread(self._live.fill_later, ident, record.mounts, wanted.after)
                    await commit()
            except BaseException:
                await finish(self._live.take_back(ident, wanted))
                raise
            self._live.done(ident)
        self._announce(changed, "update")
        new = [point for point in wanted.after if point not in record.mounts]
        return changed, [*_kept(record.mounts, wanted.after), *await unwritable(self._volumes, changed, new)]

    def _running(self, record: ContainerRecord) -> Running:
        rootfs = self._launcher.rootfs(record.id)
        return Running(record.id, record.pid, record.pid_started, rootfs, self._launcher.who(record))

    async def replace_volume(self, name: str) -> list[str]:
        """Mount a volume anew in all running containers that have it, after its own mount was made again.

        Returns the containers that have it now; one that fails is logged, and the others go on.
        """
        done: list[str] = []
        for found in self._register.all():
            if not any(point.name == name for point in found.mounts):
                continue
            async with self._locks.hold(found.id):
                record = self._register.get(found.id)
                if record is None or not record.running:
                    continue
                try:
                    if await self._live.replace(self._running(record), record.mounts, name):
                        done.append(record.id)
                except EngineError as exc:
                    log.warning("volume %s in container %s: %s", name, record.short_id, exc)
        return done

    async def settle(self) -> None:
        """Finish, or take back, what a killed engine left under way."""
        for record in self._register.all():
            if record.running:
                try:
                    if await self._live.settle(self._running(record), record.mounts):
                        log.warning("container %s: a change of its mounts was under way; settled", record.short_id)
                except EngineError as exc:
                    log.warning("container %s: a change of its mounts cannot be settled: %s", record.short_id, exc)


def _host_config(host: HostConfig, want: MountsUpdate) -> HostConfig:
    """Return what was asked for as if the container had been created with the mounts it has now."""
    gone = {check_target(target) for target in want.remove or ()}
    mounts = [one for one in host.mounts or () if check_target(one.target or "") not in gone]
    binds = [raw for raw in host.binds or () if parse_bind(raw).point.target not in gone]
    tmpfs = {target: options for target, options in (host.tmpfs or {}).items() if check_target(target) not in gone}
    return msgspec.structs.replace(
        host, mounts=[*mounts, *(want.add or ())] or None, binds=binds or None, tmpfs=tmpfs or None
    )


def _kept(before: Sequence[MountPoint], after: Collection[MountPoint]) -> list[str]:
    names = {point.name for point in after}
    return [
        f"The anonymous volume {point.name} of {point.target} is kept; remove it with: docker volume rm {point.name}"
        for point in before
        if point.anonymous and point.name not in names
    ]
