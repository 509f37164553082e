"""What the host gives containers: looked at once when the engine starts, and per container at each start.

Must not: decide what a container gets; `berth.containers.oci.spec` does. Blocking.
"""

import contextlib
import os
import platform
import re
import resource
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from berth.base.errors import InvalidArgument, SystemFault
from berth.containers.oci import seccomp
from berth.containers.oci.defaults import ALL_CAPABILITIES
from berth.containers.oci.spec import Device
from berth.containers.users import Identity, resolve
from berth.kernel import cgroup, rootpath
from berth.wire.containers import DeviceMapping, HostConfig

#: Where distributions keep the default seccomp profile (package containers-common).
PROFILES: Final = (
    Path("/etc/containers/seccomp.json"),
    Path("/usr/share/containers/seccomp.json"),
    Path("/etc/docker/seccomp.json"),
)
#: Programs that can be a container's first process, in the order of preference.
INITS: Final = ("/usr/bin/tini-static", "/usr/bin/docker-init", "/usr/libexec/docker/docker-init", "/usr/bin/tini",
                "/usr/libexec/podman/catatonit", "/usr/bin/catatonit")  # fmt: skip

#: How much of an image's passwd or group file is read, in bytes.
_ACCOUNTS_LIMIT: Final = 4 * 1024 * 1024
_CAP_SYS_RESOURCE: Final = 24


@dataclass(frozen=True, kw_only=True)
class Host:
    """Facts about this machine that do not change while the engine runs."""

    groups: cgroup.Hierarchies
    known_capabilities: tuple[str, ...] = ALL_CAPABILITIES
    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    profile: seccomp.Profile | None = None
    profile_path: str = ""
    init: str | None = None
    has_swap: bool = True
    cpus: int = 1
    rlimit_ceiling: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    _compiled: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def seccomp_for(self, caps: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the default profile for a process with these capabilities; None where there is none."""
        if self.profile is None:
            return None
        if caps not in self._compiled:
            self._compiled[caps] = seccomp.compiled(self.profile, self.machine, self.kernel, caps)
        return self._compiled[caps]


def look() -> Host:
    """Look at the machine."""
    groups = cgroup.look()
    path = next((one for one in PROFILES if one.is_file()), None)
    init = next((one for one in INITS if os.access(one, os.X_OK)), None) or shutil.which("tini")
    has_swap = _has_swap_limit(groups)
    warnings = []
    if path is None:
        warnings.append(
            "WARNING: no seccomp profile found: containers run without system call filter; "
            "install the package that provides /usr/share/containers/seccomp.json (containers-common)"
        )
    if groups.directory("/", "memory") is None:
        warnings.append("WARNING: No memory limit support")
    elif not has_swap:
        warnings.append("WARNING: No swap limit support")
    if groups.directory("/", "pids") is None:
        warnings.append("WARNING: No pids limit support")
    return Host(
        groups=groups,
        known_capabilities=_known_capabilities(),
        machine=platform.machine(),
        kernel=_kernel(),
        profile=seccomp.parse(path.read_bytes()) if path is not None else None,
        profile_path=str(path or ""),
        init=init,
        has_swap=has_swap,
        cpus=os.cpu_count() or 1,
        rlimit_ceiling=_ceilings(),
        warnings=tuple(warnings),
    )


def _kernel() -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(match[1]), int(match[2])) if match else (5, 0)


def _known_capabilities() -> tuple[str, ...]:
    # The bounding set is what may be given on: an engine inside a container may lack some that the kernel knows.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            mask = int(line.split()[1], 16)
            return tuple(name for bit, name in enumerate(ALL_CAPABILITIES) if mask >> bit & 1)
    return ALL_CAPABILITIES


def _has_swap_limit(groups: cgroup.Hierarchies) -> bool:
    if "memory" in groups.v1:
        return (groups.v1["memory"] / "memory.memsw.limit_in_bytes").exists()
    # On the unified hierarchy the root has no such file; any group below tells.
    root = groups.unified
    return root is not None and any(root.glob("*/memory.swap.max"))


def _ceilings() -> dict[str, int]:
    ceilings: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        ceilings["nofile"] = int(Path("/proc/sys/fs/nr_open").read_text())
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:") and int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1:
            return ceilings
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            hard = resource.getrlimit(getattr(resource, name))[1]
            if hard != resource.RLIM_INFINITY:
                ceilings[name.removeprefix("RLIMIT_").lower()] = hard
    return ceilings


def who(rootfs: str, user: str, group_add: Sequence[str]) -> Identity:
    """Find out who a process of a container runs as, by the accounts of its own root file system."""
    return resolve(user, _read(rootfs, "/etc/passwd"), _read(rootfs, "/etc/group"), group_add)


def who_in_layers(layers: Sequence[str], user: str, group_add: Sequence[str]) -> Identity:
    """Do the same before a container has a root: by the topmost layer that has the accounts."""

    def read(path: str) -> str:
        return next((text for layer in layers if (text := _read(layer, path))), "")

    return resolve(user, read("/etc/passwd"), read("/etc/group"), group_add)


def knower(rootfs: str, own: str) -> Callable[[str], Identity]:
    """Return what finds users by name or number; an empty name means `own`."""
    return lambda user: who(rootfs, user or own, ())


def _read(rootfs: str, path: str) -> str:
    """Read a file inside a root that is not to be trusted; no such regular file reads as empty."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = rootpath.open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    finally:
        os.close(root)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return ""
        return file.read(_ACCOUNTS_LIMIT).decode(errors="replace")


def make_working_directory(rootfs: str, path: str, *, readonly: bool) -> None:
    """Make a container's working directory if it is not there. Raises `InvalidArgument` when a file is in the way."""
    if path in ("", "/"):
        return
    try:
        fits = rootpath.make_target(rootfs, path, directory=True)
    except rootpath.NotADirectoryHere:
        fits = False
    except SystemFault:
        if readonly:
            return
        raise
    if not fits:
        raise InvalidArgument(f"Cannot mkdir: {path} is not a directory")


def devices(host: HostConfig) -> list[Device]:
    """Look up the devices a container asks for; a privileged one gets all there are."""
    if host.privileged:
        return _every_device()
    found: list[Device] = []
    for mapping in host.devices or ():
        found += _mapped(mapping)
    return found


def _mapped(mapping: DeviceMapping) -> list[Device]:
    source = Path(mapping.path_on_host)
    target = mapping.path_in_container or mapping.path_on_host
    access = mapping.cgroup_permissions or "rwm"
    try:
        if source.is_dir():
            inside = (Path(top) / name for top, _, names in os.walk(source) for name in sorted(names))
            return [
                made
                for one in inside
                if (made := _device(one, str(Path(target) / one.relative_to(source)), access)) is not None
            ]
        made = _device(source, target, access)
    except OSError as exc:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{source}": {(exc.strerror or "").lower()}'
        ) from None
    if made is None:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{source}": not a device node'
        )
    return [made]


