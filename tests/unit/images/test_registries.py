"""Configuration handed to skopeo, credentials, and what its refusals become."""

import asyncio
import json
from pathlib import Path

import pytest

from berth.base.errors import Kind
from berth.base.paths import Layout
from berth.images.reference import parse_reference
from berth.images.refusals import login_refusal, pull_refusal, push_refusal
from berth.images.skopeo import Skopeo, auth_file, passed_on, registries_conf
from berth.images.transfers import registry_of
from berth.wire.images import AuthConfig

HEAD = 'time="2026-01-01T00:00:00Z" level=fatal msg="'


def test_mirrors_and_insecure_registries() -> None:
    text = registries_conf(["http://mirror:5000/", "https://m.example"], {"b:1", "a:1"})
    assert text.index('location = "a:1"') < text.index('location = "b:1"')
    assert 'location = "mirror:5000"\ninsecure = true' in text
    assert 'location = "m.example"\ninsecure = false' in text


def test_credentials() -> None:
    assert auth_file("r", None) is None
    assert auth_file("r", AuthConfig()) is None
    made = json.loads(auth_file("r:5000", AuthConfig(username="u", password="p")) or b"")
    assert made == {"auths": {"r:5000": {"auth": "dTpw"}}}
    token = json.loads(auth_file("r", AuthConfig(identitytoken="t")) or b"")
    assert token["auths"]["r"]["identitytoken"] == "t"


@pytest.mark.parametrize(
    ("address", "registry"),
    [("", "docker.io"), ("https://index.docker.io/v1/", "docker.io"), ("127.0.0.1:5000", "127.0.0.1:5000"),
     ("http://r.example/v2/", "r.example")],
)  # fmt: skip
def test_server_addresses(address: str, registry: str) -> None:
    assert registry_of(address) == registry


def test_only_proxies_and_paths_are_passed_on() -> None:
    passed = passed_on({"https_proxy": "x", "SECRET": "y", "PATH": "/p"})
    assert passed == {"https_proxy": "x", "PATH": "/p"}


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "reading manifest 2 in r/a: manifest unknown: manifest unknown",
            Kind.NOT_FOUND,
            "manifest for r.io/a:2 not found: manifest unknown: manifest unknown",
        ),
        (
            "reading manifest 2 in r/a: requested access to the resource is denied",
            Kind.NOT_FOUND,
            (
                "pull access denied for r.io/a, repository does not exist or may require 'docker login': "
                "denied: requested access to the resource is denied"
            ),
        ),
        (
            "unable to retrieve auth token: invalid username/password: unauthorized: incorrect",
            Kind.NOT_FOUND,
            (
                "pull access denied for r.io/a, repository does not exist or may require 'docker login': "
                "denied: requested access to the resource is denied"
            ),
        ),
        (
            'pinging container registry r.io: Get \\"https://r.io/v2/\\": dial tcp: connection refused',
            Kind.SYSTEM,
            'Get "https://r.io/v2/": dial tcp: connection refused',
        ),
        ("something new", Kind.SYSTEM, "something new"),
    ],
)
def test_refused_pulls(said: str, kind: Kind, words: str) -> None:
    error = pull_refusal(f'{HEAD}{said}"\n', parse_reference("r.io/a:2"))
    assert (error.kind, str(error)) == (kind, words)


def test_refused_pushes_and_logins() -> None:
    assert str(push_refusal(HEAD + 'denied: requested access to the resource is denied"')).startswith("denied: ")
    assert "unauthorized" in str(push_refusal(HEAD + 'authentication required"'))
    refused = login_refusal(HEAD + 'logging into r: invalid username/password"', "r")
    assert (refused.kind, str(refused)) == (
        Kind.UNAUTHORISED,
        "login attempt to https://r/v2/ failed with status: 401 Unauthorized",
    )


async def test_two_first_uses_at_once_write_the_configuration_once(tmp_path: Path) -> None:
    for number in range(20):
        layout = Layout(tmp_path / f"data{number}", tmp_path / f"run{number}")
        skopeo = Skopeo(layout, environment={})

        async def use(skopeo: Skopeo = skopeo) -> None:
            async with skopeo.credentials("r", AuthConfig(username="u", password="p")):
                pass

        await asyncio.gather(*(use() for _ in range(8)))
        assert [path.name for path in layout.skopeo.iterdir()] == ["registries.conf"]
