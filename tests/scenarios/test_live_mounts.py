"""Mounts that come to a running container, go, are replaced, stay over restarts and crashes. Docker has none of it."""

import json
import os
from pathlib import Path

import pytest

from tests.scenarios.test_image_mounts import tree
from tests.support.engines import Answer, Berth, Done, import_tree, wait_for

pytestmark = pytest.mark.root


def start(engine: Berth, *words: str) -> str:
    engine.docker("run", "-d", "--name", "live", *words, "busybox", "sleep", "1000")
    return "live"


def inside(engine: Berth, script: str) -> Done:
    return engine.docker("exec", "live", "sh", "-c", script, check=False)


def update(engine: Berth, *words: str, check: bool = True) -> Done:
    return engine.berth("update", *words, "live", check=check)


def mounts(engine: Berth) -> dict[str, str]:
    """Return what inspection says: target → what is there."""
    shown = engine.api("GET", "/containers/live/json").body["Mounts"]
    return {one["Destination"]: one.get("Name") or one["Source"] for one in shown}


def test_a_volume_comes_and_goes(berth: Berth) -> None:
    start(berth)
    assert update(berth, "--mount-add", "type=volume,source=lv,target=/new/deep").out == "live\n"
    assert inside(berth, "echo hello >/new/deep/f; cat /new/deep/f").out == "hello\n"
    assert (berth.data_root / "volumes/lv/_data/f").read_text() == "hello\n"
    assert mounts(berth) == {"/new/deep": "lv"}
    refused = berth.api("DELETE", "/volumes/lv")
    assert refused.status == 409
    assert "volume is in use" in refused.message
    # kept over a restart
    berth.docker("restart", "-t", "0", "live")
    assert inside(berth, "cat /new/deep/f").out == "hello\n"
    update(berth, "--mount-rm", "/new/deep")
    assert inside(berth, "ls -A /new/deep").out == ""
    assert mounts(berth) == {}
    assert berth.api("DELETE", "/volumes/lv").status == 204
    berth.docker("restart", "-t", "0", "live")
    assert inside(berth, "ls -A /new/deep").out == ""


def test_every_kind_of_mount(berth: Berth, tmp_path: Path) -> None:
    import_tree(berth, "shelf", tree({"site/index": b"page\n"}))
    (tmp_path / "file").write_text("f\n")
    (tmp_path / "dir/sub").mkdir(parents=True)
    start(berth)
    update(berth,
           "--mount-add", f"type=bind,source={tmp_path}/dir,target=/b",
           "--mount-add", f"type=bind,source={tmp_path}/dir,target=/ro,readonly",
           "--mount-add", f"type=bind,source={tmp_path}/file,target=/etc/file",
           "--mount-add", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770",
           "--mount-add", "type=image,source=shelf,target=/i,image-subpath=site")  # fmt: skip
    assert inside(berth, "touch /b/x; ls /b").out == "sub\nx\n"
    assert "Read-only file system" in inside(berth, "touch /ro/x").err
    assert inside(berth, "cat /etc/file /i/index").out == "f\npage\n"
    assert "Read-only file system" in inside(berth, "touch /i/x").err
    assert inside(berth, "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'").out == "1770\n1024\n"
    # the same after a restart as before
    berth.docker("restart", "-t", "0", "live")
    assert inside(berth, "cat /etc/file /i/index; stat -c %a /t; ls /b").out == "f\npage\n1770\nsub\nx\n"
    update(berth, *(word for target in ("/b", "/ro", "/etc/file", "/t", "/i") for word in ("--mount-rm", target)))
    assert inside(berth, "grep -cE ' /(b|ro|etc/file|t|i) ' /proc/mounts").out == "0\n"
    berth.docker("rm", "-f", "live")
    berth.docker("rmi", "shelf")


def test_one_volume_in_place_of_another_without_a_gap(berth: Berth) -> None:
    for name in ("va", "vb"):
        berth.docker("run", "--rm", "-v", f"{name}:/d", "busybox", "sh", "-c", f"echo {name} >/d/name")
    start(berth, "-v", "va:/d")
    berth.docker("exec", "-d", "live", "sh", "-c", "while :; do cat /d/name || echo gap; done >/log 2>&1")
    for name in ("vb", "va", "vb"):
        update(berth, "--mount-rm", "/d", "--mount-add", f"type=volume,source={name},target=/d")
        assert inside(berth, "cat /d/name").out == f"{name}\n"
        assert inside(berth, "grep -c ' /d ' /proc/mounts").out == "1\n"
    assert "gap" not in inside(berth, "sort /log | uniq").out
    assert mounts(berth) == {"/d": "vb"}


