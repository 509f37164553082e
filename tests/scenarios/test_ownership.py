"""Whose the files of a mount are: given away (:U), seen as others' (bind-idmap), warned of before it hurts."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.test_image_mounts import tree
from tests.support.engines import Berth, import_tree

pytestmark = pytest.mark.root


def owner(path: Path) -> tuple[int, int]:
    seen = path.lstat()
    return seen.st_uid, seen.st_gid


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory of 1500:1501 with a file, a directory, a link that leads out, somebody else's file."""
    top = tmp_path / "files"
    (top / "sub").mkdir(parents=True)
    (top / "sub/deep").write_text("deep\n")
    (top / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("")
    for path in (top, top / "sub", top / "sub/deep"):
        os.chown(path, 1500, 1501)
    (top / "roots").write_text("")
    return top


def test_a_tree_is_given_to_the_containers_user_once(berth: Berth, files: Path, tmp_path: Path) -> None:
    ident = berth.docker("create", "-u", "77:78", "-v", f"{files}:/f:U", "busybox", "touch", "/f/sub/new").out.strip()
    assert owner(files) == (1500, 1501)
    berth.docker("start", "-a", ident)
    assert {owner(path) for path in (files, *files.rglob("*"))} == {(77, 78)}
    assert owner(tmp_path / "outside") == (0, 0)
    # once: what changes hands later stays so
    os.chown(files / "sub/deep", 9, 9)
    berth.docker("start", "-a", ident)
    assert owner(files / "sub/deep") == (9, 9)


def test_a_volume_filled_from_the_image_is_given_after_that(berth: Berth) -> None:
    import_tree(berth, "page", tree({"srv/page": b"x"}))
    for form in (("-v", "given:/srv:U"), ("--mount", "type=volume,source=given2,target=/srv,U")):
        done = berth.berth("run", "--rm", "-u", "77:78", *form, "--entrypoint", "", "page", "/none", check=False)
        assert not done.ok
    for name in ("given", "given2"):
        assert owner(berth.data_root / f"volumes/{name}/_data/page") == (77, 78)
        assert owner(berth.data_root / f"volumes/{name}/_data") == (77, 78)
    berth.docker("rmi", "page")


@pytest.mark.parametrize("place", ["/", "/etc", "/etc/ssl", "/usr/local", "/home", "/var/lib", "/tmp"])
def test_directories_of_the_system_are_given_to_nobody(berth: Berth, place: str) -> None:
    before = owner(Path(place))
    refused = berth.docker("create", "-u", "77", "-v", f"{place}:/f:U", "busybox", check=False)
    assert not refused.ok
    assert f"{place} is a directory of the system: its owner is not changed" in refused.err
    assert owner(Path(place)) == before


def test_nor_through_a_symlink_put_there_later(berth: Berth, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ident = berth.docker("create", "-u", "77", "-v", f"{tmp_path}/mine:/f:U", "busybox", "true").out.strip()
    (tmp_path / "mine").rmdir()
    (tmp_path / "mine").symlink_to("/etc/ssl")
    refused = berth.docker("start", ident, check=False)
    assert "is a directory of the system" in refused.err
    assert owner(Path("/etc/ssl")) == (0, 0)


def test_the_engines_own_directory_is_given_to_nobody(berth: Berth) -> None:
    for place in (berth.data_root, berth.data_root / "volumes"):
        refused = berth.docker("create", "-u", "77", "-v", f"{place}:/f:U", "busybox", check=False)
        assert "is a directory of the system" in refused.err


def test_other_owners_through_one_mount(berth: Berth, files: Path) -> None:
    mount = ("--mount", f"type=bind,source={files},target=/f,bind-idmap")
    seen = berth.berth("run", "--rm", "-u", "77:78", *mount, "busybox", "sh", "-c",
                       "cd /f; touch new sub/new; stat -c '%n %u %g' . sub/deep roots new").out  # fmt: skip
    assert seen.splitlines() == [". 77 78", "sub/deep 77 78", "roots 0 0", "new 77 78"]
    # on the host everything is as it was, and what is new belongs to whose directory it is
    assert owner(files / "sub/deep") == owner(files / "new") == owner(files / "sub/new") == (1500, 1501)
    assert owner(files / "roots") == (0, 0)


def test_another_user_by_name(berth: Berth, files: Path) -> None:
    accounts = tree({"etc/passwd": b"web:x:300:301::/:\n", "etc/group": b"web:x:301:\n"})
    data = subprocess.run(["busybox", "--list"], capture_output=True, check=True)
    assert data.stdout
    import_tree(berth, "accounts", accounts)
    mount = {"Type": "bind", "Source": str(files), "Target": "/f", "ReadOnly": True,
             "BindOptions": {"IDMapping": {"Source": "match-user", "User": "web"}}}  # fmt: skip
    busy = {"Type": "image", "Source": "busybox", "Target": "/bb"}
    made = berth.api("POST", "/containers/create", {
        "Image": "accounts", "Cmd": ["/bb/bin/busybox", "stat", "-c", "%u %g", "/f/sub/deep"],
        "HostConfig": {"Mounts": [mount, busy]},
    })  # fmt: skip
    assert made.status == 201, made
    assert berth.docker("start", "-a", made.body["Id"]).out == "300 301\n"
    berth.docker("rm", made.body["Id"])
    berth.docker("rmi", "accounts")


def test_other_owners_put_into_a_running_container(berth: Berth, files: Path) -> None:
    berth.docker("run", "-d", "--name", "idlive", "-u", "77:78", "busybox", "sleep", "1000")
    berth.berth("update", "--mount-add", f"type=bind,source={files},target=/f,bind-idmap", "idlive")
    assert berth.docker("exec", "idlive", "sh", "-c", "touch /f/live; stat -c '%u %g' /f/sub/deep").out == "77 78\n"
    assert owner(files / "live") == (1500, 1501)
    berth.docker("restart", "-t", "0", "idlive")
    assert berth.docker("exec", "idlive", "stat", "-c", "%u %g", "/f/live").out == "77 78\n"
    berth.berth("update", "--mount-rm", "/f", "idlive")


def test_a_file_system_that_cannot_says_so(berth: Berth) -> None:
    done = berth.berth("run", "--rm", "-u", "77", "--mount", "type=bind,source=/proc,target=/f,bind-idmap", "busybox",
                       "true", check=False)  # fmt: skip
    assert "cannot map the owners of /proc: its file system, or one below it, does not take other owners" in done.err


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"BindOptions": {"IDMapping": {"Source": "userns"}}}, "user namespace of its own"),
        ({"BindOptions": {"IDMapping": {"Source": "odd"}}}, "invalid IDMapping source: odd"),
        ({"BindOptions": {"IDMapping": {}}}, "invalid IDMapping source: "),
        ({"BindOptions": {"IDMapping": {"Source": "match-user"}, "Propagation": "rslave"}}, "needs the propagation"),
        ({"BindOptions": {"IDMapping": {"Source": "match-user"}}, "Chown": True}, "exclude each other"),
    ],
)
def test_mappings_that_cannot_be(berth: Berth, mount: dict[str, object], words: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/srv", "Target": "/f"} | mount]}}
    answer = berth.api("POST", "/containers/create", body)
    assert answer.status == 400
    assert words in answer.message


def warned(engine: Berth, *words: str) -> str:
    return engine.docker("create", *words, "busybox").err


def test_a_user_who_cannot_write_is_warned_of(berth: Berth, files: Path, tmp_path: Path) -> None:
    bind = ("-v", f"{files}:/f")
    said = warned(berth, "-u", "77:78", *bind)
    assert f"The container runs as 77:78 and cannot write to /f: {files} belongs to 1500:1501, mode 0755" in said
    assert f"chown 77:78 {files}" in said
    assert "cannot write to /v: volume fresh belongs to 0:0, mode 0755" in warned(berth, "-u", "77", "-v", "fresh:/v")
    assert "cannot write to /m" in warned(berth, "-u", "77", "-v", f"{tmp_path}/missing:/m")
    # the same for a mount that comes later, in a container that runs and in one that does not
    berth.docker("run", "-d", "--name", "runs", "-u", "77:78", "busybox", "sleep", "600")
    berth.docker("create", "--name", "rests", "-u", "77:78", "busybox")
    for name in ("runs", "rests"):
        added = berth.berth("update", name, "--mount-add", f"type=bind,source={files},target=/f")
        assert f"cannot write to /f: {files} belongs to 1500:1501, mode 0755" in added.err
        added = berth.berth("update", name, "--mount-add", f"type=volume,source=for-{name},target=/tmp/mine,U")
        assert "cannot write" not in added.err
        added = berth.berth("update", name, "--mount-add", f"type=bind,source={files},target=/g,readonly")
        assert "cannot write" not in added.err, "only of what is new, and written to"
    # root, the owner, a group that may, an ACL that lets, mounts that are not written to
    for fine in (("-u", "0"), ("-u", "1500"), ()):
        assert "cannot write" not in warned(berth, *fine, *bind)
    files.chmod(0o775)
    assert "cannot write" in warned(berth, "-u", "77:78", *bind)
    assert "cannot write" not in warned(berth, "-u", "77:1501", *bind)
    assert "cannot write" not in warned(berth, "-u", "77:78", "--group-add", "1501", *bind)
    subprocess.run(["setfacl", "-m", "u:77:rwx", files], check=True)
    assert "cannot write" not in warned(berth, "-u", "77:78", *bind)
    assert "cannot write" in warned(berth, "-u", "76:78", *bind)
    for mode in ("ro", "U"):
        assert "cannot write" not in warned(berth, "-u", "76", "-v", f"{files}:/f:{mode}")


def test_a_volume_the_image_gives_to_its_user_is_no_reason_to_warn(berth: Berth, busybox: Path) -> None:
    data = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        subprocess.run(["tar", "xf", busybox, "-C", data], check=True)
        (Path(data) / "srv").mkdir(exist_ok=True)
        os.chown(Path(data) / "srv", 77, 78)
        tar = subprocess.run(["tar", "c", "-C", data, "."], capture_output=True, check=True).stdout
    finally:
        subprocess.run(["rm", "-r", data], check=True)
    import_tree(berth, "owned", tar)
    made = berth.docker("create", "-u", "77:78", "-v", "oo:/srv", "owned")
    assert made.err == ""
    assert berth.docker("start", "-a", made.out.strip()).ok
    berth.wipe_containers()
    berth.docker("rmi", "owned")
