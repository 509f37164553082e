"""Which image has which names: the table of names over what the image store holds.

The only writer of the table. Must not: copy or delete images.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Final

from berth.base.clock import Clock
from berth.base.ids import ImageId, by_prefix, is_full_id
from berth.images.errors import AmbiguousImage, ImageNotFound
from berth.images.model import ImageRecord, StoredImage, TagRecord
from berth.images.reference import Reference, parse_reference
from berth.images.storage import Storage
from berth.store.base import Records

_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})\Z")


class Catalogue:
    """Finds images by name, identifier or prefix, and keeps their names."""

    def __init__(self, storage: Storage, tags: Records[TagRecord], clock: Clock) -> None:
        self._storage = storage
        self._tags = tags
        self._clock = clock
        self._writing = asyncio.Lock()
        self._by_image: dict[str, list[Reference]] = {}
        for record in tags.all():
            self._by_image.setdefault(record.image_id, []).append(parse_reference(record.reference))

    def resolve(self, ref: str) -> ImageRecord:
        """Return the image that `ref` means; raises `ImageNotFound`, `InvalidReference`."""
        bare = ref.removeprefix("sha256:")
        images = self._storage.images
        if is_full_id(bare):
            if f"sha256:{bare}" in images:
                return self.record(images[f"sha256:{bare}"])
            raise ImageNotFound(ref)
        named = parse_reference(ref).or_latest()
        found = self.find(named)
        if found is not None:
            return found
        match = _PREFIX.match(ref)
        fits = by_prefix(f"sha256:{match[1]}", images) if match else []
        if len(fits) > 1:
            raise AmbiguousImage(named.familiar, fits)
        if not fits:
            raise ImageNotFound(named.familiar)
        return self.record(images[fits[0]])

    def find(self, reference: Reference) -> ImageRecord | None:
        """Return the image with exactly this name, or None; a digest wins over a tag beside it."""
        key = reference.with_digest(reference.digest).full if reference.digest else reference.full
        tag = self._tags.get(key)
        stored = self._storage.images.get(tag.image_id) if tag is not None else None
        return None if stored is None else self.record(stored)

    def resolve_or_none(self, ref: str) -> ImageRecord | None:
        """Return the image that `ref` means, or None if there is none; raises `InvalidReference`."""
        try:
            return self.resolve(ref)
        except ImageNotFound:
            return None

    def tagged(self, repository: str) -> list[tuple[ImageRecord, list[Reference]]]:
        """Return the images with tags in a repository (its full name), with those tags."""
        found = []
        for ident, names in self._by_image.items():
            chosen = [name for name in names if name.repository == repository and name.tag]
            image = self.by_id(ident) if chosen else None
            if image is not None:
                found.append((image, chosen))
        return found

    def by_id(self, ident: str) -> ImageRecord | None:
        """Return the image with this identifier, or None."""
        stored = self._storage.images.get(ident)
        return None if stored is None else self.record(stored)

    def all(self) -> list[ImageRecord]:
        """Return every image in the store, named or not."""
        return [self.record(stored) for stored in self._storage.images.values()]

    def record(self, stored: StoredImage) -> ImageRecord:
        """Put an image and its names together."""
        names = self.names(stored.id)
        return ImageRecord(
            stored=stored,
            repo_tags=tuple(name.familiar for name in names if not name.digest),
            repo_digests=tuple(name.familiar for name in names if name.digest),
        )

    def names(self, ident: str) -> list[Reference]:
        """Return the names of an image, tags and digests."""
        return sorted(self._by_image.get(ident, ()), key=lambda name: name.full)

    def last_tagged_ns(self, ident: str) -> int:
        """Return when an image was last given a name here."""
        records = (self._tags.get(name.full) for name in self._by_image.get(ident, ()))
        return max((record.tagged_ns for record in records if record is not None), default=0)

    async def put(self, reference: Reference, ident: ImageId) -> None:
        """Give an image a name; another image that had it loses it."""
        async with self._writing:
            before = self._tags.get(reference.full)
            if before is not None and before.image_id == ident:
                return
            await self._tags.put(
                reference.full,
                TagRecord(reference=reference.full, image_id=ident, tagged_ns=self._clock.now_ns()),
            )
            if before is not None:
                self._forget(before.image_id, reference)
            self._by_image.setdefault(ident, []).append(reference)

    async def drop(self, references: Iterable[Reference]) -> None:
        """Take names away."""
        async with self._writing:
            for reference in references:
                record = self._tags.get(reference.full)
                if record is not None:
                    await self._tags.drop(reference.full)
                    self._forget(record.image_id, reference)

    async def tidy(self) -> None:
        """Drop names of images the store does not hold, as after a loss of its directory."""
        images = self._storage.images
        for ident in [ident for ident in self._by_image if ident not in images]:
            await self.drop(list(self._by_image[ident]))

    def _forget(self, ident: str, reference: Reference) -> None:
        left = [name for name in self._by_image.get(ident, ()) if name != reference]
        if left:
            self._by_image[ident] = left
        else:
            self._by_image.pop(ident, None)
