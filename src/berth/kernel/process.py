"""Processes: spawn cheaply, wait through a pidfd, run with a limit. The only place that starts programs.

`subprocess.Popen` (vfork underneath) with a pidfd in the event loop costs a third of asyncio's own
subprocess machinery and needs no child watcher thread.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Final

from berth.base.errors import SystemFault

#: How long the end of a killed process is waited for, in seconds: one that hangs in the kernel ends when that lets it.
_REAP_LIMIT_S: Final = 2.0
#: How much of a failed program's output goes into an error message, in characters.
_SAID_LIMIT: Final = 2_000


def ended(status: int) -> str:
    """Say how a program ended, in words that follow its name; `status` as `Child.wait` gives it."""
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name if -status in set(signal.Signals) else f'signal {-status}'}"


class ProgramMissing(SystemFault):
    """A program the engine drives is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed or not in PATH; install the package that provides it")
        self.program = program


class ProgramFailed(SystemFault):
    """A program ended with an error."""

    def __init__(self, argv: Sequence[str], returncode: int, said: str) -> None:
        words = said.strip()[-_SAID_LIMIT:]
        #: How it ended: ``was killed by SIGKILL``, ``failed with status 1: …``.
        self.how = ended(returncode) if returncode < 0 else f"failed with status {returncode}: {words}"
        super().__init__(f"{argv[0]} {self.how}")
        self.returncode = returncode
        self.said = said


class ProgramTimedOut(SystemFault):
    """A program did not end within its limit and was killed."""

    def __init__(self, argv: Sequence[str], timeout_s: float) -> None:
        super().__init__(f"{argv[0]} did not end within {timeout_s:g} s and was killed")


@dataclass(frozen=True)
class Finished:
    """How a program ended and what it said."""

    returncode: int
    stdout: bytes
    stderr: bytes


