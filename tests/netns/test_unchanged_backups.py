"""Backups of what has not changed to a real repository of restic's: none is made, unless anything is in doubt."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel.fingerprint import GRAIN_NS
from berth.store.sqlite import Stores
from berth.volumes.backup.errors import StoreFailed
from berth.volumes.backup.model import BackupOptions
from berth.volumes.backup.service import Backups
from berth.volumes.backup.stores.base import Entry
from berth.volumes.backup.unchanged import Mark
from berth.volumes.consistency.model import Mode, Wish
from berth.volumes.consistency.still import Stillness
from berth.volumes.model import VolumeRecord
from berth.volumes.service import Volumes
from tests.netns.test_restores import _NobodyWrites
from tests.support.engines import wait_for

pytestmark = pytest.mark.root


@dataclass
class World:
    root: Path

    def __post_init__(self) -> None:
        layout = Layout(self.root / "data", self.root / "run")
        self.stores = Stores(layout.database, layout.runtime_database)
        bus, nobody = Bus(SystemClock()), _NobodyWrites()
        self.marks = self.stores.durable("backup_marks", Mark)
        self.volumes = Volumes(layout, self.stores.durable("volumes", VolumeRecord), bus, lambda: ())
        stillness = Stillness(layout, self.volumes.register, self.volumes.drivers, nobody, bus, SystemClock())  # type: ignore[arg-type]
        self.backups = Backups(layout, self.volumes.keeping, stillness, self.volumes.replacing, self.marks)
        (self.root / "password").write_text("secret\n")

    def file(self, name: str) -> Path:
        return self.root / "data/volumes" / name / "_data/file"

    def backup(self, name: str, options: BackupOptions | None = None) -> Entry:
        store = self.backups.store(f"restic:{self.root}/repo", str(self.root / "password"))
        (made,) = asyncio.run(self.backups.keep([name], options or BackupOptions(), store))
        return made

    def entries(self, name: str) -> list[Entry]:
        store = self.backups.store(f"restic:{self.root}/repo", str(self.root / "password"))
        return [one for one in asyncio.run(store.entries()) if one.volume == name]

    def restic(self, *words: str) -> None:
        subprocess.run(["restic", "--repo", self.root / "repo", "--password-file", self.root / "password", *words],
                       check=True, capture_output=True)  # fmt: skip


def _content(world: World, name: str) -> None:
    before = world.file(name).stat()
    world.file(name).write_text("two")
    os.utime(world.file(name), ns=(before.st_atime_ns, before.st_mtime_ns))


def _forgotten(world: World, name: str) -> None:
    world.restic("forget", world.entries(name)[0].name)


def _newer(world: World, name: str) -> None:
    # as another engine, or somebody at the prompt, may have made one
    world.restic("backup", "--tag", "berth", "--tag", f"volume={name}", "--host", "berth", str(world.root / "password"))


def _labelled(world: World, name: str) -> None:
    record = world.volumes.register.get(name)
    asyncio.run(world.volumes.register.records.put(name, msgspec.structs.replace(record, labels={"new": "label"})))


def _rebooted(world: World, name: str) -> None:
    (mark,) = [one for one in world.marks.all() if one.volume == name]
    key = f"{name} {mark.repository}"
    assert world.marks.get(key) == mark
    asyncio.run(world.marks.put(key, msgspec.structs.replace(mark, boot="before")))


def _nothing(world: World, name: str) -> None:
    assert world.file(name).exists()


DOUBTS: dict[str, tuple[Callable[[World, str], None], BackupOptions]] = {
    "content": (_content, BackupOptions()),
    "forgotten": (_forgotten, BackupOptions()),
    "newer": (_newer, BackupOptions()),
    "labelled": (_labelled, BackupOptions()),
    "rebooted": (_rebooted, BackupOptions()),
    "reread": (_nothing, BackupOptions(reread=True)),
    "stopped": (_nothing, BackupOptions(wish=Wish(mode=Mode.STOP))),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("unchanged"))
    for name in (*DOUBTS, "same", "replaced"):
        asyncio.run(made.volumes.create(name, "", None, None))
        made.file(name).write_text("one")
    written = time.time_ns()
    wait_for(lambda: time.time_ns() > written + GRAIN_NS + 50_000_000, "all to be old enough to count as settled")
    for name in (*DOUBTS, "same", "replaced"):
        assert not made.backup(name).unchanged
    yield made
    made.stores.close()


def test_what_has_not_changed_is_not_backed_up_again_and_says_since_when(world: World) -> None:
    (first,) = world.entries("same")
    assert first.unchanged == ""
    again = world.backup("same")
    assert (again.name, again.end) == (first.name, {"files": 1, "bytes": again.end["bytes"], "packed": 0})
    assert again.unchanged > again.stamp
    (still,) = world.entries("same")
    assert (still.name, still.unchanged) == (first.name, again.unchanged)
    assert world.backup("same").name == first.name


@pytest.mark.parametrize("doubt", DOUBTS)
def test_any_doubt_makes_a_backup(world: World, doubt: str) -> None:
    change, options = DOUBTS[doubt]
    (before,) = world.entries(doubt)
    change(world, doubt)
    made = world.backup(doubt, options)
    assert not made.unchanged
    assert made.name != before.name
    assert made.name in [one.name for one in world.entries(doubt)]


def test_what_was_written_just_before_is_read_once_more(world: World) -> None:
    asyncio.run(world.volumes.create("young", "", None, None))
    world.file("young").write_text("one")
    first = world.backup("young")
    second = world.backup("young")
    assert second.name != first.name
    assert not second.unchanged


def test_a_volume_of_the_same_name_is_another_one(world: World) -> None:
    asyncio.run(world.volumes.remove("replaced", force=False))
    asyncio.run(world.volumes.create("replaced", "", None, None))
    assert not world.backup("replaced").unchanged


def test_another_repository_in_the_same_place_gets_a_backup(world: World) -> None:
    away = world.root / "away"
    (world.root / "repo").rename(away)
    try:
        made = world.backup("same")
        assert not made.unchanged
        assert [one.name for one in world.entries("same")] == [made.name]
    finally:
        shutil.rmtree(world.root / "repo")
        away.rename(world.root / "repo")
    assert not world.backup("same").unchanged, "the mark was of the other one"


def test_a_wrong_password_is_told_though_nothing_changed(world: World) -> None:
    (world.root / "password").write_text("wrong\n")
    try:
        with pytest.raises(StoreFailed, match="wrong password"):
            world.backup("same")
    finally:
        (world.root / "password").write_text("secret\n")
    assert any(one.unchanged for one in [world.backup("same"), world.backup("same")])
