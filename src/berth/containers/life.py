"""A container's life from its first start to its removal; the only writer of its state.

Each container has a lock, held while its state changes and never while waiting for its process to exit. An exit is
noticed by the watch that every run has (`_watch`), whoever caused it: a user, the process itself, the kernel.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

import msgspec

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import Conflict, EngineError, InvalidArgument
from berth.base.paths import Layout
from berth.containers import options, restart, states
from berth.containers.announce import Announce
from berth.containers.companions import Companion
from berth.containers.errors import (
    CannotKill,
    CannotRemove,
    CommandUnusable,
    IsPaused,
    IsRestarting,
    IsRunning,
    IsStopped,
    MarkedForRemoval,
    NoSuchContainer,
    NotPaused,
    NotRunning,
    RemovalRunning,
)
from berth.containers.health import check_argv
from berth.containers.launch import Launcher
from berth.containers.model import ContainerRecord, Health
from berth.containers.monitors import conmon
from berth.containers.parts import NetworkPart, VolumePart
from berth.containers.register import Register
from berth.containers.states import State
from berth.kernel import pidfd, process

log = logging.getLogger(__name__)

#: How long a killed container may take to be gone, in seconds, before the wait is given up.
KILL_LIMIT_S: Final = 10.0
#: Exit code of a container whose own is not known (its monitor was killed).
UNKNOWN_EXIT: Final = 255
#: Exit code of a container that could not be started for the engine's reasons (moby start.go).
START_FAILED: Final = 128
SIGKILL: Final = 9


@dataclass(eq=False)
class Run:
    """One run of a container in memory: its process or monitor, and what the restart policy needs to know."""

    held: pidfd.Held
    monitor: process.Child | None = None
    pause_before_ns: int = 0


@dataclass(eq=False)
class _Waiters:
    """Those who wait for a container's next exit, and for its removal; each gets the exit code."""

    exits: set["asyncio.Future[int]"] = field(default_factory=set)
    removals: set["asyncio.Future[int]"] = field(default_factory=set)