def test_an_empty_volume_is_filled_from_the_image_as_at_a_start(berth: Berth) -> None:
    import_tree(berth, "content", tree({"srv/data/page": b"image\n", "bin/x": b""}))
    ident = berth.docker("create", "--name", "live", "-v", "kept:/srv/data", "busybox", "sleep", "1000").out.strip()
    del ident
    berth.docker("rm", "live")
    start(berth)
    inside(berth, "mkdir -p /srv/data; echo mine >/srv/data/page")
    update(berth, "--mount-add", "type=volume,source=lf,target=/srv/data")
    assert inside(berth, "cat /srv/data/page").out == "mine\n"
    update(berth, "--mount-add", "type=volume,source=ln,target=/bin2,volume-nocopy")
    assert inside(berth, "ls -A /bin2").out == ""
    # emptied on purpose, it stays empty over a restart
    inside(berth, "rm /srv/data/page")
    berth.docker("restart", "-t", "0", "live")
    assert inside(berth, "ls -A /srv/data").out == ""
    berth.docker("rmi", "content")


def test_a_container_that_does_not_run_has_its_record_changed(berth: Berth) -> None:
    start(berth)
    inside(berth, "mkdir /d; echo below >/d/page")
    berth.docker("kill", "live")
    update(berth, "--mount-add", "type=volume,source=ls,target=/d")
    assert mounts(berth) == {"/d": "ls"}
    berth.docker("start", "live")
    assert inside(berth, "cat /d/page").out == "below\n"
    inside(berth, "rm /d/page")
    berth.docker("restart", "-t", "0", "live")
    assert inside(berth, "ls -A /d").out == ""


REFUSED = [
    (["--mount-rm", "/none"], "has no mount at /none; its mounts are at /d, /d/below"),
    (["--mount-add", "type=volume,target=/d"], "Duplicate mount point: /d"),
    (["--mount-rm", "/d"], "has another below it at /d/below"),
    (["--mount-add", "type=bind,source=/nonesuch,target=/x"], "bind source path does not exist: /nonesuch"),
    (["--mount-add", "type=volume,source=lx,target=/etc/passwd/x"], "is not directory"),
    (["--mount-add", "type=volume,source=lx,target=/etc"], "nothing can be mounted"),
    (["--mount-add", "type=volume,source=lx,target=/proc/1"], ""),
    (["--mount-add", "type=image,source=nonesuch,target=/x"], "No such image: nonesuch"),
    (["--mount-add", "type=volume,source=lx,target=/x,volume-subpath=gone"], "gone"),
    (["--mount-add", "type=tmpfs,target=/x", "--mount-add", "type=tmpfs,target=/x"], "Duplicate mount point: /x"),
    (["--mount-add", "type=volume,source=l,target=/x"], "volume name is too short"),
]


def test_what_cannot_be_leaves_nothing(berth: Berth) -> None:
    start(berth, "-v", "ld:/d", "-v", "lb:/d/below")
    inside(berth, "touch /etc/passwd")
    # numbers of mounts differ where one was taken away and put back: places and what is there do not
    places = [line.split()[3:5] for line in inside(berth, "cat /proc/self/mountinfo").out.splitlines()]
    for words, said in REFUSED:
        done = update(berth, *words, check=False)
        assert done.code == 1, words
        assert said in done.err
        now = [line.split()[3:5] for line in inside(berth, "cat /proc/self/mountinfo").out.splitlines()]
        assert now == places, words
        assert mounts(berth) == {"/d": "ld", "/d/below": "lb"}
        assert berth.api("GET", "/volumes/lx").status == 404
        assert not (berth.layout.bundle(identity(berth)) / "mounts.change").exists()


def identity(engine: Berth) -> str:
    return str(engine.api("GET", "/containers/live/json").body["Id"])


def test_what_lies_below_comes_along(berth: Berth) -> None:
    start(berth, "-v", "below:/d/e/f")
    inside(berth, "echo deep >/d/e/f/x")
    update(berth, "--mount-add", "type=volume,source=above,target=/d")
    assert inside(berth, "cat /d/e/f/x; grep -c ' /d[/ ]' /proc/mounts").out == "deep\n2\n"
    update(berth, "--mount-rm", "/d", "--mount-add", "type=tmpfs,target=/d")
    assert inside(berth, "cat /d/e/f/x; grep -c ' /d[/ ]' /proc/mounts").out == "deep\n2\n"


def test_a_read_only_container_gets_mounts_where_there_is_nothing_yet(berth: Berth) -> None:
    start(berth, "--read-only")
    update(berth, "--mount-add", "type=volume,source=lr,target=/fresh/place")
    assert inside(berth, "echo x >/fresh/place/f; cat /fresh/place/f").out == "x\n"


def test_a_paused_container_has_it_when_it_goes_on(berth: Berth) -> None:
    start(berth)
    berth.docker("pause", "live")
    update(berth, "--mount-add", "type=volume,source=lp,target=/p")
    berth.docker("unpause", "live")
    assert inside(berth, "touch /p/x && ls /p").out == "x\n"


