"""Publishes containers' ports: holds them, plans their rules, has the proxy pass on what rules cannot.

Must not: know containers' records.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import Forward
from berth.networks.model import LiveEndpoint, LiveSandbox, Published, Tenant
from berth.networks.options import BridgeOptions
from berth.networks.planning import gateway_endpoint
from berth.networks.ports import proxied
from berth.networks.ports.choose import Wish, wishes
from berth.networks.ports.errors import LimitNotKept
from berth.networks.ports.hold import Claim, PortHolder
from berth.networks.ports.proxied import HostPort
from berth.networks.ports.proxy_client import ProxyClient
from berth.networks.ports.proxy_control import Target
from berth.networks.ports.reach import split
from berth.plan.model import Plan, Planned
from berth.plan.steps.flows import ForgetDatagrams
from berth.plan.steps.nft import NftTransaction

log = logging.getLogger(__name__)

#: What is sent there leaves no host, not even for a bridge.
LOOPBACK_6: Final = "::1"


def publishers(ends: Iterable[LiveEndpoint]) -> dict[int, LiveEndpoint]:
    """Return, by IP version, the attachment published ports lead to: the one that has the default route.

    Among those that ports can lead to: it may be another network of another kind that has it in fact. One that is
    never to have the default route does where there is no other; answers find their way by rules.
    """
    links = [end for end in ends if end.host_link]
    found = {}
    for version in (4, 6):
        end = gateway_endpoint(links, version) or next((one for one in links if one.gateway(version)), None)
        if end is not None:
            found[version] = end
    return found


def publisher(ends: Iterable[LiveEndpoint]) -> LiveEndpoint | None:
    """Return the attachment published ports lead to, that for IPv4 if there are two."""
    return next(iter(publishers(ends).values()), None)


def publishes(tenant: Tenant) -> bool:
    """Tell whether a container wants ports published."""
    return bool(tenant.port_bindings) or tenant.publish_all_ports


def forwards(ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> list[Forward]:
    """Return where rules lead published ports; what reaches IPv4 from IPv6, or from ``::1``, is the proxy's."""
    by_version = publishers(ends)
    found = []
    for one in published:
        version = 6 if ":" in one.host_ip else 4
        end = by_version.get(version)
        if end is not None:
            port = 0 if one.host_ip == LOOPBACK_6 else one.host_port
            address = end.ipv4 if version == 4 else end.ipv6
            found.append(Forward(one.protocol, one.host_ip, port, address, one.container_port, one.sources))
    return found


def plan_forgetting(leads: Iterable[Forward]) -> Plan:
    """Plan that those who have sent datagrams to a port before are led by its rule, too."""
    led = tuple((one.host_ip, one.host_port, one.address) for one in leads if one.protocol == "udp" and one.host_port)
    if not led:
        return ()
    return (Planned(ForgetDatagrams(led), f"who sends to {len(led)} UDP ports already is led anew"),)


class Publishing:
    """Published ports of every container."""

    def __init__(self, layout: Layout, proxy: ProxyClient | None) -> None:
        self._table = layout.nft_table
        self._proxy = proxy
        self._holder = PortHolder()

    def claim(
        self, tenant: Tenant, ends: Iterable[LiveEndpoint], options: Mapping[int, BridgeOptions]
    ) -> tuple[Published, ...]:
        """Hold a host port for everything a container wants published that needs one, all or none.

        `options` are those of the networks ports lead to, by IP version.
        """
        end = publisher(ends)
        if end is None:
            return ()
        wanted = wishes(
            tenant.port_bindings,
            tenant.exposed_ports,
            publish_all=tenant.publish_all_ports,
            default_ip=next(iter(options.values())).host_binding,
        )
        modes = {version: one.mode(version) for version, one in options.items()}
        limited = [wish for wish in wanted if _sources(tenant, wish)]
        for wish in limited:
            if ":" in wish.host_ip and 6 not in modes:
                raise LimitNotKept(tenant.name, end.endpoint_id, wish.host_ip)
        # what the proxy passes on comes from the host: no rule could tell who asked
        bound, plain = split(limited, modes, proxy=False)
        free = split([wish for wish in wanted if wish not in limited], modes, proxy=self._proxy is not None)
        bound, plain = bound + free[0], plain + free[1]
        claim = Claim(tenant.container_id, tenant.name, end.endpoint_id)
        held = self._holder.claim(bound, claim, ipv6=True) if bound else ()
        return tuple(msgspec.structs.replace(one, sources=_sources(tenant, one)) for one in (*held, *plain))

    def release(self, published: Iterable[Published]) -> None:
        """Give host ports back."""
        self._holder.release(tuple(published))

    def plan(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> Plan:
        """Plan the rules of a container that starts."""
        leads = forwards(ends, published)
        if not leads:
            return ()
        step = NftTransaction(ruleset.publish(self._table, leads), ruleset.unpublish(self._table, leads))
        return (Planned(step, f"publish {len(leads)} ports"), *plan_forgetting(leads))

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
        return (
            Planned(NftTransaction(there, back), "published ports follow the default route"),
            *plan_forgetting(new),
        )

    def withdrawal(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> str:
        """Return the commands that take a container's rules away."""
        return ruleset.unpublish(self._table, forwards(ends, published))

    # -- the proxy's part

    def _routes(self, ends: Iterable[LiveEndpoint], published: Iterable[Published]) -> dict[HostPort, Target]:
        by_version = publishers(ends)
        four, six = by_version.get(4), by_version.get(6)
        return proxied.routes(published, ipv4=four.ipv4 if four else "", ipv6=six.ipv6 if six else "")

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
                if not one.host_port:
                    continue
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


def _sources(tenant: Tenant, one: Wish | Published) -> tuple[str, ...]:
    return tenant.publish_from.get(f"{one.container_port}/{one.protocol}", ())


def _host_port(one: Published) -> HostPort:
    return HostPort(one.protocol, one.host_ip, one.host_port)
