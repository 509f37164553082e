"""Backups to a directory by an engine that dies at each step: one is there whole and with its name, or nothing is.

And of a machine whose power fails: one that was answered is there.
"""

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from berth.volumes.backup.model import BackupOptions, RestoreOptions
from berth.volumes.backup.stores.directory import DirectoryStore
from tests.netns.test_restores import NEW, OLD, World, again
from tests.netns.test_restores import world as world  # a fixture
from tests.support import filesystems, trees
from tests.support.faults import Fault, killing

pytestmark = pytest.mark.root


class StepStore(DirectoryStore):
    """The real one; a step is one call that changes the directory."""

    fault: Fault

    def _open(self) -> Any:
        self.fault.before()
        opened = super()._open()
        self.fault.after()
        return opened

    def _name(self, *args: Any) -> str:
        self.fault.before()
        self.fault.after()  # all is written
        self.fault.before()
        final = super()._name(*args)
        self.fault.after()
        return final


@pytest.mark.parametrize("nameless", [True, False])
def test_a_backup_whose_engine_dies_at_any_step_is_whole_or_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch, *, nameless: bool
) -> None:
    place = world.root / "backups"
    place.mkdir()
    if not nameless:  # as on a file system that has none
        monkeypatch.setattr(os, "O_TMPFILE", 0)

    def back_up(world: World) -> Awaitable[object]:
        store = StepStore(place)
        store.fault = world.fault
        return world.backups.keep(["db"], BackupOptions(), store)

    async def work() -> None:
        await world.volumes.create("db")
        trees.plant(world.data("db"), OLD)
        before, seen, last = world.everything(), [], [world]
        async for _, after in killing(world, back_up, lambda: again(last[-1])):
            last.append(after)
            after.fault.arm(0)
            assert after.everything() == before
            for entry in await DirectoryStore(place).entries():
                await after.backups.verify(DirectoryStore(place).read(entry.name), RestoreOptions())
                (place / entry.name).unlink()
                seen.append(entry.volume)
            left = os.listdir(place)
            assert not left if nameless else len(left) <= 1
            for name in left:
                (place / name).unlink()
        assert seen == ["db"], "one death comes after it had its name"
        (done,) = await DirectoryStore(place).entries()
        assert done.volume == "db"
        last[-1].stores.close()

    asyncio.run(work())


def test_what_a_dead_engine_left_goes_with_a_later_backup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files have a name from the start. What is young may be written by another machine."""
    monkeypatch.setattr(os, "O_TMPFILE", 0)
    place = world.root / "backups"
    place.mkdir()
    for name, age_h in ((".berth-old", 25), (".berth-young", 23), (".other", 1000), ("other", 1000)):
        (place / name).write_bytes(b"x")
        then = (place / name).stat().st_mtime - 3600 * age_h
        os.utime(place / name, (then, then))

    async def work() -> None:
        await world.volumes.create("db")
        (done,) = await world.backups.keep(["db"], BackupOptions(), DirectoryStore(place))
        assert sorted(os.listdir(place)) == sorted([".berth-young", ".other", done.name, "other"])

    asyncio.run(work())


@pytest.mark.parametrize("options", [BackupOptions(), BackupOptions(passphrase="secret")], ids=["plain", "encrypted"])
@pytest.mark.parametrize("nameless", [True, False])
def test_a_backup_that_was_answered_is_whole_after_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: BackupOptions, *, nameless: bool
) -> None:
    """It is the process that writes it that waits for the disk: the engine itself is never kept waiting."""
    if missing := filesystems.is_missing("ext4"):
        pytest.skip(missing)
    if not nameless:
        monkeypatch.setattr(os, "O_TMPFILE", 0)

    async def work(worlds: list[World], place: Path) -> None:
        (world,) = worlds
        await world.volumes.create("db")
        trees.plant(world.data("db"), NEW)
        place.mkdir()
        (done,) = await world.backups.keep(["db"], options, DirectoryStore(place))
        (place / "unsynced").write_bytes(b"x" * 10_000)
        filesystems.cut_power("ext4", tmp_path, worlds.pop().stores.close)
        worlds.append(after := World(world.root))
        await after.volumes.adopt(())
        (name,) = set(os.listdir(place)) - {"unsynced"}
        assert (name, (place / name).stat().st_size) == (done.name, done.size)
        checked = await after.backups.verify(
            DirectoryStore(place).read(name), RestoreOptions(passphrase=options.passphrase)
        )
        assert (checked.files, checked.bytes) == (2, 10_003)
        assert not (place / "unsynced").exists() or not (place / "unsynced").stat().st_size, "what nobody waited for"

    with filesystems.mounted("ext4", tmp_path) as disk:
        worlds = [World(disk)]
        try:
            asyncio.run(work(worlds, disk / "backups"))
        finally:
            for world in worlds:
                world.stores.close()
