"""What of a built tree becomes a layer."""

import os
import tarfile
from pathlib import Path

from berth.images.pack import is_kept, pack


def test_what_stays_out() -> None:
    assert is_kept("usr/share/doc/x/copyright", directory=False)
    assert is_kept("usr/share/doc/x", directory=True)
    assert is_kept("var/cache/apt", directory=True)
    assert is_kept("runtime/x", directory=False)
    for path in ("usr/share/doc/x/changelog.gz", "usr/share/man/man1/x.1", "tmp/x", "var/log/dpkg.log",
                 "var/cache/apt/pkgcache.bin", "var/lib/apt/lists/x", "etc/passwd-"):  # fmt: skip
        assert not is_kept(path, directory=False)


def test_a_tree_becomes_a_layer(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "tmp").mkdir()
    (tree / "tmp/gone").touch()
    (tree / "etc/a").write_text("hello")
    os.link(tree / "etc/a", tree / "etc/b")
    (tree / "etc/c").symlink_to("a")
    (tree / "etc/a").chmod(0o4750)
    os.mkfifo(tree / "pipe")
    pack(str(tree), str(tmp_path / "out.tar"))
    with tarfile.open(tmp_path / "out.tar") as tar:
        members = {info.name: info for info in tar}
        assert tar.extractfile("etc/b").read() == b"hello"  # type: ignore[union-attr]
    assert list(members) == ["etc", "etc/a", "etc/b", "etc/c", "pipe", "tmp"]
    assert members["etc/a"].mode == 0o4750
    assert (members["etc/b"].islnk(), members["etc/b"].linkname) == (True, "etc/a")
    assert (members["etc/c"].issym(), members["etc/c"].linkname) == (True, "a")
    assert members["pipe"].isfifo()
