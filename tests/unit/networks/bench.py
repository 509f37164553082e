"""The containers' half of the networks service over a kernel that only notes what it is told to do."""

import os
from pathlib import Path
from typing import Any

from berth.base.clock import SystemClock
from berth.base.config import Config
from berth.base.errors import SystemFault
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.events.model import Event
from berth.networks.attachments import Attachments
from berth.networks.dns.model import NamedEndpoint, ServeConfig
from berth.networks.foreign import Foreign
from berth.networks.model import DEFAULT, LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Tenant, bridge_name
from berth.networks.ports.publishing import Publishing
from berth.networks.register import Register
from berth.plan.journal import Journal
from berth.plan.model import Step
from berth.plan.run import Runner
from berth.plugins.discovery import Places
from berth.plugins.rpc import Plugins
from berth.store.memory import MemoryRecords
from berth.wire.networks import EndpointSettings


class NotedKernel:
    """Does nothing, and remembers what."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fails_at = 0

    def apply(self, step: Step) -> Step | None:
        self.steps.append(step)
        if len(self.steps) == self.fails_at:
            raise SystemFault("made to fail")
        return None

    def undo_unfinished(self, step: Step) -> Step | None:
        del step
        return None


class ToldServer:
    """A name server that only listens."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.lost: set[str] = set()

    async def serve(self, config: ServeConfig, *fds: int) -> None:
        self.told.append(("serve", config))
        for fd in fds:
            os.close(fd)

    async def configure(self, config: ServeConfig) -> None:
        self.told.append(("configure", config))

    async def endpoint_up(self, named: NamedEndpoint) -> None:
        self.told.append(("up", named))

    async def endpoint_down(self, container_id: str, network_id: str) -> None:
        self.told.append(("down", container_id, network_id))

    async def forget(self, container_id: str) -> None:
        self.told.append(("forget", container_id))

    async def adopt(self, configs: list[ServeConfig], named: list[NamedEndpoint]) -> set[str]:
        self.told.append(("adopt", configs, named))
        return self.lost


class Bench:
    """Networks `bridge` (172.17.0.0/16), `red` (10.1.0.0/24, fd01::/64), `inner` (10.2.0.0/24, internal)."""

    def __init__(self, place: Path, server: ToldServer | None = None, **settings: Any) -> None:
        self.layout = Layout(place / "data", place / "exec")
        self.tenants: MemoryRecords[Tenant] = MemoryRecords()
        self.live: MemoryRecords[LiveSandbox] = MemoryRecords()
        self.kernel, self.register = NotedKernel(), Register()
        self.runner = Runner(self.kernel, Journal(self.layout.journal, Step))
        self.bus = Bus(SystemClock())
        self.events: list[Event] = []
        self.bus.on_event(self.events.append)
        self.add(DEFAULT, Pool("172.17.0.0/16", "172.17.0.1"))
        self.red = self.add("red", Pool("10.1.0.0/24", "10.1.0.1"), Pool("fd01::/64", "fd01::1"))
        self.inner = self.add("inner", Pool("10.2.0.0/24", "10.2.0.1"), internal=True)
        self.attachments = Attachments(
            layout=self.layout,
            tenants=self.tenants,
            live=self.live,
            last=MemoryRecords(),
            runner=self.runner,
            bus=self.bus,
            dns=server,  # type: ignore[arg-type]
            config=Config(**settings),
            register=self.register,
            publishing=Publishing(self.layout, None),
            foreign=Foreign(Plugins(Places((), ())), self.runner, self.register.by_id),
            clock=SystemClock(),
        )

    def add(self, name: str, *pools: Pool, **more: Any) -> NetworkRecord:
        ident = name[0] * 64
        six = any(":" in pool.subnet for pool in pools)
        bridge = more.pop("bridge", bridge_name(ident) if more.get("driver", "bridge") == "bridge" else "")
        more = {"driver": "bridge", **more}
        record = NetworkRecord(id=ident, name=name, created_ns=1, pools=pools, enable_ipv6=six, bridge=bridge, **more)
        self.register.add(record)
        return record

    async def runs(self, name: str, *networks: NetworkRecord, **wants: Any) -> tuple[Tenant, LiveSandbox]:
        """Have a container run on networks, as if it had been started there."""
        ident = name[0] * 64
        endpoints = wants.pop("endpoints", None) or {one.name: EndpointSettings() for one in networks}
        tenant = Tenant(ident, name, hostname=name, mode=networks[0].name, endpoints=endpoints, **wants)
        ends: list[LiveEndpoint] = []
        for record in networks:
            ends.append(await self.attachments._reserving.reserve(tenant, record, endpoints[record.name], ends))
        has_dns = self.attachments.naming.is_for(ends)
        live = LiveSandbox(ident, "s" * 64, f"/nowhere/{name}", tuple(ends), has_dns=has_dns)
        await self.tenants.put(ident, tenant)
        await self.live.put(ident, live)
        files = self.attachments._files.texts(tenant, ends, resolver=has_dns, on_host=False)
        self.layout.container(ident).mkdir(parents=True)
        for path, text in files.items():
            path.write_text(text)
        return tenant, live

    def file(self, tenant: Tenant, name: str) -> Path:
        return self.layout.container(tenant.container_id) / name
