"""What containers share that see the same world: kept answers and what is known of the servers outside.

The same world is: the same networks, the same servers, and both or neither shut in. So nothing passes from one network
to another through the cache, and a server that only one network reaches is not thought dead in another.
"""

import logging
from typing import Final, NamedTuple

from berth.networks.dns.cache import TOTAL_LIMIT, Entry, Kept, Key
from berth.networks.dns.decide import usable
from berth.networks.dns.health import Health
from berth.networks.dns.model import ServeConfig, Upstream, is_own_loopback

log = logging.getLogger(__name__)

#: Worlds remembered that no container is in just now: a container that restarts finds its answers again.
_SPARE_REALMS: Final = 64


class RealmKey(NamedTuple):
    """What makes a world."""

    network_ids: tuple[str, ...]
    upstreams: tuple[Upstream, ...]
    internal: bool
    #: Set where a server is the container's own affair.
    container_id: str


def realm_key(config: ServeConfig, network_ids: tuple[str, ...]) -> RealmKey:
    """Return the world that a container is in."""
    upstreams = usable(config)
    own = config.container_id if any(is_own_loopback(one) for one in upstreams) else ""
    return RealmKey(tuple(sorted(network_ids)), upstreams, config.internal, own)


class Realm:
    """One world."""

    def __init__(self, realms: "Realms", key: RealmKey) -> None:
        self.key = key
        self.kept = Kept()
        self.users = 0
        self.health: dict[Upstream, Health] = {}
        self._realms = realms

    def health_of(self, upstream: Upstream) -> Health:
        """Return what is known of a server."""
        return self.health.setdefault(upstream, Health())

    def tell(self, upstream: Upstream, health: Health) -> None:
        """Say that a server died, or came back."""
        self._realms.tell(self, upstream, health)

    def keep(self, key: Key, entry: Entry) -> None:
        """Keep an answer; the whole has a bound."""
        self._realms.grown(self.kept.put(key, entry))


class Realms:
    """All worlds of an engine."""

    def __init__(self) -> None:
        self._realms: dict[RealmKey, Realm] = {}
        self._bytes = 0
        #: By server: the worlds in which it is dead.
        self._dead: dict[Upstream, set[RealmKey]] = {}

    def enter(self, config: ServeConfig, network_ids: tuple[str, ...], old: Realm | None) -> Realm:
        """Return a container's world; it leaves its old one."""
        key = realm_key(config, network_ids)
        if old is not None and old.key == key:
            return old
        self.leave(old)
        realm = self._realms.get(key)
        if realm is None:
            self._forget_spares()
            realm = self._realms[key] = Realm(self, key)
        realm.users += 1
        return realm

    def leave(self, realm: Realm | None) -> None:
        """Note that a container is in a world no more."""
        if realm is not None:
            realm.users -= 1

    def all(self) -> tuple[Realm, ...]:
        """Return all worlds."""
        return tuple(self._realms.values())

    def grown(self, by_bytes: int) -> None:
        """Keep to the bound: who has most gives."""
        self._bytes += by_bytes
        while self._bytes > TOTAL_LIMIT:
            largest = max(self._realms.values(), key=lambda realm: realm.kept.bytes)
            self._bytes -= largest.kept.halve()

    def tell(self, realm: Realm, upstream: Upstream, health: Health) -> None:
        """Log the first death of a server and its return everywhere, each once."""
        where = self._dead.setdefault(upstream, set())
        if health.dead_since is not None:
            where.add(realm.key)
            if len(where) == 1:
                log.warning("name server %s does not answer: %s; others are asked first", upstream.address, health.why)
            return
        where.discard(realm.key)
        if not where:
            del self._dead[upstream]
            log.warning("name server %s answers again", upstream.address)

    def _forget_spares(self) -> None:
        spare = [key for key, realm in self._realms.items() if not realm.users]
        for key in spare[: max(0, len(spare) - _SPARE_REALMS)]:
            realm = self._realms.pop(key)
            self._bytes -= realm.kept.bytes
            for upstream in [one for one, where in self._dead.items() if key in where]:
                self._dead[upstream].discard(key)
                if not self._dead[upstream]:
                    del self._dead[upstream]
