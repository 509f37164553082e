"""Ports, files and names follow attachments to other addresses and names, once the kernel has them.

Must not: change links, addresses or rules, or decide what is changed.
"""

from collections.abc import Iterable

from berth.base.aio import in_thread
from berth.kernel import conntrack
from berth.networks.container_files import ContainerFiles
from berth.networks.linking import Linking, hosts_names
from berth.networks.model import DEFAULT, LiveEndpoint, LiveSandbox, Tenant
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
        linking: Linking,
    ) -> None:
        self._tenants = tenants
        self._wanted = Tenants(tenants)
        self._live = live
        self._publishing = publishing
        self._files = files
        self._naming = naming
        self._linking = linking

    async def relink(self, tenant: Tenant, live: LiveSandbox) -> None:
        """Tell those who are linked to a container that starts what its address is."""
        end = next((one for one in live.endpoints if one.network_name == DEFAULT and one.ipv4), None)
        if end is not None:
            for alias, other in self._linking.to(tenant):
                await in_thread(self._files.relink, other.tenant, hosts_names(alias, tenant), end.ipv4)

    async def relet(self, before: LiveSandbox, after: LiveSandbox, old: LiveEndpoint, new: LiveEndpoint) -> None:
        """Follow an attachment to the address of another lease; the records have it already."""
        tenant = self._wanted.of(after.container_id)
        were, are = (before.endpoints, before.published), (after.endpoints, after.published)
        await self._publishing.move_proxy(were, are)
        await in_thread(self._files.move, tenant, old, new)
        await self._naming.announce(tenant, new)

    async def write_down(
        self,
        tenants: Iterable[tuple[Tenant, Tenant]],
        lives: Iterable[tuple[LiveSandbox, LiveSandbox]],
        *,
        anew: bool = True,
    ) -> None:
        """Keep what the change of a network, done in the kernel, has made of those who want or have it.

        Unless `anew`, only of those who still are on record: containers that run end with the machine.
        """
        for was, wants in tenants:
            if wants != was and (anew or self._tenants.get(wants.container_id) is not None):
                await self._tenants.put(wants.container_id, wants)
        for _, after in lives:
            if anew or self._live.get(after.container_id) is not None:
                await self._live.put(after.container_id, after)

    async def write_back(
        self, tenants: Iterable[tuple[Tenant, Tenant]], lives: Iterable[tuple[LiveSandbox, LiveSandbox]]
    ) -> None:
        """Take back what was kept of a change that was not kept whole."""
        for was, wants in tenants:
            if wants != was and self._tenants.get(was.container_id) is wants:
                await self._tenants.put(was.container_id, was)
        for before, after in lives:
            if self._live.get(before.container_id) is after:
                await self._live.put(before.container_id, before)

    async def readdress(
        self, tenants: Iterable[tuple[Tenant, Tenant]], lives: Iterable[tuple[LiveSandbox, LiveSandbox]]
    ) -> None:
        """Have files and the kernel's memory follow to other addresses; may be repeated."""
        wants = {one.container_id: one for _, one in tenants}
        for before, after in lives:
            tenant = wants.get(after.container_id) or self._wanted.of(after.container_id)
            await in_thread(self._readdress, tenant, before, after)

    async def follow(self, lives: Iterable[tuple[Tenant, LiveSandbox, LiveSandbox]]) -> None:
        """Have ports and names follow; the records and files have it already."""
        for tenant, before, after in lives:
            await self._publishing.move_proxy((before.endpoints, before.published), (after.endpoints, after.published))
            if before.published and not after.published:
                self._publishing.release(before.published)
            await self._naming.reconfigure(tenant, after)
            await self._naming.announce_all(tenant, after)

    def _readdress(self, tenant: Tenant, before: LiveSandbox, after: LiveSandbox) -> None:
        for was, now in zip(before.endpoints, after.endpoints, strict=True):
            if (was.ipv4, was.ipv6) != (now.ipv4, now.ipv6):
                self._files.move(tenant, was, now)
        if any(one.protocol == "udp" for one in before.published):
            ends = publishers(before.endpoints).items()
            conntrack.forget_datagrams([end.ipv4 if version == 4 else end.ipv6 for version, end in ends])
