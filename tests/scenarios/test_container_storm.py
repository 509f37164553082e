"""Several clients at once, at every verb of containers and their images: in the end all tell one story.

API, processes, control groups, mounts, directories and records agree, a restart of the engine changes nothing, and
nothing leaks. See `tests.support.storm` for how to make it bigger.
"""

import io
import json
import os
import re
import tarfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import storm
from tests.support.engines import Answer, Berth, wait_for

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = storm.calls(70)
BOXES = [f"box{number}" for number in range(5)]
IMAGES = [f"im{number}" for number in range(3)]
#: Commands of containers, and what may have them started again.
WORK: list[tuple[list[str], dict[str, Any]]] = [
    (["sleep", "600"], {}),
    (["sleep", "600"], {"RestartPolicy": {"Name": "unless-stopped"}}),
    (["sleep", "600"], {"AutoRemove": True}),
    (["sh", "-c", "echo said; exit 3"], {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}),
    (["sh", "-c", "echo said; sleep 0.05"], {"AutoRemove": True}),
    (["sh", "-c", "echo said >/file; sleep 0.1"], {}),
]
SYSTEM = re.compile("|".join(("never",)))


class Lane(storm.Lane):
    """One client."""

    system = SYSTEM

    def verbs(self) -> list[Callable[[], Answer]]:
        often = [self.make, self.make, self.start, self.start, self.stop, self.kill, self.restart, self.drop]
        seldom = [
            self.pause, self.unpause, self.name, self.remove, self.update, self.execute, self.wait, self.logs,
            self.attach, self.top, self.changes, self.fetch, self.put, self.look, self.list, self.tag, self.untag,
            self.import_, self.prune, self.prune_images, self.stats,
        ]  # fmt: skip
        return 2 * often + seldom

    def box(self, verb: str, path: str = "", body: Any = None, **more: Any) -> Answer:
        return self.api(verb, f"/containers/{self.random.choice(BOXES)}{path}", body, **more)

    def make(self) -> Answer:
        argv, host = self.random.choice(WORK)
        body = {
            "Image": self.random.choice(["busybox", *IMAGES]), "Cmd": argv, "StopTimeout": 0,
            "HostConfig": {"NetworkMode": "none", **host},
        }  # fmt: skip
        if self.chance(0.3):
            body["HostConfig"]["Memory"] = 64 << 20
        if self.chance(0.3):
            body["HostConfig"]["Mounts"] = [{"Type": "volume", "Target": "/anonymous"}]
        return self.api("POST", f"/containers/create?name={self.random.choice(BOXES)}", body)

    def start(self) -> Answer:
        return self.box("POST", "/start")

    def stop(self) -> Answer:
        return self.box("POST", "/stop?t=0")

    def kill(self) -> Answer:
        return self.box("POST", f"/kill?signal={self.random.choice(['KILL', 'TERM', 'USR1'])}")

    def restart(self) -> Answer:
        return self.box("POST", "/restart?t=0")

    def pause(self) -> Answer:
        return self.box("POST", "/pause")

    def unpause(self) -> Answer:
        return self.box("POST", "/unpause")

    def name(self) -> Answer:
        return self.box("POST", f"/rename?name={self.random.choice(BOXES)}")

    def drop(self) -> Answer:
        return self.box("DELETE", f"?force=1&v={self.random.randrange(2)}")

    def remove(self) -> Answer:
        return self.box("DELETE")

    def update(self) -> Answer:
        # no other policy: it would have what has ended started by the engine's next start
        limit, policy = {"Memory": 32 << 20, "MemorySwap": -1}, {"RestartPolicy": {"Name": "no"}}
        return self.box("POST", "/update", self.random.choice([limit, policy]))

    def execute(self) -> Answer:
        made = self.box("POST", "/exec", {"Cmd": ["echo", "hello"], "AttachStdout": True})
        if made.status != 201:
            return made
        started = self.api("POST", f"/exec/{made.body['Id']}/start", {})
        if started.status != 200:
            return started
        shown = self.api("GET", f"/exec/{made.body['Id']}/json")
        if shown.status == 200 and not shown.body["Running"] and shown.body["ExitCode"] == 0:
            assert "hello" in str(started.body), started
        return started

    def wait(self) -> Answer:
        try:
            return self.box("POST", "/wait", timeout=0.3)
        except TimeoutError:
            return Answer(0, None, {})

    def logs(self) -> Answer:
        return self.box("GET", "/logs?stdout=1&stderr=1")

    def attach(self) -> Answer:
        return self.box("POST", "/attach?logs=1&stdout=1")

    def top(self) -> Answer:
        return self.box("GET", "/top")

    def stats(self) -> Answer:
        return self.box("GET", "/stats?stream=0&one-shot=1")

    def changes(self) -> Answer:
        return self.box("GET", "/changes")

    def fetch(self) -> Answer:
        return self.box("GET", self.random.choice(["/archive?path=/etc/passwd", "/export"]))

    def put(self) -> Answer:
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w") as tar:
            member = tarfile.TarInfo("put")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"put"))
        return self.box("PUT", "/archive?path=/tmp", body.getvalue(), headers={"Content-Type": "application/x-tar"})

    def look(self) -> Answer:
        shown = self.box("GET", "/json?size=1")
        if shown.status == 200:
            state = shown.body["State"]
            assert state["Running"] == (state["Status"] in ("running", "paused", "restarting")), state
            assert not state["Running"] or state["Restarting"] or state["Pid"], state
        return shown

    def list(self) -> Answer:
        rows = self.api("GET", "/containers/json?all=1")
        names = [row["Names"][0] for row in rows.body]
        assert len(names) == len(set(names)), names
        return rows

    def prune(self) -> Answer:
        return self.api("POST", "/containers/prune")

    def tag(self) -> Answer:
        image = self.random.choice(["busybox", *IMAGES])
        return self.api("POST", f"/images/{image}/tag?repo={self.random.choice(IMAGES)}&tag=latest")

    def untag(self) -> Answer:
        return self.api("DELETE", f"/images/{self.random.choice(IMAGES)}?force={self.random.randrange(2)}")

    def import_(self) -> Answer:
        """Have an image of its own: the files are those of others, so that layers come and go as well."""
        label = urllib.parse.quote(f"LABEL number={self.random.randrange(3)}")
        changes = f"changes={label}&changes=CMD%20%5B%22sh%22%5D&changes=ENV%20PATH=/bin"
        return self.api(
            "POST", f"/images/create?fromSrc=-&repo={self.random.choice(IMAGES)}&tag=latest&{changes}", self.tar,
            headers={"Content-Type": "application/x-tar"},
        )  # fmt: skip

    tar = b""

    def prune_images(self) -> Answer:
        return self.api("POST", "/images/prune")


