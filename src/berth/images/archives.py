"""Images in and out of archives: load, save, import.

Archives are Docker's (``manifest.json``) or OCI image layouts (``index.json``), compressed or not. An archive is
somebody else's: members are read by name and never unpacked over anything.
"""

import os
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.clock import Clock, rfc3339
from berth.base.ids import ImageId, short
from berth.base.paths import Layout
from berth.images import messages
from berth.images.bundle import add_layer, finish_bundle, is_packed, lay_out
from berth.images.catalogue import Catalogue
from berth.images.changes import apply_changes
from berth.images.errors import BadArchive, ImageNotFound, InvalidReference
from berth.images.intake import Intake
from berth.images.manifest import Platform, choose, digest_of, parse_manifest
from berth.images.messages import Message
from berth.images.model import ImageRecord, StoredImage
from berth.images.naming import Naming, Publish
from berth.images.packing import write_archive
from berth.images.record import hex_of
from berth.images.reference import Reference, parse_reference
from berth.images.skopeo import scratch
from berth.images.unpacking import unpack_stream

#: Largest ``manifest.json`` or ``index.json`` that is read, in bytes.
_MANIFEST_LIMIT: Final = 8 << 20


class _ArchiveRow(msgspec.Struct):
    config: str = msgspec.field(default="", name="Config")
    repo_tags: list[str] | None = msgspec.field(default=None, name="RepoTags")
    layers: list[str] | None = msgspec.field(default=None, name="Layers")


