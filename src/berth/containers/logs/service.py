"""Reads containers' logs, from the beginning or the last lines, and follows them while they grow.

The monitor writes one file, before which there may be older ones (`berth.containers.logs.rotation`). A file is read to
its end before the next is begun; a follower at the end of the newest looks whether the name still means the file it
reads.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from berth.base.clock import Clock
from berth.base.errors import InvalidArgument, NotImplementedYet
from berth.base.paths import Layout
from berth.containers.logs.attributes import details
from berth.containers.logs.entries import Renderer, Wish, is_partial
from berth.containers.logs.rotation import current, identity, log_file, open_files
from berth.containers.model import ContainerRecord
from berth.containers.options import LOGLESS
from berth.kernel.inotify import DirectoryWatch

#: How much is read at once, in bytes.
BLOCK_BYTES: Final = 128 * 1024


class NotReadable(NotImplementedYet):
    """The container's log driver keeps nothing that could be read."""

    def __init__(self) -> None:
        super().__init__("configured logging driver does not support reading")


class NoStream(InvalidArgument):
    """Neither standard output nor standard error was asked for."""

    def __init__(self) -> None:
        super().__init__("Bad parameters: you must choose at least one stream")


class Logs:
    """The logs of all containers; goes along with each container's life (see `companions`)."""

    def __init__(self, *, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._followers: dict[str, set[_Follower]] = {}

    # --- the container's life -------------------------------------------------------------------------------------
    async def launched(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    def started(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    async def ended(self, record: ContainerRecord) -> None:
        """Let followers read to the end and stop: the monitor has written everything."""
        for follower in self._followers.get(record.id, ()):
            follower.stop()

    async def removed(self, record: ContainerRecord) -> None:
        """Let followers stop."""
        await self.ended(record)

    # --- reading --------------------------------------------------------------------------------------------------
    def check(self, record: ContainerRecord, wish: Wish) -> None:
        """Raise unless the log can be read as wished."""
        if not wish.stdout and not wish.stderr:
            raise NoStream
        if record.host_config.log_config.type in LOGLESS:
            raise NotReadable

    async def read(self, record: ContainerRecord, wish: Wish) -> AsyncIterator[bytes]:
        """Yield the log as a client is sent it; with `follow`, until the container ends."""
        self.check(record, wish)
        renderer = Renderer(wish, framed=not record.config.tty, details=details(record))
        follower = _Follower(log_file(self._layout, record.id))
        following = wish.follow and record.running
        alarm: asyncio.TimerHandle | None = None
        if following:
            follower.watch()
            self._followers.setdefault(record.id, set()).add(follower)
        try:
            follower.seek_tail(wish.tail)
            if following and wish.until_ns:
                left_s = max(0, wish.until_ns - self._clock.now_ns()) / 1e9
                alarm = asyncio.get_running_loop().call_later(left_s, follower.stop)
            async for lines in follower.lines(follow=following):
                if piece := renderer.render(lines):
                    yield piece
                if renderer.over:
                    return
        finally:
            if alarm is not None:
                alarm.cancel()
            if following:
                followers = self._followers[record.id]
                followers.discard(follower)
                if not followers:
                    del self._followers[record.id]
            follower.close()


class _Follower:
    """One reader at its place in a log: in the first of the files it has open, which are in the order of time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fds: list[int] = []
        self._rest = b""
        self._watch: DirectoryWatch | None = None
        self._stopped = False

    def watch(self) -> None:
        """Begin to notice changes; before the first read, so that none is missed."""
        self._watch = DirectoryWatch(self._path.parent)

    def stop(self) -> None:
        """The log will not grow any more."""
        self._stopped = True
        if self._watch is not None:
            self._watch.wake()

    def seek_tail(self, count: int | None) -> None:
        """Go to the last `count` lines."""
        if not self._open() or count is None:
            return
        for index in reversed(range(len(self._fds))):
            offset, seen = tail_place(self._fds[index], count)
            os.lseek(self._fds[index], offset, os.SEEK_SET)
            count -= seen
            if count <= 0:
                self._close(index)
                return

    async def lines(self, *, follow: bool) -> AsyncIterator[list[bytes]]:
        """Yield what is there in blocks of whole lines, then, with `follow`, what comes."""
        while True:
            final = self._stopped or not follow
            for block in self._available():
                yield block
                await asyncio.sleep(0)
            if final or self._watch is None:
                return
            await self._watch.changed()

    def close(self) -> None:
        """Let go of the file."""
        self._close(len(self._fds))
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _close(self, count: int) -> None:
        """Let go of the oldest files."""
        for fd in self._fds[:count]:
            os.close(fd)
        del self._fds[:count]

    def _open(self) -> bool:
        self._fds = self._fds or open_files(self._path)
        return bool(self._fds)

    def _available(self) -> Iterator[list[bytes]]:
        while self._open():
            data = os.read(self._fds[0], BLOCK_BYTES)
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                if lines:
                    yield lines
            elif len(self._fds) > 1:
                self._close(1)
                self._rest = b""
            elif not self._replaced():
                return

    def _replaced(self) -> bool:
        """Look whether newer files were begun; this one is then whole, and may have grown since it was read."""
        mine = self._fds[0]
        if (now := current(self._path)) is None:
            return False
        if now == identity(mine):
            size = os.fstat(mine).st_size
            if size >= os.lseek(mine, 0, os.SEEK_CUR):
                return False
            os.lseek(mine, 0, os.SEEK_SET)  # it was cut to nothing where it lies
            return size > 0
        found = open_files(self._path)
        places = [identity(fd) for fd in found]
        known = places.index(identity(mine)) + 1 if identity(mine) in places else 0
        for fd in found[:known]:
            os.close(fd)
        self._fds += found[known:]
        return len(self._fds) > 1


def tail_place(fd: int, count: int) -> tuple[int, int]:
    """Find where the last `count` lines of a file begin, and how many of them it has, reading from its end."""
    end = os.fstat(fd).st_size
    if count <= 0:
        return end, 0
    seen = 0
    start_of_later = end
    for offset, line in _backwards(fd, end):
        # A piece belongs to the line that ends it, which was counted before; only at the very end it stands alone.
        if not is_partial(line) or seen == 0:
            if seen == count:
                return start_of_later, seen
            seen += 1
        start_of_later = offset
    return start_of_later, seen


def _backwards(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) from the last line to the first."""
    rest, at = b"", end
    while at > 0:
        size = min(BLOCK_BYTES, at)
        at -= size
        block = os.pread(fd, size, at) + rest
        first = block.find(b"\n") + 1 if at > 0 else 0
        if at > 0 and first in (0, len(block)):
            rest = block
            continue
        offset = at + len(block)
        for line in reversed(block[first:].split(b"\n")):
            offset -= len(line)
            if line:
                yield offset, line
            offset -= 1
        rest = block[:first]
