"""Queries of one container that the tables do not answer: from the cache, from outside, stale, or not at all.

The same question asked again while it is under way waits for the same answer. Must not: know the tables or sockets of
the container.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from berth.networks.dns import cache, message, why
from berth.networks.dns.cache import Aging, Key
from berth.networks.dns.exchange import Exchange, Judge, Outcome
from berth.networks.dns.message import Query
from berth.networks.dns.model import Upstream
from berth.networks.dns.outlet import Outlet
from berth.networks.dns.realms import Realm
from berth.networks.dns.why import Why
from berth.networks.processes.loop import Loop, Timer

#: Forwarded queries one container may have under way (moby, libnetwork/resolver.go, maxConcurrent).
MAX_IN_FLIGHT: Final = 1024
#: How long an asker waits where a stale answer would do, seconds (RFC 8767 section 5, client response timer).
PATIENCE_S: Final = 1.8
#: Exchanges that are answered and only learn how beaten servers do; with more, the oldest are abandoned.
_MOST_LINGERING: Final = 64

#: Takes the answer and its reason.
Tell = Callable[[bytes, Why], None]


class Ready(NamedTuple):
    """An answer that may be given again, for as long as it holds."""

    tails: Aging
    reason: Why


class _Waiter(NamedTuple):
    query: Query
    tell: Tell
    tcp: bool


class _Asked:
    """One question under way, and all who wait for it."""

    def __init__(self, realm: Realm, key: Key | None) -> None:
        self.realm = realm
        self.key = key
        self.waiters: list[_Waiter] = []
        self.exchange: Exchange | None = None
        self.patience: Timer | None = None
        #: It takes long: who joins now gets what there is at once.
        self.is_late = False


class Forwarder:
    """Asks for one container."""

    def __init__(self, loop: Loop, netns_fd: int) -> None:
        self._loop = loop
        self._outlet = Outlet(netns_fd)
        self._under_way: dict[tuple[bytes, bool], _Asked] = {}
        self._waiting = 0
        self._lingering: dict[Exchange, None] = {}

    def answer(
        self, query: Query, data: bytes, upstreams: tuple[Upstream, ...], realm: Realm, tell: Tell, *, tcp: bool
    ) -> Ready | None:
        """Answer now or later, once; returns what may answer the same datagram again."""
        key = cache.key_of(query)
        now = time.monotonic()
        if key is not None:
            entry = realm.kept.fresh(key, now)
            if entry is not None:
                reason = Why(why.CACHE, upstream=entry.upstream)
                if tcp:
                    tell(cache.answer(entry, query, now, message.TCP_LIMIT), reason)
                    return None
                ready = Ready(Aging(entry, query, query.limit, time.monotonic), reason)
                tell(data[:2] + next(ready.tails), reason)
                return ready
            if realm.kept.paused(key, now) and self._tell_stale(realm, key, (_Waiter(query, tell, tcp),)):
                return None
        if self._waiting >= MAX_IN_FLIGHT:
            tell(message.pack_reply(query, message.REFUSED, (), message.PLAIN_LIMIT), Why(why.REFUSED))
            return None
        self._ask(data, key, upstreams, realm, _Waiter(query, tell, tcp))
        return None

    def close(self) -> None:
        """Abandon what is under way and close everything."""
        for asked in tuple(self._under_way.values()):
            if asked.exchange is not None:
                asked.exchange.abandon()
            if asked.patience is not None:
                asked.patience.cancel()
        for exchange in tuple(self._lingering):
            exchange.abandon()
        self._under_way.clear()
        self._lingering.clear()
        self._outlet.close()

    def _ask(
        self, data: bytes, key: Key | None, upstreams: tuple[Upstream, ...], realm: Realm, waiter: _Waiter
    ) -> None:
        place = (data[2:], waiter.tcp)
        self._waiting += 1
        asked = self._under_way.get(place)
        if asked is not None and asked.realm is realm:
            asked.waiters.append(waiter)
            if asked.is_late:
                self._on_impatience(asked)
            return
        asked = self._under_way[place] = _Asked(realm, key)
        asked.waiters.append(waiter)
        exchange = asked.exchange = Exchange(
            self._loop,
            self._outlet,
            Judge(realm.health_of, realm.tell),
            waiter.query,
            data,
            done=partial(self._on_done, place, asked),
            ended=self._on_ended,
        )
        if key is not None and realm.kept.stale(key, time.monotonic()) is not None:
            asked.patience = self._loop.after(PATIENCE_S, partial(self._on_impatience, asked))
        exchange.start(upstreams, tcp=waiter.tcp)

    def _on_impatience(self, asked: _Asked) -> None:
        """Give what there is; the exchange goes on and refreshes it."""
        asked.is_late = True
        if asked.key is not None and self._tell_stale(asked.realm, asked.key, asked.waiters):
            self._waiting -= len(asked.waiters)
            asked.waiters.clear()

    def _on_done(self, place: tuple[bytes, bool], asked: _Asked, exchange: Exchange, outcome: Outcome) -> None:
        self._lingering[exchange] = None
        if len(self._lingering) > _MOST_LINGERING:
            oldest = next(iter(self._lingering))
            del self._lingering[oldest]
            oldest.abandon()
        if self._under_way.get(place) is asked:
            del self._under_way[place]
        if asked.patience is not None:
            asked.patience.cancel()
        waiters, asked.waiters = asked.waiters, []
        self._waiting -= len(waiters)
        now = time.monotonic()
        if not outcome.reply:
            self._on_nothing(asked, waiters, now)
            return
        if asked.key is not None:
            entry = cache.entry_of(outcome.reply, now, outcome.upstream)
            if entry is not None:
                asked.realm.keep(asked.key, entry)
        reason = Why(why.UPSTREAM, upstream=outcome.upstream)
        for query, tell, tcp in waiters:
            reply = query.ident.to_bytes(2, "big") + outcome.reply[2:]
            if not tcp and len(reply) > query.limit:
                reply = message.cut(query, reply)
            tell(reply, reason)

    def _on_nothing(self, asked: _Asked, waiters: list[_Waiter], now: float) -> None:
        if asked.key is not None and asked.realm.kept.stale(asked.key, now) is not None:
            asked.realm.kept.pause(asked.key, now)
            self._tell_stale(asked.realm, asked.key, waiters)
            return
        for query, tell, _tcp in waiters:
            tell(message.pack_reply(query, message.SERVFAIL, (), message.PLAIN_LIMIT), Why(why.FAILED))

    def _tell_stale(self, realm: Realm, key: Key, waiters: "tuple[_Waiter, ...] | list[_Waiter]") -> bool:
        now = time.monotonic()
        entry = realm.kept.stale(key, now)
        if entry is None:
            return False
        for query, tell, tcp in waiters:
            limit = message.TCP_LIMIT if tcp else query.limit
            tell(cache.answer(entry, query, now, limit), Why(why.STALE, upstream=entry.upstream))
        return True

    def _on_ended(self, exchange: Exchange) -> None:
        self._lingering.pop(exchange, None)
