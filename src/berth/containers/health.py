"""Health checks: a command run in the container every so often, and what its results say.

`judge` decides and is pure; `Healthchecks` runs the checks while containers run, also those found alive at a start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from berth.base.aio import Tasks
from berth.base.clock import Clock
from berth.base.errors import EngineError
from berth.base.units import go_duration
from berth.containers.announce import Announce
from berth.containers.execs.model import Command
from berth.containers.execs.service import Execs, Find
from berth.containers.model import ContainerRecord, Health, HealthProbe
from berth.containers.states import State
from berth.wire.containers import ContainerConfig, Healthcheck

log = logging.getLogger(__name__)

STARTING: Final = "starting"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"

_S: Final = 1_000_000_000
# Docker's defaults (moby, daemon/health.go), in nanoseconds.
INTERVAL_NS: Final = 30 * _S
TIMEOUT_NS: Final = 30 * _S
START_INTERVAL_NS: Final = 5 * _S
RETRIES: Final = 3
#: How many results are kept.
KEPT: Final = 5
#: How much of a check's output is kept, in bytes.
OUTPUT_BYTES: Final = 4_096

SetHealth = Callable[[str, Health], Awaitable[None]]


def check_argv(config: ContainerConfig) -> tuple[str, ...]:
    """Return the command of a container's health check; empty if it has none or it is switched off."""
    test = (config.healthcheck.test if config.healthcheck else None) or []
    match test[:1]:
        case ["CMD"]:
            return tuple(test[1:])
        case ["CMD-SHELL"] if len(test) > 1:
            return (*(config.shell or ("/bin/sh", "-c")), test[1])
        case _:
            return ()


def judge(before: Health, probe: HealthProbe, check: Healthcheck, started_ns: int) -> Health:
    """Return what is known after one more result."""
    status, streak = before.status, before.failing_streak
    if probe.exit_code == 0:
        status, streak = HEALTHY, 0
    elif not (status == STARTING and probe.start_ns - started_ns < check.start_period):
        streak += 1
        if streak >= (check.retries or RETRIES):
            status = UNHEALTHY
    return Health(status=status, failing_streak=streak, log=(*before.log, probe)[-KEPT:])


def pause_ns(health: Health, check: Healthcheck, started_ns: int, now_ns: int) -> int:
    """Return how long to wait before the next check."""
    if health.status == STARTING and now_ns - started_ns < check.start_period:
        return check.start_interval or START_INTERVAL_NS
    return check.interval or INTERVAL_NS


class Healthchecks:
    """Runs the health checks; goes along with each container's life (see `companions`)."""

    def __init__(
        self, *, execs: Execs, find: Find, set_health: SetHealth, announce: Announce, clock: Clock, tasks: Tasks
    ) -> None:
        self._execs = execs
        self._find = find
        self._set_health = set_health
        self._announce = announce
        self._clock = clock
        self._tasks = tasks
        self._watches: dict[str, asyncio.Task[None]] = {}

    # --- the container's life -------------------------------------------------------------------------------------
    async def launched(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    def started(self, record: ContainerRecord) -> None:
        """Begin to check."""
        if check_argv(record.config):
            self._stop(record.id)
            self._watches[record.id] = self._tasks.start(f"health {record.short_id}", self._watch(record.id))

    async def ended(self, record: ContainerRecord) -> None:
        """Check no more."""
        self._stop(record.id)

    async def removed(self, record: ContainerRecord) -> None:
        """Check no more."""
        self._stop(record.id)

    def _stop(self, ident: str) -> None:
        task = self._watches.pop(ident, None)
        if task is not None:
            task.cancel()

    # --- checking -------------------------------------------------------------------------------------------------
    async def _watch(self, ident: str) -> None:
        while True:
            record = self._find(ident)
            check = record.config.healthcheck or Healthcheck()
            health = record.health or Health()
            await asyncio.sleep(pause_ns(health, check, record.started_ns, self._clock.now_ns()) / _S)
            record = self._find(ident)
            if record.state is State.PAUSED:
                continue
            probe = await self._probe(record, check)
            record = self._find(ident)
            if not record.running:
                return
            before = record.health or Health()
            after = judge(before, probe, check, record.started_ns)
            await self._set_health(ident, after)
            if after.status != before.status:
                self._announce(msgspec.structs.replace(record, health=after), f"health_status: {after.status}")

    async def _probe(self, record: ContainerRecord, check: Healthcheck) -> HealthProbe:
        limit_s = (check.timeout or TIMEOUT_NS) / _S
        began = self._clock.now_ns()
        command = Command(argv=check_argv(record.config), stdout=True, stderr=True)
        try:
            code, said = await self._execs.run(record, command, limit_s=limit_s, keep=OUTPUT_BYTES)
        except TimeoutError:
            code, said = -1, f"Health check exceeded timeout ({go_duration(check.timeout or TIMEOUT_NS)})"
        except EngineError as exc:
            code, said = -1, str(exc)
        return HealthProbe(start_ns=began, end_ns=self._clock.now_ns(), exit_code=code, output=said)
