"""Whether and when a container that has exited is started again. Pure."""

from dataclasses import dataclass
from typing import Final

from berth.wire.containers import RestartPolicy

#: First pause before a restart, and the longest (moby restartmanager: 100 ms, 1 min).
FIRST_PAUSE_NS: Final = 100_000_000
LONGEST_PAUSE_NS: Final = 60_000_000_000
#: A run this long ends the doubling of pauses (moby restartmanager).
STEADY_NS: Final = 10_000_000_000


@dataclass(frozen=True)
class Run:
    """How one run of a container ended, and the pause before it (0 = it was started by hand)."""

    exit_code: int
    lasted_ns: int
    pause_before_ns: int
    restarts: int
    #: Stopped by a user's stop or kill.
    stopped: bool


def pause_before_next(policy: RestartPolicy, run: Run) -> int | None:
    """Return how long to wait before the next run in nanoseconds; None = it stays ended."""
    if run.stopped:
        return None
    match policy.name:
        case "always" | "unless-stopped":
            again = True
        case "on-failure":
            most = policy.maximum_retry_count
            again = run.exit_code != 0 and (most == 0 or run.restarts < most)
        case _:
            again = False
    if not again:
        return None
    if run.pause_before_ns == 0 or run.lasted_ns >= STEADY_NS:
        return FIRST_PAUSE_NS
    return min(run.pause_before_ns * 2, LONGEST_PAUSE_NS)


def starts_with_engine(policy: RestartPolicy, *, stopped: bool, was_running: bool, exit_code: int) -> bool:
    """Tell whether a container that does not run is started when the engine starts.

    `stopped`: a user had stopped it; `was_running`: its record says that it ran when the machine went down.
    """
    match policy.name:
        case "always":
            return True
        case "unless-stopped":
            return not stopped
        case "on-failure":
            return was_running and exit_code != 0
        case _:
            return False
