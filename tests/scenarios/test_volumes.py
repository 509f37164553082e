"""Data that outlives containers: stories told to Berth and to the original alike."""

import io
import os
import re
import tarfile
import threading
from pathlib import Path

import pytest

from tests.support.clients import docker_client_version
from tests.support.engines import Berth, Engine, wait_for

pytestmark = pytest.mark.root


def _image(engine: Engine, busybox: Path, name: str, outside: Path) -> None:
    """Import busybox with content to copy up, and with symlinks that point out of it."""
    data = io.BytesIO(busybox.read_bytes())
    with tarfile.open(fileobj=data, mode="a") as tar:

        def add(path: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object) -> None:
            info = tarfile.TarInfo(path)
            info.type, info.size, info.mode, info.mtime = kind, len(content), 0o644, 1_500_000_000
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))

        add("srv/data", tarfile.DIRTYPE, mode=0o1770, uid=70, gid=71)
        add("srv/data/page", content=b"from image\n", uid=1000, gid=1001, mode=0o640)
        add("srv/data/deep", tarfile.DIRTYPE, mode=0o711)
        add("srv/data/deep/link", tarfile.SYMTYPE, linkname="../page")
        add("srv/data/twin", tarfile.LNKTYPE, linkname="srv/data/page", uid=1000, gid=1001, mode=0o640)
        add("trap", tarfile.SYMTYPE, linkname=str(outside))
        add("climb", tarfile.SYMTYPE, linkname="../../../../../../../../.." + str(outside))
    answer = engine.api("POST", f"/images/create?fromSrc=-&repo={name}&changes=CMD%20%5B%22sh%22%5D"
                        "&changes=ENV%20PATH=/bin", data.getvalue(), headers={"Content-Type": "application/x-tar"},
                        timeout=120)  # fmt: skip
    assert answer.status == 200, answer


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside")


@pytest.fixture
def place(place: Engine, busybox: Path, outside: Path) -> Engine:
    if place.api("GET", "/images/voldata/json").status == 404:
        _image(place, busybox, "voldata", outside)
    return place


def names(engine: Engine) -> set[str]:
    return {one["Name"] for one in engine.api("GET", "/volumes").body["Volumes"] or ()}


def data(engine: Engine, name: str) -> Path:
    return Path(engine.api("GET", f"/volumes/{name}").body["Mountpoint"])


def run(engine: Engine, *words: str, check: bool = True) -> str:
    done = engine.docker("run", "--rm", *words, check=check)
    return done.out + done.err


def test_data_outlives_its_container(place: Engine) -> None:
    run(place, "-v", "story:/data", "busybox", "sh", "-c", "echo one >/data/file")
    assert run(place, "-v", "story:/data:ro", "busybox", "cat", "/data/file") == "one\n"
    assert "Read-only file system" in run(place, "-v", "story:/data:ro", "busybox", "touch", "/data/x", check=False)


def test_two_containers_share_a_volume(place: Engine) -> None:
    writer = place.docker("run", "-d", "-v", "shared:/a", "busybox", "sleep", "600").out.strip()
    reader = place.docker("run", "-d", "-v", "shared:/b", "busybox", "sleep", "600").out.strip()
    place.docker("exec", writer, "sh", "-c", "echo hello >/a/f")
    assert place.docker("exec", reader, "cat", "/b/f").out == "hello\n"


def test_an_empty_volume_is_filled_from_the_image(place: Engine) -> None:
    listing = run(
        place, "-v", "filled:/srv/data", "voldata", "sh", "-c", "cd /srv/data; stat -c '%n %a %u %g %h' . * deep/link"
    )
    assert listing.splitlines() == [". 1770 70 71 3", "deep 711 0 0 2", "page 640 1000 1001 2", "twin 640 1000 1001 2",
                                    "deep/link 777 0 0 1"]  # fmt: skip
    assert (data(place, "filled") / "page").stat().st_mtime == 1_500_000_000
    (data(place, "filled") / "page").write_text("mine\n")
    assert run(place, "-v", "filled:/srv/data", "voldata", "cat", "/srv/data/page") == "mine\n"


def test_a_volume_with_content_or_nocopy_is_left_alone(place: Engine) -> None:
    run(place, "-v", "busy:/d", "busybox", "touch", "/d/mine")
    assert run(place, "-v", "busy:/srv/data", "voldata", "ls", "/srv/data") == "mine\n"
    assert run(place, "-v", "bare:/srv/data:nocopy", "voldata", "ls", "-A", "/srv/data") == ""
    assert run(place, "--mount", "type=volume,source=bare2,target=/srv/data,volume-nocopy", "voldata",
               "ls", "-A", "/srv/data") == ""  # fmt: skip


def test_a_volume_emptied_on_purpose_stays_empty(place: Engine) -> None:
    ident = place.docker("create", "-v", "emptied:/srv/data", "voldata", "sh", "-c", "rm -rf /srv/data/*").out.strip()
    for _ in range(2):
        place.docker("start", "-a", ident)
        assert os.listdir(data(place, "emptied")) == []


