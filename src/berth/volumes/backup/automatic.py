"""Backups by themselves: runs what the labels of volumes ask for when it is due, and remembers how it went.

A run that was missed, because the engine did not run then, is made up for once. One that fails is an event and stays in
the state; the next is made when its time comes. A few runs go side by side, never two of one volume; one that takes
long keeps its place only for a while, so that a store that hangs delays nobody but itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from berth.base.aio import Tasks
from berth.base.clock import rfc3339
from berth.base.errors import EngineError
from berth.store.base import Records
from berth.volumes.backup.errors import BadBackupOption
from berth.volumes.backup.schedule import NEVER, Plan, next_run, plan_of
from berth.volumes.backup.stores.base import Entry
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

log = logging.getLogger(__name__)

#: Labels are looked at so often, in seconds: a volume may have been given some meanwhile.
LOOK_S: Final = 20.0
#: So many runs go at once: packing uses every processor by itself, what is waited for is disks and networks.
AT_ONCE: Final = 3
#: A run that has taken so long, in seconds, does not count among them any more.
PATIENCE_S: Final = 900.0
_SECOND_NS: Final = 1_000_000_000


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How the backups of one volume go."""

    name: str
    #: The schedule, as it was when it was first seen; another begins anew.
    said: str
    #: From when the next run is counted: when the schedule was first seen, then the last run's beginning.
    from_ns: int
    began_ns: int = 0
    ended_ns: int = 0
    error: str = ""
    file: str = ""


