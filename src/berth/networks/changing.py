"""A running container's attachments change: one more, one less, other limits; each of them whole or not at all.

The caller holds the container's lock (when the engine starts, nobody else is there), has checked what is asked for,
and keeps what the container wants. Must not: open or close a container, or write what it wants.
"""

import functools
import logging
from collections.abc import Awaitable
from typing import Protocol

import msgspec

from berth.base.aio import in_thread, together
from berth.kernel import link, sublink
from berth.networks import mending, sandboxes
from berth.networks.advertising import Advertising
from berth.networks.container_files import ContainerFiles
from berth.networks.errors import HostNetworkFixed
from berth.networks.foreign import Foreign
from berth.networks.leases import Leases
from berth.networks.limits import plan_shape
from berth.networks.linking import Linking
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Published, Shape, Tenant
from berth.networks.naming import Naming
from berth.networks.ports.publishing import Publishing, publisher
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.networks.reserving import Reserving
from berth.networks.routing import plan_routes
from berth.networks.settling import settled
from berth.networks.telling import Telling
from berth.plan.model import Plan, Step
from berth.plan.run import Runner
from berth.store.base import First, Records
from berth.wire.networks import EndpointSettings

log = logging.getLogger(__name__)


class Keep(Protocol):
    """Writes down what a container wants from now on, after `first` was done in the same thread.

    Nothing but the name server, which is told all anew after a kill, and the attachment's own record comes after.
    """

    def __call__(self, *, first: First | None = None) -> Awaitable[None]:
        """Write it."""
        ...


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
        linking: Linking,
        advertising: Advertising,
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
        self._linking = linking
        self._advertising = advertising
        self._reaper = reaper
        self._telling = telling

    async def connect(
        self,
        tenant: Tenant,
        live: LiveSandbox,
        record: NetworkRecord,
        settings: EndpointSettings,
        keep: Keep,
    ) -> None:
        """Give a container one more attachment; `tenant` wants it already."""
        if not live.netns_path:
            raise HostNetworkFixed
        end = await self._reserving.reserve(tenant, record, settings, live.endpoints)
        now, undo, sockets = live, None, None
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
            now = msgspec.structs.replace(live, endpoints=ends, has_dns=live.has_dns or resolver)
            if not live.published and not publisher(live.endpoints):
                now = msgspec.structs.replace(now, published=self._reserving.claim_ports(tenant, ends))
            plan += self._publishing.plan_move(_leads(live), _leads(now))
            plan += self._linking.plan(tenant, live.netns_path, [end])
            await self.mark(live)
            sockets, undo = await in_thread(
                sandboxes.prepare, self._runner, plan, live.netns_path, {}, resolver=resolver
            )
            await self._note(now)
            await self._publishing.move_proxy(_leads(live), _leads(now))
            given, sockets = sockets, None
            await together(
                keep(first=functools.partial(self._files.add, tenant, end, resolver=resolver)),
                self._advertising.tell(now, [end]),
                self._naming.extend(tenant, now, end, given),
            )
            await self._live.put(tenant.container_id, now)
        except BaseException:
            if sockets is not None:
                sandboxes.close_sockets(sockets)
            await self._take_back(tenant, live, now, end, undo)
            raise
        self._telling.connected(tenant.container_id, end)

    async def _take_back(
        self, tenant: Tenant, before: LiveSandbox, tried: LiveSandbox, end: LiveEndpoint, undo: tuple[Step, ...] | None
    ) -> None:
        """Take back a new attachment that was not had whole: what was reserved, and what was done if its plan was."""
        what = f"container {tenant.name} did not join network {end.network_name}"
        if undo is not None:
            await settled(what, (
                in_thread(self._runner.apply_all, undo),
                self._publishing.move_proxy(_leads(tried), _leads(before)),
                in_thread(self._files.drop, tenant, end, resolver=tried.has_dns and not before.has_dns),
                self._unname(tenant, before, tried, end),
            ))  # fmt: skip
        if tried.published is not before.published:
            self._publishing.release(tried.published)
        await settled(what, (self._foreign.part(before.netns_path, [end]), self._leases.give_up(tenant, [end])))
        self._register.detach(tenant.container_id, end)
        await self._live.put(tenant.container_id, before)

    async def _unname(self, tenant: Tenant, before: LiveSandbox, tried: LiveSandbox, end: LiveEndpoint) -> None:
        if before.has_dns:
            await self._naming.withdraw(tenant, before, end)
        else:
            await self._naming.forget(tried)

    async def disconnect(self, tenant: Tenant, live: LiveSandbox, end: LiveEndpoint, keep: Keep) -> None:
        """Take an attachment away; what led through it leads another way, if there is one.

        All is written down before the kernel is asked, so that a record which cannot be written keeps the attachment.
        The caller takes back what `keep` has written if this fails.
        """
        left = tuple(one for one in live.endpoints if one is not end)
        published = live.published if publisher(left) else ()
        now = msgspec.structs.replace(live, endpoints=left, published=published)
        plan = self._publishing.plan_move(_leads(live), (left, live.published))
        plan += plan_routes(live.netns_path, live.endpoints, left)
        plan += self._linking.plan_end(tenant, live.netns_path, [end])
        try:
            await self.mark(live)
            await keep()
            await self._note(msgspec.structs.replace(now, leaving=(end,)))
            await self._leases.release(live.netns_path, [end])
            await in_thread(self._leave, plan, live.netns_path, end)
        except BaseException:
            await self._live.put(live.container_id, live)
            raise
        self._reaper.put(links=1)
        if not published:
            self._publishing.release(live.published)
        self._register.detach(tenant.container_id, end)
        await settled(f"container {tenant.name} left network {end.network_name}", (
            self._foreign.part(live.netns_path, [end]),
            self._publishing.move_proxy(_leads(live), _leads(now)),
            in_thread(self._files.drop, tenant, end),
            self._naming.withdraw(tenant, now, end),
            self._live.put(tenant.container_id, now),
        ))  # fmt: skip
        self._telling.disconnected(tenant.container_id, end)

    def _leave(self, plan: Plan, namespace: str, end: LiveEndpoint) -> None:
        undo = self._runner.run_blocking(plan)
        try:
            if end.host_link:
                link.take_out(namespace, end.link)
                link.retire([end.host_link], self._reaper.group)
            elif end.link and not end.source:
                sublink.delete_inside(namespace, end.link)
        except BaseException:
            self._runner.apply_all(undo)
            raise

    async def shape(self, live: LiveSandbox, end: LiveEndpoint, shape: Shape, keep: Keep) -> None:
        """Give an attachment other limits. The caller takes back what `keep` has written if this fails."""
        shaped = msgspec.structs.replace(end, shape=shape)
        ends = tuple(shaped if one is end else one for one in live.endpoints)
        undo: tuple[Step, ...] = ()
        try:
            await self.mark(live)
            undo = await self._runner.run(plan_shape(live.netns_path, end, end.shape, shape))
            await keep()
            await self._live.put(live.container_id, msgspec.structs.replace(live, endpoints=ends))
        except BaseException:
            await in_thread(self._runner.apply_all, undo)
            await self._live.put(live.container_id, live)
            raise
        self._register.attach(live.container_id, shaped)

    async def mark(self, live: LiveSandbox) -> None:
        """Note that a container's attachments are about to change, for a daemon that finds only half of it done."""
        on_record = self._live.get(live.container_id) or live  # what a plugin is asked for is noted there already
        await self._note(msgspec.structs.replace(on_record, leaving=()))

    async def _note(self, live: LiveSandbox) -> None:
        await self._live.put(live.container_id, msgspec.structs.replace(live, changing=True))

    # -- what an engine that was killed left half done

    async def mend(self, tenant: Tenant, live: LiveSandbox) -> set[str]:
        """Make attachments whole that are marked as changing; return the names of the networks there are then."""
        mended = await in_thread(mending.mend, self._runner, live, tenant)
        left = {end.endpoint_id for end in mended.endpoints}
        gone = [end for end in live.endpoints if end.endpoint_id not in left]
        for end in gone:
            self._register.detach(live.container_id, end)
        gone += live.leaving
        await self._foreign.part(live.netns_path, gone)
        for end in gone:
            await in_thread(self._files.drop, tenant, end)
        for end in mended.endpoints:
            self._register.attach(live.container_id, end)
        await self._live.put(live.container_id, mended)
        return {end.network_name for end in mended.endpoints}

    async def abandon(self, live: LiveSandbox) -> None:
        """End what a plugin was being asked for when the engine was killed."""
        pending = [end for end in live.endpoints if end.pending]
        await self._foreign.part(live.netns_path, pending)
        for end in pending:
            self._register.detach(live.container_id, end)
        left = tuple(end for end in live.endpoints if not end.pending)
        await self._live.put(live.container_id, msgspec.structs.replace(live, endpoints=left))


def _leads(live: LiveSandbox) -> tuple[tuple[LiveEndpoint, ...], tuple[Published, ...]]:
    """Return what decides where published ports lead."""
    return live.endpoints, live.published
