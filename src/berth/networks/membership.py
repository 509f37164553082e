"""Which networks a container is on, running or not: one more, one less, other limits; checked, done, written down.

It is the only writer of what containers want after their creation, but for their names and what networks' own changes
make of it. Must not: know how an attachment of a running container is made or taken away.
"""

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from berth.base.aio import KeyedLocks, finish
from berth.base.sharing import Sharing
from berth.networks import wants
from berth.networks.changing import Changing, Keep
from berth.networks.drivers.registry import driver_of
from berth.networks.endpoint_options import parse_endpoint
from berth.networks.errors import EndpointExists, HostNetworkFixed, Leaving, NetworkNotFound, NotConnected
from berth.networks.linking import Linking
from berth.networks.model import LiveSandbox, NetworkRecord, Tenant
from berth.networks.register import Register
from berth.store.base import First, Records
from berth.wire.networks import EndpointSettings


class Membership:
    """Containers on networks, one by one.

    What is running, and what a network is called, is looked up under the container's lock: it may be starting, and the
    network be renamed or removed, while a change waits for its turn.

    `sharing`, `locks` and `linking` are those of all who open and close them.
    """

    def __init__(
        self,
        *,
        tenants: Records[Tenant],
        live: Records[LiveSandbox],
        register: Register,
        changing: Changing,
        sharing: Sharing,
        locks: KeyedLocks,
        linking: Linking,
    ) -> None:
        self._tenants = tenants
        self._live = live
        self._register = register
        self._changing = changing
        self._sharing = sharing
        self._locks = locks
        self._linking = linking

    async def connect(self, ref: str, container_id: str, settings: EndpointSettings) -> None:
        """Put a container on one more network, at once if it runs."""
        async with self._sharing.shared(), self._locks.hold(container_id), self._linking.alone(container_id):
            record, tenant = self._register.find(ref), self._staying(container_id)
            wants.check_joinable(tenant, record)
            wants.check_endpoint(record, settings)
            live = self._running(container_id)
            if live is not None and live.on(record.id) is not None:
                raise EndpointExists(tenant.name, record.name)
            wanted = msgspec.structs.replace(settings, network_id=record.id, endpoint_id="")
            changed = msgspec.structs.replace(tenant, endpoints={**tenant.endpoints, record.name: wanted})
            wants.check_link_names(changed)
            self._register.expect(changed)
            keep = functools.partial(self._tenants.put, container_id, changed)
            try:
                if live is not None:
                    await finish(self._changing.connect(changed, live, record, wanted, keep))
                else:
                    await keep()
            except BaseException:
                self._register.unexpect(changed)
                self._register.expect(tenant)
                if self._tenants.get(container_id) is changed:
                    await self._tenants.put(container_id, tenant)
                raise

    async def shape(self, ref: str, container_id: str, limits: Mapping[str, str]) -> dict[str, str]:
        """Change limits of an attachment, at once if it runs; an empty text takes a limit away, others stay.

        Return its driver options, in which limits are kept.
        """
        async with self._sharing.shared(), self._locks.hold(container_id):
            record, tenant = self._register.find(ref), self._staying(container_id)
            live = self._running(container_id)
            settings = tenant.endpoints.get(record.name)
            if settings is None:
                raise NotConnected(container_id, record.name, running=False)
            options = {key: value for key, value in {**(settings.driver_opts or {}), **limits}.items() if value}
            shape = parse_endpoint(options).shape
            end = live.on(record.id) if live else None
            changed = msgspec.structs.replace(settings, driver_opts=options)
            endpoints = {**tenant.endpoints, record.name: changed}
            async with self._wanting(tenant, msgspec.structs.replace(tenant, endpoints=endpoints)) as keep:
                if live is not None and end is not None and end.link:
                    await finish(self._changing.shape(live, end, shape, keep))
                else:
                    await keep()
            return options

    async def disconnect(self, ref: str, container_id: str, *, force: bool) -> None:
        """Take a container off a network, at once if it runs; with `force` also off one that is gone."""
        async with self._sharing.shared(), self._locks.hold(container_id), self._linking.alone(container_id):
            record = self._found(ref, missing_ok=force)
            tenant, live = self._staying(container_id), self._running(container_id)
            name = record.name if record else ref
            end = live.on(record.id) if live and record else None
            if name not in tenant.endpoints and end is None:
                raise NotConnected(container_id, name, running=live is not None and record is not None)
            if live is not None and record is not None and driver_of(record).traits.on_host:
                raise HostNetworkFixed
            left = {key: value for key, value in tenant.endpoints.items() if key != name}
            async with self._wanting(tenant, msgspec.structs.replace(tenant, endpoints=left)) as keep:
                if live is not None and end is not None:
                    await finish(self._changing.disconnect(tenant, live, end, keep))
                else:
                    await keep()

    @asynccontextmanager
    async def _wanting(self, old: Tenant, new: Tenant) -> AsyncIterator[Keep]:
        """Lend what writes down that a container wants `new`; if the block fails it wants `old` again."""
        try:
            yield functools.partial(self.want, old, new)
        except BaseException:
            if self._tenants.get(new.container_id) is new:
                await self.want(new, old)
            raise

    def _found(self, ref: str, *, missing_ok: bool) -> NetworkRecord | None:
        try:
            return self._register.find(ref)
        except NetworkNotFound:
            if missing_ok:
                return None
            raise

    def _running(self, container_id: str) -> LiveSandbox | None:
        """Return what a container has; a change before this one that could not be noted as done is done."""
        live = self._live.get(container_id)
        return live and msgspec.structs.replace(live, changing=False, leaving=())

    def _staying(self, container_id: str) -> Tenant:
        """Return what a container wants that nobody has removed meanwhile."""
        tenant = self._tenants.get(container_id)
        if tenant is None:
            raise Leaving(container_id)
        return tenant

    async def want(self, old: Tenant, new: Tenant, *, first: First | None = None) -> None:
        """Write down what a container wants instead of what it wanted, after `first` was done in the same thread."""
        await self._tenants.put(new.container_id, new, first=first)
        self._register.unexpect(old)
        self._register.expect(new)
