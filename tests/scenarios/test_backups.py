"""Backups and restores of volumes: what goes in comes out, and whatever goes wrong, the volume is as it was."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import trees
from tests.support.engines import REPO, Berth, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    yield berth_engine
    berth_engine.wipe_containers()
    for one in berth_engine.api("GET", "/volumes").body["Volumes"] or ():
        berth_engine.api("DELETE", f"/volumes/{one['Name']}")


def data(engine: Berth, name: str) -> Path:
    return Path(engine.api("GET", f"/volumes/{name}").body["Mountpoint"])


def names(engine: Berth) -> set[str]:
    return {one["Name"] for one in engine.api("GET", "/volumes").body["Volumes"] or ()}


def left(engine: Berth) -> list[str]:
    """Return what a restore may have left beside the volumes."""
    return [
        name
        for name in os.listdir(engine.root / "data" / "volumes")
        if name.startswith((".restoring-", ".unfinished-"))
    ]


def filled(engine: Berth, name: str, nodes: tuple[trees.Node, ...] | None = None) -> dict[bytes, trees.Seen]:
    engine.api("POST", "/volumes/create", {"Name": name, "Labels": {"kept": "yes"}})
    trees.plant(data(engine, name), trees.rich() if nodes is None else nodes)
    return trees.without_sockets(trees.look(data(engine, name)))


def piped(
    engine: Berth, *args: str, feed: bytes | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run our client with bytes on its standard streams."""
    argv = [str(REPO / ".venv/bin/berth"), *args]
    return subprocess.run(argv, capture_output=True, input=feed, check=check, env=engine.environment, timeout=240)


@pytest.mark.parametrize("how", [(), ("--gzip",), ("--compress", "none"), ("--compress", "zstd:1")])
def test_everything_comes_back(berth: Berth, tmp_path: Path, how: tuple[str, ...]) -> None:
    before = filled(berth, "whole")
    told = berth.berth("volume", "backup", *how, "-o", str(tmp_path / "file"), "whole").out
    assert told.startswith("whole: 30 files, ")
    assert "whole: 30 files, " in berth.berth("volume", "restore", "--as", "copy", str(tmp_path / "file")).out.replace(
        "copy", "whole"
    )
    assert trees.difference(before, trees.look(data(berth, "copy"))) == []
    assert berth.api("GET", "/volumes/copy").body["Labels"] == {"kept": "yes"}
    assert left(berth) == []


