"""Takes images into the store: from a registry, from an archive, from a directory we made ourselves.

Layers are unpacked in processes of their own while others still download, each once though several images on their
way in want it. Must not: know names.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import EngineError
from berth.base.ids import ImageId
from berth.base.paths import Layout
from berth.images.errors import BadArchive
from berth.images.manifest import OCI_CONFIG, Manifest, digest_of, parse_manifest
from berth.images.record import ImageRow, LayerRef, LayerRow, hex_of
from berth.images.skopeo import Skopeo, scratch
from berth.images.storage import Pins, Storage
from berth.kernel import layers
from berth.kernel.inotify import DirectoryWatch
from berth.wire.images import ImageFile

#: Name of an image in the layouts that skopeo writes for us; means nothing.
_ANY: Final = "x"
#: An image's configuration may be this long, in bytes (containerd and moby refuse more than 4 MiB and 8 MiB).
_CONFIG_LIMIT: Final = 8 << 20

#: Called with the digest of a blob: when its unpacking begins, and when its layer is there.
OnLayer = Callable[[str, bool], None]


@dataclass(frozen=True)
class _Arrival:
    """An image on its way in."""

    #: A directory of its own, gone at the end.
    directory: Path
    #: Where its blobs are or will be, by the hex of their digests.
    blobs: Path
    pins: Pins
    #: Whether somebody has compared the blobs with their digests.
    checked: bool
    on_layer: OnLayer


class Intake:
    """The way into the store."""

    def __init__(self, layout: Layout, storage: Storage, skopeo: Skopeo, locks: KeyedLocks, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self.storage = storage
        self.skopeo = skopeo
        self.locks = locks
        self._processors = asyncio.Semaphore(os.cpu_count() or 1)

    async def take_directory(self, directory: Path, *, parent: str = "") -> ImageId:
        """Take in the image in a directory of skopeo's ``dir:`` form; blobs that the store has need not be in it.

        `parent` is the image it was made from here.
        """
        raw = await in_thread((directory / "manifest.json").read_bytes)
        async with self._arriving(directory) as arrival:
            return await self._complete(arrival, raw, parent=parent)

    async def take_blobs(self, blobs: Path, manifest: bytes) -> ImageId:
        """Take in the image of a manifest whose blobs lie in a directory, and have not been checked."""
        async with self._arriving(blobs, checked=False) as arrival:
            return await self._complete(arrival, manifest)

    async def take_from(self, source: str, options: Sequence[str] = ()) -> ImageId:
        """Take in what a skopeo name means."""
        async with scratch(self._layout, "copy") as directory:
            await self.skopeo.copy(source, f"dir:{directory}/image", options=options)
            return await self.take_directory(directory / "image")

    async def fetch(
        self,
        source: str,
        *,
        manifest: bytes,
        config: Callable[[], Awaitable[bytes]],
        options: Sequence[str],
        on_output: Callable[[bytes], None],
        on_layer: OnLayer,
    ) -> ImageId:
        """Copy `source`, a manifest in a registry, and unpack its layers as they come; return the identifier.

        skopeo converts what it writes: the manifest is kept as the registry has it, and `config` asks the registry
        for the configuration as it is. Only manifests of the first schema are kept as converted: they have neither.
        """
        async with scratch(self._layout, "pull") as directory:
            blobs = directory / "blobs" / "sha256"
            await in_thread(blobs.mkdir, parents=True)
            target = f"oci:{directory}/layout:{_ANY}"
            copying = [*options, "--dest-shared-blob-dir", str(blobs.parent), "--dest-oci-accept-uncompressed-layers"]
            parsed = parse_manifest(manifest)
            wanted = list(dict.fromkeys(layer.digest for layer in parsed.layers or ()))
            small: dict[str, bytes] = {}
            async with self._arriving(blobs, on_layer=on_layer) as arrival:
                await self._lend(arrival, wanted)
                watch = DirectoryWatch(blobs)
                try:
                    async with asyncio.TaskGroup() as group:
                        copy = group.create_task(self.skopeo.copy(source, target, options=copying, on_output=on_output))
                        copy.add_done_callback(lambda _: watch.wake())
                        if parsed.config is not None and parsed.config.media_type != OCI_CONFIG:
                            group.create_task(_into(small, parsed.config.digest, config))
                        await self._unpack_coming(arrival, wanted, copy, watch, group)
                except BaseExceptionGroup as failures:
                    raise _first(failures) from None
                finally:
                    watch.close()
                if parsed.config is None or not all((blobs / hex_of(digest)).exists() for digest in wanted):
                    manifest, small = await in_thread(_converted, directory / "layout", blobs), {}
                return await self._complete(arrival, manifest, small)

    @asynccontextmanager
    async def _arriving(
        self, blobs: Path, *, checked: bool = True, on_layer: OnLayer | None = None
    ) -> AsyncIterator[_Arrival]:
        async with scratch(self._layout, "layers") as directory:
            try:
                with self.storage.pinned() as pins:
                    yield _Arrival(directory, blobs, pins, checked, on_layer or _nobody)
            finally:
                await finish(self.storage.release(pins))

    async def _lend(self, arrival: _Arrival, wanted: Sequence[str]) -> None:
        """Lay the blobs that the store has where skopeo looks for them, so that it does not fetch them again."""
        here = []
        for digest in wanted:
            diff_id = self.storage.diff_id(digest)
            if diff_id is not None and self.storage.blob(digest).exists():
                arrival.pins.blobs.add(digest)
                arrival.pins.layers.add(diff_id)
                here.append(digest)

        def link() -> None:
            for digest in here:
                os.link(self.storage.blob(digest), arrival.blobs / hex_of(digest))

        await in_thread(link)

    async def _unpack_coming(
        self,
        arrival: _Arrival,
        wanted: Sequence[str],
        copy: "asyncio.Task[None]",
        watch: DirectoryWatch,
        group: asyncio.TaskGroup,
    ) -> None:
        """Begin to unpack each blob as soon as it is whole: skopeo renames blobs into their place."""
        waiting = list(wanted)
        while waiting:
            ended = copy.done()
            come = [digest for digest in waiting if (arrival.blobs / hex_of(digest)).exists()]
            for digest in come:
                waiting.remove(digest)
                group.create_task(self._layer(arrival, digest))
            if ended:
                return
            if waiting:
                await watch.changed()

    async def _complete(
        self, arrival: _Arrival, raw: bytes, small: Mapping[str, bytes] | None = None, *, parent: str = ""
    ) -> ImageId:
        """Unpack what is not yet unpacked, compare everything with the configuration, and enter the image."""
        manifest = parse_manifest(raw)
        config_digest, blobs = _parts(manifest)
        arrival.pins.blobs.update({config_digest, digest_of(raw), *blobs})
        config = (small or {}).get(config_digest, b"") or await in_thread(self._config, arrival, config_digest)
        if digest_of(config) != config_digest:
            raise BadArchive(f"the configuration's digest is {digest_of(config)}, not {config_digest}")
        stated = _diff_ids(config)
        if len(stated) != len(blobs):
            raise BadArchive(f"the manifest has {len(blobs)} layers, the configuration {len(stated)}")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {blob: group.create_task(self._layer(arrival, blob)) for blob in dict.fromkeys(blobs)}
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        refs = [LayerRef(blob=blob, diff_id=tasks[blob].result()) for blob in blobs]
        for ref, diff_id in zip(refs, stated, strict=True):
            if ref.diff_id != diff_id:
                raise layers.LayerRefused(f"what is in {ref.blob} has the digest {ref.diff_id}, not {diff_id}")
        row = ImageRow(
            id=config_digest, manifest=digest_of(raw), layers=refs, stored_ns=self._clock.now_ns(), parent=parent
        )
        large = {blob: path for blob in blobs if (path := arrival.blobs / hex_of(blob)).exists()}
        for blob in blobs:
            if blob not in large and not self.storage.blob(blob).exists():
                raise BadArchive(f"blob {blob} is missing")
        await self.storage.add(row, small={config_digest: config, digest_of(raw): raw}, large=large)
        return ImageId(config_digest)

    async def _layer(self, arrival: _Arrival, blob: str) -> str:
        """Make sure that a blob's layer is unpacked, and return its digest."""
        async with self.locks.hold(f"layer {blob}"):
            known = self.storage.diff_id(blob)
            if known is not None:
                arrival.pins.layers.add(known)
                return known
            source = arrival.blobs / hex_of(blob)
            if not await in_thread(source.is_file):
                raise BadArchive(f"blob {blob} is missing")
            home = arrival.directory / hex_of(blob)
            async with self._processors:
                arrival.on_layer(blob, False)
                await in_thread((home / "diff").mkdir, parents=True, exist_ok=True, mode=0o755)
                done = await layers.unpack(source, home / "diff", digest="" if arrival.checked else blob)
            arrival.pins.layers.add(done.diff_id)
            self.storage.place(home, LayerRow(diff_id=done.diff_id, size=done.size, tar_size=done.tar_size), blob)
            arrival.on_layer(blob, True)
            return done.diff_id

    def _config(self, arrival: _Arrival, digest: str) -> bytes:
        for path in (arrival.blobs / hex_of(digest), self.storage.blob(digest)):
            try:
                with path.open("rb") as body:
                    return body.read(_CONFIG_LIMIT)
            except FileNotFoundError:
                continue
        raise BadArchive(f"the configuration {digest} is missing")


