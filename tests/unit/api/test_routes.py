"""Paths, versions and errors: the tables every request goes through."""

import pytest

from berth.api import versions
from berth.api.call import Call
from berth.api.errors import STATUS, to_response
from berth.api.routes import NoSuchPage, Route, Router
from berth.base.errors import Conflict, EngineError, Kind, NotFound


async def handler(_: Call) -> object:
    return None


ROUTES = (
    Route("GET", "/networks", handler),
    Route("GET", "/networks/{id}", handler),
    Route("POST", "/networks/create", handler),
    Route("GET", "/images/{name:.*}/json", handler),
    Route("DELETE", "/images/{name:.*}", handler),
)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/networks", "/networks", {}),
        ("HEAD", "/networks", "/networks", {}),
        ("GET", "/networks/abc", "/networks/{id}", {"id": "abc"}),
        ("GET", "/images/127.0.0.1:5000/a/b:c/json", "/images/{name:.*}/json", {"name": "127.0.0.1:5000/a/b:c"}),
        ("DELETE", "/images/a/b", "/images/{name:.*}", {"name": "a/b"}),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, template: str, parameters: dict[str, str]) -> None:
    route, found = Router(ROUTES).find(method, path)
    assert (route.path, found) == (template, parameters)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nope"), ("GET", "/networks/a/b"), ("PUT", "/networks"), ("GET", "")]
)
def test_other_paths_find_none(method: str, path: str) -> None:
    with pytest.raises(NoSuchPage, match="page not found"):
        Router(ROUTES).find(method, path)


def test_versions() -> None:
    assert versions.split("/v1.41/info") == ((1, 41), "/info")
    assert versions.split("/info") == (versions.NEWEST, "/info")
    with pytest.raises(versions.VersionTooNew, match="too new. Maximum supported API version is"):
        versions.split("/v1.999/info")
    with pytest.raises(versions.VersionTooOld, match="too old. Minimum supported API version is"):
        versions.split("/v1.10/info")


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind)


def test_errors_become_status_and_message() -> None:
    assert to_response(NotFound("network x not found")) == (404, {"message": "network x not found"})
    assert to_response(ValueError("odd"))[0] == 500


def test_several_errors_are_told_together_the_engines_own_first() -> None:
    group = ExceptionGroup("x", [ValueError("odd"), Conflict("taken"), ExceptionGroup("y", [EngineError("more")])])
    status, body = to_response(group)
    assert status == 409
    assert body["message"].splitlines() == ["taken", "more", "odd"]
