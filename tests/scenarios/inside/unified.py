"""Containers on a machine whose control groups are all version 2: limits, figures, commands, ends. Prints JSON.

Everything is the engine's own but two things: images are one directory, and of the firewall nothing is written, because
this kernel's nftables have no address translation.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from berth.base.aio import Tasks
from berth.base.clock import SystemClock
from berth.base.config import Config
from berth.base.errors import NotFound
from berth.base.ids import ImageId
from berth.base.paths import Layout
from berth.containers.announce import announcer
from berth.containers.execs.model import Command
from berth.containers.execs.service import Execs
from berth.containers.model import ContainerRecord
from berth.containers.service import Containers
from berth.containers.stats import Stats
from berth.events.bus import Bus
from berth.images.model import ImageRecord, Layer, StoredImage
from berth.kernel import cgroup
from berth.kernel.actuator import KernelActuator
from berth.networks.service import Networks
from berth.plan.journal import Journal
from berth.plan.run import Runner
from berth.store.memory import MemoryRecords
from berth.volumes.service import Volumes
from berth.wire.containers import ContainerCreate, HostConfig, UpdateRequest
from berth.wire.images import ImageConfig

ROOT = Path("/run/berth")
MIB = 1 << 20


class OneImage:
    """A directory as the only image."""

    def __init__(self, rootfs: Path) -> None:
        self.record = ImageRecord(
            stored=StoredImage(
                id=ImageId("sha256:" + "0" * 64),
                layer_chain=(Layer(diff_id="0", blob="0", path=str(rootfs), size=0, tar_size=0),),
                created_ns=0,
                stored_ns=0,
                architecture="amd64",
                os="linux",
                variant="",
                author="",
                comment="",
                docker_version="",
                config=ImageConfig(env=["PATH=/bin"]),
                config_json=b"{}",
                diff_ids=(),
                history=(),
                manifest_digest="",
            )
        )

    def resolve(self, ref: str) -> ImageRecord:
        if ref != "busybox":
            raise NotFound(ref)
        return self.record

    def by_id(self, ident: str) -> ImageRecord | None:
        return self.record if ident == self.record.id else None


class WithoutFirewall(Networks):
    """Networks of containers that need no rules: ``none`` and ``host``."""

    def _rebuild(self, alive: set[str]) -> None:
        del alive
        self._layout.namespaces.mkdir(parents=True, exist_ok=True)


def busybox(place: Path) -> Path:
    """Make a root file system of the static busybox that was put beside this program."""
    (place / "bin").mkdir(parents=True)
    shutil.copy("/tmp/busybox", place / "bin/busybox")
    for applet in ("sh", "sleep", "cat", "dd", "true", "head", "tail", "printf"):
        (place / "bin" / applet).symlink_to("busybox")
    for name in ("proc", "sys", "dev", "etc", "tmp"):
        (place / name).mkdir()
    return place


async def story() -> dict[str, object]:
    layout = Layout(ROOT / "data", ROOT / "x")
    layout.data_root.mkdir(parents=True)
    layout.exec_root.mkdir(parents=True)
    clock, tasks, kernel = SystemClock(), Tasks(), KernelActuator()
    bus = Bus(clock)
    runner = Runner(kernel, Journal(layout.journal, kernel.step_types))
    networks = WithoutFirewall(
        layout, MemoryRecords(), MemoryRecords(), MemoryRecords(), runner, bus, None, Config(), clock=clock,
        last=MemoryRecords(),
    )  # fmt: skip
    volumes = Volumes(layout, MemoryRecords(), bus, lambda: containers.mounts_in_use(), clock)  # noqa: PLW0108  made below
    records: MemoryRecords[ContainerRecord] = MemoryRecords()
    containers = Containers(
        layout=layout, records=records, runtime_records=MemoryRecords(), images=OneImage(busybox(ROOT / "image")),
        networks=networks, volumes=volumes.mounting,
        live=volumes.live, bus=bus, clock=clock, tasks=tasks,
    )  # fmt: skip
    execs = Execs(
        layout=layout, find=containers.find, runtime=containers.runtime_of, announce=announcer(bus), clock=clock,
        tasks=tasks, expect_moves=containers.expect_moves,
    )  # fmt: skip
    containers.accompany(execs)
    await containers.adopt()
    groups = containers.host.groups
    told: dict[str, object] = {
        "version": groups.version,
        "hybrid": groups.is_hybrid,
        "warnings": list(containers.host.warnings),
        "ready": cgroup.get_ready_for_moves(groups),
    }

    async def make(name: str, *command: str, **host: object) -> str:
        settings = HostConfig(network_mode="none", **host)  # type: ignore[arg-type]
        ident, _ = await containers.create(
            name, ContainerCreate(image="busybox", cmd=list(command), host_config=settings)
        )
        await containers.start(ident)
        return ident

    def limits(ident: str) -> dict[str, str]:
        group = containers.find(ident).cgroup_path(layout.cgroup_parent)
        place = groups.directory(group, "memory")
        assert place is not None
        names = ("memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max")
        return {name: (place / name).read_text().strip() for name in names if (place / name).exists()}

    ident = await make(
        "limited", "sleep", "600", memory=64 * MIB, memory_reservation=32 * MIB, nano_cpus=500_000_000,
        cpu_shares=512, pids_limit=20,
    )  # fmt: skip
    told["limits"] = limits(ident)
    await containers.update(ident, UpdateRequest(memory=96 * MIB, nano_cpus=250_000_000, pids_limit=30))
    told["updated"] = limits(ident)
    record = containers.find(ident)
    code, said = await execs.run(record, Command(argv=("cat", "/proc/self/cgroup"), stdout=True), limit_s=20, keep=200)
    told["exec"] = [code, said]
    told["processes"] = len(cgroup.processes(groups, record.cgroup_path(layout.cgroup_parent)))
    sample = await Stats(layout=layout, find=containers.find, clock=clock, groups=lambda: groups).once(
        ident, one_shot=True
    )
    told["stats"] = {
        "limit": sample["memory_stats"]["limit"],
        "usage": sample["memory_stats"]["usage"] > 0,
        "pids": sample["pids_stats"],
        "cpu": sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0,
    }
    await containers.pause(ident)
    group = groups.directory(record.cgroup_path(layout.cgroup_parent), "memory")
    assert group is not None
    told["frozen"] = (group / "cgroup.freeze").read_text().strip()
    await containers.unpause(ident)
    await containers.kill(ident)
    told["killed"] = await (await containers.waiting(ident))
    await containers.remove(ident)
    told["group left"] = group.exists()

    greedy = await make("greedy", "tail", "/dev/zero", memory=16 * MIB, memory_swap=16 * MIB)
    told["greedy"] = [
        await (await containers.waiting(greedy)),
        (await containers.inspect(greedy))["State"]["OOMKilled"],
    ]
    await containers.remove(greedy)
    forks = await make("forks", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; true", pids_limit=4)
    told["forks"] = await (await containers.waiting(forks)) != 0
    await containers.remove(forks)
    await networks.shut()
    await tasks.close()
    told["left"] = sorted(
        str(path) for path in Path("/sys/fs/cgroup" + layout.cgroup_parent).glob("*") if path.is_dir()
    )
    return told


if __name__ == "__main__":
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    json.dump(asyncio.run(story()), sys.stdout)
