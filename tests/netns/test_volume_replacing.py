"""Volumes with a size that are rolled back and restored: whole whatever fails, is killed, or fills up meanwhile."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.base.aio import Tasks
from berth.base.errors import Conflict, EngineError
from berth.kernel import copying, image, quota
from berth.kernel.archiving import Packer, Packing
from berth.kernel.mount import is_mounted
from berth.volumes import replacing
from berth.volumes.backup import service as backups
from berth.volumes.backup.model import RestoreOptions
from berth.volumes.backup.service import Backups
from berth.volumes.drivers.local import LocalDriver
from berth.volumes.drivers.local_sizes import Sizes
from berth.volumes.drivers.local_storage import LocalStorage
from tests.netns import test_volume_copies
from tests.netns.test_restores import StepStaging
from tests.netns.test_volume_life import StepStorage
from tests.netns.test_volume_size_faults import _step, no_loops
from tests.support import filesystems
from tests.support.faults import failing, killing
from tests.support.trees import Node, difference, look, plant

pytestmark = pytest.mark.root

MIB = 1 << 20
#: What keeps the size of a volume: the options it is made with.
KINDS = {
    "image": {"size": "24m", "size-mode": "image", "size-fs": "ext4", "uid": "5"},
    "qgroup": {"size": "24m", "size-mode": "quota"},
}
OLD = (Node(b"", "dir", mode=0o750, owner=(7, 7)), Node(b"row", content=b"old", owner=(1, 2)), Node(b"sub", "dir"))
NEW = (Node(b"", "dir", mode=0o711, owner=(9, 9)), Node(b"row", content=b"new"), Node(b"more", content=b"x" * 10_000))


class Storage(StepStorage):
    """A twin that is not buried when its change is done is buried at the next start: nobody has to hear of that."""

    def bury(self, entry: str) -> None:
        if self.fault.kills:
            super().bury(entry)
        else:
            LocalStorage.bury(self, entry)


class World(test_volume_copies.World):
    """Volumes with a size, their copies and backups; every change of their file systems is a step, too."""

    options: dict[str, str]

    def fresh(self) -> None:
        super().fresh()
        storage = Storage(self.layout.volumes)
        storage.fault = self.fault
        self.driver._storage = storage
        self.driver._sizes = Sizes(self.driver._storage)
        staging = StepStaging(self.layout.volumes)
        staging.fault = self.fault
        self.backups = Backups(
            self.layout, self.volumes.keeping, self.copies._stillness, self.volumes.replacing, staging
        )

    @property
    def driver(self) -> LocalDriver:
        found = self.volumes.drivers.get("", "local")
        assert isinstance(found, LocalDriver)
        return found

    async def adopted(self) -> "World":
        self.fresh()
        tasks = Tasks()
        await self.volumes.changing.adopt()
        await self.copies.adopt(tasks)
        await self.volumes.adopt(())  # nobody runs
        await self.backups.adopt()
        await self.driver.discard()
        await tasks.settle()
        return self

    async def write(self, nodes: tuple[Node, ...]) -> None:
        """Let the volume have these files and no others."""
        async with self.volumes.replacing.mounted(self.volumes.get("data")) as data:
            for path in data.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            plant(data, nodes)

    async def there(self) -> Any:
        """Every file of the volume; it keeps its size as before and nothing is beside it."""
        directory = self.layout.volumes / "data"
        assert os.listdir(self.layout.volumes) == ["data"]
        assert not is_mounted(str(self.data()))
        left = sorted(set(os.listdir(directory)) - {"snapshots"})
        assert left == (["_data", "image"] if self.options["size-mode"] == "image" else ["_data"])
        if self.options["size-mode"] == "quota":
            assert quota.limited(self.data(), quota.kind(self.data()))
        place = directory / "snapshots"
        assert set(os.listdir(place) if place.exists() else ()) == set(self.copies.shelf.names("data"))
        async with self.volumes.replacing.mounted(self.volumes.get("data")) as data:
            return look(data)

    def kept(self) -> list[Any]:
        """What rollbacks have kept."""
        return [
            look(self.copies.shelf.snapshot("data", one.name)) for one in self.copies.shelf.all("data") if one.automatic
        ]


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A volume ``data`` with the new files, whose snapshot ``snap`` and backup ``archive`` have the old."""
    kind = {"qgroup": "btrfs"}.get(request.param, "")
    if not kind:
        yield from lent(tmp_path, KINDS[request.param])
        return
    with filesystems.mounted(kind, tmp_path) as disk:
        subprocess.run(["btrfs", "quota", "enable", str(disk)], check=True)
        subprocess.run(["btrfs", "quota", "rescan", "-w", str(disk)], check=True, capture_output=True)
        yield from lent(disk, KINDS[request.param])


