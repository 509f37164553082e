"""Wait for changes in a directory through inotify(7). Must not: say what changed; the caller looks again."""

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
    """One directory under watch; `changed` returns after something was written, made or moved there."""

    def __init__(self, directory: Path) -> None:
        self._fd = check(LIBC.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK)), "inotify_init1")
        try:
            mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | _IN_ONLYDIR
            check(
                LIBC.inotify_add_watch(ctypes.c_int(self._fd), os.fsencode(directory), ctypes.c_uint32(mask)),
                f"inotify_add_watch {directory}",
            )
        except BaseException:
            os.close(self._fd)
            raise
        self._change = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._note)

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
