"""Removing trees: of any depth, with what stands in the way left and named."""

import os
from pathlib import Path

from berth.kernel.removal import remove_tree

#: More than Python's own functions can descend into, and paths longer than any call takes.
DEEP = 1500
NAME = "a-name-of-twenty-two-l"


def make_deep(root: Path, depth: int = DEEP) -> None:
    """Make directories within each other, with a file in the last."""
    root.mkdir()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(NAME, dir_fd=fd)
        below = os.open(NAME, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("last", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


def test_a_tree_deeper_than_any_path_is_removed_with_few_descriptors(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep")
    (tmp_path / "deep" / "beside").mkdir()
    (tmp_path / "deep" / "beside" / "file").touch()
    held = len(os.listdir("/proc/self/fd"))
    remove_tree(tmp_path / "deep")
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == held


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "itself").symlink_to("other")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "itself")
    remove_tree(tmp_path / "never was")
    assert sorted(os.listdir(tmp_path)) == ["other"]
    assert (tmp_path / "other" / "precious").exists()


def test_names_that_are_no_text_are_names(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path) + b"/tr\xffe"
    os.makedirs(root + b"/\xfe\n/inner")
    remove_tree(root)
    assert os.listdir(tmp_path) == []
