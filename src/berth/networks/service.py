"""The use cases of networks, and the only writer of their records.

Change goes: check all → plan → apply (undone on error) → record → event. The kernel's view is rebuilt from records
at start. Containers' attachments are `berth.networks.attachments`' half; this class is the door to both.
"""

import contextlib
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final

from berth.base.aio import finish, in_thread
from berth.base.clock import Clock, SystemClock
from berth.base.config import Config
from berth.base.errors import EngineError
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.base.units import parse_duration_ns
from berth.events.bus import Bus
from berth.events.model import Event
from berth.kernel import link, netns, nft, sysctl
from berth.kernel.routes import Routed, RouteView
from berth.networks import configs, creation, default_bridge, render
from berth.networks.allocation import allocate, collisions
from berth.networks.attachments import Attachments
from berth.networks.changes.service import Changer
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import Sockets
from berth.networks.drivers.base import NetworkDriver, Seen, SeenLink, Way
from berth.networks.drivers.registry import REMOTE, driver_named, driver_of
from berth.networks.endpoint_options import LIMITS
from berth.networks.errors import (
    BadOption,
    BridgeNameTaken,
    ConfigInUse,
    HasActiveEndpoints,
    NetworkNameTaken,
    NetworkNotFound,
    NoNetworkNow,
    PoolsExhausted,
    PredefinedNetwork,
    PruneRunning,
)
from berth.networks.explain.see import Seer
from berth.networks.explain.service import Explainer
from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.firewall.service import Firewall
from berth.networks.foreign import Foreign, check_bridge_pools
from berth.networks.ipam.dhcp.pools import DHCP
from berth.networks.ipam.pools import (
    DEFAULT_BRIDGE_SOURCES,
    DEFAULT_SOURCES,
    Network,
    PoolSource,
    choose_subnet,
)
from berth.networks.leases import check_dhcp
from berth.networks.model import (
    DEFAULT,
    OWN_IPAM,
    PREDEFINED,
    LiveEndpoint,
    LiveSandbox,
    NetworkRecord,
    Pool,
    Sandbox,
    Tenant,
    alias_mark,
    bridge_name,
)
from berth.networks.names import Names
from berth.networks.options import BRIDGE_NAME, parse_bridge
from berth.networks.ports.exposed import Exposed
from berth.networks.ports.proxy_client import ProxyClient
from berth.networks.ports.publishing import Publishing, forwards
from berth.networks.register import Register
from berth.networks.server_watch import ServerWatch
from berth.plan.model import Planned
from berth.plan.run import Runner
from berth.plan.steps.link import RetireBridge
from berth.plan.steps.nft import NftTransaction
from berth.plugins.discovery import Places
from berth.plugins.rpc import Plugins
from berth.store.base import Records
from berth.wire.filters import Filters, InvalidFilter
from berth.wire.networks import IPAM, EndpointSettings, NetworkCreate

log = logging.getLogger(__name__)

#: Filters of the network list; prune knows others.
LIST_FILTERS: Final = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS: Final = ("label", "label!", "until")


