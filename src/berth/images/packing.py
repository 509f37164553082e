"""Writes saved images into one archive that is Docker's form and an OCI layout at once, as newer engines do."""

import json
import os
import tarfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import in_thread
from berth.images.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, digest_of, parse_manifest
from berth.images.reference import Reference

_CHUNK: Final = 1 << 20
_BLOCK: Final = tarfile.BLOCKSIZE


async def write_archive(images: Sequence[tuple[Path, Sequence[Reference]]]) -> AsyncGenerator[bytes, None]:
    """Yield the archive; each image is a directory of skopeo's ``dir:`` form with unpacked layers."""
    small: dict[str, bytes] = {}
    large: dict[str, Path] = {}
    rows: list[dict[str, Any]] = []
    index: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for directory, names in images:
        manifest = parse_manifest(await in_thread((directory / "manifest.json").read_bytes))
        config = manifest.config
        layers = manifest.layers or []
        if config is None:
            continue
        small[_blob(config.digest)] = await in_thread((directory / config.digest.partition(":")[2]).read_bytes)
        large |= {_blob(layer.digest): directory / layer.digest.partition(":")[2] for layer in layers}
        oci = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": OCI_CONFIG, "digest": config.digest, "size": config.size},
                "layers": [{"mediaType": OCI_LAYER, "digest": one.digest, "size": one.size} for one in layers],
            }
        )
        small[_blob(digest_of(oci))] = oci
        entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(oci), "size": len(oci)}
        index += [
            entry
            | {
                "annotations": {
                    "io.containerd.image.name": name.full,
                    "org.opencontainers.image.ref.name": name.tag,
                }
            }
            for name in names
        ] or [entry]
        rows.append(
            {
                "Config": _blob(config.digest),
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [_blob(layer.digest) for layer in layers],
            }
        )
        for name in names:
            last = layers[-1].digest if layers else config.digest
            repositories.setdefault(name.familiar_repository, {})[name.tag] = last.partition(":")[2]
    small |= {
        "index.json": msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index}),
        "manifest.json": msgspec.json.encode(rows),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }
    if repositories:
        small["repositories"] = json.dumps(repositories).encode()
    async for piece in _stream(small, large):
        yield piece


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


async def _stream(small: dict[str, bytes], large: dict[str, Path]) -> AsyncGenerator[bytes, None]:
    for directory in ("blobs", "blobs/sha256"):
        info = tarfile.TarInfo(directory)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        yield info.tobuf(tarfile.GNU_FORMAT)
    for name in sorted([*small, *large]):
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        if name in small:
            info.size = len(small[name])
            yield info.tobuf(tarfile.GNU_FORMAT) + small[name]
        else:
            with await in_thread(large[name].open, "rb") as body:
                info.size = os.fstat(body.fileno()).st_size
                yield info.tobuf(tarfile.GNU_FORMAT)
                while piece := await in_thread(body.read, _CHUNK):
                    yield piece
        yield b"\0" * (-info.size % _BLOCK)
    yield b"\0" * (_BLOCK * 2)
