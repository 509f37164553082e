"""Copies into a directory that somebody else writes to: what they put in the way leads nowhere."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from berth.kernel.treecopy import Counted, TreeCopy
from berth.kernel.unpack import Unpacker


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """Name a file of the host's that no copy may touch."""
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "two"
    secret.write_text("secret")
    secret.chmod(0o600)
    yield secret
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.stat().st_nlink == 1
    assert secret.read_text() == "secret"


def _opened(path: Path) -> int:
    path.mkdir(exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _making_way(monkeypatch: pytest.MonkeyPatch, secret: Path) -> list[str]:
    """Let somebody be quicker: what is made is a symlink to a file of the host's a moment later."""
    mknod, swapped = os.mknod, list[str]()

    def made(name: str, mode: int, device: int = 0, *, dir_fd: int) -> None:
        mknod(name, mode, device, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink(secret, name, dir_fd=dir_fd)
        swapped.append(name)

    monkeypatch.setattr(os, "mknod", made)
    return swapped


def test_the_mode_of_a_fifo_is_given_to_no_symlink_in_its_place(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, into = _opened(tmp_path / "source"), _opened(tmp_path / "into")
    os.mkfifo(tmp_path / "source" / "fifo", 0o666)
    (tmp_path / "source" / "fifo").chmod(0o4777)
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)  # no root is needed for the rest
    swapped = _making_way(monkeypatch, outside)
    with pytest.raises(OSError, match="not supported"):
        TreeCopy(source, into).run()
    assert swapped == ["fifo"]


def test_nor_that_of_a_fifo_that_is_unpacked(tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("fifo")
        member.type, member.mode = tarfile.FIFOTYPE, 0o4777
        tar.addfile(member)
    archive.seek(0)
    into = _opened(tmp_path / "into")
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    swapped = _making_way(monkeypatch, outside)
    with suppress(Exception):  # however it ends: `outside` is what counts
        Unpacker(into, "/").unpack(archive)
    assert swapped == ["fifo"]


def test_a_hard_link_is_made_to_nothing_behind_a_symlink(tmp_path: Path, outside: Path) -> None:
    source, into = _opened(tmp_path / "source"), _opened(tmp_path / "into")
    (tmp_path / "source" / "a").mkdir()
    (tmp_path / "source" / "a" / "two").write_text("image's")
    os.link(tmp_path / "source" / "a" / "two", tmp_path / "source" / "z")

    def told(counted: Counted) -> None:
        if counted.entries == 3:  # "z" is next: a container makes "a" lead out of the volume
            (tmp_path / "into" / "a").rename(tmp_path / "into" / "b")
            (tmp_path / "into" / "a").symlink_to(outside.parent)

    copy = TreeCopy(source, into, told=told)
    with pytest.raises(OSError, match="Not a directory"):
        copy.run()
    assert copy.at == "z"


def test_hard_links_are_kept_however_deep_they_are(tmp_path: Path) -> None:
    source, into = _opened(tmp_path / "source"), _opened(tmp_path / "into")
    deep = tmp_path / "source" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "one").write_text("x")
    os.link(deep / "one", tmp_path / "source" / "z")
    os.link(deep / "one", tmp_path / "source" / "a" / "other")
    TreeCopy(source, into).run()
    kept = {(tmp_path / "into" / name).stat().st_ino for name in ("a/b/c/one", "a/other", "z")}
    assert len(kept) == 1
