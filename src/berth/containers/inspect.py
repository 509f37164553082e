"""A container as ``GET /containers/{id}/json`` shows it. Pure."""

from typing import Any, Final

import msgspec

from berth.base.clock import ZERO_TIME, rfc3339
from berth.base.paths import Layout
from berth.containers.model import ContainerRecord, Health
from berth.containers.states import State
from berth.volumes.mounts.model import to_wire

#: Fields of ``Config`` that Docker leaves out when they say nothing.
_CONFIG_OMITTED: Final = (
    "ArgsEscaped", "ExposedPorts", "Healthcheck", "MacAddress", "NetworkDisabled", "Shell", "StopSignal", "StopTimeout",
)  # fmt: skip
#: The same of ``HostConfig``.
_HOST_OMITTED: Final = ("Annotations", "Init", "Mounts", "StorageOpt", "Sysctls", "Tmpfs")
#: Lists of ``HostConfig`` that Docker's client sends empty and shows so.
_SHOWN_EMPTY: Final = (
    "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps",
    "Devices", "Dns", "DnsOptions", "DnsSearch",
)  # fmt: skip


def render(
    record: ContainerRecord,
    *,
    layout: Layout,
    networks: dict[str, Any],
    log_path: str,
    restarting: bool,
    sizes: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Render a container whole; `sizes` are its writable layer's bytes and those with the image's."""
    home = layout.container(record.id)
    merged = str(layout.bundle(record.id) / "rootfs")
    wire: dict[str, Any] = {
        "Id": record.id,
        "Created": rfc3339(record.created_ns),
        "Path": record.path,
        "Args": list(record.args),
        "State": state(record, restarting=restarting),
        "Image": record.image_id,
        "ResolvConfPath": str(home / "resolv.conf") if record.started_ns else "",
        "HostnamePath": str(home / "hostname") if record.started_ns else "",
        "HostsPath": str(home / "hosts") if record.started_ns else "",
        "LogPath": log_path if record.started_ns else "",
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(record),
        "GraphDriver": {
            "Data": {
                "ID": record.id,
                "LowerDir": ":".join(record.layers),
                "MergedDir": merged,
                "UpperDir": str(home / "diff"),
                "WorkDir": str(home / "work"),
            },
            "Name": "overlay2",
        },
        "Mounts": to_wire(record.mounts),
        "Config": _config(record),
        "NetworkSettings": networks,
    }
    if sizes is not None:
        wire["SizeRw"], wire["SizeRootFs"] = sizes
    return wire


def state(record: ContainerRecord, *, restarting: bool) -> dict[str, Any]:
    """Render ``State``: Docker's booleans out of the one state."""
    wire: dict[str, Any] = {
        "Status": record.state.value,
        "Running": record.running or restarting,
        "Paused": record.state is State.PAUSED,
        "Restarting": restarting,
        "OOMKilled": record.oom_killed,
        "Dead": record.state is State.DEAD,
        "Pid": record.pid,
        "ExitCode": record.exit_code,
        "Error": record.error,
        "StartedAt": rfc3339(record.started_ns) if record.started_ns else ZERO_TIME,
        "FinishedAt": rfc3339(record.finished_ns) if record.finished_ns else ZERO_TIME,
    }
    if record.health is not None:
        wire["Health"] = _health(record.health)
    return wire


def _health(health: Health) -> dict[str, Any]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339(probe.start_ns),
                "End": rfc3339(probe.end_ns),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in health.log
        ],
    }


def _config(record: ContainerRecord) -> dict[str, Any]:
    wire: dict[str, Any] = msgspec.to_builtins(record.config)
    for name in _CONFIG_OMITTED:
        if not wire.get(name) and not (name == "StopTimeout" and wire[name] is not None):
            wire.pop(name, None)
    wire["Labels"] = wire["Labels"] or {}
    return wire


def _host_config(record: ContainerRecord) -> dict[str, Any]:
    wire: dict[str, Any] = msgspec.to_builtins(record.host_config)
    for name in _HOST_OMITTED:
        if wire[name] is None or wire[name] in ({}, []):
            del wire[name]
    for name in _SHOWN_EMPTY:
        wire[name] = wire[name] or []
    wire["PortBindings"] = wire["PortBindings"] or {}
    if record.host_config.links and record.host_config.network_mode in ("default", "bridge"):
        wire["Links"] = [_link(record, text) for text in record.host_config.links]
    return wire


def _link(record: ContainerRecord, text: str) -> str:
    """Return a link as Docker shows it: the other container, and the name this one has for it."""
    target, _, alias = text.partition(":")
    target = target.removeprefix("/")
    return f"/{target}:/{record.name}/{alias.rpartition('/')[2] or target}"
