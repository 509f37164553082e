"""Several clients at once, at every verb of volumes: in the end all tell one story, and nothing written is lost.

What programs in containers wrote is looked for on the disk: on precious volumes nothing that throws data away is ever
asked for, so everything they were told is written must be in a volume, a snapshot or the trash, however often it was
renamed, rolled back, removed, had back and pruned. See `tests.support.storm` for how to make it bigger.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import storm
from tests.support.engines import Answer, Berth, wait_for

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = storm.calls(45)
PRECIOUS = [f"p{number}" for number in range(3)]
#: These may lose what they hold: overwritten, thrown away.
COMMON = [f"c{number}" for number in range(4)]
SNAPSHOTS = ["s0", "s1"]
HOLDERS = ["h0", "h1"]
#: Reads all that is there, which must be whole, and writes one thing more.
SCRIPT = (
    'for f in /v/t-*; do [ ! -e "$f" ] || [ "$(cat $f)" = "${f##*/}" ] || exit 9; done; '
    "echo $0 >/v/.new-$0 && mv /v/.new-$0 /v/$0 && sync"
)
SYSTEM = re.compile("|".join(("never",)))


class Lane(storm.Lane):
    """One client."""

    system = SYSTEM

    def __init__(self, engine: Berth, number: int, store: Path) -> None:
        super().__init__(engine, number)
        self.store = store
        self.written: list[str] = []
        self._tokens = 0

    def verbs(self) -> list[Callable[[], Answer]]:
        often = [self.create, self.write, self.write, self.write, self.rename, self.remove, self.restore]
        seldom = [
            self.prune, self.protect, self.unprotect, self.label, self.clone, self.snap, self.snap, self.roll_back,
            self.drop_snapshot, self.resize, self.discard, self.back_up, self.take_back, self.export, self.import_,
            self.hold, self.let_go, self.look, self.list, self.put, self.mount,
        ]  # fmt: skip
        return 2 * often + seldom

    def volume(self) -> str:
        return self.random.choice([*PRECIOUS, *COMMON])

    def kin(self, name: str) -> str:
        """Return a name of the same kind, perhaps a free one."""
        return f"{name[0]}{self.random.randrange(8)}"

    def create(self) -> Answer:
        name = self.volume()
        body: dict[str, Any] = {"Name": name}
        if name == "c0" or (name in COMMON and self.chance(0.3)):
            body["DriverOpts"] = {"size": "8m"}
        return self.api("POST", "/volumes/create", body)

    def write(self) -> Answer:
        """Run a program that reads what is there and writes something."""
        self._tokens += 1
        name, token = self.volume(), f"t-{self.number}-{self._tokens}"
        body = {
            "Image": "busybox", "Cmd": ["sh", "-c", SCRIPT, token],
            "HostConfig": {"NetworkMode": "none", "Binds": [f"{name}:/v"]},
        }  # fmt: skip
        made = self.api("POST", f"/containers/create?name={token}", body)
        if made.status != 201:
            return made
        try:
            started = self.api("POST", f"/containers/{token}/start")
            if started.status != 204:
                return started
            ended = self.api("POST", f"/containers/{token}/wait")
            said = self.api("GET", f"/containers/{token}/logs?stdout=1&stderr=1").body
            assert ended.body["StatusCode"] == 0, (name, ended.body, said)
            if name in PRECIOUS:
                self.written.append(token)
            return ended
        finally:
            gone = self.api("DELETE", f"/containers/{token}?force=1")
            assert gone.status == 204, gone

    def hold(self) -> Answer:
        """Run something that stays on a volume."""
        body = {
            "Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0,
            "HostConfig": {"NetworkMode": "none", "Binds": [f"{self.volume()}:/v"]},
        }  # fmt: skip
        name = self.random.choice(HOLDERS)
        if self.chance(0.5):
            return self.api("POST", f"/containers/{name}/start")
        return self.api("POST", f"/containers/create?name={name}", body)

    def let_go(self) -> Answer:
        name = self.random.choice(HOLDERS)
        if self.chance(0.5):
            return self.api("POST", f"/containers/{name}/stop")
        return self.api("DELETE", f"/containers/{name}?force=1&v=1")

    def mount(self) -> Answer:
        """Change what something that is there has mounted."""
        source = {"Type": "volume", "Source": self.volume(), "Target": "/more"}
        body = {"Add": [source]} if self.chance(0.6) else {"Remove": ["/more"]}
        return self.api("POST", f"/berth/containers/{self.random.choice(HOLDERS)}/mounts", body)

    def remove(self) -> Answer:
        return self.api("DELETE", f"/volumes/{self.volume()}?force={self.random.randrange(2)}")

    def prune(self) -> Answer:
        return self.api("POST", '/volumes/prune?filters={"all":["true"]}')

    def rename(self) -> Answer:
        name = self.volume()
        return self.api("POST", f"/berth/volumes/{name}/rename?name={self.kin(name)}")

    def protect(self) -> Answer:
        return self.api("POST", f"/berth/volumes/{self.volume()}/protect")

    def unprotect(self) -> Answer:
        return self.api("POST", f"/berth/volumes/{self.volume()}/unprotect")

    def label(self) -> Answer:
        return self.api("POST", f"/berth/volumes/{self.volume()}/update", {"LabelsAdd": {"a": str(self.number)}})

    def clone(self) -> Answer:
        name = self.volume()
        source = f"{name}@{self.random.choice(SNAPSHOTS)}" if self.chance(0.5) else name
        return self._in_lines(self.api("POST", f"/berth/volumes/{source}/clone", {"Name": self.kin("c")}))

    def snap(self) -> Answer:
        body = {"Name": self.random.choice(SNAPSHOTS)}
        return self._in_lines(self.api("POST", f"/berth/volumes/{self.volume()}/snapshots", body))

    def _in_lines(self, answer: Answer) -> Answer:
        """Return what a call came to that answered with lines, because it took long."""
        if answer.status != 200:
            return answer
        last = json.loads(str(answer.body).splitlines()[-1])
        return Answer(409 if "error" in last else 201, last, answer.headers)

    def roll_back(self) -> Answer:
        name = self.volume()
        keep = int(name in PRECIOUS or self.chance(0.5))
        snapshot = self.random.choice(SNAPSHOTS)
        return self.api("POST", f"/berth/volumes/{name}/snapshots/{snapshot}/rollback?keep={keep}")

    def drop_snapshot(self) -> Answer:
        return self.api(
            "DELETE", f"/berth/volumes/{self.random.choice(COMMON)}/snapshots/{self.random.choice(SNAPSHOTS)}"
        )

    def resize(self) -> Answer:
        size = self.random.choice(["8m", "12m"])
        return self.api("PUT", f"/berth/volumes/{self.random.choice(COMMON)}/size", {"Size": size})

    def restore(self) -> Answer:
        there = self.api("GET", "/berth/volume-trash").body["Volumes"]
        if not there:
            return Answer(404, None, {})
        one = self.random.choice(there)
        return self.api("POST", f"/berth/volume-trash/{one['Id']}/restore?name={self.kin(one['Name'])}")

    def discard(self) -> Answer:
        there = [one for one in self.api("GET", "/berth/volume-trash").body["Volumes"] if one["Name"].startswith("c")]
        if not there:
            return Answer(404, None, {})
        return self.api("DELETE", f"/berth/volume-trash/{self.random.choice(there)['Id']}")

    def back_up(self) -> Answer:
        return self.api("POST", f"/berth/volumes/stores/backups?store={self.store}&volume={self.volume()}")

    def take_back(self) -> Answer:
        there = self.api("GET", f"/berth/volumes/stores/backups?store={self.store}").body
        if not there:
            return Answer(404, None, {})
        query = f"store={self.store}&from={self.random.choice(there)['Name']}&as={self.kin('c')}"
        return self.api("POST", f"/berth/volumes/restore?{query}&overwrite={self.random.randrange(2)}")

    def export(self) -> Answer:
        return self.api("GET", f"/berth/volumes/{self.volume()}/export")

    def import_(self) -> Answer:
        return self.api(
            "POST", f"/berth/volumes/{self.kin('c')}/import?overwrite={self.random.randrange(2)}",
            _tar("t-imported"), headers={"Content-Type": "application/x-tar"},
        )  # fmt: skip

    def put(self) -> Answer:
        return self.api(
            "PUT", f"/berth/volumes/{self.volume()}/archive?path=/", _tar("t-put"),
            headers={"Content-Type": "application/x-tar"},
        )  # fmt: skip

    def look(self) -> Answer:
        which = self.random.choice(["/volumes/{}", "/berth/volumes/{}", "/berth/volumes/{}/files?path=/"])
        return self.api("GET", which.format(self.volume()))

    def list(self) -> Answer:
        which = ["/volumes", "/berth/volumes", "/berth/volume-snapshots", "/berth/volume-trash", "/system/df"]
        return self.api("GET", self.random.choice(which))


def _tar(name: str) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(name) + 1
        tar.addfile(member, io.BytesIO(f"{name}\n".encode()))
    return body.getvalue()


class Seen:
    """All that the API tells of volumes and of those who use them."""

    def __init__(self, engine: Berth) -> None:
        self.engine, self.root = engine, engine.layout.volumes
        self.volumes = {one["Name"]: one for one in engine.api("GET", "/volumes").body["Volumes"]}
        trash = engine.api("GET", "/berth/volume-trash").body["Volumes"]
        self.trash = [{key: one[key] for key in one if not key.startswith("Size")} for one in trash]
        snapshots = engine.api("GET", "/berth/volume-snapshots").body
        self.snapshots = [{key: one[key] for key in one if not key.startswith("Size")} for one in snapshots]
        rows = engine.api("GET", "/containers/json?all=1").body
        self.containers = {row["Id"]: engine.api("GET", f"/containers/{row['Id']}/json").body for row in rows}

    def told(self) -> str:
        """All of it as text."""
        return json.dumps([self.volumes, self.trash, self.snapshots, self.containers], sort_keys=True, indent=1)

    def agree(self) -> None:
        """See that API, disk and mounts say the same."""
        kept = {f".trash-{one['Id']}" for one in self.trash}
        wait_for(lambda: set(os.listdir(self.root)) == {*self.volumes, *kept}, f"only {self.volumes} and {kept}")
        for name, one in self.volumes.items():
            assert one["Mountpoint"] == str(self.root / name / "_data")
            place = self.root / name / "snapshots"
            there = set(os.listdir(place)) if place.exists() else set()
            assert there == {each["Name"] for each in self.snapshots if each["Volume"] == name}, name
        mounted = set()
        for one in self.containers.values():
            points = {point["Destination"]: point for point in one["Mounts"]}
            assert set(points) == {mount.split(":")[1] for mount in one["HostConfig"].get("Binds") or ()} | {
                mount["Target"] for mount in one["HostConfig"].get("Mounts") or ()
            }
            for target, point in points.items():
                assert point["Source"] == self.volumes[point["Name"]]["Mountpoint"], one["Name"]
                if one["State"]["Running"]:
                    inside = self.engine.host("stat", "-c", "%d %i", f"/proc/{one['State']['Pid']}/root{target}").out
                    assert inside == self.engine.host("stat", "-c", "%d %i", point["Source"]).out, (one["Name"], target)
                    mounted.add(point["Name"])
        sized = {name for name, one in self.volumes.items() if "size" in (one["Options"] or {})}
        wait_for(lambda: self._mounts() == mounted & sized, f"mounts of {mounted & sized}, not {self._mounts()}")

    def _mounts(self) -> set[str]:
        mounts = self.engine.host("cat", "/proc/self/mountinfo").out
        return set(re.findall(rf" {self.root}/([^/ ]+)/_data ", mounts))

    def on_disk(self) -> set[str]:
        """Everything that programs wrote, wherever it is now."""
        return {path.name for path in self.root.glob("*/_data/t-*")} | {
            path.name for path in self.root.glob("*/snapshots/*/_data/t-*")
        }


@pytest.mark.timeout(300)
def test_clients_at_once_leave_one_truth_and_all_that_was_written(own_berth: Berth, tmp_path: Path) -> None:
    print(f"STORM_SEED={storm.SEED} STORM_CALLS={CALLS}")
    store = tmp_path / "store"
    store.mkdir()
    lanes = [Lane(own_berth, number, store) for number in range(storm.LANES)]
    for _ in range(2):
        storm.blow(lanes, CALLS)
        before = Seen(own_berth)
        before.agree()
        own_berth.restart()
        after = Seen(own_berth)
        assert after.told() == before.told()
        after.agree()
        written = {token for lane in lanes for token in lane.written}
        assert written
        assert written - after.on_disk() == set()
    storm.answered(lanes, ("create", "write", "rename", "remove", "restore", "clone", "snap", "back_up", "import_"))
    _clear(own_berth)
    assert os.listdir(own_berth.layout.volumes) == []
    loops = own_berth.host("losetup", "--list", "--noheadings", "--output", "BACK-FILE").out
    assert str(own_berth.layout.data_root) not in loops


def _clear(engine: Berth) -> None:
    """Take everything away, as a user would."""
    engine.wipe_containers()
    for one in engine.api("GET", "/volumes").body["Volumes"]:
        engine.api("POST", f"/berth/volumes/{one['Name']}/unprotect")
        assert engine.api("DELETE", f"/volumes/{one['Name']}?force=1").status == 204
    assert engine.api("DELETE", "/berth/volume-trash").status == 200
    wait_for(lambda: not os.listdir(engine.layout.volumes), "no volume to be left")
    wait_for(lambda: not engine.leaks(), "nothing to be left")
