"""A change of a running container's mounts that fails, or whose engine is killed, at any step: both, or neither."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from berth.base.clock import SystemClock
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel import livemount
from berth.kernel.mount import mount, mount_table, unmount
from berth.kernel.mountflags import MNT_DETACH
from berth.kernel.pidfd import start_ticks
from berth.store.memory import MemoryRecords
from berth.volumes.live import LiveMounts, Running
from berth.volumes.model import VolumeRecord
from berth.volumes.mounting import Mounting
from berth.volumes.mounts.model import MountPoint
from berth.volumes.service import Volumes
from berth.wire.volumes import Mount, VolumeOptions
from tests.netns.test_volume_mounts import nobody
from tests.support.engines import wait_for

pytestmark = pytest.mark.root

IDENT = "c" * 64


class World:
    """A process with a root and a mount namespace of its own that stands for a container, and its record in a file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root / "data", root / "exec")
        self.rootfs = self.layout.bundle(IDENT) / "rootfs"
        self.rootfs.mkdir(parents=True)
        self.layout.container(IDENT).mkdir(parents=True)
        mount("t", str(self.rootfs), "tmpfs")
        for name in ("old", "proc"):
            (self.rootfs / name).mkdir()
        shutil.copy2(shutil.which("busybox") or "/bin/busybox", self.rootfs / "busybox")
        script = f"mount --make-rprivate / && cd {self.rootfs} && mount --bind . . && cd {self.rootfs} && "
        script += (
            "mount -t proc p proc && pivot_root . . && /busybox umount -l . && echo ready && exec /busybox sleep 1000"
        )
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.record = root / "record.json"
        self.points: tuple[MountPoint, ...] = ()
        self.volumes = self.engine()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def engine(self) -> Volumes:
        records: MemoryRecords[VolumeRecord] = MemoryRecords()
        return Volumes(self.layout, records, Bus(SystemClock()), lambda: [(IDENT, self.recorded())])

    @property
    def running(self) -> Running:
        return Running(IDENT, self.process.pid, start_ticks(self.process.pid), self.rootfs, nobody)

    def recorded(self) -> tuple[MountPoint, ...]:
        if not self.record.exists():
            return ()
        return msgspec.json.decode(self.record.read_bytes(), type=tuple[MountPoint, ...])

    def mounted(self) -> dict[str, str]:
        """Return what the process has mounted: target → the name of the volume, or the type."""
        seen = {}
        for line in Path(f"/proc/{self.process.pid}/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[4] not in ("/", "/proc"):
                inside = fields[3].split("/volumes/")
                assert fields[4] not in seen, "two mounts at one place"
                seen[fields[4]] = inside[1].split("/")[0] if len(inside) == 2 else fields[fields.index("-") + 1]
        return seen

    async def change(self, add: list[Mount], remove: list[str]) -> None:
        before = self.recorded()
        wanted = await self.volumes.live.resolve(IDENT, before, add, remove)

        async def commit() -> None:
            committed(self.record, wanted.after)

        try:
            await self.volumes.live.apply(self.running, before, wanted, commit)
        except BaseException:
            await self.volumes.live.take_back(IDENT, wanted)
            raise
        self.volumes.live.done(IDENT)

    def leftovers(self) -> list[str]:
        pins = self.layout.pins(IDENT)
        wanted = {one.target for one in self.recorded() if one.subpath}
        left = [str(one) for one in pins.iterdir()] if pins.exists() else []
        holds = self.layout.volume_holders
        held = {one.parent.name for one in holds.glob("*/*")} if holds.exists() else set()
        note = self.layout.bundle(IDENT) / "mounts.change"
        return [
            *(left if len(left) != len(wanted) else []),
            *(held - {one.name for one in self.recorded()}),
            *([str(note)] if note.exists() else []),
        ]


def committed(path: Path, points: tuple[MountPoint, ...]) -> None:
    """Write the container's record in one rename, as the store does."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(points))
    os.replace(fresh, path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as ends:
        ends.callback(_unmounted, tmp_path)
        made = World(tmp_path)
        ends.callback(made.close)
        yield made


def _unmounted(tmp_path: Path) -> None:
    for row in reversed([row.target for row in mount_table() if row.target.startswith(str(tmp_path))]):
        unmount(row, MNT_DETACH)


ADD = [
    Mount(type="volume", source="new1", target="/made/a"),
    Mount(type="volume", source="parts", target="/made/part", volume_options=VolumeOptions(subpath="sub")),
    Mount(type="tmpfs", target="/made/a/t"),
    Mount(type="volume", source="shm", target="/old"),
]
REMOVE = ["/old", "/going"]


def prepared(world: World) -> None:
    """Give the container two volumes, and the engine those that are to come."""

    async def work() -> None:
        await world.volumes.create("parts")
        (world.layout.volumes / "parts/_data/sub").mkdir()
        await world.volumes.create("new1")
        await world.volumes.create("shm", driver_opts={"type": "tmpfs", "device": "tmpfs"})
        await world.change([Mount(type="volume", source="one", target="/old"),
                            Mount(type="volume", source="two", target="/going")], [])  # fmt: skip

    asyncio.run(work())
    assert world.mounted() == {"/old": "one", "/going": "two"} == {p.target: p.name for p in world.recorded()}


BEFORE = {"/old": "one", "/going": "two"}
AFTER = {"/made/a": "new1", "/made/a/t": "tmpfs", "/made/part": "parts", "/old": "tmpfs"}


def test_the_change_happens(world: World) -> None:
    prepared(world)
    asyncio.run(world.change(ADD, REMOVE))
    assert world.mounted() == AFTER
    assert sorted(point.target for point in world.recorded()) == sorted(AFTER)
    assert world.leftovers() == []


#: Where a change can end early: (object, name of what it does there).
STEPS: list[tuple[Any, str]] = [
    (LiveMounts, "_write_down"),
    (Mounting, "make_ready"),
    (livemount, "carry_out"),
    (sys.modules[__name__], "committed"),
    (LiveMounts, "_let_go"),
    (LiveMounts, "_forget"),
]


@contextmanager
def struck(where: tuple[Any, str], moment: str, blow: Callable[[], None]) -> Iterator[None]:
    """Have `blow` fall before or after one step."""
    owner, name = where
    real = getattr(owner, name)

    def plain(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            blow()
        result = real(*args, **kwargs)
        if moment == "after" and not asyncio.iscoroutine(result):
            blow()
        return result

    async def waited(*args: Any, **kwargs: Any) -> Any:
        result = await plain(*args, **kwargs)
        if moment == "after":
            blow()
        return result

    setattr(owner, name, waited if asyncio.iscoroutinefunction(real) else plain)
    try:
        yield
    finally:
        setattr(owner, name, real)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("where", STEPS, ids=lambda where: where[1].strip("_"))
def test_an_engine_killed_at_a_step_leaves_both_or_neither(world: World, where: tuple[Any, str], moment: str) -> None:
    prepared(world)
    child = os.fork()
    if child == 0:
        with struck(where, moment, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            asyncio.run(world.change(ADD, REMOVE))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    asyncio.run(world.volumes.adopt({IDENT}))
    asyncio.run(_settled(world))
    now = world.mounted()
    assert now in (BEFORE, AFTER)
    assert now.keys() == {point.target for point in world.recorded()}
    # before the record is written everything is as it was, from then on everything is new
    early = [step[1] for step in STEPS].index(where[1]) + (moment == "after") <= 3
    assert now == (BEFORE if early else AFTER)
    assert world.leftovers() == []


async def _settled(world: World) -> None:
    await world.volumes.live.settle(world.running, world.recorded())
    assert not await world.volumes.live.settle(world.running, world.recorded())


class Injected(EngineError):
    """What a step fails with."""


#: What can fail with nothing of the change being there.
FAILURES = [(step, "before") for step in STEPS[:4]] + [(step, "after") for step in STEPS[1:3]]


@pytest.mark.parametrize(("where", "moment"), FAILURES, ids=lambda one: one if isinstance(one, str) else one[1])
def test_a_failure_at_a_step_leaves_what_was(world: World, where: tuple[Any, str], moment: str) -> None:
    prepared(world)

    def fail() -> None:
        raise Injected("injected")

    times = [None]
    with struck(where, moment, lambda: fail() if times and times.pop() is None else None), pytest.raises(Injected):
        asyncio.run(world.change([*ADD, Mount(type="volume", source="fresh", target="/fresh")], REMOVE))
    assert world.mounted() == BEFORE == {point.target: point.name for point in world.recorded()}
    assert world.leftovers() == []
    assert world.volumes.register.find("fresh") is None
    assert not world.volumes.register.changing


def test_what_could_not_be_given_back_is_given_back_by_the_next_engine(world: World) -> None:
    prepared(world)

    def fail() -> None:
        raise Injected("injected")

    # the change happens and its answer is lost; and again when the old mounts are put back
    with struck((livemount, "carry_out"), "before", fail), pytest.raises(Injected):
        asyncio.run(world.change(ADD, REMOVE))
    assert (world.layout.bundle(IDENT) / "mounts.change").exists()
    asyncio.run(world.volumes.adopt({IDENT}))
    asyncio.run(_settled(world))
    assert world.mounted() == BEFORE
    assert world.leftovers() == []


def test_a_mount_the_kernel_refuses_leaves_what_was(world: World) -> None:
    prepared(world)
    (world.rootfs / "file").touch()
    with pytest.raises(EngineError, match="not a directory"):
        asyncio.run(world.change([Mount(type="tmpfs", target="/made"), Mount(type="tmpfs", target="/file")], REMOVE))
    assert world.mounted() == BEFORE
    assert world.leftovers() == []


def test_a_process_that_does_not_answer_is_ended_and_all_is_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server of a mount is gone: the process hangs in the kernel's hands."""
    prepared(world)
    hanging = world.root / "hanging.py"
    hanging.write_text("import sys, signal; sys.stdin.read(); signal.pause()")
    hangs = [True]
    run = livemount.process.run

    async def first_hangs(argv: Any, **how: Any) -> Any:
        if hangs.pop() if hangs else False:
            return await run((*argv[:-1], str(hanging)), **(how | {"timeout_s": 0.3}))
        return await run(argv, **how)

    monkeypatch.setattr(livemount.process, "run", first_hangs)
    with pytest.raises(EngineError, match="no answer within"):
        asyncio.run(world.change(ADD, REMOVE))
    assert world.mounted() == BEFORE
    assert world.leftovers() == []


def test_a_volume_whose_mount_died_is_mounted_anew_in_its_containers(world: World) -> None:
    prepared(world)

    async def work() -> None:
        await world.change([Mount(type="volume", source="shm", target="/s"),
                            Mount(type="volume", source="new1", target="/s/below"),
                            Mount(type="tmpfs", target="/apart")], [])  # fmt: skip
        data = world.layout.volumes / "shm/_data"
        (data / "first").touch()
        there = Path(f"/proc/{world.process.pid}/root/s")
        assert (there / "first").exists()
        # the mount behind the volume dies, and its driver makes another: the container still has the dead one
        unmount(str(data), MNT_DETACH)
        mount("t", str(data), "tmpfs")
        (data / "second").touch()
        (data / "below").mkdir()
        assert not (there / "second").exists()
        assert await world.volumes.live.replace(world.running, world.recorded(), "shm")
        assert sorted(os.listdir(there)) == ["below", "second"]
        assert not await world.volumes.live.replace(world.running, world.recorded(), "other")

    asyncio.run(work())
    assert world.mounted() == BEFORE | {"/s": "tmpfs", "/s/below": "new1", "/apart": "tmpfs"}
    assert world.leftovers() == []


def test_a_container_gets_its_files_back_after_the_fuse_program_died(world: World) -> None:
    prepared(world)
    behind = world.root / "behind"
    behind.mkdir()
    (behind / "page").write_text("page\n")
    there = Path(f"/proc/{world.process.pid}/root/f")

    @contextmanager
    def served(data: Path) -> Iterator[subprocess.Popen[bytes]]:
        program = subprocess.Popen(["bindfs", "-f", behind, data], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: any(row.target == str(data) for row in mount_table()), "bindfs to mount")
            yield program
        finally:
            program.kill()
            program.wait()

    async def work() -> None:
        await world.volumes.create("fused")
        data = world.layout.volumes / "fused/_data"
        with served(data):
            await world.change([Mount(type="volume", source="fused", target="/f")], [])
            assert (there / "page").read_text() == "page\n"
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            os.listdir(there)
        unmount(str(data), MNT_DETACH)
        with served(data):
            assert await world.volumes.live.replace(world.running, world.recorded(), "fused")
            assert (there / "page").read_text() == "page\n"
            await world.change([], ["/f"])
        unmount(str(data), MNT_DETACH)

    asyncio.run(work())
    assert world.mounted() == BEFORE
    assert world.leftovers() == []
