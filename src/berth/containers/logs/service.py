"""Reads containers' logs, from the beginning or the last lines, and follows them while they grow.

The monitor writes the file; when it reaches its size limit the monitor replaces it, so a follower looks whether the
name still means the file it reads.
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


def log_file(layout: Layout, ident: str) -> Path:
    """Where a container's monitor writes its log."""
    return layout.container(ident) / "ctr.log"


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
    """One reader at its place in a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
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
        if self._open() and count is not None:
            os.lseek(self._fd, tail_offset(self._fd, count), os.SEEK_SET)

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
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _open(self) -> bool:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        return True

    def _available(self) -> Iterator[list[bytes]]:
        while self._open():
            data = os.read(self._fd, BLOCK_BYTES)
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                if lines:
                    yield lines
            elif not self._replaced():
                return

    def _replaced(self) -> bool:
        """Look whether the monitor began a new file; then go on there."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._fd)
        if (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino):
            if now.st_size >= os.lseek(self._fd, 0, os.SEEK_CUR):
                return False
            os.lseek(self._fd, 0, os.SEEK_SET)  # it was cut to nothing where it lies
            return now.st_size > 0
        os.close(self._fd)
        self._fd = -1
        self._rest = b""
        return True


def tail_offset(fd: int, count: int) -> int:
    """Find where the last `count` lines of a log begin, reading from its end."""
    end = os.fstat(fd).st_size
    if count <= 0:
        return end
    seen = 0
    start_of_later = end
    for offset, line in _backwards(fd, end):
        # A piece belongs to the line that ends it, which was counted before; only at the very end it stands alone.
        if not is_partial(line) or seen == 0:
            if seen == count:
                return start_of_later
            seen += 1
        start_of_later = offset
    return start_of_later


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
