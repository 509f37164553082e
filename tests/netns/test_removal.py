"""Removing trees in which somebody made files immutable: what is refused is named, all else goes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.kernel import btrfs
from berth.kernel.removal import remove_tree
from berth.volumes.drivers.local_storage import LocalStorage
from tests.support import filesystems

pytestmark = pytest.mark.root


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """Name a file that root may not remove, beside others."""
    for name in ("a/one", "b/kept", "b/two", "c/three"):
        (tmp_path / "vv" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vv" / name).touch()
    _mark(tmp_path, "+i")
    yield tmp_path / "vv" / "b" / "kept"
    _mark(tmp_path, "-i")


def _mark(root: Path, change: str) -> None:
    for path in root.rglob("kept"):
        subprocess.run(["chattr", change, path], check=True)


def test_what_is_immutable_stays_and_all_else_goes(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as caught:
        remove_tree(tmp_path / "vv")
    assert caught.value.filename == str(kept)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["vv", "vv/b", "vv/b/kept"]


@pytest.mark.usefixtures("kept")
def test_a_volume_with_an_immutable_file_is_deleted_by_the_next_engine_once_it_may_be(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.bury("vv")
    with pytest.raises(Exception, match=r"b/kept: Operation not permitted; it is immutable .* chattr -R -f -ia "):
        storage.discard()
    (left,) = os.listdir(tmp_path)
    subprocess.run(["chattr", "-R", "-f", "-ia", tmp_path / left], check=True)
    later = LocalStorage(tmp_path)
    later.look(())
    later.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_what_is_mounted_in_a_tree_is_not_removed_with_it(tmp_path: Path, kind: str) -> None:
    """Be it a directory of the same file system, or a subvolume, which is told from no other by its numbers."""
    if missing := filesystems.is_missing(kind):
        pytest.skip(missing)
    with filesystems.mounted(kind, tmp_path) as disk:
        precious = disk / "precious"
        if not btrfs.make_subvolume(str(precious)):
            precious.mkdir()
        (precious / "file").write_text("data")
        place = disk / "tree" / "inner" / "here"
        place.mkdir(parents=True)
        (disk / "tree" / "inner" / "beside").touch()
        subprocess.run(["mount", "--bind", precious, place], check=True)
        try:
            with pytest.raises(OSError, match="something is mounted there") as caught:
                remove_tree(disk / "tree")
        finally:
            subprocess.run(["umount", place], check=True)
        assert caught.value.filename == str(place)
        assert (precious / "file").read_text() == "data"
        assert not (disk / "tree" / "inner" / "beside").exists()
        remove_tree(disk / "tree")
        assert not (disk / "tree").exists()


def test_a_subvolume_in_a_tree_goes_with_it(tmp_path: Path) -> None:
    if missing := filesystems.is_missing("btrfs"):
        pytest.skip(missing)
    with filesystems.mounted("btrfs", tmp_path) as disk:
        (disk / "tree").mkdir()
        btrfs.make_subvolume(str(disk / "tree" / "inner"))
        (disk / "tree" / "inner" / "file").touch()
        remove_tree(disk / "tree")
        assert not (disk / "tree").exists()
