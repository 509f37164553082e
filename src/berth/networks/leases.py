"""Containers' addresses from DHCP servers: asked for at start, kept while it runs, given back at the end.

A lease is asked for before a container's link is made, on a link like it in a namespace that is thrown away: so the
address is there like any other when the start is planned. What runs and when to ask again is read from the records each
time, so nothing is lost when the engine starts again. Must not: change anything of a container but its lease.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from ipaddress import IPv4Address
from typing import Final, NamedTuple

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import EngineError
from berth.base.ids import new_id, short
from berth.base.paths import Layout
from berth.networks.drivers.base import Way
from berth.networks.drivers.registry import driver_of
from berth.networks.errors import BadOption
from berth.networks.ipam.dhcp.client import Identity, Line, NoLease, identity, line, stable_mac
from berth.networks.model import Lease, LiveEndpoint, LiveSandbox, NetworkRecord, Tenant, veth_name
from berth.networks.options import BRIDGE_NAME
from berth.networks.planning import gateway_endpoint
from berth.networks.ports.publishing import Publishing
from berth.networks.register import Register
from berth.networks.routing import plan_replies
from berth.plan.model import Plan, Planned, Step
from berth.plan.run import Runner
from berth.plan.steps.address import SwapAddress
from berth.plan.steps.netns import MakeNamespace
from berth.store.base import Records
from berth.wire.networks import EndpointSettings

log = logging.getLogger(__name__)

#: Shortest time between two attempts to keep a lease, seconds (RFC 2131, section 4.4.5).
LEAST_PAUSE_S: Final = 60.0
#: The same when it has ended: the container has no valid address meanwhile.
LOST_PAUSE_S: Final = 10.0
#: Longest wait without a look at the records, seconds.
LOOK_AGAIN_S: Final = 3600.0
#: Name of the link a lease is asked on before the container has one.
ASKING: Final = "eth0"


class Keeping(NamedTuple):
    """What a changed lease has to do with the rest of a container's networks."""

    register: Register
    publishing: Publishing
    #: By container id.
    locks: KeyedLocks
    #: Called when an address has changed: sandbox before and after, attachment before and after.
    moved: Callable[[LiveSandbox, LiveSandbox, LiveEndpoint, LiveEndpoint], Awaitable[None]]


class Leased:
    """An address a server has given; takes the register's place when addresses are given out."""

    def __init__(self, lease: Lease) -> None:
        """Hold a lease."""
        self.lease = lease
        self.found = {4: (lease.address, lease.prefix)}

    def take(self, record: NetworkRecord, version: int, container_id: str, wanted: str) -> tuple[str, int, str]:  # noqa: ARG002
        """Return the address, its prefix length and the router; see `Register.take`."""
        return (self.lease.address, self.lease.prefix, self.lease.router) if version == 4 else ("", 0, "")


