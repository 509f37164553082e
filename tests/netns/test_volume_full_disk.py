"""A disk that is full at any moment of what is done with volumes: a clear error, nothing lost, and it goes on after.

What a full disk does to copies is in `test_volume_copies`, to sizes in `test_volume_size_faults`, to filling from an
image in `test_hostile_mounts`.
"""

import asyncio
import itertools
import os
import re
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from berth.base.errors import EngineError, SystemFault
from berth.kernel.mount import mount
from berth.kernel.mountflags import MS_BIND
from berth.volumes.backup.model import BackupOptions, RestoreOptions
from berth.volumes.backup.stores.directory import DirectoryStore
from berth.wire.filters import Filters
from berth.wire.volumes import Mount
from tests.netns import test_live_mounts, test_restores
from tests.netns.test_live_mounts import ADD, AFTER, BEFORE, REMOVE
from tests.netns.test_volume_life import LABELS, NOTHING, STORIES, World, _clear
from tests.support import filesystems, trees
from tests.support.filesystems import fill

pytestmark = pytest.mark.root

MIB = 1 << 20
FULL = re.compile("no space left on device|is full", re.IGNORECASE)


class Ballast(msgspec.Struct):
    """A record of no use but to take the room that the engine's records keep for themselves."""

    body: bytes


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with filesystems.mounted("ext4", tmp_path, size_mib=24) as disk:
        yield disk


# -- records: create, rm, rename, trash, prune


async def _nothing(world: World) -> None:
    await world.volumes.trash.empty()


def create(world: World) -> Awaitable[object]:
    return world.volumes.create("data", labels=LABELS)


async def prune(world: World) -> None:
    """Prune, and take it for an error that nothing was removed."""
    names, _ = await world.volumes.prune(Filters({"all": ["true"]}))
    if not names:
        raise SystemFault("the disk is full: prune has logged it")


_MADE = ({"data": ""}, [])
#: What is there before, what is done, what there is before and after it.
ALL: dict[str, tuple[Any, Any, Any, Any]] = {name: story[:4] for name, story in STORIES.items()} | {
    "create": (_nothing, create, NOTHING, _MADE),
    "prune": (STORIES["remove"][0], prune, *STORIES["remove"][2:4]),
}


#: Records of ballast whose room is left inside the engine's own files when the disk is full.
SPARE = (4, 1, 0)


@pytest.mark.parametrize("what", ALL)
def test_records_without_room(small: Path, tmp_path: Path, what: str) -> None:
    before, change, was, becomes = ALL[what]

    async def work() -> None:
        (tmp_path / "exec").mkdir()
        (small / "exec").symlink_to(tmp_path / "exec")  # run-time state is on another disk
        world, filler, refused = World(small), small / "filler", 0
        for spare in SPARE:
            await before(world)
            fill(filler, left=0)
            await _full(world, spare)
            try:
                await change(world)
            except EngineError as exc:
                refused += 1
                assert FULL.search(str(exc)), exc  # noqa: PT017
                assert world.whole == was, spare
            else:
                assert world.whole == becomes, spare
            seen = world.whole
            await world.adopted()  # an engine that starts on the full disk finds the same
            assert world.whole == seen
            filler.unlink()
            await world.adopted()
            assert world.whole == seen
            await _clear(world)
        # What takes nothing more of the disk goes on: a new volume is refused, no removal ever is.
        assert refused > 1 if what == "create" else refused == 0
        await before(world)
        await change(world)
        assert world.whole == becomes
        assert world.stores is not None
        world.stores.close()

    asyncio.run(work())


async def _full(world: World, spare: int) -> None:
    """Leave room in the records' own files for so many more."""
    assert world.stores is not None
    ballast = world.stores.durable("ballast", Ballast)
    for number in itertools.count(len(ballast.keys())):
        try:
            await ballast.put(str(number), Ballast(os.urandom(3000)))
        except SystemFault as exc:
            assert FULL.search(str(exc)), exc  # noqa: PT017
            break
    for key in list(ballast.keys())[:spare]:
        await ballast.drop(key)


# -- archives: backup to a directory, restore over a volume and to a new one


def test_a_backup_that_does_not_fit_leaves_none(small: Path, tmp_path: Path) -> None:
    async def work() -> None:
        world = test_restores.World(tmp_path / "engine")
        await world.volumes.create("db")
        (world.data("db") / "noise").write_bytes(os.urandom(3 * MIB))
        place = small / "backups"
        place.mkdir()
        store = DirectoryStore(place)
        for left in (0, MIB, 2 * MIB):
            fill(small / "filler", left=left)
            with pytest.raises(EngineError, match=FULL):
                await world.backups.keep(["db"], BackupOptions(), store)
            assert os.listdir(place) == []
            assert not world.volumes.register.occupied_by("db")
        fill(small / "filler", left=6 * MIB)
        (made,) = await world.backups.keep(["db"], BackupOptions(), store)
        await world.backups.take_back(store, made.name, RestoreOptions(name="back"))
        assert trees.difference(trees.look(world.data("db")), trees.look(world.data("back"))) == []
        world.stores.close()

    asyncio.run(work())


@pytest.mark.parametrize("replacing", [True, False])
def test_a_restore_that_does_not_fit_changes_nothing(tmp_path: Path, *, replacing: bool) -> None:
    async def work(disk: Path) -> None:
        world, filler = test_restores.World(disk), disk / "filler"
        data = await test_restores.backup_of(world, (trees.Node(b"noise", content=os.urandom(12 * MIB)),))
        if replacing:
            await world.volumes.create("db")
            trees.plant(world.data("db"), test_restores.OLD)
        before = world.everything()
        for left in (0, 6 * MIB):  # nothing fits; half of it does
            fill(filler, left=left)
            with pytest.raises(EngineError, match=FULL):
                await test_restores.restoring(data)(world)
            assert world.everything() == before
        filler.unlink()
        await test_restores.restoring(data)(world)
        assert trees.difference(trees.look(disk / "source"), trees.look(world.data("db"))) == []
        assert world.everything()["beside"] == []
        world.stores.close()

    with filesystems.mounted("ext4", tmp_path, size_mib=128) as disk:
        asyncio.run(work(disk))


# -- mounts of a running container


@pytest.mark.parametrize("where", ["records", "run-time state"])
def test_a_change_of_mounts_without_room(small: Path, tmp_path: Path, where: str) -> None:
    """Neither the disk with volumes and records nor the memory with what is under way has room."""
    root = tmp_path / "engine"
    (root / "exec").mkdir(parents=True)
    (root / "data").mkdir()
    with ExitStack() as ends:
        ends.callback(test_live_mounts._unmounted, root)
        full = root / ("data" if where == "records" else "exec")
        mount(str(small), str(full), "", MS_BIND)
        world = test_live_mounts.World(root)
        ends.callback(world.close)
        test_live_mounts.prepared(world)

        async def work() -> None:
            more = [*ADD, Mount(type="volume", source="fresh", target="/fresh")]
            fill(full / "filler", left=0)
            with pytest.raises(EngineError, match=FULL):
                await world.change(more, REMOVE)
            assert world.mounted() == BEFORE
            assert world.leftovers() == []
            assert world.volumes.register.find("fresh") is None
            (full / "filler").unlink()
            await world.change(more, REMOVE)
            assert world.mounted() == AFTER | {"/fresh": "fresh"}

        asyncio.run(work())
