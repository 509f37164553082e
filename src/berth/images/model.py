"""An image as the engine knows it, and the record of one of its names. Pure."""

from dataclasses import dataclass, field

import msgspec

from berth.base.ids import ImageId
from berth.wire.images import HistoryEntry, ImageConfig


class TagRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One name of an image, as stored: ``registry/path:tag`` or ``registry/path@sha256:…``.

    The table of these is the truth about names; the image store's own names mean nothing to us.
    """

    reference: str
    image_id: str
    tagged_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as it lies on disk."""

    #: Digest of its tar stream: a layer is the same in all images that have it.
    diff_id: str
    #: Digest of the blob it came as, which may be packed.
    blob: str
    #: Absolute path, short on purpose: it becomes part of an overlay mount's options.
    path: str
    #: Bytes of its files.
    size: int
    #: Bytes of its tar stream.
    tar_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """What the image store holds about one image, names left out."""

    id: ImageId
    #: Bottom layer first.
    layer_chain: tuple[Layer, ...]
    created_ns: int
    #: When this store got it.
    stored_ns: int
    architecture: str
    os: str
    variant: str
    author: str
    comment: str
    docker_version: str
    config: ImageConfig
    #: The config object as the image has it, for answers that must show it whole.
    config_json: bytes
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    #: Digest of the manifest as it came.
    manifest_digest: str
    #: The image it was made from here, if any; it may be gone.
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image with its names in the form users type them. `layers` has the topmost directory first."""

    stored: StoredImage
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = field(default=())

    @property
    def id(self) -> ImageId:
        """``sha256:`` and the digest of the configuration."""
        return self.stored.id

    @property
    def created_ns(self) -> int:
        """When it was made, nanoseconds since the epoch."""
        return self.stored.created_ns

    @property
    def size(self) -> int:
        """Bytes of the files of all its layers."""
        return sum(layer.size for layer in self.stored.layer_chain)

    @property
    def architecture(self) -> str:
        """In Go's words (``amd64``)."""
        return self.stored.architecture

    @property
    def os(self) -> str:
        """In Go's words (``linux``)."""
        return self.stored.os

    @property
    def variant(self) -> str:
        """Of the architecture (``v8``), mostly empty."""
        return self.stored.variant

    @property
    def config(self) -> ImageConfig:
        """What containers made from it inherit."""
        return self.stored.config

    @property
    def layers(self) -> tuple[str, ...]:
        """Directories to mount, topmost first, as overlay's ``lowerdir`` wants them: no directory twice.

        A layer that comes several times, as empty ones often do, counts where it is topmost: what it says it says
        again there, whatever lies between.
        """
        return tuple(dict.fromkeys(layer.path for layer in reversed(self.stored.layer_chain)))

    @property
    def familiar(self) -> str:
        """Its first name, or its identifier if it has none."""
        return (self.repo_tags or self.repo_digests or (self.id,))[0]
