"""The image store: blobs as they came, layers unpacked, and a record for each image.

``blobs/sha256/HEX``, ``layers/SHORT/diff`` with ``layer.json`` beside it, ``records/HEX.json``. An image exists when
its record does; a blob or layer stays as long as a record, or something on its way in, names it. All of it arrives by
renaming, so that a kill at any moment leaves at most what the next start sweeps away. Nothing waits for the disk: an
image is *settled* once its file system has been synchronised in the background, and one that was not when the machine
went down is dropped, because no more than parts of it may be there.
Must not: know names of images, or how they travel.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import Tasks, finish, in_thread
from berth.base.errors import EngineError, SystemFault
from berth.base.ids import ImageId
from berth.images.manifest import parse_time_ns
from berth.images.model import Layer, StoredImage
from berth.images.record import ImageRow, LayerRow, hex_of, short_name
from berth.kernel.files import sync_filesystem, write_atomically
from berth.kernel.removal import remove_tree
from berth.wire.containers import decode
from berth.wire.images import ImageConfig, ImageFile

log = logging.getLogger(__name__)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_VERSION: Final = 1
#: How long an image may wait before the disk is made to take it, in seconds: what comes meanwhile goes along, and
#: records that are written now need not queue behind hundreds of megabytes.
SETTLE_AFTER_S: Final = 2.0
#: Between tries to remove a tree, in seconds: unpackers die with their engine, but not in the same instant.
REMOVAL_PAUSES_S: Final = (0.05, 0.2, 1.0, 3.0)


class StoreDamaged(SystemFault):
    """Something that a record names is missing or not what it should be."""


@dataclass(eq=False)
class Pins:
    """Blobs and layers, by digest, that something on its way in counts on: they stay though no record names them."""

    blobs: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)


class Storage:
    """The store below one root. Its methods are called in the event loop; it is the only writer."""

    def __init__(self, root: Path, *, boot_id: str = "") -> None:
        self._root = root
        self._boot_id = boot_id or _BOOT_ID.read_text(encoding="ascii").strip()
        self._loaded = False
        #: A record that could not be read may name any blob and layer: then none is swept.
        self._unreadable = False
        self._rows: dict[str, ImageRow] = {}
        self._images: dict[str, StoredImage] = {}
        self._layers: dict[str, LayerRow] = {}
        #: What is in a blob, for blobs whose layer is here.
        self._diff_ids: dict[str, str] = {}
        self._pins: set[Pins] = set()
        self._numbers = itertools.count()
        self._tasks = Tasks()
        self._settling = False
        self._closing = asyncio.Event()

    # Looking

    @property
    def images(self) -> Mapping[str, StoredImage]:
        """What is there, by identifier; read at the first use."""
        if not self._loaded:
            self._load()
        return self._images

    def layer_bytes(self) -> int:
        """Return the bytes of the files of all layers, each layer counted once."""
        seen = {layer.diff_id: layer.size for image in self.images.values() for layer in image.layer_chain}
        return sum(seen.values())

    def blob(self, digest: str) -> Path:
        """Return where a blob is, or would be."""
        return self._root / "blobs" / "sha256" / hex_of(digest)

    def manifest(self, ident: str) -> bytes:
        """Return an image's manifest as it came; raises `StoreDamaged`."""
        try:
            return self.blob(self._rows[ident].manifest).read_bytes()
        except OSError as exc:
            raise StoreDamaged(f"the manifest of image {ident} cannot be read: {exc.strerror}") from exc

    def diff_id(self, blob: str) -> str | None:
        """Return the layer that a blob unpacks to, if it is here unpacked."""
        return self._diff_ids.get(blob)

    # Changing

    @contextlib.contextmanager
    def pinned(self) -> Iterator[Pins]:
        """Lend pins; what they held and no record names stays until `release` or the next start."""
        pins = Pins()
        self._pins.add(pins)
        try:
            yield pins
        finally:
            self._pins.discard(pins)

    async def release(self, pins: Pins) -> None:
        """Remove what only these pins, which are no longer held, have kept."""
        await self._remove_unneeded(pins.blobs, pins.layers)

    def place(self, directory: Path, row: LayerRow, blob: str) -> None:
        """Take in a layer, unpacked in ``diff`` of `directory`; pin it before. One that is here already stays."""
        if row.diff_id not in self._layers:
            (directory / "layer.json").write_bytes(msgspec.json.encode(row))
            target = self._layer_home(row.diff_id)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o710)
            if target.exists():
                self._put_aside(target)  # of a record that could not be read, or of an image that was dropped
            directory.rename(target)
            self._layers[row.diff_id] = row
        self._diff_ids[blob] = row.diff_id

    async def add(self, row: ImageRow, *, small: Mapping[str, bytes], large: Mapping[str, Path]) -> None:
        """Take in an image whose layers have been placed: blobs by digest, as bytes or files on the same disk."""
        row = msgspec.structs.replace(row, boot_id=self._boot_id)
        await finish(self._add(row, small, large))
        self._settle_soon()

    async def _add(self, row: ImageRow, small: Mapping[str, bytes], large: Mapping[str, Path]) -> None:
        def write() -> StoredImage:
            blobs = self._root / "blobs" / "sha256"
            blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
            for digest, data in small.items():
                write_atomically(self.blob(digest), data, mode=0o600)
            for digest, path in large.items():
                with contextlib.suppress(FileExistsError):
                    os.link(path, self.blob(digest))
            self._record(row.id).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return self._image(row)

        image = await in_thread(write)
        # Without a pause in between, so that a removal of the same image takes away both or neither.
        write_atomically(self._record(row.id), msgspec.json.encode(row), mode=0o600)
        self._enter(row, image)

    async def remove(self, ident: str) -> None:
        """Remove an image, and what no other needs."""
        row = self._rows.pop(ident)
        self._images.pop(ident, None)
        self._record(ident).unlink(missing_ok=True)
        await self._remove_unneeded(_blobs(row), {layer.diff_id for layer in row.layers})

    async def adopt(self) -> None:
        """Tidy up after an engine that was killed: sweep what nobody names, settle what is not settled."""
        if not self._loaded:
            self._load()
        self._put_aside(self._root / "arriving")
        if self._unreadable:
            log.warning("nothing in %s is swept, because of a record that cannot be read", self._root)
        else:
            blobs, layers = self._needed()
            named = {hex_of(digest) for digest in blobs}
            kept = {short_name(diff_id) for diff_id in layers}
            for top, names in ((self._root / "blobs" / "sha256", named), (self._root / "layers", kept)):
                for path in await in_thread(_listed, top):
                    if path.name not in names:
                        self._put_aside(path)
        if (self._root / "overlay-images").exists():
            log.warning(
                "%s holds images of an earlier version, which this one does not read; pull them again and remove "
                "its overlay* directories once no container lies on them", self._root,
            )  # fmt: skip
        self._tasks.start("removal of what was swept", self._empty_removed())
        self._settle_soon()

    async def close(self) -> None:
        """Wait until what is here is settled."""
        self._closing.set()
        await self._tasks.settle()

    # Removing

    def _needed(self) -> tuple[set[str], set[str]]:
        blobs: set[str] = set()
        layers: set[str] = set()
        for row in self._rows.values():
            blobs |= _blobs(row)
            layers |= {layer.diff_id for layer in row.layers}
        for pins in self._pins:
            blobs |= pins.blobs
            layers |= pins.layers
        return blobs, layers

    async def _remove_unneeded(self, blobs: Iterable[str], layers: Iterable[str]) -> None:
        """Remove those of these blobs and layers that are needed by nobody.

        Deciding and renaming happen without a pause in between, so that nobody can begin to count on one meanwhile.
        """
        needed_blobs, needed_layers = self._needed()
        blobs, layers = set(blobs) - needed_blobs, set(layers) - needed_layers
        if not blobs and not layers:
            return
        for digest in blobs:
            self._diff_ids.pop(digest, None)
            self._put_aside(self.blob(digest))
        for diff_id in layers:
            self._layers.pop(diff_id, None)
            self._put_aside(self._layer_home(diff_id))
        self._diff_ids = {blob: diff_id for blob, diff_id in self._diff_ids.items() if diff_id in self._layers}
        await self._empty_removed()

    def _put_aside(self, path: Path) -> None:
        removed = self._root / "removed"
        removed.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            target = removed / f"{next(self._numbers)}"
            if not target.exists():
                break
        with contextlib.suppress(FileNotFoundError):
            path.rename(target)

    async def _empty_removed(self) -> None:
        def empty() -> None:
            for path in _listed(self._root / "removed"):
                if path.is_dir():
                    _remove_tree(path)
                else:
                    path.unlink(missing_ok=True)

        await in_thread(empty)

    # Settling

    def _settle_soon(self) -> None:
        if not self._settling and any(row.boot_id for row in self._rows.values()):
            self._settling = True
            self._tasks.start("settling of images", self._settle())

    async def _settle(self) -> None:
        try:
            while unsettled := [row for row in self._rows.values() if row.boot_id]:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), SETTLE_AFTER_S)
                await in_thread(sync_filesystem, self._root)
                for row in unsettled:
                    if self._rows.get(row.id) is row:
                        settled = msgspec.structs.replace(row, boot_id="")
                        self._rows[row.id] = settled
                        write_atomically(self._record(row.id), msgspec.json.encode(settled), mode=0o600)
                await in_thread(sync_filesystem, self._root)
        finally:
            self._settling = False

    # Reading

    def _load(self) -> None:
        self._loaded = True
        for path in _listed(self._root / "records"):
            row = self._row(path)
            if row is None:
                continue
            if row.boot_id not in ("", self._boot_id):
                log.warning("image %s is dropped: the machine went down before all of it was on the disk", row.id)
                path.unlink(missing_ok=True)
                continue
            try:
                image = self._image(row)
            except (OSError, msgspec.DecodeError, EngineError) as exc:
                log.warning("image %s in %s is left out: %s", row.id, self._root, exc)
                self._unreadable = True
                continue
            self._enter(row, image)

    def _row(self, path: Path) -> ImageRow | None:
        if path.name.startswith("."):
            path.unlink(missing_ok=True)  # being written when the engine was killed
            return None
        try:
            row = msgspec.json.decode(path.read_bytes(), type=ImageRow)
        except (OSError, msgspec.DecodeError) as exc:
            if path.stat().st_size == 0:
                log.warning("record %s is empty, as after a crash of the machine; its image is dropped", path)
                path.unlink()
                return None
            log.warning("record %s cannot be read: %s", path, exc)
            self._unreadable = True
            return None
        if row.version != _VERSION or path.stem != row.id.removeprefix("sha256:"):
            log.warning("record %s is of an unknown kind", path)
            self._unreadable = True
            return None
        return row

    def _enter(self, row: ImageRow, image: StoredImage) -> None:
        self._rows[row.id] = row
        self._images[row.id] = image
        for ref, layer in zip(row.layers, image.layer_chain, strict=True):
            self._layers.setdefault(
                ref.diff_id, LayerRow(diff_id=ref.diff_id, size=layer.size, tar_size=layer.tar_size)
            )
            self._diff_ids[ref.blob] = ref.diff_id

    def _image(self, row: ImageRow) -> StoredImage:
        body = msgspec.json.decode(self.blob(row.id).read_bytes(), type=ImageFile)
        config = bytes(body.config)
        if config == b"null":
            config = b"{}"
        return StoredImage(
            id=ImageId(row.id),
            layer_chain=tuple(self._layer(ref.diff_id, ref.blob) for ref in row.layers),
            created_ns=parse_time_ns(body.created or ""),
            stored_ns=row.stored_ns,
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
            manifest_digest=row.manifest,
            parent=row.parent,
        )

    def _layer(self, diff_id: str, blob: str) -> Layer:
        home = self._layer_home(diff_id)
        row = self._layers.get(diff_id)
        if row is None:
            try:
                row = msgspec.json.decode((home / "layer.json").read_bytes(), type=LayerRow)
            except FileNotFoundError:
                raise StoreDamaged(f"its layer {diff_id} is missing") from None
            if row.diff_id != diff_id:
                raise StoreDamaged(f"{home} holds layer {row.diff_id}, not {diff_id}")
        return Layer(diff_id=diff_id, blob=blob, path=str(home / "diff"), size=row.size, tar_size=row.tar_size)

    def _layer_home(self, diff_id: str) -> Path:
        return self._root / "layers" / short_name(diff_id)

    def _record(self, ident: str) -> Path:
        return self._root / "records" / f"{hex_of(ident)}.json"


def _blobs(row: ImageRow) -> set[str]:
    return {row.id, row.manifest, *(layer.blob for layer in row.layers)}


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def _remove_tree(path: Path) -> None:
    """Remove a tree into which a process of an engine just killed may still put a last file."""
    for pause in (*REMOVAL_PAUSES_S, None):
        try:
            remove_tree(path)
        except OSError as exc:
            if pause is None:
                log.warning("%s is left for the next start: %s", path, exc)
            else:
                time.sleep(pause)
        else:
            return
