"""Holds the users of volumes still while somebody reads the volumes' data.

    async with stillness.still(["db", "files"], "backup", Wish()) as still:
        for name in still.names:
            read(still.path(name), helper=still.away(name))   # the data, or a copy of one instant
        await still.release()       # optional: let the users go on now, not at the block's end
    still.report                    # what was done, and whether it is one instant: after the block (or `release`)

Inside the block the volumes are occupied (shared) under the name of the operation, mounted where they must be, and
their users hold still as the wish or the labels say; with ``freeze`` a point-in-time copy is at `path` if one can be
made, and the users go on already. Whatever happens — an error, a cancellation, kill -9 of the engine (see `recover`) —
frozen containers and file systems are thawed, stopped containers started, hooks of the end run.

Two operations never hold one container at once: the second waits until the first has let it go on.

Order: hooks of the beginning; containers frozen (or stopped), newest first, since what depends on others is started
after them; file systems; and all of it back in the reverse order. When the last is frozen the state of all volumes is
that of one instant. Nothing waits without a limit: a container that cannot be frozen in time fails the operation.
Must not: know containers; they are behind `parts.Writers`. Touch the data.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import EngineError
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.events.model import Event
from berth.kernel import fsfreeze
from berth.volumes.consistency import model
from berth.volumes.consistency.errors import HookFailed, NotFrozen, NothingHooked, NotNoted, NotStopped
from berth.volumes.consistency.journal import Entry, HoldJournal
from berth.volumes.consistency.model import FREEZE_LIMIT_S, HOOK_LIMIT_S, Mode, Report, Wish, Writer
from berth.volumes.consistency.parts import Point, Points, Writers
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

log = logging.getLogger(__name__)

#: How long another operation that holds the same container still is waited for, in seconds.
TURN_LIMIT_S: Final = 3600.0
#: Modes in which containers do not go on.
_HOLDING: Final = (Mode.PAUSE, Mode.STOP, Mode.FREEZE)
#: How much of a failed hook's output an error shows, in bytes.
_SAID_BYTES: Final = 2_000


class Still:
    """Volumes whose users hold still; see the module."""

    def __init__(
        self,
        stillness: "Stillness",
        what: str,
        records: Sequence[VolumeRecord],
        wish: Wish,
        points: Points | None,
    ) -> None:
        self._of = stillness
        self._maker = points
        self._what = what
        self._records = records
        self._wish = wish
        self._ident = new_id()[:16]
        self._entry = Entry(what=what)
        self._writers: Sequence[Writer] = ()
        self._busy: Sequence[str] = ()
        self._mode = Mode.NONE
        self._points: dict[str, Point] = {}
        self._ended = False
        self._at_ns = 0
        self._from_ns = 0
        self._held_ns = 0
        self._warnings: list[str] = []
        #: What keeps other operations from our users' stillness.
        self._turn = AsyncExitStack()
        #: What the report says of the instant: how it was held, and whether that is one.
        self._how = ""
        self._whole = False

    @property
    def names(self) -> tuple[str, ...]:
        """The volumes, by name."""
        return tuple(record.name for record in self._records)

    def path(self, name: str) -> Path:
        """Return where a volume's data is to be read."""
        if name in self._points:
            return self._points[name].path
        return self.home(name)

    def home(self, name: str) -> Path:
        """Return where the data themselves are, also if a copy of one instant is to be read."""
        return self._of.drivers.of(self._record(name)).path(self._record(name))

    def away(self, name: str) -> bool:
        """Tell whether only a helper process with a time limit may touch the path."""
        return name not in self._points and self._of.drivers.of(self._record(name)).away(self._record(name))

    def _record(self, name: str) -> VolumeRecord:
        return next(record for record in self._records if record.name == name)

    @property
    def report(self) -> Report:
        """What was done; complete once everything is released."""
        return Report(
            mode=self._mode,
            how=self._how,
            crash_consistent=self._whole and not self._busy,
            at_ns=self._at_ns,
            containers=tuple(writer.name for writer in self._writers),
            held_ns=self._held_ns,
            warnings=tuple(self._warnings),
        )

    # -- to stillness

    async def reach(self) -> None:
        """Do what the wish says; `release` must follow, also after an error."""
        await self._look()
        if self._mode in _HOLDING:
            await self._wait_for_turn()
            await self._look()
        hooked = {writer.id: model.hooks(self._wish, writer) for writer in self._writers}
        names = ", ".join(writer.name for writer in self._writers)
        if self._mode is Mode.HOOK and self._writers and not any(one.pre or one.post for one in hooked.values()):
            raise NothingHooked(self._what, names)
        for writer in self._writers if self._mode is Mode.STOP else ():
            if writer.auto_remove:
                raise NotStopped(self._what, writer.name, "it is removed when it stops (--rm); pause it instead")
        for ident in self._busy:
            self._warn(f"container {ident[:12]} is being changed by another operation and was not held still")
        if self._mode is not Mode.NONE:
            for writer in self._writers:
                await self._begin_hook(writer, hooked[writer.id])
        self._of.watch(self)
        self._from_ns = self._of.clock.now_ns()
        match self._mode:
            case Mode.PAUSE | Mode.FREEZE:
                await self._pause()
            case Mode.STOP:
                await self._stop()
            case Mode.HOOK | Mode.NONE:
                pass
        self._at_ns = self._of.clock.now_ns()
        self._how, self._whole = self._achieved()
        if self._mode is Mode.FREEZE:
            await self._take_points()
            if len(self._points) == len(self._records):
                await self._turn.aclose()

    async def _look(self) -> None:
        """See who uses the volumes now, and what is to be done with them."""
        holders = {ident for record in self._records for ident in self._of.register.writers(record.name)}
        found, self._busy = await self._of.writers.running(sorted(holders))
        self._writers = sorted(found, key=lambda writer: writer.started_ns, reverse=True)
        self._mode = model.choose(self._wish, (record.labels or {} for record in self._records), self._writers)

    async def _wait_for_turn(self) -> None:
        """Have the users to ourselves: another operation that holds them still would let them go on while we read.

        Those that do not run are among them: one may have been stopped for another operation.
        """
        holders = self._of.register.holders()
        for ident in sorted({ident for record in self._records for ident in holders.get(record.name, ())}):
            try:
                async with asyncio.timeout(TURN_LIMIT_S):
                    await self._turn.enter_async_context(self._of.turns.hold(ident))
            except TimeoutError:
                why = f"another operation on a volume of it has held it still for {TURN_LIMIT_S:g} s"
                raise NotFrozen(self._what, self._of.register.describe([ident])[0].name or ident[:12], why) from None

    def _achieved(self) -> tuple[str, bool]:
        if not self._writers:
            return "no running container used it", not self._busy
        match self._mode:
            case Mode.NONE:
                return "containers went on writing", False
            case Mode.HOOK:
                return "hooks ran; containers went on", False
            case Mode.STOP:
                return "containers stopped", True
            case Mode.PAUSE | Mode.FREEZE:
                return "containers paused until all was read", True

    async def _begin_hook(self, writer: Writer, hooks: model.Hooks) -> None:
        if hooks.post:
            await self._note(posts=(*self._entry.posts, (writer.id, hooks.post)))
        if not hooks.pre:
            return
        command = model.spelt(hooks.pre)
        limit_s = self._wish.hook_limit_s
        try:
            status, said = await self._of.writers.run(writer.id, hooks.pre, limit_s, _SAID_BYTES)
        except TimeoutError:
            raise HookFailed(self._what, writer.name, command, f"it did not end within {limit_s:g} s") from None
        except EngineError as exc:
            raise HookFailed(self._what, writer.name, command, str(exc)) from exc
        if status:
            raise HookFailed(self._what, writer.name, command, f"status {status}: {said.strip()}")

    async def _pause(self) -> None:
        for writer in self._writers:
            if writer.paused:
                continue
            await self._note(paused=(*self._entry.paused, writer.id))
            try:
                await self._of.writers.freeze(writer.id, FREEZE_LIMIT_S)
            except TimeoutError:
                why = f"its processes were not all frozen within {FREEZE_LIMIT_S:g} s (one may hang in the kernel)"
                raise NotFrozen(self._what, writer.name, why) from None
            except EngineError as exc:
                raise NotFrozen(self._what, writer.name, str(exc)) from exc

    async def _stop(self) -> None:
        for writer in self._writers:
            await self._note(stopped=(*self._entry.stopped, writer.id))
            try:
                await self._of.writers.stop(writer.id)
            except EngineError as exc:
                raise NotStopped(self._what, writer.name, str(exc)) from exc

    async def _take_points(self) -> None:
        """Take copies of the instant, or freeze file systems; if every volume has one, its users go on."""
        if not self._writers:
            return
        kinds = []
        for record in self._records:
            point = await self._maker.take(record) if self._maker is not None else None
            if point is not None:
                self._points[record.name] = point
                kinds.append(point.how)
            elif await self._freeze_file_system(record):
                kinds.append("frozen file system")
            else:
                return
        self._how = f"containers paused until a copy of the instant was taken ({', '.join(dict.fromkeys(kinds))})"
        # Only what is frozen as a whole has to be watched for the rest: a copy cannot change any more.
        await self._let_go_on()

    async def _freeze_file_system(self, record: VolumeRecord) -> bool:
        driver = self._of.drivers.of(record)
        path = str(driver.path(record))
        if driver.away(record) or not await in_thread(fsfreeze.is_alone, path, str(self._of.layout.exec_root)):
            return False
        await self._note(frozen=(*self._entry.frozen, path))
        try:
            await fsfreeze.freeze(path)
        except EngineError as exc:
            self._warn(f"the file system of volume {record.name} cannot be frozen: {exc}")
            return False
        return True

    # -- and back

    async def release(self) -> None:
        """Let everybody go on; may be repeated. What cannot be undone is in the report's warnings."""
        if not self._ended:
            await finish(self._release())

    async def _release(self) -> None:
        self._ended = True
        for path in reversed(self._entry.frozen):
            try:
                await fsfreeze.thaw(path)
            except (EngineError, OSError) as exc:
                self._warn(f"the file system at {path} could not be thawed: {exc}; fsfreeze --unfreeze {path}")
            else:
                await self._strike(frozen=tuple(one for one in self._entry.frozen if one != path))
        await self._let_go_on()
        for ident in reversed(self._entry.stopped):
            try:
                await self._of.writers.start(ident)
            except (EngineError, OSError, TimeoutError) as exc:
                self._warn(f"container {self._named(ident)} was stopped and could not be started again: {exc}")
            await self._strike(stopped=tuple(one for one in self._entry.stopped if one != ident))
        await self._turn.aclose()
        for ident, argv in reversed(self._entry.posts):
            await self._end_hook(ident, argv)
        if self._entry.paused or self._entry.frozen:
            return  # could not be thawed: the next engine tries again
        try:
            await in_thread(self._of.journal.drop, self._ident)
        except OSError as exc:
            log.warning("%s: its note stays, and the next engine lets its containers go on again: %s", self._what, exc)

    async def _let_go_on(self) -> None:
        self._of.unwatch(self)
        for ident in reversed(self._entry.paused):
            try:
                await self._of.writers.thaw(ident)
            except (EngineError, OSError, TimeoutError) as exc:
                self._warn(f"container {self._named(ident)} could not be resumed: {exc}; docker unpause {ident[:12]}")
            else:
                await self._strike(paused=tuple(one for one in self._entry.paused if one != ident))
        if self._from_ns and not self._held_ns and self._mode in (Mode.PAUSE, Mode.FREEZE, Mode.STOP):
            self._held_ns = self._of.clock.now_ns() - self._from_ns if self._writers else 0

    async def _end_hook(self, ident: str, argv: tuple[str, ...]) -> None:
        try:
            status, said = await self._of.writers.run(ident, argv, self._wish.hook_limit_s, _SAID_BYTES)
        except (EngineError, OSError, TimeoutError) as exc:
            status, said = 1, str(exc) or f"it did not end within {self._wish.hook_limit_s:g} s"
        if status:
            self._warn(f"hook in container {self._named(ident)} failed: {model.spelt(argv)}: {said.strip()}")
        await self._strike(posts=tuple(one for one in self._entry.posts if one != (ident, argv)))

    async def drop_points(self) -> None:
        """Remove the copies of the instant."""
        for name in list(self._points):
            if self._maker is None:
                continue
            try:
                await self._maker.drop(self._points.pop(name))
            except EngineError as exc:  # what was read from it is whole all the same
                log.warning("%s of %s: %s; the next start tries again", self._what, name, exc)

    # -- what happened meanwhile

    def seen(self, event: Event) -> None:
        """Learn that somebody else set a user of the volumes going while they held still."""
        if event.type == "volume" and event.action == "mount" and event.actor_id in self.names:
            self._disturbed(event.attributes.get("container", ""), "was started")
        elif event.action == "unpause" and any(one.id == event.actor_id for one in self._writers):
            self._disturbed(event.actor_id, "was unpaused")

    def _disturbed(self, ident: str, how: str) -> None:
        self._whole = False
        self._warn(f"container {self._named(ident)} {how} by somebody else before all was read: not one instant")

    def _named(self, ident: str) -> str:
        return next((writer.name for writer in self._writers if writer.id == ident), ident[:12])

    def _warn(self, text: str) -> None:
        log.warning("%s of %s: %s", self._what, ", ".join(self.names), text)
        self._warnings.append(text)

    async def _note(self, **changes: object) -> None:
        """Write down what is about to be done. Raises `NotNoted`."""
        self._entry = msgspec.structs.replace(self._entry, **changes)
        try:
            await in_thread(self._of.journal.write, self._ident, self._entry)
        except OSError as exc:
            raise NotNoted(self._what, exc) from exc

    async def _strike(self, **changes: object) -> None:
        """Write down what has been undone; a disk that is full must not keep the rest from being undone."""
        try:
            await self._note(**changes)
        except NotNoted as exc:
            log.warning("%s; the next engine does again what has been done", exc)


