"""Containers on networks: declared at create, opened at start, closed at exit, changed while they run.

The door to them: it holds each container's lock and, with its parts, is the only writer of tenants (what containers
want) and live sandboxes (what they have). What is slow and nobody waits for, the deletion of links and namespaces,
happens behind the answer. Must not: know what names, files, ports or addresses are made of; its parts do.
"""

from collections.abc import Awaitable, Iterable, Sequence

import msgspec

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread
from berth.base.clock import Clock
from berth.base.config import Config
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.base.sharing import Sharing
from berth.events.bus import Bus
from berth.networks import sandboxes, wants
from berth.networks.advertising import Advertising
from berth.networks.changing import Changing
from berth.networks.container_files import ContainerFiles
from berth.networks.dns.client import DnsClient
from berth.networks.drivers.registry import driver_of
from berth.networks.following import Following
from berth.networks.foreign import Foreign
from berth.networks.joining import Joining
from berth.networks.leases import Keeping, Leases
from berth.networks.linking import Linking
from berth.networks.membership import Membership
from berth.networks.model import (
    LastHeld,
    LiveEndpoint,
    LiveSandbox,
    NetworkRecord,
    Published,
    Sandbox,
    Tenant,
    retired_group,
)
from berth.networks.naming import Naming
from berth.networks.ports.publishing import Publishing, publishers
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.networks.reserving import Reserving
from berth.networks.routing import plan_replies
from berth.networks.settling import settled
from berth.networks.spare import SpareNamespace
from berth.networks.telling import Telling
from berth.networks.tenants import Tenants
from berth.plan.model import Plan
from berth.plan.run import Runner
from berth.store.base import Records


