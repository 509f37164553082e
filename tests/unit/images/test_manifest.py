"""Manifests, platforms, times, and the blobs of images made here."""

import json

import pytest

from berth.base.errors import InvalidArgument
from berth.images.errors import BadArchive
from berth.images.manifest import (
    MadeLayer,
    Platform,
    choose,
    digest_of,
    machine_platform,
    make_config,
    make_manifest,
    parse_manifest,
    parse_platform,
    parse_time_ns,
    suits,
)

AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("", AMD64),
        ("linux", AMD64),
        ("linux/arm64", Platform("linux", "arm64")),
        ("aarch64", Platform("linux", "arm64")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("linux/x86_64", AMD64),
        ('{"os":"linux","architecture":"s390x"}', Platform("linux", "s390x")),
    ],
)
def test_platforms(text: str, platform: Platform) -> None:
    assert parse_platform(text, AMD64) == platform


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "{", "li nux"])
def test_bad_platforms(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_platform(text, AMD64)


def test_machines() -> None:
    assert machine_platform("x86_64") == AMD64
    assert str(machine_platform("armv7l")) == "linux/arm/v7"


def test_the_fitting_manifest_is_chosen() -> None:
    def entry(digest: str, architecture: str, **more: str) -> dict[str, object]:
        return {"digest": digest, "platform": {"os": "linux", "architecture": architecture, **more}}

    index = parse_manifest(
        json.dumps(
            {
                "manifests": [
                    entry("a", "amd64"),
                    entry("v6", "arm", variant="v6"),
                    entry("v7", "arm", variant="v7"),
                    {"digest": "note", "platform": {"os": "unknown", "architecture": "unknown"}},
                ]
            }
        ).encode()
    )
    assert index.is_index

    def chosen(platform: Platform) -> str | None:
        found = choose(index, platform)
        return None if found is None else found.digest

    assert chosen(AMD64) == "a"
    assert chosen(Platform("linux", "arm", "v7")) == "v7"
    assert chosen(Platform("linux", "s390x")) is None
    with pytest.raises(BadArchive):
        parse_manifest(b"<html>")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert parse_time_ns(text) == ns


def test_made_blobs_refer_to_each_other() -> None:
    layer = MadeLayer(digest=digest_of(b"tar"), size=3, created_by="test")
    config = make_config(
        config={"Cmd": ["sh"]}, layers=[layer], created="2026-01-01T00:00:00Z", platform=AMD64, comment="why"
    )
    manifest = parse_manifest(make_manifest(config, [layer]))
    assert manifest.config is not None
    assert manifest.config.digest == digest_of(config)
    assert [one.digest for one in manifest.layers or ()] == [layer.digest]
    body = json.loads(config)
    assert body["rootfs"]["diff_ids"] == [layer.digest]
    assert body["history"] == [{"created": "2026-01-01T00:00:00Z", "created_by": "test"}]
    assert (body["architecture"], body["comment"]) == ("amd64", "why")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ("linux/arm64", True),
        ("arm64", True),
        ("linux/arm64/v8", True),
        ("linux", True),
        ("linux/amd64", False),
        ("windows/arm64", False),
        ("linux/arm/v7", False),
    ],
)
def test_what_an_image_of_a_platform_is_good_for(wanted: str, *, fits: bool) -> None:
    asked = parse_platform(wanted, Platform("linux"))
    assert suits(Platform("linux", "arm64", ""), asked) is fits
    assert suits(Platform("linux", "arm64", "v8"), asked) is fits
