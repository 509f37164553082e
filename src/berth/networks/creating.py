"""Networks come to be: checked, given what is free, claimed at once, made, recorded, told.

Two creations at once never get the same name, bridge or subnet: what one of them is to have is claimed without a pause
in between. Must not: know what a network is made of in the kernel.
"""

import secrets
from ipaddress import ip_network

from berth.base.aio import finish
from berth.base.clock import Clock
from berth.base.config import Config
from berth.base.ids import new_id
from berth.kernel.routes import Routed
from berth.networks import configs, creation
from berth.networks.allocation import allocate, collisions
from berth.networks.building import Building
from berth.networks.drivers.base import Way
from berth.networks.drivers.registry import driver_named, driver_of
from berth.networks.errors import BridgeNameTaken, NetworkNameTaken, PoolsExhausted
from berth.networks.foreign import Foreign, check_bridge_pools
from berth.networks.host_routes import HostRoutes
from berth.networks.ipam.dhcp.pools import DHCP
from berth.networks.ipam.pools import DEFAULT_SOURCES, Network, PoolSource
from berth.networks.leases import check_dhcp
from berth.networks.model import OWN_IPAM, NetworkRecord, Pool
from berth.networks.options import parse_bridge
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.networks.telling import Telling
from berth.store.base import Records
from berth.wire.networks import IPAM, NetworkCreate


class Creating:
    """The use case "create a network"."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        networks: Records[NetworkRecord],
        register: Register,
        routes: HostRoutes,
        building: Building,
        foreign: Foreign,
        reaper: Reaper,
        telling: Telling,
        config: Config,
        clock: Clock,
    ) -> None:
        self._networks = networks
        self._register = register
        self._routes = routes
        self._building = building
        self._foreign = foreign
        self._reaper = reaper
        self._telling = telling
        self._config = config
        self._clock = clock
        #: Names of networks that are being made or renamed: taken, though no record has them yet.
        self.names: set[str] = set()

    async def create(self, want: NetworkCreate) -> tuple[str, str]:
        """Make a network; return its id and a warning (empty for none)."""
        source = configs.source_of(want)
        if not source:
            want = creation.with_defaults(want, self._config.default_network_opts)
        creation.check_request(want)
        if source:
            want = configs.applied(want, self._register.named(source))
            creation.check_values(want)
        kind = driver_named(want.driver or "bridge")
        pools = creation.parse_pools((want.ipam.config if want.ipam else None) or (), many=kind.traits.many_subnets)
        name = want.name or ""
        if self._register.named(name) is not None or name in self.names:
            raise NetworkNameTaken(name)
        if want.config_only:
            return await self._create_config(want, pools), ""
        self.names.add(name)
        self._reaper.stir()
        try:
            if kind.traits.foreign:
                await self._foreign.require_driver(want.driver or "")
            await self._foreign.require_ipam(want.ipam.driver if want.ipam else "")
            record, routed = await self._planned_record(want, pools)
            try:
                await finish(self._building.make(record))
            except BaseException:
                self._register.unclaim(record)
                await finish(self._foreign.drop_pools(record))
                raise
        finally:
            self.names.discard(name)
        self._telling.created(record)
        # only a bridge hides what is routed elsewhere; other kinds of networks mean to share a subnet with a link
        given = [one for one in record.pools if one.given and record.bridge]
        return record.id, "; ".join(collisions(given, routed, record.bridge))

    async def _create_config(self, want: NetworkCreate, pools: list[Pool]) -> str:
        """Keep settings for other networks; nothing happens in the kernel."""
        record = configs.held(creation.record_of(want, new_id(), pools, self._clock.now_ns()))
        self._register.add(record)
        try:
            await self._networks.put(record.id, record)
        except BaseException:
            self._register.discard(record)
            raise
        self._telling.created(record)
        return record.id

    async def _planned_record(self, want: NetworkCreate, asked: list[Pool]) -> tuple[NetworkRecord, list[Routed]]:
        """Return the record of a network to be made, its subnets and bridge already claimed, and the host's routes."""
        theirs = bool(want.ipam and want.ipam.driver not in ("", OWN_IPAM))
        # What is known of routes may be too much: another's address space would be asked past a subnet that is free.
        routed = await self._routes.prefixes(fresh=theirs)
        if theirs:
            return await self._granted(want, asked, routed), routed
        # from here on without a pause, so that two creations at once cannot choose the same
        try:
            record = self._allocated(want, asked, routed)
        except PoolsExhausted:  # what is known of routes may be too much, never too little
            routed = await self._routes.prefixes(fresh=True)
            record = self._allocated(want, asked, routed)
        self._claim(record)
        return record, routed

    def _claim(self, record: NetworkRecord) -> None:
        """Claim the bridge and subnets of a network to be made, or refuse it beside those there are."""
        other = self._register.on_bridge(record.bridge) if record.bridge else None
        if other is not None:
            raise BridgeNameTaken(record.id, record.bridge, other.id, other.bridge)
        driver_of(record).check_beside(record, self._register.claimed())
        self._register.claim(record)

    async def _granted(self, want: NetworkCreate, asked: list[Pool], routed: list[Routed]) -> NetworkRecord:
        """Return the record of a network whose addresses are not the engine's to give, its bridge claimed."""

        def busy(subnet: Network) -> bool:
            theirs = [one.prefix for one in routed if one.prefix.version == subnet.version and one.prefix.prefixlen]
            return subnet.prefixlen > 0 and any(one.overlaps(subnet) for one in theirs)

        def clash(subnet: Network) -> str:
            held = self._register.subnets.clash(subnet)
            return held.holder if held else ""

        versions = sorted(creation.families(want, parse_bridge(want.options or {})))
        ipam = want.ipam or IPAM()
        pools = await finish(self._foreign.take_pools(ipam.driver, asked, versions, ipam.options or {}, busy))
        record = creation.record_of(want, new_id(), pools, self._clock.now_ns())
        try:
            if ipam.driver == DHCP:
                check_dhcp(record)
            elif record.bridge:
                check_bridge_pools(pools, clash)
            self._claim(record)
        except BaseException:
            await finish(self._foreign.drop_pools(record))
            raise
        return record

    def _allocated(self, want: NetworkCreate, asked: list[Pool], routed: list[Routed]) -> NetworkRecord:
        options = parse_bridge(want.options or {})
        internal = bool(want.internal)
        pools = allocate(
            asked,
            creation.families(want, options),
            sources=self._sources(),
            taken=self._register.subnets,
            routed=routed,
            random=secrets.token_bytes,
        )
        driver = driver_named(want.driver or "bridge")
        if driver.traits.near_end or driver.way(want.options or {}, internal=internal) is Way.GATEWAY:
            pools = [creation.with_gateway(pool, options, internal=internal) for pool in pools]
        return creation.record_of(want, new_id(), pools, self._clock.now_ns())

    def _sources(self) -> tuple[PoolSource, ...]:
        given = self._config.default_address_pools
        return tuple(PoolSource(ip_network(pool.base), pool.size) for pool in given) or DEFAULT_SOURCES
