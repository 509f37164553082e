"""What was answered is so after a power failure: of volumes made, removed, had back and renamed, on real file systems.

A file system in a file is copied as it is at one moment, and the copy takes its place: what was not written is lost.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from berth.kernel.files import sync_filesystem
from tests.netns.test_volume_life import (
    AWAY,
    BACK,
    NOTHING,
    ONE,
    World,
    delete,
    remove,
    remove_at_once,
    rename,
    restore,
)
from tests.support import filesystems

pytestmark = pytest.mark.root


class Machine(World):
    """Volumes on a file system whose power can be cut."""

    def __init__(self, kind: str, place: Path) -> None:
        self.kind, self.place = kind, place
        super().__init__(place / kind)

    async def volume(self, name: str = "data") -> None:
        await super().volume(name)
        sync_filesystem(self.layout.volumes)

    async def after_power_failure(self) -> None:
        """What is there when the machine has been started again."""
        assert self.stores is not None
        filesystems.cut_power(self.kind, self.place, self.stores.close)
        self.stores = None
        shutil.rmtree(self.layout.exec_root)
        await self.adopted()


# Of btrfs, which is never at rest, such a copy is none of one moment.
@pytest.fixture(params=["ext4", "xfs"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if missing := filesystems.is_missing(request.param):
        pytest.skip(missing)
    with filesystems.mounted(request.param, tmp_path):
        machine = Machine(request.param, tmp_path)
        yield machine
        if machine.stores is not None:
            machine.stores.close()


async def _volume(machine: World) -> None:
    await machine.volume()


async def _removed(machine: World) -> None:
    await machine.volume()
    await remove(machine)


STORIES = {
    "remove": (_volume, remove, AWAY),
    "remove at once": (_volume, remove_at_once, NOTHING),
    "rename": (_volume, rename, BACK),
    "restore": (_removed, restore, BACK),
    "restore under its old name": (_removed, lambda machine: machine.volumes.trash.restore("data"), ONE),
    "delete for good": (_removed, delete, NOTHING),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_was_answered_is_so_after_a_power_failure(machine: Machine, story: str) -> None:
    before, change, becomes = STORIES[story]

    async def work() -> None:
        await before(machine)
        await change(machine)
        await machine.after_power_failure()
        assert machine.whole == becomes

    asyncio.run(work())


def test_a_new_volume_is_there_with_its_owner(machine: Machine) -> None:
    async def work() -> None:
        await machine.volumes.create("other", "", {"uid": "70", "gid": "71", "mode": "750"}, {"a": "b"})
        await machine.after_power_failure()
        assert machine.live == {"other": ""}
        seen = (machine.layout.volumes / "other/_data").stat()
        assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (70, 71, 0o750)

    asyncio.run(work())


async def _made_again(machine: Machine) -> None:
    await machine.volumes.create("data", labels={"a": "b"})


async def _renamed_to_it(machine: Machine) -> None:
    await machine.volumes.create("new", labels={"a": "b"})
    await machine.volumes.changing.rename("new", "data")


@pytest.mark.parametrize("again", [_made_again, _renamed_to_it])
def test_a_volume_of_a_removed_ones_name_never_has_its_data(
    machine: Machine, again: Callable[[Machine], Awaitable[None]]
) -> None:
    async def work() -> None:
        await _removed(machine)
        await again(machine)
        await machine.after_power_failure()
        assert machine.whole == ({"data": ""}, [("data", "precious")])

    asyncio.run(work())


def test_a_power_failure_takes_what_was_not_written(machine: Machine) -> None:
    async def work() -> None:
        await _volume(machine)
        data = machine.layout.volumes / "data/_data"
        (data / "lost").write_text("lost")
        os.mkdir(data / "gone")
        await machine.after_power_failure()
        assert os.listdir(data) == ["precious"]

    asyncio.run(work())
