"""Commands in running containers. The OCI runtime runs as a child of the engine; its exit is the command's.

Nothing touches a disk: the process description goes over a memory file, the runtime's own messages and the pid come
back over one pipe. Instances live in memory; a detached command outlives the engine, what is known of it does not.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Final

from berth.base.aio import Tasks
from berth.base.clock import Clock
from berth.base.errors import Conflict, InvalidArgument, SystemFault
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.containers.announce import Announce
from berth.containers.attach import Duplex
from berth.containers.detach import DetachFilter
from berth.containers.execs.launch import Launch, kill_tree, set_size
from berth.containers.execs.model import Command, Instance, NoSuchExec, StartFailed, check_running, parse_size
from berth.containers.execs.output import DRAIN_S, Catch, Sink, feed, pump
from berth.containers.execs.spec import NOT_RUNNABLE, process_spec, translate
from berth.containers.model import ContainerRecord
from berth.containers.options import check_process
from berth.containers.runtimes.command import Runtime
from berth.wire.execs import ExecCreate
from berth.wire.frames import STDERR, STDOUT, frame

log = logging.getLogger(__name__)

#: How long an ended instance can still be inspected, in nanoseconds; Docker keeps it five minutes.
KEPT_NS: Final = 300_000_000_000
#: How long a resize waits for its command to start, in seconds.
START_LIMIT_S: Final = 10.0

RuntimeOf = Callable[[ContainerRecord], Runtime]
Find = Callable[[str], ContainerRecord]


class Execs:
    """The commands of every container; goes along with each container's life (see `companions`)."""

    def __init__(
        self,
        *,
        layout: Layout,
        find: Find,
        runtime: RuntimeOf,
        announce: Announce,
        clock: Clock,
        tasks: Tasks,
        expect_moves: Callable[[], None],
    ) -> None:
        """`expect_moves` is told when a command is likely to be started at once."""
        self._layout = layout
        self._find = find
        self._runtime = runtime
        self._announce = announce
        self._clock = clock
        self._tasks = tasks
        self._expect_moves = expect_moves
        self._instances: dict[str, Instance] = {}

    # --- the container's life ---------------------------------------------------------------------------------------
    async def launched(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    def started(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    async def ended(self, record: ContainerRecord) -> None:
        """Forget what was created and never started."""
        self._forget(lambda one: one.container_id == record.id and not one.has_run)

    async def removed(self, record: ContainerRecord) -> None:
        """Forget all commands of a container."""
        self._forget(lambda one: one.container_id == record.id)

    def _forget(self, which: Callable[[Instance], bool]) -> None:
        for ident in [one.id for one in self._instances.values() if which(one)]:
            del self._instances[ident]

    # --- what clients ask -----------------------------------------------------------------------------------------
    def create(self, ref: str, want: ExecCreate) -> Instance:
        """Remember a command to be started. Raises when the container is not running."""
        record = self._find(ref)
        check_running(record)
        if not want.argv:
            raise InvalidArgument("No exec command specified")
        check_process((*want.argv, want.user or "", want.working_dir or ""), want.env or ())
        command = Command(
            argv=want.argv,
            stdin=bool(want.attach_stdin),
            stdout=bool(want.attach_stdout),
            stderr=bool(want.attach_stderr),
            tty=bool(want.tty),
            privileged=bool(want.privileged),
            user=want.user or "",
            working_dir=want.working_dir or "",
            env=tuple(want.env or ()),
            detach_keys=want.detach_keys or "",
            size=parse_size(want.console_size),
        )
        horizon = self._clock.now_ns() - KEPT_NS
        self._forget(lambda one: 0 < one.ended_ns < horizon)
        made = Instance(new_id(), record.id, command)
        self._instances[made.id] = made
        self._announce(record, f"exec_create: {command.spoken}", execID=made.id)
        self._expect_moves()
        return made

    def find(self, ident: str) -> Instance:
        """Return an instance by its id. Raises `NoSuchExec`."""
        found = self._instances.get(ident)
        if found is None:
            raise NoSuchExec(ident)
        return found

    def of(self, container_id: str) -> list[str]:
        """Return the ids of a container's commands that have not ended."""
        return [
            one.id for one in self._instances.values() if one.container_id == container_id and one.exit_code is None
        ]

    def check_startable(self, ident: str) -> Instance:
        """Return an instance that may be started now. Raises if it ran before or its container does not run."""
        found = self.find(ident)
        if found.has_run:
            raise Conflict(f"Error: Exec command {ident} has already run")
        check_running(self._find(found.container_id))
        return found

    async def start(
        self, ident: str, stream: Duplex | None, *, keys: bytes = b"", size: tuple[int, int] | None = None
    ) -> None:
        """Start a command; with a client, serve it until the end or until it types the detach keys.

        Raises `StartFailed`; with a client it is told in band instead.
        """
        one = self.check_startable(ident)
        record = self._find(one.container_id)
        one.running = True
        sink = Sink(stream, framed=not one.command.tty)
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = asyncio.Event()
        work = self._tasks.start(
            f"exec {ident[:12]}", self._run(record, one, stream, sink, outcome, left, keys=keys, size=size)
        )
        try:
            if stream is None:
                await asyncio.shield(outcome)
                return
            gone = asyncio.get_running_loop().create_task(stream.gone(), name="client gone")
            leaving = asyncio.get_running_loop().create_task(left.wait(), name="client leaves")
            try:
                await asyncio.wait((work, gone, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                leaving.cancel()
        finally:
            sink.leave()
        if outcome.done() and (failure := outcome.exception()) is not None:
            if not isinstance(failure, StartFailed | SystemFault | InvalidArgument):
                raise failure
            text = f"{failure}\r\n".encode()
            with contextlib.suppress(ConnectionError):
                await stream.write(text if one.command.tty else frame(STDOUT, text))

    async def run(self, record: ContainerRecord, command: Command, *, limit_s: float, keep: int) -> tuple[int, str]:
        """Run a command and return its status and the first `keep` bytes of its output; for health checks.

        Raises `TimeoutError` after `limit_s` seconds, when the command is killed; `StartFailed`.
        """
        catch = Catch(keep)
        one = Instance(new_id(), record.id, command, running=True)
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._announce(record, f"exec_create: {command.spoken}", execID=one.id)
        work = self._tasks.start(
            f"exec {one.id[:12]}",
            self._run(record, one, catch, Sink(catch, framed=False), outcome, asyncio.Event(), keys=b"", size=None),
        )
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(work)
        except BaseException:
            kill_tree(one)
            raise
        if (failure := outcome.exception()) is not None:
            raise failure
        return one.exit_code or 0, catch.text()

    async def resize(self, ident: str, height: int, width: int) -> None:
        """Set the size of a command's terminal."""
        one = self.find(ident)
        if one.exit_code is not None:
            raise NoSuchExec(ident)
        if not one.has_run or not one.started.is_set():
            try:
                async with asyncio.timeout(START_LIMIT_S):
                    await one.started.wait()
            except TimeoutError:
                raise Conflict(f"exec {ident} has not started yet") from None
        if one.terminal is None:
            return
        set_size(one.terminal, height, width)
        if one.proxied and one.child is not None:
            one.child.kill(signal.SIGWINCH)

    # --- running ------------------------------------------------------------------------------------------------------
    async def _run(
        self, record: ContainerRecord, one: Instance, stream: Duplex | None, sink: Sink,
        outcome: "asyncio.Future[None]", left: asyncio.Event, *, keys: bytes, size: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        try:
            await self._go(record, one, stream, sink, outcome, left, keys=keys, size=size)
        except (StartFailed, InvalidArgument, SystemFault) as exc:
            one.exit_code = exc.exit_code if isinstance(exc, StartFailed) else NOT_RUNNABLE
            if not outcome.done():
                outcome.set_exception(exc)
                outcome.exception()  # whether anybody asks or not
        finally:
            one.running = False
            one.started.set()
            one.ended_ns = self._clock.now_ns()
            if one.exit_code is None:
                one.exit_code = NOT_RUNNABLE
            if not outcome.done():
                outcome.set_result(None)
        self._announce(record, "exec_die", execID=one.id, exitCode=str(one.exit_code))

    async def _go(
        self, record: ContainerRecord, one: Instance, stream: Duplex | None, sink: Sink,
        outcome: "asyncio.Future[None]", left: asyncio.Event, *, keys: bytes, size: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        runtime = self._runtime(record)
        bundle = self._layout.bundle(record.id)
        spec = process_spec(bundle, record, one.command, size or one.command.size)
        self._announce(record, f"exec_start: {one.command.spoken}", execID=one.id)
        launch = Launch(runtime, bundle, record.id, one, spec)
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        try:
            child = launch.go()
            reporting = loop.create_task(launch.listen(), name="exec report")
            tasks += [reporting, loop.create_task(launch.await_pid_file(), name="exec pid")]
            if one.command.tty:
                await launch.take_terminal(reporting, size or one.command.size)
            pumps = [
                loop.create_task(pump(fd, which, sink, after), name="exec output")
                for fd, which, after in (
                    (launch.terminal, STDOUT, launch.started),
                    (launch.out, STDOUT, None),
                    (launch.err, STDERR, launch.started),
                )
                if fd >= 0
            ]
            tasks += pumps
            if stream is not None and one.command.stdin:
                keeper = DetachFilter(keys if one.command.tty else b"")
                tasks.append(loop.create_task(feed(stream, launch, keeper, left), name="exec input"))
            if await launch.started:
                one.started.set()
                outcome.set_result(None)
            code = await child.wait()
            await asyncio.wait((reporting,), timeout=DRAIN_S)
            if launch.complaint and not outcome.done():
                raise translate(launch.complaint, one.command)
            one.exit_code = code if code >= 0 else 128 - code
            one.running = False
            await sink.drained(pumps, launch.unread)
        finally:
            for task in tasks:
                task.cancel()
            # A descriptor must not be closed, and its number given to another, while the event loop still watches it.
            await asyncio.gather(*tasks, return_exceptions=True)
            launch.close()
