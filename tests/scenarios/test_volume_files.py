"""Files in volumes without a container, and commands with one of their own."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Berth, docker_client, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    berth_engine.docker("volume", "create", "files")
    yield berth_engine
    berth_engine.wipe_containers()
    for name in ("files", "quick"):
        berth_engine.api("DELETE", f"/volumes/{name}")
    berth_engine.api("DELETE", "/berth/volume-trash")


@pytest.fixture
def root(berth: Berth) -> Path:
    return Path(berth.api("GET", "/volumes/files").body["Mountpoint"])


@pytest.fixture
def tree(root: Path) -> Path:
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/file").write_text("inside\n")
    (root / "plain").write_text("one\ntwo\n")
    (root / "plain").chmod(0o640)
    os.chown(root / "plain", 70, 71)
    (root / "link").symlink_to("deep/er/file")
    (root / "bad\nname\x1b").write_text("")
    return root


def cli(engine: Berth, *words: str, check: bool = True, feed: str | None = None) -> str:
    done = engine.berth(*words, check=check, feed=feed)
    return done.out + done.err


def test_listing(berth: Berth, tree: Path) -> None:
    assert cli(berth, "volume", "ls-files", "files").splitlines() == ["bad\\x0aname\\x1b", "deep", "link", "plain"]
    assert cli(berth, "volume", "ls-files", "files:/deep/er") == "file\n"
    assert cli(berth, "volume", "ls-files", "-R", "files:deep").splitlines() == ["er", "er/file"]
    long = cli(berth, "volume", "ls-files", "-l", "files").splitlines()
    assert long[-1].split()[:5] == ["-rw-r-----", "1", "70", "71", "8"]
    assert long[2].endswith(" link -> deep/er/file")
    assert cli(berth, "volume", "ls-files", "files:/plain") == "plain\n"
    assert "no such file" in cli(berth, "volume", "ls-files", "files:/none", check=False)
    assert "get nosuch: no such volume" in cli(berth, "volume", "ls-files", "nosuch", check=False)
    assert tree.is_dir()


def test_reading(berth: Berth, tree: Path) -> None:
    assert cli(berth, "volume", "cat", "files:/plain", "files:link") == "one\ntwo\ninside\n"
    assert "is a directory" in cli(berth, "volume", "cat", "files:/deep", check=False)
    assert "no such file" in cli(berth, "volume", "cat", "files:/none", check=False)
    os.mkfifo(tree / "fifo")
    assert "not a regular file" in cli(berth, "volume", "cat", "files:/fifo", check=False), (
        "and it does not wait for a writer"
    )


def test_copying_out_and_in(berth: Berth, tree: Path, tmp_path: Path) -> None:
    cli(berth, "volume", "cp", "files:/plain", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "one\ntwo\n"
    cli(berth, "volume", "cp", "-a", "files:/deep", str(tmp_path))
    assert (tmp_path / "deep/er/file").read_text() == "inside\n"
    (tmp_path / "whole").mkdir()
    cli(berth, "volume", "cp", "files:/", str(tmp_path / "whole"))
    assert {"deep", "link", "plain"} < set(os.listdir(tmp_path / "whole"))
    with _tar(berth, "files:/deep") as tar:
        assert tar.getnames() == ["deep", "deep/er", "deep/er/file"]
    local = tmp_path / "local"
    (local / "sub").mkdir(parents=True)
    (local / "sub/new").write_text("new\n")
    cli(berth, "volume", "cp", str(local / "sub/new"), "files:/deep")
    cli(berth, "volume", "cp", str(local / "sub/new"), "files:/deep/called")
    cli(berth, "volume", "cp", str(local), "files:/")
    cli(berth, "volume", "cp", f"{local}/.", "files:/deep/er")
    for path in ("deep/new", "deep/called", "local/sub/new", "deep/er/sub/new"):
        assert (tree / path).read_text() == "new\n"
    assert "no such file" in cli(berth, "volume", "cp", str(local), "files:/none/there", check=False)
    assert "cannot copy directory" in cli(berth, "volume", "cp", str(local), "files:/plain/", check=False)
    assert "not a directory" in cli(berth, "volume", "cp", str(local / "sub/new"), "files:/plain/", check=False)


def _tar(berth: Berth, what: str) -> tarfile.TarFile:
    name, _, path = what.partition(":")
    page = f"http://x/berth/volumes/{name}/archive?path={path}"
    berth.host("curl", "-s", "--unix-socket", str(berth.socket), page, "-o", str(berth.root / "out.tar"))
    return tarfile.open(berth.root / "out.tar")


def test_no_symlink_leads_out_of_the_volume(berth: Berth, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret\n")
    (root / "abs").symlink_to(outside)
    (root / "climb").symlink_to("../../../../../../../../.." + str(outside))
    (root / "file").symlink_to(outside / "secret")
    (root / "proc").symlink_to("/proc/self/root" + str(outside))
    for name in ("abs", "climb", "proc"):
        for path in (f"{name}/secret", f"{name}/../{name}/secret", f"x/../../../..{outside}/secret"):
            assert "secret\n" not in cli(berth, "volume", "cat", f"files:/{path}", check=False)
        assert "secret" not in cli(berth, "volume", "ls-files", f"files:/{name}/", check=False)
        cli(berth, "volume", "cp", __file__, f"files:/{name}/", check=False)
        cli(berth, "volume", "cp", __file__, f"files:/{name}/made", check=False)
    assert "secret\n" not in cli(berth, "volume", "cat", "files:/file", check=False)
    hostile = io.BytesIO()
    with tarfile.open(fileobj=hostile, mode="w") as tar:
        for name, link in (("evil", str(outside)), ("up", "../../../.." + str(outside))):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
            info = tarfile.TarInfo(f"{name}/made")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
        info = tarfile.TarInfo("../../../escaped")
        tar.addfile(info)
    berth.api("PUT", "/berth/volumes/files/archive?path=/", hostile.getvalue(),
              headers={"Content-Type": "application/x-tar"})  # fmt: skip
    assert os.listdir(outside) == ["secret"]
    assert not [path for path in root.parent.parent.glob("**/escaped") if root not in path.parents]


def test_a_volume_that_has_to_be_mounted_is_for_as_long_as_somebody_looks(berth: Berth) -> None:
    berth.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "quick")
    where = berth.api("GET", "/volumes/quick").body["Mountpoint"]
    assert cli(berth, "volume", "ls-files", "quick") == ""
    wait_for(lambda: where not in berth.host("cat", "/proc/self/mountinfo").out, "the volume to be unmounted")
    ident = berth.docker("run", "-d", "-v", "quick:/q", "busybox", "sh", "-c", "echo x >/q/f; sleep 600").out.strip()
    wait_for(lambda: cli(berth, "volume", "ls-files", "quick") == "f\n", "the file to be seen")
    assert berth.docker("exec", ident, "cat", "/q/f").out == "x\n", "it stays mounted for its container"
    berth.docker("rm", "-f", ident)


def test_a_command_with_a_volume(berth: Berth, tree: Path) -> None:
    assert cli(berth, "volume", "exec", "files", "--", "cat", "plain") == "one\ntwo\n"
    assert cli(berth, "volume", "exec", "files:/data", "pwd") == "/data\n"
    done = berth.berth(
        "volume", "exec", "-e", "A=b", "-u", "70", "files", "sh", "-c", "id -u; echo $A; exit 7", check=False
    )
    assert (done.code, done.out) == (7, "70\nb\n")
    assert cli(berth, "volume", "exec", "-i", "files", "sh", "-c", "cat >fed", feed="fed\n") == ""
    assert (tree / "fed").read_text() == "fed\n"
    missing = berth.berth("volume", "exec", "nosuch", "true", check=False)
    assert (missing.code, "get nosuch: no such volume" in missing.err) == (1, True)
    unknown = berth.berth("volume", "exec", "files", "no-such-program", check=False)
    assert unknown.code == 127
    assert "files" in json.dumps(berth.api("GET", "/volumes").body)
    assert berth.docker("ps", "-aq").out == ""


def test_why_nothing_can_be_copied_into_a_volume_is_said(berth: Berth, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={missing}")
    berth.berth("volume", "create", *options, "bound")
    refused = berth.berth("volume", "cp", __file__, "bound:/", check=False)
    assert refused.code == 1
    assert f"no such file or directory: is {missing} there? A directory is made with: mkdir -p {missing}" in refused.err
    missing.mkdir()
    assert berth.berth("volume", "cp", "-q", __file__, "bound:/").code == 0
    assert (missing / Path(__file__).name).exists()
    berth.berth("volume", "rm", "bound")


def test_snapshots_are_looked_into_and_not_written(berth: Berth, tree: Path, tmp_path: Path) -> None:
    berth.berth("volume", "snapshot", "create", "files", "before")
    (tree / "plain").write_text("three\n")
    try:
        assert "plain\n" in cli(berth, "volume", "ls-files", "files@before")
        assert cli(berth, "volume", "cat", "files@before:/plain") == "one\ntwo\n"
        berth.berth("volume", "cp", "-q", "files@before:/plain", str(tmp_path / "old"))
        assert (tmp_path / "old").read_text() == "one\ntwo\n"
        assert cli(berth, "volume", "exec", "files@before", "--", "cat", "plain") == "one\ntwo\n"
        assert "Read-only" in cli(berth, "volume", "exec", "files@before", "--", "touch", "plain", check=False)
        refused = berth.berth("volume", "cp", __file__, "files@before:/", check=False)
        assert (
            refused.code,
            "names a snapshot; to make a volume of one: berth volume clone files@before NEW" in refused.err,
        ) == (1, True)
        assert "files@never: no such snapshot" in cli(berth, "volume", "cat", "files@never:/plain", check=False)
        assert "get nobody: no such volume" in cli(berth, "volume", "cat", "nobody@before:/plain", check=False)
    finally:
        berth.berth("volume", "snapshot", "rm", "files@before")


def raw(engine: Berth, which: str, *words: bytes, feed: bytes = b"") -> bytes:
    """Run a client with words that need not be UTF-8."""
    program = docker_client() if which == "docker" else str(REPO / ".venv/bin/berth")
    done = subprocess.run([program.encode(), *words], capture_output=True, input=feed, env=engine.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


ODD = (b"caf\xe9", b"\xff\xfe%41+ &=?#", b"two\nlines", b"\xed\xb0\x80", "schön".encode())


@pytest.mark.parametrize("odd", ODD)
def test_names_that_are_no_text_are_names_all_the_same(berth: Berth, root: Path, tmp_path: Path, odd: bytes) -> None:
    """What a listing says is what every other command takes."""
    place = os.fsencode(root)
    os.mkdir(place + b"/" + odd)
    for name, content in ((b"", b"content of "), (b"copy of ", b"copied ")):
        with open(b"%s/%s/%s%s" % (place, odd, name, odd), "wb") as file:
            file.write(content + odd)
    os.symlink(odd + b"/" + odd, place + b"/link")
    listed = raw(berth, "berth", b"volume", b"ls-files", b"-R", b"-0", b"files").split(b"\0")
    assert set(listed) == {odd, odd + b"/" + odd, odd + b"/copy of " + odd, b"link", b""}
    if b"\n" not in odd:
        assert raw(berth, "berth", b"volume", b"ls-files", b"-R", b"files").split(b"\n")[:-1] == listed[:-1]
        assert odd + b"/" + odd in raw(berth, "berth", b"volume", b"ls-files", b"-l", b"files")
    for path in (b"link", odd + b"/" + odd):
        assert raw(berth, "berth", b"volume", b"cat", b"files:" + path) == b"content of " + odd
    out = os.fsencode(tmp_path) + b"/" + odd
    raw(berth, "berth", b"volume", b"cp", b"files:/" + odd, out)
    assert sorted(os.listdir(out)) == sorted([odd, b"copy of " + odd])
    raw(berth, "berth", b"volume", b"cp", out + b"/" + odd, b"files:/" + odd + b"/new " + odd)
    assert raw(berth, "berth", b"volume", b"cat", b"files:" + odd + b"/new " + odd) == b"content of " + odd
    missing = berth.berth("volume", "cat", os.fsdecode(b"files:" + odd + b"/none"), check=False)
    assert missing.code == 1
    assert "no such file or directory" in missing.err


def test_a_tar_with_names_that_are_no_text_goes_in_and_out(berth: Berth, root: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for odd in ODD:
            about = tarfile.TarInfo(os.fsdecode(odd))
            about.size = len(odd)
            tar.addfile(about, io.BytesIO(odd))
    raw(berth, "berth", b"volume", b"cp", b"-", b"files:/", feed=packed.getvalue())
    assert sorted(os.listdir(os.fsencode(root))) == sorted(ODD)
    out = io.BytesIO(raw(berth, "berth", b"volume", b"cp", b"files:/", b"-"))
    with tarfile.open(fileobj=out, errors="surrogateescape") as tar:
        found = {os.fsencode(one.name).removeprefix(b"./"): one for one in tar if one.isfile()}
        assert found.keys() == set(ODD)


@pytest.mark.parametrize("which", ["docker", "berth"])
def test_a_container_has_files_of_such_names_copied(berth: Berth, tmp_path: Path, which: str) -> None:
    odd = b"caf\xe9"
    berth.docker("create", "--name", "odd", "-v", "files:/d", "busybox")
    source = os.fsencode(tmp_path) + b"/" + odd
    with open(source, "wb") as file:
        file.write(b"inside")
    raw(berth, which, b"cp", source, b"odd:/d/" + odd)
    raw(berth, which, b"cp", b"odd:/d/" + odd, source + b" again")
    with open(source + b" again", "rb") as file:
        assert file.read() == b"inside"
    assert raw(berth, "berth", b"volume", b"cat", b"files:" + odd) == b"inside"
