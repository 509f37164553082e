"""Wait for changes in directories through inotify(7). Must not: say what changed; the caller looks again."""

import asyncio
import ctypes
import os
from pathlib import Path
from typing import Final

from berth.kernel.libc import LIBC, check

# sys/inotify.h
IN_MODIFY: Final = 0x2
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE_SELF: Final = 0x400
_IN_ONLYDIR: Final = 0x01000000

_EVENT_BYTES: Final = 65_536


class DirectoryWatch:
    """Directories under watch; `changed` returns after something was written, made or moved in one of them."""

    def __init__(self, *directories: Path) -> None:
        self._fd = check(LIBC.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK)), "inotify_init1")
        self._watched: dict[Path, int] = {}
        try:
            for directory in directories:
                self.add(directory)
        except BaseException:
            os.close(self._fd)
            raise
        self._change = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._note)

    def add(self, directory: Path) -> None:
        """Watch a directory too."""
        mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | _IN_ONLYDIR
        self._watched[directory] = check(
            LIBC.inotify_add_watch(ctypes.c_int(self._fd), os.fsencode(directory), ctypes.c_uint32(mask)),
            f"inotify_add_watch {directory}",
        )

    def drop(self, directory: Path) -> None:
        """Watch a directory no more; it may be gone."""
        number = self._watched.pop(directory, None)
        if number is not None:
            LIBC.inotify_rm_watch(ctypes.c_int(self._fd), ctypes.c_int(number))

    def _note(self) -> None:
        try:
            while os.read(self._fd, _EVENT_BYTES):
                self._change.set()
        except BlockingIOError:
            return

    async def changed(self) -> None:
        """Wait for a change since the last call."""
        await self._change.wait()
        self._change.clear()

    def wake(self) -> None:
        """Make `changed` return though nothing did."""
        self._change.set()

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
