"""The only place that constructs everything and knows every concrete class. Must not: decide anything."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth.api.handlers import commit as commit_routes
from berth.api.handlers import container_mounts as container_mount_routes
from berth.api.handlers import containers as container_routes
from berth.api.handlers import explain as explain_routes
from berth.api.handlers import firewall as firewall_routes
from berth.api.handlers import images as image_routes
from berth.api.handlers import names as name_routes
from berth.api.handlers import networks as network_routes
from berth.api.handlers import not_offered as other_routes
from berth.api.handlers import pruning as pruning_routes
from berth.api.handlers import streams as stream_routes
from berth.api.handlers import system as system_routes
from berth.api.handlers import volume_backups as volume_backup_routes
from berth.api.handlers import volume_copies as volume_copy_routes
from berth.api.handlers import volume_files as volume_file_routes
from berth.api.handlers import volume_life as volume_life_routes
from berth.api.handlers import volume_sizes as volume_size_routes
from berth.api.handlers import volumes as volume_routes
from berth.api.routes import Route
from berth.base.aio import Tasks, supervise
from berth.base.clock import SystemClock
from berth.base.config import Config
from berth.containers.announce import announcer
from berth.containers.archive import Archives
from berth.containers.attach import Attachments
from berth.containers.committing import Commits
from berth.containers.execs.service import Execs
from berth.containers.health import Healthchecks
from berth.containers.logs.rotation import Rotation
from berth.containers.logs.service import Logs
from berth.containers.model import ContainerRecord
from berth.containers.quiet import Quieting
from berth.containers.service import Containers
from berth.containers.stats import Stats
from berth.daemon.engine import Engine
from berth.events.bus import Bus
from berth.images.model import TagRecord
from berth.images.service import Images
from berth.kernel import link, process
from berth.kernel.actuator import KernelActuator
from berth.networks.dns.client import DnsClient
from berth.networks.dns.client import command as name_server
from berth.networks.model import LastHeld, LiveSandbox, NetworkRecord, Tenant
from berth.networks.ports.proxy_client import ProxyClient
from berth.networks.ports.proxy_client import command as port_proxy
from berth.networks.service import Networks
from berth.plan.journal import Journal
from berth.plan.run import Runner
from berth.plugins import steps as plugin_steps
from berth.plugins.discovery import Places
from berth.plugins.rpc import Plugins
from berth.store.sqlite import Stores
from berth.volumes.backup.automatic import Automatic, RunRecord
from berth.volumes.backup.service import Backups
from berth.volumes.backup.unchanged import Mark
from berth.volumes.consistency.still import Stillness
from berth.volumes.copies.comparing import Comparing
from berth.volumes.copies.service import Copies, Instants
from berth.volumes.model import TrashRecord, VolumeRecord
from berth.volumes.mounts.away import Limits
from berth.volumes.service import Volumes
from berth.volumes.trash import Kept

#: Pause before a background service that failed is started again, in seconds.
PAUSE_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the life cycle needs besides the engine."""

    engine: Engine
    runner: Runner
    names: DnsClient
    proxy: ProxyClient
    stores: Stores
    tasks: Tasks

    def start_services(self) -> None:
        """Start what runs in the background for as long as the engine does."""
        self.tasks.start("firewall", supervise("firewall", self.engine.networks.firewall.watch, pause_s=PAUSE_S))
        self.tasks.start("backups", supervise("backups", self.engine.automatic.watch, pause_s=PAUSE_S))
        self.tasks.start("leases", supervise("leases", self.engine.networks.keep_leases, pause_s=PAUSE_S))
        self.tasks.start("name servers", supervise("name servers", self.engine.networks.servers.watch, pause_s=PAUSE_S))

        seen, sizing = self.engine.volumes.seen, self.engine.volumes.sizing
        self.tasks.start("limits of volumes", supervise("limits of volumes", sizing.watch, pause_s=PAUSE_S))
        self.tasks.start("sizes of volumes", supervise("sizes of volumes", seen.watch, pause_s=PAUSE_S))
        self.tasks.start("uses of volumes", supervise("uses of volumes", seen.keep, pause_s=PAUSE_S))
        self.tasks.start("trash", supervise("trash", self.engine.volumes.trash.watch, pause_s=PAUSE_S))

    async def close(self) -> None:
        """Stop the background work and close the records. Containers and the name server stay."""
        await self.engine.attachments.close()
        await self.tasks.close()
        await self.engine.images.close()
        await self.names.close()
        await self.proxy.close()
        self.stores.close()


def routes() -> tuple[Route, ...]:
    """Every route of the API."""
    modules = (
        system_routes, network_routes, explain_routes, name_routes, firewall_routes, volume_routes, stream_routes,
        container_routes, container_mount_routes,
        image_routes, commit_routes, other_routes,
        volume_life_routes, volume_file_routes, volume_backup_routes, volume_size_routes, pruning_routes,
        volume_copy_routes,
    )  # fmt: skip
    return tuple(route for module in modules for route in module.ROUTES)


