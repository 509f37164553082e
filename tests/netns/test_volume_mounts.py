"""What `Volumes.attach` makes ready is what the OCI runtime mounts: same places, nothing outside the root."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.containers.users import Identity, resolve
from berth.events.bus import Bus
from berth.kernel import cgroup, treemount
from berth.kernel.mount import is_mounted, mount, mount_table, unmount
from berth.store.memory import MemoryRecords
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, OciMount
from berth.volumes.service import Volumes
from berth.wire.volumes import BindOptions, DriverConfig, Mount, VolumeOptions

pytestmark = pytest.mark.root

BUSYBOX = shutil.which("busybox") or "/bin/busybox"


def nobody(user: str) -> Identity:
    """Know the users of a container that has no accounts."""
    return resolve(user, "", "")


@dataclass
class Wishes:
    binds: Sequence[str] | None = None
    mounts: Sequence[Mount] | None = None
    tmpfs: dict[str, str] | None = None
    volume_driver: str | None = None


@dataclass
class World:
    root: Path
    containers: dict[str, tuple[MountPoint, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layout = Layout(self.root / "data", self.root / "exec")
        self.bus = Bus(SystemClock())
        records: MemoryRecords[VolumeRecord] = MemoryRecords()
        self.volumes = Volumes(self.layout, records, self.bus, lambda: list(self.containers.items()))
        self.rootfs = self.root / "rootfs"
        for name in ("bin", "etc", "proc", "sys", "dev", "srv/data", "run"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy2(BUSYBOX, self.rootfs / "bin/busybox")
        (self.rootfs / "srv/data/from-image").write_text("image")

    async def start(self, ident: str, wishes: Wishes) -> tuple[OciMount, ...]:
        self.layout.container(ident).mkdir(parents=True, exist_ok=True)
        self.containers[ident] = await self.volumes.mounting.resolve(ident, wishes, (), ())
        return await self.volumes.mounting.attach(ident, self.containers[ident], self.rootfs, nobody)

    async def stop(self, ident: str) -> None:
        await self.volumes.mounting.detach(ident, self.containers[ident])

    def run(self, entries: Sequence[OciMount], *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container made of the root and the entries."""
        bundle = self.root / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir()
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/busybox", *command]}
        spec["root"] = {"path": str(self.rootfs), "readonly": False}
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] in ("/proc", "/dev")] + [
            {"destination": e.destination, "source": e.source, "type": e.type, "options": list(e.options)}
            for e in entries
        ]
        spec["linux"]["resources"] = {}
        spec["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}]
        spec.pop("hostname", None)
        (bundle / "config.json").write_text(json.dumps(spec))
        name = f"volmounts-{os.getpid()}"
        argv = ["crun", "--root", str(self.root / "crun"), "--cgroup-manager=disabled", "run", "-b", str(bundle), name]
        return subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    # crun refuses a machine that has controllers on both versions of control groups, as an engine finds and mends it.
    groups = cgroup.look()
    if groups.is_hybrid:
        cgroup.take_from_unified(groups.unified_controllers, tmp_path / "groups")
    yield made
    cgroup.give_back(tmp_path / "groups")
    left = [row.target for row in mount_table() if row.target.startswith(str(tmp_path))]
    for target in reversed(left):
        subprocess.run(["umount", "-l", target], check=False)
    assert not left


def go(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_volume_bind_and_tmpfs_inside_a_container(world: World) -> None:
    host = world.root / "host"

    async def work() -> None:
        entries = await world.start(
            "c1",
            Wishes(
                binds=["vol:/srv/data", f"{host}/made:/b", "vol:/ro:ro", f"{BUSYBOX}:/etc/one-file:ro"],
                tmpfs={"/t": "size=1m"},
            ),
        )
        assert (host / "made").is_dir()
        done = world.run(entries, "sh", "-c", "cat /srv/data/from-image; echo new >/srv/data/new; cat /ro/new; "
                         "echo x >/ro/x; echo y >/b/y; echo z >/t/z; ls -l /etc/one-file")  # fmt: skip
        assert done.stdout.startswith("imagenew\n"), done.stderr
        assert "Read-only file system" in done.stderr
        assert "/etc/one-file" in done.stdout
        assert (host / "made/y").read_text() == "y\n"
        assert (world.layout.volumes / "vol/_data/new").read_text() == "new\n"
        assert not (world.rootfs / "t/z").exists()
        await world.stop("c1")
        actions = [event.action for event in world.bus.past(0)]
        assert actions == ["create", "mount", "mount", "unmount", "unmount"]

    go(work)


def test_symlinks_of_the_image_cannot_reach_the_host(world: World) -> None:
    outside = world.root / "outside"
    outside.mkdir()
    (world.rootfs / "evil").symlink_to(outside)
    (world.rootfs / "up").symlink_to("../../../../../../../../../.." + str(outside))
    (world.rootfs / "srv/alias").symlink_to("/srv/data")

    async def work() -> None:
        entries = await world.start("c1", Wishes(binds=["va:/evil/x", "vb:/up/y", "vc:/srv/alias/sub"]))
        done = world.run(entries, "sh", "-c", "for p in /evil/x /up/y /srv/data/sub; do echo $p >$p/mark; done")
        assert done.returncode == 0, done.stderr
        assert os.listdir(outside) == []
        marks = [(world.layout.volumes / name / "_data/mark").read_text() for name in ("va", "vb", "vc")]
        assert marks == ["/evil/x\n", "/up/y\n", "/srv/data/sub\n"]

    go(work)


def test_one_mount_inside_another(world: World) -> None:
    async def work() -> None:
        entries = await world.start("c1", Wishes(binds=["inner:/a/b/c", "outer:/a"], tmpfs={"/a/b": ""}))
        assert [entry.destination for entry in entries] == ["/a", "/a/b", "/a/b/c"]
        done = world.run(entries, "sh", "-c", "echo in >/a/b/c/f; echo out >/a/f")
        assert done.returncode == 0, done.stderr
        assert (world.layout.volumes / "inner/_data/f").read_text() == "in\n"
        assert (world.layout.volumes / "outer/_data/f").read_text() == "out\n"

    go(work)


def test_a_tmpfs_volume_lives_from_first_to_last_use(world: World) -> None:
    async def work() -> None:
        await world.volumes.create(
            "shm", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0750,uid=7"}
        )
        data = world.layout.volumes / "shm/_data"
        assert not is_mounted(str(data))
        await world.start("c1", Wishes(binds=["shm:/x"]))
        assert is_mounted(str(data))
        assert (data.stat().st_uid, data.stat().st_mode & 0o7777) == (7, 0o750)
        (data / "shared").touch()
        await world.start("c2", Wishes(binds=["shm:/y"]))
        await world.stop("c1")
        await world.stop("c1")
        assert (data / "shared").exists()
        with pytest.raises(EngineError, match="volume is in use"):
            await world.volumes.remove("shm", force=True)
        await world.stop("c2")
        assert not is_mounted(str(data))
        assert not (data / "shared").exists()

    go(work)


def test_a_restarted_engine_unmounts_what_nobody_holds(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("shm", driver_opts={"type": "tmpfs", "device": "tmpfs"})
        await world.start("c1", Wishes(binds=["shm:/x"]))
        await world.volumes.adopt({"c1"})
        assert is_mounted(str(world.layout.volumes / "shm/_data"))
        await world.volumes.adopt(set())
        assert not is_mounted(str(world.layout.volumes / "shm/_data"))

    go(work)


def test_a_directory_of_the_host_as_volume(world: World) -> None:
    host = world.root / "host"
    host.mkdir()

    async def work() -> None:
        options = {"type": "none", "o": "bind,ro", "device": str(host)}
        await world.volumes.create("view", driver_opts=options)
        entries = await world.start("c1", Wishes(binds=["view:/x"]))
        done = world.run(entries, "touch", "/x/f")
        assert "Read-only file system" in done.stderr
        await world.stop("c1")
        assert not is_mounted(str(world.layout.volumes / "view/_data"))
        world.containers.clear()
        await world.volumes.remove("view", force=False)
        assert host.is_dir()

    go(work)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"type": "none", "o": "bind", "device": "/nonesuch"},
            (
                r"error while mounting volume '.*/_data': failed to mount local volume: "
                r"mount /nonesuch:.*/_data, flags: 0x1000: no such file or directory"
            ),
        ),
        (
            {"type": "cifs", "o": "addr=127.0.0.1,password=foo", "device": "//h/x"},
            r"data: addr=127.0.0.1,password=\*+: ",
        ),
        (
            {"type": "nfs", "o": "addr=nonesuch.invalid", "device": ":/x"},
            "error resolving passed in network volume address: lookup nonesuch.invalid",
        ),
    ],
)
def test_a_volume_that_cannot_be_mounted(world: World, options: dict[str, str], words: str) -> None:
    async def work() -> None:
        await world.volumes.create("bad", driver_opts=options)
        with pytest.raises(EngineError, match=words) as caught:
            await world.start("c1", Wishes(binds=["bad:/x"]))
        assert "foo" not in str(caught.value)
        assert not (world.layout.volume_holders / "bad" / "c1").exists()
        world.containers.clear()
        await world.volumes.remove("bad", force=False)

    go(work)


