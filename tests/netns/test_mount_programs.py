"""The programs that mount, and look at what may hang, die alone at every call that changes something.

A start that meets it fails and leaves no mount; the next one goes through. What was to be given or copied is begun
again, and done. Those who only look or measure say nothing instead.
"""

import asyncio
import contextlib
import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from berth.kernel import measure
from berth.kernel.mount import is_mounted, mount_table
from berth.kernel.removal import remove_tree
from berth.wire.volumes import BindOptions, IDMapping, Mount, VolumeOptions
from tests.netns import test_live_mounts
from tests.netns.test_live_mounts import ADD, AFTER, BEFORE, REMOVE
from tests.netns.test_volume_mounts import Wishes, World, go
from tests.netns.test_volume_mounts import world as world  # a fixture
from tests.support.engines import wait_for
from tests.support.faults import cutting
from tests.support.hangs import Hangable, hangable

pytestmark = pytest.mark.root


@pytest.fixture
def server(world: World) -> Iterator[Hangable]:
    with hangable(world.root) as made:
        yield made


def below(place: Path) -> list[str]:
    return [row.target for row in mount_table() if row.target.startswith(f"{place}/")]


def at_work(place: Path) -> list[str]:
    """Return the helper programs that a path in a directory was given to."""
    found = subprocess.run(["pgrep", "-af", f"_child.py.*{place}"], capture_output=True, text=True).stdout
    return found.splitlines()


def nothing() -> None:
    """Take nothing back."""


async def starts(
    world: World, wishes: Wishes, *, program: str, again: bool = False, afresh: Callable[[], None] = nothing
) -> int:
    """Start a container whose helper is killed at each call; return at how many. `afresh` takes back what it did."""
    calls = 0

    async def start() -> None:
        await world.start("c1", wishes)

    async for cut in cutting(program, start, again=again):
        calls += 1
        assert "was killed by SIGKILL" in cut.said, cut
        assert below(world.layout.data_root) == [], cut
        assert below(world.layout.exec_root) == [], cut
        assert not list(world.layout.volume_holders.glob("*/*")), cut
        assert "c1" not in world.volumes.register.attached, cut
        wait_for(lambda: not at_work(world.root), f"the end of all that was started: {cut}")
        afresh()
    return calls


@pytest.mark.parametrize("again", [False, True], ids=["", "and what would undo it"])
def test_a_mount_of_a_volume(world: World, again: bool) -> None:
    host = world.root / "host"
    host.mkdir()
    (host / "file").write_text("kept")

    async def work() -> None:
        await world.volumes.create("view", driver_opts={"type": "none", "o": "bind,ro", "device": str(host)})
        calls = await starts(world, Wishes(binds=["view:/x"]), program="foreign_child.py", again=again)
        assert calls >= 2
        data = world.layout.volumes / "view/_data"
        assert is_mounted(str(data))
        assert (data / "file").read_text() == "kept"
        # The unmount at the exit: what its program does not do, the next one does.
        seen = 0
        async for cut in cutting("foreign_child.py", lambda: world.stop("c1")):
            seen += 1
            assert cut.error is None
            assert not is_mounted(str(data))
            await world.start("c1", Wishes(binds=["view:/x"]))
        assert seen >= 2
        assert (host / "file").read_text() == "kept"

    go(work)


def test_parts_of_what_may_hang(world: World, server: Hangable) -> None:
    """Looks, directories that are made, filling from the image, a subpath that is pinned."""
    (server.source / "dir").mkdir()
    (server.source / "dir/file").write_text("served")
    part = Mount(type="volume", source="far", target="/p", volume_options=VolumeOptions(subpath="dir"))

    async def work() -> None:
        await world.volumes.create("far", driver_opts={"type": "none", "o": "bind", "device": str(server.at)})
        options = {"type": "none", "o": "bind", "device": f"{server.at}/empty"}
        await world.volumes.create("fills", driver_opts=options)
        made = Wishes(binds=[f"{server.at}/made/here:/m"])
        verbs = {"look": made, "mkdir": made, "fill": Wishes(binds=["fills:/srv/data"]), "pin": Wishes(mounts=[part])}

        def afresh() -> None:
            for name in ("made", "empty"):
                remove_tree(server.source / name)
            (server.source / "empty").mkdir()
            remove_tree(world.layout.container("c1"))

        for verb, wishes in verbs.items():
            afresh()
            assert await starts(world, wishes, program=verb, afresh=afresh) >= 2, verb
            await world.stop("c1")
            if verb == "fill":
                assert (server.source / "empty/from-image").read_text() == "image"
            if verb == "mkdir":
                assert (server.source / "made/here").is_dir()
        assert below(world.layout.data_root) == []
        assert below(world.layout.exec_root) == []

    go(work)