def lent(root: Path, options: dict[str, str]) -> Iterator[World]:
    made = World(root)
    made.options = options
    places: list[tuple[Any, str]] = [
        (image, "_allot"), (image, "_dress"), (quota, "limit"), (Sizes, "exchange"), (replacing.Twin, "settle"),
        (copying, "copy_tree"), (backups, "copy_tree"), (backups, "unpack"),
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for where, name in places:
            patch.setattr(where, name, _step(made.fault, getattr(where, name), fails=True))
        yield made
    made.close()
    no_loops(root)


def go(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


async def prepare(world: World) -> bytes:
    await world.volumes.create("data", driver_opts=world.options, labels=test_volume_copies.LABELS)
    await world.write(OLD)
    await world.copies.take("data", "snap")
    async with world.volumes.replacing.mounted(world.volumes.get("data")) as data:
        packer = Packer(Packing(directory=str(data), head={"volume": "data", "time": "2026"}))
        archive = b"".join([piece async for piece in packer.pieces()])
    await world.write(NEW)
    return archive


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def changes(archive: bytes) -> dict[str, Callable[[World], Awaitable[object]]]:
    return {
        "rollback": lambda world: world.copies.rollback("data@snap"),
        "restore": lambda world: world.backups.restore(_once(archive), RestoreOptions(overwrite=True)),
    }


WHAT = ("rollback", "restore")


@pytest.mark.parametrize("what", WHAT)
def test_a_step_that_fails_leaves_the_volume_as_it_was(world: World, what: str) -> None:
    async def work() -> None:
        change = changes(await prepare(world))[what]
        old, new = look(world.copies.shelf.snapshot("data", "snap")), await world.there()
        steps = 0
        async for at in failing(world.fault, lambda: change(world)):
            steps = at
            if list(world.layout.volumes.glob("data/snapshots/.rolling-*")):
                # The last step: it is done, and what was there before has no name until the next start.
                assert what == "rollback"
                await world.adopted()
                assert difference(old, await world.there()) == []
                assert [difference(new, one) for one in world.kept()] == [[]]
                await world.write(NEW)
                await world.copies.remove(f"data@{world.copies.shelf.names('data')[0]}")
            else:
                assert difference(new, await world.there()) == []
                assert world.kept() == []
        assert steps >= 4
        assert difference(old, await world.there()) == []
        assert [difference(new, one) for one in world.kept()] == ([[]] if what == "rollback" else [])
        assert world.volumes.get("data").options == world.options

    go(work())


#: Steps of which each is killed before and after it take their time: what one story shows the others need not.
KILLED = [("image", "rollback"), ("image", "restore"), ("qgroup", "rollback")]


@pytest.mark.parametrize(("world", "what"), KILLED, indirect=["world"])
def test_an_engine_that_dies_at_any_step_leaves_the_old_or_the_new(world: World, what: str) -> None:
    async def work() -> None:
        change = changes(await prepare(world))[what]
        old, new = look(world.copies.shelf.snapshot("data", "snap")), await world.there()
        seen = []
        async for _, alive in killing(world, change, world.adopted):
            there = await alive.there()
            seen.append("old" if difference(new, there) else "new")
            assert difference(new if seen[-1] == "new" else old, there) == []
            assert [difference(new, one) for one in alive.kept()] == (
                [[]] if (what, seen[-1]) == ("rollback", "old") else []
            )
            if seen[-1] == "old":
                await alive.write(NEW)
                for name in set(alive.copies.shelf.names("data")) - {"snap"}:
                    await alive.copies.remove(f"data@{name}")
        assert seen.count("new") >= 4
        assert seen.count("old") >= 1

    go(work())


@pytest.mark.parametrize("world", ["image"], indirect=True)
def test_a_volume_in_use_is_refused_and_one_never_used_is_replaced(world: World) -> None:
    async def work() -> None:
        archive = await prepare(world)
        await world.volumes.create("data2", driver_opts=world.options)
        restored = await world.backups.restore(_once(archive), RestoreOptions(name="data2", overwrite=True))
        assert restored.name == "data2"
        async with world.volumes.replacing.mounted(world.volumes.get("data2")) as data:
            assert difference(look(world.copies.shelf.snapshot("data", "snap")), look(data)) == []
        with (
            world.volumes.register.occupy("data", "backup"),
            pytest.raises(Conflict, match="volume is in use by a running backup"),
        ):
            await world.copies.rollback("data@snap")
        # What was fit once need not be after the volume was made smaller.
        large = Node(b"large", content=os.urandom(20 * MIB))
        await world.write((*OLD, large))
        await world.copies.take("data", "large")
        await world.write(NEW)
        before = await world_of(world, "data")
        await world.volumes.sizing.resize("data", "8m")
        with pytest.raises(EngineError, match="No space left on device.*berth volume resize data SIZE"):
            await world.copies.rollback("data@large")
        assert difference(before, await world_of(world, "data")) == []
        await world.volumes.remove("data2", force=True)

    go(work())


async def world_of(world: World, name: str) -> Any:
    async with world.volumes.replacing.mounted(world.volumes.get(name)) as data:
        return look(data)


def test_a_full_disk_leaves_the_old(tmp_path: Path) -> None:
    with filesystems.mounted("ext4", tmp_path, size_mib=64) as disk:
        for world in lent(disk, KINDS["image"]):
            asyncio.run(_on_a_full_disk(world))


async def _on_a_full_disk(world: World) -> None:
    await world.volumes.create("data", driver_opts=world.options, labels=test_volume_copies.LABELS)
    await world.write((*OLD, Node(b"large", content=os.urandom(12 * MIB))))
    await world.copies.take("data", "snap")
    await world.write(NEW)
    new = await world.there()
    filler, refused = world.layout.data_root / "filler", 0
    for left in (0, 1, 4, 8, 40):  # MiB: not even the file; not its file system; not its content; all of it
        filler.unlink(missing_ok=True)
        with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while (free := os.statvfs(world.layout.data_root)).f_bfree * free.f_frsize > left << 20:
                out.write(bytes(MIB // 4))
        try:
            await world.copies.rollback("data@snap", keep=False)
        except EngineError as exc:
            refused += 1
            assert "no space left on device" in str(exc).lower(), exc  # noqa: PT017
            assert difference(new, await world.there()) == []
    assert refused == 4
    assert difference(look(world.copies.shelf.snapshot("data", "snap")), await world.there()) == []
