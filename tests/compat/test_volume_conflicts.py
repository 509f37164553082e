"""Volumes asked for, removed and pruned at the same moment, on Berth and on the original."""

import json
import urllib.parse

import pytest

from tests.compat.test_network_conflicts import at_once
from tests.support.engines import Answer, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

_HEAP = 40


def prune(engine: Engine, **filters: list[str]) -> Answer:
    """Prune as clients do that know nothing of ``all``: volumes with a name, too."""
    return engine.api("POST", f"/v1.41/volumes/prune?filters={urllib.parse.quote(json.dumps(filters))}")


def test_one_prune_at_a_time(engine: Engine) -> None:
    names = {f"heap{number}" for number in range(_HEAP)}
    for name in names:
        assert engine.api("POST", "/volumes/create", {"Name": name, "Labels": {"heap": "1"}}).status == 201
    calls = [lambda: prune(engine, label=["heap"])] * 4
    answers = at_once(*calls)
    assert {one.status for one in answers} == {200, 409}
    assert {one.message for one in answers if one.status == 409} == {"a prune operation is already running"}
    gone = [name for one in answers if one.status == 200 for name in one.body["VolumesDeleted"] or ()]
    assert sorted(gone) == sorted(names)
    assert prune(engine, label=["heap"]).status == 200, "and the next one is let"
    engine.api("DELETE", "/berth/volume-trash")


def test_a_volume_that_is_there_is_had_as_it_is(engine: Engine) -> None:
    """Same name and driver, other options or labels: the old one, and no error."""
    first = {"Name": "twice", "Labels": {"a": "b"}, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}
    assert engine.api("POST", "/volumes/create", first).status == 201
    try:
        for other in ({}, {"Labels": {"c": "d"}}, {"DriverOpts": {"type": "none", "device": "/srv", "o": "bind"}}):
            again = engine.api("POST", "/volumes/create", {"Name": "twice", **other})
            assert again.status == 201
            assert (again.body["Labels"], again.body["Options"]) == (first["Labels"], first["DriverOpts"])
    finally:
        engine.api("DELETE", "/volumes/twice")
        engine.api("DELETE", "/berth/volume-trash")