class Networks:
    """Networks, and containers on them."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        layout: Layout,
        networks: Records[NetworkRecord],
        endpoints: Records[Tenant],
        live: Records[LiveSandbox],
        runner: Runner,
        bus: Bus,
        dns: DnsClient | None,
        config: Config,
        *,
        clock: Clock | None = None,
        proxy: ProxyClient | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self._layout = layout
        self._networks = networks
        self._tenants = endpoints
        self._live = live
        self._runner = runner
        self._bus = bus
        self._config = config
        self._clock = clock or SystemClock()
        self._register = Register()
        self._creating: set[str] = set()
        self._publishing = Publishing(layout, proxy)
        self._foreign = Foreign(plugins or Plugins(Places((), ())), runner, self._register.by_id)
        self._attachments = Attachments(
            layout=layout,
            tenants=endpoints,
            live=live,
            runner=runner,
            bus=bus,
            dns=dns,
            config=config,
            register=self._register,
            publishing=self._publishing,
            foreign=self._foreign,
            clock=self._clock,
        )
        #: Answers why something does not reach something.
        self.explain = Explainer(
            layout, endpoints, live, self._register, self._attachments.naming.upstreams,
            names_on_default=config.default_bridge_names,
        )  # fmt: skip
        #: Tells every port by which containers are reached.
        self.exposed = Exposed(endpoints, live, self._register)
        self.see = Seer(live, self._register)
        #: Answers questions about names.
        self.names = Names(layout, endpoints, live, dns)
        #: Looks after name servers outside.
        self.servers = ServerWatch(dns, bus, self._attachments.naming.follow_host_servers)
        #: Watches over the rules in the kernel, and tells about them.
        self.firewall = Firewall(layout, self._register, bus)
        self.change = Changer(
            layout, networks, self._register, self._attachments, runner, self._creating, self._changed
        )
        self._routes = RouteView()
        self._pruning = False
        for record in networks.all():
            self._register.add(record)
        for tenant in endpoints.all():
            self._register.expect(tenant)
        self._register.load(live.all())

    # -- networks

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
        if self._register.named(name) is not None or name in self._creating:
            raise NetworkNameTaken(name)
        if want.config_only:
            return await self._create_config(want, pools), ""
        self._creating.add(name)
        self._attachments.reaper.stir()
        try:
            if kind.traits.foreign:
                await self._foreign.require_driver(want.driver or "")
            await self._foreign.require_ipam(want.ipam.driver if want.ipam else "")
            record, routed = await self._planned_record(want, pools)
            try:
                await finish(self._make(record))
            except BaseException:
                self._register.unclaim(record)
                await finish(self._foreign.drop_pools(record))
                raise
        finally:
            self._creating.discard(name)
        self._tell("create", record)
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
        self._tell("create", record)
        return record.id

    async def _planned_record(self, want: NetworkCreate, asked: list[Pool]) -> tuple[NetworkRecord, list[Routed]]:
        """Return the record of a network to be made, its subnets and bridge already claimed, and the host's routes."""
        routed = await self._routed()
        if want.ipam and want.ipam.driver not in ("", OWN_IPAM):
            return await self._granted(want, asked, routed), routed
        # from here on without a pause, so that two creations at once cannot choose the same
        try:
            record = self._allocated(want, asked, routed)
        except PoolsExhausted:  # what is known of routes may be too much, never too little
            routed = await self._routed(fresh=True)
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

    async def _routed(self, *, fresh: bool = False) -> list[Routed]:
        """Return what the host routes but for our own bridges."""
        return await in_thread(self._routes.prefixes, self._is_ours, fresh=fresh)

    def _is_ours(self, link_name: str) -> bool:
        record = self._register.on_bridge(link_name)
        return record is not None and not record.adopted_bridge

    def _sources(self) -> tuple[PoolSource, ...]:
        given = self._config.default_address_pools
        return tuple(PoolSource(ip_network(pool.base), pool.size) for pool in given) or DEFAULT_SOURCES

    async def _make(self, record: NetworkRecord) -> None:
        if BRIDGE_NAME in record.options:  # a network of that bridge may just have been removed
            await self._attachments.reaper.flush()
        driver = driver_of(record)
        # What is named after an id just made is not there yet.
        is_new = record.bridge == bridge_name(record.id)
        seen = {} if is_new else await in_thread(_look, driver, record)
        record = driver.settled(self._layout, record, seen)
        plan = driver.plan_network(self._layout, record, seen)
        if driver.traits.foreign:
            plan += REMOTE.plan_first(record)
        table, policy = self._layout.nft_table, self._policy(record)
        if policy is not None:
            if record.enable_ipv6:
                await in_thread(_forward, ipv6=True)
            rules = NftTransaction(ruleset.add_bridge(table, policy), ruleset.remove_bridge(table, policy))
            plan += (Planned(rules, f"what network {record.name} may do"),)
        undo = await self._runner.run(plan)
        try:
            await self._networks.put(record.id, record)
        except BaseException:
            await in_thread(self._runner.apply_all, undo)
            raise
        self._register.add(record)

    def _policy(self, record: NetworkRecord) -> BridgePolicy | None:
        policy = driver_of(record).policy(record)
        return policy and policy._replace(direct=self._config.allow_direct_routing)

    def get(self, ref: str) -> NetworkRecord:
        """Look up by full id, name or unique id prefix. Raises `NetworkNotFound`, `NetworkAmbiguous`."""
        return self._register.find(ref)

    def list(self, filters: Filters) -> list[dict[str, Any]]:
        """Return the networks that pass the filters, as the API lists them."""
        filters.only(LIST_FILTERS)
        kind = filters.get("type")
        for word in kind:
            if word not in ("custom", "builtin"):
                raise InvalidFilter("type", word)
        dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
        return [
            render.network(one, {}, self._register.usage(one))
            for one in self._register.all()
            if self._passes(one, filters, kind, dangling)
        ]

    def _passes(self, one: NetworkRecord, filters: Filters, kind: tuple[str, ...], dangling: bool | None) -> bool:  # noqa: FBT001
        wanted_kind = "builtin" if one.is_predefined else "custom"
        return (
            (not kind or wanted_kind in kind)
            and (dangling is None or dangling == (not one.is_predefined and not self._register.attached(one.id)))
            and filters.exact("driver", one.driver)
            and filters.exact("scope", one.scope)
            and _matches(filters.get("id"), one.id)
            and _matches(filters.get("name"), one.name)
            and filters.labels(one.labels)
        )

    def inspect(self, ref: str, *, scope: str = "") -> dict[str, Any]:
        """Return one network with its running containers, as the API shows it."""
        record = self.get(ref)
        if scope and scope != record.scope:
            raise NetworkNotFound(ref)
        return render.network(record, self._members(record), self._register.usage(record))

    def _members(self, record: NetworkRecord) -> dict[str, tuple[str, LiveEndpoint]]:
        attached = self._register.attached(record.id)
        return {ident: (self._attachments.tenant(ident).name, end) for ident, end in attached.items()}

    async def remove(self, ref: str) -> None:
        """Remove a network that no running container is on."""
        async with self._attachments.sharing.shared():
            record = self.get(ref)
            if record.is_predefined:
                raise PredefinedNetwork(record.name)
            await finish(self._remove(record))
        self._tell("destroy", record)

    async def _remove(self, record: NetworkRecord) -> None:
        if self._register.by_id(record.id) is None:
            raise NetworkNotFound(record.name)  # someone else's removal came first
        members = self._members(record)
        if members:
            holders = sorted((name, end.endpoint_id) for name, end in members.values())
            raise HasActiveEndpoints(record.name, record.id, holders)
        if record.config_only:
            users = sorted(one.name for one in self._register.claimed() if one.config_from == record.name)
            if users:
                raise ConfigInUse(record.name, users)
        self._register.discard(record)  # from now on nobody joins
        try:
            await self._networks.drop(record.id)
            retired = await in_thread(self._unmake, record)
        except BaseException:
            self._register.add(record)
            raise
        await self._foreign.drop_pools(record)
        self._attachments.reaper.put(bridges=retired)

    def _unmake(self, record: NetworkRecord) -> tuple[str, ...]:
        """Take a network's rules away and its links; return the bridges whose slow deletion is to come."""
        driver = driver_of(record)
        policy = self._policy(record)
        if policy is not None:
            nft.host().run(ruleset.remove_bridge(self._layout.nft_table, policy))
        plan = driver.plan_unmake(self._layout, record, self._register.claimed())
        self._runner.run_blocking(plan)
        return tuple(planned.step.name for planned in plan if isinstance(planned.step, RetireBridge))

    async def prune(self, filters: Filters) -> tuple[str, ...]:
        """Remove every unused network that passes the filters; return their names."""
        filters.only(PRUNE_FILTERS)
        before_ns = self._until(filters)
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        try:
            gone = []
            for record in self._register.all():
                unused = not record.is_predefined and not record.config_only and not self._register.attached(record.id)
                old = before_ns is None or record.created_ns < before_ns
                if unused and old and filters.labels(record.labels) and filters.without_labels(record.labels):
                    with contextlib.suppress(NetworkNotFound, HasActiveEndpoints):  # others were quicker
                        await self.remove(record.id)
                        gone.append(record.name)
            return tuple(gone)
        finally:
            self._pruning = False

    def _until(self, filters: Filters) -> int | None:
        values = filters.get("until")
        if not values:
            return None
        if len(values) > 1:
            raise InvalidFilter("until", ",".join(values))
        text = values[0]
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return int(float(text) * 1e9)
        try:
            return self._clock.now_ns() - parse_duration_ns(text)
        except BadOption:
            raise InvalidFilter("until", text) from None

    async def _changed(self, record: NetworkRecord) -> None:
        """Follow a network's change in what depends on all of them."""
        if record.enable_ipv6:
            await in_thread(_forward, ipv6=True)
        self._tell("update", record)

    def _tell(self, action: str, record: NetworkRecord) -> None:
        attributes = {"name": record.name, "type": record.driver}
        self._bus.publish(Event(type="network", action=action, actor_id=record.id, attributes=attributes))

    # -- containers

    async def declare(self, tenant: Tenant) -> None:
        """See `Attachments.declare`."""
        await self._attachments.declare(tenant)

    async def open(self, container_id: str) -> Sandbox:
        """See `Attachments.open`."""
        return await self._attachments.open(container_id)

    async def close(self, container_id: str) -> None:
        """See `Attachments.close`."""
        await self._attachments.close(container_id)

    async def forget(self, container_id: str) -> None:
        """See `Attachments.forget`."""
        await self._attachments.forget(container_id)

    async def renamed(self, container_id: str, new_name: str) -> None:
        """See `Attachments.renamed`."""
        await self._attachments.renamed(container_id, new_name)

    async def resolver_sockets(self, container_id: str) -> Sockets:
        """Give the name server new sockets in a running container."""
        return await self._attachments.naming.resolver_sockets(container_id)

    async def connect(self, network_ref: str, tenant_id: str, settings: EndpointSettings, *, running: bool) -> None:
        """Put a container on one more network."""
        await self._attachments.connect(self.get(network_ref), tenant_id, settings, running=running)

    async def disconnect(self, network_ref: str, container_id: str, *, force: bool, running: bool) -> None:
        """Take a container off a network; with `force` also off one that is gone."""
        try:
            record: NetworkRecord | None = self.get(network_ref)
        except NetworkNotFound:
            if not force:
                raise
            record = None
        await self._attachments.disconnect(network_ref, record, container_id, force=force, running=running)

    async def shape(self, network_ref: str, container_id: str, limits: Mapping[str, str]) -> dict[str, str]:
        """Change limits of a container on a network and return all there are then; see `Attachments.shape`."""
        for key in limits:
            if key not in LIMITS:
                raise BadOption(f"unknown limit {key!r}: there are {', '.join(LIMITS)}")
        options = await self._attachments.shape(self.get(network_ref), container_id, limits)
        return {key: options[key] for key in LIMITS if key in options}

    def is_open(self, container_id: str) -> bool:
        """Tell whether a container has its networks in the kernel now."""
        return self._live.get(container_id) is not None

    def namespace(self, container_id: str) -> str:
        """Return the pinned namespace a running container is in, empty for the host's. Raises `NoNetworkNow`."""
        live = self._live.get(container_id)
        if live is None:
            raise NoNetworkNow(container_id)
        return live.netns_path

    def is_in(self, container_id: str, namespace: str) -> bool:
        """Tell whether a container is still in a namespace."""
        live = self._live.get(container_id)
        return live is not None and live.netns_path == namespace

    def settings(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of container inspect."""
        tenant, live = self._attachments.tenant(container_id), self._live.get(container_id)
        return render.container_settings(tenant, live, self._endpoints(tenant, live))

    def _endpoints(self, tenant: Tenant, live: LiveSandbox | None) -> dict[str, Any]:
        found = {}
        for name, settings in tenant.endpoints.items():
            record = self._register.by_id(settings.network_id or "") or self._register.named(name)
            end = live.on(record.id) if live and record else None
            has_names = record is not None and not record.is_predefined
            names = render.dns_names(tenant, settings) if has_names else None
            found[name] = render.endpoint(settings, end, names, settings.network_id or (record.id if record else ""))
        return found

    def summary(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of the container list."""
        tenant, live = self._attachments.tenant(container_id), self._live.get(container_id)
        return {"Networks": self._endpoints(tenant, live)}

    def ports(self, container_id: str) -> Sequence[dict[str, Any]]:
        """Return ``Ports`` of the container list."""
        tenant, live = self._attachments.tenant(container_id), self._live.get(container_id)
        return render.port_list(tenant, live)

    # -- starting and ending

    async def adopt(self, alive: set[str]) -> None:
        """Make the kernel equal to the records: predefined networks, bridges, rules; take over running containers.

        Containers not in `alive` are closed. What carries our mark and has no record is removed.
        """
        await self._predefine(alive)
        await self._attachments.mend(alive)
        await in_thread(self._rebuild, alive)
        await self._attachments.adopt(alive)
        self._attachments.spare.refill()

    async def _predefine(self, alive: set[str]) -> None:
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
        routed = await self._routed()
        taken = {version: self._register.subnets.spans(version) for version in (4, 6)}
        record = default_bridge.settled(
            self._config,
            old or NetworkRecord(new_id(), DEFAULT, "bridge", self._clock.now_ns()),
            bridge=self._layout.default_bridge,
            subnet=lambda: str(choose_subnet(DEFAULT_BRIDGE_SOURCES, taken, routed)),
            random=secrets.token_bytes,
        )
        if record == old:
            return
        if old is not None:
            if any(ident in alive for ident in self._register.attached(old.id)):
                log.warning("settings of the network %s have changed and hold once no container is on it", DEFAULT)
                return
            self._register.discard(old)
            await in_thread(link.delete, old.bridge)  # it is made anew with what it is to have
        await self._networks.put(record.id, record)
        self._register.add(record)

    def _rebuild(self, alive: set[str]) -> None:
        self._layout.namespaces.mkdir(parents=True, exist_ok=True)
        records = self._register.all()
        policies = {record.id: policy for record in records if (policy := self._policy(record))}
        _forward(ipv6=any(record.enable_ipv6 for record in records if record.id in policies))
        for record in records:
            driver = driver_of(record)
            try:
                self._runner.run_blocking(driver.plan_network(self._layout, record, _look(driver, record)))
            except EngineError as exc:  # a parent that is gone, say: the other networks come up all the same
                log.warning("network %s cannot be used: %s", record.name, exc)
        keep = [one for one in self._live.all() if one.container_id in alive]
        leads = [one for sandbox in keep for one in forwards(sandbox.endpoints, sandbox.published)]
        nft.host().run(ruleset.whole(self._layout.nft_table, policies.values(), leads))
        link.reap(self._attachments.reaper.group)
        self._sweep(records)
        self.firewall.settle()

    async def keep_leases(self) -> None:
        """Renew the leases of running containers, for ever; run under `supervise`."""
        await self._attachments.leases.keep()

    def _sweep(self, records: Sequence[NetworkRecord]) -> None:
        """Remove what carries our mark and belongs to no record."""
        known = {name for record in records for name in driver_of(record).owned_links(record)}
        ours = {end.host_link for sandbox in self._live.all() for end in sandbox.endpoints}
        mark, prefix = alias_mark(self._layout), self._layout.veth_prefix
        for one in link.links():
            if (one.alias.startswith(mark) and one.name not in known) or (
                one.name.startswith(prefix) and one.kind == "veth" and one.name not in ours
            ):
                log.warning("removing link %s: nothing of ours needs it", one.name)
                link.delete(one.name)
        pinned = {sandbox.netns_path for sandbox in self._live.all()}
        for path in self._layout.namespaces.iterdir():
            if str(path) not in pinned:
                log.warning("removing namespace %s: no container of ours needs it", path.name)
                netns.remove(str(path))

    async def settle(self) -> None:
        """Wait until what was left to do behind answers is done."""
        await self._attachments.reaper.flush()

    async def shut(self) -> None:
        """Let go of everything that this process holds; containers keep running."""
        await self.settle()
        await in_thread(self._attachments.spare.close)
        self._publishing.close()
        self._routes.close()

    def dissolve(self) -> None:
        """Remove every trace in the kernel, for taking an engine away for good; no container runs any more."""
        self._attachments.spare.close()
        for record in self._register.all():
            for name in driver_of(record).owned_links(record):
                link.delete(name)
        self.firewall.dissolve()
        nft.host().run(ruleset.gone(self._layout.nft_table))


def _matches(wanted: tuple[str, ...], value: str) -> bool:
    """Match as Docker does: part of the value, or a regular expression."""
    return not wanted or any(one in value or _searches(one, value) for one in wanted)


def _searches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False


def _look(driver: NetworkDriver, record: NetworkRecord) -> Seen:
    found = link.look_up(driver.looks_at(record))
    return {name: SeenLink(one.kind, one.alias, link.addresses_of(one)) for name, one in found.items()}


def _forward(*, ipv6: bool) -> None:
    """Switch forwarding on: without it nothing leaves a bridge."""
    if sysctl.write("net.ipv4.ip_forward", "1") is not None:
        log.warning("net.ipv4.ip_forward was off and is on now: containers reach nothing outside without it")
    if not ipv6 or sysctl.read("net.ipv6.conf.all.forwarding") == "1":
        return
    # A host that forwards forgets routes it was told by routers, unless it is told to go on listening (value 2).
    for name in link.names():
        key = f"net/ipv6/conf/{name}/accept_ra"
        with contextlib.suppress(sysctl.SysctlRefused):  # a link just gone, or without IPv6
            if sysctl.read(key) == "1":
                sysctl.write(key, "2")
    sysctl.write("net.ipv6.conf.all.forwarding", "1")
    log.warning("net.ipv6.conf.all.forwarding was off and is on now: a network with IPv6 needs it")
