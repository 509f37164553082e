"""Commands in running containers. The OCI runtime runs as a child of the engine; its exit is the command's.

Nothing touches a disk: the process description goes over a memory file, the runtime's own messages and the pid come
back over one pipe. Instances live in memory; a detached command outlives the engine, what is known of it does not.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import Tasks
from berth.base.clock import Clock
from berth.base.errors import Conflict, InvalidArgument, NotFound, SystemFault
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.containers.announce import Announce
from berth.containers.attach import Duplex, NotRunning
from berth.containers.detach import DetachFilter
from berth.containers.model import ContainerRecord
from berth.containers.options import check_process
from berth.containers.runtimes.command import Runtime
from berth.containers.states import State
from berth.containers.users import Identity, resolve
from berth.kernel import process
from berth.kernel.inotify import DirectoryWatch
from berth.kernel.rootpath import open_inside
from berth.wire.execs import ExecCreate
from berth.wire.frames import STDERR, STDOUT, frame

log = logging.getLogger(__name__)

#: How long output is waited for after the command's end while something it started holds the pipe, in seconds;
#: Docker waits as long.
DRAIN_S: Final = 2.0
#: How long an ended instance can still be inspected, in nanoseconds; Docker keeps it five minutes.
KEPT_NS: Final = 300_000_000_000
#: How long a resize waits for its command to start, in seconds.
START_LIMIT_S: Final = 10.0
#: Exit codes of a command that could not be found or not be run (POSIX shell, section 2.8.2).
NOT_FOUND: Final = 127
NOT_RUNNABLE: Final = 126
#: A passwd or group file larger than this is not read.
_ACCOUNTS_BYTES: Final = 4 * 1024 * 1024

RuntimeOf = Callable[[ContainerRecord], Runtime]
Find = Callable[[str], ContainerRecord]


class NoSuchExec(NotFound):
    """No instance has this id."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"No such exec instance: {ident}")


class StartFailed(InvalidArgument):
    """The command could not be started; `exit_code` is what a shell would return."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(f"OCI runtime exec failed: exec failed: unable to start container process: {message}")
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run."""

    argv: tuple[str, ...]
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    env: tuple[str, ...] = ()
    detach_keys: str = ""
    size: tuple[int, int] | None = None


@dataclass(eq=False)
class Instance:
    """One command, from its creation to its being forgotten."""

    id: str
    container_id: str
    command: Command
    pid: int = 0
    exit_code: int | None = None
    running: bool = False
    ended_ns: int = 0
    terminal: int | None = None
    child: process.Child | None = None
    #: The runtime proxies the terminal itself and must be told of a new size.
    proxied: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_run(self) -> bool:
        """Whether it was started before."""
        return self.running or self.exit_code is not None

    def to_wire(self) -> dict[str, Any]:
        """Render it as ``GET /exec/{id}/json`` does."""
        config: dict[str, Any] = {
            "tty": self.command.tty,
            "entrypoint": self.command.argv[0],
            "arguments": list(self.command.argv[1:]),
            "privileged": self.command.privileged,
        }
        if self.command.user:
            config["user"] = self.command.user
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": config,
            "OpenStdin": self.command.stdin,
            "OpenStderr": self.command.stderr,
            "OpenStdout": self.command.stdout,
            "CanRemove": self.exit_code is not None,
            "ContainerID": self.container_id,
            "DetachKeys": self.command.detach_keys,
            "Pid": self.pid,
        }


class _Report(msgspec.Struct):
    """One line the runtime logs."""

    level: str = ""
    msg: str = ""


