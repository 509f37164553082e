"""The use cases of containers; the only writer of their records.

Each container has a lock, held while its state changes and never while waiting for its process to exit. An exit is
noticed by the watch that every run has (`_watch`), whoever caused it. Containers that are removed at their exit and
own no volume are recorded on tmpfs only, since after a reboot nothing of them is wanted.

`adopt` must be awaited before any other use: it looks at the machine, chooses the runtime, finds what still runs,
and tells the networks which containers are alive (they reconcile themselves with that).
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from berth.base.aio import KeyedLocks, Tasks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import Conflict, EngineError, InvalidArgument, NotFound
from berth.base.ids import by_prefix, is_full_id, new_id
from berth.base.names import is_restricted_name, made_up_name
from berth.base.paths import Layout
from berth.containers import inspect as inspection
from berth.containers import listing as lists
from berth.containers import options, reconcile, restart, states, surroundings
from berth.containers.announce import announcer
from berth.containers.companions import Companion
from berth.containers.errors import (
    AmbiguousPrefix,
    BadName,
    CannotKill,
    CannotRemove,
    CommandUnusable,
    IsPaused,
    IsRestarting,
    IsRunning,
    IsStopped,
    MarkedForRemoval,
    NameInUse,
    NoSuchContainer,
    NotPaused,
    NotRunning,
    PruneRunning,
    RemovalRunning,
)
from berth.containers.health import check_argv
from berth.containers.launch import ENGINES_OWN, Launcher, NetworkPart, VolumePart
from berth.containers.model import ContainerRecord, Health
from berth.containers.monitors import conmon
from berth.containers.mounted import mounted
from berth.containers.oci import resources
from berth.containers.runtimes.choose import choose
from berth.containers.runtimes.command import Runtime
from berth.containers.states import State
from berth.events.bus import Bus
from berth.events.model import Event
from berth.images.model import ImageRecord
from berth.kernel import layerdiff, pidfd, process
from berth.kernel.tree import apparent_size
from berth.networks.model import Tenant
from berth.store.base import Records
from berth.volumes.mounts.model import MountPoint
from berth.volumes.mounts.parse import inherit, parse_volumes_from
from berth.wire.containers import ContainerCreate, HostConfig, UpdateRequest, config_of
from berth.wire.filters import Filters

log = logging.getLogger(__name__)

#: How long a killed container may take to be gone, in seconds, before the wait is given up.
KILL_LIMIT_S: Final = 10.0
#: How many times a made-up name is tried.
_NAME_ATTEMPTS: Final = 16
#: Exit code of a container whose own is not known (its monitor and the engine were killed).
UNKNOWN_EXIT: Final = 255
#: Exit code of a container that could not be started for the engine's reasons (moby start.go).
START_FAILED: Final = 128
SIGKILL: Final = 9


class ImagePart(Protocol):
    """What containers need of images."""

    def resolve(self, ref: str) -> ImageRecord:
        """Return an image by name, digest, id or prefix; raises `NotFound`."""
        ...

    def by_id(self, ident: str) -> ImageRecord | None:
        """Return an image by its full id."""
        ...


class Volumes(VolumePart, Protocol):
    """What containers need of volumes."""

    async def resolve(
        self,
        container_id: str,
        host_config: HostConfig,
        config_volumes: Sequence[str],
        inherited: Sequence[MountPoint],
    ) -> tuple[MountPoint, ...]:
        """Decide the mounts of a container being created."""
        ...

    async def release(self, container_id: str, points: Sequence[MountPoint], *, remove_anonymous: bool) -> None:
        """Let go of mounts for good."""
        ...


class Networks(NetworkPart, Protocol):
    """What containers need of networks."""

    async def declare(self, tenant: Tenant) -> None:
        """Check and store what a container wants."""
        ...

    async def forget(self, container_id: str) -> None:
        """Drop it."""
        ...

    async def renamed(self, container_id: str, new_name: str) -> None:
        """Learn a container's new name."""
        ...

    async def adopt(self, alive: set[str]) -> None:
        """Reconcile the kernel; containers that are not alive are closed."""
        ...

    def settings(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of inspect."""
        ...

    def summary(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of the list."""
        ...

    def ports(self, container_id: str) -> Sequence[dict[str, Any]]:
        """Return ``Ports`` of the list."""
        ...


@dataclass(eq=False)
class _Run:
    """One run of a container in memory: its processes, and what the restart policy needs to know."""

    held: pidfd.Held
    monitor: process.Child | None = None
    pause_before_ns: int = 0
    killed_by_user: bool = False


@dataclass(eq=False)
class _Waiters:
    """Those who wait for a container's next exit, and for its removal; each gets the exit code."""

    exits: set["asyncio.Future[int]"] = field(default_factory=set)
    removals: set["asyncio.Future[int]"] = field(default_factory=set)


class Containers:
    """Containers of one engine."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        layout: Layout,
        records: Records[ContainerRecord],
        runtime_records: Records[ContainerRecord],
        images: ImagePart,
        networks: Networks,
        volumes: Volumes,
        bus: Bus,
        clock: Clock,
        tasks: Tasks,
        default_runtime: str = "",
    ) -> None:
        self._layout = layout
        self._durable = records
        self._fleeting = runtime_records
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._wanted_runtime = default_runtime
        self._announce = announcer(bus)
        self._locks = KeyedLocks()
        self._names: dict[str, str] = {}
        self._runs: dict[str, _Run] = {}
        self._waiters: dict[str, _Waiters] = {}
        self._pauses: dict[str, asyncio.Event] = {}
        self._companions: list[Companion] = []
        self._removing: set[str] = set()
        self._pruning = False
        self._launcher: Launcher | None = None
        self._host: surroundings.Host | None = None

    # -- what others ask

    def accompany(self, companion: Companion) -> None:
        """Have `companion` told of every turn of every container's life."""
        self._companions.append(companion)

    @property
    def launcher(self) -> Launcher:
        """What launches containers; there is one since `adopt`."""
        if self._launcher is None:
            raise RuntimeError("containers are used before they were adopted")
        return self._launcher

    @property
    def host(self) -> surroundings.Host:
        """Facts about the machine; there are some since `adopt`."""
        if self._host is None:
            raise RuntimeError("containers are used before they were adopted")
        return self._host

    @property
    def runtime(self) -> Runtime:
        """The OCI runtime that works here."""
        return self.launcher.runtime

    def runtime_of(self, record: ContainerRecord) -> Runtime:
        """Return the runtime that holds this container."""
        del record  # one engine, one runtime
        return self.runtime

    def all(self) -> list[ContainerRecord]:
        """Return every container, oldest first."""
        return sorted([*self._durable.all(), *self._fleeting.all()], key=lambda one: one.created_ns)

    def get(self, ident: str) -> ContainerRecord | None:
        """Return the container of a full id."""
        return self._fleeting.get(ident) or self._durable.get(ident)

    def find(self, ref: str) -> ContainerRecord:
        """Return a container by full id, name (a leading slash allowed) or unique id prefix.

        Raises `NoSuchContainer`, `AmbiguousPrefix`.
        """
        if is_full_id(ref) and (record := self.get(ref)) is not None:
            return record
        ident = self._names.get(ref.removeprefix("/"))
        if ident is not None and (record := self.get(ident)) is not None:
            return record
        found = by_prefix(ref, [*self._durable.keys(), *self._fleeting.keys()])
        if len(found) > 1:
            raise AmbiguousPrefix(ref)
        record = self.get(found[0]) if found else None
        if record is None:
            raise NoSuchContainer(ref)
        return record

    def counts(self) -> dict[str, int]:
        """Count containers by state, in Docker's words."""
        counted: dict[str, int] = {}
        for record in self.all():
            counted[record.state.value] = counted.get(record.state.value, 0) + 1
        return counted

    def security_options(self) -> tuple[str, ...]:
        """Say what confines containers, as ``/info`` does."""
        profile = self.host.profile_path
        return (f"name=seccomp,profile={'builtin' if profile else 'unconfined'}",)

    def warnings(self) -> tuple[str, ...]:
        """Say what this machine lacks."""
        return self.host.warnings

    def mounts_in_use(self) -> list[tuple[str, tuple[MountPoint, ...]]]:
        """Return every container with its mount points."""
        return [(record.id, record.mounts) for record in self.all()]

    def using_image(self, image_id: str) -> list[tuple[str, bool]]:
        """Return the containers made from an image, and whether they run."""
        return [(record.id, record.running) for record in self.all() if record.image_id == image_id]

    # -- records

    def _table(self, record: ContainerRecord) -> Records[ContainerRecord]:
        fleeting = record.auto_remove and not any(point.anonymous for point in record.mounts)
        return self._fleeting if fleeting else self._durable

    async def _put(self, record: ContainerRecord, **changes: Any) -> ContainerRecord:  # noqa: ANN401  fields of a record
        changed = msgspec.structs.replace(record, **changes) if changes else record
        await self._table(changed).put(changed.id, changed)
        return changed

    async def set_health(self, ident: str, health: Any) -> None:  # noqa: ANN401  Health or None
        """Write down what the health check found, unless the container no longer runs."""
        record = self.get(ident)
        if record is not None and record.running:
            await self._put(record, health=health)

    # -- create

    async def create(self, name: str, want: ContainerCreate, platform: str = "") -> tuple[str, list[str]]:
        """Make a container; return its id and warnings. All is checked before anything is made."""
        del platform  # the store holds one variant of an image
        if not want.image:
            raise InvalidArgument(
                "config: image cannot be empty: Config cannot be empty in order to create a container"
            )
        wanted_name = self._checked_name(name)
        image = self._images.resolve(want.image)
        config = options.checked_config(options.merged(config_of(want), image.config))
        host = options.checked_host_config(want.host_config, self.host.cpus)
        options.check_host_name(config, host)
        host = msgspec.structs.replace(
            host,
            runtime=options.checked_runtime(host.runtime, self.runtime.name),
            cgroupns_mode=host.cgroupns_mode or ("private" if self.host.groups.version == 2 else "host"),
        )
        path, args = options.command(config)
        ident = new_id()
        taken = self._take_name(wanted_name, ident)
        try:
            record = await self._made(
                ident,
                taken,
                image,
                msgspec.structs.replace(config, hostname=config.hostname or self._hostname(ident, host)),
                host,
                want,
                path,
                args,
            )
        except BaseException:
            self._names.pop(taken, None)
            raise
        self._announce(record, "create")
        return ident, self._limits_ignored(host)

    def _hostname(self, ident: str, host: HostConfig) -> str:
        if host.network_mode == "host" or host.uts_mode == "host":
            return os.uname().nodename
        return ident[:12]

    def _limits_ignored(self, host: HostConfig) -> list[str]:
        warnings = []
        if host.memory_swap > 0 and not self.host.has_swap:
            warnings.append(
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
                "Memory limited without swap."
            )
        if host.network_mode == "host" and host.port_bindings:
            warnings.append("Published ports are discarded when using host network mode")
        if host.init and self.host.init is None:
            warnings.append("No init program is installed; install tini")
        return warnings

    def _checked_name(self, name: str) -> str:
        bare = name.removeprefix("/")
        if bare and not is_restricted_name(bare):
            raise BadName(name)
        return bare

    def _take_name(self, wanted: str, ident: str) -> str:
        if wanted:
            holder = self._names.get(wanted)
            if holder is not None:
                raise NameInUse(wanted, holder)
            self._names[wanted] = ident
            return wanted
        for attempt in range(_NAME_ATTEMPTS):
            made = made_up_name(attempt)
            if made not in self._names:
                self._names[made] = ident
                return made
        self._names[ident[:12]] = ident
        return ident[:12]

    async def _made(
        self,
        ident: str,
        name: str,
        image: ImageRecord,
        config: Any,  # noqa: ANN401
        host: HostConfig,
        want: ContainerCreate,
        path: str,
        args: tuple[str, ...],
    ) -> ContainerRecord:
        record = ContainerRecord(
            id=ident,
            name=name,
            created_ns=self._clock.now_ns(),
            image_id=image.id,
            image_ref=want.image,
            config=config,
            host_config=host,
            path=path,
            args=args,
            layers=image.layers,
        )
        inherited = self._inherited(host)
        points = await self._volumes.resolve(ident, host, list(config.volumes or {}), inherited)
        record = msgspec.structs.replace(record, mounts=points)
        try:
            await self._networks.declare(self._tenant(record, want))
            await in_thread(self.launcher.make_directories, record)
            await self._put(record)
        except BaseException:
            await finish(self._unmake(record))
            raise
        return record

    async def _unmake(self, record: ContainerRecord) -> None:
        await self._networks.forget(record.id)
        await self._volumes.release(record.id, record.mounts, remove_anonymous=True)
        await self.launcher.remove_directory(record.id)

    def _inherited(self, host: HostConfig) -> list[MountPoint]:
        points: list[MountPoint] = []
        for text in host.volumes_from or ():
            ref, mode = parse_volumes_from(text)
            try:
                donor = self.find(ref)
            except NotFound as exc:
                raise InvalidArgument(str(exc)) from None
            points += inherit(donor.mounts, mode)
        return points

    def _tenant(self, record: ContainerRecord, want: ContainerCreate) -> Tenant:
        config, host = record.config, record.host_config
        mode = host.network_mode
        kind, colon, ref = mode.partition(":")
        if kind == "container" and colon:
            # Names may change hands: keep the id of the one that was meant.
            try:
                mode = f"container:{self.find(ref).id}"
            except NotFound:
                mode = host.network_mode
        exposed = {*(config.exposed_ports or {}), *(host.port_bindings or {})}
        endpoints = want.networking_config.endpoints or {}
        return Tenant(
            container_id=record.id,
            name=record.name,
            hostname=config.hostname,
            domainname=config.domainname,
            mode="none" if config.network_disabled else mode,
            endpoints={name: settings for name, settings in endpoints.items() if settings is not None},
            port_bindings=host.port_bindings or {},
            publish_all_ports=host.publish_all_ports,
            exposed_ports=tuple(sorted(exposed)),
            dns=tuple(host.dns or ()),
            dns_options=tuple(host.dns_options or ()),
            dns_search=tuple(host.dns_search or ()),
            extra_hosts=tuple(host.extra_hosts or ()),
            links=tuple(host.links or ()),
            mac_address=config.mac_address,
            sysctls=dict(host.sysctls or {}),
        )

    # -- start

    async def start(self, ref: str) -> None:
        """Start a container. Raises `IsRunning` if it runs."""
        ident = self.find(ref).id
        async with self._locks.hold(ident):
            record = self._present(ident)
            if record.state is State.PAUSED:
                raise IsPaused(ident, doing="start")
            if record.running:
                raise IsRunning(ident)
            self._call_off_restart(ident)
            await self._start_locked(record, restart_count=0)

    def _present(self, ident: str) -> ContainerRecord:
        record = self.get(ident)
        if record is None:
            raise NoSuchContainer(ident)
        if record.state in (State.REMOVING, State.DEAD) or ident in self._removing:
            raise MarkedForRemoval
        return record

    async def _start_locked(self, record: ContainerRecord, *, restart_count: int, pause_ns: int = 0) -> None:
        try:
            launched = await self.launcher.launch(record)
        except BaseException as exc:
            await finish(self._start_failed(record, exc))
            raise
        held = pidfd.hold(launched.monitor.pid)
        started_ns = self._clock.now_ns()
        running = msgspec.structs.replace(
            record,
            state=states.after(record.state, states.Event.START),
            pid=launched.pid,
            pid_started=pidfd.start_ticks(launched.pid),
            conmon_pid=launched.monitor.pid,
            conmon_started=pidfd.start_ticks(launched.monitor.pid),
            started_ns=started_ns,
            finished_ns=record.finished_ns,
            exit_code=0,
            error="",
            oom_killed=False,
            restart_count=restart_count,
            has_been_manually_stopped=False,
            health=Health() if check_argv(record.config) else None,
        )
        try:
            for companion in self._companions:
                await companion.launched(running)
            await asyncio.gather(self.launcher.let_go(running), self._put(running))
            if held is None:
                raise Conflict("the container's monitor ended at once")
        except BaseException as exc:
            launched.monitor.kill(SIGKILL)
            await finish(launched.monitor.wait())
            await finish(self.launcher.clear(record))
            await finish(self._start_failed(record, exc))
            raise
        self._runs[record.id] = _Run(held, launched.monitor, pause_before_ns=pause_ns)
        self._announce(running, "start")
        for companion in self._companions:
            companion.started(running)
        self._tasks.start(f"watch {record.short_id}", self._watch(record.id, self._runs[record.id]))

    async def _start_failed(self, record: ContainerRecord, exc: BaseException) -> None:
        code = exc.exit_code if isinstance(exc, CommandUnusable) else START_FAILED
        state = State.EXITED if record.state is State.RESTARTING else record.state
        failed = await self._put(
            record, state=state, exit_code=code, error=str(exc), pid=0, conmon_pid=0, finished_ns=record.finished_ns
        )
        for companion in self._companions:
            await companion.ended(failed)
        if record.auto_remove:
            self._wake(record.id, code)
            self._tasks.start(f"remove {record.short_id}", self._remove_after_exit(record.id))

    # -- exit

    async def _watch(self, ident: str, run: _Run) -> None:
        try:
            await run.held.gone()
        finally:
            run.held.close()
        if run.monitor is not None:
            await run.monitor.wait()
        code = await self._exit_code(ident)
        async with self._locks.hold(ident):
            if self._runs.get(ident) is run:
                await finish(self._ended_locked(ident, run, code))

    async def _exit_code(self, ident: str) -> int:
        code = conmon.exit_code(self.launcher.exit_dir, ident)
        if code is not None:
            return code
        # The monitor was killed; its container may go on, without streams.
        record = self.get(ident)
        survivor = pidfd.hold(record.pid, record.pid_started) if record is not None else None
        if survivor is None:
            return UNKNOWN_EXIT
        log.warning("the monitor of container %s is gone, its process %d is not", ident[:12], survivor.pid)
        try:
            await survivor.gone()
        finally:
            survivor.close()
        return UNKNOWN_EXIT

    async def _ended_locked(self, ident: str, run: _Run | None, code: int) -> None:
        record = self.get(ident)
        self._runs.pop(ident, None)
        if record is None or not record.running:
            return
        oom = code == 128 + SIGKILL and await in_thread(self.launcher.oom_kills, record) > 0
        now = self._clock.now_ns()
        lasted = max(0, now - record.started_ns)
        pause = restart.pause_before_next(
            record.host_config.restart_policy,
            restart.Run(
                exit_code=code,
                lasted_ns=lasted,
                pause_before_ns=run.pause_before_ns if run is not None else 0,
                restarts=record.restart_count,
                stopped=record.has_been_manually_stopped,
            ),
        )
        ended = msgspec.structs.replace(
            record,
            state=states.after(record.state, states.Event.EXIT if pause is None else states.Event.AGAIN),
            pid=0,
            conmon_pid=0,
            finished_ns=now,
            exit_code=code,
            oom_killed=oom,
        )
        removing = pause is None and record.auto_remove
        if oom:
            self._announce(ended, "oom")
        for companion in self._companions:
            await companion.ended(ended)
        await asyncio.gather(self._put(ended), self.launcher.release(ended))
        self._announce(ended, "die", exitCode=str(code), execDuration=str(lasted // 1_000_000_000))
        self._wake(ident, code)
        forgetting = self._tasks.start(f"forget {record.short_id}", self._forget_run(record))
        if removing:
            await self._remove_locked(ended, volumes=True, after=forgetting)
        elif pause is not None:
            await forgetting
            self._schedule_restart(ended, pause)
        else:
            await forgetting

    async def _forget_run(self, record: ContainerRecord) -> None:
        await self.launcher.forget(record.id, record.cgroup_path(self._layout.cgroup_parent))

    def _wake(self, ident: str, code: int) -> None:
        waiters = self._waiters.get(ident)
        if waiters is None:
            return
        for future in waiters.exits:
            if not future.done():
                future.set_result(code)
        waiters.exits.clear()

    # -- restart policy

    def _schedule_restart(self, record: ContainerRecord, pause_ns: int) -> None:
        called_off = asyncio.Event()
        self._pauses[record.id] = called_off
        self._tasks.start(f"restart {record.short_id}", self._start_again(record.id, pause_ns, called_off))

    def _call_off_restart(self, ident: str) -> bool:
        called_off = self._pauses.pop(ident, None)
        if called_off is None:
            return False
        called_off.set()
        return True

    async def _start_again(self, ident: str, pause_ns: int, called_off: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(pause_ns / 1e9):
                await called_off.wait()
            return
        except TimeoutError:
            pass
        async with self._locks.hold(ident):
            record = self.get(ident)
            if called_off.is_set() or record is None or record.state is not State.RESTARTING:
                return
            self._pauses.pop(ident, None)
            try:
                await self._start_locked(record, restart_count=record.restart_count + 1, pause_ns=pause_ns)
            except EngineError as exc:
                log.warning("container %s could not be started again: %s", record.short_id, exc)

    # -- stop, kill, restart

    async def stop(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Ask a container to end, and end it after `timeout_s` seconds (-1: never). Raises `IsStopped`."""
        record = self.find(ref)
        if not record.running and record.state is not State.RESTARTING:
            raise IsStopped(record.id)
        await self._stop(record, timeout_s, signal_text)
        stopped = self.get(record.id)
        self._announce(stopped or record, "stop")

    async def _stop(self, record: ContainerRecord, timeout_s: int | None, signal_text: str) -> None:
        signum = options.parse_signal(signal_text or record.config.stop_signal or "SIGTERM")
        if timeout_s is None:
            own = record.config.stop_timeout
            timeout_s = options.STOP_TIMEOUT_S if own is None else own
        if await self._settle_restart(record.id):
            return
        ended = self._next_exit(record.id)
        try:
            if not await self._send(record.id, signum, by_user=True):
                return
            current = self.get(record.id)
            if current is not None and current.state is State.PAUSED:
                await self._send(record.id, SIGKILL, by_user=True)
                await self._thaw(current)
            await self._await_end(record, ended, timeout_s)
        finally:
            self._drop_waiter(record.id, ended)

    async def _await_end(self, record: ContainerRecord, ended: "asyncio.Future[int]", timeout_s: int) -> None:
        try:
            async with asyncio.timeout(None if timeout_s < 0 else timeout_s):
                await asyncio.shield(ended)
            return
        except TimeoutError:
            log.info("container %s did not stop within %d s; killing it", record.short_id, timeout_s)
        await self._send(record.id, SIGKILL, by_user=True)
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await asyncio.shield(ended)
        except TimeoutError:
            raise EngineError(f"tried to kill container, but did not receive an exit event: {record.id}") from None

    async def _settle_restart(self, ident: str) -> bool:
        """Call off a restart that is waited for; True if the container rests now."""
        async with self._locks.hold(ident):
            record = self.get(ident)
            if record is None:
                return True
            if record.state is not State.RESTARTING:
                return not record.running
            self._call_off_restart(ident)
            await self._put(
                record, state=states.after(record.state, states.Event.GIVE_UP), has_been_manually_stopped=True
            )
            self._wake(ident, record.exit_code)
            return True

    async def _send(self, ident: str, signum: int, *, by_user: bool) -> bool:
        """Send a signal to the first process; False if there is none. `by_user` keeps it from being started again."""
        async with self._locks.hold(ident):
            record = self.get(ident)
            if record is None or not record.running:
                return False
            if by_user and not record.has_been_manually_stopped:
                record = await self._put(record, has_been_manually_stopped=True)
            held = pidfd.hold(record.pid, record.pid_started)
            if held is None:
                return False
            try:
                sent = held.send(signum)
            finally:
                held.close()
            if sent:
                self._announce(record, "kill", signal=str(signum))
            return sent

    async def kill(self, ref: str, signal_text: str = "") -> None:
        """Send a signal (KILL unless named). Raises `CannotKill`; with KILL it is gone when this returns."""
        signum = options.parse_signal(signal_text or "KILL")
        record = self.find(ref)
        if not record.running:
            raise CannotKill(ref, record.id)
        ended = self._next_exit(record.id)
        try:
            stops = signum == SIGKILL or signum == options.parse_signal(record.config.stop_signal or "SIGTERM")
            sent = await self._send(record.id, signum, by_user=stops)
            if not sent and ((now := self.get(record.id)) is None or not now.running):
                raise CannotKill(ref, record.id)
            if signum == SIGKILL:
                current = self.get(record.id)
                if current is not None and current.state is State.PAUSED:
                    await self._thaw(current)
                await self._await_kill(record, ended)
        finally:
            self._drop_waiter(record.id, ended)

    async def _await_kill(self, record: ContainerRecord, ended: "asyncio.Future[int]") -> None:
        try:
            async with asyncio.timeout(KILL_LIMIT_S):
                await asyncio.shield(ended)
        except TimeoutError:
            log.warning("container %s was killed and is still there", record.short_id)

    async def restart(self, ref: str, *, timeout_s: int | None = None, signal_text: str = "") -> None:
        """Stop it if it runs, then start it."""
        record = self.find(ref)
        if record.running or record.state is State.RESTARTING:
            await self._stop(record, timeout_s, signal_text)
        async with self._locks.hold(record.id):
            current = self._present(record.id)
            self._call_off_restart(record.id)
            if not current.running:
                await self._start_locked(current, restart_count=0)
        self._announce(record, "restart")

    # -- wait

    def _next_exit(self, ident: str) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(ident, _Waiters()).exits.add(future)
        return future

    def _drop_waiter(self, ident: str, future: "asyncio.Future[int]") -> None:
        waiters = self._waiters.get(ident)
        if waiters is None:
            return
        waiters.exits.discard(future)
        waiters.removals.discard(future)
        if not waiters.exits and not waiters.removals:
            self._waiters.pop(ident, None)

    def waiting(self, ref: str, condition: str = "") -> "asyncio.Future[int]":
        """Return the exit code to come: at ``not-running`` (default), ``next-exit`` or ``removed``.

        The caller cancels it when it no longer waits.
        """
        if condition not in ("", "not-running", "next-exit", "removed"):
            raise InvalidArgument(f'invalid condition: "{condition}"')
        record = self.find(ref)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: self._drop_waiter(record.id, done))
        if condition in ("", "not-running") and not record.running and record.state is not State.RESTARTING:
            future.set_result(record.exit_code)
            return future
        waiters = self._waiters.setdefault(record.id, _Waiters())
        (waiters.removals if condition == "removed" else waiters.exits).add(future)
        return future

    # -- pause

    async def pause(self, ref: str) -> None:
        """Freeze every process."""
        ident = self.find(ref).id
        async with self._locks.hold(ident):
            record = self._present(ident)
            if record.state is State.PAUSED:
                raise IsPaused(ident)
            if record.state is State.RESTARTING:
                raise IsRestarting(ident)
            if not record.running:
                raise NotRunning(ident)
            await self.runtime.pause(ident)
            record = await self._put(record, state=states.after(record.state, states.Event.PAUSE))
        self._announce(record, "pause")

    async def unpause(self, ref: str) -> None:
        """Thaw every process."""
        ident = self.find(ref).id
        async with self._locks.hold(ident):
            record = self._present(ident)
            if record.state is not State.PAUSED:
                raise NotPaused(ident)
            await self.runtime.resume(ident)
            record = await self._put(record, state=states.after(record.state, states.Event.UNPAUSE))
        self._announce(record, "unpause")

    async def _thaw(self, record: ContainerRecord) -> None:
        # A frozen process does not die of a signal on version 1 control groups.
        try:
            await self.runtime.resume(record.id)
        except EngineError as exc:
            log.debug("thawing %s: %s", record.short_id, exc)

    # -- remove

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove a container; with `force` a running one too, with `volumes` its anonymous volumes."""
        if link:
            raise InvalidArgument(f"cannot remove link {ref}: links are not kept apart from their containers")
        record = self.find(ref)
        while force and (record.running or record.state is State.RESTARTING):
            await self._end_by_force(record)
            again = self.get(record.id)
            if again is None:
                return
            record = again
        async with self._locks.hold(record.id):
            current = self.get(record.id)
            if current is None or record.id in self._removing:
                raise RemovalRunning(record.id) if current is not None else NoSuchContainer(ref)
            if current.running or current.state is State.RESTARTING:
                raise CannotRemove(current.name, current.state.value)
            await self._remove_locked(current, volumes=volumes)

    async def _end_by_force(self, record: ContainerRecord) -> None:
        if await self._settle_restart(record.id):
            return
        ended = self._next_exit(record.id)
        try:
            if await self._send(record.id, SIGKILL, by_user=True):
                current = self.get(record.id)
                if current is not None and current.state is State.PAUSED:
                    await self._thaw(current)
                async with asyncio.timeout(KILL_LIMIT_S):
                    await asyncio.shield(ended)
        except TimeoutError:
            raise EngineError(
                f'cannot remove container "/{record.name}": could not kill container: '
                "tried to kill container, but did not receive an exit event"
            ) from None
        finally:
            self._drop_waiter(record.id, ended)

    async def _remove_after_exit(self, ident: str) -> None:
        async with self._locks.hold(ident):
            record = self.get(ident)
            if record is not None and not record.running:
                await self._remove_locked(record, volumes=True)

    async def _remove_locked(
        self, record: ContainerRecord, *, volumes: bool, after: "asyncio.Task[None] | None" = None
    ) -> None:
        """Remove what is there, the record last; directories go behind the answer."""
        self._removing.add(record.id)
        try:
            removing = record
            if self._table(record) is self._durable:
                removing = await self._put(record, state=State.REMOVING)
            await self._networks.forget(record.id)
            await self._volumes.release(record.id, record.mounts, remove_anonymous=volumes)
            await self._table(removing).drop(record.id)
        except BaseException:
            if self.get(record.id) is not None:
                await finish(self._put(record, state=State.DEAD))
            raise
        finally:
            self._removing.discard(record.id)
        if self._names.get(record.name) == record.id:
            del self._names[record.name]
        for companion in self._companions:
            await companion.removed(record)
        self._announce(record, "destroy")
        waiters = self._waiters.pop(record.id, None)
        for future in {*waiters.removals, *waiters.exits} if waiters is not None else ():
            if not future.done():
                future.set_result(record.exit_code)
        self._tasks.start(f"tidy {record.short_id}", self._tidy(record.id, after))

    async def _tidy(self, ident: str, after: "asyncio.Task[None] | None") -> None:
        if after is not None:
            await asyncio.wait((after,))
        await self.launcher.remove_run_directory(ident)
        await self.launcher.remove_directory(ident)

    async def prune(self, filters: Filters) -> tuple[list[str], int]:
        """Remove what does not run and passes ``until`` and ``label``; return the ids and the bytes freed."""
        filters.only(("until", "label", "label!"))
        until = lists.until_ns(filters, self._clock.now_ns())
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        removed, freed = [], 0
        try:
            for record in self.all():
                if record.state not in (State.CREATED, State.EXITED, State.DEAD):
                    continue
                labels = record.config.labels or {}
                if not filters.labels(labels) or not filters.without_labels(labels):
                    continue
                if until is not None and record.created_ns > until:
                    continue
                size = await self._writable_size(record)
                try:
                    await self.remove(record.id)
                except EngineError as exc:
                    log.warning("prune: container %s stays: %s", record.short_id, exc)
                    continue
                removed.append(record.id)
                freed += size
        finally:
            self._pruning = False
        self._bus.publish(Event(type="container", action="prune", actor_id="", attributes={"reclaimed": str(freed)}))
        return removed, freed

    # -- rename, update

    async def rename(self, ref: str, name: str) -> None:
        """Give a container another name."""
        record = self.find(ref)
        bare = name.removeprefix("/")
        if not bare:
            raise InvalidArgument("Neither old nor new names may be empty")
        if bare == record.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        if not is_restricted_name(bare):
            raise BadName(name)
        async with self._locks.hold(record.id):
            record = self._present(record.id)
            self._take_name(bare, record.id)
            try:
                renamed = await self._put(record, name=bare)
                await self._networks.renamed(record.id, bare)
            except BaseException:
                self._names.pop(bare, None)
                raise
            self._names.pop(record.name, None)
        self._announce(renamed, "rename", oldName=f"/{record.name}")

    async def update(self, ref: str, want: UpdateRequest) -> list[str]:
        """Change limits and the restart policy; a running container has them at once."""
        ident = self.find(ref).id
        async with self._locks.hold(ident):
            record = self._present(ident)
            host = self._updated(record.host_config, want)
            if record.running and (limits := resources.limits(host, has_swap=self.host.has_swap)):
                await self.runtime.update(ident, limits)
            record = await self._put(record, host_config=host)
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
        options.check_cpu(updated, self.host.cpus)
        if want.pids_limit is not None and want.pids_limit <= 0:
            updated = msgspec.structs.replace(updated, pids_limit=None)
        return updated

    # -- looking

    async def inspect(self, ref: str, *, size: bool = False) -> dict[str, Any]:
        """Render a container whole, as ``GET /containers/{id}/json`` does."""
        record = self.find(ref)
        image = self._images.by_id(record.image_id)
        sizes = await self._sizes(record, image) if size else None
        return inspection.render(
            record,
            layout=self._layout,
            networks=self._networks.settings(record.id),
            log_path=str(self.launcher.log_path(record) or ""),
            restarting=record.state is State.RESTARTING,
            sizes=sizes,
        )

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
        found = lists.select(
            self.all(), query, lists.Facts(self._find_quietly, self._image_ids, self._networks_of, self._networks.ports)
        )
        rows = []
        for record in found:
            image = self._images.by_id(record.image_id)
            rows.append(
                lists.render(
                    record,
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
            return self.find(ref)
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
        record = self.find(ref)
        if record.state is State.RESTARTING:
            raise IsRestarting(record.id)
        if not record.running:
            raise NotRunning(record.id)
        pids = await in_thread(self.launcher.processes, record)
        words = (ps_args or "-ef").split()
        argv = ["ps", *words]
        try:
            said = await process.run(argv, timeout_s=KILL_LIMIT_S)
        except process.ProgramFailed as exc:
            raise InvalidArgument(f"ps: {exc.said.strip()}") from None
        table = lists.processes(said.stdout.decode(errors="replace"), pids)
        self._announce(record, "top")
        return table

    @asynccontextmanager
    async def mounted(self, record: ContainerRecord) -> AsyncIterator[Path]:
        """Lend the root directory of a container, volumes included; while it does not run it cannot start, either."""
        async with self._locks.hold(record.id):
            record = self._present(record.id)
            if record.running:
                yield Path(f"/proc/{record.pid}/root")
                return
            async with mounted(self._layout, self._volumes, record) as root:
                yield root

    async def changes(self, ref: str) -> list[dict[str, Any]] | None:
        """List what the container has changed of its image's files; None (Docker's null) if nothing."""
        record = self.find(ref)
        upper = str(self._layout.container(record.id) / "diff")
        found = await in_thread(layerdiff.changes, upper, record.layers, ENGINES_OWN)
        return [{"Path": path, "Kind": kind} for path, kind in found] or None

    # -- start and end of the engine

    async def adopt(self) -> None:
        """Look at the machine, find what still runs, finish what was left half done; see the module."""
        self._host = await in_thread(surroundings.look)
        layout = self._layout
        await in_thread(self._make_roots)
        runtime = await choose(
            self._wanted_runtime,
            layout.runtime_root,
            layout.exec_root / "trial",
            layout.cgroup_parent,
            self._host.groups,
        )
        self._host = await in_thread(surroundings.look)  # the choice may have mounted a controller
        log.info("OCI runtime %s %s: %s", runtime.name, runtime.version, runtime.why)
        self._launcher = Launcher(layout, runtime, self._host, self._networks, self._volumes, self)
        self._names = {record.name: record.id for record in self.all()}
        alive = {record.id: held for record in self.all() if (held := self._still_held(record)) is not None}
        await self._networks.adopt(set(alive))
        for ident, held in alive.items():
            record = self.get(ident)
            if record is not None:
                self._runs[ident] = _Run(held)
                for companion in self._companions:
                    companion.started(record)
                self._tasks.start(f"watch {ident[:12]}", self._watch(ident, self._runs[ident]))
        for record in self.all():
            if record.id not in alive:
                await self._adopt_resting(record)
        await self._sweep()

    def _make_roots(self) -> None:
        for path in (
            self._layout.runtime_root,
            self._layout.exec_root / "exits",
            self._layout.exec_root / "containers",
            self._layout.exec_root / "trial",
            self._layout.data_root / "containers",
        ):
            path.mkdir(parents=True, exist_ok=True, mode=0o711)

    def _still_held(self, record: ContainerRecord) -> pidfd.Held | None:
        if not record.running:
            return None
        monitor = pidfd.hold(record.conmon_pid, record.conmon_started)
        return monitor or pidfd.hold(record.pid, record.pid_started)

    async def _adopt_resting(self, record: ContainerRecord) -> None:
        """Bring a container that does not run to the state it ought to be in."""
        verdict = reconcile.resting(record, same_boot=self._layout.bundle(record.id).exists())
        async with self._locks.hold(record.id):
            match verdict:
                case reconcile.Verdict.REMOVE:
                    await self.launcher.clear(record)
                    await self._remove_locked(record, volumes=True)
                case reconcile.Verdict.ENDED:
                    code = conmon.exit_code(self.launcher.exit_dir, record.id)
                    await self._ended_locked(record.id, None, UNKNOWN_EXIT if code is None else code)
                case reconcile.Verdict.START:
                    await self.launcher.clear(record)
                    resting = await self._put(record, state=State.RESTARTING, pid=0, conmon_pid=0)
                    self._schedule_restart(resting, 0)
                case reconcile.Verdict.REST:
                    await self.launcher.clear(record)
                case reconcile.Verdict.CREATED:
                    return

    async def _sweep(self) -> None:
        """Remove what belongs to no record: directories, mounts, processes of creations that were cut short."""
        known = {record.id for record in self.all()}
        for name in await in_thread(self._listed, "containers", self._layout.exec_root):
            if name not in known:
                await self.launcher.forget(name, f"{self._layout.cgroup_parent}/{name}")
                await self.launcher.remove_run_directory(name)
        for name in await in_thread(self._listed, "oci", self._layout.exec_root):
            if name not in known:
                await self.launcher.forget(name, f"{self._layout.cgroup_parent}/{name}")
        for name in await in_thread(self._listed, "containers", self._layout.data_root):
            if name not in known:
                await self.launcher.remove_directory(name)

    def _listed(self, name: str, root: Any) -> list[str]:  # noqa: ANN401  a Path
        try:
            return sorted(os.listdir(root / name))
        except FileNotFoundError:
            return []
