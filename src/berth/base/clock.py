"""Time, behind a Protocol so that tests may hold it still."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the engine takes the time from."""

    def now(self) -> datetime:
        """Return the present as an aware datetime in UTC."""
        ...

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present, microsecond resolution."""
        return datetime.now(UTC)  # noqa: TID251  the one place that asks the machine

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.time_ns()


#: What Docker prints for "never".
ZERO_TIME = "0001-01-01T00:00:00Z"


def rfc3339(ns: int) -> str:
    """Print nanoseconds since the epoch as Docker does: RFC 3339 with nine decimals, 0 as the zero time."""
    if ns <= 0:
        return ZERO_TIME
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
