"""Mounts put into, taken out of, or replaced in a container that runs: kernel and record agree, whatever happens.

Before anything is held or mounted, what is about to change is written beside the container's run-time state, on tmpfs
like the mounts themselves. The container's record is the commit: found changed, what is left to do is let go of the old
mounts; found unchanged, the container gets back what it had. The same is done when the engine was killed in between
(`settle`). Must not: write containers' records; the caller commits.
"""

import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from berth.base.aio import finish, in_thread
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.kernel import livemount
from berth.volumes import references
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import DuplicateTarget, MountBelow, NoSuchMount, TargetTaken
from berth.volumes.keeping import Keeping
from berth.volumes.mounting import Mounting
from berth.volumes.mounts import order
from berth.volumes.mounts.model import MountPoint, OciMount
from berth.volumes.mounts.owners import WhoIs
from berth.volumes.mounts.parse import check_target, parse_mount
from berth.volumes.register import Register
from berth.wire.volumes import Mount

log = logging.getLogger(__name__)

#: Where nothing can be put while a container runs: it would hide what the engine or the runtime has there.
_PROTECTED: Final = (
    "/", "/dev", "/etc", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys",
)  # fmt: skip


class Running(NamedTuple):
    """A container whose mounts change: its process, when that started (clock ticks), its root on the host."""

    ident: str
    pid: int
    started: int
    rootfs: Path
    #: Who is who in there.
    who: WhoIs


