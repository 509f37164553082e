"""What is stored of a container. Pure; records are frozen and changed by `msgspec.structs.replace`."""

import msgspec

from berth.base.ids import short
from berth.containers.states import ALIVE, State
from berth.volumes.mounts.model import MountPoint
from berth.wire.containers import ContainerConfig, HostConfig


class HealthProbe(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a health check; times in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the health check says: starting, healthy or unhealthy; the last five probes, oldest first."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[HealthProbe, ...] = ()


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One container. Times are nanoseconds since the epoch, 0 = never.

    `config` is the request merged with the image's own configuration; `path` and `args` are what is
    executed. `layers` are the image's lower directories, topmost first. `pid` is 0 unless a process exists;
    `conmon_pid` is its monitor's. The start times (clock ticks since boot, proc(5) field 22) tell a process
    from a later one that got the same pid.
    """

    id: str
    name: str
    created_ns: int
    image_id: str
    image_ref: str
    config: ContainerConfig
    host_config: HostConfig
    path: str = ""
    args: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    mounts: tuple[MountPoint, ...] = ()
    platform: str = "linux"

    state: State = State.CREATED
    pid: int = 0
    pid_started: int = 0
    conmon_pid: int = 0
    conmon_started: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    restart_count: int = 0
    has_been_manually_stopped: bool = False
    health: Health | None = None

    @property
    def running(self) -> bool:
        """Whether a process exists, paused or not."""
        return self.state in ALIVE

    @property
    def auto_remove(self) -> bool:
        """Whether it is removed when it exits."""
        return self.host_config.auto_remove

    @property
    def short_id(self) -> str:
        """The 12-character id."""
        return short(self.id)

    def cgroup_path(self, default_parent: str) -> str:
        """Where its control group lies below each hierarchy's root."""
        parent = self.host_config.cgroup_parent or default_parent
        return f"/{parent.strip('/')}/{self.id}"
