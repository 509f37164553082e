"""Clones and snapshots of volumes with real containers: what they hold, who waits for them, who may use them."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Berth, running, wait_for
from tests.support.trees import difference, look, plant, rich

pytestmark = pytest.mark.root

#: Writes a number into one file and then another, for ever: at every instant the second is the first or one less.
PAIRS = (
    "i=0; while true; do i=$((i+1)); echo $i >/d/first.new; mv /d/first.new /d/first;"
    " echo $i >/d/second.new; mv /d/second.new /d/second; done"
)


@pytest.fixture(scope="module")
def only_berth(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    """A berthd of this module alone: it is killed now and then."""
    with running(Berth("copies", tmp_path_factory.mktemp("copies")), busybox) as made:
        yield made


@pytest.fixture
def engine(only_berth: Berth) -> Iterator[Berth]:
    yield only_berth
    only_berth.wipe_containers()
    for name in only_berth.berth("volume", "ls", "-q").out.split():
        only_berth.berth("volume", "rm", "-f", name)
    only_berth.berth("volume", "trash", "empty", "-f")


def data(engine: Berth, volume: str) -> Path:
    """Where a volume's data is, as the engine sees it: some are mounted, in its namespace."""
    return Path(f"/proc/{engine.spaces.pid}/root") / str(engine.data_root / "volumes" / volume / "_data").lstrip("/")


def writer(engine: Berth, volume: str, *flags: str) -> None:
    engine.docker("run", "-d", "--name", f"writes-{volume}", "-v", f"{volume}:/d", *flags, "busybox", "sh", "-c", PAIRS)
    wait_for((data(engine, volume) / "second").exists, "the first pair")


def pair(at: Path) -> tuple[int, int]:
    return int((at / "first").read_text()), int((at / "second").read_text())


def goes_on(engine: Berth, volume: str) -> None:
    before = (data(engine, volume) / "first").read_text()
    wait_for(lambda: (data(engine, volume) / "first").read_text() != before, "the writer to go on")


def state(engine: Berth, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.State.Status}}", name).out.strip()


def slow_to_copy(place: Path) -> None:
    """Put files into a volume that take their time to copy: many small ones."""
    for number in range(60):
        (place / f"many-{number}").mkdir()
        for other in range(50):
            (place / f"many-{number}" / str(other)).touch()


