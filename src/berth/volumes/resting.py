"""How large snapshots and removed volumes are: nobody writes to them any more, so each is measured once.

Measured by the process that measures volumes (`kernel.measure`); whoever asks waits for a moment at most, and what is
not known by then goes on being measured. Figures are apparent sizes, each inode once: blocks that a snapshot shares
with its volume (btrfs, reflinks) are counted in both. They are kept in a file that is never waited for.
Must not: look at a tree on the engine's own thread; know what becomes of snapshots and removed volumes.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from berth.base.aio import Tasks, in_thread
from berth.base.clock import Clock
from berth.base.errors import EngineError
from berth.kernel import measure
from berth.kernel.files import write_atomically
from berth.volumes.copies.model import SnapshotRecord
from berth.volumes.copies.shelf import Shelf
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import TrashRecord
from berth.volumes.seen import PATIENCE_S, Figure

log = logging.getLogger(__name__)


class Rest(NamedTuple):
    """Something that does not change: where it is, and what it has beside the files there, in bytes."""

    key: str
    paths: tuple[str, ...]
    beside: int = 0


class Resting:
    """Sizes of one engine's snapshots and removed volumes."""

    def __init__(self, shelf: Shelf, drivers: Drivers, clock: Clock, path: Path, tasks: Tasks | None) -> None:
        """Without `tasks` everything is measured before the answer."""
        self._shelf = shelf
        self._drivers = drivers
        self._clock = clock
        self._path = path
        self._tasks = tasks
        self._measurer = measure.apart if tasks is not None else measure.here
        self._known: dict[str, Figure] | None = None
        self._measuring: dict[str, asyncio.Future[None]] = {}

    async def snapshots(self, listed: Iterable[tuple[str, SnapshotRecord]]) -> Mapping[tuple[str, str], Figure]:
        """Return what is known of snapshots, by volume and name."""
        wanted = {
            # Volumes change names: the moment tells one snapshot from another that has its name later.
            (volume, one.name): Rest(
                f"{volume}@{one.name}@{one.created_ns}", (str(self._shelf.snapshot(volume, one.name)),)
            )
            for volume, one in listed
        }
        found = await self._sizes(list(wanted.values()))
        return {at: found[rest.key] for at, rest in wanted.items() if rest.key in found}

    async def removed(self, entries: Iterable[TrashRecord]) -> Mapping[str, Figure]:
        """Return what is known of removed volumes, their snapshots included, by the id in the trash."""
        wanted = {entry.id: await self._removed(entry) for entry in entries}
        found = await self._sizes([rest for rest in wanted.values() if rest is not None])
        return {at: found[rest.key] for at, rest in wanted.items() if rest is not None and rest.key in found}

    async def _removed(self, entry: TrashRecord) -> Rest | None:
        record = msgspec.structs.replace(entry.volume, name=entry.entry)
        driver = self._drivers.of(record)
        data = driver.path(record)
        paths, beside = (str(data), str(data.parent / "snapshots")), 0
        if driver.wants_mount(record):  # what a device or a server has was not removed
            try:
                beside = max(0, await driver.size(record))
            except (EngineError, OSError) as exc:
                log.debug("removed volume %s: its size is not known: %s", entry.volume.name, exc)
                return None
        return Rest(entry.entry, paths, beside)

    async def _sizes(self, wanted: Sequence[Rest]) -> Mapping[str, Figure]:
        if self._known is None:
            self._known = await self._load()
        known = self._known
        new = [rest for rest in wanted if rest.key not in known and rest.key not in self._measuring]
        if new:
            await self._begin(new)
        if running := {self._measuring[rest.key] for rest in wanted if rest.key in self._measuring}:
            await asyncio.wait(running, timeout=PATIENCE_S)
        return {rest.key: known[rest.key] for rest in wanted if rest.key in known}

    async def _begin(self, new: Sequence[Rest]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._measuring.update((rest.key, done) for rest in new)
        if self._tasks is None:
            await self._measure(new, done)
        else:
            self._tasks.start("measure what does not change", self._measure(new, done))

    async def _measure(self, new: Sequence[Rest], done: "asyncio.Future[None]") -> None:
        assert self._known is not None
        places = [(rest, path) for rest in new for path in rest.paths]
        left = {rest.key: len(rest.paths) for rest in new}
        sums = {rest.key: rest.beside for rest in new}
        try:
            found: AsyncIterator[measure.Measured] = self._measurer([path for _, path in places], PATIENCE_S)
            async with contextlib.aclosing(found):  # type: ignore[type-var]  # both are generators
                async for one in found:
                    key = places[one.at][0].key
                    sums[key] += max(0, one.size)
                    left[key] -= 1
                    if not left[key]:
                        self._known[key] = Figure(sums[key], self._clock.now_ns(), one.took_ms)
                        self._measuring.pop(key, None)
            await self._save()
        finally:
            for rest in new:
                if self._measuring.get(rest.key) is done:
                    del self._measuring[rest.key]
            if not done.done():
                done.set_result(None)

    async def _load(self) -> dict[str, Figure]:
        try:
            return msgspec.json.decode(await in_thread(self._path.read_bytes), type=dict[str, Figure])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as exc:
            log.warning("%s: %s; sizes of snapshots and removed volumes are measured anew", self._path, exc)
            return {}

    async def _save(self) -> None:
        assert self._known is not None
        try:
            there = await in_thread(self._there, tuple(self._known))
            for key in self._known.keys() - there:
                del self._known[key]
            await in_thread(write_atomically, self._path, msgspec.json.encode(self._known), mode=0o600)
        except OSError as exc:
            log.warning("sizes of snapshots and removed volumes are not written down: %s", exc)

    def _there(self, keys: Sequence[str]) -> set[str]:
        """Return which keys mean something still."""
        found = set()
        for key in keys:
            volume, *snapshot = key.split("@")
            place = self._shelf.snapshot(volume, snapshot[0]) if snapshot else self._shelf.root / volume
            if place.exists():
                found.add(key)
        return found