class Seen:
    """All that the API tells of containers and images, and what the machine has of them."""

    def __init__(self, engine: Berth) -> None:
        self.engine, self.layout = engine, engine.layout
        wait_for(self._settled, "no container to be about to end, start again or go")
        rows = engine.api("GET", "/containers/json?all=1").body
        found = [engine.api("GET", f"/containers/{row['Id']}/json").body for row in rows]
        self.containers = {one["Name"].removeprefix("/"): one for one in found}
        self.images = sorted(engine.api("GET", "/images/json").body, key=lambda one: str(one["Id"]))
        self.running = {one["Id"]: one for one in found if one["State"]["Running"]}

    def _settled(self) -> bool:
        rows = self.engine.api("GET", "/containers/json?all=1").body
        passing = {row["State"] for row in rows if not row["Command"].startswith("sleep")}
        return not {"restarting", "removing"} & {row["State"] for row in rows} and "running" not in passing

    def agree(self) -> None:
        """See that API, processes, control groups, mounts, directories and images say the same."""
        ids = {one["Id"] for one in self.containers.values()}
        for name, one in self.containers.items():
            assert self.engine.api("GET", f"/containers/{name}/json").body["Id"] == one["Id"]
            assert self.engine.api("GET", f"/images/{one['Image']}/json").status == 200, (name, one["Image"])
            assert one["State"]["Status"] in ("created", "running", "paused", "exited"), one["State"]
        _come_to("monitors", self._monitored, set(self.running))
        _come_to("control groups", self._groups, set(self.running))
        _come_to("root mounts", self._mounted, set(self.running))
        home = self.layout.data_root / "containers"
        _come_to("directories", lambda: {path.name for path in home.iterdir()}, ids)
        for ident, one in self.running.items():
            groups = Path(f"/proc/{one['State']['Pid']}/cgroup").read_text()
            assert ident in groups
            frozen = "FROZEN" in self._freezer(ident)
            assert frozen == one["State"]["Paused"], (one["Name"], frozen)
        records = {path.stem for path in (self.layout.images / "records").glob("*.json")}
        assert {f"sha256:{name}" for name in records} == {image["Id"] for image in self.images}
        used = {
            layer for image in self.images
            for layer in self.engine.api("GET", f"/images/{image['Id']}/json").body["RootFS"]["Layers"]
        }  # fmt: skip
        wait_for(lambda: self._layers() == len(used), f"{len(used)} layers")

    def _monitored(self) -> set[str]:
        lines = [line for _, line in self.engine.processes() if "conmon" in line.split()[0]]
        return {found[1] for line in lines if (found := re.search(r"-c ([0-9a-f]{64})", line))}

    def _groups(self) -> set[str]:
        found = set()
        for controller in Path("/sys/fs/cgroup").iterdir():
            parent = controller / self.layout.cgroup_parent.strip("/")
            if parent.is_dir():
                found |= {child.name for child in parent.iterdir() if child.is_dir()}
        return {name for name in found if re.fullmatch(r"[0-9a-f]{64}", name)}

    def _freezer(self, ident: str) -> str:
        parent = Path("/sys/fs/cgroup/freezer") / self.layout.cgroup_parent.strip("/")
        return (parent / ident / "freezer.state").read_text()

    def _mounted(self) -> set[str]:
        mounts = self.engine.host("cat", "/proc/self/mountinfo").out
        return set(re.findall(rf"{self.layout.exec_root}/containers/([0-9a-f]{{64}})/rootfs ", mounts))

    def _layers(self) -> int:
        return len(list((self.layout.images / "layers").iterdir()))


