"""Requests about networks that come at the wrong moment or are one too many, on Berth and on the original."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engines import Answer, Berth, Dockerd, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

_SLEEP = {"Image": "busybox", "Cmd": ["sleep", "600"], "StopTimeout": 0}


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """Make calls at the same moment."""
    ready = threading.Barrier(len(calls))
    found: dict[int, Answer] = {}

    def make(number: int, call: Callable[[], Answer]) -> None:
        ready.wait()
        found[number] = call()

    threads = [threading.Thread(target=make, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(calls))]


def test_one_prune_at_a_time(engine: Engine) -> None:
    names = [f"heap{number}" for number in range(12)]
    for number, name in enumerate(names):
        body = {"Name": name, "Labels": {"heap": "1"}, "IPAM": {"Config": [{"Subnet": f"10.83.{number}.0/24"}]}}
        assert engine.api("POST", "/networks/create", body).status == 201
    prune = lambda: engine.api("POST", '/networks/prune?filters={"label":["heap"]}')  # noqa: E731
    answers = at_once(prune, prune, prune, prune)
    assert {one.status for one in answers} == {200, 409}
    assert {one.message for one in answers if one.status == 409} == {"a prune operation is already running"}
    gone = [name for one in answers if one.status == 200 for name in one.body["NetworksDeleted"] or ()]
    assert sorted(gone) == sorted(names)
    assert prune().status == 200, "and the next one is let"


def test_connecting_what_is_being_removed(engine: Engine) -> None:
    assert engine.api("POST", "/networks/create", {"Name": "late", "IPAM": {"Config": [{"Subnet": "10.84.0.0/24"}]}})
    asked = {"Container": "leaving", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.84.0.9"}}}
    try:
        for _ in range(8):
            ident = engine.api("POST", "/containers/create?name=leaving", _SLEEP).body["Id"]
            removed, *others = at_once(
                lambda: engine.api("DELETE", "/containers/leaving?v=1"),
                *[lambda: engine.api("POST", "/networks/late/connect", asked)] * 2,
                lambda: engine.api("POST", "/networks/late/disconnect", {"Container": "leaving"}),
            )
            assert removed.status == 204, removed
            going = f"Container {ident} is marked for removal and cannot be connected or disconnected to the network"
            is_not = f"container {ident} is not connected to the network late"
            fits = {200: "", 404: "No such container: leaving", 500: going}
            for answer in others:
                assert fits.get(answer.status, "?") in answer.message or is_not in answer.message, answer
        # nothing keeps the address
        settings = {"HostConfig": {"NetworkMode": "late"}, "NetworkingConfig": {"EndpointsConfig": {
            "late": {"IPAMConfig": {"IPv4Address": "10.84.0.9"}}}}}  # fmt: skip
        assert engine.api("POST", "/containers/create?name=heir", _SLEEP | settings).status == 201
        assert engine.api("POST", "/containers/heir/start").status == 204
        (member,) = engine.api("GET", "/networks/late").body["Containers"].values()
        assert member["Name"] == "heir"
    finally:
        engine.api("DELETE", "/containers/heir?force=1")
        assert engine.api("DELETE", "/networks/late").status == 204


#: One bridge elsewhere, and room for two networks.
_SMALL = {"bip": "10.85.255.1/24", "default-address-pools": [{"base": "10.85.0.0/23", "size": 24}]}


@pytest.fixture(params=["berth", "dockerd"])
def small_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each engine in turn, with small pools in its configuration file."""
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps(_SMALL))
    one: Engine
    if request.param == "berth":
        one = Berth("small", tmp_path / "small", "--config-file", str(config))
    else:
        one = SmallDockerd("smalld", tmp_path / "small")
    try:
        one.start()
        yield one
    finally:
        one.close()


class SmallDockerd(Dockerd):
    """One that reads the file beside its root."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--config-file", str(self.root.parent / "daemon.json")]


def test_one_network_more_than_the_pools_have(small_engine: Engine) -> None:
    create = lambda name: small_engine.api("POST", "/networks/create", {"Name": name})  # noqa: E731
    assert [create(name).status for name in ("a", "b")] == [201, 201]
    answer = create("c")
    if small_engine.kind == "berth":
        assert answer.status == 400, "as current Docker says it"
        assert "all predefined address pools have been fully subnetted" in answer.message
    else:
        assert answer.status == 404, answer
        assert "could not find an available, non-overlapping IPv4 address pool" in answer.message
    names = sorted(row["Name"] for row in small_engine.api("GET", "/networks").body)
    assert names == ["a", "b", "bridge", "host", "none"]
    assert small_engine.api("DELETE", "/networks/a").status == 204
    assert create("c").status == 201, "what was given back is given again"
    assert small_engine.api("GET", "/networks/c").body["IPAM"]["Config"][0]["Subnet"] == "10.85.0.0/24"
