"""What one container asked and was answered: counts, how long it took, the last queries. Pure.

It is written for every query and seldom read: a line costs a tuple, everything readable is made when somebody looks.
"""

from collections import deque
from typing import Final

from berth.networks.dns import why
from berth.networks.dns.why import Why

#: Queries remembered of one container.
REMEMBERED: Final = 128
#: Bytes of one answer that are remembered.
_LONGEST: Final = 2048
#: Upper ends of the classes that answers from outside are sorted into by their time, milliseconds; the last is open.
CLASSES_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

#: When (monotonic), how long (seconds; 0: at once), the answer, and why.
Line = tuple[float, float, bytes, Why]


class Tally:
    """A number that grows."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Ledger:
    """Books of one container."""

    def __init__(self) -> None:
        self.recent: deque[Line] = deque(maxlen=REMEMBERED)
        #: By kind of answer and, for names, by network.
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.classes = [0] * (len(CLASSES_MS) + 1)

    def tally(self, reason: Why) -> Tally:
        """Return what counts answers of this kind."""
        key = (reason.kind, reason.network)
        found = self.tallies.get(key)
        if found is None:
            found = self.tallies[key] = Tally()
        return found

    def note(self, begun: float, took_s: float, reply: bytes, reason: Why) -> None:
        """Write one answer down."""
        self.tally(reason).n += 1
        if len(reply) > _LONGEST:  # only what was asked, and the code: the counts of records become 0
            reply = reply[:6] + bytes(6) + reply[12:_LONGEST]
        self.recent.append((begun, took_s, reply, reason))
        if reason.kind in (why.UPSTREAM, why.FAILED):
            took_ms = took_s * 1000
            at = next((at for at, end in enumerate(CLASSES_MS) if took_ms <= end), len(CLASSES_MS))
            self.classes[at] += 1

    @property
    def total(self) -> int:
        """How many answers there were."""
        return sum(tally.n for tally in self.tallies.values())
