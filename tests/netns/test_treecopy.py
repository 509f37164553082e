"""Copies of trees on real file systems: nothing of a tree is lost, however its content gets there."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from berth.kernel import btrfs, treecopy_child
from berth.kernel.copying import Copied, TreeNotCopied, copy_tree
from berth.kernel.removal import remove_tree
from berth.kernel.treecopy import Counted, TreeCopy
from tests.support import filesystems, hangs
from tests.support.trees import Node, difference, look, plant, rich, trees

pytestmark = pytest.mark.root

#: What a copy of this kind of file system is made of.
WAYS = {"ext4": "copy", "xfs": "reflinks", "btrfs": "btrfs snapshot"}


@pytest.fixture(scope="module", params=list(WAYS))
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if missing := filesystems.is_missing(request.param):
        pytest.skip(missing)
    with filesystems.mounted(request.param, tmp_path_factory.mktemp("disks")) as at:
        yield at


def source(disk: Path, nodes: tuple[Node, ...]) -> Path:
    made = disk / "source"
    remove(made)
    if not btrfs.make_subvolume(str(made)):
        made.mkdir()
    plant(made, nodes)
    return made


def remove(tree: Path) -> None:
    if not btrfs.destroy(str(tree)):
        remove_tree(tree)


def copied(disk: Path, verb: str, **more: float) -> Copied:
    remove(disk / "new")
    return asyncio.run(copy_tree(disk / "source", disk / "new", verb=verb, **more))


def test_everything_comes_along_in_the_best_way_there_is(disk: Path) -> None:
    before = look(source(disk, rich()))
    done = copied(disk, "copy")
    assert done.how == WAYS[disk.name]
    assert difference(before, look(disk / "new")) == []


def test_everything_comes_along_byte_by_byte(disk: Path) -> None:
    before = look(source(disk, rich()))
    assert copied(disk, "plain").how == "copy"
    assert difference(before, look(disk / "new")) == []


def test_what_is_not_one_instant_is_not_begun(disk: Path) -> None:
    source(disk, rich())
    assert copied(disk, "instant").how == ("" if disk.name == "ext4" else WAYS[disk.name])


def test_files_that_share_blocks_do_not_share_changes(disk: Path) -> None:
    made = source(disk, (Node(b"", "dir", mode=0o755), Node(b"file", content=b"a" * 100_000)))
    copied(disk, "copy")
    (made / "file").write_bytes(b"b" * 100_000)
    assert (disk / "new/file").read_bytes() == b"a" * 100_000


def test_a_subvolume_that_holds_another_is_copied_with_it(tmp_path: Path) -> None:
    with filesystems.mounted("btrfs", tmp_path) as disk:
        made = source(disk, (Node(b"", "dir", mode=0o755),))
        assert btrfs.make_subvolume(str(made / "inner"))
        (made / "inner" / "file").write_bytes(b"x" * 50_000)
        assert copied(disk, "copy").how == "reflinks"
        assert (disk / "new/inner/file").read_bytes() == b"x" * 50_000


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    with filesystems.mounted("ext4", tmp_path, size_mib=16) as small:
        (small / "source").mkdir()
        (small / "source" / "file").write_bytes(b"x" * (7 << 20))
        with pytest.raises(TreeNotCopied, match="file: No space left on device") as raised:
            copied(small, "copy")
        assert raised.value.full


def test_a_missing_source_is_said() -> None:
    with pytest.raises(TreeNotCopied, match="/no/such: No such file or directory"):
        asyncio.run(copy_tree(Path("/no/such"), Path("/no/new")))


def test_a_hanging_mount_ends_the_copy_in_time(tmp_path: Path) -> None:
    if missing := hangs.is_missing():
        pytest.skip(missing)
    with hangs.hangable(tmp_path) as served:
        (served.source / "file").write_text("x")
        served.hang()
        with pytest.raises(TreeNotCopied, match="nothing could be copied for 1 s"):
            asyncio.run(copy_tree(served.at, tmp_path / "new", stall_limit_s=1))
        served.go_on()


def removed(place: Path) -> None:
    place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()


def made_as(kind: str, place: Path) -> None:
    match kind:
        case "file":
            place.write_text("text")
        case "dir":
            place.mkdir()
        case "link":
            place.symlink_to("first")
        case "fifo":
            os.mkfifo(place)


KINDS = ("file", "dir", "link", "fifo")


def copied_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, change: Callable[[Path], None]) -> Counted:
    """Copy a tree with three entries; the second is changed once, after it was looked at and before it is opened."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for number, name in enumerate(("first", "second", "third")):
        made_as("file" if number != 1 else kind, old / name)
    real, changed = os.stat, []

    def look_and_change(path: Any, **how: Any) -> os.stat_result:
        seen = real(path, **how)
        if path == "second" and not changed:
            changed.append(path)
            change(old / "second")
        return seen

    monkeypatch.setattr(os, "stat", look_and_change)
    reader, writer = (os.open(tree, os.O_RDONLY | os.O_DIRECTORY) for tree in (old, new))
    try:
        copy = TreeCopy(reader, writer, strict=True)
        copy.run()
    finally:
        os.close(reader)
        os.close(writer)
        monkeypatch.undo()
    assert changed
    return copy.counted


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_removed_meanwhile_is_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    assert copied_while(monkeypatch, tmp_path, kind, removed).vanished == 1
    assert sorted(os.listdir(tmp_path / "new")) == ["first", "third"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fifo"])  # which is not opened: a look is all
@pytest.mark.parametrize("other", KINDS)
def test_what_is_replaced_meanwhile_is_copied_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, other: str
) -> None:
    def replaced(place: Path) -> None:
        removed(place)
        made_as(other, place)

    assert copied_while(monkeypatch, tmp_path, kind, replaced).vanished == 0
    wrong = difference(look(tmp_path / "old"), look(tmp_path / "new"))
    assert [what for what in wrong if "mtime" not in what] == []  # a symlink's are those of the first look


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(nodes=trees())
def test_any_tree_comes_along_whole(disk: Path, nodes: tuple[Node, ...]) -> None:
    before = look(source(disk, nodes))
    remove(disk / "new")
    assert treecopy_child.copy_tree("copy", str(disk / "source"), str(disk / "new"))["how"]
    assert difference(before, look(disk / "new")) == []
