"""Places for backups in bad times: several at work there at once, a full one, one whose server is gone."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.kernel.foreign import NoAnswer
from berth.volumes.backup.errors import StoreFailed
from berth.volumes.backup.model import BackupOptions, RestoreOptions
from berth.volumes.backup.stores.base import condemned
from tests.netns.test_unchanged_backups import World
from tests.support import filesystems, hangs
from tests.support.engines import wait_for

pytestmark = pytest.mark.root
AGAIN = BackupOptions(reread=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    for name in ("db", "files"):
        asyncio.run(made.volumes.create(name, "", None, None))
        made.file(name).write_bytes(name.encode() * 100_000)
    yield made
    made.stores.close()


def test_a_repository_is_saved_to_pruned_and_checked_at_once(world: World) -> None:
    async def work() -> None:
        stores = [world.backups.store(f"restic:{world.root}/repo", str(world.root / "password")) for _ in range(2)]
        (first,) = await world.backups.keep(["db"], AGAIN, stores[0])
        made = await asyncio.gather(
            world.backups.keep(["db"], AGAIN, stores[0]),
            world.backups.keep(["db", "files"], AGAIN, stores[1]),
            stores[0].drop([first.name]),
            stores[1].verify(first.name),
        )
        names = {one.name for one in (*made[0], *made[1])}
        assert len(names) == 3
        assert {one.name for one in await stores[0].entries()} == names
        assert await stores[0].verify("")

    asyncio.run(work())


def test_what_was_killed_leaves_no_lock_for_ever(world: World) -> None:
    made = world.backup("db", AGAIN)
    locks = world.root / "repo/locks"
    argv = ["restic", "--repo", world.root / "repo", "--password-file", world.root / "password", "backup", "--stdin"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as dies:
        wait_for(lambda: [path for path in locks.iterdir() if "-tmp-" not in path.name], "its lock")
        dies.kill()
    assert len(list(locks.iterdir())) == 1
    store = world.backups.store(f"restic:{world.root}/repo", str(world.root / "password"))
    asyncio.run(store.drop([made.name]))
    assert world.entries("db") == []
    assert list(locks.iterdir()) == []


def test_a_directory_gets_two_backups_of_one_second_as_two_whole_files(world: World) -> None:
    place = world.root / "backups"
    place.mkdir()

    async def work() -> None:
        store = world.backups.store(str(place))
        made = await asyncio.gather(*(world.backups.keep(["db"], BackupOptions(), store) for _ in range(4)))
        names = sorted(one.name for (one,) in made)
        assert sorted(path.name for path in place.iterdir()) == names
        assert len(set(names)) == 4
        entries = await store.entries()
        assert {(one.volume, one.state) for one in entries} == {("db", "complete")}
        for name in names:
            assert (await world.backups.verify(store.read(name), RestoreOptions())).files == 1
        gone = [one.name for one in condemned(entries, {"last": 1})]
        await asyncio.gather(store.drop(gone), store.drop(gone))  # two who prune at once
        assert [one.name for one in await store.entries()] == [name for name in names if name not in gone]

    asyncio.run(work())


def test_a_full_disk_is_told_and_what_is_there_stays(world: World, tmp_path: Path) -> None:
    world.file("files").write_bytes(os.urandom(80 << 20))
    with filesystems.mounted("ext4", tmp_path) as small:
        store = world.backups.store(str(small))

        async def work() -> None:
            (kept,) = await world.backups.keep(["db"], BackupOptions(), store)
            with pytest.raises(StoreFailed, match=f"^{small}: no space left on device; the backups there are as they"):
                await world.backups.keep(["files"], BackupOptions(), store)
            assert sorted(path.name for path in small.iterdir()) == [kept.name, "lost+found"]
            await world.backups.keep(["db"], BackupOptions(), store)
            assert len(await store.entries()) == 2, "and the next one finds room"

        asyncio.run(work())


def test_a_place_whose_server_is_gone_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := hangs.is_missing():
        pytest.skip(missing)
    with hangs.hangable(world.root) as server:
        store = world.backups.store(str(server.at))
        asyncio.run(world.backups.keep(["db"], BackupOptions(), store))
        server.hang()
        monkeypatch.setattr("berth.kernel.foreign.LOOK_TIMEOUT_S", 0.5)

        async def work() -> None:
            async with asyncio.timeout(60):
                for doing in (
                    world.backups.keep(["db"], BackupOptions(), store), store.entries(), store.drop(["x"]),
                    anext(store.read("x")),
                ):  # fmt: skip
                    with pytest.raises(NoAnswer, match="does not answer"):
                        await doing

        asyncio.run(work())
