"""What becomes of volumes: every removal rule on both engines, and what Berth has besides."""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, Engine, wait_for
from tests.support.pace import Pace

pytestmark = pytest.mark.root


def names(engine: Engine) -> set[str]:
    return {one["Name"] for one in engine.api("GET", "/volumes").body["Volumes"] or ()}


def data(engine: Engine, name: str) -> Path:
    return Path(engine.api("GET", f"/volumes/{name}").body["Mountpoint"])


def _forget(engine: Engine, before: set[str]) -> None:
    engine.wipe_containers()
    for name in names(engine) - before:
        if engine.kind == "berth":
            engine.api("POST", f"/berth/volumes/{name}/unprotect")
        assert engine.api("DELETE", f"/volumes/{name}").status == 204
    if engine.kind == "berth":
        assert engine.api("DELETE", "/berth/volume-trash").status == 200


@pytest.fixture
def place(engine: Engine) -> Iterator[Engine]:
    before = names(engine)
    yield engine
    _forget(engine, before)


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    before = names(berth_engine)
    yield berth_engine
    _forget(berth_engine, before)


def cli(engine: Berth, *words: str, check: bool = True) -> str:
    done = engine.berth(*words, check=check)
    return done.out + done.err


def test_in_use_names_the_users(berth: Berth) -> None:
    berth.docker("run", "-d", "--name", "web", "-v", "held:/h", "busybox", "sleep", "600")
    ident = berth.docker("create", "--name", "old", "-v", "held:/h", "busybox").out.strip()
    refused = berth.docker("volume", "rm", "held", check=False)
    assert refused.code == 1
    assert re.search(r"remove held: volume is in use - \[[0-9a-f]{64}, [0-9a-f]{64}\]\. ", refused.err)
    assert ident in refused.err
    assert "Used by web (running), old (created). Stopped containers hold" in refused.err
    assert "docker rm -f web old" in refused.err


def test_a_removed_volume_is_had_back(berth: Berth) -> None:
    berth.docker("volume", "create", "--label", "a=b", "gone")
    (data(berth, "gone") / "precious").write_text("precious")
    assert berth.docker("volume", "rm", "gone").out == "gone\n"
    assert berth.docker("volume", "inspect", "gone", check=False).code == 1
    berth.docker("volume", "create", "gone")
    assert os.listdir(data(berth, "gone")) == [], "a new one of the name is fresh"
    # it is measured behind the answer
    wait_for(lambda: "N/A" not in cli(berth, "volume", "trash", "ls"), "the size of what was removed")
    listed = cli(berth, "volume", "trash", "ls")
    head = r"TRASH ID +VOLUME NAME +SIZE +REMOVED +DELETED IN\n"
    assert re.search(head + r"[0-9a-f]{12} +gone +8B .* (23|24) hours\n", listed)
    assert re.search(r"Removed Volumes +1 +0 +8B +8B \(100%\)", cli(berth, "system", "df"))
    refused = cli(berth, "volume", "trash", "restore", "gone", check=False)
    assert "restore gone: conflict: a volume named gone exists" in refused
    assert cli(berth, "volume", "trash", "restore", "gone", "--as", "back") == "back\n"
    assert (data(berth, "back") / "precious").read_text() == "precious"
    assert berth.api("GET", "/volumes/back").body["Labels"] == {"a": "b"}
    assert cli(berth, "volume", "trash", "ls", "-q") == ""


def test_completion_of_the_trash(berth: Berth) -> None:
    berth.docker("volume", "create", "gone")
    berth.docker("volume", "rm", "gone")
    assert cli(berth, "__complete", "volume", "trash", "res") == "restore\n"
    assert cli(berth, "__complete", "volume", "trash", "restore", "g") == "gone\n"
    berth.docker("volume", "create", "there")
    assert cli(berth, "__complete", "volume", "protect", "the") == "there\n"


