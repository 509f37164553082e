"""What a container uses: processors, memory, devices, processes, network; read from control groups and /proc.

The parsing is pure; `Stats` reads. Shape and meaning are those of ``GET /containers/{id}/stats``.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from berth.base.aio import in_thread
from berth.base.clock import ZERO_TIME, Clock, rfc3339
from berth.base.errors import NotFound
from berth.base.paths import Layout
from berth.containers.model import ContainerRecord
from berth.kernel.cgroup import Hierarchies

#: Time between two samples, in seconds.
PERIOD_S: Final = 1.0
#: Nanoseconds in one tick of /proc/stat and cpuacct.stat (USER_HZ).
_TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: Columns of ``cpu`` in /proc/stat that count as time: user … softirq (proc(5)), as Docker adds them up.
_CPU_COLUMNS: Final = 7
#: Lists Docker names for devices; only the first two exist under the schedulers of today.
_BLKIO: Final = (
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
    "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive",
)  # fmt: skip
#: Names of the numbers of one line of /proc/net/dev that are shown, with their columns.
_NETWORK: Final = {
    "rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_dropped": 3,
    "tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11,
}  # fmt: skip

Sample = dict[str, Any]
Find = Callable[[str], ContainerRecord]


def keyed(text: str) -> dict[str, int]:
    """Read lines of ``name number``."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def network_counters(text: str) -> dict[str, dict[str, int]]:
    """Read /proc/net/dev; the loopback is left out."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        columns = numbers.split()
        if name.strip() != "lo" and len(columns) >= 12:
            found[name.strip()] = {key: int(columns[at]) for key, at in _NETWORK.items()}
    return found


def system_usage_ns(text: str) -> int:
    """Add up the machine's processor time out of /proc/stat."""
    columns = text.split("\n", 1)[0].split()
    return sum(int(one) for one in columns[1 : 1 + _CPU_COLUMNS]) * _TICK_NS


def empty_cpu() -> Sample:
    """Return the processor part of a container that does not run, and of a first sample's predecessor."""
    return {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }


def empty(record: ContainerRecord) -> Sample:
    """Return the answer for a container that does not run."""
    return {
        "read": ZERO_TIME,
        "preread": ZERO_TIME,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLKIO),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": empty_cpu(),
        "precpu_stats": empty_cpu(),
        "memory_stats": {},
        "name": f"/{record.name.lstrip('/')}",
        "id": record.id,
    }