class Leases:
    """Every lease of every running container."""

    def __init__(
        self, layout: Layout, live: Records[LiveSandbox], runner: Runner, clock: Clock, keeping: Keeping
    ) -> None:
        self._layout = layout
        self._live = live
        self._runner = runner
        self._clock = clock
        self._keeping = keeping
        #: Attachment → when to ask again, where that is not as the lease says.
        self._again_ns: dict[str, int] = {}
        self._stirred = asyncio.Event()

    # -- starting and ending

    def mac(self, tenant: Tenant, record: NetworkRecord, settings: EndpointSettings) -> str:
        """Return the MAC an attachment will have, empty where links share their parent's."""
        if not driver_of(record).own_mac(record):
            return ""
        made = settings.mac_address or stable_mac(record.id, tenant.name)
        return made.lower().replace("-", ":")

    async def obtain(self, tenant: Tenant, record: NetworkRecord, settings: EndpointSettings) -> Leased:
        """Get an address for an attachment that is to be made. Raises `NoLease`."""
        wanted = (settings.ipam_config.ipv4_address or "") if settings.ipam_config else ""
        try:
            async with self._asking(tenant, record, self.mac(tenant, record, settings)) as ours:
                lease = await ours.obtain(wanted, self._clock.now_ns)
                if wanted and lease.address != str(IPv4Address(wanted)):
                    await ours.release(lease)
                    raise NoLease(f"the DHCP server gives {lease.address}, not {wanted} as asked for")
        except NoLease as exc:
            raise NoLease(f"network {record.name}: {exc}") from exc
        self._stirred.set()
        return Leased(lease)

    @contextlib.asynccontextmanager
    async def _asking(self, tenant: Tenant, record: NetworkRecord, mac: str) -> AsyncIterator[Line]:
        """Lend a link like the one the container will have, in a namespace of its own; both go again."""
        who = identity(record.id, tenant.name, tenant.hostname, mac)
        driver, ident = driver_of(record), new_id()
        namespace = str(self._layout.namespaces / short(ident))
        near = veth_name(self._layout, ident) if driver.traits.near_end else ""
        end = LiveEndpoint(record.id, record.name, ident, host_link=near, link=ASKING, mac=mac)
        why = f"ask the DHCP server of network {record.name}"
        plan = (
            Planned(MakeNamespace(namespace), why),
            *driver.plan_endpoint(record, namespace, end, way_out=(), hairpin=False),
        )
        undo = await self._runner.run(plan)
        try:
            async with line(namespace, ASKING, who) as ours:
                yield ours
        finally:
            await finish(in_thread(self._runner.apply_all, undo))

    async def release(self, namespace: str, ends: Iterable[LiveEndpoint]) -> None:
        """Give attachments' leases back while their links are still there; what fails is logged."""
        for end in ends:
            self._again_ns.pop(end.endpoint_id, None)
            if end.lease is not None:
                try:
                    async with line(namespace, end.link, _who(end.lease)) as ours:
                        await ours.release(end.lease)
                except (EngineError, OSError) as exc:
                    log.warning("lease of %s on network %s not given back: %s", end.ipv4, end.network_name, exc)

    async def give_up(self, tenant: Tenant, ends: Iterable[LiveEndpoint]) -> None:
        """Give leases back that were for attachments which could not be made."""
        for end in ends:
            record = self._keeping.register.by_id(end.network_id)
            if end.lease is not None and record is not None:
                await self._return(tenant, record, end.mac, end.lease)

    async def decline(self, tenant: Tenant, record: NetworkRecord, settings: EndpointSettings, leased: Leased) -> None:
        """Give a lease back that no attachment was reserved with after all."""
        await self._return(tenant, record, self.mac(tenant, record, settings), leased.lease)

    async def _return(self, tenant: Tenant, record: NetworkRecord, mac: str, lease: Lease) -> None:
        """Give a lease back that no link is there for."""
        try:
            async with self._asking(tenant, record, mac) as ours:
                await ours.release(lease)
        except (EngineError, OSError) as exc:
            log.warning("lease of %s on network %s not given back: %s", lease.address, record.name, exc)

    # -- keeping

    def stir(self) -> None:
        """Look at the records again."""
        self._stirred.set()

    async def keep(self) -> None:
        """Renew leases when it is time, for ever; run under `supervise`."""
        while True:
            self._stirred.clear()
            now = self._clock.now_ns()
            due = [(live, end) for live, end in self._held() if self._due_ns(end) <= now]
            await asyncio.gather(*(self._keep_one(live, end) for live, end in due))
            now = self._clock.now_ns()
            ahead = min((self._due_ns(end) for _, end in self._held()), default=now + int(LOOK_AGAIN_S * 1e9))
            try:
                async with asyncio.timeout(min(max((ahead - now) / 1e9, 0.0), LOOK_AGAIN_S)):
                    await self._stirred.wait()
            except TimeoutError:
                pass

    def _held(self) -> list[tuple[LiveSandbox, LiveEndpoint]]:
        return [
            (live, end)
            for live in self._live.all()
            for end in live.endpoints
            if end.lease is not None and end.lease.seconds
        ]

    def _due_ns(self, end: LiveEndpoint) -> int:
        lease = end.lease
        if lease is None:
            return 0
        return self._again_ns.get(end.endpoint_id, lease.obtained_ns + lease.renewal * 1_000_000_000)

    async def _keep_one(self, live: LiveSandbox, end: LiveEndpoint) -> None:
        lease, name = end.lease, f"{end.ipv4} on network {end.network_name}"
        if lease is None:
            return
        age_s = (self._clock.now_ns() - lease.obtained_ns) / 1e9
        try:
            async with line(live.netns_path, end.link, _who(lease)) as ours:
                if age_s < lease.seconds:
                    fresh = await self._renewed(ours, lease, rebinding=age_s >= lease.rebinding)
                else:
                    log.warning("the lease of %s has ended: asking for another", name)
                    fresh = await ours.obtain(lease.address, self._clock.now_ns)
        except (EngineError, OSError) as exc:
            log.warning("lease of %s: %s", name, exc)
            fresh = None
        if fresh is None:
            self._again_ns[end.endpoint_id] = self._clock.now_ns() + int(_pause_s(lease, age_s) * 1e9)
            return
        self._again_ns.pop(end.endpoint_id, None)
        async with self._keeping.locks.hold(live.container_id):
            now = self._live.get(live.container_id)
            held = next((one for one in now.endpoints if one.endpoint_id == end.endpoint_id), None) if now else None
            if now is not None and held is not None:  # else it has left meanwhile, and given back what it had
                await finish(self._write_down(now, held, fresh))

    async def _write_down(self, live: LiveSandbox, end: LiveEndpoint, lease: Lease) -> None:
        """Keep a new lease; another address takes the place of the one before, everywhere."""
        gateway = lease.router if end.gateway4 else ""
        fresh = msgspec.structs.replace(end, lease=lease, ipv4=lease.address, prefix4=lease.prefix, gateway4=gateway)
        ends = tuple(fresh if one is end else one for one in live.endpoints)
        now = msgspec.structs.replace(live, endpoints=ends)
        moved = (fresh.ipv4, fresh.prefix4, fresh.gateway4) != (end.ipv4, end.prefix4, end.gateway4)
        undo: tuple[Step, ...] = ()
        try:
            if moved:
                # of an engine that is killed now, the next one makes the address the one on record
                await self._live.put(live.container_id, msgspec.structs.replace(live, changing=True))
                leads = self._keeping.publishing.plan_move((live.endpoints, live.published), (ends, live.published))
                undo = await self._runner.run((*plan_swap(live, end, now, fresh), *leads))
            await self._live.put(live.container_id, now)
        except BaseException:
            await in_thread(self._runner.apply_all, undo)
            await self._live.put(live.container_id, live)
            raise
        self._keeping.register.attach(live.container_id, fresh)
        if moved:
            log.warning(
                "a container's address is %s now, and was %s: its DHCP server wants it so", fresh.ipv4, end.ipv4
            )
            await self._keeping.moved(live, now, end, fresh)

    async def _renewed(self, ours: Line, lease: Lease, *, rebinding: bool) -> Lease | None:
        try:
            return await ours.renew(lease, self._clock.now_ns, rebinding=rebinding)
        except NoLease as exc:
            log.warning("%s: asking for another", exc)
            return await ours.obtain("", self._clock.now_ns)


