"""Brings a container's process up to the point where it is let go, and clears away after it.

The order on the way up: network and root file system side by side, then volumes, specification, monitor. On the way
down everything in any order, each part tolerant of not being there, so that it serves a failed start, an exit and a
killed engine alike. Must not: write records or tell anybody.
"""

import asyncio
import base64
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from berth.base.aio import finish, in_thread
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.containers import links, options, surroundings
from berth.containers.errors import start_failure
from berth.containers.model import ContainerRecord
from berth.containers.monitors import conmon
from berth.containers.oci import capabilities, seccomp, spec
from berth.containers.parts import NetworkPart, VolumePart
from berth.containers.runtimes.command import Runtime, RuntimeFailed
from berth.containers.users import Identity
from berth.kernel import cgroup, mount, mountflags
from berth.kernel.removal import remove_tree
from berth.networks.model import Sandbox
from berth.volumes.mounts.model import OciMount
from berth.volumes.mounts.pins import let_go

log = logging.getLogger(__name__)

#: Name of the log file in a container's directory; written in the form of k8s-file (conmon, ctr_logging.c).
LOG_FILE: Final = "ctr.log"
#: Annotation that hands crun a compiled filter instead of the profile beside it (crun(1)); others ignore it.
_COMPILED_FILTER: Final = "run.oci.seccomp_bpf_data"


