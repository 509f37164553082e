import stat
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from berth.base.errors import InvalidArgument, SystemFault
from berth.containers.archive import PathStat, Wanted, go_mode, go_time
from berth.kernel.unpack import BadArchive, OverwriteRefused, Unpacker


@pytest.mark.parametrize(
    ("text", "path", "name", "through"),
    [
        ("/a", "/a", "a", False),
        ("a/b", "/a/b", "b", False),
        ("/a/", "/a", "a", True),
        ("/a/.", "/a", ".", True),
        ("/", "/", "/", True),
        ("/../../etc", "/etc", "etc", False),
        ("//x", "/x", "x", False),
    ],
)
def test_paths_are_taken_apart(text: str, path: str, name: str, *, through: bool) -> None:
    assert Wanted.parse(text) == Wanted(path, name, through)


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_bad_paths_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Wanted.parse(text)


def test_modes_and_times_are_gos() -> None:
    assert go_mode(stat.S_IFDIR | 0o755) == 2147484141
    assert go_mode(stat.S_IFLNK | 0o777) == 134218239
    assert go_mode(stat.S_IFREG | 0o644) == 420
    assert go_mode(stat.S_IFREG | stat.S_ISUID | 0o755) == 1 << 23 | 0o755
    assert go_time(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert go_time(2_000_000_000) == "1970-01-01T00:00:02Z"


def test_the_header_has_dockers_names() -> None:
    import base64
    import json

    header = PathStat(name="a", size=1, mode=420, mtime="t", link_target="/x").header()
    assert json.loads(base64.b64decode(header)) == {
        "name": "a", "size": 1, "mode": 420, "mtime": "t", "linkTarget": "/x"
    }  # fmt: skip


def tar_of(*members: tuple[str, bytes | str | None], kind: bytes = tarfile.REGTYPE) -> BytesIO:
    """Make a tar: bytes = a file, text = a symlink, None = a directory."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.mtime = 5
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o750
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.type, member.size, member.mode = kind, len(content), 0o640
            archive.addfile(member, BytesIO(content) if isinstance(content, bytes) else None)
    out.seek(0)
    return out


def unpack(root: Path, place: str, archive: BytesIO, *, keep_kinds: bool = False) -> None:
    import os

    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        owner = (os.getuid(), os.getgid())
        Unpacker(fd, place, keep_kinds=keep_kinds, owner=owner).unpack(archive)
    finally:
        os.close(fd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "to").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "root"


def test_files_directories_and_links_arrive(root: Path) -> None:
    unpack(root, "/to", tar_of(("d", None), ("d/f", b"text"), ("l", "d/f"), ("deep/er/g", b"")))
    assert (root / "to/d/f").read_bytes() == b"text"
    assert (root / "to/d").stat().st_mode & 0o777 == 0o750
    assert (root / "to/d/f").stat().st_mode & 0o777 == 0o640
    assert (root / "to/d").stat().st_mtime == (root / "to/d/f").stat().st_mtime == 5
    assert (root / "to/l").readlink() == Path("d/f")
    assert (root / "to/deep/er/g").exists()


@pytest.mark.parametrize("name", ["../../outside/evil", "../evil", "a/../../../outside/evil"])
def test_names_that_lead_out_are_refused(root: Path, name: str) -> None:
    with pytest.raises(BadArchive):
        unpack(root, "/to", tar_of((name, b"x")))
    assert list((root.parent / "outside").iterdir()) == []


def test_links_that_lead_out_stay_inside(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "old").symlink_to(outside)
    same_name_inside = root / outside.relative_to("/")
    same_name_inside.mkdir(parents=True)
    members = (("old/a", b"1"), ("new", str(outside)), ("new/b", b"2"), ("up", "../../.."), ("up/c", b"3"))
    unpack(root, "/", tar_of(*members))
    assert list(outside.iterdir()) == []
    assert {one.name for one in same_name_inside.iterdir()} == {"a", "b"}
    assert (root / "c").read_bytes() == b"3"
    assert not (root.parent / "c").exists()


def test_a_dangling_link_in_the_way_is_an_error(root: Path) -> None:
    (root / "to/l").symlink_to("/nowhere")
    with pytest.raises(SystemFault):
        unpack(root, "/to", tar_of(("l/f", b"x")))


def test_what_is_in_the_way_is_replaced_unless_kinds_are_kept(root: Path) -> None:
    (root / "to/d").mkdir()
    (root / "to/d/x").write_text("")
    (root / "to/f").write_text("")
    with pytest.raises(OverwriteRefused, match="cannot overwrite directory"):
        unpack(root, "/to", tar_of(("d", b"now a file")), keep_kinds=True)
    with pytest.raises(OverwriteRefused, match="cannot overwrite non-directory"):
        unpack(root, "/to", tar_of(("f", None)), keep_kinds=True)
    unpack(root, "/to", tar_of(("d", b"now a file"), ("f", None)))
    assert (root / "to/d").read_bytes() == b"now a file"
    assert (root / "to/f").is_dir()


def test_directories_are_merged(root: Path) -> None:
    (root / "to/d").mkdir()
    (root / "to/d/old").write_text("")
    unpack(root, "/to", tar_of(("d", None), ("d/new", b"")))
    assert {one.name for one in (root / "to/d").iterdir()} == {"old", "new"}


def test_junk_is_refused_and_nothing_is_fine(root: Path) -> None:
    with pytest.raises(BadArchive):
        unpack(root, "/to", BytesIO(b"junk" * 1000))
    unpack(root, "/to", BytesIO(b""))