def test_what_is_removed_for_good_is_gone(berth: Berth) -> None:
    for name in ("one", "two", "three"):
        berth.docker("volume", "create", name)
    root = data(berth, "one").parent.parent
    berth.docker("volume", "rm", "one", "two", "three")
    there = cli(berth, "volume", "trash", "ls", "-q").split()
    assert len(there) == 3
    assert cli(berth, "volume", "trash", "rm", there[0][:5]) == f"{there[0][:5]}\n"
    assert cli(berth, "volume", "trash", "empty", "-f").split() == ["two", "three"]
    assert "no such volume in the trash" in cli(berth, "volume", "trash", "restore", "one", check=False)
    wait_for(lambda: not [name for name in os.listdir(root) if name.startswith(".")], "the data to be deleted")


def test_anonymous_volumes_go_at_once(berth: Berth) -> None:
    berth.docker("run", "--rm", "-v", "/anon", "busybox", "true")
    kept = berth.docker("create", "-v", "/anon", "busybox").out.strip()
    berth.docker("rm", "-v", kept)
    berth.docker("rm", berth.docker("create", "-v", "/anon", "busybox").out.strip())
    berth.docker("volume", "prune", "-f")
    assert cli(berth, "volume", "trash", "ls", "-q") == ""


def test_a_protected_volume_stays(berth: Berth) -> None:
    berth.docker("volume", "create", "safe")
    assert cli(berth, "volume", "protect", "safe") == "safe\n"
    for force in ((), ("-f",)):
        refused = berth.docker("volume", "rm", *force, "safe", check=False)
        assert refused.code == 1
        assert "remove safe: volume is protected. " in refused.err
        assert "berth volume unprotect safe" in refused.err
    assert berth.api("DELETE", "/volumes/safe").status == 409
    berth.berth("volume", "prune", "-af")
    assert "safe" in names(berth)
    name = berth.docker("create", "-v", "/anon", "busybox").out.strip()
    anonymous = berth.api("GET", f"/containers/{name}/json").body["Mounts"][0]["Name"]
    cli(berth, "volume", "protect", anonymous)
    berth.docker("rm", "-v", name)
    assert anonymous in names(berth)
    cli(berth, "volume", "unprotect", "safe", anonymous)
    assert berth.docker("volume", "rm", "safe", anonymous).ok


def test_labels_change_while_the_volume_is_used(berth: Berth) -> None:
    berth.docker("volume", "create", "--label", "a=1", "--label", "b=2", "labelled")
    berth.docker("run", "-d", "-v", "labelled:/l", "busybox", "sleep", "600")
    assert cli(berth, "volume", "update", "labelled", "--label-add", "c=3", "--label-rm", "a") == "labelled\n"
    assert berth.api("GET", "/volumes/labelled").body["Labels"] == {"b": "2", "c": "3"}
    assert berth.docker("volume", "ls", "-q", "-f", "label=c=3").out == "labelled\n"
    assert "must provide one or more flags" in cli(berth, "volume", "update", "labelled", check=False)


