"""Legacy links (``--link``) on the default network: who is linked to whom, and the way where containers are kept apart.

With icc off the ports of the bridge are isolated from each other, so nothing may pass within it. What a link lets
through goes around: each of the two has a route to the other by way of the bridge's own address, and a rule lets
connections to the ports that the target exposes pass there. Answers follow. IPv4 only, as in Docker.
Must not: carry out what it plans, or write records.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

from berth.base.paths import Layout
from berth.networks.errors import LinkElsewhere, LinkToStopped
from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import Hole
from berth.networks.model import DEFAULT, Linked, LiveEndpoint, LiveSandbox, NetworkRecord, Tenant
from berth.networks.options import parse_bridge
from berth.networks.planning import pool_of
from berth.networks.ports.choose import parse_port
from berth.networks.register import Register
from berth.networks.tenants import Tenants
from berth.plan.model import Plan, Planned
from berth.plan.steps.nft import NftTransaction
from berth.plan.steps.route import AddRoute, ForgetRoute
from berth.store.base import Records


class Place(NamedTuple):
    """A running container on the default network."""

    tenant: Tenant
    namespace: str
    end: LiveEndpoint


def parsed(tenant: Tenant) -> list[tuple[str, str]]:
    """Return what a container's links name and by which alias; the alias may be the name itself."""
    found = []
    for text in tenant.links if tenant.mode == DEFAULT else ():
        target, _, alias = text.partition(":")
        found.append((target, alias.rpartition("/")[2] or target.rpartition("/")[2]))
    return found


def hosts_names(alias: str, target: Tenant) -> str:
    """Return the names of a linked container in a hosts file."""
    return " ".join(dict.fromkeys((alias, target.hostname or target.container_id[:12], target.name)))


def holes(source: Place, target: Place) -> list[Hole]:
    """Return what a link lets through."""
    found = []
    for text in target.tenant.exposed_ports:
        number, protocol = parse_port(text)
        found.append(Hole(source.end.ipv4, target.end.ipv4, protocol, number))
    return found