class Attachments:
    """The containers' half of the networks service."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        layout: Layout,
        tenants: Records[Tenant],
        live: Records[LiveSandbox],
        last: Records[LastHeld],
        runner: Runner,
        bus: Bus,
        dns: DnsClient | None,
        config: Config,
        register: Register,
        publishing: Publishing,
        foreign: Foreign,
        clock: Clock,
    ) -> None:
        self._tenants = tenants
        self._live = live
        self._last = last
        self._wanted = Tenants(tenants)
        self._runner = runner
        self._register = register
        self._locks = KeyedLocks()
        #: Who opens, closes or changes one container shares; who changes a network is alone.
        self.sharing = Sharing()
        self._publishing = publishing
        self._foreign = foreign
        self._files = ContainerFiles(layout, self._wanted, config, register)
        #: The containers' names, as the name server is told them.
        self.naming = Naming(
            layout=layout, tenants=self._wanted, live=live, dns=dns, config=config, register=register, files=self._files
        )
        #: Legacy links between containers on the default network.
        self.linking = Linking(layout, self._wanted, live, register)
        #: What comes after a change of a network.
        self.following = Following(
            tenants=tenants,
            live=live,
            publishing=publishing,
            files=self._files,
            naming=self.naming,
            linking=self.linking,
        )
        self._tasks = Tasks()
        self.spare = SpareNamespace(layout.namespaces, self._tasks)
        #: Addresses from DHCP servers.
        self.leases = Leases(
            layout, live, runner, clock, Keeping(register, publishing, self._locks, self.following.relet)
        )
        self._reserving = Reserving(
            layout=layout,
            live=live,
            register=register,
            publishing=publishing,
            foreign=foreign,
            leases=self.leases,
            linking=self.linking,
        )
        self.reaper = Reaper(self._tasks, retired_group(layout))
        self._joining = Joining(layout, tenants, live, self.reaper, self._locks, self._wanted.find)
        #: Tells neighbours of containers that have just come.
        self.advertising = Advertising(live, register)
        #: Tells what becomes of networks and of containers on them.
        self.telling = Telling(bus, register)
        self._changing = Changing(
            live=live,
            runner=runner,
            register=register,
            reserving=self._reserving,
            publishing=publishing,
            foreign=foreign,
            leases=self.leases,
            files=self._files,
            naming=self.naming,
            linking=self.linking,
            advertising=self.advertising,
            reaper=self.reaper,
            telling=self.telling,
        )
        #: Which networks containers are on, one by one.
        self.membership = Membership(
            tenants=tenants,
            live=live,
            register=register,
            changing=self._changing,
            sharing=self.sharing,
            locks=self._locks,
            linking=self.linking,
        )

    # -- wanting

    def tenant(self, container_id: str) -> Tenant:
        """Return what a container wants; one never declared wants nothing."""
        return self._wanted.of(container_id)

    async def declare(self, tenant: Tenant) -> None:
        """Check everything a container wants and keep it; nothing happens in the kernel."""
        async with self.sharing.shared():
            tenant = wants.normalised(tenant, self._register)
            wants.check(tenant, self._register)
            if tenant.mode.startswith("container:") and (owner := self._wanted.find(tenant.mode.partition(":")[2])):
                tenant = msgspec.structs.replace(tenant, joins=owner.name)
            old = self._tenants.get(tenant.container_id)
            if old is not None:
                self._register.unexpect(old)
            self._register.expect(tenant)
            await self._tenants.put(tenant.container_id, tenant)

    async def forget(self, container_id: str) -> None:
        """Drop what a container wants; it has been closed."""
        await self.close(container_id)
        tenant = self._tenants.get(container_id)
        if tenant is not None:
            self._register.forget(tenant)
            await self._last.drop(container_id)
            await self._tenants.drop(container_id)

    async def renamed(self, container_id: str, new_name: str) -> None:
        """Take over a container's new name."""
        async with self.sharing.shared(), self._locks.hold(container_id):
            old = self._tenants.get(container_id)
            if old is None:
                return
            tenant = msgspec.structs.replace(old, name=new_name)
            await self._tenants.put(container_id, tenant)
            await self._joining.hand_over(tenant, self._joining.joined(container_id))
            live = self._live.get(container_id)
            if live is not None:
                await self.naming.announce_all(tenant, live)

    # -- opening

    async def open(self, container_id: str) -> Sandbox:
        """Give a container its namespace, links, addresses, ports, names and files; all or nothing."""
        async with self.sharing.shared(), self._locks.hold(container_id), self.linking.alone(container_id):
            tenant = self.tenant(container_id)
            self.reaper.stir()
            if self._live.get(container_id) is not None:
                await self._close(container_id)
            if tenant.mode.startswith("container:"):
                return await self._share(tenant)
            self.linking.check(tenant)
            kept = self._joining.waiting_for(tenant)
            with self._joining.held(kept[0].netns_path if kept else ""):
                return await finish(self._open(tenant, kept))

    async def _share(self, tenant: Tenant) -> Sandbox:
        namespace, owner = await self._joining.join(tenant)
        return Sandbox(namespace or None, self._files.paths(owner))

    async def _open(self, tenant: Tenant, kept: Sequence[LiveSandbox]) -> Sandbox:
        """Open a container, in the namespace that others (`kept`) are left in if there are any."""
        ident = tenant.container_id
        wanted = self._reserving.wanted(tenant)
        on_host = any(driver_of(record).traits.on_host for record, _ in wanted)
        kept = () if on_host else kept
        ends: list[LiveEndpoint] = []
        published: tuple[Published, ...] = ()
        sandbox_id, namespace = new_id(), ""
        plan: Plan = ()
        try:
            for record, settings in wanted:
                ends.append(await self._reserving.reserve(tenant, record, settings, ends))
            if kept:
                sandbox_id, namespace = kept[0].sandbox_id, kept[0].netns_path
            elif not on_host:
                sandbox_id, taken = self.spare.take(f"namespace of container {tenant.name}")
                namespace, plan = self.spare.path(sandbox_id), (taken,)
            if self._foreign.concerns(ends):
                await self._runner.run(plan)
                plan = ()
                await self._reserving.join(tenant, LiveSandbox(ident, sandbox_id, namespace), ends)
            published = self._reserving.claim_ports(tenant, ends)
            resolver = self.naming.is_for(ends)
            files = self._files.texts(tenant, ends, resolver=resolver, on_host=on_host)
            if namespace:
                plan += self._reserving.plan(tenant, namespace, ends, published)
            if kept:
                await self._joining.take_files(ident, kept)
            sockets, _ = await in_thread(sandboxes.prepare, self._runner, plan, namespace, files, resolver=resolver)
        except BaseException:
            back: list[Awaitable[object]] = [self._foreign.part(namespace, ends), self.leases.give_up(tenant, ends)]
            if self._live.get(ident) is not None:
                back.append(self._live.drop(ident))
            await settled(f"container {tenant.name} did not start", back)
            self._reserving.give_back(ident, ends, published)
            if not kept:
                self.reaper.put(namespaces=[namespace])
            raise
        live = LiveSandbox(ident, sandbox_id, namespace, tuple(ends), published, has_dns=resolver)
        try:
            await self._live.put(ident, live)
            await self._joining.hand_over(tenant, [one for one in kept if one.shared_with != ident])
            await self._publishing.open_proxy(ends, published)
            await self.following.relink(tenant, live)
            if sockets is not None:
                await self.naming.serve(tenant, live, sockets)
        except BaseException:
            await self._take_away(live)
            raise
        await self.advertising.tell(live, live.endpoints)
        return self._opened(tenant, live)

    def _opened(self, tenant: Tenant, live: LiveSandbox) -> Sandbox:
        for one in live.endpoints:
            self.telling.connected(live.container_id, one)
        if live.netns_path:
            self.spare.refill()
        paths = self._files.paths(live.container_id)
        return Sandbox(live.netns_path or None, paths, self.linking.of(tenant))

    # -- closing

    async def close(self, container_id: str) -> None:
        """Take away what `open` gave; may be repeated. Links and namespace go behind the answer."""
        async with self.sharing.shared(), self._locks.hold(container_id), self.linking.alone(container_id):
            await finish(self._close(container_id))

    async def _close(self, container_id: str) -> None:
        live = self._live.get(container_id)
        if live is None:
            return
        if live.shared_with:
            await self._live.drop(container_id)
            self._joining.let_go(live.netns_path)
            return
        await self._take_away(live)

    async def _take_away(self, live: LiveSandbox) -> None:
        """Take away all that a container has of its own, whether it is on record or not."""
        ident = live.container_id
        await self.leases.release(live.netns_path, live.endpoints)
        links = tuple(end.host_link for end in live.endpoints if end.host_link)
        commands = self._publishing.withdrawal(live.endpoints, live.published)
        if links or commands:
            datagrams = any(one.protocol == "udp" for one in live.published)
            ends = publishers(live.endpoints).items() if datagrams else ()
            addresses = [end.ipv4 if version == 4 else end.ipv6 for version, end in ends]
            await in_thread(sandboxes.cut_off, links, self.reaper.group, commands, addresses)
        if unlinking := self.linking.plan_end(self.tenant(ident), live.netns_path, live.endpoints):
            await in_thread(sandboxes.vacate, self._runner, unlinking, live.netns_path, ())
        inside = [end.link for end in live.endpoints if end.link and not end.host_link and not end.source]
        if inside:  # now, not with the namespace: a parent may be for one link only, and a MAC for one in the network
            await in_thread(sandboxes.delete_inside, live.netns_path, inside)
        if self._joining.left_by(live):
            plan = plan_replies(live.netns_path, live.endpoints, ())
            near = [end.link for end in live.endpoints if end.host_link]
            await in_thread(sandboxes.vacate, self._runner, plan, live.netns_path, near)
        what = f"container {self.tenant(ident).name} ended"
        await settled(what, (
            self._publishing.close_proxy(live.endpoints, live.published),
            self._foreign.part(live.netns_path, live.endpoints),
        ))  # fmt: skip
        self._reserving.give_back(ident, live.endpoints, live.published)
        await settled(what, (self._remember(live),))
        await self._live.drop(ident)
        await settled(what, (self.naming.forget(live),))
        self.reaper.put(links=len(links))
        self._joining.let_go(live.netns_path)
        for end in live.endpoints:
            self.telling.disconnected(ident, end)

    async def _remember(self, live: LiveSandbox) -> None:
        """Keep what addresses a container had, for its next start under another daemon; written only if they differ."""
        ident = live.container_id
        held = {end.network_id: tuple(filter(None, (end.ipv4, end.ipv6))) for end in live.endpoints}
        last = LastHeld(ident, {network: addresses for network, addresses in held.items() if addresses})
        if last.addresses and last != self._last.get(ident):
            await self._last.put(ident, last)

    # -- while a network changes

    def tenants_on(self, record: NetworkRecord) -> list[Tenant]:
        """Return everything that wants a network, running or not."""
        return [one for one in self._tenants.all() if record.name in one.endpoints or one.mode == record.name]

    def lives(self) -> list[LiveSandbox]:
        """Return what every running container has."""
        return self._live.all()

    def claim_ports(self, tenant: Tenant, ends: Iterable[LiveEndpoint]) -> tuple[Published, ...]:
        """Hold the ports a container wants, now that something leads to it."""
        return self._reserving.claim_ports(tenant, ends)

    def release_ports(self, live: LiveSandbox) -> None:
        """Give them back."""
        self._publishing.release(live.published)

    # -- starting again

    async def mend(self, alive: set[str]) -> None:
        """Make attachments whole that were changing when an engine was killed; before rules are made of records."""
        for live in self._live.all():
            if not live.changing or live.container_id not in alive:
                continue
            tenant = self.tenant(live.container_id)
            had = await self._changing.mend(tenant, live)
            wanted = {name: one for name, one in tenant.endpoints.items() if name in had}
            if wanted != tenant.endpoints:  # what is gone went because it was asked to
                await self.membership.want(tenant, msgspec.structs.replace(tenant, endpoints=wanted))

    async def adopt(self, alive: set[str]) -> None:
        """Take over running containers' ports and names; close those that do not run."""
        for live in self._live.all():
            if live.container_id not in alive:
                await self.close(live.container_id)
            elif any(end.pending for end in live.endpoints):
                await self._changing.abandon(live)
        kept = {live.container_id: (self.tenant(live.container_id), live) for live in self._live.all()}
        await self._publishing.adopt(kept)
        await self.naming.adopt()