class Stats:
    """Samples what containers use."""

    def __init__(self, *, layout: Layout, find: Find, clock: Clock, groups: Callable[[], Hierarchies]) -> None:
        self._layout = layout
        self._find = find
        self._clock = clock
        self._look = groups

    @property
    def _groups(self) -> Hierarchies:
        return self._look()

    async def once(self, ref: str, *, one_shot: bool) -> Sample:
        """Return one sample; without `one_shot` a second one after a while, so that rates can be told."""
        record = self._find(ref)
        if not record.running:
            return empty(record)
        first = await in_thread(self._sample, record)
        if one_shot:
            return first
        await asyncio.sleep(PERIOD_S)
        record = self._find(record.id)
        return following(await in_thread(self._sample, record), first) if record.running else empty(record)

    async def stream(self, ref: str) -> AsyncIterator[Sample]:
        """Yield a sample every period while the container runs, until it is gone."""
        record = self._find(ref)
        ident, before, ran = record.id, None, False
        while True:
            try:
                record = self._find(ident)
            except NotFound:
                return
            if record.running:
                ran = True
                sample = await in_thread(self._sample, record)
                yield sample if before is None else following(sample, before)
                before = sample
            elif ran:
                return
            await asyncio.sleep(PERIOD_S)

    def _sample(self, record: ContainerRecord) -> Sample:
        group = record.cgroup_path(self._layout.cgroup_parent)
        sample = empty(record) | {
            "read": rfc3339(self._clock.now_ns()),
            "pids_stats": self._pids(group),
            "blkio_stats": self._devices(group),
            "cpu_stats": self._cpu(group),
            "memory_stats": self._memory(group),
        }
        if record.host_config.network_mode != "host":
            networks = network_counters(_text(Path(f"/proc/{record.pid}/net/dev")))
            if networks:
                sample["networks"] = networks
        return sample

    def _text(self, group: str, controller: str, name: str) -> str:
        directory = self._groups.directory(group, controller)
        return "" if directory is None else _text(directory / name)

    def _number(self, group: str, controller: str, name: str) -> int:
        text = self._text(group, controller, name).strip()
        return int(text) if text.isdecimal() else 0

    def _pids(self, group: str) -> Sample:
        shown = {"current": self._number(group, "pids", "pids.current")}
        limit = self._number(group, "pids", "pids.max")
        return shown | ({"limit": limit} if limit else {})

    def _cpu(self, group: str) -> Sample:
        throttled = keyed(self._text(group, "cpu", "cpu.stat"))
        if "cpuacct" in self._groups.v1:
            modes = keyed(self._text(group, "cpuacct", "cpuacct.stat"))
            each = [int(one) for one in self._text(group, "cpuacct", "cpuacct.usage_percpu").split()]
            usage: Sample = {
                "total_usage": self._number(group, "cpuacct", "cpuacct.usage"),
                "percpu_usage": each,
                "usage_in_kernelmode": modes.get("system", 0) * _TICK_NS,
                "usage_in_usermode": modes.get("user", 0) * _TICK_NS,
            }
            throttled_ns = throttled.get("throttled_time", 0)
        else:
            usage = {
                "total_usage": throttled.get("usage_usec", 0) * 1_000,
                "usage_in_kernelmode": throttled.get("system_usec", 0) * 1_000,
                "usage_in_usermode": throttled.get("user_usec", 0) * 1_000,
            }
            throttled_ns = throttled.get("throttled_usec", 0) * 1_000
        return {
            "cpu_usage": usage,
            "system_cpu_usage": system_usage_ns(_text(Path("/proc/stat"))),
            "online_cpus": os.cpu_count() or 1,
            "throttling_data": {
                "periods": throttled.get("nr_periods", 0),
                "throttled_periods": throttled.get("nr_throttled", 0),
                "throttled_time": throttled_ns,
            },
        }

    def _memory(self, group: str) -> Sample:
        stats = keyed(self._text(group, "memory", "memory.stat"))
        whole = keyed(_text(Path("/proc/meminfo")).replace(":", "").replace(" kB", "")).get("MemTotal", 0) * 1024
        if "memory" in self._groups.v1:
            limit = self._number(group, "memory", "memory.limit_in_bytes")
            found = {
                "usage": self._number(group, "memory", "memory.usage_in_bytes"),
                "max_usage": self._number(group, "memory", "memory.max_usage_in_bytes"),
                "stats": stats,
            }
            if failures := self._number(group, "memory", "memory.failcnt"):
                found["failcnt"] = failures
        else:
            limit = self._number(group, "memory", "memory.max")
            found = {"usage": self._number(group, "memory", "memory.current"), "stats": stats}
        return found | {"limit": min(limit, whole) if limit else whole}

    def _devices(self, group: str) -> Sample:
        found: Sample = {name: [] for name in _BLKIO}
        if "blkio" in self._groups.v1:
            for name, file in (
                ("io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"),
                ("io_serviced_recursive", "blkio.throttle.io_serviced_recursive"),
            ):
                found[name] = device_lines_v1(self._text(group, "blkio", file))
        else:
            found |= device_lines_v2(self._text(group, "io", "io.stat"))
        return found


def following(sample: Sample, before: Sample) -> Sample:
    """Return `sample` with what the one before it said of the processors."""
    return sample | {"preread": before["read"], "precpu_stats": before["cpu_stats"]}


def device_lines_v1(text: str) -> list[Sample]:
    """Read lines of ``8:0 Read 4096``."""
    found = []
    for line in text.splitlines():
        columns = line.split()
        if len(columns) == 3:
            major, _, minor = columns[0].partition(":")
            found.append({"major": int(major), "minor": int(minor), "op": columns[1], "value": int(columns[2])})
    return found


def device_lines_v2(text: str) -> dict[str, list[Sample]]:
    """Read lines of ``8:0 rbytes=1 wbytes=2 rios=3 wios=4 …``."""
    found: dict[str, list[Sample]] = {"io_service_bytes_recursive": [], "io_serviced_recursive": []}
    names = {"rbytes": (_BLKIO[0], "read"), "wbytes": (_BLKIO[0], "write"),
             "rios": (_BLKIO[1], "read"), "wios": (_BLKIO[1], "write")}  # fmt: skip
    for line in text.splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        for one in fields:
            key, _, value = one.partition("=")
            if key in names and value.isdecimal():
                place, operation = names[key]
                found[place].append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # gone between two looks: the process ended
        return ""