class Stillness:
    """Makes users of volumes hold still; one for an engine."""

    def __init__(
        self,
        layout: Layout,
        register: Register,
        drivers: Drivers,
        writers: Writers,
        bus: Bus,
        clock: Clock,
        points: Points | None = None,
    ) -> None:
        self.layout = layout
        self.register = register
        self.drivers = drivers
        self.writers = writers
        self.clock = clock
        self.points = points
        self.journal = HoldJournal(layout.holds, layout.lasting_holds)
        self._watching: list[Still] = []
        #: Containers, by id, that one operation at a time may hold still.
        self.turns = KeyedLocks()
        bus.on_event(self._happened)

    @asynccontextmanager
    async def still(
        self, names: Collection[str], what: str, wish: Wish | None = None, *, instants: bool = True
    ) -> AsyncIterator[Still]:
        """Hold the users of volumes still; `what` names the operation ("backup").

        Without `instants` no copies of the instant are made: the caller makes one itself, and lets go on then.

        Raises `NoSuchVolume`, `VolumeOccupied`, `HookFailed`, `NothingHooked`, `NotFrozen`, `NotStopped`,
        `MountOfVolumeFailed`, `InvalidArgument`; nothing is held still then.
        """
        with ExitStack() as occupied:
            records = [
                occupied.enter_context(self.register.occupy(name, what)) for name in sorted(dict.fromkeys(names))
            ]
            held = Still(self, what, records, wish or Wish(), self.points if instants else None)
            async with AsyncExitStack() as mounted:
                for record in records:
                    await mounted.enter_async_context(self._mounted(record))
                try:
                    await held.reach()
                    yield held
                finally:
                    await held.release()
                    await finish(held.drop_points())

    @asynccontextmanager
    async def _mounted(self, record: VolumeRecord) -> AsyncIterator[None]:
        driver = self.drivers.of(record)
        holder = f"still-{new_id()[:16]}"
        try:
            async with self.register.hold(record.name):
                await driver.hold(record, holder)
            yield
        finally:
            await finish(self._let_go(record, holder))

    async def _let_go(self, record: VolumeRecord, holder: str) -> None:
        async with self.register.hold(record.name):
            await self.drivers.of(record).let_go(record, holder)

    def watch(self, held: Still) -> None:
        """Tell `held` what happens from now on."""
        self._watching.append(held)

    def unwatch(self, held: Still) -> None:
        """Tell it no more."""
        if held in self._watching:
            self._watching.remove(held)

    def _happened(self, event: Event) -> None:
        if self._watching and event.type in ("volume", "container"):
            for held in tuple(self._watching):
                held.seen(event)

    async def recover(self, tasks: Tasks) -> None:
        """Undo what a killed engine left: thaw at once; start, and run hooks, behind the engine's start."""
        for ident, entry in (await in_thread(self.journal.left)).items():
            log.warning("a %s was cut short; its containers go on", entry.what or "copy")
            for path in reversed(entry.frozen):
                await self._try(f"thaw {path}", fsfreeze.thaw(path))
            for container in reversed(entry.paused):
                await self._try(f"resume container {container[:12]}", self.writers.thaw(container))
            tasks.start(f"end of {entry.what} {ident}", self._finish_left(ident, entry))

    async def _finish_left(self, ident: str, entry: Entry) -> None:
        for container in reversed(entry.stopped):
            await self._try(f"start container {container[:12]}", self.writers.start(container))
        for container, argv in reversed(entry.posts):
            await self._try(
                f"hook in container {container[:12]}", self.writers.run(container, argv, HOOK_LIMIT_S, _SAID_BYTES)
            )
        await in_thread(self.journal.drop, ident)

    async def _try(self, what: str, work: Awaitable[object]) -> None:
        try:
            await work
        except (EngineError, OSError, TimeoutError) as exc:
            log.warning("%s: %s", what, exc)