class Sink:
    """Where a command's output goes: to a client while there is one, else nowhere."""

    def __init__(self, stream: Duplex | None, *, framed: bool) -> None:
        self._stream = stream
        self._framed = framed
        self._writing = 0
        self._written = 0

    async def write(self, which: int, data: bytes) -> None:
        """Send a piece of output; a client that went away is forgotten, the command goes on."""
        stream = self._stream
        if stream is None:
            return
        self._writing += 1
        try:
            await stream.write(frame(which, data) if self._framed else data)
        except ConnectionError:
            self._stream = None
        finally:
            self._writing -= 1
            self._written += 1

    async def drained(self, pumps: Sequence["asyncio.Task[None]"]) -> None:
        """Wait until `pumps` end, or nothing has come for a while and the client has taken everything."""
        waiting = set(pumps)
        while waiting:
            before = self._written
            _, waiting = await asyncio.wait(waiting, timeout=DRAIN_S)
            if waiting and not self._writing and self._written == before:
                return

    def leave(self) -> None:
        """Send nothing more."""
        self._stream = None


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
        self._announce(record, f"exec_create: {' '.join(command.argv)}", execID=made.id)
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
        catch = _Catch(keep)
        one = Instance(new_id(), record.id, command, running=True)
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._announce(record, f"exec_create: {' '.join(command.argv)}", execID=one.id)
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
        self._announce(record, f"exec_start: {' '.join(one.command.argv)}", execID=one.id)
        launch = _Launch(runtime, bundle, record.id, one, spec)
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        try:
            child = launch.go()
            reporting = loop.create_task(launch.listen(), name="exec report")
            tasks += [reporting, loop.create_task(launch.await_pid_file(), name="exec pid")]
            if one.command.tty:
                await launch.take_terminal(reporting, size or one.command.size)
            pumps = [
                loop.create_task(_pump(fd, which, sink, after), name="exec output")
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
                tasks.append(loop.create_task(_feed(stream, launch, keeper, left), name="exec input"))
            if await launch.started:
                one.started.set()
                outcome.set_result(None)
            code = await child.wait()
            await asyncio.wait((reporting,), timeout=DRAIN_S)
            if launch.complaint and not outcome.done():
                raise translate(launch.complaint, one.command)
            one.exit_code = code if code >= 0 else 128 - code
            one.running = False
            await sink.drained(pumps)
        finally:
            for task in tasks:
                task.cancel()
            # A descriptor must not be closed, and its number given to another, while the event loop still watches it.
            await asyncio.gather(*tasks, return_exceptions=True)
            launch.close()


class _Launch:
    """The descriptors around one run of the runtime's ``exec``."""

    def __init__(self, runtime: Runtime, bundle: Path, ident: str, one: Instance, spec: bytes) -> None:
        self._one_dir = bundle
        self._name = f"exec-{one.id[:16]}.sock"
        self._runtime = runtime
        self._ident = ident
        self._one = one
        self._spec = spec
        self._ours: set[int] = set()
        self._theirs: set[int] = set()
        self._report = -1
        self._listener: socket.socket | None = None
        self.out = self.err = self.input = self.terminal = -1
        self.complaint = ""
        self.started: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        #: crun writes to the very file it is given; runc makes a new one beside it, which cannot be a pipe.
        self._pid_by_pipe = runtime.name != "runc"
        self._pid_file = bundle / f"exec-{one.id[:16]}.pid"
        self._watch: DirectoryWatch | None = None

    def go(self) -> process.Child:
        """Start the runtime."""
        command = self._one.command
        spec = os.memfd_create("process", os.MFD_CLOEXEC)
        self._theirs.add(spec)
        os.write(spec, self._spec)
        self._report, report = self._pipe(ours_reads=True)
        argv = [self._runtime.path, *self._runtime.global_args, "--log", f"/proc/self/fd/{report}",
                "--log-format", "json", "exec", "--process", f"/proc/self/fd/{spec}"]  # fmt: skip
        pass_fds = [spec, report]
        if self._pid_by_pipe:
            argv += ["--pid-file", f"/proc/self/fd/{report}"]
        else:
            self._watch = DirectoryWatch(self._one_dir)
            argv += ["--pid-file", str(self._pid_file)]
        stdin = stdout = stderr = process.DEVNULL
        if command.tty and self._pid_by_pipe:
            place = self._listen()
            pass_fds.append(place)
            argv += ["--console-socket", f"/proc/self/fd/{place}/{self._name}"]
        elif command.tty:
            self.terminal, theirs = os.openpty()
            self._ours.add(self.terminal)
            self._theirs.add(theirs)
            self._one.proxied = True
            stdin = stdout = theirs
        else:
            if command.stdin:
                self.input, stdin = self._pipe(ours_reads=False)
            if command.stdout:
                self.out, stdout = self._pipe(ours_reads=True)
            if command.stderr:
                self.err, stderr = self._pipe(ours_reads=True)
        child = process.spawn(
            [*argv, self._ident], stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, new_session=True
        )
        self._one.child = child
        for fd in self._theirs:
            os.close(fd)
        self._theirs.clear()
        return child

    def _pipe(self, *, ours_reads: bool) -> tuple[int, int]:
        """Make a pipe; return our end and theirs."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        ours, theirs = (reader, writer) if ours_reads else (writer, reader)
        self._ours.add(ours)
        self._theirs.add(theirs)
        return ours, theirs

    def _listen(self) -> int:
        """Wait for the terminal on a socket; return the directory it lies in, by descriptor: paths may be too long."""
        place = os.open(self._one_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._theirs.add(place)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._listener.bind(f"/proc/self/fd/{place}/{self._name}")
        self._listener.listen(1)
        return place

    async def take_terminal(self, reporting: "asyncio.Task[None]", size: tuple[int, int] | None) -> None:
        """Receive the terminal's other end from the runtime, and give it its size."""
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            accepting = loop.create_task(_receive_terminal(self._listener), name="exec terminal")
            await asyncio.wait((accepting, reporting), return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                accepting.cancel()
                return
            self.terminal = accepting.result()
            self._ours.add(self.terminal)
        self._one.terminal = self.terminal
        if size is not None:
            set_size(self.terminal, *size)

    async def listen(self) -> None:
        """Read what the runtime reports: the pid once the command runs, or why it does not."""
        said = b""
        try:
            async for piece in process.read_pipe(self._report):
                said += piece
                head = said.split(b"{", 1)[0].strip()
                if head.isdigit() and not self.started.done():
                    self._one.pid = int(head)
                    self.started.set_result(True)
        finally:
            self.complaint = _complaint(said)
            if not self.started.done():
                # No complaint and no pid either: it ended before the pid was seen.
                self.started.set_result(not self.complaint)

    async def await_pid_file(self) -> None:
        """Wait until the runtime has written the pid to a file, if that is its way."""
        while self._watch is not None and not self.started.done():
            await self._watch.changed()
            with contextlib.suppress(FileNotFoundError):
                self._one.pid = int(self._pid_file.read_text() or 0)
                if not self.started.done():
                    self.started.set_result(True)

    async def feed(self, data: bytes) -> None:
        """Write to the command's standard input; waits while it does not read, does nothing once it has closed it."""
        target = self.terminal if self._one.command.tty else self.input
        if target < 0:
            return
        if not await process.write_all(target, data) and target == self.input:
            self.close_input()

    def close_input(self) -> None:
        """Give the command end-of-file; a terminal has none."""
        if self.input >= 0:
            self._ours.discard(self.input)
            os.close(self.input)
            self.input = -1

    def close(self) -> None:
        """Close every descriptor that is still open."""
        self._one.terminal = None
        for fd in self._ours | self._theirs:
            os.close(fd)
        self._ours.clear()
        self._theirs.clear()
        if self._watch is not None:
            self._watch.close()
            self._pid_file.unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()
            (self._one_dir / self._name).unlink(missing_ok=True)


class _Catch:
    """A client that only remembers the beginning of what it is sent."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept = bytearray()
        self._cut = False

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        room = self._keep - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room

    async def gone(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        return

    def abort(self) -> None:
        return

    def text(self) -> str:
        """Return what was kept, marked where it was cut."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")


async def _pump(fd: int, which: int, sink: Sink, after: "asyncio.Future[bool] | None" = None) -> None:
    """Move output to the sink; the runtime's own complaints, before the command started, are not the command's."""
    async for piece in process.read_pipe(fd):
        if after is not None and not await after:
            continue
        await sink.write(which, piece)


async def _feed(stream: Duplex, launch: _Launch, keys: DetachFilter, left: asyncio.Event) -> None:
    while data := await stream.read():
        await launch.feed(keys.feed(data))
        if keys.detached:
            left.set()
            return
    launch.close_input()


async def _receive_terminal(listener: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listener)
    with connection:
        connection.setblocking(False)
        while True:
            try:
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            except BlockingIOError:
                await process.readable(connection.fileno())
                continue
            if not fds:
                raise SystemFault("the runtime sent no terminal")
            return fds[0]


def check_running(record: ContainerRecord) -> None:
    """Raise unless commands can run in the container now."""
    if record.state is State.PAUSED:
        raise Conflict(f"container {record.id} is paused, unpause the container before exec")
    if record.state is State.RESTARTING:
        raise Conflict(f"container {record.id} is restarting, wait until the container is running")
    if not record.running:
        raise NotRunning(record.id)


def parse_size(pair: Sequence[int] | None) -> tuple[int, int] | None:
    """Read ``[height, width]``; nothing or zeros mean unknown. Raises `InvalidArgument`."""
    if not pair or list(pair) == [0, 0]:
        return None
    if len(pair) != 2 or not all(0 <= part <= 65_535 for part in pair):
        raise InvalidArgument(f"invalid console size {list(pair)}")
    return pair[0], pair[1]


def set_size(terminal: int, height: int, width: int) -> None:
    """Set a terminal's size."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def kill_tree(one: Instance) -> None:
    """Kill a command, and the runtime that waits for it."""
    if one.pid > 0 and one.running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    elif one.child is not None:
        one.child.kill()


def process_spec(bundle: Path, record: ContainerRecord, command: Command, size: tuple[int, int] | None = None) -> bytes:
    """Describe the process as the OCI runtime takes it: as the container's own, but for what the command says."""
    try:
        spec = dict(msgspec.json.decode((bundle / "config.json").read_bytes())["process"])
    except (OSError, KeyError, msgspec.DecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise SystemFault(f"container {record.id} has no readable bundle: {reason}") from None
    env = dict(pair.partition("=")[::2] for pair in spec.get("env", ()))
    configured = {pair.partition("=")[0] for pair in record.config.env or ()}
    if command.user:
        root = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            who = identity(root, record, command.user)
        finally:
            os.close(root)
        spec["user"] = {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)}
        if "HOME" not in configured:
            env["HOME"] = who.home
    if command.tty:
        env.setdefault("TERM", "xterm")
    elif "TERM" not in configured:
        env.pop("TERM", None)
    for pair in command.env:
        key, given, value = pair.partition("=")
        if given:
            env[key] = value
        else:
            env.pop(key, None)
    spec |= {
        "terminal": command.tty,
        "args": list(command.argv),
        "env": [f"{key}={value}" for key, value in env.items()],
        "cwd": command.working_dir or spec.get("cwd") or "/",
    }
    if command.tty and size is not None:
        spec["consoleSize"] = {"height": size[0], "width": size[1]}
    else:
        spec.pop("consoleSize", None)
    if command.privileged:
        spec |= privileges()
        spec.pop("apparmorProfile", None)
    return msgspec.json.encode(spec)


def privileges() -> Mapping[str, object]:
    """Return the parts of a process description that give it every capability."""
    every = [f"CAP_{name}" for name in _CAPABILITIES[: _last_capability() + 1]]
    return {
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), every),
        "noNewPrivileges": False,
    }