def test_part_of_a_volume(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("vol")
        data = world.layout.volumes / "vol/_data"
        (data / "sub/dir").mkdir(parents=True)
        (data / "evil").symlink_to("/etc")

        def part(subpath: str) -> Mount:
            return Mount(type="volume", source="vol", target="/p", volume_options=VolumeOptions(subpath=subpath))

        entries = await world.start("c1", Wishes(mounts=[part("sub")]))
        assert world.run(entries, "ls", "/p").stdout == "dir\n"
        await world.stop("c1")
        for bad in ("evil", "missing"):
            with pytest.raises(EngineError):
                await world.start("c2", Wishes(mounts=[part(bad)]))

    go(work)


def test_an_image_fills_a_volume_at_the_first_start_only(world: World) -> None:
    async def work() -> None:
        await world.start("c1", Wishes(binds=["vol:/srv/data"]))
        await world.stop("c1")
        data = world.layout.volumes / "vol/_data"
        (data / "from-image").unlink()
        await world.volumes.mounting.attach("c1", world.containers["c1"], world.rootfs, nobody)
        assert os.listdir(data) == []
        await world.start("c2", Wishes(binds=["none:/srv/data:nocopy"]))
        assert os.listdir(world.layout.volumes / "none/_data") == []

    go(work)


def test_many_first_users_at_once(world: World) -> None:
    for number in range(200):
        (world.rootfs / f"srv/data/{number}").write_text(str(number))

    async def work() -> None:
        await asyncio.gather(*(world.start(f"c{number}", Wishes(binds=["vol:/srv/data"])) for number in range(8)))
        data = world.layout.volumes / "vol/_data"
        assert len(os.listdir(data)) == 201
        assert all((data / str(number)).read_text() == str(number) for number in range(200))

    go(work)


def test_files_and_directories_do_not_mix(world: World) -> None:
    (world.rootfs / "etc/passwd").touch()

    async def work() -> None:
        with pytest.raises(EngineError, match="Are you trying to mount a directory onto a file"):
            await world.start("c1", Wishes(binds=["/tmp:/etc/passwd"]))
        with pytest.raises(EngineError, match="Are you trying to mount a directory onto a file"):
            await world.start("c2", Wishes(binds=[f"{BUSYBOX}:/etc"]))
        with pytest.raises(EngineError, match="is not directory"):
            await world.start("c3", Wishes(binds=["vol:/etc/passwd"]))

    go(work)


def test_propagation_needs_a_shared_mount(world: World) -> None:
    private = world.root / "private"
    private.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "t", private], check=True)
    subprocess.run(["mount", "--make-private", private], check=True)
    try:

        async def work() -> None:
            with pytest.raises(EngineError, match=f"path {private} is mounted on {private} but it is not a shared"):
                await world.start("c1", Wishes(binds=[f"{private}:/x:rshared"]))

        go(work)
    finally:
        subprocess.run(["umount", private], check=True)