def test_a_volume_that_is_there_with_other_options_is_told(berth: Berth) -> None:
    words = ("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "--label", "a=1")
    assert berth.berth(*words, "asked").err == ""
    assert berth.berth(*words, "asked").err == "", "the same again"
    again = berth.berth("volume", "create", "--label", "a=2", "-o", "o=size=1m", "-o", "type=tmpfs", "asked")
    assert again.out == "asked\n"
    assert "asked was there already and stays as it is: it has no option o" in again.err
    assert "its label a is '1', not '2'" in again.err
    strict = berth.berth("volume", "create", "--strict", "--label", "a=2", "asked", check=False)
    assert (strict.code, strict.err) == (1, "volume asked exists, and its label a is '1', not '2'\n")
    assert berth.berth("volume", "create", "--strict", "--label", "a=1", "asked").err == ""
    empty = berth.berth("volume", "rm", "", check=False)
    assert (empty.code, empty.err) == (1, "invalid name or ID: value is empty\n")
    cli(berth, "volume", "rm", "asked")


def test_a_used_volume_gets_another_name(berth: Berth) -> None:
    ident = berth.docker("run", "-d", "--name", "user", "-v", "before:/d", "--stop-timeout", "0", "busybox", "sleep",
                         "600").out.strip()  # fmt: skip
    stopped = berth.docker("create", "--mount", "type=volume,source=before,target=/m", "busybox", "cat", "/m/f").out
    assert cli(berth, "volume", "rename", "before", "after") == ""
    berth.docker("exec", ident, "sh", "-c", "echo still here >/d/f")
    assert "before" not in names(berth)
    assert (data(berth, "after") / "f").read_text() == "still here\n"
    shown = berth.api("GET", f"/containers/{ident}/json").body
    assert shown["Mounts"][0]["Name"] == "after"
    assert shown["Mounts"][0]["Source"] == str(data(berth, "after"))
    assert shown["HostConfig"]["Binds"] == ["after:/d"]
    assert "Used by user (running)" in berth.docker("volume", "rm", "after", check=False).err
    assert berth.docker("start", "-a", stopped.strip()).out == "still here\n"
    berth.docker("restart", ident)
    assert berth.docker("exec", ident, "cat", "/d/f").out == "still here\n"
    berth.docker("volume", "create", "before")
    assert os.listdir(data(berth, "before")) == []
    assert "a volume named after exists" in cli(berth, "volume", "rename", "before", "after", check=False)
    assert "volume name is too short" in cli(berth, "volume", "rename", "before", "x", check=False)
    assert "same name as its current name" in cli(berth, "volume", "rename", "after", "after", check=False)
    assert "no such volume" in cli(berth, "volume", "rename", "nosuch", "other", check=False)


def test_a_mounted_volume_gets_another_name(berth: Berth) -> None:
    berth.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "quick")
    ident = berth.docker("run", "-d", "-v", "quick:/q", "busybox", "sleep", "600").out.strip()
    berth.docker("exec", ident, "sh", "-c", "echo x >/q/f")
    cli(berth, "volume", "rename", "quick", "quicker")
    assert berth.docker("run", "--rm", "-v", "quicker:/q", "busybox", "cat", "/q/f").out == "x\n"
    where = str(data(berth, "quicker"))
    assert where in berth.host("cat", "/proc/self/mountinfo").out
    berth.docker("rm", "-f", ident)
    wait_for(lambda: where not in berth.host("cat", "/proc/self/mountinfo").out, "the volume to be unmounted")


def test_trash_that_is_switched_off(tmp_path: Path) -> None:
    engine = Berth("trashoff", tmp_path / "berth", "--volume-trash", "off")
    try:
        engine.start()
        engine.docker("volume", "create", "brief")
        root = data(engine, "brief").parent.parent
        engine.docker("volume", "rm", "brief")
        assert "keeps nothing that is removed (volume-trash is off)" in cli(engine, "volume", "trash", "ls")
        wait_for(lambda: not os.listdir(root), "the data to be deleted")
    finally:
        engine.close()


