"""What the image store writes down beside blobs and layers, and how it names them. Pure."""

import base64
import re
from typing import Final

import msgspec

from berth.images.errors import BadArchive

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})\Z")
#: Characters of a layer's directory: with this many, 127 layers and two long paths fit the page of a mount's options.
_SHORT: Final = 22


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """``layer.json`` of an unpacked layer."""

    diff_id: str
    #: Bytes of its files, as Docker counts an image's size.
    size: int
    #: Bytes of the tar stream it was unpacked from.
    tar_size: int


class LayerRef(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of an image: the blob as it came, and the digest of what is in it."""

    blob: str
    diff_id: str


class ImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """``records/HEX.json``: an image exists when this does."""

    version: int = 1
    #: Digest of the configuration.
    id: str
    #: Digest of the manifest as it came.
    manifest: str
    layers: list[LayerRef]
    stored_ns: int
    #: The image it was made from here, if any; it may be gone.
    parent: str = ""
    #: The boot in which it was written, until all of it is known to be on the disk; then empty.
    boot_id: str = ""


def hex_of(digest: str) -> str:
    """Return the part of a digest that names a file; raises `BadArchive` for anything but SHA-256."""
    match = _DIGEST.match(digest)
    if match is None:
        raise BadArchive(f"digest {digest!r}: only sha256 is known here")
    return match[1]


def short_name(diff_id: str) -> str:
    """Return the name of a layer's directory: 110 bits of its digest. The record in it has the whole."""
    raw = bytes.fromhex(hex_of(diff_id))
    return base64.b32encode(raw).decode()[:_SHORT].lower()
