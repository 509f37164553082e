"""The use cases of containers, as handlers and other parts call them.

`Creator` makes containers, `Life` writes their state from start to removal, `Register` keeps the records; this class
is the door to all three, and answers what only looks. `adopt` must be awaited before any other use: it looks at the
machine, chooses the runtime, finds what still runs, and tells the networks which containers are alive.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import EngineError, InvalidArgument, NotFound
from berth.base.paths import Layout
from berth.containers import adoption, options, surroundings
from berth.containers import inspect as inspection
from berth.containers import listing as lists
from berth.containers.announce import announcer
from berth.containers.companions import Companion
from berth.containers.creation import Creator, checked_name
from berth.containers.errors import IsRestarting, NotRunning, PruneRunning
from berth.containers.launch import ENGINES_OWN, Launcher
from berth.containers.life import Life
from berth.containers.model import ContainerRecord, Health
from berth.containers.mounted import mounted
from berth.containers.oci import resources
from berth.containers.parts import ImagePart, NetworkPart, VolumePart
from berth.containers.register import Register
from berth.containers.remounting import Remounting
from berth.containers.retarget import volume_renamed
from berth.containers.runtimes.choose import choose
from berth.containers.runtimes.command import Runtime
from berth.containers.states import State
from berth.events.bus import Bus
from berth.events.model import Event
from berth.images.model import ImageRecord
from berth.kernel import cgroup, layerdiff, process
from berth.kernel.tree import apparent_size
from berth.networks.errors import Leaving
from berth.store.base import Records
from berth.volumes.live import LiveMounts
from berth.volumes.mounts.model import MountPoint
from berth.wire.containers import ContainerCreate, HostConfig, UpdateRequest
from berth.wire.filters import Filters

log = logging.getLogger(__name__)

#: Seconds ps may take.
PS_LIMIT_S: Final = 10.0


@dataclass(frozen=True)
class _Adopted:
    """What exists once the machine has been looked at."""

    host: surroundings.Host
    launcher: Launcher
    life: Life
    creator: Creator
    remounting: Remounting


class Containers:
    """Containers of one engine."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        layout: Layout,
        records: Records[ContainerRecord],
        runtime_records: Records[ContainerRecord],
        images: ImagePart,
        networks: NetworkPart,
        volumes: VolumePart,
        live: LiveMounts,
        bus: Bus,
        clock: Clock,
        tasks: Tasks,
        default_runtime: str = "",
    ) -> None:
        self._layout = layout
        self._register = Register(records, runtime_records)
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._live = live
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._wanted_runtime = default_runtime
        self._announce = announcer(bus)
        self._locks = KeyedLocks()
        self._companions: list[Companion] = []
        self._pruning = False
        self._adopted: _Adopted | None = None

    # -- start of the engine

    def accompany(self, companion: Companion) -> None:
        """Have `companion` told of every turn of every container's life."""
        self._companions.append(companion)

    async def adopt(self) -> None:
        """Look at the machine, find what still runs, finish what was left half done."""
        layout = self._layout
        await in_thread(adoption.make_roots, layout)
        groups = (await in_thread(surroundings.look)).groups
        trial = layout.exec_root / "trial"
        runtime = await choose(self._wanted_runtime, layout.runtime_root, trial, layout.cgroup_parent, groups)
        host = await in_thread(surroundings.look)  # again: the choice may have mounted a controller
        log.info("OCI runtime %s %s: %s", runtime.name, runtime.version, runtime.why)
        launcher = Launcher(layout, runtime, host, self._networks, self._volumes, self._register)
        life = Life(
            layout=layout,
            register=self._register,
            launcher=launcher,
            networks=self._networks,
            volumes=self._volumes,
            announce=self._announce,
            clock=self._clock,
            tasks=self._tasks,
            locks=self._locks,
            companions=self._companions,
        )
        creator = Creator(
            register=self._register,
            launcher=launcher,
            host=host,
            images=self._images,
            networks=self._networks,
            volumes=self._volumes,
            clock=self._clock,
        )
        remounting = Remounting(
            register=self._register,
            life=life,
            launcher=launcher,
            live=self._live,
            locks=self._locks,
            announce=self._announce,
            volumes=self._volumes,
        )
        self._adopted = _Adopted(host, launcher, life, creator, remounting)
        await adoption.adopt(layout, self._register, life, launcher, self._networks)
        await remounting.settle()

    @property
    def _launched(self) -> _Adopted:
        if self._adopted is None:
            raise RuntimeError("containers are used before they were adopted")
        return self._adopted

    @property
    def launcher(self) -> Launcher:
        """What launches containers."""
        return self._launched.launcher

    @property
    def remounting(self) -> Remounting:
        """What changes the mounts of containers that are there."""
        return self._launched.remounting

    @property
    def host(self) -> surroundings.Host:
        """Facts about the machine."""
        return self._launched.host

    @property
    def runtime(self) -> Runtime:
        """The OCI runtime that works here."""
        return self._launched.launcher.runtime

    def runtime_of(self, record: ContainerRecord) -> Runtime:
        """Return the runtime that holds this container."""
        del record  # one engine, one runtime
        return self.runtime

    def security_options(self) -> tuple[str, ...]:
        """Say what confines containers, as ``/info`` does."""
        return (f"name=seccomp,profile={'builtin' if self.host.profile_path else 'unconfined'}",)

    def warnings(self) -> tuple[str, ...]:
        """Say what this machine lacks."""
        return self.host.warnings

    # -- who is there

    def all(self) -> list[ContainerRecord]:
        """Return every container, oldest first."""
        return self._register.all()

    def get(self, ident: str) -> ContainerRecord | None:
        """Return the container of a full id."""
        return self._register.get(ident)

    def find(self, ref: str) -> ContainerRecord:
        """Return a container by full id, name or unique id prefix. Raises `NoSuchContainer`, `AmbiguousPrefix`."""
        return self._register.find(ref)

    def states(self) -> list[tuple[str, str, str]]:
        """Return id, name and state, in Docker's word, of every container."""
        return [(record.id, record.name, record.state.value) for record in self._register.all()]

    def counts(self) -> dict[str, int]:
        """Count containers by state, in Docker's words."""
        counted: dict[str, int] = {}
        for record in self._register.all():
            counted[record.state.value] = counted.get(record.state.value, 0) + 1
        return counted

    def mounts_in_use(self) -> list[tuple[str, tuple[MountPoint, ...]]]:
        """Return every container with its mount points."""
        return [(record.id, record.mounts) for record in self._register.all()]

    def using_image(self, image_id: str) -> list[tuple[str, bool]]:
        """Return the containers made from an image or with a mount of it, and whether they run.

        Those that are being made, or get such a mount, count already.
        """
        claiming = {*self._register.making(image_id), *self._volumes.claiming_image(image_id)}
        found = [
            (record.id, record.running)
            for record in self._register.all()
            if record.image_id == image_id
            or any(point.image == image_id for point in record.mounts)
            or record.id in claiming
        ]
        return [*found, *((ident, False) for ident in sorted(claiming - {ident for ident, _ in found}))]

    # -- life: see `Life`

    async def create(self, name: str, want: ContainerCreate, platform: str = "") -> tuple[str, list[str]]:
        """Make a container; return its id and warnings. All is checked before anything is made."""
        record, warnings = await self._launched.creator.make(name, want, platform)
        self._announce(record, "create")
        self.expect_moves()
        return record.id, warnings

    def expect_moves(self) -> None:
        """Know that a start or a command is likely to follow at once, and use the time until the client asks for it."""
        self._tasks.start("ready for moves", self._get_ready())

    async def _get_ready(self) -> None:
        await in_thread(cgroup.get_ready_for_moves, self._launched.host.groups)

    def staying(self, ref: str) -> ContainerRecord:
        """Look a container up whose networks may change. Raises `NoSuchContainer`, `Leaving`."""
        record = self.find(ref)
        if self._launched.life.is_leaving(record):
            raise Leaving(record.id)
        return record

    async def start(self, ref: str) -> None:
        """Start a container. Raises `IsRunning` if it runs."""
        await self._launched.life.start(ref)

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Ask a container to end, and end it after `timeout_s` seconds (-1: never). Raises `IsStopped`."""
        await self._launched.life.stop(ref, timeout_s=timeout_s, signal_text=signal_text)

    async def kill(self, ref: str, signal_text: str = "") -> None:
        """Send a signal, KILL unless named."""
        await self._launched.life.kill(ref, signal_text)

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Stop it if it runs, then start it."""
        await self._launched.life.restart(ref, timeout_s=timeout_s, signal_text=signal_text)

    async def pause(self, ref: str) -> None:
        """Freeze every process."""
        await self._launched.life.pause(ref)

    async def unpause(self, ref: str) -> None:
        """Thaw every process."""
        await self._launched.life.unpause(ref)

    async def thaw(self, ident: str) -> None:
        """Let every process go on, whatever the record says."""
        await self._launched.life.thaw(ident)

    async def settled(self, ident: str) -> ContainerRecord | None:
        """Return a container once no change of its state is under way; None if it is gone."""
        return await self._launched.life.settled(ident)

    async def waiting(self, ref: str, condition: str = "") -> "asyncio.Future[int]":
        """Return the exit code to come: at ``not-running`` (default), ``next-exit`` or ``removed``."""
        return await self._launched.life.waiting(ref, condition)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove a container; with `force` a running one too, with `volumes` its anonymous volumes."""
        await self._launched.life.remove(ref, force=force, volumes=volumes, link=link)

    async def set_health(self, ident: str, health: Health | None) -> None:
        """Write down what the health check found, unless the container no longer runs."""
        async with self._locks.hold(ident):
            record = self._register.get(ident)
            if record is not None and record.running:
                await self._register.put(record, health=health)

    async def rename(self, ref: str, name: str) -> None:
        """Give a container another name."""
        ident = self._register.find(ref).id
        if not name.removeprefix("/"):
            raise InvalidArgument("Neither old nor new names may be empty")
        bare = checked_name(name)
        async with self._locks.hold(ident):
            record = self._launched.life.present(ident)
            if bare == record.name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            self._register.take_name(bare, record.id)
            try:
                renamed = await self._register.put(record, name=bare)
                await self._networks.renamed(record.id, bare)
            except BaseException:
                await finish(self._named_as_before(record, bare))
                raise
            self._register.give_back_name(record.name, record.id)
        self._announce(renamed, "rename", oldName=f"/{record.name}")

    async def _named_as_before(self, record: ContainerRecord, tried: str) -> None:
        await self._register.put(record)
        self._register.give_back_name(tried, record.id)
        try:
            await self._networks.renamed(record.id, record.name)
        except (EngineError, OSError) as exc:
            log.warning("container %s: networks may call it %s: %s", record.name, tried, exc)

    @asynccontextmanager
    async def still(self, idents: Collection[str]) -> AsyncIterator[None]:
        """Keep containers from being started, stopped for good, changed or removed."""
        async with AsyncExitStack() as locks:
            for ident in sorted(idents):
                await locks.enter_async_context(self._locks.hold(ident))
            yield

    async def volume_renamed(self, old: str, new: str, source: str) -> None:
        """Write a volume's new name and path into every container that uses it; they are held `still`."""
        for record in self._register.all():
            renamed = volume_renamed(record, old, new, source)
            if renamed != record:
                await self._register.put(renamed)

    @asynccontextmanager
    async def mounted(self, record: ContainerRecord) -> AsyncIterator[Path | None]:
        """Lend the root directory of a container that does not run, volumes included; until then it cannot start.

        None if it runs by now: a long copy out of it must not keep an exit from being noticed.
        """
        async with self._locks.hold(record.id):
            record = self._launched.life.present(record.id)
            if not record.running:
                async with mounted(self._layout, self._volumes, record) as root:
                    yield root
                return
        yield None

    async def ended(self, ident: str) -> None:
        """Wait until it is on record that a container's process, which is gone, has ended."""
        end = await self._launched.life.waiting(ident)
        try:
            await end
        finally:
            end.cancel()

    def prunable(self, filters: Filters) -> list[ContainerRecord]:
        """Return what `prune` would remove."""
        filters.only(("until", "label", "label!"))
        until = lists.until_ns(filters, self._clock.now_ns())
        return [
            record
            for record in self._register.all()
            if record.state in (State.CREATED, State.EXITED, State.DEAD)
            and filters.labels(record.config.labels or {})
            and filters.without_labels(record.config.labels or {})
            and (until is None or record.created_ns <= until)
        ]

    async def prune(self, filters: Filters) -> tuple[list[str], int]:
        """Remove what does not run and passes ``until`` and ``label``; return the ids and the bytes freed."""
        planned = self.prunable(filters)
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        removed, freed = [], 0
        try:
            for record in planned:
                size = await self._writable_size(record)
                try:
                    await self._launched.life.remove(record.id)
                except EngineError as exc:
                    log.warning("prune: container %s stays: %s", record.short_id, exc)
                    continue
                removed.append(record.id)
                freed += size
        finally:
            self._pruning = False
        self._bus.publish(Event(type="container", action="prune", actor_id="", attributes={"reclaimed": str(freed)}))
        return removed, freed

    async def update(self, ref: str, want: UpdateRequest) -> list[str]:
        """Change limits and the restart policy; a running container has them at once."""
        ident = self._register.find(ref).id
        async with self._locks.hold(ident):
            record = self._launched.life.present(ident)
            host = self._updated(record.host_config, want)
            if record.running and (limits := resources.limits(host, has_swap=self._launched.host.has_swap)):
                await self.runtime.update(ident, limits)
            record = await self._register.put(record, host_config=host)
        self._announce(record, "update")
        return []

    def _updated(self, host: HostConfig, want: UpdateRequest) -> HostConfig:
        changes: dict[str, Any] = {}
        for name in UpdateRequest.__struct_fields__:
            value = getattr(want, name)
            if name != "restart_policy" and value not in (0, "", None):
                changes[name] = value
        if want.memory and not want.memory_swap and 0 < host.memory_swap < want.memory:
            raise InvalidArgument(
                "Memory limit should be smaller than already set memoryswap limit, "
                "update the memoryswap at the same time"
            )
        if want.nano_cpus:
            changes |= {"cpu_period": 0, "cpu_quota": 0} if not (want.cpu_period or want.cpu_quota) else {}
        if want.restart_policy.name:
            options.check_restart(want.restart_policy, auto_remove=host.auto_remove)
            changes["restart_policy"] = want.restart_policy
        updated = msgspec.structs.replace(host, **changes)
        options.check_memory(updated.memory, updated.memory_swap, updated.memory_reservation)
        options.check_cpu(updated, self._launched.host.cpus)
        if want.pids_limit is not None and want.pids_limit <= 0:
            updated = msgspec.structs.replace(updated, pids_limit=None)
        return updated

    async def inspect(self, ref: str, *, size: bool = False) -> dict[str, Any]:
        """Render a container whole, as ``GET /containers/{id}/json`` does."""
        record = self._register.find(ref)
        image = self._images.by_id(record.image_id)
        sizes = await self._sizes(record, image) if size else None
        return inspection.render(
            self._as_called(record),
            layout=self._layout,
            networks=self._networks.settings(record.id),
            log_path=str(self._launched.launcher.log_path(record) or ""),
            restarting=record.state is State.RESTARTING,
            sizes=sizes,
        )

    def _as_called(self, record: ContainerRecord) -> ContainerRecord:
        """Return a record that calls the container's network what it is called now."""
        host = record.host_config
        mode = self._networks.mode(record.id, host.network_mode)
        if mode == host.network_mode:
            return record
        return msgspec.structs.replace(record, host_config=msgspec.structs.replace(host, network_mode=mode))

    async def _sizes(self, record: ContainerRecord, image: ImageRecord | None) -> tuple[int, int]:
        writable = await self._writable_size(record)
        return writable, writable + (image.size if image is not None else 0)

    async def _writable_size(self, record: ContainerRecord) -> int:
        return await in_thread(apparent_size, str(self._layout.container(record.id) / "diff"))

    async def listing(
        self, filters: Filters | None = None, *, all_: bool = False, limit: int = 0, size: bool = False
    ) -> list[dict[str, Any]]:
        """Render the containers that pass, newest first; without `all_` (and no filter that asks) only running ones."""
        query = lists.Query(filters or Filters(), all_=all_, limit=limit)
        names = query.filters.get("name")
        found = lists.select(
            self._register.like(names) if names else self._register.all(),
            query,
            lists.Facts(self._find_quietly, self._image_ids, self._networks_of, self._networks.ports),
        )
        rows = []
        for record in found:
            image = self._images.by_id(record.image_id)
            rows.append(
                lists.render(
                    self._as_called(record),
                    now_ns=self._clock.now_ns(),
                    image_name=self._image_name(record, image),
                    ports=self._networks.ports(record.id),
                    networks=self._networks.summary(record.id),
                    sizes=await self._sizes(record, image) if size else None,
                )
            )
        return rows

    def _image_name(self, record: ContainerRecord, image: ImageRecord | None) -> str:
        """Return what was asked for while that still means the same image, else the image's id."""
        try:
            now = self._images.resolve(record.image_ref)
        except NotFound:
            return record.image_id
        return record.image_ref if image is None or now.id == record.image_id else record.image_id

    def _find_quietly(self, ref: str) -> ContainerRecord | None:
        try:
            return self._register.find(ref)
        except EngineError:
            return None

    def _image_ids(self, ref: str) -> set[str]:
        try:
            return {self._images.resolve(ref).id}
        except EngineError:
            return set()

    def _networks_of(self, ident: str) -> dict[str, Any]:
        found = self._networks.summary(ident).get("Networks") or {}
        return dict(found)

    async def top(self, ref: str, ps_args: str = "") -> dict[str, Any]:
        """List a running container's processes as ps on the host sees them."""
        record = self._register.find(ref)
        if record.state is State.RESTARTING:
            raise IsRestarting(record.id)
        if not record.running:
            raise NotRunning(record.id)
        if "\x00" in ps_args:
            raise InvalidArgument("ps arguments cannot contain a NUL character")
        pids = await in_thread(self._launched.launcher.processes, record)
        words = (ps_args or "-ef").split()
        argv = ["ps", *words]
        try:
            said = await process.run(argv, timeout_s=PS_LIMIT_S)
        except process.ProgramFailed as exc:
            raise InvalidArgument(f"ps: {exc.said.strip()}") from None
        table = lists.processes(said.stdout.decode(errors="replace"), pids)
        self._announce(record, "top")
        return table

    async def pids(self, record: ContainerRecord) -> list[int]:
        """List the host's pids of a running container's processes."""
        return await in_thread(self._launched.launcher.processes, record)

    async def changes(self, ref: str) -> list[dict[str, Any]] | None:
        """List what the container has changed of its image's files; None (Docker's null) if nothing."""
        record = self._register.find(ref)
        upper = str(self._layout.container(record.id) / "diff")
        found = await in_thread(layerdiff.changes, upper, record.layers, ENGINES_OWN)
        return [{"Path": path, "Kind": kind} for path, kind in found] or None
