"""Limits of a container in the OCI form (``linux.resources``). Pure."""

from typing import Any

from berth.containers.oci.defaults import CPU_PERIOD_US
from berth.wire.containers import HostConfig, ThrottleDevice, UpdateRequest

DeviceNumbers = dict[str, tuple[int, int]]


def limits(want: HostConfig | UpdateRequest, *, has_swap: bool = True) -> dict[str, Any]:
    """Translate memory, CPU and process limits; what is not limited is left out."""
    resources: dict[str, Any] = {}
    if memory := _memory(want, has_swap=has_swap):
        resources["memory"] = memory
    if cpu := _cpu(want):
        resources["cpu"] = cpu
    if want.pids_limit is not None and want.pids_limit != 0:
        resources["pids"] = {"limit": max(want.pids_limit, -1)}
    return resources


def _memory(want: HostConfig | UpdateRequest, *, has_swap: bool) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if want.memory > 0:
        memory["limit"] = want.memory
    if want.memory_reservation > 0:
        memory["reservation"] = want.memory_reservation
    if has_swap and want.memory_swap != 0:
        memory["swap"] = want.memory_swap
    if isinstance(want, HostConfig):
        if want.memory_swappiness is not None and want.memory_swappiness >= 0:
            memory["swappiness"] = want.memory_swappiness
        if want.oom_kill_disable:
            memory["disableOOMKiller"] = True
    return memory


def _cpu(want: HostConfig | UpdateRequest) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if want.cpu_shares > 0:
        cpu["shares"] = want.cpu_shares
    if want.nano_cpus > 0:
        cpu["period"] = CPU_PERIOD_US
        cpu["quota"] = want.nano_cpus * CPU_PERIOD_US // 1_000_000_000
    if want.cpu_period > 0:
        cpu["period"] = want.cpu_period
    if want.cpu_quota != 0:
        cpu["quota"] = want.cpu_quota
    if want.cpu_realtime_period > 0:
        cpu["realtimePeriod"] = want.cpu_realtime_period
    if want.cpu_realtime_runtime > 0:
        cpu["realtimeRuntime"] = want.cpu_realtime_runtime
    if want.cpuset_cpus:
        cpu["cpus"] = want.cpuset_cpus
    if want.cpuset_mems:
        cpu["mems"] = want.cpuset_mems
    return cpu


def block_io(want: HostConfig, numbers: DeviceNumbers) -> dict[str, Any]:
    """Translate block device weights and rates; `numbers` are the devices' major and minor by path."""
    wire: dict[str, Any] = {}
    if want.blkio_weight:
        wire["weight"] = want.blkio_weight
    if want.blkio_weight_device:
        wire["weightDevice"] = [
            {"major": numbers[one.path][0], "minor": numbers[one.path][1], "weight": one.weight}
            for one in want.blkio_weight_device
        ]
    rates = (
        ("throttleReadBpsDevice", want.blkio_device_read_bps),
        ("throttleWriteBpsDevice", want.blkio_device_write_bps),
        ("throttleReadIOPSDevice", want.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", want.blkio_device_write_iops),
    )
    for name, devices in rates:
        if devices:
            wire[name] = [_rate(one, numbers) for one in devices]
    return wire


def _rate(one: ThrottleDevice, numbers: DeviceNumbers) -> dict[str, int]:
    major, minor = numbers[one.path]
    return {"major": major, "minor": minor, "rate": one.rate}
