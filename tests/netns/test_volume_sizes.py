"""Volumes with a size: kept by a file with a file system or by a quota of the one below; changed, watched, mended."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.base.errors import Conflict, EngineError, InvalidArgument
from berth.kernel import image
from berth.kernel.mount import is_mounted
from berth.volumes.drivers.local_sizes import image_bytes
from berth.volumes.service import Volumes
from berth.volumes.sizing import level_of
from tests.netns.test_volume_mounts import Wishes, World, go, nobody, world
from tests.support import filesystems
from tests.support.engines import wait_for

pytestmark = pytest.mark.root

__all__ = ["world"]

MIB = 1 << 20


@pytest.fixture
def btrfs(world: World) -> Iterator[World]:
    """A world whose data root is on btrfs with quotas."""
    disk = world.root / "disk.img"
    with disk.open("wb") as out:
        out.truncate(400 * MIB)
    world.layout.data_root.mkdir()
    subprocess.run(["mkfs.btrfs", "-q", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(world.layout.data_root)], check=True)
    try:
        subprocess.run(["btrfs", "quota", "enable", str(world.layout.data_root)], check=True)
        subprocess.run(["btrfs", "quota", "rescan", "-w", str(world.layout.data_root)], check=True, capture_output=True)
        yield world
    finally:
        subprocess.run(["umount", str(world.layout.data_root)], check=True)


def data(world: World, name: str) -> Path:
    return world.layout.volumes / name / "_data"


def image_of(world: World, name: str) -> Path:
    return world.layout.volumes / name / "image"


def punch_hole(file: Path, start: int, length: int) -> None:
    subprocess.run(["fallocate", "--punch-hole", "-o", str(start), "-l", str(length), file], check=True)


def fill(directory: Path, name: str, length: int) -> None:
    """Write a file through to the disk. Raises `OSError` where it ends."""
    with (directory / name).open("wb") as out:
        for _ in range(length // MIB):
            out.write(os.urandom(MIB))
        out.flush()
        os.fsync(out.fileno())


def loops(root: Path) -> str:
    """Return the loop devices on files below a directory."""
    table = subprocess.run(["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    return "".join(line for line in table.stdout.splitlines() if f"{root}/" in line)


def no_loops(root: Path) -> None:
    """Wait until no device is left. One stays as long as another mount namespace has a copy of its mount."""
    wait_for(lambda: loops(root) == "" or copied_elsewhere(root), f"loop devices to go: {loops(root)}")


def copied_elsewhere(root: Path) -> bool:
    """Tell whether an engine of another test was started while something below a directory was mounted."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                if str(root) in (entry / "mountinfo").read_text():
                    return True
    return False


async def status(world: World, name: str) -> dict[str, object]:
    return await world.volumes.sizing.status(world.volumes.get(name))


def anew(world: World) -> Volumes:
    """Return what a restarted engine has in its place."""
    world.volumes = Volumes(
        world.layout, world.volumes.register.records, world.bus, lambda: list(world.containers.items())
    )
    return world.volumes


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_a_size_holds_whatever_the_disk_can(world: World, fstype: str) -> None:
    size, slack = (24 * MIB, 2 * MIB) if fstype == "ext4" else (300 * MIB, 32 * MIB)  # XFS keeps more while mounted
    options = {"size": str(size), "size-fs": fstype, "uid": "5", "gid": "6", "mode": "2750"}

    async def work() -> None:
        await world.volumes.create("sized", driver_opts=options)
        assert not is_mounted(str(data(world, "sized")))
        await world.start("c1", Wishes(binds=["sized:/d"]))
        root = data(world, "sized")
        assert os.listdir(root) == []
        seen = root.stat()
        assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (5, 6, 0o2750)
        fill(root, "all", size)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill(root, "more", 64 * MIB)
        shown = await status(world, "sized")
        assert (shown["SizeMechanism"], shown["FileSystem"], shown["LimitBytes"]) == ("image", fstype, size)
        assert isinstance(shown["UsedPercent"], float)
        assert shown["UsedPercent"] > 95
        (root / "more").unlink()
        fill(root, "all", MIB)
        await world.stop("c1")
        assert not is_mounted(str(root))
        no_loops(world.root)
        unmounted = await status(world, "sized")
        assert (await world.volumes.usage())[0]["UsageData"] == {"RefCount": 1, "Size": unmounted["UsedBytes"]}
        anew(world)
        await world.volumes.adopt(set())
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        assert (root / "all").stat().st_size == MIB
        mounted = await status(world, "sized")
        assert abs(int(str(mounted["UsedBytes"])) - int(str(unmounted["UsedBytes"]))) < slack
        await world.stop("c1")
        world.containers.clear()
        await world.volumes.remove("sized", force=False)
        no_loops(world.root)

    go(work)


