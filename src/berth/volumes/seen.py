"""What is known of volumes without looking at them now: how large they were and when, when they were last used.

Sizes are measured by a process of its own, at the lowest priority when nobody waits; whoever asks waits for a moment
at most and then gets the figures there are, each with its age. All of it is kept in one file that is written now and
then and never waited for: what is lost with it is found out again. Volumes that may hang are never measured.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import Tasks, in_thread
from berth.base.errors import EngineError
from berth.kernel import measure
from berth.kernel.files import write_atomically
from berth.volumes.drivers.registry import Drivers
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

log = logging.getLogger(__name__)

#: Seconds a question about sizes waits for figures that have to be found out.
PATIENCE_S: Final = 0.4
#: Seconds between the engine's own looks at what has changed, and before the first one.
LOOK_EVERY_S: Final = 60.0
#: A figure of a volume that was used since is renewed when it is this old, in nanoseconds, …
STALE_NS: Final = 5 * 60 * 10**9
#: … and any other one when it is as old as this: somebody may have written to it from outside.
OLD_NS: Final = 24 * 3600 * 10**9
#: A tree that takes long to walk is walked for no more than this share of the time.
SHARE: Final = 0.02
#: Seconds between a change and its being written.
SAVE_AFTER_S: Final = 1.0

Measurer = Callable[[Sequence[str], float], AsyncIterator[measure.Measured]]


class Figure(msgspec.Struct, frozen=True, array_like=True):
    """A size in bytes, when it was true in nanoseconds since the epoch, how long it took to find out."""

    size: int
    taken_ns: int
    took_ms: int = 0


class _File(msgspec.Struct):
    used: dict[str, int] = {}
    sizes: dict[str, Figure] = {}


class Seen:
    """Sizes and last uses of the volumes of one engine."""

    def __init__(self, register: Register, drivers: Drivers, path: Path, tasks: Tasks | None) -> None:
        self._register = register
        self._drivers = drivers
        self._path = path
        self._tasks = tasks
        self._measurer: Measurer = measure.apart if tasks is not None else measure.here
        self._sizes: dict[str, Figure] = {}
        self._measuring: dict[str, asyncio.Future[None]] = {}
        self._written = _File()

    def figure(self, record: VolumeRecord) -> Figure | None:
        """Return the size that is known; one of an earlier volume of the name is none."""
        figure = self._sizes.get(record.name)
        return figure if figure is not None and figure.taken_ns >= record.created_ns else None

    def last_used_ns(self, record: VolumeRecord) -> int:
        """Return when a container last began or ended to use a volume, 0 for never."""
        last = self._register.last_used.get(record.name, 0)
        return last if last >= record.created_ns else 0

    async def sizes(
        self, records: Iterable[VolumeRecord], *, fresh: bool = False, patience_s: float = PATIENCE_S
    ) -> Mapping[str, Figure]:
        """Return the figures there are after a moment of measuring; `fresh`: after all have been measured now."""
        records = list(records)
        mounted = self._register.mounted_names()
        wanted = [record for record in records if self._may_look(record, mounted)]
        names_wanted = {record.name for record in wanted}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if fresh else patience_s):
                await self._ask([record for record in records if record.name not in names_wanted])
        if fresh:
            await self._all(tuple(self._measuring.values()))
        names = [record.name for record in sorted(wanted, key=self._order) if record.name not in self._measuring]
        if names:
            done = self._start(names, patience_s)
            # The small ones are known long before the large ones; what is late goes on without us.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if fresh else patience_s):
                    await asyncio.shield(done)
        figures = ((record.name, self.figure(record)) for record in records)
        return {name: figure for name, figure in figures if figure is not None}

    def _may_look(self, record: VolumeRecord, mounted: Collection[str]) -> bool:
        """Tell whether the data is there to be measured, and no look at it can hang."""
        driver = self._drivers.of(record)
        held = record.name in mounted or not driver.wants_mount(record)
        return held and not (record.options and driver.away(record))

    async def _ask(self, records: Sequence[VolumeRecord]) -> None:
        """Ask the drivers about volumes that are not mounted now: the answer is in what they would mount."""
        for record in records:
            driver = self._drivers.of(record)
            if driver.away(record):
                continue
            try:
                size = await driver.size(record)
            except (EngineError, OSError) as exc:  # said when it is used
                log.debug("volume %s: its size is not known: %s", record.name, exc)
                continue
            self._sizes[record.name] = Figure(size, self._register.clock.now_ns())

    def _order(self, record: VolumeRecord) -> tuple[int, int]:
        """Put first what is not known, then what is quickly found out."""
        figure = self.figure(record)
        return (0, 0) if figure is None else (1, figure.took_ms)

    def _start(self, names: Sequence[str], hurry_s: float) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._measuring.update((name, done) for name in names)
        work = self._measure(names, hurry_s, done)
        if self._tasks is not None:
            self._tasks.start("measure volumes", work)
            return done
        return asyncio.ensure_future(work)  # noqa: TID251  awaited at once by the caller, for lack of an owner

    async def _measure(self, names: Sequence[str], hurry_s: float, done: "asyncio.Future[None]") -> None:
        records = [record for record in map(self._register.find, names) if record is not None]
        left = {at: record.name for at, record in enumerate(records)}
        try:
            paths = [self._drivers.of(record).mountpoint(record) for record in records]
            async with contextlib.aclosing(self._measurer(paths, hurry_s)) as found:  # type: ignore[type-var]
                async for one in found:
                    name = left.pop(one.at)
                    self._measuring.pop(name, None)
                    if one.size >= 0 and self._register.find(name) is not None:
                        self._sizes[name] = Figure(one.size, self._register.clock.now_ns(), one.took_ms)
                        self._register.touched.set()
        finally:
            for name in names:
                if self._measuring.get(name) is done:
                    del self._measuring[name]
            if not done.done():
                done.set_result(None)

    @staticmethod
    async def _all(running: Sequence["asyncio.Future[None]"]) -> None:
        if running:
            await asyncio.wait(running)

    # In the background

    async def watch(self) -> None:
        """Renew what is no longer true, for ever; the last thing it does is to write down what it knows."""
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S)
                await self.renew()
        finally:
            await self.save()

    async def renew(self) -> None:
        """Measure what has changed, when the disk has nothing else to do; returns when that is done."""
        now, mounted = self._register.clock.now_ns(), self._register.mounted_names()
        stale = [
            record.name
            for record in self._register.records.all()
            if record.name not in self._measuring
            and self._is_stale(record, now, in_use=record.name in mounted)
            and self._may_look(record, mounted)
        ]
        if stale:
            await asyncio.shield(self._start(stale, 0.0))

    def _is_stale(self, record: VolumeRecord, now_ns: int, *, in_use: bool) -> bool:
        figure = self.figure(record)
        if figure is None:
            return True
        age_ns = now_ns - figure.taken_ns
        used = in_use or figure.taken_ns < self.last_used_ns(record)
        least_ns = max(STALE_NS if used else OLD_NS, int(figure.took_ms * 10**6 / SHARE))
        return age_ns > least_ns

    async def keep(self) -> None:
        """Write down what has changed, a moment after it has, for ever."""
        while True:
            await self._register.touched.wait()
            self._register.touched.clear()
            await asyncio.sleep(SAVE_AFTER_S)
            await self.save()

    async def save(self) -> None:
        """Write the file, if there is anything new; nothing waits for the disk."""
        there = set(self._register.records.keys())
        for known in (self._sizes, self._register.last_used):
            for name in known.keys() - there:
                del known[name]
        now = _File(used=dict(self._register.last_used), sizes=dict(self._sizes))
        if now == self._written:
            return
        try:
            await in_thread(write_atomically, self._path, msgspec.json.encode(now), mode=0o600)
        except OSError as exc:
            log.warning("what is known of volumes is not written down: %s", exc)
            return
        self._written = now

    async def load(self, alive: Collection[str]) -> None:
        """Read the file, which may be missing or damaged; volumes of containers `alive` are in use now."""
        try:
            self._written = await in_thread(_read, self._path)
        except (OSError, msgspec.DecodeError) as exc:
            if not isinstance(exc, FileNotFoundError):
                log.warning("%s: %s; sizes are measured anew", self._path, exc)
        self._sizes = dict(self._written.sizes)
        self._register.last_used = dict(self._written.used)
        held = self._register.holders().items()
        self._register.touch(name for name, idents in held if not set(idents).isdisjoint(alive))


def _read(path: Path) -> _File:
    return msgspec.json.decode(path.read_bytes(), type=_File)