#: Capabilities by number (linux/capability.h).
_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def identity(root: int, record: ContainerRecord, user: str) -> Identity:
    """Find out who `user` is in a container whose root directory is open."""
    passwd, group = (_read_inside(root, name) for name in ("/etc/passwd", "/etc/group"))
    return resolve(user, passwd, group, record.host_config.group_add or ())


def _read_inside(root: int, path: str) -> str:
    try:
        fd = open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        return file.read(_ACCOUNTS_BYTES).decode(errors="replace")


def _complaint(said: bytes) -> str:
    """Take the last error out of a runtime's log lines, which may follow a pid."""
    start = said.find(b"{")
    found = ""
    for line in said[start:].splitlines() if start >= 0 else ():
        with contextlib.suppress(msgspec.DecodeError):
            report = msgspec.json.decode(line, type=_Report)
            if report.level in ("error", "fatal", ""):
                found = report.msg
    return found


def translate(complaint: str, command: Command) -> StartFailed:
    """Say what the runtime complained of in the words clients know, with the status a shell would return."""
    said = complaint.removeprefix("exec failed: ").removeprefix("unable to start container process: ")
    lower, first = said.lower(), command.argv[0]
    if "chdir" in lower:
        path = command.working_dir or "/"
        reason = lower.rsplit(": ", 1)[-1]
        return StartFailed(f'chdir to cwd ("{path}") set in config.json failed: {reason}', NOT_RUNNABLE)
    if "not found in $path" in lower:
        return StartFailed(f'exec: "{first}": executable file not found in $PATH', NOT_FOUND)
    if "no such file or directory" in lower and ("executable" in lower or "exec" in lower):
        return StartFailed(f'exec: "{first}": stat {first}: no such file or directory', NOT_FOUND)
    if lower.startswith(("open executable", "exec")) and ("permi" in lower or "is a directory" in lower):
        return StartFailed(f'exec: "{first}": permission denied', NOT_RUNNABLE)
    if "exec format error" in lower:
        return StartFailed(f"exec {first}: exec format error", NOT_RUNNABLE)
    return StartFailed(said, NOT_RUNNABLE)
