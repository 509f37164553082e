"""Ports, files and names follow attachments to other addresses and names, once the kernel has them.

Must not: change links, addresses or rules, or decide what is changed.
"""

from collections.abc import Iterable

from berth.base.aio import in_thread
from berth.kernel import conntrack
from berth.networks.container_files import ContainerFiles
from berth.networks.model import LiveEndpoint, LiveSandbox, Tenant
from berth.networks.naming import Naming
from berth.networks.ports.publishing import Publishing, publishers
from berth.networks.tenants import Tenants
from berth.store.base import Records


class Following:
    """What is to be done after a network or a lease has changed."""

    def __init__(
        self,
        *,
        tenants: Records[Tenant],
        live: Records[LiveSandbox],
        publishing: Publishing,
        files: ContainerFiles,
        naming: Naming,
    ) -> None:
        self._tenants = tenants
        self._wanted = Tenants(tenants)
        self._live = live
        self._publishing = publishing
        self._files = files
        self._naming = naming

    async def relet(self, before: LiveSandbox, after: LiveSandbox, old: LiveEndpoint, new: LiveEndpoint) -> None:
        """Follow an attachment to the address of another lease; the records have it already."""
        tenant = self._wanted.of(after.container_id)
        were, are = (before.endpoints, before.published), (after.endpoints, after.published)
        await self._publishing.move_proxy(were, are)
        await in_thread(self._files.move, tenant, old, new)
        await self._naming.announce(tenant, new)

    async def follow(
        self,
        tenants: Iterable[tuple[Tenant, Tenant]],
        lives: Iterable[tuple[Tenant, LiveSandbox, LiveSandbox]],
    ) -> None:
        """Take over what the change of a network, done in the kernel, has made of those who want or have it."""
        for was, now in tenants:
            if now != was:
                await self._tenants.put(now.container_id, now)
        for tenant, before, after in lives:
            await self._live.put(after.container_id, after)
            await self._publishing.move_proxy((before.endpoints, before.published), (after.endpoints, after.published))
            if before.published and not after.published:
                self._publishing.release(before.published)
            await in_thread(self._readdress, tenant, before, after)
            await self._naming.reconfigure(tenant, after)
            await self._naming.announce_all(tenant, after)

    def _readdress(self, tenant: Tenant, before: LiveSandbox, after: LiveSandbox) -> None:
        for was, now in zip(before.endpoints, after.endpoints, strict=True):
            if (was.ipv4, was.ipv6) != (now.ipv4, now.ipv6):
                self._files.move(tenant, was, now)
        if any(one.protocol == "udp" for one in before.published):
            ends = publishers(before.endpoints).items()
            conntrack.forget_datagrams([end.ipv4 if version == 4 else end.ipv6 for version, end in ends])