def test_a_clone_has_everything_and_the_labels(engine: Berth) -> None:
    engine.berth("volume", "create", "--label", "a=b", "source")
    plant(data(engine, "source"), rich())
    before = look(data(engine, "source"))
    done = engine.berth("volume", "clone", "source", "copied")
    assert done.out == "copied\n"
    assert "no running container used it; crash-consistent" in done.err
    assert difference(before, look(data(engine, "copied"))) == []
    shown = json.loads(engine.berth("volume", "inspect", "copied").out)[0]
    assert shown["Labels"] == {"a": "b"}
    (data(engine, "copied") / "empty").write_text("mine")
    assert (data(engine, "source") / "empty").read_text() == ""
    again = engine.berth("volume", "clone", "source", "copied", check=False)
    assert again.code == 1
    assert "a volume named copied exists" in again.err
    assert "no such volume" in engine.berth("volume", "clone", "nobody", "other", check=False).err
    assert [entry.name for entry in (engine.data_root / "volumes").iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize("mode", ["freeze", "pause", "stop"])
def test_a_copy_of_a_volume_that_is_written_is_one_instant(engine: Berth, mode: str) -> None:
    engine.berth("volume", "create", "busy")
    writer(engine, "busy", "--stop-timeout", "0")
    for number in range(3):
        done = engine.berth("volume", "clone", f"--consistency={mode}", "busy", f"copy{number}")
        assert "; crash-consistent" in done.err, done.err
        first, second = pair(data(engine, f"copy{number}"))
        assert first - second in (0, 1)
    assert state(engine, "writes-busy") == "running"
    goes_on(engine, "busy")


def test_hooks_run_in_the_containers_and_a_failing_one_ends_it(engine: Berth) -> None:
    engine.berth("volume", "create", "hooked")
    writer(engine, "hooked", "--label", "berth.backup.consistency=hook", "--label", "berth.backup.pre=echo in >/d/pre",
           "--label", 'berth.backup.post=["touch", "/d/post"]')  # fmt: skip
    done = engine.berth("volume", "clone", "hooked", "after")
    assert "hooks ran; containers went on; NOT crash-consistent" in done.err
    assert (data(engine, "after") / "pre").read_text() == "in\n"
    assert not (data(engine, "after") / "post").exists()
    assert (data(engine, "hooked") / "post").exists()
    failed = engine.berth("volume", "clone", "--pre", "echo busy; exit 3", "hooked", "never", check=False)
    assert "hook in container writes-hooked failed" in failed.err
    assert "status 3: busy" in failed.err
    assert engine.berth("volume", "inspect", "never", check=False).code == 1


@contextlib.contextmanager
def being_cloned(engine: Berth) -> Iterator["subprocess.Popen[bytes]"]:
    """Clone the volume ``busy``; the block begins when its writer is paused."""
    slow_to_copy(data(engine, "busy"))
    argv = [str(REPO / ".venv/bin/berth"), "volume", "clone", "busy", "copied"]
    clone = subprocess.Popen(argv, env=engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: state(engine, "writes-busy") == "paused", "the writer to be paused")
    yield clone
    clone.wait(240)


def test_a_container_that_is_killed_while_paused_hurts_nobody(engine: Berth) -> None:
    engine.berth("volume", "create", "busy")
    writer(engine, "busy")
    with being_cloned(engine) as clone:
        engine.docker("kill", "writes-busy")
    assert clone.returncode == 0
    assert state(engine, "writes-busy") == "exited"


def test_who_leaves_takes_the_copy_along(engine: Berth) -> None:
    engine.berth("volume", "create", "busy")
    writer(engine, "busy")
    with being_cloned(engine) as clone:
        clone.kill()
    goes_on(engine, "busy")
    wait_for(lambda: not list((engine.data_root / "volumes").glob(".*")), "what was begun to be deleted")
    assert engine.berth("volume", "inspect", "copied", check=False).code == 1


def test_the_engine_is_killed_while_containers_hold_still(engine: Berth) -> None:
    engine.berth("volume", "create", "busy")
    writer(engine, "busy")
    engine.docker("run", "-d", "--name", "asleep", "-v", "busy:/d", "busybox", "sleep", "1000")
    engine.docker("pause", "asleep")
    with being_cloned(engine):
        engine.kill9()
    engine.start()
    assert state(engine, "writes-busy") == "running"
    assert state(engine, "asleep") == "paused"
    goes_on(engine, "busy")
    assert engine.berth("volume", "inspect", "copied", check=False).code == 1
    wait_for(lambda: not list((engine.data_root / "volumes").glob(".*")), "what was begun to be deleted")
    assert not list((engine.exec_root / "holds").glob("*"))
    engine.docker("unpause", "asleep")


def test_mounts_of_snapshots(engine: Berth) -> None:
    engine.berth("volume", "create", "site")
    (data(engine, "site") / "page").write_text("old")
    engine.berth("volume", "snapshot", "create", "site", "first")
    (data(engine, "site") / "page").write_text("new")
    for flags in (("-v", "site@first:/p:ro"), ("--mount", "type=volume,source=site@first,target=/p,readonly")):
        seen = engine.docker("run", "--rm", *flags, "busybox", "cat", "/p/page")
        assert seen.out == "old"
        wrote = engine.docker("run", "--rm", *flags, "busybox", "touch", "/p/x", check=False)
        assert "Read-only file system" in wrote.err
    for flags in (("-v", "site@first:/p"), ("--mount", "type=volume,source=site@first,target=/p")):
        refused = engine.docker("run", "--rm", *flags, "busybox", "true", check=False)
        assert "site@first is a snapshot, which is never written" in refused.err
    missing = engine.docker("run", "--rm", "-v", "site@second:/p:ro", "busybox", "true", check=False)
    assert "no such snapshot: site@second" in missing.err
    unknown = engine.docker("run", "--rm", "-v", "nobody@first:/p:ro", "busybox", "true", check=False)
    assert "no such snapshot: nobody@first" in unknown.err

    engine.docker("create", "--name", "reads", "-v", "site@first:/p:ro", "busybox", "cat", "/p/page")
    mounts = json.loads(engine.docker("inspect", "-f", "{{json .Mounts}}", "reads").out)
    assert (mounts[0]["Name"], mounts[0]["RW"]) == ("site@first", False)
    refused = engine.berth("volume", "snapshot", "rm", "site@first", check=False)
    assert "snapshot is in use by reads" in refused.err
    assert "volume is in use" in engine.docker("volume", "rm", "site", check=False).err
    engine.berth("volume", "rename", "site", "moved")
    assert engine.docker("start", "-a", "reads").out == "old"
    engine.docker("rm", "reads")
    engine.berth("volume", "snapshot", "rm", "moved@first")
    assert engine.berth("volume", "snapshot", "ls", "-q").out == ""


def test_rollback_and_back_again(engine: Berth) -> None:
    engine.berth("volume", "create", "site")
    plant(data(engine, "site"), rich())
    before = look(data(engine, "site"))
    engine.berth("volume", "snapshot", "create", "site", "first")
    engine.docker("run", "-d", "--name", "uses", "-v", "site:/d", "busybox", "sh", "-c",
                  "rm -rf /d/dir; echo new >/d/plain; sleep 1000")  # fmt: skip
    wait_for(lambda: (data(engine, "site") / "plain").read_text() == "new\n", "the change")
    refused = engine.berth("volume", "snapshot", "rollback", "site@first", check=False)
    assert "volume is in use by running containers" in refused.err
    engine.docker("stop", "-t", "0", "uses")
    changed = look(data(engine, "site"))
    done = engine.berth("volume", "snapshot", "rollback", "site@first")
    assert done.out == "site\n"
    kept = done.err.strip().rpartition(" ")[2]
    assert kept.startswith("site@before-rollback-")
    assert difference(before, look(data(engine, "site"))) == []
    engine.berth("volume", "snapshot", "rollback", "--keep-current=false", kept)
    assert difference(changed, look(data(engine, "site"))) == []
    listed = engine.berth("volume", "snapshot", "ls", "-q", "site").out.split()
    assert listed == ["site@first", kept]
    engine.docker("start", "uses")
    shown = json.loads(engine.berth("volume", "snapshot", "inspect", "site@first").out)[0]
    assert shown["Consistency"]["CrashConsistent"] is True


def test_removed_volumes_take_their_snapshots_to_the_trash_and_back(engine: Berth) -> None:
    engine.berth("volume", "create", "site")
    (data(engine, "site") / "page").write_text("old")
    engine.berth("volume", "snapshot", "create", "site", "first")
    engine.berth("volume", "rm", "site")
    engine.berth("volume", "trash", "restore", "site")
    assert engine.berth("volume", "snapshot", "ls", "-q").out == "site@first\n"


def test_labels_options_and_words_of_snapshots(engine: Berth) -> None:
    engine.berth("volume", "create", "--label", "a=b", "site")
    (data(engine, "site") / "page").write_text("x" * 2000)
    auto = engine.berth("volume", "snapshot", "create", "site").out.strip()
    listed = engine.berth("volume", "snapshot", "ls", "--format", "{{.Reference}} {{.Size}}").out
    assert listed == f"{auto} 2kB\n"
    shown = engine.berth("volume", "ls", "--size").out.splitlines()
    assert (shown[0].split()[-1], shown[1].split()[-2:]) == ("SNAPSHOTS", ["1", "(2kB)"])
    assert "Volume Snapshots" in engine.berth("system", "df").out
    assert "Volume Snapshots space usage: 1, 2kB" in engine.berth("system", "df", "-v").out
    assert engine.berth("volume", "snapshot", "create", "site", "x/y", check=False).code == 1
    engine.berth("volume", "snapshot", "create", "site@second")
    again = engine.berth("volume", "snapshot", "create", "site", "second", check=False)
    assert "site@second exists" in again.err
    engine.berth("volume", "clone", auto, "copied")
    assert json.loads(engine.berth("volume", "inspect", "copied").out)[0]["Labels"] == {"a": "b"}
    assert engine.berth("__complete", "volume", "snapshot", "rm", "site@s").out == "site@second\n"
    assert engine.berth("__complete", "volume", "clone", "sit").out.split() == ["site", auto, "site@second"]
    assert engine.berth("__complete", "volume", "snapshot", "ro").out == "rollback\n"
    assert "invalid consistency" in engine.berth("volume", "clone", "--consistency=x", "site", "y", check=False).err


def test_a_diff_tells_what_a_change_was(engine: Berth) -> None:
    engine.berth("volume", "create", "site")
    place = data(engine, "site")
    plant(place, rich())
    engine.berth("volume", "snapshot", "create", "site", "first")
    same = engine.berth("volume", "diff", "--checksum", "site@first", "site")
    assert (same.code, same.out) == (0, "")
    (place / "plain").write_text("x" * 8000)  # of the same size
    (place / "empty").unlink()
    (place / "dir/sub/new").mkdir()
    (place / "dir/sub/new/file").touch()
    (place / "suid").chmod(0o755)
    os.chown(place / "old", 5, 6)
    os.setxattr(place / "attributes", "user.one", b"2")
    (place / "link").unlink()
    (place / "link").symlink_to("elsewhere")
    (place / "pipe").unlink()
    (place / "pipe").touch()
    told = engine.berth("volume", "diff", "site@first", "site", check=False)
    assert told.code == 1
    assert set(told.out.splitlines()) == {
        "C /plain  (content)", "C /twin  (content)", "C /dir/triplet  (content)", "D /empty", "A /dir/sub/new",
        "A /dir/sub/new/file", "C /suid  (mode)", "C /old  (owner)", "C /attributes  (xattr)",
        "C /link  (target, owner)", "C /pipe  (type)",
    }  # fmt: skip
    back = engine.berth("volume", "diff", "--json", "site", "site@first", check=False)
    lines = [json.loads(line) for line in back.out.splitlines()]
    assert {"change": "added", "path": "empty"} in lines
    assert {"change": "removed", "path": "dir/sub/new/file"} in lines
    brief = engine.berth("volume", "diff", "-q", "site", "site@first", check=False)
    assert (brief.code, brief.out) == (1, "site and site@first differ\n")
    for wrong in (("site", "nobody"), ("site@first", "site@second")):
        failed = engine.berth("volume", "diff", *wrong, check=False)
        assert (failed.code, "no such" in failed.err) == (2, True), "status 1 would say that they differ"


def test_a_file_that_changed_in_secret_is_only_found_by_reading(engine: Berth) -> None:
    engine.berth("volume", "create", "one")
    (data(engine, "one") / "file").write_text("aaaa")
    engine.berth("volume", "clone", "one", "other")
    seen = (data(engine, "one") / "file").stat()
    (data(engine, "one") / "file").write_text("bbbb")
    os.utime(data(engine, "one") / "file", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert engine.berth("volume", "diff", "one", "other").out == ""
    assert engine.berth("volume", "diff", "--checksum", "one", "other", check=False).out == "C /file  (content)\n"


def test_a_sized_volume_is_cloned_with_its_size(engine: Berth) -> None:
    engine.berth("volume", "create", "-o", "size=32m", "-o", "size-mode=image", "small")
    engine.docker("run", "--rm", "-v", "small:/d", "busybox", "sh", "-c", "echo kept >/d/file")
    engine.docker("run", "-d", "--name", "uses", "-v", "small:/d", "busybox", "sleep", "1000")
    done = engine.berth("volume", "clone", "small", "twin")
    assert "; crash-consistent" in done.err
    assert json.loads(engine.berth("volume", "inspect", "twin").out)[0]["Options"]["size"] == "32m"
    full = engine.docker("run", "--rm", "-v", "twin:/d", "busybox", "sh", "-c",
                         "cat /d/file; dd if=/dev/zero of=/d/big bs=1M count=64", check=False)  # fmt: skip
    assert full.out == "kept\n"
    assert "No space left on device" in full.err
    engine.berth("volume", "snapshot", "create", "small", "first")
    assert engine.docker("run", "--rm", "-v", "small@first:/p:ro", "busybox", "cat", "/p/file").out == "kept\n"
    refused = engine.berth("volume", "snapshot", "rollback", "small@first", check=False)
    assert "volume is in use by running containers" in refused.err
    engine.docker("exec", "uses", "sh", "-c", "echo newer >/d/file")
    engine.docker("rm", "-f", "uses")
    kept = engine.berth("volume", "snapshot", "rollback", "small@first").err.strip().rpartition(" ")[2]
    assert engine.docker("run", "--rm", "-v", "small:/d", "busybox", "cat", "/d/file").out == "kept\n"
    assert engine.docker("run", "--rm", "-v", f"{kept}:/d:ro", "busybox", "cat", "/d/file").out == "newer\n"
    full = engine.docker("run", "--rm", "-v", "small:/d", "busybox", "dd", "if=/dev/zero", "of=/d/big", "bs=1M",
                         "count=64", check=False)  # fmt: skip
    assert "No space left on device" in full.err


def test_a_volume_whose_data_is_not_the_engines_is_not_rolled_back(engine: Berth) -> None:
    engine.berth("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    engine.berth("volume", "snapshot", "create", "memory", "first")
    refused = engine.berth("volume", "snapshot", "rollback", "memory@first", check=False)
    assert "berth volume clone memory@first NEW" in refused.err


def test_a_file_system_of_a_volumes_own_is_frozen_and_thawed_after_a_kill(engine: Berth) -> None:
    engine.berth("volume", "create", "-o", "size=64m", "-o", "size-mode=image", "busy")
    writer(engine, "busy")
    done = engine.berth("volume", "clone", "busy", "first")
    assert "until a copy of the instant was taken (frozen file system)" in done.err, done.err
    assert "; crash-consistent" in done.err
    engine.docker("run", "-d", "--name", "reads", "-v", "first:/d:ro", "busybox", "sleep", "1000")
    first, second = pair(data(engine, "first"))
    assert first - second in (0, 1)
    goes_on(engine, "busy")

    slow_to_copy(data(engine, "busy"))
    argv = [str(REPO / ".venv/bin/berth"), "volume", "clone", "busy", "copied"]
    clone = subprocess.Popen(argv, env=engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    holds = engine.exec_root / "holds"
    wait_for(
        lambda: any('"frozen":["' in one.read_text() for one in holds.glob("[!.]*")), "the file system to be frozen"
    )
    engine.kill9()
    clone.wait(240)
    engine.start()
    goes_on(engine, "busy")
    assert not list(holds.glob("*"))


def test_snapshots_are_mounted_into_running_containers(engine: Berth) -> None:
    engine.berth("volume", "create", "site")
    (data(engine, "site") / "page").write_text("old")
    engine.berth("volume", "snapshot", "create", "site", "first")
    engine.docker("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    engine.berth("update", "--mount-add", "type=volume,source=site@first,target=/p,readonly", "runs")
    assert engine.docker("exec", "runs", "cat", "/p/page").out == "old"
    assert "Read-only" in engine.docker("exec", "runs", "touch", "/p/x", check=False).err
    assert "in use by runs" in engine.berth("volume", "snapshot", "rm", "site@first", check=False).err
    refused = engine.berth("update", "--mount-add", "type=volume,source=site@first,target=/q", "runs", check=False)
    assert "is a snapshot, which is never written" in refused.err
    engine.berth("update", "--mount-rm", "/p", "runs")
    engine.berth("volume", "snapshot", "rm", "site@first")
