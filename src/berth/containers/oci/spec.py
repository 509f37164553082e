"""Builds the OCI runtime specification of a container out of its record and what the host gives it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from berth.containers.model import ContainerRecord
from berth.containers.oci import capabilities, defaults, resources
from berth.containers.users import Identity
from berth.volumes.mounts.model import OciMount
from berth.wire.containers import ContainerConfig, Ulimit

#: Version of the specification that is written (github.com/opencontainers/runtime-spec).
OCI_VERSION: Final = "1.0.2"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device node of the host to be made in the container."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0
    access: str = "rwm"


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Namespaces of others to enter: path by kind; a kind that maps to None is the host's and not made new."""

    network: str | None = ""
    ipc: str | None = ""
    pid: str | None = ""
    uts: str | None = ""
    cgroup: str | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the host gives a container at one start."""

    rootfs: str
    cgroup_path: str
    identity: Identity
    known_capabilities: Sequence[str]
    hostname: str
    namespaces: Joined
    #: Whether the network namespace is this container's alone.
    own_network: bool = False
    #: Target → file of the host, for hosts, resolv.conf, hostname.
    files: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[OciMount] = ()
    devices: Sequence[Device] = ()
    #: The devices' numbers by path, for block device limits.
    block_devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: In the OCI form; None = unconfined.
    seccomp: dict[str, Any] | None = None
    no_new_privileges: bool = False
    #: ``systempaths=unconfined``.
    system_paths: bool = False
    init: str | None = None
    #: Directory of the host to bind at /dev/shm instead of a fresh tmpfs; "" = fresh, None = no /dev/shm at all.
    shm: str | None = ""
    has_swap: bool = True
    #: Hard limits that cannot be exceeded, by resource name in small letters.
    rlimit_ceiling: Mapping[str, int] = field(default_factory=dict)
    environment: Sequence[str] = ()


def build(record: ContainerRecord, around: Surroundings) -> dict[str, Any]:
    """Write the specification, ready to be encoded as ``config.json``."""
    host = record.host_config
    return {
        "ociVersion": OCI_VERSION,
        "process": process(record, around),
        "root": {"path": around.rootfs, "readonly": host.readonly_rootfs},
        **({"hostname": around.hostname} if around.namespaces.uts is not None else {}),
        **(
            {"domainname": record.config.domainname}
            if record.config.domainname and around.namespaces.uts is not None
            else {}
        ),
        "mounts": _mounts(record, around),
        "linux": _linux(record, around),
        **({"annotations": dict(host.annotations)} if host.annotations else {}),
    }


def process(record: ContainerRecord, around: Surroundings) -> dict[str, Any]:
    """Write the ``process`` part; an exec starts from the same."""
    config, host = record.config, record.host_config
    caps = list(
        capabilities.chosen(
            around.known_capabilities, host.cap_add or (), host.cap_drop or (), privileged=host.privileged
        )
    )
    args = [record.path, *record.args]
    if around.init is not None:
        args = [defaults.INIT_TARGET, "--", *args]
    identity = around.identity
    wire: dict[str, Any] = {
        "terminal": config.tty,
        "user": {
            "uid": identity.uid,
            "gid": identity.gid,
            **({"additionalGids": list(identity.groups)} if identity.groups else {}),
        },
        "args": args,
        "env": environment(config, around.hostname, identity.home, around.environment),
        "cwd": config.working_dir or "/",
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        "oomScoreAdj": host.oom_score_adj,
        "noNewPrivileges": around.no_new_privileges,
    }
    if host.console_size and any(host.console_size) and config.tty:
        wire["consoleSize"] = {"height": host.console_size[0], "width": host.console_size[1]}
    if host.ulimits:
        wire["rlimits"] = [_rlimit(one, around.rlimit_ceiling) for one in host.ulimits]
    return wire


def environment(config: ContainerConfig, hostname: str, home: str, more: Sequence[str] = ()) -> list[str]:
    """Return the variables of a container's process: defaults, links, the container's own; a bare name removes one."""
    table = {"PATH": defaults.PATH, "HOSTNAME": hostname}
    if config.tty:
        table["TERM"] = "xterm"
    for entry in (*more, *(config.env or ())):
        name, equals, value = entry.partition("=")
        if equals:
            table[name] = value
        else:
            table.pop(name, None)
    table.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in table.items()]


def _rlimit(one: Ulimit, ceiling: Mapping[str, int]) -> dict[str, Any]:
    # Asking for more than the hard limit fails where the engine may not raise it: clamp (DESIGN, traps).
    most = ceiling.get(one.name.lower())
    hard = one.hard if one.hard >= 0 else 2**64 - 1
    soft = one.soft if one.soft >= 0 else 2**64 - 1
    if most is not None:
        hard = min(hard, most)
    return {"type": f"RLIMIT_{one.name.upper()}", "hard": hard, "soft": min(soft, hard)}


def _mounts(record: ContainerRecord, around: Surroundings) -> list[dict[str, Any]]:
    host = record.host_config
    taken = {mount.destination.rstrip("/") or "/" for mount in around.mounts}
    wire = [dict(mount) for mount in defaults.MOUNTS if mount["destination"] not in taken]
    if host.privileged:
        for mount in wire:
            if mount["type"] in ("sysfs", "cgroup"):
                mount["options"] = [one for one in _options(mount) if one != "ro"]
    if around.namespaces.ipc is None:
        wire.append(defaults.bind("/dev/mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"))
    elif "/dev/mqueue" not in taken:
        wire.append(dict(defaults.MQUEUE))
    if "/dev/shm" not in taken and around.shm is not None:  # noqa: S108  the place inside the container
        if around.shm:
            wire.append(defaults.bind("/dev/shm", around.shm, "nosuid", "noexec", "nodev"))  # noqa: S108
        else:
            wire.append(defaults.shm(host.shm_size or defaults.SHM_BYTES))
    files = [defaults.bind(target, source) for target, source in around.files.items() if target not in taken]
    if around.init is not None:
        files.append(defaults.bind(defaults.INIT_TARGET, around.init, "ro"))
    wanted: list[dict[str, Any]] = [
        {
            "destination": mount.destination,
            "source": mount.source,
            "type": mount.type,
            "options": list(mount.options),
        }
        for mount in around.mounts
    ]
    # By depth: a volume at /etc must not hide the files that the engine keeps there.
    return [*wire, *sorted((*files, *wanted), key=lambda mount: mount["destination"].rstrip("/").count("/"))]


def _options(mount: Mapping[str, Any]) -> list[str]:
    return list(mount["options"])


def _linux(record: ContainerRecord, around: Surroundings) -> dict[str, Any]:
    host = record.host_config
    limits = resources.limits(host, has_swap=around.has_swap)
    if block := resources.block_io(host, dict(around.block_devices)):
        limits["blockIO"] = block
    limits["devices"] = _device_rules(record, around)
    wire: dict[str, Any] = {
        "namespaces": _namespaces(around.namespaces),
        "cgroupsPath": around.cgroup_path,
        "resources": limits,
        "rootfsPropagation": _propagation(around.mounts),
    }
    sysctls = dict(host.sysctls or {})
    if around.own_network:
        sysctls = defaults.NETWORK_SYSCTLS | sysctls
    if sysctls:
        wire["sysctl"] = sysctls
    if around.devices:
        wire["devices"] = [
            {
                "path": one.path,
                "type": one.kind,
                "major": one.major,
                "minor": one.minor,
                "fileMode": one.mode,
                "uid": one.uid,
                "gid": one.gid,
            }
            for one in around.devices
        ]
    if around.seccomp is not None and not host.privileged:
        wire["seccomp"] = around.seccomp
    if not host.privileged and not around.system_paths:
        masked = host.masked_paths if host.masked_paths is not None else defaults.MASKED_PATHS
        readonly = host.readonly_paths if host.readonly_paths is not None else defaults.READONLY_PATHS
        wire["maskedPaths"] = list(masked)
        wire["readonlyPaths"] = list(readonly)
    return wire


def _namespaces(joined: Joined) -> list[dict[str, str]]:
    wire = [{"type": "mount"}]
    kinds = {
        "network": joined.network,
        "uts": joined.uts,
        "pid": joined.pid,
        "ipc": joined.ipc,
        "cgroup": joined.cgroup,
    }
    for kind, path in kinds.items():
        if path is None:
            continue
        wire.append({"type": kind, "path": path} if path.startswith("/") else {"type": kind})
    return wire


def _device_rules(record: ContainerRecord, around: Surroundings) -> list[dict[str, Any]]:
    if record.host_config.privileged:
        return [dict(rule) for rule in defaults.EVERY_DEVICE]
    rules = [dict(rule) for rule in defaults.DEVICE_RULES]
    rules += [
        {"allow": True, "type": one.kind, "major": one.major, "minor": one.minor, "access": one.access}
        for one in around.devices
    ]
    rules += [device_rule(text) for text in record.host_config.device_cgroup_rules or ()]
    return rules


def device_rule(text: str) -> dict[str, Any]:
    """Translate one ``--device-cgroup-rule`` (``c 1:3 rwm``), checked before."""
    kind, numbers, access = text.split(" ")
    major, minor = numbers.split(":")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def _propagation(mounts: Sequence[OciMount]) -> str:
    # A mount that shall see, or send, later mounts needs its root to let them through (moby, setMounts).
    asked = {option for mount in mounts for option in mount.options}
    if asked & {"shared", "rshared"}:
        return "shared"
    if asked & {"slave", "rslave"}:
        return "rslave"
    return "rprivate"
