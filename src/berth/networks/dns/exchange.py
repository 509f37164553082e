"""One query on its way through the servers outside, which race: the first alone, the next beside it if it is slow.

Order counts all the same: that something does not exist is believed of a later server only when those before it had
their chance, because the first may be the one that knows names inside a company.
"""

import errno
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from berth.networks.dns import message
from berth.networks.dns.health import Health, in_order
from berth.networks.dns.leg import Leg
from berth.networks.dns.message import Query
from berth.networks.dns.model import Upstream
from berth.networks.dns.outlet import Outlet
from berth.networks.processes.loop import Loop, Timer

#: How long a server has that others beat before it counts as silent, and how long a "no such thing" of a later
#: server waits for those before it, seconds.
LATE_S: Final = 1.0
#: What says that there is no way, or that we have no means, not that a server is dead.
_NO_WAY: Final = (
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL,
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
)  # fmt: skip


class Outcome(NamedTuple):
    """The answer as it came, or nothing, and who gave it."""

    reply: bytes
    upstream: str


class Judge:
    """Keeps what is learnt of servers, and says so."""

    def __init__(self, health: Callable[[Upstream], Health], tell: Callable[[Upstream, Health], None]) -> None:
        self.health = health
        self._tell = tell

    def was_there(self, leg: Leg) -> None:
        """Note a reply."""
        if self.health(leg.upstream).was_there(leg.took_s):
            self._tell(leg.upstream, self.health(leg.upstream))

    def was_silent(self, upstream: Upstream, why: str) -> None:
        """Note that none came."""
        health = self.health(upstream)
        if health.was_silent(time.monotonic(), why):
            self._tell(upstream, health)


class Exchange:
    """Calls `done` exactly once, unless abandoned, and `ended` when nothing is waited for any more.

    Between the two it learns how the servers do that were beaten.
    """

    def __init__(
        self,
        loop: Loop,
        outlet: Outlet,
        judge: Judge,
        query: Query,
        data: bytes,
        *,
        done: Callable[["Exchange", Outcome], None],
        ended: Callable[["Exchange"], None],
    ) -> None:
        self._loop = loop
        self._outlet = outlet
        self._judge = judge
        self._query = query
        self._data = data
        self._done = done
        self._ended = ended
        self._tcp = False
        self._given: list[Upstream] = []
        self._left: list[Upstream] = []
        self._legs: list[Leg] = []
        self._held: Outcome | None = None
        self._timer: Timer | None = None
        self._over = False

    def start(self, upstreams: Sequence[Upstream], *, tcp: bool) -> None:
        """Ask the first; over TCP if the query came so."""
        self._tcp = tcp
        self._left, probes = in_order(upstreams, self._judge.health, time.monotonic())
        self._given = [*self._left, *probes]
        self._next()
        for upstream in probes:
            if not self._over:
                self._ask(upstream)

    def abandon(self) -> None:
        """Stop without an answer."""
        self._over = True
        self._cancel_timer()
        for leg in self._legs:
            leg.end()
        self._legs.clear()

    def _next(self) -> None:
        """Ask the next one; the one after it too, if nothing is heard for as long as this one usually needs."""
        self._cancel_timer()
        while self._left:
            upstream = self._left.pop(0)
            if self._ask(upstream):
                if self._left:
                    self._timer = self._loop.after(self._judge.health(upstream).start_s, self._next)
                return
        if not self._legs:
            self._finish(self._held or Outcome(b"", ""))

    def _ask(self, upstream: Upstream) -> bool:
        health = self._judge.health(upstream)
        leg = Leg(
            self._loop, self._outlet, upstream, self._query, self._data, heard=self._on_heard, failed=self._on_failed
        )
        try:
            leg.begin(tcp=self._tcp)
        except OSError as exc:
            if exc.errno in _NO_WAY:
                health.unheard += 1
                health.why = exc.strerror or str(exc)
            else:
                self._judge.was_silent(upstream, exc.strerror or str(exc))
            return False
        health.asked += 1
        self._legs.append(leg)
        return True

    def _on_heard(self, leg: Leg, reply: bytes) -> None:
        self._legs.remove(leg)
        self._judge.was_there(leg)
        failed = message.code_of(reply) in (message.SERVFAIL, message.REFUSED)
        if failed:
            self._judge.health(leg.upstream).failed += 1
        if self._over:
            self._end()
            return
        outcome = Outcome(reply, leg.upstream.address)
        if failed:
            self._go_on()
        elif message.is_negative(reply) and self._is_awaited_before(leg.upstream):
            self._hold(outcome)
        else:
            self._finish(outcome)

    def _on_failed(self, leg: Leg, why: str) -> None:
        self._legs.remove(leg)
        if self._tcp:  # it may speak UDP only, which most queries need: no reason to call it dead
            health = self._judge.health(leg.upstream)
            health.unheard += 1
            health.why = f"by TCP: {why}"
        else:
            self._judge.was_silent(leg.upstream, why)
        if self._over:
            self._end()
        else:
            self._go_on()

    def _end(self) -> None:
        if not self._legs:
            self._ended(self)

    def _go_on(self) -> None:
        if self._held is not None:
            if not any(self._is_before(leg.upstream) for leg in self._legs):
                self._finish(self._held)
        else:
            self._next()

    def _is_awaited_before(self, upstream: Upstream) -> bool:
        rank = self._given.index(upstream)
        return any(self._given.index(leg.upstream) < rank for leg in self._legs)

    def _is_before(self, upstream: Upstream) -> bool:
        assert self._held is not None
        rank = next((at for at, one in enumerate(self._given) if one.address == self._held.upstream), len(self._given))
        return self._given.index(upstream) < rank

    def _hold(self, outcome: Outcome) -> None:
        if self._held is None:
            self._held = outcome
            self._cancel_timer()
            self._timer = self._loop.after(LATE_S, lambda: self._finish(outcome))

    def _finish(self, outcome: Outcome) -> None:
        if self._over:
            return
        self._over = True
        self._cancel_timer()
        for leg in self._legs:
            leg.give_up_in(max(0.0, LATE_S - leg.took_s))
        self._done(self, outcome)
        self._end()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
