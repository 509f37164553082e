"""Backups by themselves: runs what the labels of volumes ask for when it is due, and remembers how it went.

A run that was missed, because the engine did not run then, is made up for once. One that fails is an event and stays in
the state; the next is made when its time comes. Runs are made one after the other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

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
    ) -> None:
        self._register = register
        self._records = records
        self._back_up = back_up

    async def watch(self) -> None:
        """Make what is due, for ever."""
        stop = asyncio.Event()  # nobody sets it: the task is cancelled
        while not stop.is_set():
            rest = await self.turn()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)

    async def turn(self) -> float:
        """Make what is due now; return how many seconds there is nothing to do."""
        rest = LOOK_S
        for record in sorted(self._register.records.all(), key=lambda one: one.name):
            plan = self._plan(record)
            if plan is None:
                continue
            state = await self._state(record.name, plan)
            due = _due_ns(plan, state)
            if due <= self._register.clock.now_ns():
                await self._run(record, plan, state)
                due = _due_ns(plan, self._records.get(record.name) or state)
            rest = min(rest, max(0.1, (due - self._register.clock.now_ns()) / _SECOND_NS))
        return rest

    def _plan(self, record: VolumeRecord) -> Plan | None:
        try:
            return plan_of(record.labels or {})
        except BadBackupOption:
            return None  # told by `states`

    async def _state(self, name: str, plan: Plan) -> RunRecord:
        known = self._records.get(name)
        if known is None or known.said != plan.said:
            known = RunRecord(name=name, said=plan.said, from_ns=self._register.clock.now_ns())
            await self._records.put(name, known)
        return known

    async def _run(self, record: VolumeRecord, plan: Plan, state: RunRecord) -> None:
        now = self._register.clock.now_ns()
        error, file = "", state.file
        try:
            file = (await self._back_up(record, plan)).name
        except (EngineError, OSError) as exc:
            error = str(exc)
            log.warning("backup of %s failed: %s", record.name, error)
            self._register.publish("backup-failed", record.name, error=error)
        ended = self._register.clock.now_ns()
        await self._records.put(
            record.name,
            msgspec.structs.replace(state, from_ns=now, began_ns=now, ended_ns=ended, error=error, file=file),
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
            state = self._records.get(record.name)
            if plan is None or state is None or state.said != plan.said:
                state = None
            found.append({
                "Volume": record.name,
                "Schedule": plan.said if plan else "",
                "Target": plan.target if plan else "",
                "Next": rfc3339(_due_ns(plan, state)) if plan and state else "",
                "Last": rfc3339(state.began_ns) if state and state.began_ns else "",
                "File": state.file if state else "",
                "Error": error or (state.error if state else ""),
            })  # fmt: skip
        return found


def _due_ns(plan: Plan, state: RunRecord) -> int:
    if plan.schedule.every_s:
        return state.from_ns + plan.schedule.every_s * _SECOND_NS
    local = datetime.fromtimestamp(state.from_ns / _SECOND_NS, UTC).astimezone().replace(tzinfo=None)
    due = next_run(plan.schedule, local)
    if due == NEVER:
        return 1 << 62
    return int(due.astimezone(UTC).timestamp()) * _SECOND_NS