def test_anonymous_volumes_go_when_told(place: Engine) -> None:
    before = names(place)
    run(place, "-v", "/anon", "busybox", "true")
    assert names(place) == before
    kept = place.docker("create", "-v", "/anon", "busybox").out.strip()
    (name,) = names(place) - before
    assert re.fullmatch("[0-9a-f]{64}", name)
    place.docker("rm", kept)
    assert name in names(place)
    gone = place.docker(
        "create", "-v", "/anon", "--mount", "type=volume,target=/m", "-v", "named:/n", "busybox"
    ).out.strip()
    place.docker("rm", "-v", gone)
    assert names(place) == before | {name, "named"}


def test_volumes_of_another_container(place: Engine) -> None:
    first = place.docker("run", "-d", "-v", "vf:/v", "-v", "/anon", "busybox", "sleep", "600").out.strip()
    place.docker("exec", first, "sh", "-c", "echo x >/v/f; echo y >/anon/g")
    assert run(place, "--volumes-from", first, "busybox", "cat", "/v/f", "/anon/g") == "x\ny\n"
    assert "Read-only" in run(place, "--volumes-from", f"{first}:ro", "busybox", "touch", "/v/z", check=False)
    assert place.docker("exec", first, "cat", "/anon/g").out == "y\n", "--rm of the guest spares the host's volume"
    second = place.docker("create", "--volumes-from", first, "-v", "own:/v", "busybox", "sleep", "600").out.strip()
    mounts = {m["Destination"]: m for m in place.api("GET", f"/containers/{second}/json").body["Mounts"]}
    assert set(mounts) == {"/v", "/anon"}
    assert mounts["/v"]["Name"] == "own"


def test_bind_mounts_of_files_and_directories(place: Engine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content\n")
    made = tmp_path / "made/by/engine"
    out = run(place, "-v", f"{file}:/etc/one:ro", "-v", f"{made}:/d", "-v", "inner:/d/in", "busybox", "sh", "-c",
              "cat /etc/one; echo a >/d/a; echo b >/d/in/b")  # fmt: skip
    assert out == "content\n"
    assert (made / "a").read_text() == "a\n"
    assert (data(place, "inner") / "b").read_text() == "b\n"
    assert made.stat().st_mode & 0o7777 == 0o755
    missing = run(place, "--mount", f"type=bind,source={tmp_path}/none,target=/x", "busybox", "true", check=False)
    assert f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/none' in missing


def test_tmpfs(place: Engine) -> None:
    lines = run(place, "--tmpfs", "/a", "--tmpfs", "/b:rw,exec,size=1m,mode=700,uid=5",
                "--mount", "type=tmpfs,target=/c,tmpfs-size=1m,tmpfs-mode=755", "busybox", "sh", "-c",
                "grep -E ' /[abc] ' /proc/mounts; stat -c '%n %a %u' /a /b /c")  # fmt: skip
    options = {line.split()[1]: set(line.split()[3].split(",")) for line in lines.splitlines() if " tmpfs " in line}
    assert options["/a"] >= {"rw", "nosuid", "nodev", "noexec"}
    assert options["/b"] >= {"rw", "nosuid", "nodev", "size=1024k", "mode=700", "uid=5"}
    assert "noexec" not in options["/b"]
    assert options["/c"] >= {"noexec", "size=1024k", "mode=755"}
    assert lines.splitlines()[-3:] == ["/a 1777 0", "/b 700 5", "/c 755 0"]


def test_a_tmpfs_volume_is_shared_while_used(place: Engine) -> None:
    place.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "quick")
    first = place.docker("run", "-d", "-v", "quick:/q", "busybox", "sleep", "600").out.strip()
    place.docker("exec", first, "sh", "-c", "echo x >/q/f")
    assert run(place, "-v", "quick:/q", "busybox", "sh", "-c", "cat /q/f; stat -c %u /q") == "x\n7\n"
    place.docker("rm", "-f", first)
    assert run(place, "-v", "quick:/q", "busybox", "ls", "-A", "/q") == ""


def test_symlinks_of_an_image_do_not_reach_the_host(place: Engine, outside: Path) -> None:
    for target in ("/trap", "/trap/sub", "/climb/sub"):
        run(place, "-v", f"hostile:{target}", "voldata", "sh", "-c", f"echo x >{target}/mark", check=False)
        assert os.listdir(outside) == []


def test_used_means_by_any_container(place: Engine) -> None:
    ident = place.docker("create", "-v", "held:/h", "busybox").out.strip()
    for force in ((), ("-f",)):
        refused = place.docker("volume", "rm", *force, "held", check=False)
        assert (refused.code, f"remove held: volume is in use - [{ident}]" in refused.err) == (1, True)
    assert "held\n" not in place.docker("volume", "ls", "-q", "-f", "dangling=true").out
    place.docker("rm", ident)
    assert "held\n" in place.docker("volume", "ls", "-q", "-f", "dangling=true").out
    assert place.docker("volume", "rm", "held").out == "held\n"