def test_who_uses_a_volume_how_large_it_is_and_when_it_was_used(berth: Berth) -> None:
    berth.docker("run", "-d", "--name", "web", "-v", "seen:/s", "busybox", "sleep", "600")
    berth.docker("create", "--name", "old", "-v", "seen:/s:ro", "busybox")
    berth.docker("volume", "create", "idle")
    (data(berth, "seen") / "f").write_bytes(b"x" * 5000)
    table = cli(berth, "volume", "ls", "--size", "--used-by", "--last-used", "-f", "name=seen")
    lines = table.splitlines()
    assert re.split(r"  +", lines[0]) == ["DRIVER", "VOLUME NAME", "SIZE", "MEASURED", "USED BY", "LAST USED"]
    assert re.split(r"  +", lines[1]) == [
        "local",
        "seen",
        "5kB",
        "Less than a second ago",
        "web,old(created)",
        "in use",
    ]
    assert cli(berth, "volume", "ls", "-q", "-f", "used-by=web") == "seen\n"
    assert cli(berth, "volume", "ls", "-q", "-f", "used-by=nosuch") == ""
    assert cli(berth, "volume", "ls", "-q", "-f", "larger-than=4k", "-f", "name=seen") == "seen\n"
    assert cli(berth, "volume", "ls", "-q", "-f", "larger-than=5k") == ""
    assert set(cli(berth, "volume", "ls", "-q", "-f", "unused-for=0s").split()) >= {"idle"}
    assert "seen" not in cli(berth, "volume", "ls", "-q", "-f", "unused-for=0s")
    assert cli(berth, "volume", "ls", "-q", "-f", "unused-for=1d") == ""
    assert cli(berth, "volume", "ls", "-f", "name=idle", "--format", "{{.LastUsed}}/{{.UsedBy}}") == "never/\n"
    for wrong in ("larger-than=x", "unused-for=x"):
        assert "invalid" in cli(berth, "volume", "ls", "-f", wrong, check=False)
    berth.docker("rm", "-f", "web", "old")
    assert "ago" in cli(berth, "volume", "ls", "--last-used", "-f", "name=seen")


def test_inspection_of_ours(berth: Berth) -> None:
    berth.docker("run", "-d", "--name", "web", "-v", "shown:/s", "busybox", "sleep", "600")
    cli(berth, "volume", "protect", "shown")
    (data(berth, "shown") / "f").write_bytes(b"x" * 70)
    plain = json.loads(cli(berth, "volume", "inspect", "shown"))
    (ours,) = json.loads(cli(berth, "volume", "inspect", "--fresh", "shown"))
    more = ours.pop("Berth")
    assert [ours] == plain, "without -v it is what Docker shows"
    assert {"Name": "web", "State": "running", "Destination": "/s", "RW": True}.items() <= more["UsedBy"][0].items()
    assert (more["Size"], more["Protected"], more["InUse"], more["Operation"]) == (70, True, True, "")
    assert more["LastUsed"] > ours["CreatedAt"][:10]


def test_disk_usage_of_many_volumes_and_a_large_tree(own_berth: Berth) -> None:
    own_berth.docker("volume", "create", "large")
    root = data(own_berth, "large")
    for index in range(60):
        (root / str(index)).mkdir()
        for file in range(100):
            os.link(root / "0/0", root / f"{index}/{file}") if index or file else (root / "0/0").write_bytes(b"x" * 9)
    for index in range(300):
        assert own_berth.api("POST", "/volumes/create", {"Name": f"many{index}"}).status == 201
    (data(own_berth, "many7") / "f").write_bytes(b"x" * 77)

    def counted() -> bool:
        """Whether the small one is counted; however long that takes, nobody waits for it."""
        clock = Pace(lambda: [os.getpid(), *(pid for pid, _ in own_berth.processes())])
        rows = {row["Name"]: row["UsageData"] for row in own_berth.api("GET", "/system/df").body["Volumes"]}
        assert clock.taken() < 1
        assert len(rows) == 301
        return bool(rows["many7"] == {"RefCount": 0, "Size": 77})

    wait_for(counted, "the size of a small volume among many")
    shown = {one["Name"]: one for one in own_berth.api("GET", "/berth/volumes?fresh=1").body["Volumes"]}
    assert (shown["large"]["Size"], shown["many7"]["Size"]) == (9, 77)
    took = [min(_took(own_berth, *words) for _ in range(3)) for words in (("system", "df", "-v"), ("--version",))]
    assert took[0] < max(1, 6 * took[1]), took


def _took(engine: Berth, *words: str) -> float:
    began = time.monotonic()
    engine.berth(*words)
    return time.monotonic() - began


def test_what_was_seen_outlives_the_engine(own_berth: Berth) -> None:
    own_berth.docker("run", "--rm", "-v", "kept:/k", "busybox", "true")
    before = own_berth.api("GET", "/berth/volumes/kept").body
    assert before["LastUsed"] > "2026"
    seen = own_berth.data_root / "volumes-seen.json"
    wait_for(lambda: seen.exists() and '"kept":[' in seen.read_text(), "it to be written down")
    own_berth.kill9()
    own_berth.start()
    after = own_berth.api("GET", "/berth/volumes/kept").body
    assert (after["LastUsed"], after["InUse"]) == (before["LastUsed"], False)


