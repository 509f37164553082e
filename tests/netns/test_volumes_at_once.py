"""Two calls about one volume at once: each looks at what there is when its turn comes, not when it was asked."""

import asyncio
from pathlib import Path

import pytest

from berth.base.errors import EngineError, NotFound, SystemFault
from berth.volumes.copies.errors import SnapshotInUse
from berth.volumes.errors import VolumeNameInUse, VolumeOccupied, VolumeProtected
from berth.wire.containers import Mount
from tests.netns.throwaway import isolated
from tests.netns.whole import Whole, queued, whole

pytestmark = pytest.mark.root


async def _volume(here: Whole, name: str, text: str = "precious") -> Path:
    await here.volumes.create(name)
    path = here.engine.layout.volumes / name / "_data/file"
    path.write_text(text)
    return path


@isolated
async def test_what_is_protected_meanwhile_is_not_overwritten(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        for size in ("", "8m"):
            name = f"data{size}"
            await here.volumes.create(name, driver_opts={"size": size} if size else None)
            async with here.volumes.replacing.mounted(here.volumes.get(name)) as data:
                (data / "file").write_text("old")
            await here.engine.copies.take(name, "snap")
            async with here.volumes.replacing.mounted(here.volumes.get(name)) as data:
                (data / "file").write_text("new")
            rolling = await queued(here.engine.copies.rollback(f"{name}@snap"))
            await here.volumes.changing.protect(name, protected=True)
            with pytest.raises(VolumeProtected):
                await rolling
            async with here.volumes.replacing.mounted(here.volumes.get(name)) as data:
                assert (data / "file").read_text() == "new"
            assert [one.name for _, one in await here.engine.copies.all(name)] == ["snap"]
            await here.volumes.changing.protect(name, protected=False)
            await here.engine.copies.rollback(f"{name}@snap")
            async with here.volumes.replacing.mounted(here.volumes.get(name)) as data:
                assert (data / "file").read_text() == "old"


@isolated
async def test_the_trash_is_emptied_by_two_at_once(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        for number in range(6):
            await _volume(here, f"v{number}")
            await here.volumes.remove(f"v{number}", force=False)
        trash = here.volumes.trash
        first, second, back = await asyncio.gather(trash.empty(), trash.empty(), trash.restore("v5"))
        gone = sorted(entry.volume.name for entry in (*first, *second))
        assert gone == [f"v{number}" for number in range(5)]
        assert back.name == "v5"
        assert not trash.all()


@isolated
async def test_volumes_of_a_container_on_its_way_out_are_taken_over_or_not_there(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        for wait_ms in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            donor = await here.create("donor", mounts=[Mount(type="volume", target="/data")])
            removing = asyncio.ensure_future(here.containers.remove(donor, volumes=True))
            await asyncio.sleep(wait_ms / 1000)
            making = here.create("heir", "true", volumes_from=["donor"], binds=[f"{tmp_path}:/bound"])
            made, gone = await asyncio.gather(making, removing, return_exceptions=True)
            assert gone is None, gone
            if isinstance(made, EngineError):
                continue
            assert isinstance(made, str), made
            for point in here.containers.find(made).mounts:
                assert point.type.value == "bind" or here.volumes.get(point.name)
            await here.containers.start(made)
            await (await here.containers.waiting(made))
            await here.containers.remove(made, volumes=True)
        assert not here.volumes.register.pending


@isolated
async def test_a_snapshot_stays_for_a_container_that_is_made_with_it(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        await _volume(here, "data")
        made_first, gone_first = 0, 0
        for turns in range(0, 40, 3):
            await here.engine.copies.take("data", "snap")
            removing = asyncio.ensure_future(here.engine.copies.remove("data@snap"))
            for _ in range(turns):
                await asyncio.sleep(0)
            mount = Mount(type="volume", source="data@snap", target="/data", read_only=True)
            making = here.create("reader", "cat", "/data/file", mounts=[mount])
            made, gone = await asyncio.gather(making, removing, return_exceptions=True)
            if isinstance(made, EngineError):
                assert gone is None
                gone_first += 1
                continue
            assert isinstance(gone, SnapshotInUse), gone
            made_first += 1
            await here.containers.start("reader")
            assert await (await here.containers.waiting("reader")) == 0
            await here.containers.remove("reader")
            await here.engine.copies.remove("data@snap")
        assert made_first + gone_first == 14
        assert not here.volumes.register.pending


@isolated
async def test_of_two_who_want_one_name_one_gets_it(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        await _volume(here, "one", "one")
        await _volume(here, "two", "two")
        changing, copies = here.volumes.changing, here.engine.copies
        for ask in (
            lambda: (changing.rename("one", "new"), changing.rename("two", "new")),
            lambda: (copies.clone("one", "new"), copies.clone("two", "new")),
            lambda: (copies.clone("one", "new"), changing.rename("two", "new")),
        ):
            done = await asyncio.gather(*ask(), return_exceptions=True)
            failed = [one for one in done if isinstance(one, BaseException)]
            assert [type(one) for one in failed] == [VolumeNameInUse], done
            text = (here.engine.layout.volumes / "new/_data/file").read_text()
            left = {record.name for record in here.volumes.register.records.all()}
            missing = {"one", "two"} - left
            assert not missing or missing == {text}
            await (changing.rename("new", text) if missing else here.volumes.remove("new", force=True))


@isolated
async def test_a_copy_is_the_callers_though_it_goes_at_once(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        await _volume(here, "data")

        async def remover() -> None:
            while True:
                try:
                    await here.volumes.remove("copy", force=False)
                except NotFound:
                    await asyncio.sleep(0)
                else:
                    return

        (made, _), _ = await asyncio.gather(here.engine.copies.clone("data", "copy"), remover())
        assert made.name == "copy"
        assert not made.moved_from


@isolated
async def test_no_copy_is_begun_of_a_volume_that_is_on_its_way(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        await _volume(here, "data")
        copies, changing, trash = here.engine.copies, here.volumes.changing, here.volumes.trash
        taken = refused = 0
        for turns in range(0, 48, 3):
            for move in (
                lambda: changing.rename("data", "new"),
                lambda: changing.rename("new", "data"),
                lambda: here.volumes.remove("data", force=True),
                lambda: trash.restore("data"),
            ):
                moving = asyncio.ensure_future(move())
                await asyncio.sleep(turns / 20000)
                tries = [copies.take(name, f"s{taken}") for name in ("data", "new")]
                done = await asyncio.gather(moving, *tries, return_exceptions=True)
                assert not [one for one in done if isinstance(one, SystemFault)], done
                if isinstance(done[0], VolumeOccupied):
                    await move()
                taken += sum(isinstance(one, tuple) for one in done)
                refused += sum(isinstance(one, VolumeOccupied) for one in done)
        assert refused
        assert {path.name for path in here.engine.layout.volumes.iterdir()} == {"data"}
        there = [path.name for path in here.engine.layout.volumes.glob("data/snapshots/*")]
        assert sorted(there) == sorted(one.name for _, one in await copies.all("data"))
