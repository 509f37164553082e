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
from tests.support.pace import Pace

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(is_missing()), reason=is_missing())]

#: The time limit of these tests, in seconds, and one that what answers keeps, however busy the machine is.
LIMIT_S, PATIENCE_S = 0.5, 60.0

__all__ = ["world"]


@pytest.fixture
def server(tmp_path: Path, world: World) -> Iterator[Hangable]:
    with hangable(tmp_path) as made:
        (made.source / "dir").mkdir()
        (made.source / "dir/file").write_text("served")
        world.volumes = engine(world, PATIENCE_S)
        yield made
    assert helpers() == []


def engine(world: World, limit_s: float) -> Volumes:
    """The volumes of an engine that waits so long for others, over the world's records."""
    limits = Limits(look_s=limit_s, mount_s=limit_s)
    return Volumes(
        world.layout, world.volumes.register.records, world.bus, lambda: list(world.containers.items()), limits=limits
    )


def hang(world: World, server: Hangable) -> None:
    """Let a server hang, beside an engine that does not wait for it long."""
    server.hang()
    world.volumes = engine(world, LIMIT_S)


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
        hang(world, server)
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

    async def work() -> None:
        await world.volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": f"{server.at}/dir"})
        hang(world, server)
        began, clock = time.monotonic(), Pace(lambda: (os.getpid(),))
        with pytest.raises(
            EngineError, match=r"does not answer: no reply of its file system within [\d.]+ s|no answer"
        ):
            await world.start("c1", wishes)
        assert time.monotonic() - began >= LIMIT_S
        assert clock.taken() < 8 * LIMIT_S
        assert not is_mounted(str(world.layout.volumes / "far/_data"))
        server.go_on()
        world.volumes = engine(world, PATIENCE_S)
        entries = await world.start("c2", wishes)
        assert Path(entries[0].source, "file").read_text() == "served"
        await world.stop("c2")

    go(work)


def test_others_go_on_beside_a_hanging_volume(world: World, server: Hangable) -> None:
    async def work() -> None:
        volumes = world.volumes
        await volumes.create("near")
        await volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": str(server.at)})
        await world.start("c1", Wishes(binds=["far:/x", f"{server.at}:/y"]))
        hang(world, server)
        volumes = world.volumes
        await volumes.adopt({"c1"})
        stuck = [asyncio.create_task(world.start(f"s{n}", Wishes(binds=["far:/x"]))) for n in range(8)]
        clock = Pace(lambda: (os.getpid(),))
        async with asyncio.timeout(PATIENCE_S):
            await volumes.create("other")
            assert [one.name for one in volumes.list(Filters())] == ["far", "near", "other"]
            volumes.inspect(volumes.get("far"))
            sizes = {row["Name"]: row["UsageData"]["Size"] for row in await volumes.usage()}  # type: ignore[index]
            assert sizes == {"far": -1, "near": 0, "other": 0}
            await world.start("c2", Wishes(binds=["near:/n"]))
            await world.stop("c2")
            await volumes.remove("other", force=False)
            again = engine(world, LIMIT_S)
            await again.adopt({"c1", *(f"s{n}" for n in range(8))})
        # two of these wait for the server, once each; behind the eight others it would be eight times
        assert clock.taken() < 5 * LIMIT_S
        for ended in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(ended, EngineError)
        await world.stop("c1")
        assert not is_mounted(str(world.layout.volumes / "far/_data"))
        world.containers.clear()
        await volumes.remove("far", force=False)

    go(work)


def test_a_path_inside_a_root_is_asked_for(world: World, server: Hangable) -> None:
    async def work() -> None:
        await foreign.check_inside(str(server.at.parent), "/hangs/dir/file", timeout_s=PATIENCE_S)
        await foreign.check_inside(str(server.at.parent), "/none", timeout_s=PATIENCE_S)
        (server.at.parent / "by-link").symlink_to("/hangs/dir")
        server.hang()
        for path in ("/hangs/dir", "/by-link/file"):
            with pytest.raises(foreign.NoAnswer, match=f"{path} does not answer"):
                await foreign.check_inside(str(server.at.parent), path, timeout_s=0.3)

    go(work)
