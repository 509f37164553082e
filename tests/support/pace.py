"""Time that a machine busy with others has not cost: how long processes were ready to run and had no processor.

    clock = Pace(lambda: [os.getpid(), server.pid])
    ...
    assert clock.taken() < 1, "whatever else runs here"

What remains is work, waiting for each other, and sleep, which is what a requirement is about.
"""

import contextlib
import time
from collections.abc import Callable, Collection
from pathlib import Path


class Pace:
    """A watch that stands still while those who are watched wait for a processor."""

    def __init__(self, processes: Callable[[], Collection[int]]) -> None:
        """Begin; `processes` tells who is watched, now and in the end: those that came since began with nothing."""
        self._processes = processes
        self._waited = _waited_s(processes())
        self._began = time.monotonic()

    def taken(self) -> float:
        """Return the seconds since, without those for which any of them waited."""
        passed = time.monotonic() - self._began
        now = _waited_s(self._processes())
        return passed - sum(waited - self._waited.get(task, 0.0) for task, waited in now.items())


def _waited_s(processes: Collection[int]) -> dict[int, float]:
    """Return task -> seconds it has waited for a processor (Documentation/scheduler/sched-stats.rst)."""
    found = {}
    for pid in processes:
        with contextlib.suppress(OSError):  # it, or one of its tasks, has just ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                found[int(task.name)] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return found