class Linking:
    """The links between running containers on the default network."""

    def __init__(self, layout: Layout, wanted: Tenants, live: Records[LiveSandbox], register: Register) -> None:
        self._table = layout.nft_table
        self._wanted = wanted
        self._live = live
        self._register = register
        self._changing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def alone(self, container_id: str) -> AsyncIterator[None]:
        """Keep the others of its links as they are while a container comes or goes; nothing for one without links.

        Two ends that come and go at once would each leave what the other has just planned.
        """
        if self._apart() is None or not self._has_links(self._wanted.of(container_id)):
            yield
            return
        async with self._changing:
            yield

    # -- who is linked

    def targets(self, tenant: Tenant) -> Iterator[tuple[str, Tenant]]:
        """Return what a container's links lead to, by alias."""
        for ref, alias in parsed(tenant):
            target = self._wanted.find(ref)
            if target is not None:
                yield alias, target

    def of(self, tenant: Tenant) -> tuple[Linked, ...]:
        """Return what a container is told of those it is linked to."""
        found = []
        for alias, target in self.targets(tenant):
            end = self._attached().get(target.container_id)
            if end is not None:
                found.append(Linked(alias, target.container_id, end.ipv4, target.exposed_ports))
        return tuple(found)

    def _has_links(self, tenant: Tenant) -> bool:
        """Tell whether a container is linked to any, or any to it, running or not."""
        if tenant.links:
            return True
        others = (one for one in self._wanted.all() if one.links)
        return any(it.container_id == tenant.container_id for other in others for _, it in self.targets(other))

    def check(self, tenant: Tenant) -> None:
        """Refuse the start of a container that is linked to one that does not run, or not here.

        Raises `LinkToStopped`, `LinkElsewhere`.
        """
        if DEFAULT not in tenant.endpoints:
            return
        for alias, other in self.targets(tenant):
            live = self._live.get(other.container_id)
            if live is None:
                raise LinkToStopped(other.name, f"{tenant.name}/{alias}")
            if not any(end.network_name == DEFAULT for end in live.endpoints):
                raise LinkElsewhere(other.name)

    def to(self, tenant: Tenant) -> list[tuple[str, Place]]:
        """Return the running containers that are linked to one, with the alias each has for it."""
        found = []
        for ident in self._attached():
            other = self._wanted.of(ident)
            place = self._place(other) if other.links and ident != tenant.container_id else None
            if place is not None:
                found += [(alias, place) for alias, it in self.targets(other) if it.container_id == tenant.container_id]
        return found

    def _attached(self) -> dict[str, LiveEndpoint]:
        record = self._register.named(DEFAULT)
        return self._register.attached(record.id) if record else {}

    def _place(self, tenant: Tenant) -> Place | None:
        """Return where a container is, unless it does not run or is not on the default network."""
        live, end = self._live.get(tenant.container_id), self._attached().get(tenant.container_id)
        return Place(tenant, live.netns_path, end) if live and end and end.host_link and end.ipv4 else None

    # -- the way between those that are kept apart

    def _apart(self) -> NetworkRecord | None:
        """Return the default network if its containers are kept apart."""
        record = self._register.named(DEFAULT)
        return record if record is not None and record.bridge and not parse_bridge(record.options).icc else None

    def _pairs(self, here: Place) -> list[tuple[Place, Place]]:
        """Return every link that one has or that leads to it, from and to."""
        out = [(here, place) for _, other in self.targets(here.tenant) if (place := self._place(other)) is not None]
        return [*out, *((place, here) for _, place in self.to(here.tenant))]

    def plan(self, tenant: Tenant, namespace: str, ends: Iterable[LiveEndpoint]) -> Plan:
        """Plan the way to and from a container that is about to have these attachments; its links are planned."""
        here, record = _here(tenant, namespace, ends), self._apart()
        if here is None or record is None:
            return ()
        pairs = self._pairs(here)
        opened = _opened(pairs)
        if not opened:
            return ()
        pool = pool_of(record, 4)
        by = pool.gateway if pool else ""
        routes = dict.fromkeys(
            AddRoute(one.namespace, one.end.link, f"{other.end.ipv4}/32", by)
            for pair in pairs
            for one, other in (pair, pair[::-1])
        )
        rules = NftTransaction(ruleset.link(self._table, opened), ruleset.unlink(self._table, opened))
        return (
            *(Planned(route, f"{tenant.name} and a container linked with it meet at the host") for route in routes),
            Planned(rules, f"links of {tenant.name} let {len(opened)} ports through"),
        )

    def plan_end(self, tenant: Tenant, namespace: str, ends: Iterable[LiveEndpoint]) -> Plan:
        """Plan the end of that, for a container that goes: its own routes go with its link."""
        here, record = _here(tenant, namespace, ends), self._apart()
        pairs = self._pairs(here) if here is not None and record is not None else []
        opened = _opened(pairs)
        if here is None or not opened:
            return ()
        pool = pool_of(record, 4) if record else None
        by = pool.gateway if pool else ""
        others = {one.namespace: one for pair in pairs for one in pair if one.namespace != namespace}
        routes = [ForgetRoute(one.namespace, one.end.link, f"{here.end.ipv4}/32", by) for one in others.values()]
        rules = NftTransaction(ruleset.unlink(self._table, opened), ruleset.link(self._table, opened))
        return (
            Planned(rules, f"links of {tenant.name} end"),
            *(Planned(route, f"{tenant.name} is linked no more") for route in routes),
        )

    def opened(self, alive: Iterable[str]) -> list[Hole]:
        """Return everything that links let through between containers that run."""
        if self._apart() is None:
            return []
        running = set(alive)
        places = [self._place(self._wanted.of(ident)) for ident in self._attached() if ident in running]
        return _opened(
            (here, there)
            for here in places
            if here is not None
            for _, target in self.targets(here.tenant)
            if target.container_id in running and (there := self._place(target)) is not None
        )


def _here(tenant: Tenant, namespace: str, ends: Iterable[LiveEndpoint]) -> Place | None:
    end = next((one for one in ends if one.network_name == DEFAULT and one.host_link and one.ipv4), None)
    return Place(tenant, namespace, end) if end is not None and namespace else None


def _opened(pairs: Iterable[tuple[Place, Place]]) -> list[Hole]:
    return sorted({hole for source, target in pairs for hole in holes(source, target)})
