"""The descriptors around one run of the runtime's ``exec``. Must not: know clients."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import struct
import termios
from pathlib import Path

from berth.base.errors import SystemFault
from berth.containers.execs.model import Instance
from berth.containers.execs.spec import complaint_of
from berth.containers.runtimes.command import Runtime
from berth.kernel import process
from berth.kernel.inotify import DirectoryWatch


class Launch:
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
            accepting = loop.create_task(receive_terminal(self._listener), name="exec terminal")
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
            self.complaint = complaint_of(said)
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

    def unread(self) -> bool:
        """Tell whether output of the command waits to be read."""
        waiting = bytearray(4)
        for fd in (self.out, self.err, self.terminal):
            if fd >= 0:
                with contextlib.suppress(OSError):  # a terminal whose other end is closed
                    fcntl.ioctl(fd, termios.FIONREAD, waiting)
                    if any(waiting):
                        return True
        return False

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


async def receive_terminal(listener: socket.socket) -> int:
    """Take the terminal that the runtime sends over a socket (runtime-spec, console-socket)."""
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
