"""An engine that is started on a full file system says which, in one line, and makes nothing; with room it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth

pytestmark = pytest.mark.root


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Berth]:
    made = Berth("brim", tmp_path / "berth", "--log-level", "info")
    yield made
    made.close()


def full(engine: Berth, root: Path, size: str, *, inodes: bool = False) -> Path:
    """Lay a file system over a root of the engine's and fill it; return what fills it."""
    engine.host("mkdir", "-p", str(root))
    engine.host("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=600", "none", str(root))
    return fill(engine, root, inodes=inodes)


def fill(engine: Berth, root: Path, *, inodes: bool = False) -> Path:
    filler = root / "filler"
    if inodes:
        engine.host("mkdir", str(filler))
        engine.host("sh", "-c", f"cd {filler}; n=0; while : >$n; do n=$((n+1)); done", check=False)
    else:
        engine.host("dd", "if=/dev/zero", f"of={filler}", "bs=4k", check=False)
    return filler


def refused(engine: Berth) -> str:
    """Start the engine, which ends by itself; return what it said."""
    before = len(engine.log.read_bytes()) if engine.log.exists() else 0
    with pytest.raises(AssertionError, match="ended with 1:"):
        engine.start()
    engine.process = None
    said = engine.log.read_bytes()[before:].decode()
    assert said.count("\n") == 1, said
    return said


def kernel(engine: Berth) -> str:
    """What there is on its host; of mounts those at its own places, for others come and go meanwhile."""
    mounts = f"grep -e {engine.root} -e {engine.run_root} /proc/self/mounts"
    return engine.host("sh", "-c", f"ip -br link; nft list tables; {mounts}").out


@pytest.mark.parametrize("inodes", [False, True])
@pytest.mark.parametrize("which", ["exec", "data"])
def test_a_first_start_on_a_full_file_system(engine: Berth, which: str, *, inodes: bool) -> None:
    root = engine.exec_root if which == "exec" else engine.data_root
    filler = full(engine, root, "20m", inodes=inodes)
    before = kernel(engine)
    said = refused(engine)
    assert f"cannot start: no space left on device: {root} is on a full file system ({root}: " in said
    assert f"or choose another place with --{which}-root" in said
    assert ("no inode of 600 free" if inodes else "of 20.97MB free") in said
    assert kernel(engine) == before
    assert not engine.processes()
    for place in (engine.exec_root, engine.data_root):
        assert {entry.name for entry in place.iterdir()} <= {"berthd.lock", "filler"} if place.exists() else True
    engine.host("rm", "-r", str(filler))
    engine.start()
    assert engine.api("GET", "/_ping").status == 200


def test_a_later_start_on_a_full_file_system(engine: Berth) -> None:
    """Containers go on meanwhile, and with room the engine has them again."""
    for root in (engine.exec_root, engine.data_root):
        engine.host("mkdir", "-p", str(root))
        engine.host("mount", "-t", "tmpfs", "-o", "size=30m", "none", str(root))
    engine.start()
    engine.api("POST", "/volumes/create", {"Name": "kept"})
    for root in (engine.exec_root, engine.data_root):
        engine.stop()
        filler = fill(engine, root)
        assert f"no space left on device: {root} is on a full file system" in refused(engine)
        engine.host("rm", str(filler))
        engine.start()
        assert engine.berth("volume", "ls", "-q").out == "kept\n"


def test_the_file_of_the_process_id_may_be_on_one(tmp_path: Path) -> None:
    place = tmp_path / "pids"
    engine = Berth("brim", tmp_path / "berth", "--log-level", "info", "--pidfile", str(place / "pid"))
    try:
        full(engine, place, "1m")
        said = refused(engine)
        assert f"no space left on device: {place}/pid is on a full file system ({place}: " in said
        assert said.endswith("Make room there and start berthd again\n")
        assert not engine.processes()
    finally:
        engine.close()