def test_a_quota_of_the_file_system_below(btrfs: World) -> None:
    world = btrfs

    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "20m", "uid": "7"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        root = data(world, "sized")
        assert root.stat().st_uid == 7
        assert (await status(world, "sized"))["SizeMechanism"] == "btrfs qgroup"
        with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
            fill(root, "f", 40 * MIB)
        (root / "f").unlink()
        fill(root, "f", 10 * MIB)
        os.sync()
        shown = await status(world, "sized")
        assert (shown["SizeMechanism"], shown["FileSystem"], shown["LimitBytes"]) == ("btrfs qgroup", "btrfs", 20 * MIB)
        assert 10 * MIB <= int(str(shown["UsedBytes"])) < 11 * MIB
        with pytest.raises(Conflict, match="is less than the"):
            await world.volumes.sizing.resize("sized", "5m")
        await world.volumes.sizing.resize("sized", "60m")
        fill(root, "g", 40 * MIB)
        assert world.volumes.get("sized").options == {"size": str(60 * MIB), "uid": "7"}
        await world.stop("c1")
        world.containers.clear()
        await world.volumes.remove("sized", force=False)
        await world.volumes.create("file", driver_opts={"size": "20m", "size-mode": "image"})
        assert (world.layout.volumes / "file/image.new").exists()
        await world.volumes.remove("file", force=False)

    go(work)


def test_quotas_where_there_are_none(world: World) -> None:
    async def work() -> None:
        with pytest.raises(
            InvalidArgument, match=r"create quota: quota size requested but no quota support: .*/volumes is on"
        ):
            await world.volumes.create("quota", driver_opts={"size": "20m", "size-mode": "quota"})
        assert os.listdir(world.layout.volumes) == []

    go(work)


