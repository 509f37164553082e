"""The programs that work on volumes for the engine die alone, at every call of theirs that changes something.

Each time the engine says so, what was there is there or what was asked for is, and nothing is left: no file beside the
volumes, no mount, no device. Whoever asks again gets it done: the loops end with that.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berth.kernel.mount import mount_table
from berth.volumes.backup.model import BackupOptions, RestoreOptions
from berth.volumes.backup.stores.directory import DirectoryStore
from berth.volumes.copies.comparing import Comparing
from tests.netns import test_restores
from tests.netns.test_volume_copies import CHANGES, World, awaited, prepared, world_on
from tests.netns.test_volume_size_faults import CONTENT, SizeWorld
from tests.support import filesystems, trees
from tests.support.faults import cutting

pytestmark = pytest.mark.root

#: How it is said that a program was killed.
KILLED = "was killed"


def mounts(below: Path) -> list[str]:
    return [row.target for row in mount_table() if row.target.startswith(str(below))]


# -- copies: clone, snapshot, rollback


@awaited
async def test_a_copy_of_everything_is_there_whole_or_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.volume()
    trees.plant(world.data(), [node for node in trees.rich() if node.path])
    before, calls = trees.look(world.data()), 0
    async for cut in cutting("treecopy_child.py", lambda: world.copies.clone("data", "other"), every=17):
        calls += 1
        assert KILLED in cut.said
        assert world.whole == {"data": "old"}
    assert calls > 10
    assert trees.difference(before, trees.look(world.data("other"))) == []
    assert trees.difference(before, trees.look(world.data())) == []


@pytest.mark.parametrize("what", ["take", "rollback", "rollback for good"])
@awaited
async def test_a_copy_leaves_the_old_or_the_new(what: str, tmp_path: Path) -> None:
    await _copied(World(tmp_path), what)


@pytest.mark.parametrize("what", ["take", "rollback"])
@awaited
async def test_a_subvolume_that_was_made_for_a_copy_goes(what: str, tmp_path: Path) -> None:
    with filesystems.mounted("btrfs", tmp_path) as disk, world_on(disk) as world:
        await _copied(world, what)


async def _copied(world: World, what: str) -> None:
    change, before, after, _ = CHANGES[what]
    calls = 0
    await prepared(world, before)
    async for cut in cutting("treecopy_child.py", lambda: change(world)):
        calls += 1
        assert KILLED in cut.said
        assert world.whole == before
    assert calls >= 2
    assert world.whole == after


@awaited
async def test_a_comparison_that_does_not_end_says_so(tmp_path: Path) -> None:
    world, calls = await prepared(World(tmp_path), {"data": "new", "data@snap": "old"}), 0
    comparing = Comparing(world.copies.shelf, world.copies._stillness)

    async def compare() -> None:
        said = [one async for one in comparing.differences("data", "data@snap")]
        assert said[-1]["differences"] == 1

    async for cut in cutting("treediff_child.py", compare):
        calls += 1
        assert KILLED in cut.said
    assert calls >= 2


# -- archives: backup, restore


def test_a_backup_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    async def work() -> None:
        world = test_restores.World(tmp_path)
        await world.volumes.create("db")
        trees.plant(world.data("db"), test_restores.OLD)
        place = tmp_path / "store"
        place.mkdir()
        store, calls = DirectoryStore(place), 0
        async for cut in cutting("pack_child.py", lambda: world.backups.keep(["db"], BackupOptions(), store)):
            calls += 1
            if cut.last:  # it had said that all was well
                assert [one.volume for one in await store.entries()] == ["db"]
                (done,) = place.iterdir()
                done.unlink()
                continue
            assert KILLED in cut.said
            assert os.listdir(place) == []
        assert calls >= 4
        (done,) = await store.entries()
        await world.backups.take_back(store, done.name, RestoreOptions(name="back"))
        assert trees.difference(trees.look(world.data("db")), trees.look(world.data("back"))) == []
        world.stores.close()

    asyncio.run(work())


@pytest.mark.parametrize("replacing", [True, False])
def test_a_restore_is_there_whole_or_not(tmp_path: Path, *, replacing: bool) -> None:
    async def work() -> None:
        world = test_restores.World(tmp_path)
        data = await test_restores.backup_of(world, tuple(n for n in trees.rich() if n.kind != "socket"))
        if replacing:
            await world.volumes.create("db")
            trees.plant(world.data("db"), test_restores.OLD)
        before, calls = world.everything(), 0
        async for cut in cutting("restore_child.py", lambda: test_restores.restoring(data)(world), every=25):
            calls += 1
            if cut.last:  # it had said that all was well
                assert cut.error is None
                assert trees.difference(trees.look(tmp_path / "source"), trees.look(world.data("db"))) == []
                await _as_before(world, replacing=replacing)
            else:
                assert KILLED in cut.said
            assert world.everything() == before, cut
        assert calls > 5
        assert trees.difference(trees.look(tmp_path / "source"), trees.look(world.data("db"))) == []
        assert world.everything()["beside"] == []
        world.stores.close()

    asyncio.run(work())


async def _as_before(world: test_restores.World, *, replacing: bool) -> None:
    await world.volumes.remove("db", force=True)
    if replacing:
        await world.volumes.create("db")
        trees.plant(world.data("db"), test_restores.OLD)


# -- volumes with a size: mkfs, and the copy to a smaller file system


def test_a_file_system_is_made_whole_or_not(tmp_path: Path) -> None:
    async def work() -> None:
        world, calls = SizeWorld(tmp_path), 0

        async def make() -> None:
            await world.volumes.create("sized", driver_opts={"size": "20m"})

        async for cut in cutting("mkfs.ext4", make, every=4):
            calls += 1
            assert f"mkfs {KILLED} by SIGKILL" in cut.said
            assert list(world.layout.volumes.glob("*")) == []
            world.clean()
        assert calls > 5
        world.whole("sized", 20 << 20)

    asyncio.run(work())


def test_a_volume_that_is_made_smaller_keeps_all_it_has(tmp_path: Path) -> None:
    async def work() -> None:
        world, calls = SizeWorld(tmp_path), 0
        await world.filled("sized", size=f"{40 << 20}")
        # cp copies by large pieces, and mkfs comes before it
        for program, least in (("cp", 3), ("mkfs.ext4", 5)):
            async for cut in cutting(f"/{program}", lambda: world.volumes.sizing.resize("sized", "20m"), every=10):
                calls += 1
                assert KILLED in cut.said
                world.whole("sized", 40 << 20)
                world.clean()
                assert await world.content("sized") == CONTENT
            assert calls >= least
            world.whole("sized", 20 << 20)
            await world.volumes.sizing.resize("sized", "40m")
            assert await world.content("sized") == CONTENT

    asyncio.run(work())


@awaited
async def test_a_copy_into_a_file_system_of_its_own_leaves_no_mount(tmp_path: Path) -> None:
    """A clone, and a restore, of a volume with a size: what is mounted for it goes, whatever happens."""
    world, calls = World(tmp_path), 0
    options = {"size": "20m", "size-mode": "image"}
    await world.volumes.create("data", labels={"a": "b"}, driver_opts=options)
    async with _filled(world):
        pass
    async for cut in cutting("treecopy_child.py", lambda: world.copies.clone("data", "other"), every=2):
        calls += 1
        assert KILLED in cut.said
        assert list(world.volumes.register.records.keys()) == ["data"]
        assert [name for name in os.listdir(world.layout.volumes) if name != "data"] == []
        assert mounts(tmp_path) == []
    assert calls >= 3
    assert mounts(tmp_path) == []
    assert world.volumes.get("other").options == options


@contextlib.asynccontextmanager
async def _filled(world: World) -> AsyncIterator[None]:
    record = world.volumes.get("data")
    driver = world.volumes.drivers.of(record)
    await driver.hold(record, "test")
    (world.data() / "file").write_text("old")
    yield
    await driver.let_go(record, "test")
