"""The document, top to bottom: with the docker client on both engines, with our own client on ours.

What the document says of each command is checked, also where it says that Docker returns an error.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat import document as doc
from tests.support.engines import REPO, Done, Engine, docker_client, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

PAIRS = [("docker", "dockerd"), ("docker", "berth"), ("berth", "berth")]
_ID = re.compile(r"[0-9a-f]{64}\n")


class Reader:
    """Somebody who types the document's commands at a shell."""

    def __init__(self, client: str, engine: Engine, home: Path) -> None:
        self.client = client
        self.engine = engine
        self.home = home
        tools = home / "bin"
        tools.mkdir()
        (tools / "docker").symlink_to(docker_client())
        (tools / "berth").symlink_to(REPO / ".venv/bin/berth")
        self._environment = engine.environment | {"PATH": f"{tools}:{os.environ['PATH']}"}
        self._before = self._inventory()

    def types(self, line: str, *, fails: bool = False, **blanks: str) -> Done:
        """Type one line of the document; only what it leaves blank is filled in."""
        for name, value in blanks.items():
            assert f"<{name}>" in line
            line = line.replace(f"<{name}>", value)
        assert "<" not in line
        if self.client == "berth":
            line = re.sub(r"^docker\b", "berth", line)
        return self._shell(line, fails=fails)

    def compose(self, words: str, *, fails: bool = False) -> Done:
        """Run Compose on ``docker-compose.yml``; the docker client at hand has none, ours speaks to both engines."""
        return self._shell(f"berth compose {words}", fails=fails)

    def _shell(self, line: str, *, fails: bool) -> Done:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=self.home, timeout=120,
                              env=self._environment, stdin=subprocess.DEVNULL)  # fmt: skip
        assert (done.returncode != 0) == fails, f"{line}\n{done.stdout}{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Ask the engine itself."""
        answer = self.engine.api("GET", f"/{kind}/{name}{'/json' if kind == 'containers' else ''}")
        assert answer.status == 200, answer
        return dict(answer.body)

    def attached(self, network: str) -> set[str]:
        """Return the ids of the containers on a network."""
        return set(self.inspect("networks", network)["Containers"])

    def starts(self, *words: str) -> str:
        """Start a container of the reader's own and return its id."""
        return self.engine.docker("run", "-d", *words).out.strip()

    def data(self, volume: str) -> Path:
        return Path(str(self.inspect("volumes", volume)["Mountpoint"]))

    def _inventory(self) -> dict[str, set[str]]:
        return {
            "networks": {one["Name"] for one in self.engine.api("GET", "/networks").body},
            "volumes": {one["Name"] for one in self.engine.api("GET", "/volumes").body["Volumes"] or ()},
        }

    def close(self) -> None:
        self.engine.wipe_containers()
        now = self._inventory()
        for kind, names in now.items():
            for name in names - self._before[kind]:
                self.engine.api("DELETE", f"/{kind}/{name}")


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-on-{pair[1]}")
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    client, engine = request.param
    one = Reader(client, request.getfixturevalue(f"{engine}_images"), tmp_path)
    yield one
    one.close()


def test_networks(reader: Reader) -> None:
    assert _ID.fullmatch(reader.types(doc.CREATE_NETWORK).out)
    listed = reader.types(doc.LIST_NETWORKS).out
    assert re.search(r"^NETWORK ID +NAME +DRIVER +SCOPE$", listed, re.MULTILINE)
    assert re.search(r"^[0-9a-f]{12} +my_network +bridge +local$", listed, re.MULTILINE)
    for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
        assert re.search(rf"^[0-9a-f]{{12}} +{name} +{driver} +local$", listed, re.MULTILINE)

    (shown,) = json.loads(reader.types(doc.INSPECT_NETWORK).out)
    assert (shown["Name"], shown["Driver"], shown["Scope"], shown["Containers"]) == (
        "my_network",
        "bridge",
        "local",
        {},
    )
    (config,) = shown["IPAM"]["Config"]
    assert set(config) == {"Subnet", "Gateway"}

    first = reader.types(doc.RUN_ON_NETWORK).out
    assert _ID.fullmatch(first)
    first = first.strip()
    assert reader.attached("my_network") == {first}

    other = reader.starts("my_image")
    assert reader.types(doc.CONNECT, container_id=other).out == ""
    assert reader.attached("my_network") == {first, other}
    joined = reader.inspect("containers", other)["NetworkSettings"]["Networks"]
    assert set(joined) == {"bridge", "my_network"}
    (shown,) = json.loads(reader.types(doc.INSPECT_NETWORK).out)
    assert (
        shown["Containers"][other]["IPv4Address"]
        == f"{joined['my_network']['IPAddress']}/{joined['my_network']['IPPrefixLen']}"
    )

    again = reader.types(doc.CONNECT, container_id=other, fails=True)
    assert "already exists in network my_network" in again.err
    assert reader.types(doc.DISCONNECT, container_id=other).out == ""
    assert reader.attached("my_network") == {first}

    refused = reader.types(doc.REMOVE_NETWORK, fails=True)
    assert refused.code == 1
    assert "error while removing network: network my_network" in refused.err
    assert "has active endpoints" in refused.err
    assert reader.engine.api("DELETE", "/networks/my_network").status == 403
    reader.engine.docker("rm", "-f", first)
    assert reader.types(doc.REMOVE_NETWORK).out == "my_network\n"
    missing = reader.types(doc.REMOVE_NETWORK, fails=True)
    assert re.search("network my_network not found|No such network: my_network", missing.err)


