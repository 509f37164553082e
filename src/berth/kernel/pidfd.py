"""Processes that are not our children: hold them by pidfd, know them again by their start time, wait for their end."""

import asyncio
import os
import signal


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot (proc(5), stat field 22); 0 if it is dead."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            text = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text[text.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


class Held:
    """One process held by pidfd: signals reach this one and never a later one of the same pid."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd

    def send(self, signum: int) -> bool:
        """Send a signal; False if the process is gone."""
        try:
            signal.pidfd_send_signal(self._fd, signum)
        except ProcessLookupError:
            return False
        return True

    async def gone(self) -> None:
        """Wait for its end, and for its becoming a zombie; only one waits at a time."""
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()

        def over() -> None:
            loop.remove_reader(self._fd)
            if not end.done():
                end.set_result(None)

        loop.add_reader(self._fd, over)
        try:
            await end
        finally:
            loop.remove_reader(self._fd)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def hold(pid: int, started: int = 0) -> Held | None:
    """Hold a process; None if it is gone, or if `started` (see `start_ticks`) says that it is another one."""
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    ticks = start_ticks(pid)
    if ticks == 0 or (started and ticks != started):
        os.close(fd)
        return None
    return Held(pid, fd)


def reap(pid: int) -> None:
    """Collect a child that has ended, if it is ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
