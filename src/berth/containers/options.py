"""What a create or update request may say: checked, completed, in Docker's words. Pure."""

import posixpath
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from berth.base.errors import Conflict, InvalidArgument, NotFound
from berth.base.units import parse_bytes
from berth.containers.errors import IsRestarting, NoCommand, NotRunning
from berth.containers.model import ContainerRecord
from berth.containers.oci import capabilities, defaults, seccomp
from berth.containers.states import State
from berth.wire.containers import ContainerConfig, Healthcheck, HostConfig, LogConfig, RestartPolicy
from berth.wire.images import ImageConfig

#: Smallest memory limit, in bytes (moby daemon_unix.go, linuxMinMemory).
MIN_MEMORY: Final = 6 * 1024 * 1024
#: Shortest interval of a health check that is not 0, in nanoseconds (moby container.MinimumDuration).
MIN_DURATION_NS: Final = 1_000_000
#: Log driver of containers that name none.
DEFAULT_LOG_DRIVER: Final = "json-file"
#: Drivers that keep nothing on disk here.
LOGLESS: Final = frozenset({"none"})
#: Options each log driver takes.
LOG_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "json-file": frozenset(
        {
            "max-size",
            "max-file",
            "compress",
            "labels",
            "labels-regex",
            "env",
            "env-regex",
            "tag",
            "mode",
            "max-buffer-size",
        }
    ),
    "local": frozenset({"max-size", "max-file", "compress", "mode", "max-buffer-size"}),
    "none": frozenset({"mode", "max-buffer-size"}),
    "journald": frozenset({"labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}),
}
RESTART_POLICIES: Final = frozenset({"", "no", "always", "unless-stopped", "on-failure"})
#: Signal that ends a container when nothing else says.
STOP_SIGNAL: Final = signal.SIGTERM
#: Seconds between the stop signal and the kill (moby daemon.stop, defaultStopTimeout).
STOP_TIMEOUT_S: Final = 10
#: Resource limits by Docker's names (docker/go-units, ulimit.go).
ULIMITS: Final = frozenset(
    {"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
     "rttime", "sigpending", "stack"}
)  # fmt: skip
_DEVICE_RULE: Final = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}\Z")


class Bad(InvalidArgument):
    """Something in the request cannot be."""


class InvalidSignal(InvalidArgument):
    """No such signal."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid signal: {text}")


class UnknownRuntime(InvalidArgument):
    """No such OCI runtime here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown or invalid runtime name: {name}")


def parse_signal(text: str) -> int:
    """Read ``KILL``, ``sigkill``, ``9``, ``SIGRTMIN+3``. Raises `InvalidSignal`."""
    wanted = text.strip()
    if wanted.isdecimal() and wanted.isascii():
        number = int(wanted)
        if 0 < number < signal.NSIG:
            return number
        raise InvalidSignal(text)
    name = wanted.upper().removeprefix("SIG")
    for base in ("RTMIN", "RTMAX"):
        if name.startswith(base):
            offset = name.removeprefix(base) or "0"
            if re.fullmatch(r"[+-]?\d+", offset):
                number = int(getattr(signal, f"SIG{base}")) + int(offset)
                if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                    return number
            raise InvalidSignal(text)
    found = getattr(signal, f"SIG{name}", None)
    if not isinstance(found, signal.Signals):
        raise InvalidSignal(text)
    return int(found)


@dataclass(frozen=True, kw_only=True)
class Security:
    """``SecurityOpt`` as parsed. `seccomp`: empty = the default, ``unconfined``, or a profile's JSON."""

    no_new_privileges: bool = False
    seccomp: str = ""
    system_paths: bool = False
    apparmor: str = ""


