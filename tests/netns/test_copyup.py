"""An empty volume gets everything an image has at its mount point, once, and an interrupted copy is taken up again."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from berth.kernel.copyup import SourceIsFile, fill

pytestmark = pytest.mark.root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    data = root / "srv/data"
    data.mkdir(parents=True)
    os.chown(data, 70, 71)
    data.chmod(0o1750)
    (data / "plain").write_text("hello")
    os.chown(data / "plain", 1000, 1001)
    (data / "plain").chmod(0o4751)
    os.utime(data / "plain", ns=(1_000_000_001, 2_000_000_002))
    os.setxattr(data / "plain", "user.note", b"kept")
    # VFS_CAP_REVISION_2 with cap_net_bind_service, linux/capability.h
    (data / "capable").write_text("x")
    os.setxattr(data / "capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.link(data / "plain", data / "twin")
    (data / "deep/er").mkdir(parents=True)
    os.link(data / "plain", data / "deep/er/triplet")
    (data / "deep").chmod(0o711)
    os.utime(data / "deep", ns=(3_000_000_000, 4_000_000_000))
    (data / "link").symlink_to("../../../etc/passwd")
    os.chown(data / "link", 5, 6, follow_symlinks=False)
    os.mkfifo(data / "pipe", 0o640)
    os.mknod(data / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "socket"))
    with open(data / "sparse", "wb") as sparse:
        sparse.seek(64 << 20)
        sparse.write(b"end")
    return root


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    data = tmp_path / "vol/_data"
    data.mkdir(parents=True)
    return data


def picture(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything that must come along, by path; the root itself as a dot."""
    seen: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        found = path.lstat()
        name = str(path.relative_to(top))
        content: object = None
        if stat.S_ISLNK(found.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(found.st_mode):
            content = path.read_bytes()
        first = inodes.setdefault(found.st_ino, name)
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        seen[name] = (
            oct(found.st_mode), found.st_uid, found.st_gid, found.st_rdev, found.st_mtime_ns, first, content, xattrs,
        )  # fmt: skip
    return seen


def test_everything_comes_along(image: Path, volume: Path) -> None:
    marker = volume.parent / ".filling"
    wanted = picture(image / "srv/data")
    assert fill(str(image), "/srv/data", volume, marker)
    assert picture(volume) == wanted
    assert (volume / "sparse").stat().st_blocks * 512 < 1 << 20
    assert not marker.exists()
    assert os.getxattr(volume / "capable", "security.capability")


def test_only_an_empty_volume_is_filled(image: Path, volume: Path) -> None:
    (volume / "mine").touch()
    assert not fill(str(image), "/srv/data", volume, volume.parent / ".filling")
    assert os.listdir(volume) == ["mine"]


def test_nothing_at_the_target_is_no_error(image: Path, volume: Path) -> None:
    assert not fill(str(image), "/not/there", volume, volume.parent / ".filling")
    with pytest.raises(SourceIsFile, match="is not directory"):
        fill(str(image), "/srv/data/plain", volume, volume.parent / ".filling")
    assert os.listdir(volume) == []


def test_symlinks_of_the_image_lead_nowhere_else(image: Path, volume: Path) -> None:
    (image / "trap").symlink_to(volume.parent.parent)
    assert not fill(str(image), "/trap", volume, volume.parent / ".filling")
    (image / "alias").symlink_to("/srv/../../srv/data")
    assert fill(str(image), "/alias", volume, volume.parent / ".filling")


def test_an_interrupted_copy_is_taken_up_again(image: Path, volume: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole/_data"
    whole.mkdir(parents=True)
    fill(str(image), "/srv/data", whole, whole.parent / ".filling")
    for count in range(1, 9):
        half = tmp_path / f"half{count}/_data"
        half.mkdir(parents=True)
        marker = half.parent / ".filling"
        marker.touch()
        for name in sorted(os.listdir(whole))[:count]:
            os.system(f"cp -a {whole / name} {half / name}")
        (half / "written-meanwhile").write_text("kept")
        assert fill(str(image), "/srv/data", half, marker)
        assert set(os.listdir(half)) == {*os.listdir(whole), "written-meanwhile"}
        assert (half / "written-meanwhile").read_text() == "kept"
        assert (half / "plain").read_text() == "hello"
        assert not marker.exists()


def test_file_systems_without_nameless_files(image: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY)
    wanted = picture(image / "srv/data")
    assert fill(str(image), "/srv/data", volume, volume.parent / ".filling")
    assert picture(volume) == wanted


def test_two_readers_at_once_do_not_harm(image: Path, volume: Path) -> None:
    # The service holds a lock; were it to fail, the copies still meet file by file and nothing is torn.
    marker = volume.parent / ".filling"
    marker.touch()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            fill(str(image), "/srv/data", volume, marker)
        except FileNotFoundError:
            pass  # the other one took the marker away first
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (volume / "plain").read_text() == "hello"
