"""How each server outside does: who is asked first, how much of a start it gets, who counts as dead. Pure.

Must not: read a clock (every call is given the time) or ask anybody.
"""

from collections.abc import Callable, Sequence
from typing import Final

from berth.networks.dns.model import Upstream

#: What a server gets before the next one is asked beside it, seconds: three times what it usually needs, within limits.
MIN_START_S: Final = 0.05
MAX_START_S: Final = 0.25
_TIMES_USUAL: Final = 3.0
#: Weight of a new measurement (RFC 6298 section 2, alpha).
_WEIGHT: Final = 0.125
#: Failures in a row from which on a server is dead, not just late: one lost packet is no death.
DEAD_AFTER: Final = 2
#: Pause before a server that failed is tried again beside others, seconds; doubled at each failure.
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


class Health:
    """One server, as it is seen by those that share a view of the world."""

    __slots__ = ("answered", "asked", "dead_since", "failed", "in_a_row", "retry_at", "unheard", "usual_s", "why")

    def __init__(self) -> None:
        self.asked = 0
        #: Replies of any kind, and those among them that were SERVFAIL or REFUSED.
        self.answered = 0
        self.failed = 0
        #: Queries without a reply.
        self.unheard = 0
        self.in_a_row = 0
        self.retry_at = 0.0
        self.dead_since: float | None = None
        self.usual_s: float | None = None
        #: What went wrong last.
        self.why = ""

    def was_there(self, took_s: float) -> bool:
        """Note a reply; tells whether it was thought dead."""
        self.answered += 1
        self.usual_s = took_s if self.usual_s is None else self.usual_s + _WEIGHT * (took_s - self.usual_s)
        self.in_a_row = 0
        was_dead = self.dead_since is not None
        self.dead_since = None
        return was_dead

    def was_silent(self, now: float, why: str) -> bool:
        """Note that no reply came; tells whether it is dead just now."""
        self.unheard += 1
        self.why = why
        self.in_a_row += 1
        self.retry_at = now + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self.in_a_row - 1, 10))
        if self.in_a_row >= DEAD_AFTER and self.dead_since is None:
            self.dead_since = now
            return True
        return False

    @property
    def start_s(self) -> float:
        """How long it may take before the next one is asked as well."""
        usual = MAX_START_S if self.usual_s is None else self.usual_s
        return max(MIN_START_S, min(MAX_START_S, _TIMES_USUAL * usual))


def in_order(
    upstreams: Sequence[Upstream], health: Callable[[Upstream], Health], now: float
) -> tuple[list[Upstream], list[Upstream]]:
    """Return whom to ask one after the other, and whom to try beside the first.

    As given, but those that failed last time come last; if their pause is over they are tried beside the first, so
    that nobody waits for them and their return is noticed.
    """
    well = [one for one in upstreams if not health(one).in_a_row]
    ill = [one for one in upstreams if health(one).in_a_row]
    if not well:
        return ill, []
    due = [one for one in ill if health(one).retry_at <= now]
    for one in due:  # one probe at a time: the others of this moment need not try, too
        health(one).retry_at = now + _FIRST_PAUSE_S
    return well + [one for one in ill if one not in due], due