def test_pruning(place: Engine) -> None:
    place.docker("volume", "create", "--label", "keep=1", "labelled")
    place.docker("volume", "create", "plain")
    place.docker("create", "-v", "used:/u", "busybox")
    place.docker("rm", place.docker("create", "-v", "/anon", "busybox").out.strip())
    everything = names(place)
    # Neither 20.10 nor its client speaks a version in which named volumes are spared.
    if place.kind == "berth" and docker_client_version() >= 23:
        out = place.docker("volume", "prune", "-f").out
        assert "Total reclaimed space: " in out
        assert everything - names(place) == {name for name in everything if re.fullmatch("[0-9a-f]{64}", name)}
    answer = place.api("POST", "/v1.41/volumes/prune?filters=%7B%22label%21%22%3A%5B%22keep%22%5D%7D")
    assert "plain" in answer.body["VolumesDeleted"] or place.kind == "dockerd"
    assert names(place) >= {"labelled", "used"}
    assert "plain" not in names(place)


def test_many_makers_of_one_name(place: Engine) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(place.api("POST", "/volumes/create", {"Name": "many"}).status))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 12
    assert sorted(names(place)).count("many") == 1


def test_disk_usage(place: Engine) -> None:
    run(place, "-v", "sized:/s", "busybox", "sh", "-c", "head -c 1000 /dev/zero >/s/f")
    place.docker("create", "-v", "sized:/s", "busybox")
    rows = {row["Name"]: row["UsageData"] for row in place.api("GET", "/v1.41/system/df").body["Volumes"]}
    assert rows["sized"] == {"RefCount": 1, "Size": 1000}


def test_events(place: Engine) -> None:
    since = place.docker("run", "--rm", "busybox", "date", "+%s").out.strip()
    run(place, "-v", "told:/t", "busybox", "true")
    place.docker("volume", "rm", "told")
    until = str(int(since) + 5)
    seen = place.docker(
        "events", "--since", since, "--until", until, "-f", "volume=told", "--format", "{{.Action}}"
    ).out
    assert [line for line in seen.split() if line in ("create", "mount", "unmount", "destroy")] == [
        "create", "mount", "unmount", "destroy"]  # fmt: skip


def test_a_restarted_berth_knows_its_volumes(own_berth: Berth) -> None:
    own_berth.docker("volume", "create", "--label", "a=b", "durable")
    ident = own_berth.docker("run", "-d", "-v", "durable:/d", "-v", "/anon", "busybox", "sleep", "600").out.strip()
    own_berth.docker("exec", ident, "sh", "-c", "echo x >/d/f")
    before = own_berth.api("GET", "/volumes").body
    own_berth.kill9()
    own_berth.start()
    assert own_berth.api("GET", "/volumes").body == before
    assert own_berth.docker("exec", ident, "cat", "/d/f").out == "x\n"
    assert own_berth.api("DELETE", "/volumes/durable").status == 409
    own_berth.docker("rm", "-f", "-v", ident)
    assert len(names(own_berth)) == 1


def test_a_mounted_volume_survives_a_crash_and_goes_with_its_last_user(own_berth: Berth) -> None:
    own_berth.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "quick")
    lives = own_berth.docker("run", "-d", "-v", "quick:/q", "busybox", "sleep", "600").out.strip()
    dies = own_berth.docker("run", "-d", "-v", "quick:/q", "--stop-timeout", "0", "busybox", "sleep", "600").out.strip()
    own_berth.docker("exec", lives, "sh", "-c", "echo x >/q/f")
    where = data(own_berth, "quick")
    pid = own_berth.api("GET", f"/containers/{dies}/json").body["State"]["Pid"]
    own_berth.kill9()
    os.kill(pid, 9)
    own_berth.start()
    assert own_berth.docker("exec", lives, "cat", "/q/f").out == "x\n"
    assert run(own_berth, "-v", "quick:/q", "busybox", "cat", "/q/f") == "x\n"
    own_berth.docker("rm", "-f", lives)

    def mounted() -> bool:
        return str(where) in own_berth.host("cat", "/proc/self/mountinfo").out

    wait_for(lambda: not mounted(), "the volume to be unmounted")
    own_berth.docker("rm", dies)
    assert own_berth.docker("volume", "rm", "quick").ok


def test_a_crash_while_a_volume_is_filled_loses_nothing(own_berth: Berth, busybox: Path, outside: Path) -> None:
    _image(own_berth, busybox, "voldata", outside)
    own_berth.docker("volume", "create", "half")
    where = data(own_berth, "half")
    own_berth.kill9()
    (where.parent / ".filling").touch()  # as if killed after the first file
    (where / "page").write_text("from image\n")
    own_berth.start()
    assert sorted(run(own_berth, "-v", "half:/srv/data", "voldata", "ls", "/srv/data").split()) == [
        "deep",
        "page",
        "twin",
    ]
    assert not (where.parent / ".filling").exists()
