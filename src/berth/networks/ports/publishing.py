"""Publishes containers' ports: holds them, plans their rules, has the proxy pass on what rules cannot.

Must not: know containers' records.
"""

import logging
from collections.abc import Iterable, Mapping

from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import Forward
from berth.networks.model import LiveEndpoint, LiveSandbox, Published, Tenant
from berth.networks.options import BridgeOptions
from berth.networks.planning import gateway_endpoint
from berth.networks.ports import proxied
from berth.networks.ports.choose import wishes
from berth.networks.ports.hold import Claim, PortHolder
from berth.networks.ports.proxied import HostPort
from berth.networks.ports.proxy_client import ProxyClient
from berth.networks.ports.proxy_control import Target
from berth.plan.model import Plan, Planned
from berth.plan.steps.nft import NftTransaction

log = logging.getLogger(__name__)


def publisher(ends: Iterable[LiveEndpoint]) -> LiveEndpoint | None:
    """Return the attachment published ports lead to: the one that has the default route."""
    return gateway_endpoint(end for end in ends if end.host_link)


def publishes(tenant: Tenant) -> bool:
    """Tell whether a container wants ports published."""
    return bool(tenant.port_bindings) or tenant.publish_all_ports


def forwards(ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> list[Forward]:
    """Return where rules lead published ports; IPv6 ones are the proxy's."""
    end = publisher(ends)
    if end is None:
        return []
    return [
        Forward(one.protocol, one.host_ip, one.host_port, end.ipv4, one.container_port)
        for one in published
        if ":" not in one.host_ip
    ]


class Publishing:
    """Published ports of every container."""

    def __init__(self, layout: Layout, proxy: ProxyClient | None) -> None:
        self._table = layout.nft_table
        self._proxy = proxy
        self._holder = PortHolder()

    def claim(self, tenant: Tenant, end: LiveEndpoint, options: BridgeOptions) -> tuple[Published, ...]:
        """Hold a host port for everything a container wants published, all or none."""
        wanted = wishes(
            tenant.port_bindings,
            tenant.exposed_ports,
            publish_all=tenant.publish_all_ports,
            default_ip=options.host_binding,
        )
        claim = Claim(tenant.container_id, tenant.name, end.endpoint_id)
        return self._holder.claim(wanted, claim, ipv6=self._proxy is not None) if wanted else ()

    def release(self, published: Iterable[Published]) -> None:
        """Give host ports back."""
        self._holder.release(tuple(published))

    def plan(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> Plan:
        """Plan the rules of a container that starts."""
        leads = forwards(ends, published)
        if not leads:
            return ()
        step = NftTransaction(ruleset.publish(self._table, leads), ruleset.unpublish(self._table, leads))
        return (Planned(step, f"publish {len(leads)} ports"),)

    def plan_move(
        self,
        before: tuple[Iterable[LiveEndpoint], Iterable[Published]],
        after: tuple[Iterable[LiveEndpoint], Iterable[Published]],
    ) -> Plan:
        """Plan the move of published ports when the attachment they lead to changes."""
        old, new = forwards(*before), forwards(*after)
        if old == new:
            return ()
        there = ruleset.unpublish(self._table, old) + ruleset.publish(self._table, new)
        back = ruleset.unpublish(self._table, new) + ruleset.publish(self._table, old)
        return (Planned(NftTransaction(there, back), "published ports follow the default route"),)

    def withdrawal(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> str:
        """Return the commands that take a container's rules away."""
        return ruleset.unpublish(self._table, forwards(ends, published))

    # -- the proxy's part

    def _routes(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> dict[HostPort, Target]:
        end = publisher(ends)
        # IPv6 goes by the proxy to containers that have IPv6, too, as long as there are rules for IPv4 only
        return proxied.routes(published, ipv4=end.ipv4, ipv6="") if end is not None else {}

    async def open_proxy(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> None:
        """Have the proxy pass on what a starting container publishes on IPv6."""
        if self._proxy is None:
            return
        published = list(published)
        routes = self._routes(ends, published)
        for one in published:
            port = HostPort(one.protocol, one.host_ip, one.host_port)
            if port in routes:
                fd = self._holder.hand_over(one)
                if fd >= 0:
                    await self._proxy.hold(port.key, fd, routes[port])

    async def move_proxy(
        self,
        before: tuple[Iterable[LiveEndpoint], Iterable[Published]],
        after: tuple[Iterable[LiveEndpoint], Iterable[Published]],
    ) -> None:
        """Have it pass on to another address, or no more."""
        if self._proxy is None:
            return
        old, new = self._routes(*before), self._routes(*after)
        changed = {port: target for port, target in new.items() if port in old and old[port] != target}
        await proxied.withdraw(self._proxy, [port for port in old if port not in new or port in changed])
        await proxied.publish(self._proxy, changed)
        await self.open_proxy(after[0], [one for one in after[1] if _host_port(one) not in old])

    async def close_proxy(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> None:
        """Have it pass on no more."""
        if self._proxy is not None:
            await proxied.withdraw(self._proxy, self._routes(ends, published))

    # -- starting again

    async def adopt(self, running: Mapping[str, tuple[Tenant, LiveSandbox]]) -> None:
        """Hold again what running containers have published."""
        routes: dict[HostPort, Target] = {}
        for ident, (tenant, live) in running.items():
            end = publisher(live.endpoints)
            claim = Claim(ident, tenant.name, end.endpoint_id if end else "")
            for one in live.published:
                try:
                    self._holder.again(one, claim)
                except EngineError as exc:  # somebody was quicker while no daemon ran; the rule goes on leading here
                    log.warning("container %s: %s", tenant.name, exc)
            routes |= self._routes(live.endpoints, live.published)
        if self._proxy is not None:
            try:
                await proxied.adopt(self._proxy, routes)
            except OSError as exc:
                log.warning("ports on IPv6: %s", exc)

    def close(self) -> None:
        """Let go of every port held here."""
        self._holder.close()


def _host_port(one: Published) -> HostPort:
    return HostPort(one.protocol, one.host_ip, one.host_port)
