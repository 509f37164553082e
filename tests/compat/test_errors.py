"""Error paths, on Berth and on the original: statuses and words that clients decide by."""

import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.errors_table import CONTAINERS, MOUNTS, NETWORKS, STARTS, VOLUMES, Case, Start
from tests.support.clients import needs_original_20
from tests.support.engines import Answer, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

_SLEEP = {"Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0}
_ENGINES = ("berth", "dockerd")


class World:
    """An engine with one object of each kind to be in the way."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: What every call is made with: the newest version both speak.
        self.prefix = "/v1.41" if engine.kind == "dockerd" else ""
        self._made("/networks/create", {"Name": "errnet", "IPAM": {"Config": [{"Subnet": "10.177.0.0/24"}]}})
        self._made("/volumes/create", {"Name": "errvol"})
        host = {"NetworkMode": "errnet", "Binds": ["errvol:/v"]}
        self.run = self._made("/containers/create?name=errrun", _SLEEP | {"HostConfig": host})["Id"]
        self._made("/containers/create?name=errstop", _SLEEP)
        self._made("/containers/create?name=errhost", _SLEEP | {"HostConfig": {"NetworkMode": "host"}})
        self._made("/containers/create?name=errnone", _SLEEP | {"HostConfig": {"NetworkMode": "none"}})
        self._made("/containers/create?name=errjoin", _SLEEP | {"HostConfig": {"NetworkMode": "container:errrun"}})
        ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]}
        self._made(
            "/containers/create?name=errport",
            _SLEEP | {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": ports}},
        )
        for name in ("errrun", "errhost", "errport", "errnone", "errjoin"):
            assert self.ask("POST", f"/containers/{name}/start").status == 204
        self.before = self.inventory()

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return self.engine.api(method, self.prefix + urllib.parse.quote(path, safe="/?&=%+:"), body)

    def _made(self, path: str, body: Any) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status == 201, answer
        return answer.body

    def inventory(self) -> dict[str, set[str]]:
        """Name everything the engine lists."""
        return {
            "networks": {one["Name"] for one in self.ask("GET", "/networks").body},
            "volumes": {one["Name"] for one in self.ask("GET", "/volumes").body["Volumes"] or ()},
            "containers": {one["Names"][0] for one in self.ask("GET", "/containers/json?all=1").body},
        }

    def tidy(self) -> None:
        """Take away what an accepted request made."""
        now = self.inventory()
        for name in now["containers"] - self.before["containers"]:
            self.ask("DELETE", f"/containers{name}?force=1&v=1")
        for name in now["networks"] - self.before["networks"]:
            self.ask("DELETE", f"/networks/{name}")
        for name in now["volumes"] - self.before["volumes"]:
            self.ask("DELETE", f"/volumes/{name}")

    def close(self) -> None:
        for name in ("errjoin", "errrun", "errstop", "errhost", "errport", "errnone"):
            self.ask("DELETE", f"/containers/{name}?force=1&v=1")
        self.ask("DELETE", "/networks/errnet")
        self.ask("DELETE", "/volumes/errvol")


@pytest.fixture(scope="module")
def berth_world(berth_engine: Engine) -> Iterator[World]:
    made = World(berth_engine)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dockerd_world(dockerd_engine: Engine) -> Iterator[World]:
    made = World(dockerd_engine)
    yield made
    made.close()


def _cases() -> Iterator[Any]:
    for engine in _ENGINES:
        for case in (*NETWORKS, *VOLUMES, *MOUNTS, *CONTAINERS):
            if engine == "berth" or case.ask_there:
                yield pytest.param(engine, case, id=f"{engine}-{case.title}")


@pytest.mark.parametrize(("engine_kind", "case"), list(_cases()))
def test_status_and_words(engine_kind: str, case: Case, request: pytest.FixtureRequest) -> None:
    needs_original_20(engine_kind)
    world: World = request.getfixturevalue(f"{engine_kind}_world")
    answer = world.ask(case.method, case.path, case.body)
    status, words = case.status, case.words
    if engine_kind == "dockerd":
        status = case.there or status
        words = words if case.there_words is None else case.there_words
    try:
        assert answer.status == status, answer.message
        if words:
            assert words.format(run=world.run).lower() in answer.message.lower()
        if status >= 400 and not (case.leaves_there and engine_kind == "dockerd"):
            assert world.inventory() == world.before, "a refused request left something behind"
    finally:
        world.tidy()


@pytest.mark.parametrize(
    ("engine_kind", "start"),
    [
        pytest.param(engine, start, id=f"{engine}-{str(start.body)[:100]}")
        for engine in _ENGINES
        for start in STARTS
        if engine == "berth" or start.ask_there
    ],
)
def test_what_cannot_be_started(engine_kind: str, start: Start, request: pytest.FixtureRequest) -> None:
    needs_original_20(engine_kind)
    world: World = request.getfixturevalue(f"{engine_kind}_world")
    made = world.ask("POST", "/containers/create?name=errx", start.body)
    try:
        assert made.status == 201, made
        answer = world.ask("POST", "/containers/errx/start")
        status, words = start.status, start.words
        if engine_kind == "dockerd":
            status = start.there or status
            words = words if start.there_words is None else start.there_words
        assert answer.status == status, answer.message
        assert words.lower() in answer.message.lower()
        state = world.ask("GET", "/containers/errx/json").body["State"]
        assert not state["Running"]
        if start.exit_code is not None:
            assert state["ExitCode"] == start.exit_code
    finally:
        world.tidy()
    assert world.inventory() == world.before


def test_every_deviation_of_the_original_has_a_reason() -> None:
    for case in (*NETWORKS, *VOLUMES, *MOUNTS, *CONTAINERS):
        assert case.ask_there or case.why
        assert not (case.there or case.leaves_there) or case.why, case.title
