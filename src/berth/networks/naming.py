"""What the name server is told of containers: the names each has, whom it is asked for, its sockets inside them.

Without a name server there is nobody to tell, and nothing happens. Must not: change links, addresses or records.
"""

from collections.abc import Iterable

import msgspec

from berth.base.aio import in_thread, together
from berth.base.config import Config
from berth.base.paths import Layout
from berth.networks import hosts_files, sandboxes
from berth.networks.container_files import ContainerFiles
from berth.networks.dns.client import DnsClient
from berth.networks.dns.model import NamedEndpoint, ServeConfig, Sockets, Upstream
from berth.networks.errors import NotRunning
from berth.networks.firewall import egress
from berth.networks.model import DEFAULT, LiveEndpoint, LiveSandbox, Tenant
from berth.networks.register import Register
from berth.networks.render import dns_names
from berth.networks.tenants import Tenants
from berth.store.base import Records
from berth.wire.networks import EndpointSettings


class Naming:
    """The names of every running container."""

    def __init__(
        self,
        *,
        layout: Layout,
        tenants: Tenants,
        live: Records[LiveSandbox],
        dns: DnsClient | None,
        config: Config,
        register: Register,
        files: ContainerFiles,
    ) -> None:
        self._layout = layout
        self._tenants = tenants
        self._live = live
        self._dns = dns
        self._config = config
        self._register = register
        self._files = files

    # -- what is to be told

    def is_for(self, ends: Iterable[LiveEndpoint]) -> bool:
        """Tell whether a container with these attachments needs the name server."""
        return self._dns is not None and any(self._has_names(end) for end in ends)

    def _has_names(self, end: LiveEndpoint) -> bool:
        return bool(end.link) and (end.network_name != DEFAULT or self._config.default_bridge_names)

    def named_endpoint(self, tenant: Tenant, end: LiveEndpoint) -> NamedEndpoint | None:
        """Return the names an attachment has, None where networks have no names."""
        if not self._has_names(end):
            return None
        settings = tenant.endpoints.get(end.network_name, EndpointSettings())
        links = []
        for text in settings.links or ():
            target, _, alias = text.partition(":")
            links.append((alias or target, target))
        return NamedEndpoint(
            tenant.container_id,
            end.network_id,
            end.network_name,
            dns_names(tenant, settings),
            (end.ipv4,) if end.ipv4 else (),
            (end.ipv6,) if end.ipv6 else (),
            tuple(links),
        )

    def upstreams(self, tenant: Tenant, live: LiveSandbox) -> tuple[Upstream, ...]:
        """Return the name servers outside that are asked for a container."""
        return self._serve_config(tenant, live).upstreams

    def _serve_config(self, tenant: Tenant, live: LiveSandbox) -> ServeConfig:
        conf = self._files.resolv_conf(tenant)
        records = [self._register.by_id(end.network_id) for end in live.endpoints]
        ipv6 = any(end.gateway6 for end in live.endpoints)
        asked = hosts_files.upstreams(conf, explicit=self._files.names_servers(tenant), ipv6=ipv6)
        if any(record is not None and egress.parse(record.options).deny for record in records):
            # what the container may not reach itself is asked for it
            asked = tuple(msgspec.structs.replace(one, from_host=True) for one in asked)
        return ServeConfig(
            tenant.container_id,
            asked,
            ndots_set=any(option.startswith("ndots:") for option in conf.options),
            internal=all(record is None or record.internal for record in records),
            permits=tuple(
                one
                for record in records
                if record is not None
                for one in egress.permits(record.options, self._layout.nft_table, record.bridge)
            ),
        )

    # -- telling it

    async def serve(self, tenant: Tenant, live: LiveSandbox, sockets: Sockets) -> None:
        """Have the name server answer a container, which has these names itself; the sockets are its own then."""
        if self._dns is None:
            sandboxes.close_sockets(sockets)
            return
        await self._dns.serve(self._serve_config(tenant, live), sockets.udp, sockets.tcp, sockets.netns)
        for end in live.endpoints:
            await self.announce(tenant, end)

    async def extend(self, tenant: Tenant, live: LiveSandbox, end: LiveEndpoint, sockets: Sockets | None) -> None:
        """Follow a set of networks that has one more; with `sockets` the container is answered only from now on."""
        if sockets is not None:
            await self.serve(tenant, live, sockets)
        else:
            await together(self.reconfigure(tenant, live), self.announce(tenant, end))

    async def announce(self, tenant: Tenant, end: LiveEndpoint) -> None:
        """Give an attachment its names, in place of those it had."""
        named = self.named_endpoint(tenant, end)
        if self._dns is not None and named is not None:
            await self._dns.endpoint_up(named)

    async def announce_all(self, tenant: Tenant, live: LiveSandbox) -> None:
        """Give every attachment of a container its names, if it has any."""
        if live.has_dns:
            for end in live.endpoints:
                await self.announce(tenant, end)

    async def reconfigure(self, tenant: Tenant, live: LiveSandbox) -> None:
        """Follow a changed set of networks: only internal ones left means that nothing is asked from the host."""
        if self._dns is not None and live.has_dns:
            await self._dns.configure(self._serve_config(tenant, live))

    async def withdraw(self, tenant: Tenant, live: LiveSandbox, end: LiveEndpoint) -> None:
        """Take the names of an attachment away that a container, now as `live` says, has no more."""
        if self._dns is not None and live.has_dns:
            await together(self._dns.endpoint_down(tenant.container_id, end.network_id), self.reconfigure(tenant, live))

    async def forget(self, live: LiveSandbox) -> None:
        """Take all names of a container away."""
        if self._dns is not None and live.has_dns:
            await self._dns.forget(live.container_id)

    async def follow_host_servers(self) -> None:
        """Take over changed name servers of the host (another Wi-Fi, a VPN) into containers that run."""
        for live in self._live.all():
            await self.reconfigure(self._tenants.of(live.container_id), live)

    # -- starting again

    async def resolver_sockets(self, container_id: str) -> Sockets:
        """Open new sockets for the name server in a running container, for a server that lost the old ones."""
        live = self._live.get(container_id)
        if live is None or not live.netns_path or not live.has_dns:
            raise NotRunning(container_id)
        return await in_thread(sandboxes.resolver_sockets, live.netns_path)

    async def adopt(self) -> None:
        """Tell the name server of every running container, and give it new sockets where it lost the old ones."""
        if self._dns is None:
            return
        served = [live for live in self._live.all() if live.has_dns]
        configs = [self._serve_config(self._tenants.of(live.container_id), live) for live in served]
        named = [
            self.named_endpoint(self._tenants.of(live.container_id), end) for live in served for end in live.endpoints
        ]
        lost = await self._dns.adopt(configs, [one for one in named if one is not None])
        for live in served:
            if live.container_id in lost:
                sockets = await self.resolver_sockets(live.container_id)
                await self.serve(self._tenants.of(live.container_id), live, sockets)