def test_a_dry_run_says_what_would_go(berth: Berth) -> None:
    berth.docker("volume", "create", "named")
    (data(berth, "named") / "f").write_bytes(b"x" * 1000)
    kept = berth.docker("create", "--name", "stopped", "-v", "/anon", "-v", "mine:/m", "busybox").out.strip()
    berth.docker("rm", berth.docker("create", "-v", "/anon", "busybox").out.strip())
    (loose,) = (one["Name"] for one in berth.api("GET", "/volumes?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D")
                .body["Volumes"] if len(one["Name"]) == 64)  # fmt: skip
    held = next(m["Name"] for m in berth.api("GET", f"/containers/{kept}/json").body["Mounts"] if len(m["Name"]) == 64)
    before = names(berth)
    dry = cli(berth, "volume", "prune", "--dry-run")
    assert dry == f"Would be removed:\n  volume     {loose} (0B)\nTotal reclaimable space: 0B\n"
    assert "volume     named (1kB, to the trash)" in cli(berth, "volume", "prune", "-a", "--dry-run")
    dry = cli(berth, "system", "prune", "--volumes", "--dry-run")
    assert "container  stopped" in dry
    assert f"volume     {loose}" in dry
    assert f"volume     {held}" in dry, "its container goes first"
    assert "mine" not in dry
    assert names(berth) == before
    asked = cli(berth, "volume", "prune")
    assert f"not used by at least one container.\nThat is now:\n  volume     {loose} (0B)\n" in asked
    assert names(berth) == before, "no answer is no"
    assert f"container  stopped\n  volume     {held}" in cli(berth, "system", "prune", "--volumes")
    assert cli(berth, "volume", "prune", "-f", "--filter", "label=x") == "Total reclaimed space: 0B\n"
    assert loose in cli(berth, "volume", "prune", "-f")


def test_a_full_disk_loses_nothing_and_what_is_removed_makes_room(tmp_path: Path) -> None:
    engine = Berth("lifefull", tmp_path / "berth")
    try:
        engine.host("mkdir", "-p", str(engine.data_root))
        engine.host("mount", "-t", "tmpfs", "-o", "size=20m", "none", str(engine.data_root))
        engine.start()
        for name in ("kept", "large"):
            engine.docker("volume", "create", "--label", "a=b", name)
        where = {name: data(engine, name) for name in ("kept", "large")}
        engine.host("sh", "-c", f"echo precious >{where['kept']}/f; head -c 4000000 /dev/zero >{where['large']}/f")
        engine.host("dd", "if=/dev/zero", f"of={engine.data_root}/full", "bs=4k", check=False)

        for one in range(100):  # until the records' own reserve is used up, too
            engine.api("POST", "/volumes/create", {"Name": f"filling{one}"})
        tries = [("kept", "moved"), ("moved", "kept")] * 3
        for old, new in tries:
            engine.api("POST", f"/berth/volumes/{old}/rename?name={new}")
        (name,) = names(engine) & {"kept", "moved"}
        assert engine.berth("volume", "cat", f"{name}:/f").out == "precious\n"
        engine.kill9()
        engine.start()
        assert names(engine) & {"kept", "moved"} == {name}
        assert engine.berth("volume", "cat", f"{name}:/f").out == "precious\n"
        assert engine.api("GET", f"/volumes/{name}").body["Labels"] == {"a": "b"}

        assert engine.docker("volume", "rm", "large").out == "large\n"
        wait_for(lambda: engine.host("sh", "-c", f"head -c 3000000 /dev/zero >{engine.data_root}/probe",
                                     check=False).ok, "the removed volume to make room")  # fmt: skip
        assert "the disk of" in engine.log_tail(400)
    finally:
        engine.close()
