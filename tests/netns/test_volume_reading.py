"""Looks into a volume whose disk cannot be read any more: an error, never less or other content than there is."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.base.errors import SystemFault
from berth.kernel import shrunk, volume_files
from berth.kernel.archiving import Packer, Packing, PackingFailed
from berth.volumes.backup.errors import StoreFailed
from tests.netns import test_unchanged_backups
from tests.support import filesystems

pytestmark = pytest.mark.root

PIECE = 4 << 20


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    """Name a directory with a file of which only the beginning can be read."""
    if missing := filesystems.is_missing("ext4"):
        pytest.skip(missing)
    with filesystems.mounted("ext4", tmp_path) as disk:
        (disk / "data").mkdir()
        (disk / "data" / "a").write_text("fine")
        with (disk / "data" / "file").open("wb") as out:
            for _ in range(4):
                out.write(os.urandom(PIECE))
        subprocess.run(["sync", "-f", disk], check=True)
        with (disk / "data" / "file").open("rb") as source:
            os.posix_fadvise(source.fileno(), PIECE, 0, os.POSIX_FADV_DONTNEED)
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", disk], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(["blockdev", "--flushbufs", device], check=True)
        image = tmp_path / "ext4.img"
        kept = image.stat().st_size
        os.truncate(image, 1 << 20)  # the device ends in I/O errors there
        try:
            yield disk / "data"
        finally:
            os.truncate(image, kept)


async def _read(verb: str, root: Path, path: str) -> bytes:
    async with volume_files.look(verb, str(root), path, limit_s=30) as (_, pieces):
        return b"".join([piece async for piece in pieces])


def test_the_disk_is_broken(broken: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        (broken / "file").read_bytes()


@pytest.mark.parametrize(("verb", "path"), [("cat", "/file"), ("pack", "/file"), ("pack", "/")])
def test_what_cannot_be_read_is_an_error(broken: Path, verb: str, path: str) -> None:
    with pytest.raises(SystemFault, match="the process that reads it ended with status 3"):
        asyncio.run(_read(verb, broken, path))


def test_what_can_be_read_beside_it_is(broken: Path) -> None:
    assert asyncio.run(_read("cat", broken, "/a")) == b"fine"


def test_a_backup_of_it_fails_and_holds_no_zeros_in_its_place(broken: Path) -> None:
    """tar takes a read that fails within a file for a file that has shrunk."""

    async def work() -> None:
        packer = Packer(Packing(directory=str(broken), head={"volume": "db"}))
        with pytest.raises(PackingFailed, match=r"file: input/output error"):
            async for _ in packer.pieces():
                pass

    asyncio.run(work())


def test_a_file_that_has_shrunk_is_told_from_one_that_cannot_be_read(broken: Path) -> None:
    here, line = os.fsencode(broken), b"tar: ./%b: File shrank by 13 bytes; padding with zeros\n"
    assert shrunk.named(line % b"with: a colon") == b"./with: a colon"
    assert shrunk.named(b"tar: ./a: file changed as we read it\n") == b""
    assert shrunk.unreadable(here, [b"./a", b"./gone"]) == ""
    assert shrunk.unreadable(here, [b"./a", b"./file"]) == "./file: input/output error"


def test_restic_makes_no_backup_without_it(broken: Path, tmp_path: Path) -> None:
    world = test_unchanged_backups.World(tmp_path / "engine")
    try:
        asyncio.run(world.volumes.create("db"))
        world.file("db").write_text("fine")
        first = world.backup("db")
        data = world.file("db").parent
        subprocess.run(["mount", "--bind", broken, data], check=True)
        try:
            with pytest.raises(StoreFailed, match=r"file: input/output error; there is no backup without it"):
                world.backup("db")
        finally:
            subprocess.run(["umount", data], check=True)
        assert [one.name for one in world.entries("db")] == [first.name]
    finally:
        world.stores.close()