class Wanted(NamedTuple):
    """What a change comes to: all mounts afterwards, and the volumes that were made for it."""

    after: tuple[MountPoint, ...]
    made: tuple[str, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change under way, as it is written down."""

    #: The process that is concerned, and when it started.
    pid: int
    started: int
    before: tuple[MountPoint, ...]
    after: tuple[MountPoint, ...]
    made: tuple[str, ...] = ()
    #: Targets whose mounts are made anew though nothing about them changes.
    again: tuple[str, ...] = ()

    @property
    def gone(self) -> list[MountPoint]:
        """What is taken away, deepest first."""
        return [one for one in reversed(self.before) if one not in self.after or one.target in self.again]

    @property
    def new(self) -> list[MountPoint]:
        """What is put in place, parents first."""
        return [one for one in self.after if one not in self.before or one.target in self.again]


class _Wishes(NamedTuple):
    """Mounts in the shape a container's creation asks for them."""

    mounts: Sequence[Mount]
    binds: Sequence[str] | None = None
    tmpfs: dict[str, str] | None = None
    volume_driver: str | None = None


class LiveMounts:
    """Changes of the mounts of one engine's containers."""

    def __init__(
        self, layout: Layout, register: Register, drivers: Drivers, keeping: Keeping, mounting: Mounting
    ) -> None:
        self._layout = layout
        self._register = register
        self._drivers = drivers
        self._keeping = keeping
        self._mounting = mounting

    async def resolve(
        self, container_id: str, before: Sequence[MountPoint], add: Sequence[Mount], remove: Sequence[str]
    ) -> Wanted:
        """Decide what a change comes to; make the volumes it needs, which count as used until `done`.

        Raises `NoSuchMount`, `MountBelow`, `TargetTaken`, and what a container's creation with these mounts raises.
        """
        targets = {check_target(target) for target in remove}
        for target in sorted(targets - {point.target for point in before}):
            raise NoSuchMount(container_id, target, [point.target for point in before])
        kept = [point for point in before if point.target not in targets]
        fresh = [parse_mount(mount).point.target for mount in add]
        for target in fresh:
            if any(point.target == target for point in kept):
                raise TargetTaken(target)
            if fresh.count(target) > 1:
                raise DuplicateTarget(target)
        for target in sorted(targets - set(fresh)):
            for point in kept:
                if order.below(point.target, [target]):
                    raise MountBelow(target, point.target)
        known = set(self._register.records.keys())
        self._register.changing[container_id] = tuple(before)
        try:
            after = await self._mounting.resolve(container_id, _Wishes(add), (), kept)
        except BaseException:
            self.done(container_id)
            raise
        return Wanted(after, tuple(sorted(references.names(after) - references.names(before) - known)))

    def done(self, container_id: str) -> None:
        """Say that the container's own record speaks for its volumes again."""
        self._register.changing.pop(container_id, None)

    async def take_back(self, container_id: str, wanted: Wanted) -> None:
        """Remove the volumes that `resolve` made for a change that did not come about."""
        self.done(container_id)
        await self._mounting.take_back(wanted.made)

    def fill_later(self, container_id: str, before: Sequence[MountPoint], after: Sequence[MountPoint]) -> None:
        """See to it that what a container that does not run has got new is filled at its next start (blocking)."""
        self._mounting.fill_later(container_id, [one.target for one in after if one not in before and one.copy_up])

    async def apply(
        self, running: Running, before: Sequence[MountPoint], wanted: Wanted, commit: Callable[[], Awaitable[None]]
    ) -> None:
        """Change what a running container has mounted, then `commit`; all or nothing. Raises `LiveMountFailed`."""
        after = order.by_depth(wanted.after)
        change = Change(
            pid=running.pid, started=running.started, before=order.by_depth(before), after=after, made=wanted.made,
            again=_again(before, after),
        )  # fmt: skip
        await self._carry_out(running, change, commit)

    async def replace(self, running: Running, points: Sequence[MountPoint], name: str) -> bool:
        """Mount a volume anew in a running container, after its own mount was made again; False if it has none of it.

        The old mount may be dead: nothing looks into it. Files that are open stay with it.
        """
        stale = tuple(point.target for point in points if point.name == name)
        if not stale:
            return False
        ordered = order.by_depth(points)
        again = tuple(one.target for one in ordered if one.target in stale or order.below(one.target, stale))
        change = Change(pid=running.pid, started=running.started, before=ordered, after=ordered, again=again)
        await self._carry_out(running, change, _nothing)
        return True

    async def _carry_out(self, running: Running, change: Change, commit: Callable[[], Awaitable[None]]) -> None:
        lock = await in_thread(self._write_down, running.ident, change)
        settled = True
        try:
            try:
                entries = await self._mounting.make_ready(
                    running.ident, change.new, change.after, running.rootfs, running.who
                )
                try:
                    await livemount.carry_out(_order(running, change, entries), lock)
                except BaseException as exc:
                    if not (isinstance(exc, livemount.LiveMountFailed) and exc.as_before):
                        settled = await finish(self._given_back(running, change, lock))
                    raise
                try:
                    await commit()
                except BaseException:
                    settled = await finish(self._given_back(running, change, lock))
                    raise
            except BaseException:
                await finish(self._let_go(running.ident, change, committed=False))
                if settled:
                    await in_thread(self._forget, running.ident)
                raise
            await finish(self._let_go(running.ident, change, committed=True))
            await in_thread(self._forget, running.ident)
        finally:
            os.close(lock)
        self._tell(running.ident, change)

    async def settle(self, running: Running, recorded: Sequence[MountPoint]) -> bool:
        """Finish, or take back, a change that a killed engine left under way; False if there is none."""
        path = self._note(running.ident)
        if not path.exists():
            return False
        lock = await in_thread(_locked, path)  # the process that changes mounts may still be at it
        try:
            try:
                change = msgspec.json.decode(path.read_bytes(), type=Change)
            except msgspec.DecodeError:  # killed while it was written: nothing has happened yet
                await in_thread(self._forget, running.ident)
                return True
            if (change.pid, change.started) != (running.pid, running.started):  # an earlier run's
                await in_thread(self._forget, running.ident)
                return True
            committed = order.by_depth(recorded) == change.after and change.before != change.after
            if not committed:
                await self._back(running, change, lock)
            await self._let_go(running.ident, change, committed=committed)
            await in_thread(self._forget, running.ident)
        finally:
            os.close(lock)
        if not committed:
            await self._mounting.take_back(change.made)
        return True

    async def _given_back(self, running: Running, change: Change, lock: int) -> bool:
        """Give a container back what it had; False, and a word in the log, if the next engine has to try again."""
        try:
            await self._back(running, change, lock)
        except EngineError as exc:
            log.warning("container %s: its mounts are not what is recorded: %s", running.ident[:12], exc)
            return False
        return True

    async def _back(self, running: Running, change: Change, lock: int) -> None:
        """Give a container what it had at every place concerned, whatever is there now."""
        had = list(reversed(change.gone))
        entries = await self._mounting.make_ready(running.ident, had, change.before, running.rootfs, running.who)
        places = {one.target for one in (*change.gone, *change.new)}
        await livemount.carry_out(
            livemount.Order(
                pid=running.pid,
                started=running.started,
                detach=sorted(places, key=order.depth, reverse=True),
                attach=_attached(entries),
                clear=True,
            ),
            lock,
        )

    async def _let_go(self, ident: str, change: Change, *, committed: bool) -> None:
        stays, goes = (change.after, change.gone) if committed else (change.before, change.new)
        await self._mounting.let_go_of(ident, goes, stays)

    def _tell(self, ident: str, change: Change) -> None:
        for point in change.gone:
            self._mounting.tell_unmounted(ident, point)
        for point in change.new:
            self._mounting.tell_mounted(ident, point)

    # What is under way, written down

    def _note(self, ident: str) -> Path:
        return self._layout.bundle(ident) / "mounts.change"

    def _write_down(self, ident: str, change: Change) -> int:
        path = self._note(ident)
        try:
            lock = _locked(path)
        except OSError as exc:
            raise livemount.LiveMountFailed(_not_written(path, exc), as_before=True) from exc
        fresh, text = not os.fstat(lock).st_size, msgspec.json.encode(change)
        try:
            os.posix_fallocate(lock, 0, len(text))  # all of it, or what is there stays
            os.pwrite(lock, text, 0)
            os.ftruncate(lock, len(text))
        except BaseException as exc:
            if fresh:
                path.unlink()
            os.close(lock)
            if isinstance(exc, OSError):
                raise livemount.LiveMountFailed(_not_written(path, exc), as_before=True) from exc
            raise
        return lock

    def _forget(self, ident: str) -> None:
        self._note(ident).unlink(missing_ok=True)


async def _nothing() -> None:
    """Commit nothing: the record stays as it is."""


def _not_written(path: Path, exc: OSError) -> str:
    return f"cannot write down the change in {path}: {(exc.strerror or str(exc)).lower()}"


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _again(before: Sequence[MountPoint], after: Sequence[MountPoint]) -> tuple[str, ...]:
    """Return the mounts that stay, but lie below one that comes or goes and would be hidden or gone with it."""
    changed = [one.target for one in (*before, *after) if (one in before) != (one in after)]
    return tuple(one.target for one in after if one in before and order.below(one.target, changed))


def _order(running: Running, change: Change, entries: Sequence[OciMount]) -> livemount.Order:
    gone = [one.target for one in change.gone]
    every = {*gone, *(one.target for one in change.new)}
    return livemount.Order(
        pid=running.pid,
        started=running.started,
        detach=gone,
        attach=_attached(entries),
        alone=[
            target
            for target in gone
            if not order.below(target, list(every)) and not any(order.below(other, [target]) for other in every)
        ],
        protected=_PROTECTED,
    )


def _attached(entries: Collection[OciMount]) -> list[livemount.Attach]:
    return [livemount.Attach(one.destination, one.source, one.type, one.options) for one in entries]
