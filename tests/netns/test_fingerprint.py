"""Fingerprints of trees on real file systems: whatever is changed shows, however well it is hidden."""

import asyncio
import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from berth.kernel.fingerprint import GRAIN_NS, Fingerprint, fingerprint
from tests.support import filesystems
from tests.support.trees import plant, rich

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if missing := filesystems.is_missing(request.param):
        pytest.skip(missing)
    with filesystems.mounted(request.param, tmp_path_factory.mktemp("disks")) as at:
        yield at


def taken(where: Path, *, sync: bool = False) -> Fingerprint:
    found = asyncio.run(fingerprint(where, sync=sync))
    assert found is not None
    return found


def _same_size_and_time(where: Path) -> None:
    path = where / "file"
    before = path.stat()
    path.write_text("row two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _exchanged(where: Path) -> None:
    (where / "file").rename(where / "aside")
    (where / "twin").rename(where / "file")
    (where / "aside").rename(where / "twin")


def _moved_below(where: Path) -> None:
    (where / "one/leaf").rename(where / "two/leaf")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content of the same size and time": _same_size_and_time,
    "a byte more": lambda where: (where / "file").write_text("row one."),
    "mode": lambda where: (where / "file").chmod(0o600),
    "owner": lambda where: os.chown(where / "file", 1, 1),
    "time": lambda where: os.utime(where / "file", (1, 1)),
    "an attribute": lambda where: os.setxattr(where / "file", "user.note", b"1"),
    "an attribute of the root": lambda where: os.setxattr(where, "user.note", b"1"),
    "mode of the root": lambda where: where.chmod(0o711),
    "a new name": lambda where: (where / "file").rename(where / "other"),
    "two files exchanged": _exchanged,
    "moved to another directory": _moved_below,
    "one more link": lambda where: os.link(where / "file", where / "link"),
    "gone": lambda where: (where / "one/leaf").unlink(),
    "a socket more": lambda where: os.mknod(where / "socket", 0o140600),
    "an empty directory more": lambda where: (where / "one/more").mkdir(),
    "a hole": lambda where: os.truncate(where / "file", 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows(disk: Path, change: str) -> None:
    where = disk / change.replace(" ", "-")
    for below in ("one", "two"):
        (where / below).mkdir(parents=True)
    for name in ("file", "twin", "one/leaf"):
        (where / name).write_text("row one")
    first = taken(where)
    assert taken(where).sum == first.sum
    assert first.entries == 6
    CHANGES[change](where)
    assert taken(where).sum != first.sum


def test_what_is_just_written_is_not_settled_and_what_is_old_is(disk: Path) -> None:
    where = disk / "young"
    where.mkdir()
    plant(where, rich())
    found = taken(where)
    assert not found.settled()
    later = found.newest_ns + GRAIN_NS + 1
    old = Fingerprint(sum=found.sum, entries=found.entries, began_ns=later, newest_ns=found.newest_ns)
    assert old.settled()
    assert not old.settled(before_ns=later - 1), "the instant that is read was before the walk"
    assert old.settled(before_ns=later + 1)


def test_a_write_to_a_mapped_file_shows_if_what_was_written_before_is_on_disk(disk: Path) -> None:
    where = disk / "mapped"
    where.mkdir()
    (where / "file").write_bytes(bytes(4096))
    with (where / "file").open("r+b") as source, mmap.mmap(source.fileno(), 4096) as mapped:
        mapped[0] = 1
        hidden = taken(where)
        mapped[0] = 2
        assert taken(where).sum == hidden.sum, "a page that is dirty already is written without the kernel's knowledge"
        shown = taken(where, sync=True)
        mapped[0] = 3
        assert taken(where).sum != shown.sum


def test_other_file_systems_below_are_seen_and_not_entered(disk: Path, tmp_path: Path) -> None:
    where = disk / "outer"
    (where / "inner").mkdir(parents=True)
    before = taken(where)
    with filesystems.mounted("ext4", tmp_path) as small:
        (small / "file").write_text("one")
        subprocess.run(["mount", "--bind", small, where / "inner"], check=True)
        try:
            during = taken(where)
            (small / "file").write_text("two")
            assert taken(where).sum == during.sum != before.sum
        finally:
            subprocess.run(["umount", where / "inner"], check=True)
    assert taken(where).sum == before.sum


@pytest.mark.parametrize("place", ["/dev/shm", "/nowhere"])
def test_there_is_none_where_change_times_are_not_sure(place: str) -> None:
    assert asyncio.run(fingerprint(Path(place), sync=False)) is None
