"""The engine itself: ping, version, info, events, disk usage."""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from berth import VERSION
from berth.api import versions
from berth.api.call import Call
from berth.api.ping import PING_HEADERS
from berth.api.routes import Route
from berth.base.clock import rfc3339
from berth.base.errors import InvalidArgument
from berth.base.units import parse_duration_ns
from berth.events.bus import drained
from berth.events.model import Event, to_wire
from berth.networks.drivers.registry import DRIVERS
from berth.wire.filters import Filters

#: Filters of ``GET /events``.
EVENT_FILTERS: Final = frozenset(
    {"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
     "service", "type", "volume"}
)  # fmt: skip


async def ping(call: Call) -> web.StreamResponse:
    """``GET /_ping``: is somebody there, and what does it speak."""
    response = web.Response(text="" if call.method == "HEAD" else "OK", content_type="text/plain")
    response.headers.update(PING_HEADERS)
    return response


async def version(call: Call) -> web.StreamResponse:
    """``GET /version``."""
    runtime = call.engine.containers.runtime
    details = {
        "ApiVersion": versions.text(versions.NEWEST),
        "Arch": _arch(),
        "KernelVersion": platform.release(),
        "MinAPIVersion": versions.text(versions.OLDEST),
        "Os": "linux",
    }
    return call.json(
        {
            "Platform": {"Name": "Berth"},
            "Components": [
                {"Name": "Engine", "Version": VERSION, "Details": details},
                {"Name": runtime.name, "Version": runtime.version, "Details": {}},
            ],
            "Version": VERSION,
            "ApiVersion": details["ApiVersion"],
            "MinAPIVersion": details["MinAPIVersion"],
            "GitCommit": "",
            "GoVersion": f"Python {platform.python_version()}",
            "Os": "linux",
            "Arch": details["Arch"],
            "KernelVersion": details["KernelVersion"],
        }
    )


async def info(call: Call) -> web.StreamResponse:
    """``GET /info``."""
    engine = call.engine
    runtime = engine.containers.runtime
    counts = engine.containers.counts()
    memory = _meminfo()
    release = _os_release()
    return call.json(
        {
            "ID": engine.layout.instance or "berth",
            "Containers": sum(counts.values()),
            "ContainersRunning": counts.get("running", 0),
            "ContainersPaused": counts.get("paused", 0),
            "ContainersStopped": sum(counts.values()) - counts.get("running", 0) - counts.get("paused", 0),
            "Images": len(engine.images.all_ids()),
            "Driver": "overlay2",
            "DriverStatus": [
                ["Store", "content-addressed"],
                ["Backing Filesystem", _backing(engine.layout.data_root)],
            ],
            "SystemStatus": None,
            "Plugins": {
                "Volume": ["local"],
                "Network": sorted(DRIVERS),
                "Authorization": None,
                "Log": ["json-file", "local", "none"],
            },
            "MemoryLimit": True,
            "SwapLimit": Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() or _cgroup_version() == "2",
            "CpuCfsPeriod": True,
            "CpuCfsQuota": True,
            "CPUShares": True,
            "CPUSet": True,
            "PidsLimit": True,
            "IPv4Forwarding": _sysctl("net/ipv4/ip_forward") == "1",
            "Debug": engine.config.log_level == "debug",
            "NFd": len(os.listdir("/proc/self/fd")),
            "OomKillDisable": False,
            "NGoroutines": len(asyncio.all_tasks()),
            "SystemTime": rfc3339(engine.clock.now_ns()),
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": _cgroup_version(),
            "NEventsListener": 0,
            "KernelVersion": platform.release(),
            "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
            "OSVersion": release.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
                "IndexConfigs": {},
                "Mirrors": list(engine.config.registry_mirrors),
            },
            "NCPU": os.cpu_count() or 1,
            "MemTotal": memory,
            "GenericResources": None,
            "DockerRootDir": str(engine.layout.data_root),
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Name": platform.node(),
            "Labels": list(engine.config.labels),
            "ExperimentalBuild": False,
            "ServerVersion": VERSION,
            "Runtimes": {runtime.name: {"path": runtime.path}},
            "DefaultRuntime": runtime.name,
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "docker-init",
            "ContainerdCommit": {"ID": "", "Expected": ""},
            "RuncCommit": {"ID": runtime.version, "Expected": runtime.version},
            "InitCommit": {"ID": "", "Expected": ""},
            "SecurityOptions": list(engine.containers.security_options()),
            "DefaultAddressPools": [{"Base": p.base, "Size": p.size} for p in engine.config.default_address_pools],
            "CDISpecDirs": [],
            "Warnings": [*engine.containers.warnings(), *engine.networks.warnings()],
        }
    )