def security(texts: Sequence[str]) -> Security:
    """Parse ``SecurityOpt``. Raises `Bad`."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = _split(text)
        match key:
            case "no-new-privileges":
                if sign and value not in ("true", "false"):
                    raise Bad(f"invalid --security-opt 2: {text!r}")
                found["no_new_privileges"] = value != "false"
            case "seccomp":
                if value not in ("unconfined", "builtin"):
                    seccomp.parse(value)
                found["seccomp"] = "" if value == "builtin" else value
            case "apparmor":
                found["apparmor"] = value
            case "label" | "disable":
                continue
            case "systempaths":
                if value != "unconfined":
                    raise Bad(f"invalid --security-opt 2: {text!r}")
                found["system_paths"] = True
            case _ if not sign:
                raise Bad(f'invalid --security-opt 1: "{text}"')
            case _:
                raise Bad(f'invalid --security-opt 2: "{text}"')
    return Security(**found)


def _split(text: str) -> tuple[str, str, str]:
    # The first of = and : divides; a seccomp profile holds both.
    at = min((index for sign in "=:" if (index := text.find(sign)) >= 0), default=-1)
    return (text, "", "") if at < 0 else (text[:at], text[at], text[at + 1 :])


def merged(config: ContainerConfig, image: ImageConfig) -> ContainerConfig:
    """Lay the request over the image's own configuration, as moby's ``merge`` does."""
    changes: dict[str, Any] = {}
    if not config.user:
        changes["user"] = image.user
    if image.exposed_ports:
        changes["exposed_ports"] = dict(image.exposed_ports) | dict(config.exposed_ports or {})
    changes["env"] = _merged_env(image.env, config.env or ())
    if image.labels:
        changes["labels"] = dict(image.labels) | dict(config.labels or {})
    if not config.entrypoint:
        if not config.cmd:
            changes["cmd"] = list(image.cmd) or config.cmd
        if config.entrypoint is None:
            changes["entrypoint"] = list(image.entrypoint) or None
    if config.healthcheck is None or not config.healthcheck.test:
        changes["healthcheck"] = _merged_health(config.healthcheck, image.healthcheck)
    if not config.working_dir:
        changes["working_dir"] = image.working_dir
    if image.volumes:
        changes["volumes"] = dict(image.volumes) | dict(config.volumes or {})
    elif not config.volumes:
        changes["volumes"] = None
    if not config.stop_signal:
        changes["stop_signal"] = image.stop_signal
    if config.shell is None and image.shell:
        changes["shell"] = list(image.shell)
    return msgspec.structs.replace(config, **changes)


def _merged_env(image: Sequence[str], own: Sequence[str]) -> list[str]:
    named = {entry.partition("=")[0] for entry in own}
    return [*own, *(entry for entry in image if entry.partition("=")[0] not in named)]


def _merged_health(own: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if own is None or image is None:
        return own or image
    fields = ("interval", "timeout", "start_period", "start_interval", "retries")
    return Healthcheck(
        test=own.test or image.test, **{name: getattr(own, name) or getattr(image, name) for name in fields}
    )


def command(config: ContainerConfig) -> tuple[str, tuple[str, ...]]:
    """Return the program and its arguments. Raises `NoCommand`."""
    words = [*(config.entrypoint or ()), *(config.cmd or ())]
    # An entrypoint of one empty string says "none" (`--entrypoint ""`).
    if config.entrypoint == [""]:
        words = words[1:]
    if not words:
        raise NoCommand
    return words[0], tuple(words[1:])


def checked_config(config: ContainerConfig) -> ContainerConfig:
    """Check ``Config``. Raises `Bad` and others."""
    if config.working_dir and not config.working_dir.startswith("/"):
        raise Bad(f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    for entry in config.env or ():
        if entry.startswith("=") or not entry:
            raise Bad(f"invalid environment variable: {entry}")
    if config.stop_signal:
        parse_signal(config.stop_signal)
    check_process((*(config.entrypoint or ()), *(config.cmd or ())), config.env or ())
    if len(config.hostname) > 63 or "/" in config.hostname:
        raise Bad(f"invalid hostname format: {config.hostname}")
    _check_health(config.healthcheck)
    for port in config.exposed_ports or ():
        _check_port(port)
    if config.working_dir:
        clean = "/" + posixpath.normpath(config.working_dir).lstrip("/")
        return msgspec.structs.replace(config, working_dir=clean)
    return config


def check_process(command: Iterable[str], env: Iterable[str]) -> None:
    """Refuse what execve(2) cannot be given. Raises `Bad`."""
    if any("\x00" in word for word in command):
        raise Bad("a command cannot contain a NUL character")
    for entry in env:
        if "\x00" in entry:
            raise Bad(f"invalid environment variable: {entry!r}")


def _check_health(check: Healthcheck | None) -> None:
    if check is None:
        return
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    for name, value in times.items():
        if value != 0 and value < MIN_DURATION_NS:
            raise Bad(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise Bad("Retries in Healthcheck cannot be negative")
    if check.test and check.test[0] not in ("", "NONE", "CMD", "CMD-SHELL"):
        raise Bad(f"Unknown healthcheck type '{check.test[0]}' (expected 'CMD')")


def _check_port(text: str) -> None:
    port, _, protocol = text.partition("/")
    first, _, last = port.partition("-")
    numbers = [one for one in (first, last) if one]
    if not numbers or any(not one.isdecimal() or not 0 < int(one) < 65_536 for one in numbers):
        raise Bad(f'invalid port specification: "{port}"')
    if protocol and protocol.lower() not in ("tcp", "udp", "sctp"):
        raise Bad(f'invalid port specification: "{text}": unknown protocol "{protocol}"')


def checked_host_config(host: HostConfig, cpus: int) -> HostConfig:
    """Check ``HostConfig`` and fill in its defaults. Raises `Bad` and others."""
    _check_limits(host, cpus)
    _check_modes(host)
    _check_restart(host.restart_policy, auto_remove=host.auto_remove)
    _check_lists(host)
    return msgspec.structs.replace(host, **_defaults(host))


def _defaults(host: HostConfig) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    if host.memory > 0 and host.memory_swap == 0:
        filled["memory_swap"] = host.memory * 2
    if host.shm_size == 0:
        filled["shm_size"] = defaults.SHM_BYTES
    if not host.log_config.type:
        filled["log_config"] = LogConfig(type=DEFAULT_LOG_DRIVER, config=host.log_config.config or {})
    elif host.log_config.config is None:
        filled["log_config"] = LogConfig(type=host.log_config.type, config={})
    if not host.network_mode:
        filled["network_mode"] = "default"
    if not host.restart_policy.name:
        filled["restart_policy"] = RestartPolicy(name="no")
    if not host.ipc_mode:
        filled["ipc_mode"] = "private"
    if host.privileged or security(host.security_opt or ()).system_paths:
        filled |= {"masked_paths": None, "readonly_paths": None}
    else:
        if host.masked_paths is None:
            filled["masked_paths"] = list(defaults.MASKED_PATHS)
        if host.readonly_paths is None:
            filled["readonly_paths"] = list(defaults.READONLY_PATHS)
    if host.oom_kill_disable is None:
        filled["oom_kill_disable"] = False
    if host.pids_limit is not None and host.pids_limit <= 0:
        filled["pids_limit"] = None
    if not host.console_size:
        filled["console_size"] = [0, 0]
    return filled


def _check_limits(host: HostConfig, cpus: int) -> None:
    check_memory(host.memory, host.memory_swap, host.memory_reservation)
    check_cpu(host, cpus)
    if host.memory_swappiness is not None and not -1 <= host.memory_swappiness <= 100:
        raise Bad(f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100")
    if host.shm_size < 0:
        raise Bad("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise Bad(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise Bad("Range of blkio weight is from 10 to 1000")
    for limit in host.ulimits or ():
        if limit.name.lower() not in ULIMITS:
            raise Bad(f"invalid ulimit type: {limit.name}")
        if limit.hard >= 0 and (limit.soft < 0 or limit.soft > limit.hard):
            raise Bad(f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}")


def check_memory(memory: int, swap: int, reservation: int) -> None:
    """Check memory limits against each other, in bytes. Raises `Bad`."""
    if memory != 0 and memory < MIN_MEMORY:
        raise Bad("Minimum memory limit allowed is 6MB")
    if swap > 0 and memory == 0:
        raise Bad("You should always set the Memory limit when using Memoryswap limit, see usage")
    if memory > 0 and 0 < swap < memory:
        raise Bad("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < reservation < MIN_MEMORY:
        raise Bad("Minimum memory reservation allowed is 6MB")
    if memory > 0 and reservation > memory:
        raise Bad("Minimum memory limit can not be less than memory reservation limit, see usage")


#: Numbers and ranges of CPUs as the kernel reads them (cpuset(7), "List format").
_CPUSET: Final = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*\Z")


class _CpuLimits(Protocol):
    @property
    def nano_cpus(self) -> int: ...
    @property
    def cpu_period(self) -> int: ...
    @property
    def cpu_quota(self) -> int: ...
    @property
    def cpuset_cpus(self) -> str: ...


def check_cpu(limits: _CpuLimits, cpus: int) -> None:
    """Check CPU limits on a machine of so many CPUs. Raises `Bad`."""
    if limits.nano_cpus > 0 and (limits.cpu_period or limits.cpu_quota):
        other = "CPU Period" if limits.cpu_period else "CPU Quota"
        raise Bad(f"Conflicting options: Nano CPUs and {other} cannot both be set")
    if limits.nano_cpus < 0 or limits.nano_cpus > cpus * 1_000_000_000:
        raise Bad(f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available")
    if limits.cpu_period != 0 and not 1_000 <= limits.cpu_period <= 1_000_000:
        raise Bad("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < limits.cpu_quota < 1_000:
        raise Bad("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpuset_cpus:
        if not _CPUSET.match(limits.cpuset_cpus):
            raise Bad(f"Invalid value {limits.cpuset_cpus} for cpuset cpus")
        if any(int(number) >= cpus for number in re.findall(r"\d+", limits.cpuset_cpus)):
            there = f"0-{cpus - 1}" if cpus > 1 else "0"
            raise Bad(f"Requested CPUs are not available - requested {limits.cpuset_cpus}, available: {there}")


def _check_modes(host: HostConfig) -> None:
    ipc = host.ipc_mode
    if ipc not in ("", "none", "private", "shareable", "host") and not _is_container_mode(ipc):
        raise Bad(f"invalid IPC mode: {ipc}")
    if host.pid_mode not in ("", "host", "private") and not _is_container_mode(host.pid_mode):
        raise Bad(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host", "private"):
        raise Bad(f"invalid UTS mode: {host.uts_mode}")
    if host.userns_mode not in ("", "host", "private"):
        raise Bad(f"invalid user namespace mode: {host.userns_mode}")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise Bad(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.isolation not in ("", "default"):
        raise Bad(f"invalid isolation '{host.isolation}': linux only supports 'default'")


def _is_container_mode(mode: str) -> bool:
    kind, colon, ref = mode.partition(":")
    return kind == "container" and bool(colon) and bool(ref)


def _check_restart(policy: RestartPolicy, *, auto_remove: bool) -> None:
    if policy.name not in RESTART_POLICIES:
        raise Bad(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.name != "on-failure" and policy.maximum_retry_count != 0:
        raise Bad("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if policy.maximum_retry_count < 0:
        raise Bad("invalid restart policy: maximum retry count cannot be negative")
    if auto_remove and policy.name not in ("", "no"):
        raise Bad("can't create 'AutoRemove' container with restart policy")


def check_restart(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Check a restart policy. Raises `Bad`."""
    _check_restart(policy, auto_remove=auto_remove)


