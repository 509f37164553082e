"""Images as the Engine API shows them: list, inspect, history. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from berth.base.clock import rfc3339
from berth.images.manifest import parse_time_ns
from berth.images.model import ImageRecord
from berth.images.reference import parse_reference
from berth.wire.filters import Filters

#: Filters of ``GET /images/json``.
LIST_FILTERS: Final = frozenset({"dangling", "label", "label!", "before", "since", "reference", "until"})
#: The fields a container configuration has in inspect before API 1.50, where an image's ``Config`` was one.
_CONTAINER_ONLY: Final[dict[str, Any]] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "", "Volumes": None,
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
}  # fmt: skip


def summary(
    image: ImageRecord,
    *,
    parent: str = "",
    containers: int = -1,
    shared_size: int = -1,
    version: tuple[int, int] = (1, 44),
) -> dict[str, Any]:
    """Render an image for the list, in the shape of an API `version`; -1 means "not asked for"."""
    shown: dict[str, Any] = {
        "Containers": containers,
        "Created": image.created_ns // 1_000_000_000,
        "Id": image.id,
        "Labels": dict(image.config.labels) or None,
        "ParentId": parent,
        "RepoDigests": list(image.repo_digests),
        "RepoTags": list(image.repo_tags),
        "SharedSize": shared_size,
        "Size": image.size,
    }
    if version < (1, 44):
        shown["VirtualSize"] = image.size
    return shown


def inspect(image: ImageRecord, *, version: tuple[int, int], last_tagged_ns: int, parent: str = "") -> dict[str, Any]:
    """Render one image whole, in the shape of an API `version`."""
    stored = image.stored
    config: dict[str, Any] = msgspec.json.decode(stored.config_json) or {}
    if version < (1, 50):
        config = _CONTAINER_ONLY | config
    shown: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Parent": parent,
        "Comment": stored.comment,
        "Created": rfc3339(image.created_ns),
        "DockerVersion": stored.docker_version,
        "Author": stored.author,
        "Config": config,
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "GraphDriver": {"Data": _graph_data(image.layers), "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list(stored.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(last_tagged_ns)},
    }
    if image.variant:
        shown["Variant"] = image.variant
    if version < (1, 44):
        shown["VirtualSize"] = image.size
    return shown


def _graph_data(layers: Sequence[str]) -> dict[str, str]:
    """Say where the layers are; Docker adds directories it would mount at, we mount images nowhere."""
    data = {"UpperDir": layers[0]} if layers else {}
    if len(layers) > 1:
        data["LowerDir"] = ":".join(layers[1:])
    return data


def history(image: ImageRecord, ancestors: Sequence[ImageRecord] = ()) -> list[dict[str, Any]]:
    """Render how an image came to be, newest first; `ancestors` are the images here it was made from, in turn."""
    layers = iter(image.stored.layer_chain)
    rows = []
    for entry in image.stored.history:
        layer = None if entry.empty_layer else next(layers, None)
        rows.append(
            {
                "Comment": entry.comment or "",
                "Created": parse_time_ns(entry.created or "") // 1_000_000_000,
                "CreatedBy": entry.created_by or "",
                "Id": "<missing>",
                "Size": 0 if layer is None else layer.size,
                "Tags": None,
            }
        )
    rows += [
        {"Comment": "", "Created": 0, "CreatedBy": "", "Id": "<missing>", "Size": layer.size, "Tags": None}
        for layer in layers
    ]
    rows.reverse()
    for row, known in zip(rows, (image, *ancestors), strict=False):
        row |= {"Id": known.id, "Tags": list(known.repo_tags) or None}
    return rows


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Return the chain identifiers of layers, bottom first (OCI image-spec config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}" if chain else diff_id
        chain.append("sha256:" + sha256(text.encode()).hexdigest() if chain else diff_id)
    return chain


def selected(
    images: Iterable[ImageRecord], filters: Filters, *, resolve: Callable[[str], ImageRecord], until_ns: int | None
) -> list[ImageRecord]:
    """Return the images that the filters of a list leave, newest first, their names cut to those asked for."""
    older = min((resolve(ref).created_ns for ref in filters.get("before")), default=None)
    newer = max((resolve(ref).created_ns for ref in filters.get("since")), default=None)
    kept = []
    for image in images:
        dangling = not image.repo_tags and not image.repo_digests
        if "dangling" in filters and filters.boolean("dangling", default=False) != dangling:
            continue
        if (older is not None and image.created_ns >= older) or (newer is not None and image.created_ns <= newer):
            continue
        if until_ns is not None and image.created_ns > until_ns:
            continue
        if not filters.labels(image.config.labels) or not filters.without_labels(image.config.labels):
            continue
        shown = _named(image, filters.get("reference"))
        if shown is not None:
            kept.append(shown)
    kept.sort(key=lambda image: (-image.created_ns, image.familiar))
    return kept


def _named(image: ImageRecord, patterns: Sequence[str]) -> ImageRecord | None:
    if not patterns:
        return image
    tags = tuple(name for name in image.repo_tags if any(matches(pattern, name) for pattern in patterns))
    digests = tuple(name for name in image.repo_digests if any(matches(pattern, name) for pattern in patterns))
    if not tags and not digests:
        return None
    return ImageRecord(stored=image.stored, repo_tags=tags, repo_digests=digests)


def matches(pattern: str, familiar: str) -> bool:
    """Tell whether a name, or its repository alone, fits a pattern in which ``*`` and ``?`` stop at a slash."""
    compiled = _compiled(pattern)
    return bool(compiled.match(familiar) or compiled.match(parse_reference(familiar).familiar_repository))


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        close = pattern.find("]", at + 2) if char == "[" else -1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif close > 0:
            inner = pattern[at + 1 : close]
            out += "[" + ("^" + inner[1:] if inner[0] in "^!" else inner).replace("\\", "\\\\") + "]"
            at = close
        else:
            out += re.escape(char)
        at += 1
    return re.compile(out + r"\Z")
