"""The flags that `run` and `create` share, as data, with the checks of single values."""

from __future__ import annotations

from berth.cli.attachments import check_network
from berth.cli.flags import Flag, size
from berth.cli.mounts import check_mount
from berth.cli.pairs import check_environment, check_label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def check_stream(text: str) -> str:
    """Check one ``-a``."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def check_host(text: str) -> str:
    """Check one ``--add-host`` and return it as ``name:address``."""
    import ipaddress

    name, sign, address = text.partition("=") if "=" in text else text.partition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not sign or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def check_address(text: str) -> str:
    """Check an IP address."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def check_search(text: str) -> str:
    """Check one ``--dns-search``; a dot clears the list."""
    text = text.strip()
    if text == ".":
        return text
    if not text or not any(sign.isalpha() or sign.isdigit() for sign in text):
        raise ValueError(f"{text} is not a valid domain")
    return text


def check_link(text: str) -> str:
    """Check one ``--link``."""
    parts = text.split(":")
    if len(parts) > 2 or not parts[0]:
        raise ValueError(f"bad format for links: {text}")
    return text


def check_ulimit(text: str) -> dict[str, Any]:
    """Parse one ``--ulimit``: ``name=soft[:hard]``."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers: list[int] = []
    for part in parts:
        try:
            numbers.append(int(part))
        except ValueError:
            raise ValueError(f'strconv.ParseInt: parsing "{part}": invalid syntax') from None
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}


_ULIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


def check_weight(text: str) -> dict[str, Any]:
    """Parse ``device:weight``."""
    path, number = _device_pair(text)
    if not number.isdecimal() or (int(number) and not 10 <= int(number) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(number)}


def check_rate(text: str) -> dict[str, Any]:
    """Parse ``device:rate`` in bytes a second."""
    path, rate = _device_pair(text)
    try:
        return {"Path": path, "Rate": size(rate)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def check_operations(text: str) -> dict[str, Any]:
    """Parse ``device:operations`` a second."""
    path, rate = _device_pair(text)
    if not rate.isdecimal():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(rate)}


def _device_pair(text: str) -> tuple[str, str]:
    path, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, rest


RESOURCES = (
    Flag("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable", shown="0"),
    Flag("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag("cpu-rt-period", "", "int", "Limit CPU real-time period in microseconds"),
    Flag("cpu-rt-runtime", "", "int", "Limit CPU real-time runtime in microseconds"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "decimal", "Number of CPUs"),
    Flag("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag("memory", "m", "bytes", "Memory limit"),
    Flag("memory-reservation", "", "bytes", "Memory soft limit"),
    Flag("memory-swap", "", "swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Flag("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
)

CONTAINER = (
    *RESOURCES,
    Flag("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)", check=check_host),
    Flag(
        "annotation", "", "map", "Add an annotation to the container (passed through to the OCI runtime)", shown="map[]"
    ),
    Flag("attach", "a", "list", "Attach to STDIN, STDOUT or STDERR", check=check_stream),
    Flag("blkio-weight-device", "", "list", "Block IO weight (relative device weight)", shown="[]", check=check_weight),
    Flag("cap-add", "", "list", "Add Linux capabilities"),
    Flag("cap-drop", "", "list", "Drop Linux capabilities"),
    Flag("cgroup-parent", "", "string", "Optional parent cgroup for the container"),
    Flag(
        "cgroupns",
        "",
        "string",
        "Cgroup namespace to use (host|private)\n"
        "'host':    Run the container in the Docker host's cgroup namespace\n"
        "'private': Run the container in its own private cgroup namespace\n"
        "'':        Use the cgroup namespace as configured by the\n"
        "           default-cgroupns-mode option on the daemon (default)",
    ),
    Flag("cidfile", "", "string", "Write the container ID to the file"),
    Flag("device", "", "list", "Add a host device to the container"),
    Flag("device-cgroup-rule", "", "list", "Add a rule to the cgroup allowed devices list"),
    Flag(
        "device-read-bps", "", "list", "Limit read rate (bytes per second) from a device", shown="[]", check=check_rate
    ),
    Flag(
        "device-read-iops",
        "",
        "list",
        "Limit read rate (IO per second) from a device",
        shown="[]",
        check=check_operations,
    ),
    Flag(
        "device-write-bps", "", "list", "Limit write rate (bytes per second) to a device", shown="[]", check=check_rate
    ),
    Flag(
        "device-write-iops",
        "",
        "list",
        "Limit write rate (IO per second) to a device",
        shown="[]",
        check=check_operations,
    ),
    Flag("disable-content-trust", "", "bool", "Skip image verification", default=True),
    Flag("dns", "", "list", "Set custom DNS servers", check=check_address),
    Flag("dns-option", "", "list", "Set DNS options"),
    Flag("dns-opt", "", "list", "Set DNS options", hidden=True, into="dns-option"),
    Flag("dns-search", "", "list", "Set custom DNS search domains", check=check_search),
    Flag("domainname", "", "string", "Container NIS domain name"),
    Flag("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("env", "e", "list", "Set environment variables", check=check_environment),
    Flag("env-file", "", "list", "Read in a file of environment variables"),
    Flag("expose", "", "list", "Expose a port or a range of ports"),
    Flag("gpus", "", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    Flag("group-add", "", "list", "Add additional groups to join"),
    Flag("health-cmd", "", "string", "Command to run to check health"),
    Flag("health-interval", "", "duration", "Time between running the check (ms|s|m|h)", shown="0s"),
    Flag("health-retries", "", "int", "Consecutive failures needed to report unhealthy"),
    Flag(
        "health-start-interval",
        "",
        "duration",
        "Time between running the check during the start period (ms|s|m|h)",
        shown="0s",
    ),
    Flag(
        "health-start-period",
        "",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)",
        shown="0s",
    ),
    Flag("health-timeout", "", "duration", "Maximum time to allow one check to run (ms|s|m|h)", shown="0s"),
    Flag("hostname", "h", "string", "Container host name"),
    Flag("init", "", "bool", "Run an init inside the container that forwards signals and reaps processes"),
    Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    Flag("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "", "string", "IPv6 address (e.g., 2001:db8::33)"),
    Flag("ipc", "", "string", "IPC mode to use"),
    Flag("isolation", "", "string", "Container isolation technology"),
    Flag("kernel-memory", "", "bytes", "Kernel memory limit"),
    Flag("label", "l", "list", "Set meta data on a container", check=check_label),
    Flag("label-file", "", "list", "Read in a line delimited file of labels"),
    Flag("link", "", "list", "Add link to another container", check=check_link),
    Flag("link-local-ip", "", "list", "Container IPv4/IPv6 link-local addresses"),
    Flag("log-driver", "", "string", "Logging driver for the container"),
    Flag("log-opt", "", "list", "Log driver options"),
    Flag("mac-address", "", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("memory-swappiness", "", "int", "Tune container memory swappiness (0 to 100)", default=-1),
    Flag("mount", "", "mount", "Attach a filesystem mount to the container", check=check_mount),
    Flag("name", "", "string", "Assign a name to the container"),
    Flag("network", "", "network", "Connect a container to a network", check=check_network),
    Flag("net", "", "network", "Connect a container to a network", check=check_network, hidden=True, into="network"),
    Flag("network-alias", "", "list", "Add network-scoped alias for the container"),
    Flag("net-alias", "", "list", "Add network-scoped alias for the container", hidden=True, into="network-alias"),
    Flag("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK"),
    Flag("oom-kill-disable", "", "bool", "Disable OOM Killer"),
    Flag("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag("pid", "", "string", "PID namespace to use"),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    Flag("privileged", "", "bool", "Give extended privileges to this container"),
    Flag("publish", "p", "list", "Publish a container's port(s) to the host"),
    Flag("publish-all", "P", "bool", "Publish all exposed ports to random ports"),
    Flag("quiet", "q", "bool", "Suppress the pull output"),
    Flag("read-only", "", "bool", "Mount the container's root filesystem as read only"),
    Flag("restart", "", "string", "Restart policy to apply when a container exits", default="no"),
    Flag(
        "rm",
        "",
        "bool",
        "Automatically remove the container and its associated anonymous volumes when it exits",
    ),
    Flag("runtime", "", "string", "Runtime to use for this container"),
    Flag("security-opt", "", "list", "Security Options"),
    Flag("shm-size", "", "bytes", "Size of /dev/shm"),
    Flag("stop-signal", "", "string", "Signal to stop the container"),
    Flag("stop-timeout", "", "int", "Timeout (in seconds) to stop a container"),
    Flag("storage-opt", "", "list", "Storage driver options for the container"),
    Flag("sysctl", "", "map", "Sysctl options", shown="map[]"),
    Flag("tmpfs", "", "list", "Mount a tmpfs directory"),
    Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
    Flag("ulimit", "", "ulimit", "Ulimit options", shown="[]", check=check_ulimit),
    Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("userns", "", "string", "User namespace to use"),
    Flag("uts", "", "string", "UTS namespace to use"),
    Flag("volume", "v", "list", "Bind mount a volume"),
    Flag("volume-driver", "", "string", "Optional volume driver for the container"),
    Flag("volumes-from", "", "list", "Mount volumes from the specified container(s)"),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)
