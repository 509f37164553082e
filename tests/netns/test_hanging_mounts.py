"""A server that answers no more hangs those who use it, and nobody else: a stopped FUSE program stands in for it."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.base.errors import EngineError
from berth.kernel import foreign, hanging
from berth.kernel.mount import is_mounted
from berth.volumes.mounts.away import Limits
from berth.volumes.service import Volumes
from berth.wire.filters import Filters
from berth.wire.volumes import Mount, VolumeOptions
from tests.netns.test_volume_mounts import Wishes, World, go, world
from tests.support.hangs import Hangable, hangable, is_missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(is_missing()), reason=is_missing())]

#: The least time limit of these tests, in seconds, and how many looks at a server that answers must fit into one.
LIMIT_S, LOOKS = 0.5, 10

__all__ = ["world"]


@pytest.fixture
def server(tmp_path: Path, world: World) -> Iterator[Hangable]:
    with hangable(tmp_path) as made:
        (made.source / "dir").mkdir()
        (made.source / "dir/file").write_text("served")
        world.volumes = engine(world, limit_now(made))
        yield made
    assert helpers() == []


def limit_now(server: Hangable) -> float:
    """Return a limit, in seconds, that what answers keeps on this machine, as busy as it is at this moment."""
    began = time.monotonic()
    asyncio.run(foreign.look(str(server.at), timeout_s=60))
    return max(LIMIT_S, LOOKS * (time.monotonic() - began))


def engine(world: World, limit_s: float) -> Volumes:
    """The volumes of an engine that waits so long for others, over the world's records."""
    limits = Limits(look_s=limit_s, mount_s=limit_s)
    return Volumes(
        world.layout, world.volumes.register.records, world.bus, lambda: list(world.containers.items()), limits=limits
    )


def helpers() -> list[str]:
    """Return the helper processes of this one that are there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
                mine = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
            except OSError:
                continue
            if mine and b"foreign_child" in line:
                found.append(line.decode())
    return found


def test_what_may_hang_is_found_without_a_look_at_it(server: Hangable, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("hangs/dir")
    (tmp_path / "round").symlink_to("round")
    server.hang()
    for path in (server.at, server.at / "dir/file", tmp_path / "link/file", tmp_path / "served/../link"):
        found = hanging.served_mount(str(path))
        assert found is not None, path
        assert (found.mount_point, found.fstype) == (str(server.at), "fuse"), path
    for path in (server.source, tmp_path / "none/such", tmp_path / "round/x"):
        assert hanging.served_mount(str(path)) is None, path


def test_a_served_bind_mount_works_while_its_server_does(world: World, server: Hangable) -> None:
    async def work() -> None:
        entries = await world.start(
            "c1", Wishes(binds=[f"{server.at}/dir:/d", f"{server.at}/dir/file:/f:ro", f"{server.at}/made/here:/m"])
        )
        done = world.run(entries, "sh", "-c", "cat /d/file /f; echo x >/m/y")
        assert (done.returncode, done.stdout) == (0, "servedserved"), done.stderr
        assert (server.source / "made/here/y").read_text() == "x\n"
        await world.stop("c1")
        with pytest.raises(EngineError, match="bind source path does not exist"):
            await world.start("c2", Wishes(mounts=[Mount(type="bind", source=f"{server.at}/none", target="/x")]))

    go(work)


def test_part_of_a_served_volume(world: World, server: Hangable) -> None:
    async def work() -> None:
        await world.volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": str(server.at)})
        part = Mount(type="volume", source="far", target="/p", volume_options=VolumeOptions(subpath="dir"))
        entries = await world.start("c1", Wishes(mounts=[part]))
        assert Path(entries[0].source, "file").read_text() == "served"
        server.hang()
        await world.stop("c1")
        assert not is_mounted(str(world.layout.volumes / "far/_data"))

    go(work)


@pytest.mark.parametrize("kind", ["-v", "--mount", "volume"])
def test_a_start_on_a_hanging_server_ends_at_its_limit(world: World, server: Hangable, kind: str) -> None:
    bind = Mount(type="bind", source=f"{server.at}/dir", target="/x")
    wishes = {
        "-v": Wishes(binds=[f"{server.at}/dir:/x"]),
        "--mount": Wishes(mounts=[bind]),
        "volume": Wishes(binds=["far:/x"]),
    }[kind]
    limit_s = limit_now(server)

    async def work() -> None:
        world.volumes = engine(world, limit_s)
        await world.volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": f"{server.at}/dir"})
        server.hang()
        began = time.monotonic()
        with pytest.raises(
            EngineError, match=r"does not answer: no reply of its file system within [\d.]+ s|no answer"
        ):
            await world.start("c1", wishes)
        assert limit_s <= time.monotonic() - began < 8 * limit_s
        assert not is_mounted(str(world.layout.volumes / "far/_data"))
        server.go_on()
        entries = await world.start("c2", wishes)
        assert Path(entries[0].source, "file").read_text() == "served"
        await world.stop("c2")

    go(work)


def test_others_go_on_beside_a_hanging_volume(world: World, server: Hangable) -> None:
    limit_s = limit_now(server)

    async def work() -> None:
        volumes = world.volumes = engine(world, limit_s)
        await volumes.create("near")
        await volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": str(server.at)})
        await world.start("c1", Wishes(binds=["far:/x", f"{server.at}:/y"]))
        server.hang()
        stuck = [asyncio.create_task(world.start(f"s{n}", Wishes(binds=["far:/x"]))) for n in range(8)]
        began = time.monotonic()
        async with asyncio.timeout(8 * limit_s):
            await volumes.create("other")
            assert [one.name for one in volumes.list(Filters())] == ["far", "near", "other"]
            volumes.inspect(volumes.get("far"))
            sizes = {row["Name"]: row["UsageData"]["Size"] for row in await volumes.usage()}  # type: ignore[index]
            assert sizes == {"far": -1, "near": 0, "other": 0}
            await world.start("c2", Wishes(binds=["near:/n"]))
            await world.stop("c2")
            await volumes.remove("other", force=False)
            again = engine(world, limit_s)
            await again.adopt({"c1", *(f"s{n}" for n in range(8))})
        # two of these wait for the server, once each; behind the eight others it would be eight times
        assert time.monotonic() - began < 5 * limit_s
        for ended in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(ended, EngineError)
        await world.stop("c1")
        assert not is_mounted(str(world.layout.volumes / "far/_data"))
        world.containers.clear()
        await volumes.remove("far", force=False)

    go(work)


def test_a_path_inside_a_root_is_asked_for(world: World, server: Hangable) -> None:
    async def work() -> None:
        await foreign.check_inside(str(server.at.parent), "/hangs/dir/file", timeout_s=5)
        await foreign.check_inside(str(server.at.parent), "/none", timeout_s=5)
        (server.at.parent / "by-link").symlink_to("/hangs/dir")
        server.hang()
        for path in ("/hangs/dir", "/by-link/file"):
            with pytest.raises(foreign.NoAnswer, match=f"{path} does not answer"):
                await foreign.check_inside(str(server.at.parent), path, timeout_s=0.3)

    go(work)