def test_symlinks_in_the_container_lead_nowhere_else(berth: Berth, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    start(berth)
    inside(berth, f"ln -s {outside} /evil; ln -s ../../../../../..{outside} /climb; ln -s loop /loop; ln -s /proc /p")
    update(berth, "--mount-add", "type=volume,source=le,target=/evil/x", "--mount-add",
           "type=volume,source=lc,target=/climb/y")  # fmt: skip
    assert os.listdir(outside) == []
    assert inside(berth, f"touch {outside}/x/here {outside}/y/here").ok
    assert (berth.data_root / "volumes/le/_data/here").exists()
    assert (berth.data_root / "volumes/lc/_data/here").exists()
    for bad in ("/loop/x", "/p/x", "/p"):
        assert not update(berth, "--mount-add", f"type=volume,source=lz,target={bad}", check=False).ok
    update(berth, "--mount-rm", "/evil/x", "--mount-rm", "/climb/y")
    assert inside(berth, f"ls -A {outside}/x {outside}/y").out.split() == [f"{outside}/x:", f"{outside}/y:"]


def test_a_passing_container_with_an_anonymous_volume_is_there_once(berth: Berth) -> None:
    """Its record moves to the disk with the volume and back to memory without: it is one container all the time."""
    start(berth, "--rm")
    done = update(berth, "--mount-add", "type=volume,target=/anon")
    assert berth.docker("ps", "-q").out.count("\n") == 1
    name = mounts(berth)["/anon"]
    done = update(berth, "--mount-rm", "/anon")
    assert f"The anonymous volume {name} of /anon is kept" in done.err
    assert berth.docker("ps", "-q").out.count("\n") == 1
    update(berth, "--mount-add", "type=volume,target=/anon2")
    gone = mounts(berth)["/anon2"]
    berth.docker("kill", "live")
    wait_for(lambda: berth.api("GET", "/containers/live/json").status == 404, "the container to be removed")
    assert berth.api("GET", f"/volumes/{gone}").status == 404
    assert berth.api("GET", f"/volumes/{name}").status == 200


def test_a_driver_mount_lives_as_long_as_it_is_used(berth: Berth) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    berth.api("POST", "/volumes/create", {"Name": "shm", "DriverOpts": options})
    place = str(berth.data_root / "volumes/shm/_data")
    start(berth)

    def mounted() -> bool:
        return place in berth.host("cat", "/proc/self/mountinfo").out

    update(berth, "--mount-add", "type=volume,source=shm,target=/x", "--mount-add", "type=volume,source=shm,target=/y")
    assert mounted()
    assert inside(berth, "touch /x/a; ls /y").out == "a\n"
    update(berth, "--mount-rm", "/x")
    assert mounted()
    update(berth, "--mount-rm", "/y")
    assert not mounted()


def test_limits_and_mounts_in_one_command(berth: Berth) -> None:
    start(berth)
    done = update(berth, "--pids-limit", "77", "--mount-add", "type=volume,source=both,target=/x")
    assert done.out == "live\n"
    shown = berth.api("GET", "/containers/live/json").body
    assert shown["HostConfig"]["PidsLimit"] == 77
    assert shown["HostConfig"]["Mounts"][0]["Target"] == "/x"
    events = berth.docker("events", "--since", "1m", "--until", "0s", "--format", "{{json .}}").out.splitlines()
    actions = [(one["Type"], one["Action"]) for one in map(json.loads, events)]
    assert ("volume", "mount") in actions
    assert ("container", "update") in actions


def test_the_shell_knows_where_mounts_are(berth: Berth) -> None:
    start(berth, "-v", "lt:/there/one")
    berth.docker("create", "--name", "other", "-v", "/else", "busybox")
    assert berth.berth("__complete", "update", "--mount-rm", "").out == "/else\n/there/one\n"
    assert berth.berth("__complete", "update", "live", "--mount-rm", "/").out == "/there/one\n"
    assert "--mount-add" in berth.berth("__complete", "update", "--m").out


def test_a_changed_container_survives_a_killed_engine(own_berth: Berth) -> None:
    start(own_berth)
    update(own_berth, "--mount-add", "type=volume,source=lk,target=/k")
    inside(own_berth, "echo k >/k/f")
    own_berth.kill9()
    own_berth.start()
    assert inside(own_berth, "cat /k/f").out == "k\n"
    assert mounts(own_berth) == {"/k": "lk"}
    update(own_berth, "--mount-rm", "/k")
    assert inside(own_berth, "ls -A /k").out == ""


def test_api_words(berth: Berth) -> None:
    start(berth)

    def ask(body: object) -> Answer:
        return berth.api("POST", "/berth/containers/live/mounts", body)

    assert (ask({}).status, ask({}).message) == (400, "no mount is to be added or removed")
    assert ask({"Remove": ["/x"]}).status == 404
    assert ask({"Remove": ["x"]}).status == 400
    assert ask({"Add": [{"Type": "foo", "Target": "/x"}]}).status == 400
    assert berth.api("POST", "/berth/containers/nosuch/mounts", {"Remove": ["/x"]}).status == 404
    assert ask({"Add": [{"Type": "volume", "Source": "lapi", "Target": "/x"}]}).body["Mounts"][0]["Name"] == "lapi"