async def events(call: Call) -> web.StreamResponse:
    """``GET /events``: past ones if asked, then those to come, until `until` or for ever."""
    now = call.engine.clock.now_ns()
    since = _moment(call.text("since"), now)
    until = _moment(call.text("until"), now)
    filters = call.filters().only(EVENT_FILTERS)
    response = await call.stream()
    with call.engine.events.subscribed() as queue:
        async for event in _span(call, queue, since, until):
            if _wanted(event, filters):
                await response.write(msgspec.json.encode(to_wire(event)) + b"\n")
    await response.write_eof()
    return response


async def _span(
    call: Call, queue: "asyncio.Queue[Event | None]", since: int | None, until: int | None
) -> AsyncIterator[Event]:
    bus, now = call.engine.events, call.engine.clock.now_ns()
    last = 0
    if since is not None:
        for event in bus.past(since, until):
            last = event.time_ns
            yield event
    if until is not None and until <= now:
        return
    limit = None if until is None else (until - now) / 1e9
    try:
        async with asyncio.timeout(limit):
            async for event in drained(queue):
                if event.time_ns > last:
                    yield event
    except TimeoutError:
        return


def _moment(text: str, now_ns: int) -> int | None:
    """Read a point in time: seconds since the epoch with a fraction, or a duration back from now."""
    if not text:
        return None
    try:
        whole, _, fraction = text.partition(".")
        return int(whole) * 1_000_000_000 + int((fraction + "0" * 9)[:9])
    except ValueError:
        pass
    try:
        return now_ns - parse_duration_ns(text)
    except InvalidArgument:
        raise InvalidArgument(f'invalid timestamp "{text}"') from None


def _wanted(event: Event, filters: Filters) -> bool:
    if not filters.exact("type", event.type) or not filters.labels(event.attributes):
        return False
    actions = filters.get("event")
    if actions and not any(event.action == want or event.action.startswith(want + ":") for want in actions):
        return False
    if "scope" in filters and "local" not in filters.get("scope"):
        return False
    for kind in ("container", "image", "network", "volume"):
        if kind in filters and not _concerns(event, kind, filters.get(kind)):
            return False
    return True


def _concerns(event: Event, kind: str, wanted: tuple[str, ...]) -> bool:
    if event.type == kind:
        have = {event.actor_id, event.attributes.get("name", "")}
        return any(want in have or event.actor_id.startswith(want) for want in wanted)
    return event.attributes.get(kind, "") in wanted and bool(event.attributes.get(kind))


async def disk_usage(call: Call) -> web.StreamResponse:
    """``GET /system/df``: images, containers, volumes with their sizes."""
    asked = set(call.texts("type")) or {"image", "container", "volume", "build-cache"}
    engine = call.engine
    answer: dict[str, Any] = {}
    if "image" in asked:
        answer["Images"] = await engine.images.listing_with_usage()
        answer["LayersSize"] = await engine.images.layers_size()
    if "container" in asked:
        answer["Containers"] = await engine.containers.listing(all_=True, size=True)
    if "volume" in asked:
        answer["Volumes"] = await engine.volumes.usage()
    if "build-cache" in asked:
        answer["BuildCache"] = []
    return call.json(answer)


def _arch() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)


def _meminfo() -> int:
    with open("/proc/meminfo", encoding="ascii") as lines:
        return int(next(lines).split()[1]) * 1024


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _cgroup_version() -> str:
    return "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"


def _backing(path: Path) -> str:
    best, kind = "", "unknown"
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _, target, fstype, *_ = line.split(" ")
            if (str(path) == target or str(path).startswith(target.rstrip("/") + "/")) and len(target) >= len(best):
                best, kind = target, fstype
    return {"ext4": "extfs", "ext3": "extfs"}.get(kind, kind)


async def no_build_cache(call: Call) -> web.StreamResponse:
    """``POST /build/prune``: nothing is built here, so nothing is kept; ``docker system prune`` asks all the same."""
    return call.json({"CachesDeleted": None, "SpaceReclaimed": 0})


async def no_plugins(call: Call) -> web.StreamResponse:
    """``GET /plugins``: none are managed by this engine."""
    return call.json([])


ROUTES: tuple[Route, ...] = (
    Route("GET", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events, stream=True),
    Route("GET", "/system/df", disk_usage, stream=True),
    Route("GET", "/plugins", no_plugins),
    Route("POST", "/build/prune", no_build_cache),
)
