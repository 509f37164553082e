"""A running container's attachments change: one more, one less, other limits; each of them whole or not at all.

The caller holds the container's lock (when the engine starts, nobody else is there), has checked what is asked for,
and keeps what the container wants. Must not: open or close a container, or write what it wants.
"""

from collections.abc import Awaitable

import msgspec

from berth.base.aio import in_thread
from berth.kernel import link, sublink
from berth.networks import mending, sandboxes
from berth.networks.container_files import ContainerFiles
from berth.networks.dns.model import Sockets
from berth.networks.errors import HostNetworkFixed
from berth.networks.foreign import Foreign
from berth.networks.leases import Leases
from berth.networks.limits import plan_shape
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Shape, Tenant
from berth.networks.naming import Naming
from berth.networks.ports.publishing import Publishing, publisher
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.networks.reserving import Reserving
from berth.networks.routing import plan_routes
from berth.networks.telling import Telling
from berth.plan.model import Plan
from berth.plan.run import Runner
from berth.store.base import Records
from berth.wire.networks import EndpointSettings


class Changing:
    """Changes what running containers have."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        live: Records[LiveSandbox],
        runner: Runner,
        register: Register,
        reserving: Reserving,
        publishing: Publishing,
        foreign: Foreign,
        leases: Leases,
        files: ContainerFiles,
        naming: Naming,
        reaper: Reaper,
        telling: Telling,
    ) -> None:
        self._live = live
        self._runner = runner
        self._register = register
        self._reserving = reserving
        self._publishing = publishing
        self._foreign = foreign
        self._leases = leases
        self._files = files
        self._naming = naming
        self._reaper = reaper
        self._telling = telling

    async def connect(
        self, tenant: Tenant, live: LiveSandbox, record: NetworkRecord, settings: EndpointSettings
    ) -> None:
        """Give a container one more attachment; `tenant` wants it already."""
        if not live.netns_path:
            raise HostNetworkFixed
        ident = tenant.container_id
        end = await self._reserving.reserve(tenant, record, settings, live.endpoints)
        sockets: Sockets | None = None
        published = live.published
        try:
            if end.pending:
                joined = [*live.endpoints, end]
                await self._reserving.join(tenant, live, joined)
                end = joined[-1]
            ends = (*live.endpoints, end)
            resolver = not live.has_dns and self._naming.is_for([end])
            # routes are steps of their own: undone, they lead where they led before
            plan = self._reserving.plan_end(tenant, live.netns_path, end, ())
            plan += plan_routes(live.netns_path, live.endpoints, ends)
            if not published and not publisher(live.endpoints):
                published = self._reserving.claim_ports(tenant, ends)
            plan += self._publishing.plan_move((live.endpoints, live.published), (ends, published))
            await self.mark(live)
            sockets = await in_thread(sandboxes.prepare, self._runner, plan, live.netns_path, {}, resolver=resolver)
        except BaseException:
            if published is not live.published:
                self._publishing.release(published)
            await self._foreign.part(live.netns_path, [end])
            await self._leases.give_up(tenant, [end])
            await self._live.put(ident, live)
            self._register.detach(ident, end)
            raise
        now = msgspec.structs.replace(live, endpoints=ends, published=published, has_dns=live.has_dns or resolver)
        await self._live.put(ident, now)
        await self._publishing.move_proxy((live.endpoints, live.published), (ends, published))
        await in_thread(self._files.add, tenant, end, resolver=resolver)
        if sockets is not None:
            await self._naming.serve(tenant, now, sockets)
        else:
            await self._naming.reconfigure(tenant, now)
            await self._naming.announce(tenant, end)
        self._telling.connected(ident, end)

    async def disconnect(self, tenant: Tenant, live: LiveSandbox, end: LiveEndpoint) -> None:
        """Take an attachment away; what led through it leads another way, if there is one."""
        left = tuple(one for one in live.endpoints if one is not end)
        plan = self._publishing.plan_move((live.endpoints, live.published), (left, live.published))
        plan += plan_routes(live.netns_path, live.endpoints, left)
        await self._leases.release(live.netns_path, [end])
        await self._marked(live, in_thread(self._leave, plan, live.netns_path, end))
        await self._foreign.part(live.netns_path, [end])
        self._reaper.put(links=1)
        published = live.published if publisher(left) else ()
        await self._publishing.move_proxy((live.endpoints, live.published), (left, published))
        if not published:
            self._publishing.release(live.published)
        self._register.detach(tenant.container_id, end)
        now = msgspec.structs.replace(live, endpoints=left, published=published)
        await self._live.put(tenant.container_id, now)
        await in_thread(self._files.drop, tenant, end)
        await self._naming.withdraw(tenant, now, end)
        self._telling.disconnected(tenant.container_id, end)

    def _leave(self, plan: Plan, namespace: str, end: LiveEndpoint) -> None:
        self._runner.run_blocking(plan)
        if end.host_link:
            link.take_out(namespace, end.link)
            link.retire([end.host_link], self._reaper.group)
        elif end.link and not end.source:
            sublink.delete_inside(namespace, end.link)

    async def shape(self, live: LiveSandbox, end: LiveEndpoint, shape: Shape) -> None:
        """Give an attachment other limits."""
        plan = plan_shape(live.netns_path, end, end.shape, shape)
        await self._marked(live, self._runner.run(plan))
        shaped = msgspec.structs.replace(end, shape=shape)
        self._register.attach(live.container_id, shaped)
        ends = tuple(shaped if one is end else one for one in live.endpoints)
        await self._live.put(live.container_id, msgspec.structs.replace(live, endpoints=ends))

    async def mark(self, live: LiveSandbox) -> None:
        """Note that a container's attachments are about to change, for a daemon that finds only half of it done."""
        on_record = self._live.get(live.container_id) or live  # what a plugin is asked for is noted there already
        await self._live.put(live.container_id, msgspec.structs.replace(on_record, changing=True))

    async def _marked(self, live: LiveSandbox, work: Awaitable[object]) -> None:
        await self.mark(live)
        try:
            await work
        except BaseException:
            await self._live.put(live.container_id, live)
            raise

    # -- what an engine that was killed left half done

    async def mend(self, live: LiveSandbox) -> None:
        """Make attachments whole that are marked as changing."""
        mended = await in_thread(mending.mend, self._runner, live)
        for end in live.endpoints:
            if end not in mended.endpoints:
                self._register.detach(live.container_id, end)
        await self._live.put(live.container_id, mended)

    async def abandon(self, live: LiveSandbox) -> None:
        """End what a plugin was being asked for when the engine was killed."""
        pending = [end for end in live.endpoints if end.pending]
        await self._foreign.part(live.netns_path, pending)
        for end in pending:
            self._register.detach(live.container_id, end)
        left = tuple(end for end in live.endpoints if not end.pending)
        await self._live.put(live.container_id, msgspec.structs.replace(live, endpoints=left))
