"""Manifests and configurations of images: reading registries' answers, making our own. Pure."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from berth.base.errors import InvalidArgument
from berth.images.errors import BadArchive
from berth.wire.images import HistoryEntry

# Media types: OCI image-spec, and Docker's image manifest version 2, schema 2.
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_PACKED_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

#: The kernel's names of machines (uname -m) in Go's words, with the variant (containerd platforms, normalizeArch).
_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""), "arm64": ("arm64", ""),
    "armv7l": ("arm", "v7"), "armhf": ("arm", "v7"), "armv6l": ("arm", "v6"), "armel": ("arm", "v6"),
    "i386": ("386", ""), "i686": ("386", ""), "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""), "s390x": ("s390x", ""),
}  # fmt: skip

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)\Z")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Points to a blob; in an index also says for which platform it is."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    platform: dict[str, object] | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A manifest or an index: `manifests` is set in an index, `layers` and `config` in a manifest."""

    schema_version: int = 0
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than layers."""
        return self.manifests is not None


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on; empty parts are not asked for."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def machine_platform(machine: str) -> Platform:
    """Return the platform of a machine by its kernel name (``uname -m``)."""
    architecture, variant = _ARCHITECTURES.get(machine.lower(), (machine, ""))
    return Platform("linux", architecture, variant)


def suits(image: Platform, wanted: Platform) -> bool:
    """Whether an image is what is asked for; what either side does not say is no reason against it."""
    pairs = zip(
        (image.os, image.architecture, image.variant), (wanted.os, wanted.architecture, wanted.variant), strict=True
    )
    return all(has == asked or not has or not asked for has, asked in pairs)


def parse_platform(text: str, default: Platform) -> Platform:
    """Parse ``os/arch[/variant]``, ``os`` or ``arch``; empty text is `default`. Raises `InvalidArgument`.

    The API also sends an OCI platform object as JSON.
    """
    if not text:
        return default
    if text.startswith("{"):
        try:
            given = msgspec.json.decode(text, type=dict[str, object])
        except msgspec.DecodeError:
            raise InvalidArgument(f"failed to parse platform: {text}") from None
        return Platform(*(str(given.get(key) or "") for key in ("os", "architecture", "variant")))
    parts = text.lower().split("/")
    if len(parts) > 3 or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise InvalidArgument(f'"{text}": invalid platform, expected os/architecture[/variant]')
    if len(parts) == 1:
        if parts[0] == "linux":
            return default
        architecture, variant = _ARCHITECTURES.get(parts[0], (parts[0], ""))
        return Platform("linux", architecture, variant)
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], architecture, parts[2] if len(parts) > 2 else variant)


def digest_of(data: bytes) -> str:
    """Return the SHA-256 digest with its algorithm."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest_digest(raw: bytes) -> str:
    """Return the digest a registry has for a manifest: one of the first schema is signed within itself.

    There the digest is that of what was signed (distribution, "Image Manifest V 2, Schema 1", "Signed Manifests").
    """
    try:
        signed = msgspec.json.decode(raw, type=_Signed)
        if not signed.signatures:
            return digest_of(raw)
        said = msgspec.json.decode(_unpadded(signed.signatures[0].protected), type=_Protected)
        return digest_of(raw[: said.format_length] + _unpadded(said.format_tail))
    except (msgspec.DecodeError, ValueError):
        return digest_of(raw)


class _Signature(msgspec.Struct):
    protected: str = ""


class _Signed(msgspec.Struct):
    signatures: list[_Signature] = msgspec.field(default_factory=list)


class _Protected(msgspec.Struct, rename="camel"):
    format_length: int
    format_tail: str


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest or index; raises `BadArchive`."""
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as exc:
        raise BadArchive(f"manifest: {exc}") from None


def choose(index: Manifest, want: Platform) -> Descriptor | None:
    """Return the manifest of an index that fits `want` best, or None."""
    fits = []
    for entry in index.manifests or ():
        have = entry.platform or {}
        if have.get("os") != want.os or have.get("architecture") != want.architecture:
            continue
        variant = str(have.get("variant") or "")
        if want.variant and variant and variant != want.variant:
            continue
        fits.append((variant != want.variant, entry))
    return min(fits, key=lambda fit: fit[0])[1] if fits else None


def parse_time_ns(text: str) -> int:
    """Parse RFC 3339 into nanoseconds since the epoch; 0 for nothing, nonsense and times before it."""
    match = _TIME.match(text)
    if match is None:
        return 0
    offset = "+00:00" if match[3] in "Zz" else match[3]
    seconds = int(datetime.fromisoformat(match[1] + offset).astimezone(UTC).timestamp())
    return max(seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0")), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLayer:
    """A layer of an image we make: a tar stream by its digest, and the blob that holds it if it is packed."""

    digest: str
    size: int
    created_by: str
    comment: str = ""
    blob: str = ""
    blob_size: int = 0


def make_config(
    *,
    config: dict[str, object],
    layers: Sequence[MadeLayer],
    created: str,
    platform: Platform,
    author: str = "",
    comment: str = "",
) -> bytes:
    """Write the configuration blob of an image made here; its digest is the image's identifier."""
    history = [
        HistoryEntry(created=created, created_by=layer.created_by, comment=layer.comment or None) for layer in layers
    ]
    body: dict[str, object] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": msgspec.to_builtins(history),
    }
    body |= {"variant": platform.variant} if platform.variant else {}
    body |= {"author": author} if author else {}
    body |= {"comment": comment} if comment else {}
    return msgspec.json.encode(body)


def above(below: Manifest, config: bytes, layer: MadeLayer | None) -> bytes:
    """Write the manifest of an image with a configuration of its own, and a layer more, in the form of the one below.

    Docker's form and OCI's must not be mixed in one manifest: registries refuse it.
    """
    oci = below.config is not None and below.config.media_type == OCI_CONFIG
    layers = list(below.layers or ())
    if layer is not None:
        layers.append(Descriptor(media_type=OCI_LAYER if oci else DOCKER_LAYER, digest=layer.digest, size=layer.size))
    made = Manifest(
        schema_version=2,
        media_type=OCI_MANIFEST if oci else DOCKER_MANIFEST,
        config=Descriptor(media_type=OCI_CONFIG if oci else DOCKER_CONFIG, digest=digest_of(config), size=len(config)),
        layers=layers,
    )
    return msgspec.json.encode(made)


def make_manifest(config: bytes, layers: Sequence[MadeLayer]) -> bytes:
    """Write the manifest for a configuration and its unpacked layers, in Docker's form.

    Docker's and not OCI's: the store keeps the configuration byte for byte, health checks included.
    """
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": digest_of(config)},
            "layers": [
                {"mediaType": DOCKER_PACKED_LAYER, "size": one.blob_size, "digest": one.blob}
                if one.blob
                else {"mediaType": DOCKER_LAYER, "size": one.size, "digest": one.digest}
                for one in layers
            ],
        }
    )