def _check_lists(host: HostConfig) -> None:
    capabilities.normalised("CapAdd", host.cap_add or ())
    capabilities.normalised("CapDrop", host.cap_drop or ())
    security(host.security_opt or ())
    for rule in host.device_cgroup_rules or ():
        if not _DEVICE_RULE.match(rule):
            raise Bad(f"invalid device cgroup rule format: '{rule}'")
    for port in host.port_bindings or {}:
        _check_port(port)
    driver = host.log_config.type or DEFAULT_LOG_DRIVER
    known = LOG_OPTIONS.get(driver)
    if known is None:
        raise Bad(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    for name, value in (host.log_config.config or {}).items():
        if name not in known:
            raise Bad(f"unknown log opt '{name}' for {driver} log driver")
        if name == "max-size" and value not in ("", "-1"):
            parse_bytes(value)
        if name == "max-file" and (not value.isdecimal() or int(value) < 1):
            raise Bad("max-file cannot be less than 1")
        if name.endswith("-regex"):
            _check_expression(name, value)
    for path in (*(host.masked_paths or ()), *(host.readonly_paths or ())):
        if not path.startswith("/"):
            raise Bad(f"path is not absolute: {path}")
    if host.storage_opt:
        raise Bad(f"--storage-opt is not supported here: unknown option {next(iter(host.storage_opt))}")
    if host.device_requests:
        kinds = [name for one in host.device_requests for group in one.capabilities or () for name in group]
        raise Bad(
            f'could not select device driver "{host.device_requests[0].driver}" '
            f"with capabilities: [[{' '.join(kinds)}]]"
        )


def _check_expression(name: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as exc:
        raise Bad(f"log opt {name}: error parsing regexp: {exc}") from None


#: A file may grow so far before the monitor begins another by itself, in bytes: engines that start again are quicker.
_UNROTATED_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How large a log may grow: bytes of a file, 0 = without limit, and the number of files."""

    max_bytes: int
    files: int

    @property
    def rotated(self) -> bool:
        """Whether a full file is kept beside the next."""
        return self.max_bytes > 0 and self.files > 1

    @property
    def monitors_bytes(self) -> int:
        """What the monitor itself limits a file to: it throws away what is full, so only if no engine rotated it."""
        return max(self.max_bytes * 4, _UNROTATED_BYTES) if self.rotated else self.max_bytes


def log_limits(log: LogConfig) -> LogLimits:
    """Return the limits of a container's log; those of ``local`` without options are Docker's (20 MiB, five files)."""
    config = log.config or {}
    size, files = ("20m", 5) if log.type == "local" else ("", 1)
    size = config.get("max-size", "") or size
    return LogLimits(0 if size in ("", "-1") else parse_bytes(size), int(config.get("max-file", "") or files))


def checked_runtime(name: str, chosen: str) -> str:
    """Return the runtime a container runs with: only the engine's own. Raises `UnknownRuntime`."""
    if name and name not in (chosen, "runc", "crun", "io.containerd.runc.v2"):
        raise UnknownRuntime(name)
    return chosen


class _Finds(Protocol):
    def find(self, ref: str) -> ContainerRecord: ...


def donor(neighbours: _Finds, mode: str, kind: str) -> ContainerRecord:
    """Return the running container whose namespace ``container:REF`` names. Raises what Docker says otherwise."""
    ref = mode.partition(":")[2]
    try:
        record = neighbours.find(ref)
    except NotFound as exc:
        raise InvalidArgument(f"cannot join {kind.upper()} of a non existing container: {exc}") from None
    if record.state is State.RESTARTING:
        raise IsRestarting(record.id)
    if not record.running:
        raise Conflict(f"cannot join {kind.upper()} of a non running container: {NotRunning(record.id)}")
    if kind == "ipc" and record.host_config.ipc_mode != "shareable":
        raise InvalidArgument(
            f"cannot join IPC of container {record.id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    return record