def _device(path: Path, target: str, access: str) -> Device | None:
    info = path.stat()
    if stat.S_ISCHR(info.st_mode):
        kind = "c"
    elif stat.S_ISBLK(info.st_mode):
        kind = "b"
    else:
        return None
    return Device(
        path=target,
        kind=kind,
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        access=access,
    )


#: Below /dev, what a container has of its own.
_OWN: Final = frozenset({"pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"})
_RUNTIMES_OWN: Final = frozenset({"null", "zero", "full", "random", "urandom", "tty"})


def _every_device() -> list[Device]:
    found = []
    for top, names, files in os.walk("/dev"):
        if top == "/dev":
            names[:] = [name for name in names if name not in _OWN]
            files = [name for name in files if name not in _OWN and name not in _RUNTIMES_OWN]  # noqa: PLW2901
        for name in sorted(files):
            path = Path(top) / name
            if path.is_symlink():
                continue
            try:
                made = _device(path, str(path), "rwm")
            except OSError:
                continue
            if made is not None:
                found.append(made)
    return found


def block_devices(host: HostConfig) -> dict[str, tuple[int, int]]:
    """Look up the numbers of the block devices that limits name. Raises `InvalidArgument`."""
    paths = [
        one.path
        for devices in (
            host.blkio_weight_device,
            host.blkio_device_read_bps,
            host.blkio_device_write_bps,
            host.blkio_device_read_iops,
            host.blkio_device_write_iops,
        )
        for one in devices or ()
    ]
    numbers = {}
    for path in paths:
        try:
            info = os.stat(path)
        except OSError as exc:
            raise InvalidArgument(f"no such device: {path}: {(exc.strerror or '').lower()}") from None
        numbers[path] = (os.major(info.st_rdev), os.minor(info.st_rdev))
    return numbers