#: File by which programs know that they are in a container, as dockerd makes it.
_MARK: Final = "/.dockerenv"
#: What of a writable layer is the engine's doing and no change of the container's.
ENGINES_OWN: Final = frozenset(
    {_MARK, "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/dev", "/proc", "/sys"}
    | {"/dev/console", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sbin/docker-init"}  # noqa: S108  inside containers
)


class Neighbours(Protocol):
    """Finds the other containers that a container shares namespaces with."""

    def find(self, ref: str) -> ContainerRecord:
        """Return a container by id, name or prefix."""
        ...


@dataclass(frozen=True)
class _Root:
    identity: Identity
    around: dict[str, Any]


class Launcher:
    """Launches and clears away containers."""

    def __init__(
        self,
        layout: Layout,
        runtime: Runtime,
        host: surroundings.Host,
        networks: NetworkPart,
        volumes: VolumePart,
        neighbours: Neighbours,
    ) -> None:
        self._layout = layout
        self.runtime = runtime
        self._host = host
        self._networks = networks
        self._volumes = volumes
        self._neighbours = neighbours
        self._encoder = msgspec.json.Encoder()
        self._filters: dict[tuple[str, ...] | None, str] = {}

    @property
    def exit_dir(self) -> Path:
        """Where monitors write exit codes."""
        return self._layout.exec_root / "exits"

    def rootfs(self, ident: str) -> Path:
        """Where the container's root file system is mounted while it runs."""
        return self._layout.bundle(ident) / "rootfs"

    def who(self, record: ContainerRecord) -> Callable[[str], Identity]:
        """Return what finds users by the accounts of a container's root file system; an empty name is its own user."""
        return surroundings.knower(str(self.rootfs(record.id)), record.config.user)

    def log_path(self, record: ContainerRecord) -> Path | None:
        """The container's log file; None if its driver writes none."""
        if record.host_config.log_config.type in options.LOGLESS:
            return None
        return self._layout.container(record.id) / LOG_FILE

    def make_directories(self, record: ContainerRecord) -> None:
        """Make a container's directory (blocking); what is there already stays as it is."""
        home = self._layout.container(record.id)
        home.mkdir(mode=0o711, exist_ok=True)
        (home / "diff").mkdir(mode=0o755, exist_ok=True)
        (home / "diff" / _MARK.lstrip("/")).touch(mode=0o755)
        (home / "work").mkdir(mode=0o700, exist_ok=True)

    def make_missing_directories(self, records: Iterable[ContainerRecord]) -> None:
        """Make what a power failure took (blocking): the records were on their medium, these perhaps not."""
        for record in records:
            home = self._layout.container(record.id)
            if not (home / "work").is_dir():
                log.warning("container %s: its directory %s is missing and made again", record.short_id, home)
                self.make_directories(record)

    async def launch(self, record: ContainerRecord) -> conmon.Launched:
        """Bring the container up to the point where its process waits. On failure everything is cleared away."""
        try:
            async with asyncio.TaskGroup() as group:
                network = group.create_task(self._networks.open(record.id))
                root = group.create_task(in_thread(self._prepare_root, record))
            mounts = await self._volumes.attach(record.id, record.mounts, self.rootfs(record.id), self.who(record))
            order = self._order(record, root.result(), network.result(), mounts)
            launched = await conmon.launch(order)
            await self._keep_filter(record)
            return launched
        except BaseExceptionGroup as group_error:
            await finish(self.clear(record))
            raise _first(group_error) from None
        except conmon.RuntimeRefused as exc:
            await finish(self.clear(record))
            raise start_failure(exc.said, record.path) from None
        except BaseException:
            await finish(self.clear(record))
            raise

    def _prepare_root(self, record: ContainerRecord) -> _Root:
        bundle, home, config = self._layout.bundle(record.id), self._layout.container(record.id), record.config
        rootfs = bundle / "rootfs"
        rootfs.mkdir(parents=True, exist_ok=True)
        conmon.exit_file(self.exit_dir, record.id).unlink(missing_ok=True)
        if mount.unmount(str(rootfs), mountflags.MNT_DETACH):
            log.warning("container %s had a root mount left behind", record.short_id)
        mount.overlay(record.layers, str(home / "diff"), str(home / "work"), str(rootfs))
        identity = surroundings.who(str(rootfs), config.user, record.host_config.group_add or ())
        surroundings.make_working_directory(
            str(rootfs), config.working_dir, readonly=record.host_config.readonly_rootfs
        )
        return _Root(identity, self._look(record, bundle))

    def _look(self, record: ContainerRecord, bundle: Path) -> dict[str, Any]:
        host = record.host_config
        around: dict[str, Any] = {
            "devices": surroundings.devices(host),
            "block_devices": surroundings.block_devices(host),
        }
        if host.ipc_mode == "shareable":
            shm = bundle / "shm"
            shm.mkdir(exist_ok=True)
            size = host.shm_size or 0
            flags = mountflags.MS_NOSUID | mountflags.MS_NODEV | mountflags.MS_NOEXEC
            mount.unmount(str(shm), mountflags.MNT_DETACH)
            mount.mount("shm", str(shm), "tmpfs", flags, f"mode=1777,size={size}")
            around["shm"] = str(shm)
        elif host.ipc_mode == "none":
            around["shm"] = None
        elif host.ipc_mode == "host":
            around["shm"] = "/dev/shm"  # noqa: S108  the host's own, as asked for
        return around

    def _order(
        self, record: ContainerRecord, root: _Root, sandbox: Sandbox, mounts: Sequence[OciMount]
    ) -> conmon.Order:
        host, config = record.host_config, record.config
        security = options.security(host.security_opt or ())
        caps = capabilities.chosen(
            self._host.known_capabilities, host.cap_add or (), host.cap_drop or (), privileged=host.privileged
        )
        around = dict(root.around)
        joined = self._joined(record, sandbox, around)
        init = host.init if host.init is not None else False
        if init and self._host.init is None:
            raise EngineError("no init program is installed; install tini")
        built = spec.build(
            record,
            spec.Surroundings(
                rootfs=str(self.rootfs(record.id)),
                cgroup_path=record.cgroup_path(self._layout.cgroup_parent),
                identity=root.identity,
                known_capabilities=self._host.known_capabilities,
                hostname=os.uname().nodename if joined.uts is None else config.hostname or record.short_id,
                namespaces=joined,
                own_network=sandbox.netns_path is not None and not host.network_mode.startswith("container:"),
                files=sandbox.files,
                mounts=mounts,
                seccomp=self._seccomp(security, caps),
                no_new_privileges=security.no_new_privileges,
                system_paths=security.system_paths,
                init=self._host.init if init else None,
                has_swap=self._host.has_swap,
                rlimit_ceiling=self._host.rlimit_ceiling,
                environment=self._told_of_links(record, sandbox),
                **around,
            ),
        )
        if (compiled := self._filters.get(self._filter_key(record))) is not None:
            built.setdefault("annotations", {})[_COMPILED_FILTER] = compiled
        bundle = self._layout.bundle(record.id)
        (bundle / "config.json").write_bytes(self._encoder.encode(built))
        log_path = self.log_path(record)
        return conmon.Order(
            ident=record.id,
            name=record.name,
            bundle=bundle,
            exit_dir=self.exit_dir,
            runtime=self.runtime.path,
            runtime_args=self.runtime.global_args,
            logs=_logs(host.log_config.type, log_path),
            log_bytes=options.log_limits(host.log_config).monitors_bytes,
            terminal=config.tty,
            stdin=config.open_stdin,
            leave_stdin_open=config.open_stdin and not config.stdin_once,
        )

    def _told_of_links(self, record: ContainerRecord, sandbox: Sandbox) -> list[str]:
        found: list[str] = []
        for one in sandbox.links:
            found += links.environment(record.name, one, self._neighbours.find(one.container_id).config.env or ())
        return found

    def _filter_key(self, record: ContainerRecord) -> tuple[str, ...] | None:
        """Return the capabilities for which the default system call filter is compiled; None if another one is used."""
        host = record.host_config
        if host.privileged or self._host.profile is None or options.security(host.security_opt or ()).seccomp:
            return None
        return capabilities.chosen(
            self._host.known_capabilities, host.cap_add or (), host.cap_drop or (), privileged=False
        )

    async def _keep_filter(self, record: ContainerRecord) -> None:
        # Compiling the profile is half of what crun does at a create; the result depends on the capabilities alone.
        key = self._filter_key(record)
        if key is not None and key not in self._filters:
            compiled = await in_thread(self.runtime.filter_of, record.id)
            if compiled:
                self._filters[key] = base64.b64encode(compiled).decode()

    def _seccomp(self, security: options.Security, caps: tuple[str, ...]) -> dict[str, Any] | None:
        match security.seccomp:
            case "":
                return self._host.seccomp_for(caps)
            case "unconfined":
                return None
            case text:
                return seccomp.compiled(seccomp.parse(text), self._host.machine, self._host.kernel, caps)

    def _joined(self, record: ContainerRecord, sandbox: Sandbox, around: dict[str, Any]) -> spec.Joined:
        host = record.host_config
        ipc: str | None = ""
        pid: str | None = ""
        if host.ipc_mode == "host":
            ipc = None
        elif host.ipc_mode.startswith("container:"):
            donor = options.donor(self._neighbours, host.ipc_mode, "ipc")
            ipc, around["shm"] = f"/proc/{donor.pid}/ns/ipc", str(self._layout.bundle(donor.id) / "shm")
        if host.pid_mode == "host":
            pid = None
        elif host.pid_mode.startswith("container:"):
            pid = f"/proc/{options.donor(self._neighbours, host.pid_mode, 'pid').pid}/ns/pid"
        uts: str | None = ""
        if host.uts_mode == "host":
            uts = None
        return spec.Joined(
            network=sandbox.netns_path,
            ipc=ipc,
            pid=pid,
            uts=uts,
            cgroup="" if host.cgroupns_mode == "private" else None,
        )

    async def let_go(self, record: ContainerRecord) -> None:
        """Let the waiting process run. Raises what Docker says of a command that cannot be executed."""
        try:
            await self.runtime.start(record.id)
        except RuntimeFailed as exc:
            raise start_failure(str(exc), record.path) from None

    async def clear(self, record: ContainerRecord) -> None:
        """Take away all that a run needs: processes, mounts, networks. May be repeated; logs what it cannot do."""
        await self._quietly("runtime state", self.runtime.delete(record.id))
        await self._quietly("control groups", self._remove_groups(record))
        await self.release(record)

    async def _remove_groups(self, record: ContainerRecord) -> None:
        # A runtime that failed before it wrote its state knows nothing of the groups it has made.
        await in_thread(cgroup.remove, self._host.groups, record.cgroup_path(self._layout.cgroup_parent))

    async def release(self, record: ContainerRecord) -> None:
        """Give back networks, volumes and mounts, whose processes are gone; what the runtime holds stays."""
        await asyncio.gather(
            self._quietly("networks", self._networks.close(record.id)),
            self._quietly("mounts", self._let_go_of_mounts(record)),
        )

    async def _let_go_of_mounts(self, record: ContainerRecord) -> None:
        await self._volumes.detach(record.id, record.mounts)
        await in_thread(self._unmount, record.id)

    def _unmount(self, ident: str) -> None:
        bundle = self._layout.bundle(ident)
        for name in ("rootfs", "shm"):
            mount.unmount(str(bundle / name), mountflags.MNT_DETACH)
        # The directory is removed some time: what is mounted in there must not be taken for part of it.
        let_go(self._layout.pins(ident))

    async def forget(self, ident: str, group: str) -> None:
        """Remove what the runtime leaves behind after a run; what still runs in its groups is killed."""
        if not await in_thread(cgroup.remove, self._host.groups, group):
            await self._quietly("runtime state", self.runtime.delete(ident))
            await in_thread(cgroup.remove, self._host.groups, group)
        await self._quietly("runtime state", in_thread(self.runtime.forget, ident))

    async def remove_run_directory(self, ident: str) -> None:
        """Remove the bundle; its mounts are gone."""
        await self._quietly("bundle", in_thread(self._remove_bundle, ident))

    def _remove_bundle(self, ident: str) -> None:
        self._unmount(ident)
        remove_tree(self._layout.bundle(ident))
        conmon.exit_file(self.exit_dir, ident).unlink(missing_ok=True)

    async def remove_directory(self, ident: str) -> None:
        """Remove a container's durable directory: its writable layer and log."""
        await self._quietly("directory", in_thread(remove_tree, self._layout.container(ident)))

    def oom_kills(self, record: ContainerRecord) -> int:
        """Count processes killed for want of memory; the control group must still be there (blocking)."""
        return cgroup.oom_kills(self._host.groups, record.cgroup_path(self._layout.cgroup_parent))

    def processes(self, record: ContainerRecord) -> list[int]:
        """List the host's pids of a container's processes (blocking)."""
        return cgroup.processes(self._host.groups, record.cgroup_path(self._layout.cgroup_parent))

    async def _quietly(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (EngineError, OSError) as exc:
            log.warning("cannot clear away %s: %s", what, exc)


def _logs(driver: str, path: Path | None) -> tuple[str, ...]:
    """Say where conmon writes a log: always to the file that logs are read from, to the journal as well if asked."""
    if path is None:
        return ()
    return (f"k8s-file:{path}", "journald") if driver == "journald" else (f"k8s-file:{path}",)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single error of a group, an engine's error before any other."""
    flat: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
        else:
            flat.append(one)
    return next((one for one in flat if isinstance(one, EngineError)), flat[0])
