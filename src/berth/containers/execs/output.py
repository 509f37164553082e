"""Where the output of a command goes, and how input and output get between the descriptors and a client."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from berth.containers.attach import Duplex
from berth.containers.detach import DetachFilter
from berth.containers.execs.launch import Launch
from berth.kernel import process
from berth.wire.frames import frame

#: How long output is waited for after the command's end while something it started holds the pipe, in seconds;
#: Docker waits as long.
DRAIN_S: Final = 2.0


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

    async def drained(self, pumps: Sequence["asyncio.Task[None]"], unread: Callable[[], bool]) -> None:
        """Wait until `pumps` end, or nothing has come for a while and the client has taken everything.

        `unread` tells whether output waits that no pump has had its turn to read: a machine may stand still for longer
        than the while.
        """
        waiting = set(pumps)
        while waiting:
            before = self._written
            _, waiting = await asyncio.wait(waiting, timeout=DRAIN_S)
            if waiting and not self._writing and self._written == before and not unread():
                return

    def leave(self) -> None:
        """Send nothing more."""
        self._stream = None


class Catch:
    """A client that only remembers the beginning of what it is sent."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept = bytearray()
        self._cut = False

    async def read(self) -> bytes:
        """It sends nothing."""
        return b""

    async def write(self, data: bytes) -> None:
        """Keep what there is room for."""
        room = self._keep - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room

    async def gone(self) -> None:
        """It never goes."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to do."""
        return

    def abort(self) -> None:
        """Nothing to do."""
        return

    def text(self) -> str:
        """Return what was kept, marked where it was cut."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")


async def pump(fd: int, which: int, sink: Sink, after: "asyncio.Future[bool] | None" = None) -> None:
    """Move output to the sink; the runtime's own complaints, before the command started, are not the command's."""
    async for piece in process.read_pipe(fd):
        if after is not None and not await after:
            continue
        await sink.write(which, piece)


async def feed(stream: Duplex, launch: Launch, keys: DetachFilter, left: asyncio.Event) -> None:
    """Give the command what its client sends, until it leaves by the detach keys or sends no more."""
    while data := await stream.read():
        await launch.feed(keys.feed(data))
        if keys.detached:
            left.set()
            return
    launch.close_input()