def test_growing_while_it_is_used(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "300m", "size-fs": "xfs"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        fill(data(world, "sized"), "f", 8 * MIB)
        await world.volumes.sizing.resize("sized", "600m")
        assert os.statvfs(data(world, "sized")).f_blocks * 4096 > 600 * MIB
        assert world.volumes.get("sized").options == {"size": str(600 * MIB), "size-fs": "xfs"}
        with pytest.raises(
            Conflict, match="it can be made smaller only while nothing runs on it; stop first: docker stop c1"
        ):
            await world.volumes.sizing.resize("sized", "400m")
        await world.stop("c1")
        await world.volumes.sizing.resize("sized", "400m")
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        assert os.statvfs(data(world, "sized")).f_blocks * 4096 < 500 * MIB
        assert (data(world, "sized") / "f").stat().st_size == 8 * MIB
        await world.stop("c1")
        assert [one.name for one in (world.layout.volumes / "sized").iterdir() if one.name != "_data"] == ["image"]

    go(work)


def test_a_smaller_file_system_has_all_that_was_there(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "40m", "uid": "9", "mode": "0711"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        root = data(world, "sized")
        fill(root, "f", 20 * MIB)
        os.link(root / "f", root / "g")
        os.symlink("nowhere", root / "l")
        os.setxattr(root / "f", "user.mark", b"kept")
        os.chown(root / "f", 1000, 1001)
        (root / "holes").write_bytes(b"")
        os.truncate(root / "holes", 100 * MIB)
        await world.stop("c1")
        with pytest.raises(Conflict, match=r"resize sized: 10.\d+MB \(10485760 bytes\) is less than the 2\d"):
            await world.volumes.sizing.resize("sized", "10m")
        await world.volumes.sizing.resize("sized", "30m")
        assert image_of(world, "sized").stat().st_size == image_bytes(30 * MIB, "ext4")
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        seen = (root / "f").stat()
        assert (seen.st_uid, seen.st_gid, seen.st_nlink) == (1000, 1001, 2)
        assert os.getxattr(root / "f", "user.mark") == b"kept"
        assert os.readlink(root / "l") == "nowhere"
        assert (root / "holes").stat().st_blocks == 0
        assert (root.stat().st_uid, root.stat().st_mode & 0o7777) == (9, 0o711)
        await world.stop("c1")
        await world.volumes.sizing.resize("sized", "50m")  # without a mount it grows on every machine
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        fill(root, "more", 24 * MIB)
        await world.stop("c1")

    go(work)


def test_room_that_is_kept_from_the_start(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("kept", driver_opts={"size": "24m", "reserve": "true"})
        await world.start("c1", Wishes(binds=["kept:/d"]))
        file = image_of(world, "kept")
        fill(data(world, "kept"), "f", 16 * MIB)
        (data(world, "kept") / "f").unlink()
        os.sync()
        assert file.stat().st_blocks * 512 >= file.stat().st_size
        await world.stop("c1")
        await world.volumes.sizing.resize("kept", "40m")
        assert file.stat().st_blocks * 512 >= file.stat().st_size >= 40 * MIB
        assert (await status(world, "kept"))["AllocatedBytes"] == file.stat().st_blocks * 512
        punch_hole(file, 40 * MIB, 8 * MIB)  # as if the engine had been killed before it had all
        assert file.stat().st_blocks * 512 < file.stat().st_size
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        assert file.stat().st_blocks * 512 >= file.stat().st_size
        await world.stop("c1")
        with pytest.raises(InvalidArgument, match="a quota keeps no room free"):
            await world.volumes.create("quota", driver_opts={"size": "9m", "reserve": "true", "size-mode": "quota"})
        for wrong in ({"reserve": "true"}, {"size": "9m", "reserve": "much"}):
            with pytest.raises(InvalidArgument):
                await world.volumes.create("wrong", driver_opts=wrong)

    go(work)


@pytest.fixture
def small(world: World) -> Iterator[World]:
    """A world whose data root is on a disk with little room."""
    with filesystems.mounted("ext4", world.root / "disk", size_mib=96) as disk:
        world.layout.data_root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", disk, world.layout.data_root], check=True)
        try:
            yield world
        finally:
            subprocess.run(["umount", world.layout.data_root], check=True)


def usage(world: World) -> list[str]:
    return [event.attributes["level"] for event in world.bus.past(0) if event.action == "usage"]


def test_a_file_that_promises_more_than_the_disk_has(small: World, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        world = small
        fits = await world.volumes.create("fits", driver_opts={"size": "8m"})
        assert await world.volumes.thin.warnings(fits) == []
        with pytest.raises(EngineError, match="no space left on device"):
            await world.volumes.create("firm", driver_opts={"size": "2g", "reserve": "true"})
        assert not (world.layout.volumes / "firm").exists()
        await world.volumes.create("firm", driver_opts={"size": "8m", "reserve": "true"})
        file = world.layout.volumes / "firm/image.new"
        before = file.stat()
        with pytest.raises(EngineError, match="no space left on device"):
            await world.volumes.sizing.resize("firm", "2g")
        after = file.stat()
        assert (before.st_size, before.st_blocks) == (after.st_size, after.st_blocks)
        await world.volumes.remove("firm", force=False)
        await world.volumes.trash.empty()
        large = await world.volumes.create("large", driver_opts={"size": "2g", "size-fs": "ext4"})
        (said,) = await world.volumes.thin.warnings(large)
        assert "volume large may take 2." in said
        assert "MB are free on the disk of" in said
        assert "-o reserve=true" in said
        await world.start("c1", Wishes(binds=["large:/d"]))
        for _ in range(2):
            await world.volumes.sizing.check()
        assert usage(world) == ["disk-low"], "it is said before, and once"
        assert "volume large may take" in caplog.text
        with contextlib.suppress(OSError):
            fill(data(world, "large"), "f", 128 * MIB)
        await world.volumes.sizing.check()
        assert usage(world)[:1] == ["disk-low"]
        assert usage(world)[-1] in ("disk-full", "failed")
        shown = await status(world, "large")
        assert int(str(shown["DiskFreeBytes"])) < 32 * MIB
        if usage(world)[-1] == "failed":
            assert "stop and start what uses large" in str(shown["Trouble"])
        await world.stop("c1")

    go(work)


def test_ext4_that_may_not_grow_under_its_users_does_at_its_next_mount(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "20m", "size-fs": "ext4"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        fill(data(world, "sized"), "f", 8 * MIB)
        if _may_grow():  # as on a machine whose engine has not got the capability

            def refused(*_: object) -> None:
                raise PermissionError(errno.EPERM, "made to lack CAP_SYS_RESOURCE")

            monkeypatch.setattr(image, "_grow_mounted", refused)
        changed = await world.volumes.sizing.resize("sized", "40m")
        (said,) = await world.volumes.thin.warnings(changed)
        assert "only with CAP_SYS_RESOURCE, which this engine has not got" in said
        assert "docker restart c1" in said
        assert (await status(world, "sized"))["GrowsAtNextMount"] is True
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill(data(world, "sized"), "g", 30 * MIB)
        (data(world, "sized") / "g").unlink()
        await world.stop("c1")
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        fill(data(world, "sized"), "g", 30 * MIB)
        assert (data(world, "sized") / "f").stat().st_size == 8 * MIB
        assert "GrowsAtNextMount" not in await status(world, "sized")
        assert await world.volumes.thin.warnings(changed) == []
        await world.stop("c1")

    go(work)


def _may_grow() -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> 24 & 1)


def test_a_volume_without_a_size_gets_none(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("plain")
        assert await status(world, "plain") == {}
        with pytest.raises(InvalidArgument, match="resize plain: the volume has no size"):
            await world.volumes.sizing.resize("plain", "1g")
        for bad in ("0", "-1", "x"):
            with pytest.raises(InvalidArgument):
                await world.volumes.sizing.resize("plain", bad)

    go(work)


def test_an_owner_that_was_stated_stays(world: World) -> None:
    os.chown(world.rootfs / "srv/data", 70, 71)
    (world.rootfs / "srv/data").chmod(0o700)

    async def work() -> None:
        for name, options in (
            ("a", {"uid": "5", "gid": "6", "mode": "0750"}),
            ("b", {"gid": "8"}),
            ("c", {"size": "8m", "uid": "5"}),
        ):
            await world.volumes.create(f"own-{name}", driver_opts=options)
        await world.start("c1", Wishes(binds=["own-a:/srv/data"]))
        await world.start("c2", Wishes(binds=["own-b:/srv/data"]))
        await world.start("c3", Wishes(binds=["own-c:/srv/data"]))
        seen = [data(world, f"own-{name}").stat() for name in "abc"]
        assert [(one.st_uid, one.st_gid, one.st_mode & 0o7777) for one in seen] == [
            (5, 6, 0o750), (70, 8, 0o700), (5, 71, 0o700)]  # fmt: skip
        assert all((data(world, f"own-{name}") / "from-image").exists() for name in "abc")
        for ident in ("c1", "c2", "c3"):
            await world.stop(ident)

    go(work)


def test_who_listens_is_told_when_a_volume_fills(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "40m"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        root = data(world, "sized")

        async def told() -> list[tuple[str, str]]:
            await world.volumes.sizing.check()
            return [
                (event.attributes["level"], event.attributes["percent"])
                for event in world.bus.past(0)
                if event.action == "usage"
            ]

        assert await told() == []
        total = image.Space.at(str(root)).total
        fill(root, "a", total * 82 // 100)
        assert [level for level, _ in await told()] == ["80"]
        fill(root, "b", total * 4 // 100)
        assert len(await told()) == 1
        (root / "b").unlink()
        assert len(await told()) == 1
        (root / "a").unlink()
        fill(root, "a", total * 96 // 100)
        (first, percent), second = (await told())[0], (await told())[1]
        assert (first, second[0]) == ("80", "95")
        assert 79 <= int(percent) < 90
        await world.stop("c1")

    go(work)


def test_levels_have_slack() -> None:
    course = [(10, 0), (79.9, 0), (80, 80), (94, 80), (76, 80), (75, 0), (96, 95), (91, 95), (90, 80), (96, 95), (0, 0)]
    level = 0
    for percent, want in course:
        level = level_of(percent, level)
        assert level == want, percent


def test_what_keeps_a_size_must_be_there(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "8m"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        await world.stop("c1")
        image_of(world, "sized").unlink()
        with pytest.raises(EngineError, match="volume sized has a size, and what keeps it is missing at"):
            await world.start("c2", Wishes(binds=["sized:/d"]))
        world.containers.clear()
        await world.volumes.remove("sized", force=False)

    go(work)


def test_data_in_a_file_without_a_record_is_somebodys(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("sized", driver_opts={"size": "8m"})
        await world.start("c1", Wishes(binds=["sized:/d"]))
        (data(world, "sized") / "precious").touch()
        await world.stop("c1")
        await world.volumes.create("fresh", driver_opts={"size": "8m"})
        records = world.volumes.register.records
        for name in ("sized", "fresh"):
            await records.drop(name)
        world.containers.clear()
        await anew(world).adopt(set())
        assert sorted(records.keys()) == ["sized"]
        await world.start("c1", Wishes(binds=["sized:/d"]))
        assert (data(world, "sized") / "precious").exists()
        await world.stop("c1")

    go(work)
