"""Unpacking image layers: as GNU tar would, with overlay's marks, and never outside the layer's directory."""

import asyncio
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.kernel import mount
from berth.kernel.layers import LayerRefused, Unpacked, unpack
from berth.kernel.tree import apparent_size

pytestmark = pytest.mark.root

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def unpacked(tmp_path: Path, data: bytes, *, digest: str = "") -> tuple[Path, Unpacked]:
    number = len(list(tmp_path.glob("layer*")))
    blob, target = tmp_path / f"blob{number}", tmp_path / f"layer{number}"
    blob.write_bytes(data)
    target.mkdir(mode=0o755)
    return target, asyncio.run(unpack(blob, target, digest=digest))


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, body: bytes = b"", **values: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(body)
    for key, value in values.items():
        setattr(info, key, value)
    return info, body


def layer(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def directory(name: str, **values: object) -> Member:
    return member(name, tarfile.DIRTYPE, mode=0o755, **values)


def symlink(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with everything a layer can have."""
    root = tmp_path / "tree"
    deep = root / "a" / ("long" * 40) / ("name" * 40)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(os.urandom(3_000_000))
    (root / "empty").touch()
    (root / "naïve name\n").write_text("x")
    os.fsencode(root)
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe"))).write_text("not UTF-8")
    (root / "owned").write_text("x")
    os.chown(root / "owned", 1000, 2_000_000_000)
    (root / "suid").write_text("x")
    os.chown(root / "suid", 5, 6)
    (root / "suid").chmod(0o6755)
    (root / "root-suid").write_text("x")
    (root / "root-suid").chmod(0o4711)
    (root / "capable").write_text("x")
    os.chown(root / "capable", 7, 7)
    os.setxattr(root / "capable", "security.capability", CAPABILITY)
    os.setxattr(root / "capable", "user.note", b"\0binary=\n\xff")
    os.utime(root / "capable", ns=(1, 1_234_567_890_123_456_789))
    os.utime(root / "empty", ns=(1, -1_500_000_000))
    os.link(root / "capable", root / "a" / "twin")
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "group").mkdir()
    os.chown(root / "group", 0, 33)
    (root / "group").chmod(0o2775)
    (root / "group" / "inside").write_text("x")
    os.chown(root / "group" / "inside", 0, 0)
    (root / "closed").mkdir()
    (root / "closed" / "file").write_text("x")
    (root / "closed").chmod(0)
    os.setxattr(root / "sticky", "user.note", b"on a directory")
    (root / "link").symlink_to("../../etc/passwd")
    os.chown(root / "link", 8, 9, follow_symlinks=False)
    (root / "dangling").symlink_to("x" * 200)
    os.link(root / "link", root / "link twin", follow_symlinks=False)
    os.mkfifo(root / "pipe", 0o640)
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    os.chown(root / "disk", 0, 6)
    with (root / "holes").open("wb") as out:
        for at in range(0, 6 << 20, 1 << 20):
            out.seek(at)
            out.write(b"data" * 2000)
        out.truncate(8 << 20)
    os.utime(root, ns=(1, 5_000_000_005))
    return root


def seen(root: Path) -> dict[str, object]:
    """Return everything about a tree that a layer says."""
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for top, names, files in os.walk(root):
        for name in [".", *sorted(names), *sorted(files)] if top == str(root) else sorted([*names, *files]):
            path = os.path.join(top, name)
            info = os.lstat(path)
            body: object = None
            if stat.S_ISREG(info.st_mode):
                body = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(info.st_mode):
                body = os.readlink(path)
            elif not stat.S_ISDIR(info.st_mode):
                body = info.st_rdev
            attributes = {key: os.getxattr(path, key, follow_symlinks=False)
                          for key in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
            inside = os.path.relpath(path, root)
            first = inodes.setdefault(info.st_ino, inside)
            times = info.st_mtime_ns
            found[inside] = (info.st_mode, info.st_uid, info.st_gid, times, body, attributes, first)
    return found


@pytest.mark.parametrize(
    "form",
    [["--format=posix", "--xattrs", "--xattrs-include=*"], ["--format=gnu"], ["--format=gnu", "--sparse"],
     ["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"],
     ["--format=posix", "--sparse", "--sparse-version=0.1"], ["--format=posix", "--sparse", "--sparse-version=0.0"]],
    ids="".join,
)  # fmt: skip
def test_everything_comes_out_as_gnu_tar_puts_it(tmp_path: Path, tree: Path, form: list[str]) -> None:
    archive = tmp_path / "tree.tar"
    subprocess.run(["tar", "-C", str(tree), "--numeric-owner", *form, "-cf", str(archive), "."], check=True)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(
        ["tar", "-C", str(theirs), "--numeric-owner", "-p", "--same-owner", "--xattrs", "--xattrs-include=*", "-xf",
         str(archive)], check=True,
    )  # fmt: skip
    ours, done = unpacked(tmp_path, archive.read_bytes())
    assert seen(ours) == seen(theirs)
    if "--xattrs" in form:
        assert seen(ours) == seen(tree)
    assert done.diff_id == "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    assert done.tar_size == archive.stat().st_size
    assert done.size == apparent_size(str(tree))
    if "--sparse" in form:
        assert (ours / "holes").stat().st_blocks * 512 < 1 << 20
    shutil.rmtree(tree)


@pytest.mark.parametrize("program", [["gzip", "-1"], ["zstd"], ["bzip2"], ["xz", "-1"]], ids=lambda words: words[0])
def test_every_packing(tmp_path: Path, program: list[str]) -> None:
    plain = layer(directory("d"), member("d/file", body=os.urandom(1_500_000)))
    packed = subprocess.run(program, input=plain, capture_output=True, check=True).stdout
    digest = "sha256:" + hashlib.sha256(packed).hexdigest()
    target, done = unpacked(tmp_path, packed, digest=digest)
    assert done.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert (target / "d/file").stat().st_size == 1_500_000
    with pytest.raises(LayerRefused, match=f"its digest is {digest}"):
        unpacked(tmp_path, packed, digest="sha256:" + "0" * 64)
    with pytest.raises(LayerRefused, match="end|damaged|complete|eof"):
        unpacked(tmp_path, packed[: len(packed) // 2])
    twice = packed + packed
    if program[0] != "zstd":
        assert unpacked(tmp_path, twice)[1].diff_id == "sha256:" + hashlib.sha256(plain + plain).hexdigest()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that no layer may touch; its content is compared at the end."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "file").write_text("untouched")
    before = seen(path)
    yield path
    assert seen(path) == before


@pytest.mark.parametrize("kind", ["file", "directory", "link", "whiteout", "opaque"])
def test_a_symlink_leads_nowhere_but_into_the_layer(tmp_path: Path, outside: Path, kind: str) -> None:
    made = {
        "file": [member(f"way{outside}/file", body=b"overwritten")],
        "directory": [member(f"way{outside}", tarfile.DIRTYPE, mode=0)],
        "link": [member("stolen", tarfile.LNKTYPE, linkname=f"way{outside}/file")],
        "whiteout": [member(f"way{outside}/.wh.file")],
        "opaque": [member(f"way{outside}/.wh..wh..opq")],
    }[kind]
    for target in ("/", "../../../../../../../..", "/proc/1/root"):
        data = layer(symlink("way", target), *made)
        try:
            root, _ = unpacked(tmp_path, data)
        except LayerRefused:
            assert kind == "link"
            continue
        assert kind != "link"
        assert list(root.iterdir())


@pytest.mark.parametrize("name", ["../file", "a/../../file", "..", "/../file", "a/../.."])
def test_names_that_lead_out_are_refused(tmp_path: Path, outside: Path, name: str) -> None:
    with pytest.raises(LayerRefused, match="leads out of the layer"):
        unpacked(tmp_path, layer(member(name, body=b"x")))
    with pytest.raises(LayerRefused, match="leads out of the layer"):
        unpacked(tmp_path, layer(member("x", tarfile.LNKTYPE, linkname=name)))


def test_odd_names_that_stay_inside(tmp_path: Path) -> None:
    root, _ = unpacked(
        tmp_path,
        layer(
            member("./a//b/./c", body=b"1"), member("/abs/x", body=b"2"), member("d/../e", body=b"3"), directory("./")
        ),
    )
    assert [(root / name).read_text() for name in ("a/b/c", "abs/x", "e")] == ["1", "2", "3"]


def test_a_later_entry_wins(tmp_path: Path) -> None:
    root, done = unpacked(
        tmp_path,
        layer(
            member("file", body=b"first"), member("file", body=b"second!"),
            directory("tree"), member("tree/deep/file", body=b"gone"), member("tree", body=b"now a file"),
            member("plain", body=b"x"), directory("plain"), member("plain/inside", body=b"y"),
            directory("kept"), member("kept/inside", body=b"z"), member("kept", tarfile.DIRTYPE, mode=0o700),
            symlink("link", "kept"), member("link", body=b"not through it"),
        ),
    )  # fmt: skip
    assert (root / "file").read_text() == "second!"
    assert (root / "tree").read_text() == "now a file"
    assert (root / "plain/inside").read_text() == "y"
    assert (root / "kept/inside").read_text() == "z"
    assert stat.S_IMODE((root / "kept").stat().st_mode) == 0o700
    assert (root / "link").read_text() == "not through it"
    assert done.size == apparent_size(str(root))


def test_through_symlinks_of_the_layer_itself(tmp_path: Path) -> None:
    root, _ = unpacked(
        tmp_path, layer(symlink("lib", "usr/lib"), member("lib/one", body=b"1"), member("lib/two/three", body=b"3"))
    )
    assert (root / "lib").is_symlink()
    assert (root / "usr/lib/one").read_text() == "1"
    assert (root / "usr/lib/two/three").read_text() == "3"


def test_a_layer_cannot_forge_overlay_s_marks(tmp_path: Path) -> None:
    forged = ("trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.metacopy")
    headers = {f"SCHILY.xattr.{name}": "y" for name in (*forged, "user.fine")}
    root, _ = unpacked(tmp_path, layer(directory("d", pax_headers=headers), member("f", pax_headers=headers)))
    for name in ("d", "f"):
        assert os.listxattr(root / name) == ["user.fine"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("x", tarfile.LNKTYPE, linkname="missing")], "no such file"),
        ([member("f", body=b"x"), member("f/below", body=b"y")], "not a directory"),
        ([symlink("a", "b"), symlink("b", "a"), member("a/x", body=b"y")], "symbolic links"),
        ([member(".wh.", body=b"")], "without a name"),
        ([member("d/.wh...", body=b"")], "without a name"),
        ([member("x/" + "n" * 300, body=b"")], "name too long"),
        ([member("./", body=b"x")], "root is no directory"),
        ([directory("d"), member("x", tarfile.LNKTYPE, linkname="d")], "not permitted"),
    ],
)
def test_what_cannot_be_made_is_named(tmp_path: Path, members: list[Member], words: str) -> None:
    with pytest.raises(LayerRefused, match=f"(?i)failed to register layer: .*{words}"):
        unpacked(tmp_path, layer(*members))


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(LayerRefused, match="no tar archive"):
        unpacked(tmp_path, b"no archive" * 1000)
    assert unpacked(tmp_path, b"")[1].size == 0


def test_a_disk_too_small_is_named_and_not_filled_to_the_brim(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", str(disk)], check=True)
    try:
        blob = tmp_path / "bomb"
        with subprocess.Popen(["gzip", "-1"], stdin=subprocess.PIPE, stdout=blob.open("wb")) as packing:
            assert packing.stdin is not None
            info = tarfile.TarInfo("zeros")
            info.size = 512 << 20
            packing.stdin.write(info.tobuf())
            for _ in range(512):
                packing.stdin.write(bytes(1 << 20))
        assert blob.stat().st_size < 8 << 20
        target = disk / "layer"
        target.mkdir()
        with pytest.raises(LayerRefused, match="no space left on device"):
            asyncio.run(unpack(blob, target))
        (target / "zeros").unlink()
        tight = layer(*[member(f"f{n}", body=bytes(4 << 20)) for n in range(70)])
        blob.write_bytes(tight)
        (disk / "ballast").write_bytes(bytes(200 << 20))
        with pytest.raises(LayerRefused, match="no space left on device"):
            asyncio.run(unpack(blob, target))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


class Stack:
    """Layers unpacked one after the other, mounted on top of each other."""

    def __init__(self, tmp_path: Path, *layers: bytes) -> None:
        self.lowers = tuple(str(unpacked(tmp_path, data)[0]) for data in reversed(layers))
        self.tmp_path = tmp_path

    def __enter__(self) -> Path:
        for name in ("upper", "work", "merged"):
            (self.tmp_path / name).mkdir()
        paths = (str(self.tmp_path / name) for name in ("upper", "work", "merged"))
        mount.overlay(self.lowers, *paths)
        return self.tmp_path / "merged"

    def __exit__(self, *_: object) -> None:
        assert mount.unmount(str(self.tmp_path / "merged"))


def test_removals_seen_through_the_mount(tmp_path: Path) -> None:
    below = layer(
        directory("gone"), member("gone/file", body=b"x"), member("file", body=b"x"), member("stays", body=b"x"),
        directory("cleared"), member("cleared/old", body=b"x"),
        directory("implicit"), member("implicit/old", body=b"x"),
        directory("remade"), member("remade/old", body=b"x"),
        directory("remade too"), member("remade too/old", body=b"x"),
        member("became a directory", body=b"x"), directory("became a file"), member("became a file/x", body=b"x"),
        directory("replaced"), member("replaced/old", body=b"x"),
    )  # fmt: skip
    above = layer(
        member(".wh.gone"), member(".wh.file"), member(".wh.never there"),
        directory("cleared"), member("cleared/.wh..wh..opq"), member("cleared/new", body=b"y"),
        member("implicit/.wh..wh..opq"), member("implicit/new", body=b"y"),
        # Removed and made anew in one layer, in either order.
        member(".wh.remade"), directory("remade"), member("remade/new", body=b"y"),
        directory("remade too"), member("remade too/new", body=b"y"), member(".wh.remade too"),
        member(".wh.replaced"), member("replaced", body=b"y"),
        member(".wh.became a directory"), directory("became a directory"), member("became a file", body=b"y"),
        member(".wh..wh.plnk", body=b""),
    )  # fmt: skip
    with Stack(tmp_path, below, above) as merged:
        assert sorted(path.name for path in merged.iterdir()) == [
            "became a directory", "became a file", "cleared", "implicit", "remade", "remade too", "replaced", "stays",
        ]  # fmt: skip
        for name in ("cleared", "implicit", "remade", "remade too"):
            assert [path.name for path in (merged / name).iterdir()] == ["new"], name
        assert (merged / "became a directory").is_dir()
        assert (merged / "became a file").read_text() == (merged / "replaced").read_text() == "y"


def test_a_child_that_is_killed_leaves_its_error(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(layer(member("x", body=b"y")))
    with pytest.raises(LayerRefused, match="failed to register layer"):
        asyncio.run(unpack(blob, tmp_path / "not there"))


def test_directories_that_a_layer_leaves_out_are_everybodys_to_read_and_nobodys_to_write(tmp_path: Path) -> None:
    target, _ = unpacked(tmp_path, layer(member("a/b/c/file", body=b"x"), member("d/e/.wh.gone")))
    for name in ("a", "a/b", "a/b/c", "d", "d/e"):
        assert stat.S_IMODE((target / name).stat().st_mode) == 0o755, name
