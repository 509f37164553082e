"""Volumes with a size, made, changed and removed by an engine that fails or dies at every step, and on a full disk."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from berth.base.errors import EngineError
from berth.base.units import parse_bytes
from berth.kernel import image, loop
from berth.kernel.mount import is_mounted
from berth.volumes.drivers import local_sizes
from berth.volumes.drivers.local import LocalDriver
from berth.volumes.drivers.local_sizes import Sizes, image_bytes
from tests.netns.test_volume_life import World
from tests.netns.test_volume_sizes import no_loops
from tests.support.faults import Fault, failing, killing

pytestmark = pytest.mark.root

MIB = 1 << 20
CONTENT = os.urandom(3 * MIB)


class SizeWorld(World):
    """A world whose changes of file systems are steps, too."""

    def fresh(self) -> None:
        super().fresh()
        self.driver._sizes = Sizes(self.driver._storage)

    @property
    def driver(self) -> LocalDriver:
        found = self.volumes.drivers.get("", "local")
        assert isinstance(found, LocalDriver)
        return found

    def directory(self, name: str) -> Path:
        return self.layout.volumes / name

    def whole(self, name: str, size: int) -> None:
        """Assert that a volume is what its record says, with nothing beside it."""
        found = sorted(one.name for one in self.directory(name).iterdir())
        assert found in (["_data", "image"], ["_data", "image.new"]), found
        file = self.directory(name) / found[1]
        assert self.volumes.get(name).options is not None
        assert parse_bytes((self.volumes.get(name).options or {})["size"]) == size
        assert file.stat().st_size == image_bytes(size, image.kind(file))

    async def content(self, name: str) -> bytes:
        record = self.volumes.get(name)
        await self.driver.hold(record, "test")
        try:
            return (self.directory(name) / "_data/file").read_bytes()
        finally:
            await self.driver.let_go(record, "test")

    async def filled(self, name: str, **options: str) -> None:
        """Make a volume with content."""
        record = await self.volumes.create(name, driver_opts=options)
        await self.driver.hold(record, "test")
        (self.directory(name) / "_data/file").write_bytes(CONTENT)
        await self.driver.let_go(record, "test")

    def clean(self) -> None:
        """Assert that no device and no mount is left."""
        no_loops(self.layout.volumes)
        assert str(self.layout.volumes) not in Path("/proc/self/mountinfo").read_text()


@contextmanager
def stepped(world: SizeWorld) -> Iterator[None]:
    """Make a step of every call that changes a file with a file system, before it and after it."""
    places: list[tuple[Any, str]] = [
        (image, "_allot"), (image, "_dress"), (image, "_grow_mounted"), (image, "copy"), (image.process, "run"),
        (loop, "follow_size"), (local_sizes, "_put_in_place"), (Sizes, "begin"), (Sizes, "end"),
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for where, name in places:
            patch.setattr(where, name, _step(world.fault, getattr(where, name), fails=name != "end"))
        yield


def _step(fault: Fault, work: Callable[..., Any], *, fails: bool) -> Callable[..., Any]:
    def before() -> None:
        if fails or fault.kills:
            fault.before()
            fault.after()

    def after() -> None:
        if fault.kills:
            before()

    if asyncio.iscoroutinefunction(work):

        async def awaited(*args: Any, **named: Any) -> Any:
            before()
            done = await work(*args, **named)
            after()
            return done

        return awaited

    def called(*args: Any, **named: Any) -> Any:
        before()
        done = work(*args, **named)
        after()
        return done

    return called


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SizeWorld]:
    made = SizeWorld(tmp_path)
    with stepped(made):
        yield made
    made.clean()


def go(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


def test_making_one(world: SizeWorld) -> None:
    async def work() -> None:
        step = 0

        def make(world: World) -> Awaitable[object]:
            return world.volumes.create("sized", driver_opts={"size": "20m"})

        async for at in failing(world.fault, partial(make, world)):
            step = at
            assert list(world.layout.volumes.glob("*")) == []
            world.clean()
        assert step >= 5
        assert world.volumes.get("sized")
        await world.volumes.remove("sized", force=False)
        await world.volumes.trash.empty()
        there = 0
        async for at, fresh in killing(world, make, world.adopted):
            step = at
            if fresh.volumes.register.find("sized") is None:
                assert [one.name for one in world.layout.volumes.glob("*")] == []
            else:
                there += 1
                world.whole("sized", 20 * MIB)
                await fresh.volumes.remove("sized", force=False)
                await fresh.volumes.trash.empty()
            world.clean()
        assert there >= 1
        assert step >= 9

    go(work())


@pytest.mark.parametrize(("fstype", "first", "then"), [("ext4", 40, 20), ("xfs", 300, 400)], ids=str)
def test_changing_one(world: SizeWorld, fstype: str, first: int, then: int) -> None:
    async def work() -> None:
        await world.filled("sized", size=f"{first * MIB}", **{"size-fs": fstype})

        def change(world: World) -> Awaitable[object]:
            return world.volumes.sizing.resize("sized", f"{then}m")

        step = 0
        async for at in failing(world.fault, partial(change, world)):
            step = at
            world.whole("sized", first * MIB)
            world.clean()
            assert await world.content("sized") == CONTENT
        assert step >= 4
        world.whole("sized", then * MIB)
        await world.volumes.sizing.resize("sized", f"{first}m")
        sizes: set[int] = set()
        async for at, fresh in killing(world, change, world.adopted):
            step = at
            now = parse_bytes((fresh.volumes.get("sized").options or {})["size"])
            sizes.add(now // MIB)
            world.whole("sized", now)
            world.clean()
            assert await world.content("sized") == CONTENT
            if now != first * MIB:
                await fresh.volumes.sizing.resize("sized", f"{first}m")
        assert sizes == {first, then}
        assert step >= 8

    go(work())


def test_growing_one_that_is_mounted(world: SizeWorld) -> None:
    async def work() -> None:
        await world.filled("sized", size=f"{300 * MIB}", **{"size-fs": "xfs"})
        data, size = world.directory("sized") / "_data", 300
        await world.driver.hold(world.volumes.get("sized"), "user")

        async def restart() -> World:
            world.wake()
            await world.volumes.adopt({"user"})
            return world

        def change(world: World) -> Awaitable[object]:
            return world.volumes.sizing.resize("sized", f"{size + 16}m")

        step = 0
        async for at, fresh in killing(world, change, restart):
            step = at
            assert is_mounted(str(data))
            assert (data / "file").read_bytes() == CONTENT
            now = parse_bytes((fresh.volumes.get("sized").options or {})["size"])
            assert now in (size * MIB, (size + 16) * MIB)
            world.whole("sized", now)
            size = now // MIB
        assert step >= 6
        assert size > 300
        await world.driver.let_go(world.volumes.get("sized"), "user")

    go(work())


def test_removing_one(world: SizeWorld) -> None:
    async def work() -> None:
        def remove(world: World) -> Awaitable[object]:
            return world.volumes.remove("sized", force=False)

        await world.filled("sized", size="20m")
        step = 0
        async for at, fresh in killing(world, remove, world.adopted):
            step = at
            world.clean()
            if fresh.volumes.register.find("sized") is None:
                await fresh.volumes.trash.restore("sized")
            assert await world.content("sized") == CONTENT
        assert step >= 3

    go(work())


def test_a_change_that_cannot_be_ended_keeps_no_engine_from_starting(
    world: SizeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await world.filled("sized", size=f"{40 * MIB}")
        image_file, mark = world.directory("sized") / "image", world.directory("sized") / ".resize"
        mark.write_text(str(80 * MIB))  # as a killed engine leaves it, grown but not ended
        whole = image_file.read_bytes()
        image_file.write_bytes(bytes(image_bytes(80 * MIB, "ext4")))
        await world.adopted()
        assert "resize that was cut short cannot be ended" in caplog.text
        assert parse_bytes((world.volumes.get("sized").options or {})["size"]) == 40 * MIB
        assert mark.exists()
        image_file.write_bytes(whole)
        await world.adopted()
        assert not mark.exists()
        assert await world.content("sized") == CONTENT

    go(work())


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "small", str(tmp_path / "data")], check=True)
    try:
        world = SizeWorld(tmp_path)
        ballast = tmp_path / "data/ballast"

        def fill_up() -> None:
            with ballast.open("wb") as out:
                while True:
                    out.write(bytes(64 * 1024))

        async def work() -> None:
            before = sorted(world.layout.volumes.rglob("*"))
            with pytest.raises(EngineError, match=r"no space left on device|No space left on device"):
                await world.volumes.create("large", driver_opts={"size": "400m", "size-fs": "xfs"})
            assert sorted(world.layout.volumes.rglob("*")) == before
            await world.filled("sized", size=f"{40 * MIB}")
            with pytest.raises(OSError, match="No space"):
                fill_up()
            for size in ("20m", "80m"):
                with pytest.raises(EngineError, match="(?i)no space left on device|stop first"):
                    await world.volumes.sizing.resize("sized", size)
                world.whole("sized", 40 * MIB)
            with pytest.raises(EngineError, match="(?i)no space left on device"):
                await world.volumes.create("other", driver_opts={"size": "8m"})
            assert not world.directory("other").exists()
            ballast.unlink()
            assert await world.content("sized") == CONTENT
            assert world.stores is not None
            world.stores.close()

        go(work())
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "data")], check=True)