def test_files_that_change_hands(world: World) -> None:
    host = world.root / "host"
    (host / "sub").mkdir(parents=True)
    for name in ("one", "two", "sub/three"):
        (host / name).touch()

    async def work() -> None:
        wishes = Wishes(binds=[f"{host}:/h:U"])  # of a container that runs as root
        assert await starts(world, wishes, program="owners_child.py", afresh=others) >= 6
        await world.stop("c1")

    def others() -> None:
        for path in (host, *host.rglob("*")):
            os.chown(path, 1500, 1500)

    others()
    go(work)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (host, *host.rglob("*"))} == {(0, 0)}


def test_other_owners_through_a_mount(world: World) -> None:
    host = world.root / "host"
    host.mkdir()
    (host / "file").touch()
    os.chown(host, 1500, 1500)
    mount = Mount(type="bind", source=str(host), target="/h", bind_options=BindOptions(id_mapping=MATCH))

    async def work() -> None:
        assert await starts(world, Wishes(mounts=[mount]), program="owners_child.py") >= 5
        await world.stop("c1")
        assert host.stat().st_uid == 1500

    go(work)


#: As ``bind-idmap``.
MATCH = IDMapping(source="match-user")


# -- mounts of a container that runs


@pytest.fixture
def live(tmp_path: Path) -> Iterator[test_live_mounts.World]:
    with contextlib.ExitStack() as ends:
        ends.callback(test_live_mounts._unmounted, tmp_path)
        made = test_live_mounts.World(tmp_path)
        ends.callback(made.close)
        test_live_mounts.prepared(made)
        yield made


@pytest.mark.parametrize("again", [False, True], ids=["", "and what would give back"])
def test_a_change_of_mounts(live: test_live_mounts.World, again: bool) -> None:
    async def work() -> None:
        calls = 0
        async for cut in cutting(
            "livemount_child.py", lambda: live.change(ADD, REMOVE), again=again, every=4 if again else 2
        ):
            calls += 1
            if cut.last:  # it had said that all was well
                assert (cut.error, live.mounted()) == (None, AFTER)
                had = [Mount(type="volume", source=name, target=target) for target, name in BEFORE.items()]
                await live.change(had, list(AFTER))
            else:
                assert "was killed by SIGKILL" in cut.said
            if again:  # the container could not be given back what it had: the next engine does
                await live.volumes.live.settle(live.running, live.recorded())
            assert live.mounted() == BEFORE, cut
            assert live.leftovers() == [], cut
        assert calls >= (5 if again else 9)
        assert live.mounted() == AFTER
        assert live.leftovers() == []

    asyncio.run(work())


# -- those who look, copy in, measure


def test_files_that_are_looked_at_and_put_there(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("plain")
        data = world.layout.volumes / "plain/_data"
        (data / "file").write_text("content" * 100)
        looking = world.volumes.looking

        async def read(verb: str) -> bytes:
            async with looking.look("plain", verb, "/file") as (_, pieces):
                return b"".join([piece async for piece in pieces])

        for verb, least in (("stat", 1), ("cat", 2), ("list", 2)):
            calls = 0
            async for cut in cutting("volume_files_child.py", lambda: read(verb)):  # noqa: B023
                calls += 1
                assert cut.error is not None, (verb, cut)
                assert "SIGKILL" in cut.said or "without a word" in cut.said
                assert not world.volumes.register.occupied_by("plain")
            assert calls >= least
        assert await read("cat") == b"content" * 100

        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name in ("a", "b"):
                one = tarfile.TarInfo(name)
                one.size = 3
                tar.addfile(one, io.BytesIO(b"new"))

        async def body() -> AsyncIterator[bytes]:
            yield out.getvalue()

        async for cut in cutting("volume_files_child.py", lambda: looking.put("plain", "/", body(), keep_kinds=False)):
            calls += 1
            assert "without a word" in cut.said or cut.error is None  # it had said that all was well
            assert (data / "file").read_text() == "content" * 100
            assert not world.volumes.register.occupied_by("plain")
        assert calls >= 5
        assert sorted(os.listdir(data)) == ["a", "b", "file"]

    go(work)


def test_sizes_that_are_not_found_out_are_not_known(world: World) -> None:
    async def work() -> None:
        seen = world.volumes.seen
        seen._measurer = measure.apart
        await world.volumes.create("plain")
        (world.layout.volumes / "plain/_data/file").write_bytes(b"x" * 70)

        async def ask() -> None:
            found = await seen.sizes(world.volumes.register.records.all(), fresh=True)
            sizes.append(found["plain"].size if found else -1)

        sizes: list[int] = []
        calls = 0
        async for cut in cutting("measure_child.py", ask):
            calls += 1
            assert cut.error is None
            assert sizes[-1] in (-1, 70)
            seen._sizes.clear()
        assert calls >= 2
        assert -1 in sizes
        assert sizes[-1] == 70

    go(work)
