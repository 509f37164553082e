"""Makes an image of another one and a layer above it, as ``docker commit`` does.

Fields of the configuration: moby ``image/image.go``, `NewChildImage`. Must not: know containers; they say what the
layer is.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import in_thread
from berth.base.clock import Clock, rfc3339
from berth.base.ids import ImageId
from berth.base.paths import Layout
from berth.images.bundle import add_layer, write_bundle
from berth.images.catalogue import Catalogue
from berth.images.errors import ImageNotFound
from berth.images.intake import Intake
from berth.images.manifest import above, parse_manifest
from berth.images.model import ImageRecord
from berth.images.naming import Naming, Publish
from berth.images.reference import Reference
from berth.images.skopeo import scratch

#: Writes a layer's tar at a path; tells whether there is anything in it.
WriteLayer = Callable[[Path], Awaitable[bool]]

#: Of the parent's configuration, what its children have too.
_INHERITED: Final = ("architecture", "os", "os.version", "os.features", "variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What is said about the new image."""

    #: Its ``config`` object.
    config: dict[str, Any]
    created_by: str = ""
    author: str = ""
    comment: str = ""
    #: The container it was made of.
    container: str = ""


class Committing:
    """Makes images out of images."""

    def __init__(self, layout: Layout, catalogue: Catalogue, intake: Intake, clock: Clock, publish: Publish) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._intake = intake
        self._clock = clock
        self._naming = Naming(catalogue, intake.locks, publish)

    async def commit(
        self, parent_id: str, write_layer: WriteLayer, said: Committed, target: Reference | None = None
    ) -> ImageId:
        """Make the image, named `target` if that is given; raises `ImageNotFound`."""
        parent = self._catalogue.by_id(parent_id)
        if parent is None:
            raise ImageNotFound(parent_id)
        storage = self._intake.storage
        async with scratch(self._layout, "commit") as directory:
            bundle = directory / "bundle"
            await in_thread(bundle.mkdir)
            tar = directory / "layer.tar"
            layer = None
            if await write_layer(tar):
                layer = await in_thread(add_layer, bundle, tar, created_by=said.created_by)
            raw = await in_thread(storage.blob(parent.id).read_bytes)
            body = child(
                msgspec.json.decode(raw), parent, said, rfc3339(self._clock.now_ns()), layer.digest if layer else ""
            )
            config = msgspec.json.encode(body)
            manifest = above(parse_manifest(storage.manifest(parent.id)), config, layer)
            await in_thread(write_bundle, bundle, config, manifest)
            take = partial(self._intake.take_directory, bundle, parent=parent.id)
            return await self._naming.take_in(take, [] if target is None else [target])


def child(below: dict[str, Any], parent: ImageRecord, said: Committed, created: str, diff_id: str) -> dict[str, Any]:
    """Write the configuration of an image with one more layer, or with none if `diff_id` is empty."""
    entry = {"created": created, "created_by": said.created_by}
    entry |= {"author": said.author} if said.author else {}
    entry |= {"comment": said.comment} if said.comment else {}
    history = _whole(below.get("history") or [], len(parent.stored.diff_ids), below.get("created"))
    body: dict[str, Any] = {name: below[name] for name in _INHERITED if name in below}
    body |= {
        "created": created,
        "config": said.config,
        "container": said.container,
        "rootfs": {"type": "layers", "diff_ids": [*parent.stored.diff_ids, *([diff_id] if diff_id else [])]},
        "history": [*history, entry if diff_id else entry | {"empty_layer": True}],
    }
    body |= {"author": said.author} if said.author else {}
    body |= {"comment": said.comment} if said.comment else {}
    return body


def _whole(history: Sequence[dict[str, Any]], layers: int, created: object) -> list[dict[str, Any]]:
    """Give every layer below an entry: which layer an entry of ours belongs to is told by counting."""
    missing = layers - sum(1 for entry in history if not entry.get("empty_layer"))
    return [*history, *({"created": created} for _ in range(missing))]
