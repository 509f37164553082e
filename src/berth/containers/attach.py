"""Clients attached to containers: one connection to each container's monitor, shared by all who look on.

A client may attach before the container starts: it is connected when the monitor is there and the process is not
yet let go, so that no byte is lost. Must not: know HTTP; a client is anything with `Duplex`.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from berth.base.errors import Conflict, InvalidArgument, SystemFault
from berth.base.paths import Layout
from berth.containers.announce import Announce
from berth.containers.detach import DEFAULT, DetachFilter, parse_keys
from berth.containers.model import ContainerRecord
from berth.containers.monitors.conmon import attach_socket, control_fifo
from berth.containers.states import State
from berth.kernel import pidfd
from berth.wire.frames import STDERR, STDOUT, frame

log = logging.getLogger(__name__)

#: How much output waits for one client before the container is held up, in bytes.
HIGH_WATER_BYTES: Final = 1024 * 1024
#: How long a client that takes nothing may hold up others, in seconds, before it is dropped.
STALL_S: Final = 30.0
#: conmon reads at most this many bytes of standard input at once (STDIO_BUF_SIZE); a longer packet would be cut.
PACKET_BYTES: Final = 8_000
#: conmon's packets: at most 32 KiB and one byte for the stream.
_RECEIVE_BYTES: Final = 65_536
#: Packets taken before other tasks get a turn.
_BURST: Final = 16
#: First byte of conmon's packets → stream of the multiplexed form (conmon, src/utils.h, stdpipe_t).
_STREAMS: Final = {2: STDOUT, 3: STDERR}


class Duplex(Protocol):
    """A client's connection."""

    async def read(self) -> bytes:
        """Return what came, empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while the client is slow, raises `ConnectionError` when it is gone."""
        ...

    async def gone(self) -> None:
        """Wait until the client is gone."""
        ...

    async def close(self) -> None:
        """Send what is buffered and close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class NotRunning(Conflict):
    """The container has no process."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is not running")


class Viewer:
    """One attached client: a queue of output in front of a connection that may be slow."""

    def __init__(self, stream: Duplex, *, stdout: bool, stderr: bool, framed: bool) -> None:
        self._stream = stream
        self._wanted = {STDOUT: stdout, STDERR: stderr}
        self._framed = framed
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._more = asyncio.Event()
        self._closed = False
        self.sent = 0
        #: Set by the hub while it waits for this viewer to catch up.
        self.on_drained: Callable[[], None] | None = None

    @property
    def full(self) -> bool:
        """Whether so much waits that the container must wait, too."""
        return self._queued > HIGH_WATER_BYTES and not self._closed

    def offer(self, stream: int, data: bytes) -> None:
        """Queue a piece of output."""
        if self._closed or not self._wanted[stream]:
            return
        piece = frame(stream, data) if self._framed else data
        self._queue.append(piece)
        self._queued += len(piece)
        self._more.set()

    def end(self) -> None:
        """No more output will come: what is queued is sent, then `pump` returns."""
        self._closed = True
        self._more.set()

    def drop(self) -> None:
        """Let go of a client that stands in the way of others."""
        self._queue.clear()
        self._queued = 0
        self.end()
        self._stream.abort()

    async def pump(self) -> None:
        """Send the queue until `end`. Raises `ConnectionError` when the client is gone."""
        try:
            while True:
                if not self._queue:
                    if self._closed:
                        return
                    self._more.clear()
                    await self._more.wait()
                    continue
                piece = self._queue.popleft() if len(self._queue) == 1 else b"".join(self._queue)
                self._queue.clear()
                await self._stream.write(piece)
                self.sent += len(piece)
                self._queued -= len(piece)
                if self.on_drained is not None and not self.full:
                    self.on_drained()
        finally:
            self._closed = True
            self._queue.clear()
            self._queued = 0
            if self.on_drained is not None:
                self.on_drained()