def test_a_volume_with_something_mounted_in_it_stays(world: World) -> None:
    async def work() -> None:
        await world.volumes.create("vol")
        inner = world.layout.volumes / "vol/_data/inner"
        inner.mkdir()
        mount("t", str(inner), "tmpfs")
        (inner / "precious").touch()
        try:
            with pytest.raises(EngineError, match="volume has active mounts"):
                await world.volumes.remove("vol", force=True)
            assert (inner / "precious").exists()
        finally:
            unmount(str(inner))
        await world.volumes.remove("vol", force=False)

    go(work)


def test_options_reach_a_volume_made_by_a_mount(world: World) -> None:
    async def work() -> None:
        options = VolumeOptions(
            driver_config=DriverConfig(name="local", options={"type": "tmpfs", "device": "tmpfs"}), labels={"a": "b"}
        )
        await world.start(
            "c1", Wishes(mounts=[Mount(type="volume", source="made", target="/x", volume_options=options)])
        )
        assert world.volumes.get("made").labels == {"a": "b"}
        assert is_mounted(str(world.layout.volumes / "made/_data"))
        await world.stop("c1")

    go(work)


def test_an_older_kernel_makes_nothing_below_read_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    host = world.root / "host"
    (host / "sub").mkdir(parents=True)
    mount("t", str(host / "sub"), "tmpfs")
    forced = BindOptions(read_only_force_recursive=True)

    def bind(options: BindOptions | None) -> Mount:
        return Mount(type="bind", source=str(host), target="/x", read_only=True, bind_options=options)

    async def work() -> None:
        assert "rro" in (await world.start("c1", Wishes(mounts=[bind(forced)])))[0].options
        monkeypatch.setattr(treemount, "supported", lambda: False)
        assert "rro" not in (await world.start("c2", Wishes(mounts=[bind(None)])))[0].options
        with pytest.raises(EngineError, match="the kernel does not support recursively read-only mounts"):
            await world.start("c3", Wishes(mounts=[bind(forced)]))

    try:
        go(work)
    finally:
        unmount(str(host / "sub"))