def ending_with_us(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the command that runs `argv` and is killed when the engine dies, however it dies; it costs one exec more.

    To be spawned by the main thread: the kernel sends the signal when the thread that spawned ends (prctl(2),
    PR_SET_PDEATHSIG). Raises `ProgramMissing`.
    """
    program = shutil.which(argv[0], path=(environment or os.environ).get("PATH"))
    if program is None:
        raise ProgramMissing(argv[0])
    return ["setpriv", "--pdeathsig", "KILL", "--", program, *argv[1:]]


Stdio = int | IO[bytes] | None
#: Standard input, output or error that nobody reads or writes.
DEVNULL: Final = subprocess.DEVNULL
#: A pipe of which we keep the other end.
PIPE: Final = subprocess.PIPE


class Child:
    """A running child process. Its owner must `wait` for it."""

    def __init__(self, popen: "subprocess.Popen[bytes]", argv: Sequence[str]) -> None:
        self._popen = popen
        self.argv = tuple(argv)
        self._pidfd = os.pidfd_open(popen.pid)
        self._waiter: asyncio.Future[int] | None = None

    @property
    def pid(self) -> int:
        """Process id, valid until `wait` has returned."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """Our end of its standard input, if it was asked for as a pipe."""
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """Our end of its standard output."""
        return self._popen.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """Our end of its standard error."""
        return self._popen.stderr

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal, unless it has ended."""
        if self._popen.returncode is None:
            try:
                signal.pidfd_send_signal(self._pidfd, signum)
            except ProcessLookupError:
                return

    async def wait(self) -> int:
        """Wait for its end and return its status (negative: ended by that signal). Several may wait."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        loop = asyncio.get_running_loop()
        if self._waiter is None:
            self._waiter = loop.create_future()
            loop.add_reader(self._pidfd, self._reap, loop)
        return await asyncio.shield(self._waiter)

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._pidfd)
        code = self._popen.wait()
        os.close(self._pidfd)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(code)


def spawn(
    argv: Sequence[str],
    *,
    stdin: Stdio = subprocess.DEVNULL,
    stdout: Stdio = subprocess.DEVNULL,
    stderr: Stdio = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> Child:
    """Start a program; costs about a millisecond. Raises `ProgramMissing`."""
    try:
        popen = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=new_session,
        )
    except FileNotFoundError as exc:
        if cwd is not None and not os.path.isdir(cwd):
            raise
        raise ProgramMissing(argv[0]) from exc
    return Child(popen, argv)


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    feed: bytes = b"",
    cwd: str | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
) -> Finished:
    """Run a program to its end, killed after `timeout_s` seconds or on cancellation.

    With `check`, a status other than 0 raises `ProgramFailed` with what it said.
    """
    child = spawn(
        argv,
        stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        pass_fds=pass_fds,
    )
    try:
        async with _limited(child, timeout_s):
            out, err, _ = await asyncio.gather(_drain(child.stdout), _drain(child.stderr), _feed(child.stdin, feed))
            code = await child.wait()
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    if check and code != 0:
        raise ProgramFailed(argv, code, (err or out).decode(errors="replace"))
    return Finished(code, out, err)


@asynccontextmanager
async def _limited(child: Child, timeout_s: float) -> AsyncIterator[None]:
    """Kill and reap the child when the block takes too long, is cancelled or fails."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except BaseException as exc:
        child.kill()
        with contextlib.suppress(TimeoutError):  # it is reaped whenever it ends
            async with asyncio.timeout(_REAP_LIMIT_S):
                await child.wait()
        if isinstance(exc, TimeoutError):
            raise ProgramTimedOut(child.argv, timeout_s) from None
        raise


#: Size of the terminal lent to programs that draw their progress: rows enough for every bar, columns for no break.
_TERMINAL: Final = (200, 160)


async def run_on_terminal(
    argv: Sequence[str],
    *,
    timeout_s: float,
    on_output: Callable[[bytes], None],
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program whose standard output is a terminal and hand over what it draws, piece by piece.

    Killed after `timeout_s` seconds or on cancellation; a status other than 0 raises `ProgramFailed` with its errors.
    """
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *_TERMINAL, 0, 0))
        child = spawn(argv, stdout=theirs, stderr=subprocess.PIPE, env=env, new_session=True)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)

    async def show() -> None:
        async for piece in read_pipe(ours):
            on_output(piece)

    try:
        async with _limited(child, timeout_s):
            said, _ = await asyncio.gather(_drain(child.stderr), show())
            code = await child.wait()
    finally:
        os.close(ours)
        if child.stderr is not None:
            child.stderr.close()
    if code != 0:
        raise ProgramFailed(argv, code, said.decode(errors="replace"))


async def _drain(pipe: IO[bytes] | None) -> bytes:
    if pipe is None:
        return b""
    return b"".join([piece async for piece in read_pipe(pipe.fileno())])


async def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe is None:
        return
    loop = asyncio.get_running_loop()
    fd = pipe.fileno()
    os.set_blocking(fd, False)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await _ready(loop, fd, write=True)
        except BrokenPipeError:
            break
    pipe.close()


async def read_pipe(fd: int, size: int = 65_536) -> AsyncIterator[bytes]:
    """Yield what comes out of a pipe or pty (made non-blocking) until its end; the caller closes it."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    while True:
        try:
            piece = os.read(fd, size)
        except BlockingIOError:
            await _ready(loop, fd, write=False)
            continue
        except OSError as exc:
            if exc.errno == 5:  # EIO: how a pty says that its other end is closed
                return
            raise
        if not piece:
            return
        yield piece


async def _ready(loop: asyncio.AbstractEventLoop, fd: int, *, write: bool) -> None:
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if write else loop.add_reader)(fd, wake)
    try:
        await future
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)


async def readable(fd: int) -> None:
    """Wait until a descriptor can be read."""
    await _ready(asyncio.get_running_loop(), fd, write=False)


async def write_all(fd: int, data: bytes) -> bool:
    """Write to a pipe or pty (made non-blocking), waiting while it is full; False if nobody reads it any more."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await _ready(loop, fd, write=True)
        except OSError as exc:
            if exc.errno in (errno.EPIPE, errno.EIO):
                return False
            raise
    return True