def test_any_tar_unpacks_a_backup_and_nothing_but_the_files(berth: Berth, tmp_path: Path) -> None:
    before = filled(berth, "whole")
    berth.berth("volume", "backup", "-q", "-o", str(tmp_path / "b.tar.zst"), "whole")
    (tmp_path / "gnu").mkdir()
    done = subprocess.run(
        ["tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tmp_path / "b.tar.zst", "-C",
         tmp_path / "gnu"], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0
    assert "gnore" not in done.stderr
    assert trees.difference(before, trees.look(tmp_path / "gnu")) == []


def test_the_documents_own_archives_are_restored(berth: Berth, tmp_path: Path) -> None:
    filled(berth, "my_volume", (trees.Node(b"", "dir", mode=0o750, owner=(70, 70)),
                                trees.Node(b"sub", "dir", mode=0o755),
                                trees.Node(b"sub/file", content=b"row\n", owner=(70, 70), mode=0o600)))  # fmt: skip
    before = trees.look(data(berth, "my_volume"))
    berth.berth("run", "--rm", "-v", "my_volume:/data", "-v", f"{tmp_path}:/backup", "busybox",
                "tar", "czf", "/backup/backup.tar.gz", "/data")  # fmt: skip
    done = berth.berth("volume", "restore", "--as", "again", str(tmp_path / "backup.tar.gz"))
    assert "directory data/ became the root" in done.err
    assert "holds no sums" in done.out
    assert trees.difference(before, trees.look(data(berth, "again")), but=["mtime_ns"]) == []
    # …and by the document's own way into what we restored
    berth.berth("run", "--rm", "-v", "again:/data", "busybox", "cat", "/data/sub/file")


@pytest.mark.parametrize("pack", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("prefix", ["", "./", "data/", "var/lib/x/", "/data/"])
def test_plain_archives_of_all_kinds(berth: Berth, tmp_path: Path, pack: str, prefix: str) -> None:
    archive = tmp_path / "archive"
    with tarfile.open(archive, f"w:{pack}") as tar:
        if prefix.strip("./"):
            top = tarfile.TarInfo(prefix)
            top.name, top.type, top.mode, top.uid = prefix, tarfile.DIRTYPE, 0o700, 5
            tar.addfile(top)
        one = tarfile.TarInfo(f"{prefix}dir/file")
        one.name, one.size = f"{prefix}dir/file", 3
        tar.addfile(one, io.BytesIO(b"abc"))
        link = tarfile.TarInfo(f"{prefix}twin")
        link.name, link.type, link.linkname = f"{prefix}twin", tarfile.LNKTYPE, f"{prefix}dir/file"
        tar.addfile(link)
    berth.berth("volume", "restore", "-q", "--as", "plain", str(archive))
    assert sorted(trees.look(data(berth, "plain"))) == [b"", b"dir", b"dir/file", b"twin"]
    assert (data(berth, "plain") / "twin").read_text() == "abc"
    if prefix.strip("./"):
        assert data(berth, "plain").stat().st_uid == 5


def test_a_restore_replaces_only_when_told_and_never_under_a_running_container(berth: Berth, tmp_path: Path) -> None:
    before = filled(berth, "db", (trees.Node(b"", "dir"), trees.Node(b"row", content=b"one")))
    file = str(tmp_path / "db.tar.zst")
    berth.berth("volume", "backup", "-q", "-o", file, "db")
    (data(berth, "db") / "row").write_text("two")
    refused = berth.berth("volume", "restore", file, check=False)
    assert refused.code == 1
    assert "a volume named db is there already" in refused.err
    assert "--overwrite" in refused.err
    berth.berth("run", "-d", "--name", "user", "-v", "db:/data", "busybox", "sleep", "300")
    running = berth.berth("volume", "restore", "--overwrite", file, check=False)
    assert "volume is in use by running containers" in running.err
    assert (data(berth, "db") / "row").read_text() == "two"
    berth.berth("kill", "user")
    wait_for(lambda: not berth.api("GET", "/containers/user/json").body["State"]["Running"], "the end")
    berth.berth("volume", "protect", "db")
    assert "volume is protected" in berth.berth("volume", "restore", "--overwrite", file, check=False).err
    berth.berth("volume", "unprotect", "db")
    berth.berth("volume", "restore", "--overwrite", file)
    assert trees.difference(before, trees.look(data(berth, "db"))) == []
    berth.berth("start", "user")
    assert berth.berth("exec", "user", "cat", "/data/row").out == "one"
    assert left(berth) == []


def test_a_backup_goes_through_a_pipe_both_ways(berth: Berth, tmp_path: Path) -> None:
    before = filled(berth, "piped")
    out = piped(berth, "volume", "backup", "-o", "-", "piped")
    piped(berth, "volume", "restore", "--as", "back", "-", feed=out.stdout)
    assert trees.difference(before, trees.look(data(berth, "back"))) == []
    plain = piped(berth, "volume", "export", "piped")
    (tmp_path / "plain.tar").write_bytes(plain.stdout)
    with tarfile.open(tmp_path / "plain.tar") as tar:  # a reader that is none of ours
        assert tar.getnames()[0] == "."
    piped(berth, "volume", "import", "third", feed=plain.stdout)
    assert trees.difference(before, trees.look(data(berth, "third"))) == []
    again = piped(berth, "volume", "import", "third", feed=plain.stdout, check=False)
    assert b"import third: the volume third holds data. Name another volume" in again.stderr
    assert again.returncode == 1
    assert b"--overwrite" in again.stderr


def test_several_volumes_at_once_and_the_directory_they_are_in(berth: Berth, tmp_path: Path) -> None:
    for name in ("alpha", "beta-1"):
        filled(berth, name, (trees.Node(b"", "dir"), trees.Node(b"f", content=name.encode() * 1000)))
    berth.berth("volume", "backup", "-o", str(tmp_path), "alpha", "beta-1")
    berth.berth("volume", "backup", "-o", str(tmp_path), "alpha")
    found = sorted(path.name for path in tmp_path.iterdir())
    assert len(found) == 3
    assert not [name for name in found if name.startswith(".")]
    rows = [
        json.loads(line)
        for line in berth.berth("volume", "backup", "ls", "--format", "json", str(tmp_path)).out.splitlines()
    ]
    assert [(row["Volume"], row["Files"], row["State"]) for row in rows] == [
        ("alpha", "1", "complete"), ("alpha", "1", "complete"), ("beta-1", "1", "complete")]  # fmt: skip
    dry = berth.berth("volume", "backup", "prune", str(tmp_path), "--keep-last", "1", "--dry-run").out
    assert dry.count("remove ") == 1
    assert dry.count("keep ") == 2
    assert len(list(tmp_path.iterdir())) == 3
    berth.berth("volume", "backup", "prune", str(tmp_path), "--keep-last", "1")
    assert len(list(tmp_path.iterdir())) == 2
    verified = berth.berth("volume", "verify", *map(str, tmp_path.iterdir())).out
    assert verified.count("all as backed up from") == 2


def test_a_volume_with_a_size_comes_back_with_it(berth: Berth, tmp_path: Path) -> None:
    berth.berth("volume", "create", "-o", "size=64m", "sized")
    berth.berth("run", "--rm", "-v", "sized:/data", "busybox", "sh", "-c", "echo row >/data/row; chmod 640 /data/row")
    file = str(tmp_path / "sized.tar.zst")
    berth.berth("volume", "backup", "-q", "-o", file, "sized")
    berth.berth("run", "--rm", "-v", "sized:/data", "busybox", "sh", "-c", "rm /data/row; echo other >/data/other")
    berth.berth("volume", "restore", "--overwrite", file)
    look = ("run", "--rm", "-v", "sized:/data", "busybox", "sh", "-c", "ls /data; cat /data/row; df -m /data | tail -1")
    said = berth.berth(*look).out.splitlines()
    assert said[:2] == ["row", "row"]
    assert int(said[2].split()[1]) < 100  # still its own
    berth.berth("volume", "restore", "--as", "again", file)
    assert berth.api("GET", "/volumes/again").body["Options"] == {"size": "64m"}
    said = berth.berth(
        "run", "--rm", "-v", "again:/data", "busybox", "sh", "-c", "stat -c %a /data/row; cat /data/row; df -m /data"
    ).out
    assert said.startswith("640\nrow\n")
    assert int(said.splitlines()[-1].split()[1]) < 100  # and not what the disk has
    assert left(berth) == []


def _helpers(engine: Berth) -> list[str]:
    """Return the processes of archives below an engine: they are known by its directories in what they have open."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            root = str((entry / "root").readlink()) + str((entry / "cwd").readlink())
        except OSError:
            continue
        own = str(engine.root)
        if (own in line and "tar --create" in line) or (own in root and "_child.py" in line):
            found.append(line)
    return found


def test_an_engine_that_is_killed_leaves_volumes_as_they_were_and_no_helper(own_berth: Berth, tmp_path: Path) -> None:
    before = filled(own_berth, "db", (trees.Node(b"", "dir"), trees.Node(b"row", content=os.urandom(24 << 20))))
    file = tmp_path / "db.tar.zst"
    own_berth.berth("volume", "backup", "-q", "-o", str(file), "db")
    archive = file.read_bytes()
    command = [str(REPO / ".venv/bin/berth"), "volume", "restore", "--overwrite", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=own_berth.environment) as client:
        assert client.stdin is not None
        client.stdin.write(archive[: len(archive) // 2])
        client.stdin.flush()
        stage = own_berth.root / "data/volumes"
        wait_for(lambda: list(stage.glob(".restoring-*/_data/row")), "a file in the stage")
        assert _helpers(own_berth)
        own_berth.kill9()
        wait_for(lambda: not _helpers(own_berth), "the end of the helpers")
        client.stdin.close()
        assert client.wait(timeout=90) == 1
    own_berth.start()
    assert left(own_berth) == []
    assert trees.difference(before, trees.look(data(own_berth, "db"))) == []
    own_berth.berth("volume", "restore", "--overwrite", str(file))

    # …and while a backup is made: no file has the name, none has part of it
    out = tmp_path / "out"
    out.mkdir()
    command = [str(REPO / ".venv/bin/berth"), "volume", "backup", "--compress", "zstd:19", "-o", str(out), "db"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=own_berth.environment) as client:
        wait_for(lambda: _helpers(own_berth), "tar")
        own_berth.kill9()
        wait_for(lambda: not _helpers(own_berth), "the end of the helpers")
        assert client.wait(timeout=90) == 1
    assert list(out.iterdir()) == []
    own_berth.start()
    assert own_berth.berth("volume", "verify", str(file)).ok