def _come_to(what: str, now: Callable[[], set[str]], wanted: set[str]) -> None:
    """Wait until what is there is what ought to be: some of it goes behind the answer."""
    try:
        wait_for(lambda: now() == wanted, what)
    except AssertionError:
        assert now() == wanted, what


@pytest.mark.timeout(300)
def test_clients_at_once_leave_one_truth(own_berth: Berth, busybox: Path) -> None:
    print(f"STORM_SEED={storm.SEED} STORM_CALLS={CALLS}")
    Lane.tar = busybox.read_bytes()
    lanes = [Lane(own_berth, number) for number in range(storm.LANES)]
    for _ in range(2):
        storm.blow(lanes, CALLS)
        before = Seen(own_berth)
        before.agree()
        own_berth.restart()
        after = Seen(own_berth)
        assert json.dumps(after.containers, sort_keys=True) == json.dumps(before.containers, sort_keys=True)
        assert after.images == before.images
        after.agree()
    storm.answered(lanes, ("make", "start", "stop", "kill", "restart", "drop", "execute", "tag", "untag", "import_"))
    own_berth.wipe_containers()
    wait_for(lambda: not own_berth.leaks(), "nothing to be left")
    for row in own_berth.api("GET", "/images/json").body:
        assert own_berth.api("DELETE", f"/images/{row['Id']}?force=1").status == 200
    wait_for(lambda: not os.listdir(own_berth.layout.images / "layers"), "no layer to be left")
    wait_for(lambda: not os.listdir(own_berth.layout.images / "blobs/sha256"), "no blob to be left")