def test_networks_in_compose(reader: Reader) -> None:
    (reader.home / "docker-compose.yml").write_text(doc.COMPOSE_NETWORKS)
    project = reader.home.name
    reader.compose("up -d")
    network = re.sub(r"[^-_a-z0-9]", "", project.lower()).lstrip("_-") + "_my_network"
    shown = reader.inspect("networks", network)
    assert shown["Driver"] == "bridge"
    for service in ("web", "db"):
        ident = reader.compose(f"ps -q --all {service}").out.strip()
        assert set(reader.inspect("containers", ident)["NetworkSettings"]["Networks"]) == {network}
    reader.compose("down")
    assert reader.engine.api("GET", f"/networks/{network}").status == 404


def test_volumes(reader: Reader) -> None:
    assert reader.types(doc.CREATE_VOLUME).out == "my_volume\n"
    listed = reader.types(doc.LIST_VOLUMES).out
    assert re.search(r"^DRIVER +VOLUME NAME$", listed, re.MULTILINE)
    assert re.search(r"^local +my_volume$", listed, re.MULTILINE)
    (shown,) = json.loads(reader.types(doc.INSPECT_VOLUME).out)
    assert (shown["Name"], shown["Driver"], shown["Scope"]) == ("my_volume", "local", "local")
    assert Path(shown["Mountpoint"]).is_dir()
    assert reader.types(doc.REMOVE_VOLUME).out == "my_volume\n"
    assert not Path(shown["Mountpoint"]).exists()
    missing = reader.types(doc.REMOVE_VOLUME, fails=True)
    assert re.search("get my_volume: no such volume|No such volume: my_volume", missing.err)

    ident = reader.types(doc.RUN_WITH_VOLUME).out.strip()
    (mount,) = reader.inspect("containers", ident)["Mounts"]
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", "my_volume", "/app/data")
    reader.engine.docker("exec", ident, "sh", "-c", "echo kept >/app/data/file")
    refused = reader.types(doc.REMOVE_VOLUME, fails=True)
    assert refused.code == 1
    assert f"remove my_volume: volume is in use - [{ident}]" in refused.err
    assert reader.engine.api("DELETE", "/volumes/my_volume").status == 409
    reader.engine.docker("stop", "-t", "0", ident)
    assert "volume is in use" in reader.types(doc.REMOVE_VOLUME, fails=True).err
    reader.engine.docker("rm", ident)
    second = reader.types(doc.RUN_WITH_VOLUME).out.strip()
    assert reader.engine.docker("exec", second, "cat", "/app/data/file").out == "kept\n"


def test_bind_mounts(reader: Reader) -> None:
    host = Path("/host/path")
    assert not host.parent.exists(), "the document's own directory is made and removed by this test"
    try:
        ident = reader.types(doc.RUN_WITH_BIND).out.strip()
        assert host.is_dir()
        reader.engine.docker("exec", ident, "sh", "-c", "echo seen >/container/path/file")
        assert (host / "file").read_text() == "seen\n"
        (host / "file").write_text("changed\n")
        assert reader.engine.docker("exec", ident, "cat", "/container/path/file").out == "changed\n"
        (mount,) = reader.inspect("containers", ident)["Mounts"]
        assert (mount["Type"], mount["Source"], mount["RW"]) == ("bind", "/host/path", True)
        reader.engine.docker("rm", "-f", ident)
    finally:
        shutil.rmtree(host.parent, ignore_errors=True)


def test_backing_up_and_restoring(reader: Reader) -> None:
    reader.types(doc.CREATE_VOLUME)
    data = reader.data("my_volume")
    (data / "sub").mkdir()
    (data / "sub/file").write_text("precious\n")
    os.chown(data / "sub/file", 1234, 4321)
    reader.types(doc.BACK_UP)
    assert (reader.home / "backup.tar.gz").stat().st_size > 0
    reader.types(doc.REMOVE_VOLUME)
    reader.types(doc.RESTORE)
    # The document's archive holds data/…, so that is what appears in the volume.
    restored = reader.data("my_volume") / "data/sub/file"
    assert restored.read_text() == "precious\n"
    assert (restored.stat().st_uid, restored.stat().st_gid) == (1234, 4321)
    assert reader.engine.api("GET", "/containers/json?all=1").body == []


def test_volumes_in_compose(reader: Reader) -> None:
    (reader.home / "docker-compose.yml").write_text(doc.COMPOSE_VOLUMES)
    reader.compose("up -d")
    volume = re.sub(r"[^-_a-z0-9]", "", reader.home.name.lower()).lstrip("_-") + "_my_volume"
    web = reader.compose("ps -q --all web").out.strip()
    db = reader.compose("ps -q --all db").out.strip()
    for ident, target in ((web, "/usr/share/nginx/html"), (db, "/var/lib/postgresql/data")):
        mounts = {one["Destination"]: one for one in reader.inspect("containers", ident)["Mounts"]}
        assert mounts[target]["Name"] == volume
    wait_for((reader.data(volume) / "index.html").exists, "the image's page in the volume")
    reader.compose("down")
    assert reader.data(volume).is_dir(), "down keeps volumes"
    reader.compose("up -d")
    reader.compose("down -v")
    assert reader.engine.api("GET", f"/volumes/{volume}").status == 404


def test_volume_drivers(reader: Reader) -> None:
    assert reader.types(doc.CREATE_WITH_DRIVER, driver_name="local").out == "my_volume\n"
    reader.types(doc.REMOVE_VOLUME)
    if reader.engine.kind == "dockerd":
        return  # it asks in vain for a plugin for 15 s, with the same words
    for name in ("nfs", "aws"):
        refused = reader.types(doc.CREATE_WITH_DRIVER, driver_name=name, fails=True)
        assert f'create my_volume: error looking up volume plugin {name}: plugin "{name}" not found' in refused.err