def build(config: Config) -> Parts:
    """Construct everything; nothing is started or changed yet but the two databases.

    Parts that need each other are tied by functions that look the other up when called.
    """
    layout, clock, tasks = config.layout, SystemClock(), Tasks()
    stores = Stores(layout.database, layout.runtime_database)
    bus = Bus(clock)
    places = Places((layout.plugins, *map(Path, config.plugin_socket_dirs)), tuple(map(Path, config.plugin_file_dirs)))
    plugins = Plugins(places, limit_s=config.plugin_timeout)
    actuator = KernelActuator(plugin_steps.handlers(plugins), plugin_steps.UNDO)
    runner = Runner(actuator, Journal(layout.journal, actuator.step_types), around=link.sockets_kept)

    def spawner(argv: Sequence[str]) -> Callable[[], Awaitable[None]]:
        async def spawn() -> None:
            child = process.spawn(argv, new_session=True, stderr=None)
            tasks.start(f"the end of {argv[-3]}", _reap(child))

        return spawn

    names = DnsClient(
        layout.dns_socket,
        spawn=spawner(name_server(layout.dns_socket)),
        resupply=lambda container_id: networks.resolver_sockets(container_id),  # noqa: PLW0108  made below
    )
    proxy = ProxyClient(layout.proxy_socket, spawn=spawner(port_proxy(layout.proxy_socket)))
    images = Images(
        layout,
        stores.durable("tags", TagRecord),
        bus,
        lambda image_id: containers.using_image(image_id),  # noqa: PLW0108  made below
        clock=clock,
        environment=dict(os.environ),
        insecure_registries=config.insecure_registries,
        mirrors=config.registry_mirrors,
    )
    volumes = Volumes(
        layout,
        stores.durable("volumes", VolumeRecord),
        bus,
        lambda: containers.mounts_in_use(),  # noqa: PLW0108  made below
        clock,
        images,
        Limits(config.volume_timeout, config.mount_timeout),
        states=lambda: containers.states(),  # noqa: PLW0108  made below
        kept=Kept(stores.durable("volume_trash", TrashRecord), config.volume_trash_ns),
        tasks=tasks,
    )
    networks = Networks(
        layout,
        stores.durable("networks", NetworkRecord),
        stores.durable("tenants", Tenant),
        stores.runtime("sandboxes", LiveSandbox),
        runner,
        bus,
        names,
        config,
        clock=clock,
        proxy=proxy if config.userland_proxy else None,
        plugins=plugins,
        last=stores.runtime("addresses", LastHeld),
    )
    containers = Containers(
        layout=layout,
        records=stores.durable("containers", ContainerRecord),
        runtime_records=stores.runtime("containers", ContainerRecord),
        images=images,
        networks=networks,
        volumes=volumes.mounting,
        live=volumes.live,
        bus=bus,
        clock=clock,
        tasks=tasks,
        default_runtime=config.default_runtime,
    )
    volumes.changing.tie(containers)
    announce = announcer(bus)
    attachments = Attachments(layout=layout, announce=announce)
    logs = Logs(layout=layout, clock=clock)
    execs = Execs(
        layout=layout,
        find=containers.find,
        runtime=containers.runtime_of,
        announce=announce,
        clock=clock,
        tasks=tasks,
        expect_moves=containers.expect_moves,
    )
    health = Healthchecks(
        execs=execs,
        find=containers.find,
        set_health=containers.set_health,
        announce=announce,
        clock=clock,
        tasks=tasks,
    )
    for companion in (attachments, logs, Rotation(layout=layout, tasks=tasks), execs, health):
        containers.accompany(companion)
    quieting = Quieting(containers, execs, layout.cgroup_parent)
    stillness = Stillness(
        layout,
        volumes.register,
        volumes.drivers,
        quieting,
        bus,
        clock,
        Instants(volumes.shelf, volumes.drivers),
    )
    copies = Copies(
        volumes.shelf, volumes.register, volumes.drivers, stillness, volumes.replacing, config.mount_timeout
    )
    marks = stores.durable("backup_marks", Mark)
    backups = Backups(layout, volumes.keeping, stillness, volumes.replacing, marks)
    engine = Engine(
        layout=layout,
        config=config,
        clock=clock,
        events=bus,
        tasks=tasks,
        images=images,
        networks=networks,
        volumes=volumes,
        stillness=stillness,
        backups=backups,
        automatic=Automatic(volumes.register, stores.durable("backup_runs", RunRecord), backups.scheduled),
        copies=copies,
        comparing=Comparing(volumes.shelf, stillness, config.mount_timeout),
        containers=containers,
        attachments=attachments,
        logs=logs,
        execs=execs,
        stats=Stats(layout=layout, find=containers.find, clock=clock, groups=lambda: containers.host.groups),
        archives=Archives(
            find=containers.find,
            mounted=containers.mounted,
            ended=containers.ended,
            may_hang=volumes.mounting.may_hang,
            answer_limit_s=config.volume_timeout,
            announce=announce,
        ),
        commits=Commits(
            layout=layout,
            containers=containers,
            images=images,
            quieting=quieting,
            journal=stillness.journal,
            turns=stillness.turns,
            announce=announce,
        ),
    )
    return Parts(engine=engine, runner=runner, names=names, proxy=proxy, stores=stores, tasks=tasks)


async def _reap(child: process.Child) -> None:
    """Wait for a companion process of ours, so that its end leaves no zombie."""
    await child.wait()
