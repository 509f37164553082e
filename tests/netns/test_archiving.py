"""Directories become archives and archives directories: nothing is lost, and nothing gets out of its place."""

import asyncio
import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from berth.base.errors import EngineError
from berth.kernel.archiving import (
    BadArchive,
    Packer,
    Packing,
    PackingFailed,
    Unpacked,
    Unpacking,
    UnpackingFailed,
    unpack,
)
from berth.kernel.removal import remove_tree
from tests.support import trees
from tests.support.engines import wait_for

pytestmark = pytest.mark.root
SETTINGS = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def packed(directory: Path, **how: object) -> bytes:
    async def work() -> bytes:
        packer = Packer(Packing(directory=str(directory), head={"volume": "v", "time": "2026"}, **how))  # type: ignore[arg-type]
        data = b"".join([piece async for piece in packer.pieces()])
        assert packer.end["packed"] >= (0 if how.get("encrypt") else len(data))
        return data

    return asyncio.run(work())


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def unpacked(data: bytes, directory: Path | None = None, **how: object) -> Unpacked:
    where = "" if directory is None else str(directory)
    return asyncio.run(unpack(Unpacking(directory=where, **how), pieces(data)))  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory in one with things that must stay as they are."""
    (tmp_path / "canary").write_text("sings")
    (tmp_path / "canary").chmod(0o600)
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@given(tree=trees.trees())
@SETTINGS
def test_any_tree_comes_back_as_it_was(tree: tuple[trees.Node, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    top = tmp_path_factory.mktemp("tree")
    (top / "from").mkdir()
    (top / "to").mkdir()
    trees.plant(top / "from", tree)
    before = trees.look(top / "from")
    unpacked(packed(top / "from", level=1), top / "to")
    assert trees.difference(before, trees.look(top / "to")) == []
    shutil.rmtree(top)


def _deepen(root: Path, depth: int) -> list[tuple[int, int, int]]:
    """Make directories within each other, with files in the last; or return what is there, level by level."""
    found = []
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(depth):
        name = f"level-{level}-of-a-tree"
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700 + level % 8, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        seen = os.fstat(below)
        found.append((seen.st_mode, seen.st_nlink, level))
        os.close(fd)
        fd = below
    if not os.listdir(fd):
        file = os.open("file", os.O_RDWR | os.O_CREAT, dir_fd=fd)
        os.write(file, b"deep")
        os.setxattr(file, "user.kept", b"yes")
        os.close(file)
        top = os.open(root, os.O_PATH)
        os.link("file", "shallow", src_dir_fd=fd, dst_dir_fd=top)
        os.link("file", "another", src_dir_fd=fd, dst_dir_fd=fd)
        os.close(top)
        os.symlink("file", "link", dir_fd=fd)
        os.mkfifo("fifo", dir_fd=fd)
    found += [
        ((seen := os.stat(name, dir_fd=fd, follow_symlinks=False)).st_mode, seen.st_nlink, seen.st_size)
        for name in sorted(os.listdir(fd))
    ]
    os.close(fd)
    return found


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Give a place for trees that pytest itself could not remove."""
    yield tmp_path
    for entry in tmp_path.iterdir():
        remove_tree(entry)


def test_a_tree_deeper_than_any_path_comes_back(deep: Path) -> None:
    for name in ("from", "to"):
        (deep / name).mkdir()
    _deepen(deep / "from", 1000)
    before = _deepen(deep / "from", 1000)
    unpacked(packed(deep / "from"), deep / "to")
    assert _deepen(deep / "to", 1000) == before
    assert (deep / "to" / "shallow").read_bytes() == b"deep"
    assert os.getxattr(deep / "to" / "shallow", "user.kept") == b"yes"
    assert (deep / "to" / "shallow").stat().st_nlink == 3


