"""Reads what skopeo has put into the image store (containers/storage, overlay driver).

The store's own files are read: ``overlay-images/images.json`` (images, their top layer), ``overlay-layers/layers.json``
(layers, their parents and sizes), the blobs beside them, and ``overlay/ID/link`` (a layer's short name below
``overlay/l``). Each is replaced by renaming, so a reader never sees half a file.
Must not: write there. Names in that store mean nothing to us.
"""

import base64
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from berth.base.errors import EngineError, SystemFault
from berth.base.ids import ImageId
from berth.images.manifest import parse_time_ns
from berth.images.model import Layer, StoredImage
from berth.wire.containers import decode
from berth.wire.images import ImageConfig, ImageFile

log = logging.getLogger(__name__)

#: Layers whose unpacking was interrupted carry this flag until the store clears them away.
_INCOMPLETE: Final = "incomplete"

_Stamp = tuple[int, int, int]
_Row = TypeVar("_Row", bound=msgspec.Struct)


class _ImageRow(msgspec.Struct):
    id: str
    layer: str = ""
    names: list[str] | None = None
    digest: str = ""
    created: str = ""


class _LayerRow(msgspec.Struct):
    id: str
    parent: str = ""
    created: str = ""
    diff_digest: str = msgspec.field(default="", name="diff-digest")
    diff_size: int = msgspec.field(default=0, name="diff-size")
    flags: dict[str, object] | None = None


class _Descriptor(msgspec.Struct, frozen=True):
    digest: str = ""


class _Manifest(msgspec.Struct, frozen=True):
    config: _Descriptor = _Descriptor()


@dataclass(frozen=True)
class Holdings:
    """Everything in the store at one moment."""

    images: dict[str, StoredImage]
    #: The store's own names, needed to find what a copy has just brought.
    names: dict[str, str]


class StoreUnreadable(SystemFault):
    """The image store's files are damaged or of an unknown kind."""


class Storage:
    """The image store below one root; everything is cached until its files change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp: tuple[_Stamp | None, _Stamp | None] | None = None
        self._holdings = Holdings({}, {})

    def look(self) -> Holdings:
        """Return what is there now; a few stat calls when nothing has changed."""
        images_file = self._root / "overlay-images" / "images.json"
        layers_file = self._root / "overlay-layers" / "layers.json"
        stamp = (_stamp(images_file), _stamp(layers_file))
        if stamp != self._stamp:
            self._holdings = self._read(images_file, layers_file)
            self._stamp = stamp
        return self._holdings

    def layer_bytes(self) -> int:
        """Return the unpacked bytes of all layers, each counted once."""
        seen = {layer.ident: layer.size for image in self.look().images.values() for layer in image.layer_chain}
        return sum(seen.values())

    def manifest(self, ident: str) -> bytes:
        """Return the manifest kept with an image; raises `StoreUnreadable`."""
        return self._blob(ident.removeprefix("sha256:"), "manifest")

    def _read(self, images_file: Path, layers_file: Path) -> Holdings:
        try:
            image_rows = _rows(images_file, list[_ImageRow])
            layer_rows = {row.id: row for row in _rows(layers_file, list[_LayerRow])}
        except msgspec.DecodeError as exc:
            raise StoreUnreadable(f"the image store in {self._root} cannot be read: {exc}") from exc
        before = {image.id.removeprefix("sha256:"): image for image in self._holdings.images.values()}
        layers: dict[str, Layer] = {}
        images: dict[str, StoredImage] = {}
        names: dict[str, str] = {}
        for row in image_rows:
            image = before.get(row.id)
            if image is None:
                try:
                    image = self._image(row, layer_rows, layers)
                except (OSError, msgspec.DecodeError, EngineError) as exc:
                    log.warning("image %s in %s is left out: %s", row.id[:12], self._root, exc)
                    continue
            images[image.id] = image
            names |= dict.fromkeys(row.names or (), image.id)
        return Holdings(images, names)

    def _image(self, row: _ImageRow, rows: dict[str, _LayerRow], layers: dict[str, Layer]) -> StoredImage:
        raw = self._config_blob(row.id)
        body = msgspec.json.decode(raw, type=ImageFile)
        chain: list[Layer] = []
        at = row.layer
        while at:
            layer_row = rows.get(at)
            if layer_row is None or _INCOMPLETE in (layer_row.flags or {}):
                raise StoreUnreadable(f"its layer {at[:12]} is missing or incomplete")
            if at not in layers:
                layers[at] = self._layer(layer_row)
            chain.append(layers[at])
            at = layer_row.parent
        chain.reverse()
        config = bytes(body.config)
        if config == b"null":
            config = b"{}"
        return StoredImage(
            id=ImageId(f"sha256:{row.id}"),
            layer_chain=tuple(chain),
            created_ns=parse_time_ns(body.created or ""),
            stored_ns=parse_time_ns(row.created),
            architecture=body.architecture or "",
            os=body.os or "linux",
            variant=body.variant or "",
            author=body.author or "",
            comment=body.comment or (body.history[-1].comment or "" if body.history else ""),
            docker_version=body.docker_version or "",
            config=decode(config, ImageConfig),
            config_json=config,
            diff_ids=tuple(body.rootfs.diff_ids or ()),
            history=tuple(body.history or ()),
            manifest_digest=row.digest,
        )

    def _layer(self, row: _LayerRow) -> Layer:
        home = self._root / "overlay" / row.id
        try:
            path = self._root / "overlay" / "l" / (home / "link").read_text(encoding="ascii").strip()
            if not path.is_dir():
                path = home / "diff"
        except FileNotFoundError:
            path = home / "diff"
        return Layer(ident=row.id, diff_id=row.diff_digest, path=str(path), size=max(row.diff_size, 0))

    def _config_blob(self, ident: str) -> bytes:
        try:
            return self._blob(ident, f"sha256:{ident}")
        except FileNotFoundError:
            # A store may name an image otherwise than by its configuration; then the manifest says which blob it is.
            manifest = msgspec.json.decode(self._blob(ident, "manifest"), type=_Manifest)
            return self._blob(ident, manifest.config.digest)

    def _blob(self, ident: str, key: str) -> bytes:
        directory = self._root / "overlay-images" / ident
        # The store writes keys that are plain lower-case words as they are, others encoded.
        name = key if key.isalnum() else "=" + base64.b64encode(key.encode()).decode()
        return (directory / name).read_bytes()


def _rows(path: Path, kind: type[list[_Row]]) -> list[_Row]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return []


def _stamp(path: Path) -> _Stamp | None:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    return seen.st_mtime_ns, seen.st_ino, seen.st_size