def _nobody(_blob: str, _done: bool) -> None:  # noqa: FBT001  an `OnLayer`
    return


async def _into(target: dict[str, bytes], digest: str, ask: Callable[[], Awaitable[bytes]]) -> None:
    target[digest] = await ask()


def _parts(manifest: Manifest) -> tuple[str, list[str]]:
    if manifest.config is None or manifest.layers is None:
        raise BadArchive("its manifest names no configuration and no layers")
    return manifest.config.digest, [layer.digest for layer in manifest.layers]


def _diff_ids(config: bytes) -> list[str]:
    try:
        return msgspec.json.decode(config, type=ImageFile).rootfs.diff_ids or []
    except msgspec.DecodeError as exc:
        raise BadArchive(f"its configuration cannot be read: {exc}") from None


def _converted(layout: Path, blobs: Path) -> bytes:
    """Return the manifest that skopeo has written in place of the registry's."""
    index = parse_manifest((layout / "index.json").read_bytes())
    for entry in index.manifests or ():
        return (blobs / hex_of(entry.digest)).read_bytes()
    raise BadArchive("skopeo has written no manifest")


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what failed first; an error of the engine's says more than one of the program's."""
    leaves = _leaves(failures)
    return next((one for one in leaves if isinstance(one, EngineError)), leaves[0])


def _leaves(failures: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in failures.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found