@pytest.mark.parametrize("pack", ["zstd", "gzip", "none"])
def test_damage_is_found_and_the_file_named(tmp_path: Path, pack: str) -> None:
    for number in range(40):
        (tmp_path / f"file-{number:02}").write_bytes(os.urandom(30_000))
    data = packed(tmp_path, pack=pack, level=1)
    assert unpacked(data).files == 40
    for share in (0.2, 0.5, 0.8):
        at = int(len(data) * share)
        with pytest.raises(BadArchive, match="file-"):
            unpacked(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with pytest.raises(BadArchive, match="file-"):
            unpacked(data[:at])
    with pytest.raises(BadArchive):
        unpacked(data[:-3000] if pack == "none" else data[:-20])


def test_contents_that_changed_places_are_found(place: Path, tmp_path: Path) -> None:
    """Both are whole and of one length, and the archive is as long as it was."""
    contents = [os.urandom(30_000) for _ in range(2)]
    (tmp_path / "from").mkdir()
    for number, content in enumerate(contents):
        (tmp_path / "from" / f"file-{number}").write_bytes(content)
    data = packed(tmp_path / "from", pack="none")
    first, second = (data.index(content) for content in contents)
    swapped = bytearray(data)
    swapped[first : first + 30_000], swapped[second : second + 30_000] = contents[1], contents[0]
    for where in (None, place):
        with pytest.raises(BadArchive, match="file-"):
            unpacked(bytes(swapped), where)


# -- archives that mean harm


def archive(*members: tuple[str, bytes, str | bytes], pack: str = "") -> bytes:
    """Make an archive of (name, kind, target or content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{pack}", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, more in members:
            one = tarfile.TarInfo(name)
            one.name, one.type, one.mode = name, kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
            if isinstance(more, bytes):
                one.size = len(more)
                tar.addfile(one, io.BytesIO(more))
            else:
                one.linkname = more
                tar.addfile(one)
    return out.getvalue()


FILE, DIR, SYM, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "up": [("../canary", FILE, b"x")],
    "up, in the middle": [("a/../../canary", FILE, b"x")],
    "up, from here": [("f", FILE, b"x"), ("./..", DIR, "")],
    "a symlink and a file through it": [("way", SYM, ".."), ("way/canary", FILE, b"x")],
    "an absolute symlink": [("way", SYM, "/"), ("way/etc/berth-was-here", FILE, b"x")],
    "a symlink below a directory": [("d", DIR, ""), ("d/way", SYM, "../.."), ("d/way/canary", FILE, b"x")],
    "a directory that becomes a symlink": [("d", DIR, ""), ("d", SYM, ".."), ("d/canary", FILE, b"x")],
    "a hard link out": [("twin", LINK, "../canary")],
    "a hard link through a symlink": [("way", SYM, ".."), ("twin", LINK, "way/canary")],
    "a hard link to what is not there": [("twin", LINK, "/etc/shadow")],
    "a character device": [("null", tarfile.CHRTYPE, "")],
    "a block device": [("disk", tarfile.BLKTYPE, "")],
    "an unknown kind": [("what", b"Z", b"x")],
    "a name with nothing": [("a\0b", FILE, b"x")],
    "a file as directory": [("f", FILE, b"x"), ("f/g", FILE, b"y")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(place: Path, case: str) -> None:
    before = trees.look(place.parent)
    if case == "a name with nothing":
        data = bytearray(archive(("n" * 150 + "-b", FILE, b"x")))
        data[data.index(b"n-b\n") + 1] = 0
        with pytest.raises(BadArchive):
            unpacked(bytes(data), place)
    else:
        with pytest.raises(BadArchive):
            unpacked(archive(*HOSTILE[case]), place)
    after = trees.look(place.parent)
    assert trees.difference({path: one for path, one in before.items() if path in (b"", b"canary")},
                            {path: one for path, one in after.items() if path in (b"", b"canary")}) == []  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the archive is empty"),
        (b"PK\x03\x04" + b"x" * 600, "made by zip, which is not read here; unpack it first: unzip FILE"),
        (b"\x04\x22\x4d\x18" + b"x" * 600, "made by lz4, .*lz4 -dc FILE"),
        (b"070701" + b"0" * 600, "made by cpio"),
    ],
)
def test_what_is_no_tar_is_called_by_its_name(place: Path, data: bytes, said: str) -> None:
    with pytest.raises(BadArchive, match=said):
        unpacked(data, place)
    assert list(place.iterdir()) == []


def test_absolute_names_stay_inside(place: Path) -> None:
    unpacked(archive(("/canary", FILE, b"x"), ("//etc//passwd", FILE, b"y")), place)
    assert (place / "canary").read_text() == "x"
    assert (place / "etc/passwd").read_text() == "y"
    assert (place.parent / "canary").read_text() == "sings"


def test_of_two_with_one_name_the_last_stays(place: Path) -> None:
    unpacked(
        archive(("a", FILE, b"1"), ("a", DIR, ""), ("a/b", FILE, b"2"), ("a", SYM, "nowhere"), ("a", FILE, b"3")), place
    )
    assert (place / "a").read_text() == "3"


def test_attributes_that_mean_something_to_the_host_need_a_backup_of_ours(place: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/f").touch()
    os.setxattr(tmp_path / "src/f", "trusted.overlay.opaque", b"y")
    told = subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-C", tmp_path / "src", "-c", "."],
                          capture_output=True, check=True)  # fmt: skip
    assert "trusted.overlay.opaque was left out" in unpacked(told.stdout, place).notes[0]
    assert os.listxattr(place / "f") == []
    shutil.rmtree(place)
    place.mkdir()
    assert unpacked(packed(tmp_path / "src"), place).notes == []
    assert os.getxattr(place / "f", "trusted.overlay.opaque") == b"y"


def test_bombs_stop(place: Path, tmp_path: Path) -> None:
    data = archive(("zeros", FILE, bytes(3 << 20)), pack="xz")
    assert unpacked(data, place).files == 1
    with pytest.raises(BadArchive, match="more than the 1000000 bytes that were allowed"):
        unpacked(data, most=1_000_000)
    deep = tmp_path / "deep"
    make = f"truncate -s 64M {deep} && tar -C {tmp_path} -c deep | zstd -q -1 >{tmp_path}/bomb"
    subprocess.run(make, shell=True, check=True)
    with pytest.raises(BadArchive, match="more than 1000 times its size"):
        unpacked((tmp_path / "bomb").read_bytes(), ratio_from=16 << 20)


def test_headers_without_end_are_refused(place: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "x" * (2 << 20)}
    with pytest.raises(BadArchive, match="extended header of"):
        unpacked(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024), place)


NAMES = st.lists(st.sampled_from(("..", ".", "", "a", "b", "way", "canary", "/")), min_size=1, max_size=4).map("/".join)
MEMBERS = st.tuples(NAMES, st.sampled_from((FILE, DIR, SYM, LINK, tarfile.FIFOTYPE, tarfile.CHRTYPE)), NAMES)


@given(members=st.lists(MEMBERS, max_size=12), noise=st.binary(max_size=600), at=st.integers(0, 5000))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_it_says_nothing_outside_changes(
    members: list[tuple[str, bytes, str]], noise: bytes, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("hostile")
    (top / "canary").write_text("sings")
    (top / "in").mkdir()
    before = {path: one for path, one in trees.look(top).items() if not path.startswith(b"in")}
    data = bytearray(
        archive(*((name, kind, target.encode() if kind == FILE else target) for name, kind, target in members))
    )
    data[at : at + len(noise) * (at % 3 == 0)] = noise[: len(noise) * (at % 3 == 0)]
    try:
        unpacked(bytes(data), top / "in")
    except EngineError as refused:
        said = str(refused)
    else:
        said = ""
    assert "Traceback" not in said
    after = {path: one for path, one in trees.look(top).items() if not path.startswith(b"in")}
    assert trees.difference(before, after) == []
    shutil.rmtree(top)


# -- keys


def test_encrypted_to_a_key_and_with_a_passphrase(place: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    trees.plant(tmp_path / "src", trees.rich())
    before = trees.without_sockets(trees.look(tmp_path / "src"))
    keys = [subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    public = keys[0].split("public key: ")[1].split("\n")[0]
    data = packed(tmp_path / "src", encrypt={"recipients": [public]})
    assert data.startswith(b"age-encryption.org/")
    assert b"plain" not in data
    with pytest.raises(BadArchive, match="encrypted with age: the identity file"):
        unpacked(data)
    with pytest.raises(BadArchive, match="encrypted to another key"):
        unpacked(data, identity=keys[1])
    unpacked(data, place, identity=keys[0])
    assert trees.difference(before, trees.look(place)) == []
    with pytest.raises(BadArchive):
        unpacked(data[: len(data) // 2], identity=keys[0])
    with pytest.raises(BadArchive):
        unpacked(data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :], identity=keys[0])
    secret = packed(tmp_path / "src", encrypt={"passphrase": "a b"})
    with pytest.raises(BadArchive, match="passphrase is wrong"):
        unpacked(secret, passphrase="a  b")
    assert unpacked(secret, passphrase="a b").files == 30
    # without us
    (tmp_path / "pass").write_text("a b\n")
    opened = subprocess.run(["openssl", "enc", "-d", "-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-pass",
                             f"file:{tmp_path}/pass"], input=secret, capture_output=True, check=True)  # fmt: skip
    assert opened.stdout.startswith(b"\x28\xb5\x2f\xfd")


# -- helpers that die, disks that are full


def helpers(of: str) -> list[int]:
    """Return the programs below this process whose command line has a word."""
    found = subprocess.run(["pgrep", "-f", of], capture_output=True, text=True).stdout.split()
    mine = {os.getpid()}
    out = []
    for pid in map(int, found):
        up = pid
        while up > 1 and up not in mine:
            try:
                up = int(Path(f"/proc/{up}/stat").read_text().rpartition(")")[2].split()[1])
            except FileNotFoundError:
                break
        if up in mine and pid not in mine:
            out.append(pid)
    return out


@pytest.mark.parametrize("program", ["pack_child", "tar --create"])
def test_a_backup_whose_helper_is_killed_fails_and_leaves_none(tmp_path: Path, program: str) -> None:
    with open(tmp_path / "big", "wb") as big:
        big.truncate(4 << 30)
    os.posix_fallocate(os.open(tmp_path / "solid", os.O_CREAT | os.O_WRONLY), 0, 8 << 20)

    async def work() -> None:
        # noise enough that the pipe is full while nobody reads
        (tmp_path / "noise").write_bytes(os.urandom(64 << 20))
        packer = Packer(Packing(directory=str(tmp_path), head={"volume": "v"}, pack="none", level=0))
        taking = packer.pieces()
        for _ in range(3):  # the head comes before tar has begun
            await anext(taking)
        for pid in helpers(program):
            os.kill(pid, signal.SIGKILL)
        async for _ in taking:
            pass

    with pytest.raises(PackingFailed, match="killed|tar ended with status -9|status 137"):
        asyncio.run(work())
    assert wait_for(lambda: not helpers("pack_child") and not helpers("tar --create"), "the end of all helpers")


def test_a_restore_whose_helper_is_killed_fails(place: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/noise").write_bytes(os.urandom(8 << 20))
    data = packed(tmp_path / "src")

    async def slowly() -> AsyncIterator[bytes]:
        yield data[: len(data) // 2]
        await asyncio.to_thread(wait_for, lambda: any(place.iterdir()), "the first file")
        for pid in helpers("restore_child"):
            os.kill(pid, signal.SIGKILL)
        yield data[len(data) // 2 :]

    with pytest.raises(UnpackingFailed, match="was killed"):
        asyncio.run(unpack(Unpacking(directory=str(place)), slowly()))
    assert not helpers("restore_child")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "berth-test-small", where], check=True)
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_stops_a_restore_and_a_backup(small: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/noise").write_bytes(os.urandom(60 << 20))
    data = packed(tmp_path / "src", level=1)
    with pytest.raises(UnpackingFailed, match="no space left"):
        unpacked(data, small)
    shutil.rmtree(small / "noise", ignore_errors=True)
    for entry in small.iterdir():
        entry.unlink()

    async def onto_the_disk(fd: int) -> None:
        await Packer(Packing(directory=str(tmp_path / "src"), head={"volume": "v"}), to=fd).wait()

    with open(small / "file", "wb") as out, pytest.raises(PackingFailed, match="[Nn]o space left"):
        asyncio.run(onto_the_disk(out.fileno()))
    assert not helpers("pack_child")


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(32 << 20))

    async def work() -> list[str]:
        packer = Packer(Packing(directory=str(tmp_path), head={"volume": "v"}, pack="none", level=0))
        taking = packer.pieces()
        for _ in range(3):  # the head comes before tar has begun
            await anext(taking)
        os.truncate(tmp_path / "log", 33 << 20)
        async for _ in taking:
            pass
        found: list[str] = packer.end.get("changed", [])
        return found

    assert any("log" in words for words in asyncio.run(work()))