class Hub:
    """The one connection to a container's monitor, and the viewers its output goes to."""

    def __init__(self, sock: socket.socket, process: Callable[[], pidfd.Held | None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._process = process
        self._watch: asyncio.Task[None] | None = None
        self._input = asyncio.Lock()
        self._stdin_open = True
        self._paused = False
        self._stall: asyncio.TimerHandle | None = None
        self._bounded = True
        self.viewers: list[Viewer] = []
        self.over = self._loop.create_future()
        self._loop.add_reader(sock.fileno(), self._readable)

    def join(self, viewer: Viewer) -> None:
        """Give a viewer all output from now on."""
        if self.over.done():
            viewer.end()
            return
        viewer.on_drained = self._drained
        self.viewers.append(viewer)

    def leave(self, viewer: Viewer) -> None:
        """Take a viewer out."""
        if viewer in self.viewers:
            self.viewers.remove(viewer)
        viewer.on_drained = None
        self._drained()

    def unbound(self) -> None:
        """The process is gone: what is left in the pipes is little, so take it whoever is slow."""
        self._bounded = False
        self._resume()

    async def send(self, data: bytes) -> None:
        """Write to the container's standard input; waits while it does not read."""
        async with self._input:
            for at in range(0, len(data), PACKET_BYTES):
                if self.over.done() or not self._stdin_open:
                    return
                await self._send_packet(data[at : at + PACKET_BYTES])

    async def _send_packet(self, packet: bytes) -> None:
        while not self.over.done():
            try:
                self._sock.send(packet)
            except BlockingIOError:
                await self._writable()
            except OSError:  # the monitor closed the input: the process did
                self._stdin_open = False
                return
            else:
                return

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        self._loop.add_writer(self._sock.fileno(), wake)
        try:
            await asyncio.wait((ready, self.over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not self.over.done():
                self._loop.remove_writer(self._sock.fileno())

    async def close_stdin(self) -> None:
        """Give the container end-of-file on standard input, after all that was sent before."""
        async with self._input:
            if self._stdin_open and not self.over.done():
                self._stdin_open = False
                try:
                    self._sock.shutdown(socket.SHUT_WR)
                except OSError:
                    log.debug("standard input was closed already")

    def close(self) -> None:
        """Let go of the monitor."""
        self._finish()

    def _readable(self) -> None:
        resets = 0
        for _ in range(_BURST):
            try:
                packet = self._sock.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # Reported once when the monitor ended with input unread; output queued before can still be read.
                resets += 1
                if resets > 1:
                    self._finish()
                    return
                continue
            if not packet:
                self._finish()
                return
            stream = _STREAMS.get(packet[0])
            if stream is None:
                continue
            data = packet[1:]
            for viewer in self.viewers:
                viewer.offer(stream, data)
        if self._bounded and any(viewer.full for viewer in self.viewers):
            self._pause()

    def _pause(self) -> None:
        if not self._paused and not self.over.done():
            self._paused = True
            self._loop.remove_reader(self._sock.fileno())
            self._expect_progress()
            if self._watch is None:
                self._watch = self._loop.create_task(self._until_process_ends(), name="end of a held up process")

    async def _until_process_ends(self) -> None:
        # While the monitor is held up it cannot tell of the process's end, so somebody else must.
        held = self._process()
        try:
            if held is not None:
                await held.gone()
            self.unbound()
        finally:
            if held is not None:
                held.close()

    def _expect_progress(self) -> None:
        before = {viewer: viewer.sent for viewer in self.viewers if viewer.full}
        self._stall = self._loop.call_later(STALL_S, self._judge, before)

    def _judge(self, before: dict[Viewer, int]) -> None:
        for viewer, sent in before.items():
            if viewer in self.viewers and len(self.viewers) > 1 and viewer.full and viewer.sent == sent:
                log.warning("dropping an attached client that took nothing for %g s while others wait", STALL_S)
                viewer.drop()
        if self._paused:
            self._expect_progress()

    def _drained(self) -> None:
        if self._paused and not any(viewer.full for viewer in self.viewers):
            self._resume()

    def _resume(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._paused and not self.over.done():
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _finish(self) -> None:
        if self.over.done():
            return
        if self._stall is not None:
            self._stall.cancel()
        if self._watch is not None:
            self._watch.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self.over.set_result(None)
        for viewer in self.viewers:
            viewer.on_drained = None
            viewer.end()
        self.viewers.clear()


def connect(path: Path) -> socket.socket:
    """Connect to a monitor's socket; its path may be longer than a socket address holds."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


class Attachments:
    """Who is attached to which container; goes along with each container's life (see `companions`)."""

    def __init__(self, *, layout: Layout, announce: Announce) -> None:
        self._layout = layout
        self._announce = announce
        self._hubs: dict[str, Hub] = {}
        #: Viewers that wait for their container's start; the future gives the hub, or None if none comes.
        self._waiting: dict[str, dict[Viewer, asyncio.Future[Hub | None]]] = {}
        #: Containers with a monitor; newer than the record a client was found by.
        self._alive: set[str] = set()

    # --- the container's life -------------------------------------------------------------------------------------
    async def launched(self, record: ContainerRecord) -> None:
        """Connect those who wait, before the process runs."""
        self._alive.add(record.id)
        self._hubs.pop(record.id, None)
        waiting = self._waiting.pop(record.id, {})
        if not waiting:
            return
        hub = self._connect(record)
        for viewer, future in waiting.items():
            if not future.done():
                hub.join(viewer)
                future.set_result(hub)

    def started(self, record: ContainerRecord) -> None:
        """Remember a container that was found alive."""
        self._alive.add(record.id)

    async def ended(self, record: ContainerRecord) -> None:
        """Release those who wait for a start that failed; let the rest drain without holding up anything."""
        self._alive.discard(record.id)
        hub = self._hubs.pop(record.id, None)
        if hub is not None:
            hub.unbound()
        self._release(record.id)

    async def removed(self, record: ContainerRecord) -> None:
        """Release everybody; what the monitor has said is still sent."""
        self._alive.discard(record.id)
        self._release(record.id)
        hub = self._hubs.pop(record.id, None)
        if hub is not None:
            hub.unbound()

    def _release(self, ident: str) -> None:
        for future in self._waiting.pop(ident, {}).values():
            if not future.done():
                future.set_result(None)

    def _connect(self, record: ContainerRecord) -> Hub:
        try:
            sock = connect(attach_socket(self._layout.bundle(record.id)))
        except OSError as exc:
            raise SystemFault(f"cannot attach to container {record.id}: its monitor does not answer ({exc})") from None
        hub = Hub(sock, lambda: pidfd.hold(record.pid, record.pid_started))
        self._hubs[record.id] = hub
        return hub

    async def _joined(self, record: ContainerRecord, viewer: Viewer) -> Hub | None:
        """Join a viewer now, or when the container starts; None when it will not."""
        if record.id in self._alive:
            hub = self._hubs.get(record.id)
            if hub is None or hub.over.done():
                hub = self._connect(record)
            hub.join(viewer)
            return hub
        future: asyncio.Future[Hub | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(record.id, {})
        waiting[viewer] = future
        try:
            return await future
        finally:
            waiting.pop(viewer, None)

    # --- clients ----------------------------------------------------------------------------------------------------
    async def attach(
        self,
        record: ContainerRecord,
        stream: Duplex,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        keys: bytes,
    ) -> None:
        """Join a client to a container until the container ends, or the client goes or types the detach keys."""
        loop = asyncio.get_running_loop()
        viewer = Viewer(stream, stdout=stdout, stderr=stderr, framed=not record.config.tty)
        gone = loop.create_task(stream.gone(), name="client gone")
        joining = loop.create_task(self._joined(record, viewer), name="attach")
        self._announce(record, "attach")
        try:
            await asyncio.wait((gone, joining), return_when=asyncio.FIRST_COMPLETED)
            hub = joining.result() if joining.done() else None
            if hub is not None:
                await self._serve(record, hub, viewer, stream, gone, stdin=stdin, output=stdout or stderr, keys=keys)
        finally:
            gone.cancel()
            joining.cancel()

    async def _serve(
        self, record: ContainerRecord, hub: Hub, viewer: Viewer, stream: Duplex, gone: "asyncio.Task[None]", *,
        stdin: bool, output: bool, keys: bytes,
    ) -> None:  # fmt: skip
        loop = asyncio.get_running_loop()
        once = stdin and record.config.open_stdin and record.config.stdin_once and not record.config.tty
        pump = loop.create_task(viewer.pump(), name="attach output")
        feeding = loop.create_task(
            self._feed(hub, stream, DetachFilter(keys if record.config.tty else b""),
                       stdin=stdin and record.config.open_stdin),
            name="attach input",
        )  # fmt: skip
        try:
            await asyncio.wait((pump, feeding, gone), return_when=asyncio.FIRST_COMPLETED)
            detached = feeding.done() and feeding.result()
            if detached:
                self._announce(record, "detach")
            elif not gone.done() and output:
                if feeding.done() and once:
                    await hub.close_stdin()
                await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.leave(viewer)
            if once:
                await hub.close_stdin()
            for task in (pump, feeding):
                task.cancel()
            await asyncio.gather(pump, feeding, return_exceptions=True)
            self._let_go(record, hub)

    @staticmethod
    async def _feed(hub: Hub, stream: Duplex, keys: DetachFilter, *, stdin: bool) -> bool:
        """Pass on what the client sends; True when it typed the detach keys."""
        while data := await stream.read():
            if stdin:
                await hub.send(keys.feed(data))
            if keys.detached:
                return True
        return False

    def _let_go(self, record: ContainerRecord, hub: Hub) -> None:
        # A monitor takes the loss of a connection for end-of-file on the container's input; so where input is open
        # without a terminal the connection is kept for the container's life.
        if hub.viewers or (record.config.open_stdin and not record.config.tty and not hub.over.done()):
            return
        if self._hubs.get(record.id) is hub:
            del self._hubs[record.id]
        hub.close()

    # --- terminals --------------------------------------------------------------------------------------------------
    def resize(self, record: ContainerRecord, height: int, width: int) -> None:
        """Set the size of a container's terminal. Raises `NotRunning`."""
        if not record.running:
            raise NotRunning(record.id)
        order_resize(control_fifo(self._layout.bundle(record.id)), height, width)
        self._announce(record, "resize", height=str(height), width=str(width))

    async def close(self) -> None:
        """Cut every client off; the containers run on."""
        for ident in list(self._waiting):
            self._release(ident)
        for hub in list(self._hubs.values()):
            hub.close()
        self._hubs.clear()


def order_resize(fifo: Path, height: int, width: int) -> None:
    """Tell a monitor the size of its terminal."""
    try:
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise SystemFault(f"cannot resize: the container's monitor does not listen ({exc.strerror})") from None
    try:
        os.write(fd, f"1 {height} {width}\n".encode())
    except OSError as exc:
        raise SystemFault(f"cannot resize: {exc.strerror}") from None
    finally:
        os.close(fd)


def checked_keys(text: str, configured: str = "") -> bytes:
    """Parse a request's detach keys, or the configured ones, or Docker's own."""
    return parse_keys(text or configured or DEFAULT)


def check_attachable(record: ContainerRecord) -> None:
    """Raise unless a client may attach in this state."""
    if record.state is State.PAUSED:
        raise Conflict(f"container {record.id} is paused, unpause the container before attach")
    if record.state is State.RESTARTING:
        raise Conflict(f"container {record.id} is restarting, wait until the container is running")


def check_size(height: int | None, width: int | None) -> tuple[int, int]:
    """Return height and width, which must both be given. Raises `InvalidArgument`."""
    if height is None or width is None:
        raise InvalidArgument('strconv.Atoi: parsing "": invalid syntax')
    if height < 0 or width < 0 or height > 65_535 or width > 65_535:
        raise InvalidArgument(f"invalid terminal size {height}x{width}")
    return height, width
