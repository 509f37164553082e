"""The networks that are always there: made at an engine's first start, kept, and ``bridge`` following its settings."""

import logging
import secrets

from berth.base.aio import in_thread
from berth.base.clock import Clock
from berth.base.config import NO_BRIDGE, Config
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.kernel import link
from berth.networks import creation, default_bridge, planning
from berth.networks.drivers.errors import BridgeMissing, NotABridge
from berth.networks.host_routes import HostRoutes
from berth.networks.ipam.pools import DEFAULT_BRIDGE_SOURCES, choose_subnet
from berth.networks.model import DEFAULT, PREDEFINED, NetworkRecord
from berth.networks.register import Register
from berth.store.base import Records

log = logging.getLogger(__name__)


class Predefined:
    """Sees to the records of the networks that nobody creates."""

    def __init__(
        self,
        *,
        layout: Layout,
        networks: Records[NetworkRecord],
        register: Register,
        routes: HostRoutes,
        config: Config,
        clock: Clock,
    ) -> None:
        self._layout = layout
        self._networks = networks
        self._register = register
        self._routes = routes
        self._config = config
        self._clock = clock

    async def settle(self, alive: set[str]) -> None:
        """Make their records what they should be; containers `alive` run."""
        for name in PREDEFINED:
            if name == DEFAULT:
                await self._follow_settings(alive)
            elif self._register.named(name) is None:
                record = creation.linkless(name, new_id(), self._clock.now_ns())
                await self._networks.put(record.id, record)
                self._register.add(record)

    async def _follow_settings(self, alive: set[str]) -> None:
        """Make the default bridge what the settings say, unless containers are on it."""
        old = self._register.named(DEFAULT)
        if self._config.bridge == NO_BRIDGE:
            await self._without(old, alive)
            return
        config, bridge = self._config, self._config.bridge or self._layout.default_bridge
        adopted = bridge != self._layout.default_bridge
        if adopted:
            config = default_bridge.adopting(config, await in_thread(_addresses, bridge))
        routed = await self._routes.prefixes()
        taken = {version: self._register.subnets.spans(version) for version in (4, 6)}
        record = default_bridge.settled(
            config,
            old or NetworkRecord(new_id(), DEFAULT, "bridge", self._clock.now_ns()),
            bridge=bridge,
            routed=routed,
            subnet=lambda: str(choose_subnet(DEFAULT_BRIDGE_SOURCES, taken, routed)),
            random=secrets.token_bytes,
            adopted=adopted,
        )
        if adopted:
            record = await self._with_what_is_lent(record, old)
        if record == old:
            return
        if old is not None and not await self._taken_away(old, alive):  # it is made anew with what it is to have
            return
        await self._networks.put(record.id, record)
        self._register.add(record)

    async def _with_what_is_lent(self, record: NetworkRecord, old: NetworkRecord | None) -> NetworkRecord:
        """Return the record with what of its owner's bridge is to be taken back one day."""
        before = old if old is not None and old.adopted_bridge and old.bridge == record.bridge else None
        held = set(await in_thread(_addresses, record.bridge)) - set(before.lent_addresses if before else ())
        leads = before.led_loopback if before else await in_thread(link.leads_loopback, record.bridge)
        return planning.adopted(record, held, leads_loopback=leads)

    async def _taken_away(self, old: NetworkRecord, alive: set[str]) -> bool:
        """Take the default network away, unless containers are on it; tell whether it was."""
        if any(ident in alive for ident in self._register.attached(old.id)):
            log.warning("settings of the network %s have changed and hold once no container is on it", DEFAULT)
            return False
        self._register.discard(old)
        if old.adopted_bridge:
            await in_thread(link.leave, old.bridge, old.lent_addresses, old.led_loopback)
        else:
            await in_thread(link.delete, old.bridge)
        return True

    async def _without(self, old: NetworkRecord | None, alive: set[str]) -> None:
        """Have no default network: containers that ask for none have loopback alone, as in Docker."""
        if old is not None and await self._taken_away(old, alive):
            await self._networks.drop(old.id)


def _addresses(bridge: str) -> tuple[str, ...]:
    """Return the addresses of a bridge of the owner's. Raises `BridgeMissing`, `NotABridge`."""
    found = link.look_up([bridge]).get(bridge)
    if found is None:
        raise BridgeMissing(bridge)
    if found.kind != "bridge":
        raise NotABridge(bridge)
    return link.addresses_of(found)
