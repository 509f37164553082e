"""Where the engine's data is: behind a symbolic link, and somewhere else than at the last start."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Berth, import_busybox

pytestmark = pytest.mark.root


@pytest.fixture
def engine(tmp_path: Path, busybox: Path) -> Iterator[Berth]:
    """Give an engine whose data root leads through a link."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    made = Berth("data-root", tmp_path / "link" / "berth")
    try:
        made.start()
        import_busybox(made, busybox)
        yield made
    finally:
        made.close()


def mounts_of(engine: Berth) -> list[str]:
    lines = engine.host("cat", "/proc/self/mountinfo").out.splitlines()
    mine = str(engine.data_root.resolve() / "volumes")
    return [line.split()[4] for line in lines if line.split()[4].startswith(mine)]


def test_mounts_behind_a_link_are_found_and_ended(engine: Berth, tmp_path: Path) -> None:
    engine.berth("volume", "create", "--size", "20m", "sized")
    engine.docker("run", "--rm", "-v", "sized:/d", "busybox", "sh", "-c", "echo kept >/d/f")
    assert mounts_of(engine) == []
    engine.docker("run", "-d", "--name", "user", "-v", "sized:/d", "busybox", "sleep", "600")
    assert mounts_of(engine) == [str(tmp_path / "disk/berth/data/volumes/sized/_data")]
    engine.kill9()
    engine.start()
    engine.docker("rm", "-f", "user")
    assert mounts_of(engine) == []
    assert engine.berth("volume", "cat", "sized:/f").out == "kept\n"
    assert mounts_of(engine) == []


def test_data_that_was_moved_is_found_by_containers(engine: Berth, tmp_path: Path) -> None:
    engine.docker(
        "run", "--name", "old", "-v", "data:/d", "busybox", "sh", "-c", "cat /d/f /in; echo kept | tee /d/f >/in"
    )
    engine.berth("volume", "snapshot", "create", "data", "s1")
    engine.docker("create", "--name", "reader", "-v", "data@s1:/d:ro", "busybox", "cat", "/d/f")
    engine.stop()
    engine.data_root = tmp_path / "elsewhere"
    (tmp_path / "disk" / "berth" / "data").rename(engine.data_root)
    engine.start()
    assert engine.docker("start", "-a", "old").out == "kept\nkept\n"
    assert engine.docker("start", "-a", "reader").out == "kept\n"
    place = str(engine.data_root / "volumes/data/_data")
    assert engine.docker("inspect", "-f", "{{(index .Mounts 0).Source}}", "old").out.strip() == place


@pytest.mark.parametrize(
    ("root", "said"), [("/etc/passwd", "is no directory"), ("/etc/passwd/x", "is no directory"), ("/proc/x", "no such")]
)
def test_a_root_that_cannot_be_is_refused_in_one_line(tmp_path: Path, root: str, said: str) -> None:
    argv = [REPO / ".venv/bin/berthd", "-H", f"unix://{tmp_path}/s", "--exec-root", tmp_path, "--data-root", root]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"berthd: {root} cannot be used: {said}")
    assert done.stderr.count("\n") == 1
