"""Networks, and containers on them: the door to all of their use cases, and where their parts are put together.

Change goes: check all → plan → apply (undone on error) → record → event. The kernel's view is rebuilt from records
at start. Must not: do any of it itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from berth.base.aio import in_thread
from berth.base.clock import Clock, SystemClock
from berth.base.config import Config
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel import nft
from berth.networks import forwarding
from berth.networks.attachments import Attachments
from berth.networks.building import Building
from berth.networks.changes.service import Changer
from berth.networks.creating import Creating
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import Sockets
from berth.networks.endpoint_options import LIMITS
from berth.networks.errors import BadOption, NoNetworkNow
from berth.networks.explain.see import Seer
from berth.networks.explain.service import Explainer
from berth.networks.firewall import egress, named, ruleset
from berth.networks.firewall.service import Firewall
from berth.networks.foreign import Foreign
from berth.networks.host_routes import HostRoutes
from berth.networks.model import LastHeld, LiveSandbox, NetworkRecord, Sandbox, Tenant
from berth.networks.names import Names
from berth.networks.ports.exposed import Exposed
from berth.networks.ports.proxy_client import ProxyClient
from berth.networks.ports.publishing import Publishing
from berth.networks.predefined import Predefined
from berth.networks.register import Register
from berth.networks.removing import Removing
from berth.networks.server_watch import ServerWatch
from berth.networks.showing import Showing
from berth.networks.tenants import Tenants
from berth.plan.run import Runner
from berth.plugins.discovery import Places
from berth.plugins.rpc import Plugins
from berth.store.base import Records
from berth.wire.filters import Filters
from berth.wire.networks import EndpointSettings, NetworkCreate


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
        last: Records[LastHeld],
        clock: Clock | None = None,
        proxy: ProxyClient | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self._layout = layout
        self._live = live
        self._ip_forward = config.ip_forward
        clock = clock or SystemClock()
        self._register = Register()
        self._publishing = Publishing(layout, proxy)
        foreign = Foreign(plugins or Plugins(Places((), ())), runner, self._register.by_id)
        tenants = Tenants(endpoints)
        self._attachments = Attachments(
            layout=layout,
            tenants=endpoints,
            live=live,
            last=last,
            runner=runner,
            bus=bus,
            dns=dns,
            config=config,
            register=self._register,
            publishing=self._publishing,
            foreign=foreign,
            clock=clock,
        )
        reaper, self._telling = self._attachments.reaper, self._attachments.telling
        self._routes = HostRoutes(self._register)
        self._building = Building(
            layout=layout,
            networks=networks,
            live=live,
            runner=runner,
            register=self._register,
            linking=self._attachments.linking,
            reaper=reaper,
            config=config,
        )
        self._creating = Creating(
            networks=networks,
            register=self._register,
            routes=self._routes,
            building=self._building,
            foreign=foreign,
            reaper=reaper,
            telling=self._telling,
            config=config,
            clock=clock,
        )
        self._removing = Removing(
            networks=networks,
            register=self._register,
            tenants=tenants,
            sharing=self._attachments.sharing,
            building=self._building,
            foreign=foreign,
            reaper=reaper,
            telling=self._telling,
            clock=clock,
        )
        self._predefined = Predefined(
            layout=layout,
            networks=networks,
            register=self._register,
            routes=self._routes,
            config=config,
            clock=clock,
        )
        self._showing = Showing(tenants, live, self._register)
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
            layout, networks, self._register, self._attachments, runner, self._creating.names, self._changed,
            self._building.policy,
        )  # fmt: skip
        self._networks, self._tenants, self._last = networks, endpoints, last
        self._load()

    def _load(self) -> None:
        self._register.load(self._networks.all(), self._tenants.all(), self._live.all(), self._last.all())

    # -- networks

    async def create(self, want: NetworkCreate) -> tuple[str, str]:
        """Make a network; return its id and a warning (empty for none)."""
        return await self._creating.create(want)

    def get(self, ref: str) -> NetworkRecord:
        """Look up by full id, name or unique id prefix. Raises `NetworkNotFound`, `NetworkAmbiguous`."""
        return self._register.find(ref)

    def list(self, filters: Filters) -> list[dict[str, Any]]:
        """Return the networks that pass the filters, as the API lists them."""
        return self._showing.list(filters)

    def inspect(self, ref: str, *, scope: str = "") -> dict[str, Any]:
        """Return one network with its running containers, as the API shows it."""
        return self._showing.inspect(ref, scope=scope)

    async def remove(self, ref: str) -> None:
        """Remove a network that no running container is on."""
        await self._removing.remove(ref)

    def prunable(self, filters: Filters) -> Sequence[NetworkRecord]:
        """Return the networks that `prune` would remove."""
        return self._removing.prunable(filters)

    async def prune(self, filters: Filters) -> tuple[str, ...]:
        """Remove every unused network that passes the filters; return their names."""
        return await self._removing.prune(filters)

    async def _changed(self, before: NetworkRecord, record: NetworkRecord) -> None:
        """Follow a network's change in what depends on all of them."""
        if set(egress.entries(before.options)) - set(egress.entries(record.options)):
            await in_thread(named.close, self._layout.nft_table, record.bridge)
        if record.enable_ipv6:
            await in_thread(forwarding.switch_on, ipv6=True, allowed=self._ip_forward)
        self._telling.changed(record)

    def warnings(self) -> Sequence[str]:
        """Return what the machine's owner should do, as ``info`` shows it."""
        off = [] if forwarding.is_on() else ["WARNING: IPv4 forwarding is disabled"]
        return [*off, *self.firewall.warnings()]

    # -- containers

    def forewarn(self, mode: str) -> Sequence[str]:
        """Say what keeps a container of a network mode from what is outside; the words are Docker's."""
        if mode in ("host", "none") or forwarding.is_on():
            return []
        return ["IPv4 forwarding is disabled. Networking will not work."]

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

    async def connect(self, network_ref: str, tenant_id: str, settings: EndpointSettings) -> None:
        """Put a container on one more network."""
        await self._attachments.membership.connect(network_ref, tenant_id, settings)

    async def disconnect(self, network_ref: str, container_id: str, *, force: bool) -> None:
        """Take a container off a network; with `force` also off one that is gone."""
        await self._attachments.membership.disconnect(network_ref, container_id, force=force)

    async def shape(self, network_ref: str, container_id: str, limits: Mapping[str, str]) -> dict[str, str]:
        """Change limits of a container on a network and return all there are then; see `Attachments.shape`."""
        for key in limits:
            if key not in LIMITS:
                raise BadOption(f"unknown limit {key!r}: there are {', '.join(LIMITS)}")
        options = await self._attachments.membership.shape(network_ref, container_id, limits)
        return {key: options[key] for key in LIMITS if key in options}

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

    def mode(self, container_id: str, recorded: str) -> str:
        """Return ``HostConfig.NetworkMode`` of a container that was created with `recorded`."""
        return self._showing.mode(container_id, recorded)

    def settings(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of container inspect."""
        return self._showing.settings(container_id)

    def summary(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of the container list."""
        return self._showing.summary(container_id)

    def ports(self, container_id: str) -> Sequence[dict[str, Any]]:
        """Return ``Ports`` of the container list."""
        return self._showing.ports(container_id)

    # -- starting and ending

    def is_recorded(self, network_id: str) -> bool:
        """Tell whether a network is on record: what an engine that was killed had made for it is then no remainder."""
        return self._networks.get(network_id) is not None

    async def adopt(self, alive: set[str]) -> None:
        """Make the kernel equal to the records: predefined networks, bridges, rules; take over running containers.

        Containers not in `alive` are closed. What carries our mark and has no record is removed.
        """
        if await self.change.resume():
            self._load()
        await self._predefined.settle(alive)
        await self._attachments.mend(alive)
        await in_thread(self._rebuild, alive)
        await self._attachments.adopt(alive)
        self._attachments.spare.refill()

    def _rebuild(self, alive: set[str]) -> None:
        self._building.rebuild(alive)
        self.firewall.settle()

    async def keep_leases(self) -> None:
        """Renew the leases of running containers, for ever; run under `supervise`."""
        await self._attachments.leases.keep()

    async def settle(self) -> None:
        """Wait until what was left to do behind answers is done."""
        await self._attachments.reaper.flush()

    async def shut(self) -> None:
        """Let go of everything that this process holds; containers keep running."""
        await self.settle()
        await self._attachments.advertising.close()
        await in_thread(self._attachments.spare.close)
        self._publishing.close()
        self._routes.close()

    def dissolve(self) -> None:
        """Remove every trace in the kernel, for taking an engine away for good; no container runs any more."""
        self._attachments.spare.close()
        self._building.dissolve()
        self.firewall.dissolve()
        nft.host().run(ruleset.gone(self._layout.nft_table))
