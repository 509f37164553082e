"""Carry out a plan: in order, in one worker thread, undone in reverse on error or cancellation."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager

from berth.base.aio import finish
from berth.base.errors import EngineError, SystemFault
from berth.plan.journal import Journal, PlanLog
from berth.plan.model import Actuator, Plan, Step

log = logging.getLogger(__name__)


class UndoIncomplete(SystemFault):
    """A plan failed and some of what it had done could not be taken back."""

    def __init__(self, cause: BaseException, leftovers: Sequence[BaseException]) -> None:
        said = "; ".join(str(exc) for exc in leftovers)
        super().__init__(f"{cause} (and undoing it was incomplete: {said})")
        self.leftovers = tuple(leftovers)


class _Stopped(EngineError):
    """The caller was cancelled between two steps."""


class Runner:
    """Carries out plans against one actuator with one journal."""

    def __init__(
        self,
        actuator: Actuator,
        journal: Journal,
        *,
        around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """`around` is entered, on the thread that carries it out, for the length of each plan."""
        self._actuator = actuator
        self._journal = journal
        self._around = around

    async def run(self, plan: Plan) -> tuple[Step, ...]:
        """Apply `plan` whole or not at all; return the inverses, newest first.

        A cancellation is honoured between two steps: what was done is undone, then it goes on.
        """
        if not plan:
            return ()
        stop = threading.Event()
        work = asyncio.ensure_future(  # noqa: TID251  awaited to its end just below
            asyncio.to_thread(self.run_blocking, plan, stop)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await finish(self._end_quietly(work))
            raise

    async def _end_quietly(self, work: "asyncio.Future[tuple[Step, ...]]") -> None:
        """Wait for a cancelled plan; one that was past its last look at `stop` went through, and is taken back."""
        await asyncio.wait((work,))
        exc = work.exception()
        if exc is None:
            await asyncio.to_thread(self.apply_all, work.result())
        elif not isinstance(exc, _Stopped):
            log.warning("a cancelled plan failed: %s", exc)

    def run_blocking(self, plan: Plan, stop: threading.Event | None = None) -> tuple[Step, ...]:
        """Do the same on the calling thread."""
        if not plan:
            return ()
        with self._around():
            return self._carry_out(plan, stop)

    @asynccontextmanager
    async def until_recorded(self, plan: Plan, key: str) -> AsyncIterator[None]:
        """Apply `plan`; it is undone if the block, which writes the record `key`, fails or is not reached.

        An engine that is killed before the record is there finds the plan unfinished. Not to be cancelled.
        """
        journal, undo = await asyncio.to_thread(self._carry_out_for, plan, key)
        try:
            yield
        except BaseException as cause:
            await asyncio.to_thread(self._take_back, undo, journal, cause)
            raise
        await asyncio.to_thread(journal.close)

    def _carry_out_for(self, plan: Plan, key: str) -> tuple[PlanLog, tuple[Step, ...]]:
        journal = self._journal.begin()
        journal.follow(key)
        with self._around():
            return journal, self._apply(plan, journal)

    def _carry_out(self, plan: Plan, stop: threading.Event | None) -> tuple[Step, ...]:
        journal = self._journal.begin()
        undo = self._apply(plan, journal, stop)
        journal.close()
        return undo

    def _apply(self, plan: Plan, journal: PlanLog, stop: threading.Event | None = None) -> tuple[Step, ...]:
        """Apply a plan or nothing of it; return the inverses, newest first."""
        done: list[Step] = []
        try:
            for planned in plan:
                if stop is not None and stop.is_set():
                    raise _Stopped("cancelled")
                journal.intend(planned.step)
                inverse = self._actuator.apply(planned.step)
                journal.achieved(inverse)
                if inverse is not None:
                    done.append(inverse)
        except BaseException as cause:
            self._take_back(tuple(reversed(done)), journal, cause)
            raise
        return tuple(reversed(done))

    def _take_back(self, undo: Sequence[Step], journal: PlanLog, cause: BaseException) -> None:
        leftovers = self.apply_all(undo)
        journal.close()
        if leftovers:
            raise UndoIncomplete(cause, leftovers) from cause

    def apply_all(self, steps: Sequence[Step]) -> list[BaseException]:
        """Apply every step though some fail (blocking); return what failed."""
        failed: list[BaseException] = []
        for step in steps:
            try:
                self._actuator.apply(step)
            except Exception as exc:  # noqa: BLE001  a border: undo goes on whatever fails
                log.warning("undo of %s failed: %s", step, exc)
                failed.append(exc)
        return failed

    def recover(self, recorded: Callable[[str], bool] = lambda _: False) -> int:
        """Take back what a killed engine left half done (blocking, at start); return how many plans.

        A plan that was to be followed by a record is whole if that is `recorded`.
        """
        count = 0
        for left in self._journal.unfinished():
            if left.until and recorded(left.until):
                left.path.unlink(missing_ok=True)
                continue
            steps = list(reversed(left.inverses))
            if left.open_step is not None:
                undo = self._actuator.undo_unfinished(left.open_step)
                steps[:0] = [undo] if undo is not None else []
            self.apply_all(steps)
            left.path.unlink(missing_ok=True)
            count += 1
        return count