class Archives:
    """Loads, saves and imports."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        intake: Intake,
        clock: Clock,
        publish: Publish,
        platform: Platform,
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._intake = intake
        self._naming = Naming(catalogue, intake.locks, publish)
        self._clock = clock
        self._publish = publish
        self._platform = platform

    async def load(self, body: AsyncIterator[bytes], *, quiet: bool = False) -> AsyncGenerator[Message, None]:
        """Take in every image of an archive; `body` is its bytes."""
        async with scratch(self._layout, "load") as directory:
            archive = directory / "archive.tar"
            await unpack_stream(body, archive)
            names = await in_thread(_members, archive)
            if "manifest.json" in names:
                loading = self._load_docker(archive, quiet=quiet)
            elif "index.json" in names:
                loading = self._load_oci(archive, directory, quiet=quiet)
            else:
                raise BadArchive("neither manifest.json nor index.json is in it, so it holds no images")
            async for message in loading:
                yield message

    async def _load_docker(self, archive: Path, *, quiet: bool) -> AsyncGenerator[Message, None]:
        raw = await in_thread(_member, archive, "manifest.json")
        try:
            rows = msgspec.json.decode(raw, type=list[_ArchiveRow])
        except msgspec.DecodeError as exc:
            raise BadArchive(f"manifest.json: {exc}") from None
        for index, row in enumerate(rows):
            names = [parse_reference(name).or_latest() for name in row.repo_tags or ()]
            take = partial(self._intake.take_from, f"docker-archive:{archive}:@{index}")
            for message in await self._loaded(take, names, quiet=quiet):
                yield message

    async def _load_oci(self, archive: Path, directory: Path, *, quiet: bool) -> AsyncGenerator[Message, None]:
        index = parse_manifest(await in_thread(_member, archive, "index.json"))
        tree = directory / "layout"
        await in_thread(_extract_blobs, archive, tree)
        for entry in index.manifests or ():
            notes = entry.annotations or {}
            raw = await in_thread(_checked_blob, tree, entry.digest)
            inner = parse_manifest(raw)
            if inner.is_index:
                fit = choose(inner, self._platform)
                if fit is None:
                    raise BadArchive(f"it has no image for {self._platform}")
                raw = await in_thread(_checked_blob, tree, fit.digest)
            named = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
            take = partial(self._intake.take_blobs, tree, raw)
            for message in await self._loaded(take, _oci_names(named), quiet=quiet):
                yield message

    def _layer_lines(self, ident: ImageId) -> list[Message]:
        image = self._catalogue.by_id(ident)
        chain = image.stored.layer_chain if image is not None else ()
        return [messages.progress("Loading layer", short(one.diff_id), one.tar_size, one.tar_size) for one in chain]

    async def _loaded(
        self, take: Callable[[], Awaitable[ImageId]], names: Sequence[Reference], *, quiet: bool
    ) -> list[Message]:
        ident = await self._naming.take_in(take, names, action="load")
        said = [] if quiet else self._layer_lines(ident)
        if names:
            return [*said, *(messages.stream(f"Loaded image: {name.familiar}\n") for name in names)]
        return [*said, messages.stream(f"Loaded image ID: {ident}\n")]

    async def save(self, refs: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Yield one archive of several images, readable as Docker's and as an OCI layout; raises `ImageNotFound`."""
        wanted: dict[str, tuple[ImageRecord, list[Reference]]] = {}
        for ref in refs:
            for image, names in self._to_save(ref):
                _, known = wanted.setdefault(image.id, (image, []))
                known += [name for name in names if name not in known]
        async with scratch(self._layout, "save") as directory:
            saved: list[tuple[Path, list[Reference]]] = []
            for ident, (image, names) in wanted.items():
                saved.append((await self._unpacked(image.stored, directory / hex_of(ident)), names))
                self._publish("save", ident, ident)
            async for piece in write_archive(saved):
                yield piece

    async def _unpacked(self, image: StoredImage, directory: Path) -> Path:
        """Lay an image out with layers that are not packed, as every engine takes them."""
        laid = directory / "image"
        await in_thread(lay_out, self._intake.storage, image, laid)
        if not is_packed(image, any_layer=True):
            return laid
        target = directory / "unpacked"
        options = ["--format", "v2s2", "--dest-decompress"]
        await self._intake.skopeo.copy(f"dir:{laid}", f"dir:{target}", options=options)
        return target

    def _to_save(self, ref: str) -> list[tuple[ImageRecord, list[Reference]]]:
        image = self._catalogue.resolve_or_none(ref)
        if image is None:
            # A bare repository means all its tags (moby image/tarexport/save.go, parseNames).
            named = parse_reference(ref)
            found = [] if named.tag or named.digest else self._catalogue.tagged(named.repository)
            if not found:
                raise ImageNotFound(named.or_latest().familiar)
            return found
        try:
            named = parse_reference(ref)
        except InvalidReference:
            return [(image, [])]
        if self._catalogue.find(named.or_latest()) is None or named.digest:
            return [(image, [])]
        if not named.tag:
            return self._catalogue.tagged(named.repository)
        return [(image, [named])]

    async def import_(
        self,
        body: AsyncIterator[bytes],
        *,
        target: Reference | None,
        message: str = "",
        changes: Sequence[str] = (),
        source: str = "-",
        platform: Platform | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Make an image of one layer out of a root file system's tar; `changes` are Dockerfile instructions."""
        config = apply_changes({}, changes)
        async with scratch(self._layout, "import") as directory:
            tar = directory / "layer.tar"
            await unpack_stream(body, tar)
            await in_thread(_check_tar, tar)
            comment = message or f"Imported from {source}"
            layer = await in_thread(add_layer, directory, tar, created_by="", comment=comment)
            await in_thread(
                finish_bundle,
                directory,
                config=config,
                layers=[layer],
                created=rfc3339(self._clock.now_ns()),
                platform=platform or self._platform,
                comment=comment,
            )
            take = partial(self._intake.take_directory, directory)
            names = [] if target is None else [target.or_latest()]
            ident = await self._naming.take_in(take, names, action="import")
        yield messages.status(ident)


def _members(archive: Path) -> set[str]:
    try:
        with tarfile.open(archive, "r:") as tar:
            return {os.path.normpath(name) for name in tar.getnames()}
    except (tarfile.TarError, EOFError) as exc:
        raise BadArchive(str(exc)) from None


def _check_tar(archive: Path) -> None:
    try:
        with tarfile.open(archive, "r:") as tar:
            tar.next()
    except (tarfile.TarError, EOFError) as exc:
        raise BadArchive(str(exc)) from None


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive, "r:") as tar:
        for info in tar:
            if os.path.normpath(info.name) == name and info.isreg() and info.size <= _MANIFEST_LIMIT:
                body = tar.extractfile(info)
                return body.read() if body is not None else b""
    raise BadArchive(f"{name} is not a file")


def _extract_blobs(archive: Path, tree: Path) -> None:
    """Put an archive's blobs into `tree` by the hex of their digests, which nobody has checked."""
    tree.mkdir()
    with tarfile.open(archive, "r:") as tar:
        for info in tar:
            parts = os.path.normpath(info.name).split("/")
            if not info.isreg() or len(parts) != 3 or parts[:2] != ["blobs", "sha256"] or not parts[2].isalnum():
                continue
            body = tar.extractfile(info)
            if body is None:
                continue
            with (tree / parts[2]).open("wb") as out:
                while piece := body.read(1 << 20):
                    out.write(piece)


def _checked_blob(tree: Path, digest: str) -> bytes:
    try:
        with (tree / hex_of(digest)).open("rb") as body:
            data = body.read(_MANIFEST_LIMIT)
    except FileNotFoundError:
        raise BadArchive(f"blob {digest} is missing") from None
    if digest_of(data) != digest:
        raise BadArchive(f"what is there as {digest} has the digest {digest_of(data)}")
    return data


def _oci_names(text: str) -> list[Reference]:
    if not text:
        return []
    try:
        return [parse_reference(text).or_latest()]
    except InvalidReference:
        return []
