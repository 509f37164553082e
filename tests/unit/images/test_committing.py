"""The configuration and the manifest of an image made of another."""

from typing import Any

import msgspec
import pytest

from berth.base.ids import ImageId
from berth.images.committing import Committed, child
from berth.images.manifest import DOCKER_LAYER, OCI_LAYER, MadeLayer, above, digest_of, parse_manifest
from berth.images.model import ImageRecord, StoredImage
from berth.wire.images import ImageConfig

CREATED = "2026-01-01T00:00:00Z"


def _parent(*diff_ids: str) -> ImageRecord:
    stored = StoredImage(
        id=ImageId("sha256:p"), layer_chain=(), created_ns=0, stored_ns=0, architecture="", os="", variant="",
        author="", comment="", docker_version="", config=ImageConfig(), config_json=b"{}", diff_ids=diff_ids,
        history=(), manifest_digest="",
    )  # fmt: skip
    return ImageRecord(stored=stored)


def _child(below: dict[str, Any], *diff_ids: str, layer: str = "sha256:new") -> dict[str, Any]:
    said = Committed(config={"Cmd": ["x"]}, created_by="sh", comment="why", container="c")
    return child(below, _parent(*diff_ids), said, CREATED, layer)


def test_a_child_inherits_the_platform_and_history_and_nothing_else() -> None:
    below = {
        "architecture": "arm64", "variant": "v8", "os": "linux", "author": "other", "config": {"Cmd": ["old"]},
        "container_config": {}, "history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}],
    }  # fmt: skip
    assert _child(below, "sha256:a") == {
        "architecture": "arm64", "variant": "v8", "os": "linux", "created": CREATED, "config": {"Cmd": ["x"]},
        "container": "c", "comment": "why", "rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:new"]},
        "history": [*below["history"], {"created": CREATED, "created_by": "sh", "comment": "why"}],  # type: ignore[misc]
    }  # fmt: skip


def test_layers_without_history_get_an_entry_each() -> None:
    made = _child({"created": "then"}, "sha256:a", "sha256:b", layer="")
    assert made["rootfs"]["diff_ids"] == ["sha256:a", "sha256:b"]
    assert [entry.get("empty_layer", False) for entry in made["history"]] == [False, False, True]


@pytest.mark.parametrize(("kind", "layer"), [("oci.image", OCI_LAYER), ("docker.container.image", DOCKER_LAYER)])
def test_a_manifest_keeps_to_one_form(kind: str, layer: str) -> None:
    below = {
        "schemaVersion": 2, "config": {"mediaType": f"application/vnd.{kind}.v1+json", "digest": "sha256:c", "size": 1},
        "layers": [{"mediaType": "packed", "digest": "sha256:a", "size": 7}],
    }  # fmt: skip
    if "oci" in kind:
        below["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"  # type: ignore[index]
    made = parse_manifest(
        above(parse_manifest(msgspec.json.encode(below)), b"{}", MadeLayer(digest="sha256:n", size=9, created_by=""))
    )
    assert [(one.media_type, one.digest, one.size) for one in made.layers or ()] == [
        ("packed", "sha256:a", 7), (layer, "sha256:n", 9),
    ]  # fmt: skip
    assert made.config is not None
    assert (made.config.digest, "oci" in made.media_type) == (digest_of(b"{}"), "oci" in kind)
