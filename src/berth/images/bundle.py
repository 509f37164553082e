"""Images as directories (skopeo's ``dir:`` transport): made from layers of our own, or laid out from the store.

Blocking parts run in threads of the caller's choice. Must not: know names or recipes.
"""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from berth.images.manifest import MadeLayer, Platform, digest_of, make_config, make_manifest
from berth.images.model import StoredImage
from berth.images.record import hex_of
from berth.images.storage import Storage

#: First line of a directory of this kind (containers/image, directory transport).
_VERSION: Final = b"Directory Transport Version: 1.1\n"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, directory or link of a layer made by hand. `link` makes a symbolic link, `content` a file."""

    path: str
    content: bytes | None = None
    source: Path | None = None
    link: str = ""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


def write_layer(target: IO[bytes], entries: Iterable[Entry], *, mtime_s: int) -> None:
    """Write `entries` as a tar stream; parents must come before children."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, mtime_s
            if entry.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
                tar.addfile(info)
            elif entry.source is not None:
                with entry.source.open("rb") as body:
                    info.size = os.fstat(body.fileno()).st_size
                    tar.addfile(info, body)
            elif entry.content is not None:
                info.size = len(entry.content)
                tar.addfile(info, BytesIO(entry.content))
            else:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)


def layer_bytes(entries: Iterable[Entry], *, mtime_s: int) -> bytes:
    """Return a small layer made of `entries`."""
    out = BytesIO()
    write_layer(out, entries, mtime_s=mtime_s)
    return out.getvalue()


def add_layer(directory: Path, tar: Path, *, created_by: str, comment: str = "") -> MadeLayer:
    """Take an unpacked tar file into the directory under its digest (moves it); blocking."""
    seen, size = hashlib.sha256(), 0
    with tar.open("rb") as body:
        while piece := body.read(_CHUNK):
            seen.update(piece)
            size += len(piece)
    os.replace(tar, directory / seen.hexdigest())
    return MadeLayer(digest=f"sha256:{seen.hexdigest()}", size=size, created_by=created_by, comment=comment)


def add_layer_bytes(directory: Path, data: bytes, *, created_by: str, comment: str = "") -> MadeLayer:
    """Take a small layer into the directory; blocking."""
    digest = digest_of(data)
    (directory / digest.removeprefix("sha256:")).write_bytes(data)
    return MadeLayer(digest=digest, size=len(data), created_by=created_by, comment=comment)


def finish_bundle(
    directory: Path,
    *,
    config: dict[str, object],
    layers: Sequence[MadeLayer],
    created: str,
    platform: Platform,
    comment: str = "",
) -> str:
    """Write configuration and manifest, so that ``dir:DIRECTORY`` is an image; return its identifier. Blocking.

    Layers that the store has already need not be in the directory.
    """
    blob = make_config(config=config, layers=layers, created=created, platform=platform, comment=comment)
    write_bundle(directory, blob, make_manifest(blob, layers))
    return digest_of(blob)


def write_bundle(directory: Path, config: bytes, manifest: bytes) -> None:
    """Write an image's two small parts beside the layers in the directory; blocking."""
    (directory / hex_of(digest_of(config))).write_bytes(config)
    (directory / "manifest.json").write_bytes(manifest)
    (directory / "version").write_bytes(_VERSION)


def is_packed(image: StoredImage, *, any_layer: bool = False) -> bool:
    """Tell whether all layers of an image, or any of them, came packed."""
    packed = [layer.blob != layer.diff_id for layer in image.layer_chain]
    return any(packed) if any_layer else all(packed)


def lay_out(storage: Storage, image: StoredImage, directory: Path) -> None:
    """Write an image of the store as it came into a new directory of this form, by hard links; blocking."""
    directory.mkdir(parents=True)
    for digest in {image.id, *(layer.blob for layer in image.layer_chain)}:
        os.link(storage.blob(digest), directory / hex_of(digest))
    (directory / "manifest.json").write_bytes(storage.manifest(image.id))
    (directory / "version").write_bytes(_VERSION)
