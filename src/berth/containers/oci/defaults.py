"""What every container gets unless it asks otherwise, as dockerd gives it. Pure; constants only.

Sources: moby oci/defaults.go, oci/caps/defaults.go, and the configuration of a container made by dockerd 20.10.
"""

from typing import Final

CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip

#: Every capability by number (linux/capability.h); a kernel knows the first N of them.
ALL_CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

MASKED_PATHS: Final = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Size of /dev/shm in bytes.
SHM_BYTES: Final = 67_108_864

#: Where the tiny init is inside the container (``--init``).
INIT_TARGET: Final = "/sbin/docker-init"

#: Period of the CPU quota that ``NanoCpus`` stands for, in microseconds (CFS's default).
CPU_PERIOD_US: Final = 100_000

Mount = dict[str, object]


def _mount(destination: str, kind: str, source: str, *options: str) -> Mount:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


#: The file systems every container has, in mount order; /dev/shm and mqueue depend on the IPC mode.
MOUNTS: Final[tuple[Mount, ...]] = (
    _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
    _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    _mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
)
MQUEUE: Final = _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")


def shm(size: int) -> Mount:
    """Make the mount of /dev/shm, `size` bytes."""
    return _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={size}")  # noqa: S108


def bind(destination: str, source: str, *options: str) -> Mount:
    """Make a bind mount."""
    return _mount(destination, "bind", source, "rbind", "rprivate", *options)


def _device(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, object]:
    rule: dict[str, object] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


#: Devices that may be used; making any node is allowed, opening one is not.
DEVICE_RULES: Final[tuple[dict[str, object], ...]] = (
    {"allow": False, "access": "rwm"},
    _device("c", None, None, "m"),
    _device("b", None, None, "m"),
    _device("c", 1, 3, "rwm"),  # null
    _device("c", 1, 5, "rwm"),  # zero
    _device("c", 1, 7, "rwm"),  # full
    _device("c", 1, 8, "rwm"),  # random
    _device("c", 1, 9, "rwm"),  # urandom
    _device("c", 5, 0, "rwm"),  # tty
    _device("c", 5, 1, "rwm"),  # console
    _device("c", 5, 2, "rwm"),  # ptmx
    _device("c", 136, None, "rwm"),  # pts
)
EVERY_DEVICE: Final[tuple[dict[str, object], ...]] = ({"allow": True, "access": "rwm"},)

#: Sysctls of a network namespace of its own: what moby sets so that ping and low ports need no capability.
NETWORK_SYSCTLS: Final = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
