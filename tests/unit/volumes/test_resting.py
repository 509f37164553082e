"""Sizes of snapshots and removed volumes: found out once, kept, and never those of something else."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.kernel.measure import Measured
from berth.volumes.copies.model import SnapshotRecord
from berth.volumes.copies.shelf import Shelf
from berth.volumes.drivers.local import LocalDriver
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import LOCAL, TrashRecord, VolumeRecord
from berth.volumes.mounts.away import Limits
from berth.volumes.resting import Resting


class World:
    """A directory of volumes; what is measured is written down."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root / "data", root / "exec")
        self.shelf = Shelf(self.layout.volumes)
        self.measured: list[str] = []
        self.resting = self.fresh()

    def fresh(self) -> Resting:
        drivers = Drivers({LOCAL: LocalDriver(self.layout, Limits())})
        made: Any = Resting(self.shelf, drivers, SystemClock(), self.layout.volumes_resting, None)
        made._measurer, self.resting = self._measure, made
        return self.resting

    async def _measure(self, paths: Sequence[str], hurry_s: float) -> AsyncIterator[Measured]:
        for at, path in enumerate(paths):
            self.measured.append(path)
            there = Path(path)
            yield Measured(at, sum(one.stat().st_size for one in there.rglob("*") if one.is_file()), 1)

    def snapshot(self, name: str, length: int) -> SnapshotRecord:
        data = self.shelf.snapshot("db", name)
        data.mkdir(parents=True)
        (data / "file").write_bytes(b"x" * length)
        return SnapshotRecord(name=name, created_ns=length)

    def size(self, record: SnapshotRecord) -> int:
        found = asyncio.run(self.resting.snapshots([("db", record)]))
        return found["db", record.name].size


def test_a_snapshot_is_measured_once_also_by_the_next_engine(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, second = world.snapshot("first", 7), world.snapshot("second", 11)
    assert (world.size(first), world.size(second), world.size(first)) == (7, 11, 7)
    assert len(world.measured) == 2
    world.fresh()
    assert world.size(first) == 7
    assert len(world.measured) == 2


def test_another_of_the_same_name_is_measured_anew_and_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.snapshot("first", 7)
    assert world.size(first) == 7
    world.shelf.snapshot("db", "first").parent.rename(tmp_path / "gone")
    assert world.size(world.snapshot("first", 9)) == 9
    world.shelf.snapshot("db", "first").parent.rename(tmp_path / "gone too")
    assert world.size(world.snapshot("other", 3)) == 3
    assert [key.split("@")[1] for key in json.loads(world.layout.volumes_resting.read_bytes())] == ["other"]


def test_a_removed_volume_counts_with_its_snapshots(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.snapshot("first", 7)
    (world.layout.volumes / "db/_data").mkdir()
    (world.layout.volumes / "db/_data/file").write_bytes(b"x" * 30)
    entry = TrashRecord(id="abc", volume=VolumeRecord(name="db"), removed_ns=1)
    (world.layout.volumes / "db").rename(world.layout.volumes / entry.entry)
    assert asyncio.run(world.resting.removed([entry]))["abc"].size == 37


def test_a_damaged_file_is_no_error(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = world.snapshot("first", 7)
    world.layout.volumes_resting.write_bytes(b"{")
    assert world.size(first) == 7