class Life:
    """Starts, watches, stops and removes containers."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        layout: Layout,
        register: Register,
        launcher: Launcher,
        networks: NetworkPart,
        volumes: VolumePart,
        announce: Announce,
        clock: Clock,
        tasks: Tasks,
        locks: KeyedLocks,
        companions: list[Companion],
    ) -> None:
        self._layout = layout
        self._register = register
        self._launcher = launcher
        self._networks = networks
        self._volumes = volumes
        self._announce = announce
        self._clock = clock
        self._tasks = tasks
        self._locks = locks
        self._companions = companions
        self._runs: dict[str, Run] = {}
        self._waiters: dict[str, _Waiters] = {}
        self._pauses: dict[str, asyncio.Event] = {}
        self._removing: set[str] = set()

    # -- start

    async def start(self, ref: str) -> None:
        """Start a container. Raises `IsRunning` if it runs."""
        ident = self._register.find(ref).id
        async with self._locks.hold(ident):
            record = self.present(ident)
            if record.state is State.PAUSED:
                raise IsPaused(ident, doing="start")
            if record.running:
                raise IsRunning(ident)
            self._call_off_restart(ident)
            await self._start_locked(record, restart_count=0)

    def present(self, ident: str) -> ContainerRecord:
        """Return a container that nobody is removing. Raises `NoSuchContainer`, `MarkedForRemoval`."""
        record = self._register.get(ident)
        if record is None:
            raise NoSuchContainer(ident)
        if self.is_leaving(record):
            raise MarkedForRemoval
        return record

    async def _start_locked(self, record: ContainerRecord, *, restart_count: int, pause_ns: int = 0) -> None:
        try:
            launched = await self._launcher.launch(record)
        except BaseException as exc:
            await finish(self._start_failed(record, exc))
            raise
        held = pidfd.hold(launched.monitor.pid)
        started_ns = self._clock.now_ns()
        running = msgspec.structs.replace(
            record,
            state=states.after(record.state, states.Event.START),
            pid=launched.pid,
            pid_started=pidfd.start_ticks(launched.pid),
            conmon_pid=launched.monitor.pid,
            conmon_started=pidfd.start_ticks(launched.monitor.pid),
            started_ns=started_ns,
            finished_ns=record.finished_ns,
            exit_code=0,
            error="",
            oom_killed=False,
            restart_count=restart_count,
            has_been_manually_stopped=False,
            health=Health() if check_argv(record.config) else None,
        )
        try:
            for companion in self._companions:
                await companion.launched(running)
            await asyncio.gather(self._launcher.let_go(running), self._register.put(running))
            if held is None:
                raise Conflict("the container's monitor ended at once")
        except BaseException as exc:
            launched.monitor.kill(SIGKILL)
            await finish(launched.monitor.wait())
            await finish(self._launcher.clear(record))
            await finish(self._start_failed(record, exc))
            raise
        self._runs[record.id] = Run(held, launched.monitor, pause_before_ns=pause_ns)
        self._announce(running, "start")
        for companion in self._companions:
            companion.started(running)
        self._tasks.start(f"watch {record.short_id}", self._watch(record.id, self._runs[record.id]))

    async def _start_failed(self, record: ContainerRecord, exc: BaseException) -> None:
        code = exc.exit_code if isinstance(exc, CommandUnusable) else START_FAILED
        state = State.EXITED if record.state is State.RESTARTING else record.state
        failed = await self._register.put(
            record, state=state, exit_code=code, error=str(exc), pid=0, conmon_pid=0, finished_ns=record.finished_ns
        )
        for companion in self._companions:
            await companion.ended(failed)
        if record.auto_remove:
            self._wake(record.id, code)
            try:  # before the answer: who is told that it did not start finds it gone
                await self._remove_locked(failed, volumes=True)
            except EngineError as problem:
                log.warning("container %s did not start and cannot be removed: %s", record.short_id, problem)

    async def _watch(self, ident: str, run: Run) -> None:
        try:
            await run.held.gone()
        finally:
            run.held.close()
        if run.monitor is not None:
            await run.monitor.wait()
        code = await self._exit_code(ident)
        async with self._locks.hold(ident):
            if self._runs.get(ident) is run:
                await finish(self._ended_locked(ident, run, code))

    async def _exit_code(self, ident: str) -> int:
        code = conmon.exit_code(self._launcher.exit_dir, ident)
        if code is not None:
            return code
        # The monitor was killed; its container may go on, without streams.
        record = self._register.get(ident)
        survivor = pidfd.hold(record.pid, record.pid_started) if record is not None else None
        if survivor is None:
            return UNKNOWN_EXIT
        log.warning("the monitor of container %s is gone, its process %d is not", ident[:12], survivor.pid)
        try:
            await survivor.gone()
        finally:
            survivor.close()
        return UNKNOWN_EXIT

    async def _ended_locked(self, ident: str, run: Run | None, code: int) -> None:
        record = self._register.get(ident)
        self._runs.pop(ident, None)
        if record is None or not record.running:
            return
        oom = code == 128 + SIGKILL and await in_thread(self._launcher.oom_kills, record) > 0
        now = self._clock.now_ns()
        lasted = max(0, now - record.started_ns)
        pause = restart.pause_before_next(
            record.host_config.restart_policy,
            restart.Run(
                exit_code=code,
                lasted_ns=lasted,
                pause_before_ns=run.pause_before_ns if run is not None else 0,
                restarts=record.restart_count,
                stopped=record.has_been_manually_stopped,
            ),
        )
        ended = msgspec.structs.replace(
            record,
            state=states.after(record.state, states.Event.EXIT if pause is None else states.Event.AGAIN),
            pid=0,
            conmon_pid=0,
            finished_ns=now,
            exit_code=code,
            oom_killed=oom,
        )
        removing = pause is None and record.auto_remove
        if oom:
            self._announce(ended, "oom")
        for companion in self._companions:
            await companion.ended(ended)
        await asyncio.gather(self._register.put(ended), self._launcher.release(ended))
        self._announce(ended, "die", exitCode=str(code), execDuration=str(lasted // 1_000_000_000))
        self._wake(ident, code)
        forgetting = self._tasks.start(f"forget {record.short_id}", self._forget_run(record))
        if removing:
            await self._remove_locked(ended, volumes=True, after=forgetting)
        elif pause is not None:
            await forgetting
            self._schedule_restart(ended, pause)
        else:
            await forgetting

    async def _forget_run(self, record: ContainerRecord) -> None:
        await self._launcher.forget(record.id, record.cgroup_path(self._layout.cgroup_parent))

    def _wake(self, ident: str, code: int) -> None:
        waiters = self._waiters.get(ident)
        if waiters is None:
            return
        for future in waiters.exits:
            if not future.done():
                future.set_result(code)
        waiters.exits.clear()

    def _schedule_restart(self, record: ContainerRecord, pause_ns: int) -> None:
        called_off = asyncio.Event()
        self._pauses[record.id] = called_off
        self._tasks.start(f"restart {record.short_id}", self._start_again(record.id, pause_ns, called_off))

    def _call_off_restart(self, ident: str) -> bool:
        called_off = self._pauses.pop(ident, None)
        if called_off is None:
            return False
        called_off.set()
        return True

    async def _start_again(self, ident: str, pause_ns: int, called_off: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(pause_ns / 1e9):
                await called_off.wait()
            return
        except TimeoutError:
            pass
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if called_off.is_set() or record is None or record.state is not State.RESTARTING:
                return
            self._pauses.pop(ident, None)
            try:
                await self._start_locked(record, restart_count=record.restart_count + 1, pause_ns=pause_ns)
            except EngineError as exc:
                log.warning("container %s could not be started again: %s", record.short_id, exc)

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Ask a container to end, and end it after `timeout_s` seconds (-1: never). Raises `IsStopped`."""
        record = await self._begun(self._register.find(ref))
        if not record.running and record.state is not State.RESTARTING:
            raise IsStopped(record.id)
        await self._stop(record, timeout_s, signal_text)
        stopped = self._register.get(record.id)
        self._announce(stopped or record, "stop")

    async def _begun(self, record: ContainerRecord) -> ContainerRecord:
        """Return a container that does not seem to run once a start of it that is under way is over."""
        if record.running:
            return record
        return await self.settled(record.id) or record

    async def _stop(self, record: ContainerRecord, timeout_s: int | None, signal_text: str) -> None:
        signum = options.parse_signal(signal_text or record.config.stop_signal or "SIGTERM")
        if timeout_s is None:
            own = record.config.stop_timeout
            timeout_s = options.STOP_TIMEOUT_S if own is None else own
        # Again if it ends by itself between two turns of ours: then its policy would have it started again.
        while not await self._settle_restart(record.id):
            ended = self._next_exit(record.id)
            try:
                await self._send(record.id, signum, by_user=True)
                current = self._register.get(record.id)
                if current is not None and current.state is State.RESTARTING:
                    continue
                # A process that is gone already is waited for as well: its end is not on record before that.
                if current is None or not current.running:
                    return
                if current.state is State.PAUSED:
                    await self._send(record.id, SIGKILL, by_user=True)
                    await self._thaw(current)
                await self._await_end(record, ended, timeout_s)
                return
            finally:
                self._drop_waiter(record.id, ended)

    async def _await_end(self, record: ContainerRecord, ended: "asyncio.Future[int]", timeout_s: int) -> None:
        try:
            async with asyncio.timeout(None if timeout_s < 0 else timeout_s):
                await asyncio.shield(ended)
            return
        except TimeoutError:
            log.info("container %s did not stop within %d s; killing it", record.short_id, timeout_s)
        await self._send(record.id, SIGKILL, by_user=True)
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await asyncio.shield(ended)
        except TimeoutError:
            raise EngineError(f"tried to kill container, but did not receive an exit event: {record.id}") from None

    async def _settle_restart(self, ident: str) -> bool:
        """Call off a restart that is waited for; True if the container rests now."""
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if record is None:
                return True
            if record.state is not State.RESTARTING:
                return not record.running
            self._call_off_restart(ident)
            await self._register.put(
                record, state=states.after(record.state, states.Event.GIVE_UP), has_been_manually_stopped=True
            )
            self._wake(ident, record.exit_code)
            return True

    async def _send(self, ident: str, signum: int, *, by_user: bool) -> bool:
        """Send a signal to the first process; False if there is none. `by_user` keeps it from being started again."""
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if record is None or not record.running:
                return False
            if by_user and not record.has_been_manually_stopped:
                record = await self._register.put(record, has_been_manually_stopped=True)
            held = pidfd.hold(record.pid, record.pid_started)
            if held is None:
                return False
            try:
                sent = held.send(signum)
            finally:
                held.close()
            if sent:
                self._announce(record, "kill", signal=str(signum))
            return sent

    async def kill(self, ref: str, signal_text: str = "") -> None:
        """Send a signal (KILL unless named). Raises `CannotKill`; with KILL it is gone when this returns."""
        signum = options.parse_signal(signal_text or "KILL")
        record = await self._begun(self._register.find(ref))
        if not record.running:
            raise CannotKill(ref, record.id)
        ended = self._next_exit(record.id)
        try:
            stops = signum == SIGKILL or signum == options.parse_signal(record.config.stop_signal or "SIGTERM")
            sent = await self._send(record.id, signum, by_user=stops)
            if not sent and ((now := self._register.get(record.id)) is None or not now.running):
                if stops and now is not None and now.state is State.RESTARTING:
                    await self._settle_restart(record.id)  # it ended by itself while this waited for its turn
                    return
                raise CannotKill(ref, record.id)
            if signum == SIGKILL:
                current = self._register.get(record.id)
                if current is not None and current.state is State.PAUSED:
                    await self._thaw(current)
                await self._await_kill(record, ended)
        finally:
            self._drop_waiter(record.id, ended)

    async def _await_kill(self, record: ContainerRecord, ended: "asyncio.Future[int]") -> None:
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await asyncio.shield(ended)
        except TimeoutError:
            log.warning("container %s was killed and is still there", record.short_id)

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Stop it if it runs, then start it."""
        record = self._register.find(ref)
        if record.running or record.state is State.RESTARTING:
            await self._stop(record, timeout_s, signal_text)
            self._announce(record, "stop")
        async with self._locks.hold(record.id):
            current = self.present(record.id)
            self._call_off_restart(record.id)
            if not current.running:
                await self._start_locked(current, restart_count=0)
        self._announce(record, "restart")

    def _next_exit(self, ident: str) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(ident, _Waiters()).exits.add(future)
        return future

    def _drop_waiter(self, ident: str, future: "asyncio.Future[int]") -> None:
        waiters = self._waiters.get(ident)
        if waiters is None:
            return
        waiters.exits.discard(future)
        waiters.removals.discard(future)
        if not waiters.exits and not waiters.removals:
            self._waiters.pop(ident, None)

    async def waiting(self, ref: str, condition: str = "") -> "asyncio.Future[int]":
        """Return the exit code to come: at ``not-running`` (default), ``next-exit`` or ``removed``.

        The caller cancels it when it no longer waits.
        """
        if condition not in ("", "not-running", "next-exit", "removed"):
            raise InvalidArgument(f'invalid condition: "{condition}"')
        record = self._register.find(ref)
        if condition in ("", "not-running"):
            record = await self._begun(record)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: self._drop_waiter(record.id, done))
        if condition in ("", "not-running") and not record.running and record.state is not State.RESTARTING:
            future.set_result(record.exit_code)
            return future
        waiters = self._waiters.setdefault(record.id, _Waiters())
        (waiters.removals if condition == "removed" else waiters.exits).add(future)
        return future

    async def pause(self, ref: str) -> None:
        """Freeze every process."""
        ident = self._register.find(ref).id
        async with self._locks.hold(ident):
            record = self.present(ident)
            if record.state is State.PAUSED:
                raise IsPaused(ident)
            if record.state is State.RESTARTING:
                raise IsRestarting(ident)
            if not record.running:
                raise NotRunning(ident)
            try:
                await self._launcher.runtime.pause(ident)
            except EngineError:
                if pidfd.start_ticks(record.pid) != record.pid_started:  # it has ended, which is not on record yet
                    raise NotRunning(ident) from None
                raise
            record = await self._register.put(record, state=states.after(record.state, states.Event.PAUSE))
        self._announce(record, "pause")

    async def unpause(self, ref: str) -> None:
        """Thaw every process."""
        ident = self._register.find(ref).id
        async with self._locks.hold(ident):
            record = self.present(ident)
            if record.state is not State.PAUSED:
                raise NotPaused(ident)
            await self._launcher.runtime.resume(ident)
            record = await self._register.put(record, state=states.after(record.state, states.Event.UNPAUSE))
        self._announce(record, "unpause")

    async def thaw(self, ident: str) -> None:
        """Let every process go on, whatever the record says; nothing happens to what is not frozen or does not run.

        A pause that was cut short may have frozen the processes without a word about it in the record.
        """
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if record is None or not record.running:
                return
            if record.state is not State.PAUSED:
                await self._thaw(record)
                return
            await self._launcher.runtime.resume(ident)
            record = await self._register.put(record, state=states.after(record.state, states.Event.UNPAUSE))
        self._announce(record, "unpause")

    async def settled(self, ident: str) -> ContainerRecord | None:
        """Return a container once no change of its state is under way; None if it is gone."""
        async with self._locks.hold(ident):
            return self._register.get(ident)

    async def _thaw(self, record: ContainerRecord) -> None:
        # A frozen process does not die of a signal on version 1 control groups.
        try:
            await self._launcher.runtime.resume(record.id)
        except EngineError as exc:
            log.debug("thawing %s: %s", record.short_id, exc)

    def is_leaving(self, record: ContainerRecord) -> bool:
        """Tell whether a container is being removed, or was not removed whole."""
        return record.state in (State.REMOVING, State.DEAD) or record.id in self._removing

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove a container; with `force` a running one too, with `volumes` its anonymous volumes."""
        if link:
            raise Conflict(
                f"Conflict, cannot remove the default link name of the container: {ref}. Links are not kept apart from "
                "their containers; remove the container that has it"
            )
        record = self._register.find(ref)
        while True:
            while force and (record.running or record.state is State.RESTARTING):
                await self._end_by_force(record)
                again = self._register.get(record.id)
                if again is None:
                    return
                record = again
            async with self._locks.hold(record.id):
                current = self._register.get(record.id)
                if current is None or record.id in self._removing:
                    raise RemovalRunning(record.id) if current is not None else NoSuchContainer(ref)
                if not current.running and current.state is not State.RESTARTING:
                    await self._remove_locked(current, volumes=volumes)
                    return
                if not force:
                    raise CannotRemove(current.name, current.state.value)
                # Someone started it between its end and our turn.
                record = current

    async def _end_by_force(self, record: ContainerRecord) -> None:
        if await self._settle_restart(record.id):
            return
        ended = self._next_exit(record.id)
        try:
            await self._send(record.id, SIGKILL, by_user=True)
            current = self._register.get(record.id)
            if current is None or not current.running:
                return
            if current.state is State.PAUSED:
                await self._thaw(current)
            async with asyncio.timeout(KILL_LIMIT_S):
                await asyncio.shield(ended)
        except TimeoutError:
            raise EngineError(
                f'cannot remove container "/{record.name}": could not kill container: '
                "tried to kill container, but did not receive an exit event"
            ) from None
        finally:
            self._drop_waiter(record.id, ended)

    async def _remove_after_exit(self, ident: str) -> None:
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if record is not None and not record.running:
                await self._remove_locked(record, volumes=True)

    async def _remove_locked(
        self, record: ContainerRecord, *, volumes: bool, after: "asyncio.Task[None] | None" = None
    ) -> None:
        """Remove what is there, the record last; directories go behind the answer."""
        self._removing.add(record.id)
        try:
            if self._register.is_durable(record):
                await self._register.put(record, state=State.REMOVING)
            await self._networks.forget(record.id)
            await self._volumes.release(record.id, record.mounts, remove_anonymous=volumes)
            await self._register.drop(record)
        except BaseException:
            if self._register.get(record.id) is not None:
                await finish(self._register.put(record, state=State.DEAD))
            raise
        finally:
            self._removing.discard(record.id)
        for companion in self._companions:
            await companion.removed(record)
        self._announce(record, "destroy")
        waiters = self._waiters.pop(record.id, None)
        for future in {*waiters.removals, *waiters.exits} if waiters is not None else ():
            if not future.done():
                future.set_result(record.exit_code)
        self._tasks.start(f"tidy {record.short_id}", self._tidy(record.id, after))

    async def _tidy(self, ident: str, after: "asyncio.Task[None] | None") -> None:
        if after is not None:
            await asyncio.wait((after,))
        await self._launcher.remove_run_directory(ident)
        await self._launcher.remove_directory(ident)

    # -- what is found when the engine starts

    def take_over(self, record: ContainerRecord, held: pidfd.Held) -> None:
        """Watch a container that was started by an engine before this one."""
        run = self._runs[record.id] = Run(held)
        for companion in self._companions:
            companion.started(record)
        self._tasks.start(f"watch {record.short_id}", self._watch(record.id, run))

    async def remove_leftover(self, record: ContainerRecord) -> None:
        """Finish a removal, or do the one that an exit ought to have brought."""
        async with self._locks.hold(record.id):
            await self._launcher.clear(record)
            await self._remove_locked(record, volumes=True)

    async def end_unseen(self, record: ContainerRecord) -> None:
        """Do what an exit does for a container that ended while no engine watched."""
        async with self._locks.hold(record.id):
            if not record.running:
                await self._register.put(record, state=State.EXITED)
                return
            code = conmon.exit_code(self._launcher.exit_dir, record.id)
            await self._ended_locked(record.id, None, UNKNOWN_EXIT if code is None else code)

    async def start_by_policy(self, record: ContainerRecord) -> None:
        """Start a container because its restart policy says so, behind the engine's own start."""
        async with self._locks.hold(record.id):
            await self._launcher.clear(record)
            resting = await self._register.put(record, state=State.RESTARTING, pid=0, conmon_pid=0)
            self._schedule_restart(resting, 0)
