"""Backups to a directory by an engine that dies at each step: one is there whole and with its name, or nothing is."""

import asyncio
import os
from collections.abc import Awaitable
from typing import Any

import pytest

from berth.volumes.backup.model import BackupOptions, RestoreOptions
from berth.volumes.backup.stores.directory import DirectoryStore
from tests.netns.test_restores import OLD, World, again
from tests.netns.test_restores import world as world  # a fixture
from tests.support import trees
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
