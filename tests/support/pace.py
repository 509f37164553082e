"""Time that a machine busy with others has not cost: how long processes were ready to run and had no processor.

    clock = Pace(lambda: [os.getpid(), server.pid])
    ...
    assert clock.taken() < 1, "whatever else runs here"

What remains is work, waiting for each other, and sleep, which is what a requirement is about. A machine that stands
still as a whole, as a virtual one does whose host is busy, tells nobody: a thread that wakes up too late notices.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

#: Seconds between two looks for a machine that stood still, and how late one must be to count: less is everyday.
TICK_S: Final = 0.05
STALL_S: Final = 0.25


class Pace:
    """A watch that stands still while those who are watched wait for a processor, or the machine stands still."""

    def __init__(self, processes: Callable[[], Collection[int]]) -> None:
        """Begin; `processes` tells who is watched, now and in the end: those that came since began with nothing."""
        self._processes = processes
        self._stalls = _Stalls.of_this_process()
        self._waited = _waited_s(processes())
        self._stalled = self._stalls.seconds()
        self._began = time.monotonic()

    def taken(self) -> float:
        """Return the seconds since, without those for which any of them waited."""
        passed = time.monotonic() - self._began
        stalled = self._stalls.seconds() - self._stalled
        now = _waited_s(self._processes())
        waited = sum(waited - self._waited.get(task, 0.0) for task, waited in now.items())
        return passed - max(waited, stalled)  # who stood still as the machine did may have waited for that as well


class _Stalls:
    """Adds up for how long this process could not run though it had nothing to do but look at the clock."""

    _known: "dict[int, _Stalls]" = {}  # noqa: RUF012  by process: a forked one has no threads of its parent's

    def __init__(self) -> None:
        self._sum = 0.0
        self._looked = time.monotonic()
        threading.Thread(target=self._look, daemon=True).start()

    @classmethod
    def of_this_process(cls) -> "_Stalls":
        if os.getpid() not in cls._known:
            cls._known[os.getpid()] = cls()
        return cls._known[os.getpid()]

    def _look(self) -> None:
        while True:
            time.sleep(TICK_S)
            now = time.monotonic()
            self._sum, self._looked = self._sum + _late(now - self._looked), now

    def seconds(self) -> float:
        """Return the sum, with a look that is overdue."""
        return self._sum + _late(time.monotonic() - self._looked)


def _late(since_s: float) -> float:
    late = since_s - TICK_S
    return late if late >= STALL_S else 0.0


def _waited_s(processes: Collection[int]) -> dict[int, float]:
    """Return task -> seconds it has waited for a processor (Documentation/scheduler/sched-stats.rst)."""
    found = {}
    for pid in processes:
        with contextlib.suppress(OSError):  # it, or one of its tasks, has just ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                found[int(task.name)] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return found