class Automatic:
    """The scheduled backups of one engine; `back_up` makes one and removes what its plan does not keep."""

    def __init__(
        self,
        register: Register,
        records: Records[RunRecord],
        back_up: Callable[[VolumeRecord, Plan], Awaitable[Entry]],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._register = register
        self._records = records
        self._back_up = back_up
        self._patience_s = patience_s
        self._tasks = Tasks()
        self._places = asyncio.Semaphore(AT_ONCE)
        #: Volumes whose run is under way, or waits for a place; with when it was begun, 0 while it waits.
        self._running: dict[str, int] = {}
        #: What could not be written down: a full disk must not have one run made again and again.
        self._unwritten: dict[str, RunRecord] = {}
        self._ended = asyncio.Event()

    async def watch(self) -> None:
        """Make what is due, for ever; what is under way when this is cancelled is made anew by the next engine."""
        try:
            while True:
                self._ended.clear()
                rest = await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest):  # not wait_for, which may lose a cancellation (Python 3.11)
                        await self._ended.wait()
        finally:
            await self._tasks.close()

    async def turn(self) -> float:
        """Begin what is due now; return how many seconds there is nothing to do, unless a run ends."""
        rest = LOOK_S
        for record in sorted(self._register.records.all(), key=lambda one: one.name):
            plan = self._plan(record)
            if plan is None or record.name in self._running:
                continue
            state = await self._state(record.name, plan)
            left_ns = due_ns(plan, state.from_ns) - self._register.clock.now_ns()
            if left_ns > 0:
                rest = min(rest, max(0.1, left_ns / _SECOND_NS))
                continue
            self._running[record.name] = 0
            self._tasks.start(f"backup of {record.name}", self._in_its_turn(record.name, state))
        for gone in [one.name for one in self._records.all() if self._register.find(one.name) is None]:
            if gone not in self._running:
                await self._forget(gone)
        return rest

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        await self._tasks.settle()

    def _plan(self, record: VolumeRecord | None) -> Plan | None:
        try:
            return None if record is None else plan_of(record.labels or {})
        except BadBackupOption:
            return None  # told by `states`

    async def _state(self, name: str, plan: Plan) -> RunRecord:
        known, now_ns = self._known(name), self._register.clock.now_ns()
        if known is None or known.said != plan.said:
            known = RunRecord(name=name, said=plan.said, from_ns=now_ns)
            await self._note(known)
        elif known.from_ns > now_ns:
            # The clock was ahead when that was written: nothing would be due before it is there again.
            log.warning("backup of %s: the clock was set back; the next run is counted from now", name)
            known = msgspec.structs.replace(known, from_ns=now_ns)
            await self._note(known)
        return known

    def _known(self, name: str) -> RunRecord | None:
        return self._unwritten.get(name) or self._records.get(name)

    async def _note(self, state: RunRecord) -> None:
        self._unwritten[state.name] = state
        try:
            await self._records.put(state.name, state)
        except (EngineError, OSError) as exc:
            log.warning("how the backup of %s went cannot be written down: %s", state.name, exc)
        else:
            del self._unwritten[state.name]

    async def _forget(self, name: str) -> None:
        try:
            await self._records.drop(name)
        except (EngineError, OSError) as exc:  # as above; it ends no run that is under way
            log.warning("how the backups of %s went cannot be forgotten: %s", name, exc)

    async def _in_its_turn(self, name: str, state: RunRecord) -> None:
        try:
            async with self._place():
                record = self._register.find(name)
                plan = self._plan(record)
                if record is not None and plan is not None and plan.said == state.said:
                    await self._run(record, plan, state)
        finally:
            del self._running[name]
            self._ended.set()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait for one of the places there are, and have it until the block ends or patience does."""
        await self._places.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._places.release()

        timer = asyncio.get_running_loop().call_later(self._patience_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _run(self, record: VolumeRecord, plan: Plan, state: RunRecord) -> None:
        now = self._running[record.name] = self._register.clock.now_ns()
        error, file = "", state.file
        try:
            file = (await self._back_up(record, plan)).name
        except (EngineError, OSError) as exc:
            error = str(exc)
        except Exception:  # a border: what nobody foresaw in one volume's backup must not be tried for ever
            log.exception("backup of %s", record.name)
            error = "an internal error; the engine's log says more"
        if error:
            log.warning("backup of %s failed: %s", record.name, error)
            self._register.publish("backup-failed", record.name, error=error)
        ended = self._register.clock.now_ns()
        await self._note(
            msgspec.structs.replace(state, from_ns=now, began_ns=now, ended_ns=ended, error=error, file=file)
        )

    def states(self) -> list[dict[str, Any]]:
        """Render every schedule as the API shows it, those that cannot be understood too."""
        found = []
        for record in sorted(self._register.records.all(), key=lambda one: one.name):
            error = ""
            plan: Plan | None = None
            try:
                plan = plan_of(record.labels or {})
            except BadBackupOption as exc:
                error = str(exc)
            if plan is None and not error:
                continue
            state = self._known(record.name)
            if plan is None or state is None or state.said != plan.said:
                state = None
            running = self._running.get(record.name)
            found.append({
                "Volume": record.name,
                "Schedule": plan.said if plan else "",
                "Target": plan.target if plan else "",
                "Next": rfc3339(due_ns(plan, state.from_ns)) if plan and state else "",
                "Last": rfc3339(state.began_ns) if state and state.began_ns else "",
                "File": state.file if state else "",
                "Error": error or (state.error if state else ""),
                "Running": "" if running is None else rfc3339(running) if running else "waiting",
            })  # fmt: skip
        return found


def due_ns(plan: Plan, from_ns: int) -> int:
    """Return when the first run after a moment is due, both in nanoseconds since the epoch; it is always later."""
    if plan.schedule.every_s:
        return from_ns + plan.schedule.every_s * _SECOND_NS
    local = datetime.fromtimestamp(from_ns / _SECOND_NS, UTC).astimezone().replace(tzinfo=None)
    while (local := next_run(plan.schedule, local)) != NEVER:
        for due in _moments(local):
            if due > from_ns:
                return due
    return 1 << 62


def _moments(local: datetime) -> tuple[int, ...]:
    """Return when a local time is: twice where clocks are put back; where they are put on, what it would have been."""
    instants = [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    there = [one for one in instants if one.astimezone().replace(tzinfo=None, fold=0) == local]
    return tuple(int(one.timestamp()) * _SECOND_NS for one in (there or [max(instants)]))