def check_dhcp(record: NetworkRecord) -> None:
    """Refuse a network on which no DHCP server can be heard."""
    said = ""
    if record.driver == "bridge":
        if BRIDGE_NAME not in record.options:
            said = f"name a bridge that is there and leads to one with {BRIDGE_NAME}, or use macvlan with a parent"
    elif record.driver not in ("macvlan", "ipvlan"):
        said = f"a network of driver {record.driver} has none"
    elif not record.options.get("parent"):
        said = "name a parent that leads to one"
    elif driver_of(record).way(record.options, internal=False) is not Way.GATEWAY:
        said = "ipvlan hears one in mode l2 only"
    if said:
        raise BadOption(f"the dhcp ipam driver needs a network with a DHCP server: {said}")


def plan_swap(before: LiveSandbox, old: LiveEndpoint, after: LiveSandbox, new: LiveEndpoint) -> Plan:
    """Plan another IPv4 address for an attachment, with the routes that follow from it."""
    ways = (gateway_endpoint(before.endpoints, 4) is old, gateway_endpoint(after.endpoints, 4) is new)
    gateways = (old.gateway4 if ways[0] else "", new.gateway4 if ways[1] else "")
    step = SwapAddress(before.netns_path, old.link, f"{old.ipv4}/{old.prefix4}", f"{new.ipv4}/{new.prefix4}", gateways)
    replies = plan_replies(before.netns_path, before.endpoints, after.endpoints)
    return (Planned(step, f"another lease on network {old.network_name}"), *replies)


def _who(lease: Lease) -> Identity:
    return Identity(bytes.fromhex(lease.client_id), lease.hostname)


def _pause_s(lease: Lease, age_s: float) -> float:
    """Return how long to wait after silence: half of what is left (RFC 2131, section 4.4.5)."""
    if age_s >= lease.seconds:
        return LOST_PAUSE_S
    aim = lease.rebinding if age_s < lease.rebinding else lease.seconds
    left = lease.seconds - age_s
    return min(max((aim - age_s) / 2, LEAST_PAUSE_S), left)
