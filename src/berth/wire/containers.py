"""Containers as the Docker Engine API writes them: requests and the parts that requests and answers share.

Lists and maps may be null, as Docker keeps and shows what a client sent; other fields are never null, because
`decode_create` drops nulls the way Go's decoder does. Pure; must not decide anything.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from berth.base.errors import InvalidArgument
from berth.wire import folding
from berth.wire.decode import strictly
from berth.wire.networks import NetworkingConfig, PortMap
from berth.wire.volumes import Mount

Struct = msgspec.Struct
field = msgspec.field


class Healthcheck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to find out whether a container is well. Times in nanoseconds, 0 = inherit or default.

    `test`: ``[]`` inherit, ``["NONE"]`` off, ``["CMD", …]``, ``["CMD-SHELL", text]``.
    """

    test: list[str] | None = field(name="Test", default=None)
    interval: int = field(name="Interval", default=0)
    timeout: int = field(name="Timeout", default=0)
    start_period: int = field(name="StartPeriod", default=0)
    start_interval: int = field(name="StartInterval", default=0)
    retries: int = field(name="Retries", default=0)


class ContainerConfig(Struct, frozen=True, kw_only=True):
    """What a container is, wherever it runs (``Config``)."""

    hostname: str = field(name="Hostname", default="")
    domainname: str = field(name="Domainname", default="")
    user: str = field(name="User", default="")
    attach_stdin: bool = field(name="AttachStdin", default=False)
    attach_stdout: bool = field(name="AttachStdout", default=False)
    attach_stderr: bool = field(name="AttachStderr", default=False)
    exposed_ports: dict[str, dict[str, Any] | None] | None = field(name="ExposedPorts", default=None)
    tty: bool = field(name="Tty", default=False)
    open_stdin: bool = field(name="OpenStdin", default=False)
    stdin_once: bool = field(name="StdinOnce", default=False)
    env: list[str] | None = field(name="Env", default=None)
    cmd: list[str] | None = field(name="Cmd", default=None)
    healthcheck: Healthcheck | None = field(name="Healthcheck", default=None)
    args_escaped: bool = field(name="ArgsEscaped", default=False)
    image: str = field(name="Image", default="")
    volumes: dict[str, dict[str, Any] | None] | None = field(name="Volumes", default=None)
    working_dir: str = field(name="WorkingDir", default="")
    entrypoint: list[str] | None = field(name="Entrypoint", default=None)
    network_disabled: bool = field(name="NetworkDisabled", default=False)
    mac_address: str = field(name="MacAddress", default="")
    on_build: list[str] | None = field(name="OnBuild", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    stop_signal: str = field(name="StopSignal", default="")
    stop_timeout: int | None = field(name="StopTimeout", default=None)
    shell: list[str] | None = field(name="Shell", default=None)


class LogConfig(Struct, frozen=True, kw_only=True):
    """Log driver and its options."""

    type: str = field(name="Type", default="")
    config: dict[str, str] | None = field(name="Config", default=None)


class RestartPolicy(Struct, frozen=True, kw_only=True):
    """When to start again by itself: no, always, unless-stopped, on-failure."""

    name: str = field(name="Name", default="")
    maximum_retry_count: int = field(name="MaximumRetryCount", default=0)


class DeviceMapping(Struct, frozen=True, kw_only=True):
    """A device of the host inside the container."""

    path_on_host: str = field(name="PathOnHost", default="")
    path_in_container: str = field(name="PathInContainer", default="")
    cgroup_permissions: str = field(name="CgroupPermissions", default="")


class DeviceRequest(Struct, frozen=True, kw_only=True):
    """Devices asked for by ability (``--gpus``)."""

    driver: str = field(name="Driver", default="")
    count: int = field(name="Count", default=0)
    device_ids: list[str] | None = field(name="DeviceIDs", default=None)
    capabilities: list[list[str]] | None = field(name="Capabilities", default=None)
    options: dict[str, str] | None = field(name="Options", default=None)


class Ulimit(Struct, frozen=True, kw_only=True):
    """One resource limit of the process; -1 means unlimited."""

    name: str = field(name="Name", default="")
    hard: int = field(name="Hard", default=0)
    soft: int = field(name="Soft", default=0)


class ThrottleDevice(Struct, frozen=True, kw_only=True):
    """A rate (bytes or operations per second) on one block device."""

    path: str = field(name="Path", default="")
    rate: int = field(name="Rate", default=0)


class WeightDevice(Struct, frozen=True, kw_only=True):
    """A relative weight on one block device."""

    path: str = field(name="Path", default="")
    weight: int = field(name="Weight", default=0)


class Resources(Struct, frozen=True, kw_only=True):
    """Limits; 0 or null = none. Bytes, microseconds (periods, quotas), 1e-9 CPUs (``NanoCpus``)."""

    cpu_shares: int = field(name="CpuShares", default=0)
    memory: int = field(name="Memory", default=0)
    nano_cpus: int = field(name="NanoCpus", default=0)
    cgroup_parent: str = field(name="CgroupParent", default="")
    blkio_weight: int = field(name="BlkioWeight", default=0)
    blkio_weight_device: list[WeightDevice] | None = field(name="BlkioWeightDevice", default=None)
    blkio_device_read_bps: list[ThrottleDevice] | None = field(name="BlkioDeviceReadBps", default=None)
    blkio_device_write_bps: list[ThrottleDevice] | None = field(name="BlkioDeviceWriteBps", default=None)
    blkio_device_read_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceReadIOps", default=None)
    blkio_device_write_iops: list[ThrottleDevice] | None = field(name="BlkioDeviceWriteIOps", default=None)
    cpu_period: int = field(name="CpuPeriod", default=0)
    cpu_quota: int = field(name="CpuQuota", default=0)
    cpu_realtime_period: int = field(name="CpuRealtimePeriod", default=0)
    cpu_realtime_runtime: int = field(name="CpuRealtimeRuntime", default=0)
    cpuset_cpus: str = field(name="CpusetCpus", default="")
    cpuset_mems: str = field(name="CpusetMems", default="")
    devices: list[DeviceMapping] | None = field(name="Devices", default=None)
    device_cgroup_rules: list[str] | None = field(name="DeviceCgroupRules", default=None)
    device_requests: list[DeviceRequest] | None = field(name="DeviceRequests", default=None)
    memory_reservation: int = field(name="MemoryReservation", default=0)
    memory_swap: int = field(name="MemorySwap", default=0)
    memory_swappiness: int | None = field(name="MemorySwappiness", default=None)
    oom_kill_disable: bool | None = field(name="OomKillDisable", default=None)
    pids_limit: int | None = field(name="PidsLimit", default=None)
    ulimits: list[Ulimit] | None = field(name="Ulimits", default=None)
    cpu_count: int = field(name="CpuCount", default=0)
    cpu_percent: int = field(name="CpuPercent", default=0)
    io_maximum_iops: int = field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = field(name="IOMaximumBandwidth", default=0)


class HostConfig(Resources, frozen=True, kw_only=True):
    """What a container is on this host (``HostConfig``)."""

    binds: list[str] | None = field(name="Binds", default=None)
    container_id_file: str = field(name="ContainerIDFile", default="")
    log_config: LogConfig = field(name="LogConfig", default_factory=LogConfig)
    network_mode: str = field(name="NetworkMode", default="")
    port_bindings: PortMap | None = field(name="PortBindings", default=None)
    restart_policy: RestartPolicy = field(name="RestartPolicy", default_factory=RestartPolicy)
    auto_remove: bool = field(name="AutoRemove", default=False)
    volume_driver: str = field(name="VolumeDriver", default="")
    volumes_from: list[str] | None = field(name="VolumesFrom", default=None)
    mounts: list[Mount] | None = field(name="Mounts", default=None)
    console_size: list[int] | None = field(name="ConsoleSize", default=None)
    annotations: dict[str, str] | None = field(name="Annotations", default=None)
    cap_add: list[str] | None = field(name="CapAdd", default=None)
    cap_drop: list[str] | None = field(name="CapDrop", default=None)
    cgroupns_mode: str = field(name="CgroupnsMode", default="")
    dns: list[str] | None = field(name="Dns", default=None)
    dns_options: list[str] | None = field(name="DnsOptions", default=None)
    dns_search: list[str] | None = field(name="DnsSearch", default=None)
    extra_hosts: list[str] | None = field(name="ExtraHosts", default=None)
    group_add: list[str] | None = field(name="GroupAdd", default=None)
    ipc_mode: str = field(name="IpcMode", default="")
    cgroup: str = field(name="Cgroup", default="")
    links: list[str] | None = field(name="Links", default=None)
    oom_score_adj: int = field(name="OomScoreAdj", default=0)
    pid_mode: str = field(name="PidMode", default="")
    privileged: bool = field(name="Privileged", default=False)
    publish_all_ports: bool = field(name="PublishAllPorts", default=False)
    readonly_rootfs: bool = field(name="ReadonlyRootfs", default=False)
    security_opt: list[str] | None = field(name="SecurityOpt", default=None)
    storage_opt: dict[str, str] | None = field(name="StorageOpt", default=None)
    tmpfs: dict[str, str] | None = field(name="Tmpfs", default=None)
    uts_mode: str = field(name="UTSMode", default="")
    userns_mode: str = field(name="UsernsMode", default="")
    shm_size: int = field(name="ShmSize", default=0)
    sysctls: dict[str, str] | None = field(name="Sysctls", default=None)
    runtime: str = field(name="Runtime", default="")
    isolation: str = field(name="Isolation", default="")
    masked_paths: list[str] | None = field(name="MaskedPaths", default=None)
    readonly_paths: list[str] | None = field(name="ReadonlyPaths", default=None)
    init: bool | None = field(name="Init", default=None)


class ContainerCreate(ContainerConfig, frozen=True, kw_only=True):
    """Body of ``POST /containers/create``: the configuration with two more objects in it."""

    host_config: HostConfig = field(name="HostConfig", default_factory=HostConfig)
    networking_config: NetworkingConfig = field(name="NetworkingConfig", default_factory=NetworkingConfig)


class UpdateRequest(Struct, frozen=True, kw_only=True):
    """Body of ``POST /containers/{id}/update``: absent or 0 = leave as it is."""

    cpu_shares: int = field(name="CpuShares", default=0)
    memory: int = field(name="Memory", default=0)
    nano_cpus: int = field(name="NanoCpus", default=0)
    blkio_weight: int = field(name="BlkioWeight", default=0)
    cpu_period: int = field(name="CpuPeriod", default=0)
    cpu_quota: int = field(name="CpuQuota", default=0)
    cpu_realtime_period: int = field(name="CpuRealtimePeriod", default=0)
    cpu_realtime_runtime: int = field(name="CpuRealtimeRuntime", default=0)
    cpuset_cpus: str = field(name="CpusetCpus", default="")
    cpuset_mems: str = field(name="CpusetMems", default="")
    memory_reservation: int = field(name="MemoryReservation", default=0)
    memory_swap: int = field(name="MemorySwap", default=0)
    pids_limit: int | None = field(name="PidsLimit", default=None)
    restart_policy: RestartPolicy = field(name="RestartPolicy", default_factory=RestartPolicy)


def config_of(create: ContainerConfig) -> ContainerConfig:
    """Return the ``Config`` part of a create request alone."""
    return ContainerConfig(**{name: getattr(create, name) for name in ContainerConfig.__struct_fields__})


#: Maps whose keys are the user's: a null value in them means something, or is part of the data.
_USER_KEYED: Final = frozenset(
    {"ExposedPorts", "Volumes", "PortBindings", "EndpointsConfig", "Sysctls", "StorageOpt", "Tmpfs", "Annotations"}
)
#: Fields that Docker also takes as one string in place of a list.
_STRING_OR_LIST: Final = frozenset({"Cmd", "Entrypoint", "Shell", "Test"})

T = TypeVar("T")


def decode_create(raw: bytes) -> ContainerCreate:
    """Decode the body of a create request. Raises `InvalidArgument` naming the field that is wrong."""
    return decode(raw, ContainerCreate)


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode a body of this module, null meaning absent as in Go. Raises `InvalidArgument`."""
    try:
        plain = strictly(raw, object)
        if not isinstance(plain, dict):
            raise InvalidArgument("invalid JSON: expected an object")
        if folding.is_needed(raw, kind):
            plain = folding.fold(plain, kind)
        return msgspec.convert(_tidied(plain), kind)
    except msgspec.DecodeError as exc:
        raise InvalidArgument(f"invalid JSON: {exc}") from None
    except msgspec.ValidationError as exc:
        raise InvalidArgument(f"invalid JSON: {exc}") from None
    except RecursionError:
        raise InvalidArgument("invalid JSON: exceeded max depth") from None


def _tidied(value: Any) -> Any:  # noqa: ANN401  any JSON value
    if isinstance(value, Mapping):
        tidy: dict[str, Any] = {}
        for key, inner in value.items():
            if inner is None:
                continue
            if key == "Labels" and isinstance(inner, dict):
                tidy[key] = {name: "" if text is None else text for name, text in inner.items()}
            elif key in _STRING_OR_LIST and isinstance(inner, str):
                tidy[key] = [inner]
            else:
                tidy[key] = inner if key in _USER_KEYED else _tidied(inner)
        return tidy
    if isinstance(value, list):
        return [_tidied(inner) for inner in value]
    return value
