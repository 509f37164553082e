"""`cp`: where things go, and what a hostile archive may not do."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from berth.cli.archives import pack, place_in, unpack
from berth.cli.commands.copy import split_argument
from berth.cli.errors import CommandFailed


@pytest.mark.parametrize(
    ("target", "directory", "contents", "exists", "is_directory", "final"),
    [
        ("/t", False, False, False, False, "/t"),
        ("/t", False, False, True, False, "/t"),
        ("/t", False, False, True, True, "/t/src"),
        ("/t", True, False, False, False, "/t"),
        ("/t/", True, False, False, False, "/t"),
        ("/t", True, False, True, True, "/t/src"),
        ("/t", True, True, True, True, "/t"),
    ],
)
def test_places(target: str, directory: bool, contents: bool, exists: bool, is_directory: bool, final: str) -> None:
    found = place_in(
        target, "src", directory=directory, contents=contents, exists=exists, is_directory=is_directory, parent=True
    )
    assert found == final


def test_places_that_cannot_be() -> None:
    with pytest.raises(CommandFailed, match="no such directory"):
        place_in("/t/", "s", directory=False, contents=False, exists=False, is_directory=False, parent=True)
    with pytest.raises(CommandFailed, match="cannot copy directory"):
        place_in("/t", "s", directory=True, contents=False, exists=True, is_directory=False, parent=True)


def test_arguments() -> None:
    assert split_argument("web:/etc/x") == ("web", "/etc/x")
    assert split_argument("/a:b") == ("", "/a:b")
    assert split_argument("./a:b") == ("", "./a:b")
    assert split_argument("-") == ("", "-")


def test_a_tree_survives_the_way_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(b"x" * 1000)
    (source / "sub" / "file").chmod(0o640)
    (source / "empty").write_bytes(b"")
    (source / "link").symlink_to("sub/file")
    target = tmp_path / "dst"
    unpack(pack(str(source), "named", follow=False), str(target), owners=False)
    assert (target / "sub" / "file").read_bytes() == b"x" * 1000
    assert (target / "sub" / "file").stat().st_mode & 0o777 == 0o640
    assert os.readlink(target / "link") == "sub/file"
    assert (target / "empty").read_bytes() == b""


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return [buffer.getvalue()]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


def test_nothing_is_written_outside_the_target(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    target = str(tmp_path / "dst")
    with pytest.raises(CommandFailed, match="leads out"):
        unpack(archive((member("d", tarfile.DIRTYPE), b""), (member("d/../../victim/x"), b"x")), target, owners=False)
    with pytest.raises(CommandFailed, match="symbolic link"):
        unpack(
            archive(
                (member("d", tarfile.DIRTYPE), b""),
                (member("d/out", tarfile.SYMTYPE, str(victim)), b""),
                (member("d/out/x"), b"x"),
            ),
            target,
            owners=False,
        )
    with pytest.raises(CommandFailed, match="symbolic link"):
        unpack(
            archive(
                (member("d", tarfile.DIRTYPE), b""),
                (member("d/out", tarfile.SYMTYPE, str(victim)), b""),
                (member("d/hard", tarfile.LNKTYPE, "d/out/secret"), b""),
            ),
            target,
            owners=False,
        )
    assert list(victim.iterdir()) == []
