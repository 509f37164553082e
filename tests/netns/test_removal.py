"""Removing trees in which somebody made files immutable: what is refused is named, all else goes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.kernel.removal import remove_tree
from berth.volumes.drivers.local_storage import LocalStorage

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
