"""Whatever a root holds, mount points are made inside it and nowhere else."""

import os
from pathlib import Path

import pytest

from berth.base.errors import SystemFault
from berth.kernel.rootpath import NotADirectoryHere, PathEscapes, make_target, open_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inner = tmp_path / "root"
    inner.mkdir()
    (tmp_path / "outside").mkdir()
    return inner


def tree(path: Path) -> list[str]:
    return sorted(
        str(Path(where, name).relative_to(path)) for where, dirs, files in os.walk(path) for name in dirs + files
    )


def test_missing_directories_and_files_are_made(root: Path) -> None:
    old = os.umask(0o077)
    try:
        assert make_target(str(root), "/a/b/c", directory=True)
        assert make_target(str(root), "/f/file", directory=False)
    finally:
        os.umask(old)
    assert (root / "a/b").stat().st_mode & 0o7777 == 0o755
    assert (root / "f/file").stat().st_mode & 0o7777 == 0o644
    assert make_target(str(root), "/a/b/c", directory=True)


def test_the_wrong_kind_is_told(root: Path) -> None:
    (root / "file").touch()
    (root / "dir").mkdir()
    assert not make_target(str(root), "/file", directory=True)
    assert not make_target(str(root), "/dir", directory=False)
    with pytest.raises(NotADirectoryHere):
        make_target(str(root), "/file/below", directory=True)


@pytest.mark.parametrize(
    ("link", "to"),
    [
        ("up", "../../../../../outside"),
        ("abs", "/outside"),
        ("dots", "/../../outside"),
    ],
)
def test_symlinks_are_followed_inside(root: Path, link: str, to: str) -> None:
    (root / link).symlink_to(to)
    before = tree(root.parent / "outside")
    assert make_target(str(root), f"/{link}/deep/er", directory=True)
    assert tree(root.parent / "outside") == before == []
    assert (root / "outside/deep/er").is_dir()


def test_a_symlink_through_what_is_missing_is_refused(root: Path) -> None:
    (root / "var").symlink_to("run/../../outside")
    with pytest.raises(SystemFault, match="in the way"):
        make_target(str(root), "/var/deep", directory=True)
    assert tree(root.parent / "outside") == []


def test_an_absolute_path_of_the_host_is_not_reached(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "evil").symlink_to(outside)
    make_target(str(root), "/evil/x", directory=True)
    assert tree(outside) == []
    assert (root / str(outside).lstrip("/") / "x").is_dir()


def test_loops_end(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(SystemFault):
        make_target(str(root), "/a/x", directory=True)
    (root / "self").symlink_to("self/self")
    with pytest.raises(SystemFault):
        make_target(str(root), "/self", directory=True)


def test_magic_links_are_not_followed(root: Path) -> None:
    (root / "magic").symlink_to("/proc/self/root/outside")
    make_target(str(root), "/magic/x", directory=True)
    assert tree(root.parent / "outside") == []


def test_subpaths_stay_in_their_volume(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "ok").symlink_to("sub")
    (root / "evil").symlink_to("../outside")
    (root / "abs").symlink_to("/etc")
    for good in ("sub", "ok", "./sub"):
        fd = open_beneath(str(root), good)
        assert os.readlink(f"/proc/self/fd/{fd}") == str(root / "sub")
        os.close(fd)
    for bad in ("evil", "abs", "../outside", "/etc"):
        with pytest.raises(PathEscapes):
            open_beneath(str(root), bad)
    with pytest.raises(SystemFault, match="No such file"):
        open_beneath(str(root), "missing")
