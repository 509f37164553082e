"""The use cases of volumes by themselves; the only writer of their records, with `mounting` for those of containers."""

import logging
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, Final

from berth.base.aio import Tasks, finish
from berth.base.clock import Clock
from berth.base.errors import NotFound
from berth.base.ids import new_id
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.store.base import Records
from berth.store.memory import MemoryRecords
from berth.volumes.changing import Changing
from berth.volumes.copies.shelf import Shelf
from berth.volumes.deleting import Deleting
from berth.volumes.drivers.local import LocalDriver
from berth.volumes.drivers.registry import Drivers
from berth.volumes.finding import Finding
from berth.volumes.keeping import Keeping
from berth.volumes.live import LiveMounts
from berth.volumes.looking import Looking
from berth.volumes.model import ANONYMOUS_LABEL, LOCAL, VolumeRecord, to_wire
from berth.volumes.mounting import Mounting
from berth.volumes.mounts.away import Limits
from berth.volumes.mounts.pins import ImageShelf
from berth.volumes.pruning import Pruning
from berth.volumes.references import Users
from berth.volumes.register import Register, States
from berth.volumes.replacing import Replacing
from berth.volumes.resting import Resting
from berth.volumes.seen import Seen
from berth.volumes.sight import OWN_FILTERS, Sight
from berth.volumes.sizing import Sizing
from berth.volumes.thin import Thin
from berth.volumes.trash import Kept, Trash
from berth.wire.filters import Filters

log = logging.getLogger(__name__)

_NAME: Final = attrgetter("name")
_LIST_FILTERS: Final = ("dangling", "driver", "label", "name")


class _NoImages:
    """What mounts of images find where there is no image store."""

    def identify(self, ref: str) -> str:
        """Find nothing."""
        raise NotFound(f"No such image: {ref}")

    def lowers(self, image_id: str) -> tuple[str, ...]:
        """Find nothing."""
        raise NotFound(f"No such image: {image_id}")


class Volumes:
    """Volumes of one engine."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        layout: Layout,
        records: Records[VolumeRecord],
        bus: Bus,
        users: Users,
        clock: Clock | None = None,
        images: ImageShelf | None = None,
        limits: Limits | None = None,
        *,
        states: States = tuple,
        kept: Kept | None = None,
        tasks: Tasks | None = None,
    ) -> None:
        """Without `tasks` data is deleted before the answer; without `kept` nothing removed is kept."""
        limits = limits or Limits()
        self.register = Register(records, bus, users, clock, states)
        self.finding = Finding(records)
        self.drivers = Drivers({LOCAL: LocalDriver(layout, limits)})
        deleting = Deleting(self.register, tasks)
        self.trash = Trash(self.register, self.drivers, deleting, kept or Kept(MemoryRecords(), 0), layout.volumes)
        self.shelf = Shelf(layout.volumes)
        self.keeping = Keeping(self.register, self.drivers, deleting, self.trash, self.shelf)
        self.changing = Changing(self.register, self.drivers)
        shelf = images or _NoImages()
        self.mounting = Mounting(layout, self.register, self.drivers, self.keeping, shelf, limits)
        self.live = LiveMounts(layout, self.register, self.drivers, self.keeping, self.mounting)
        self.seen = Seen(self.register, self.drivers, layout.volumes_seen, tasks)
        self.resting = Resting(self.shelf, self.drivers, self.register.clock, layout.volumes_resting, tasks)
        self.sight = Sight(self.register, self.seen, self.inspect, self.shelf, self.resting)
        self.looking = Looking(self.register, self.drivers, self.shelf)
        self.pruning = Pruning(self.register, self.keeping, self.seen)
        self.thin = Thin(self.register, self.drivers, layout.volumes)
        self.sizing = Sizing(self.register, self.drivers, self.thin)
        self.replacing = Replacing(self.register, self.drivers, layout.volumes)

    async def create(
        self,
        name: str,
        driver: str = "",
        driver_opts: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume; an empty `name` makes an anonymous one; an existing one of the same driver is returned."""
        if not name:
            name, labels = new_id(), {ANONYMOUS_LABEL: "", **(labels or {})}
        record, _ = await self.keeping.ensure(name, driver, driver_opts, labels)
        return record

    def get(self, name: str) -> VolumeRecord:
        """Return one volume. Raises `NoSuchVolume`."""
        return self.register.get(name)

    def list(self, filters: Filters) -> Sequence[VolumeRecord]:
        """Return the volumes that pass ``dangling``, ``driver``, ``label`` and ``name``, by name."""
        filters.only(_LIST_FILTERS)
        return self._listed(filters)

    def _listed(self, filters: Filters, *among: Collection[str]) -> Sequence[VolumeRecord]:
        if "dangling" not in filters:
            return sorted(self.finding.find(filters, *among), key=_NAME)
        used = self.register.holders()
        if filters.boolean("dangling", default=False):
            found = [record for record in self.finding.find(filters, *among) if record.name not in used]
        else:
            found = self.finding.find(filters, *among, used.keys())
        return sorted(found, key=_NAME)

    def inspect(self, record: VolumeRecord) -> dict[str, object]:
        """Render a volume as the API shows it."""
        return to_wire(record, self.drivers.of(record).mountpoint(record))

    async def usage(self) -> Sequence[dict[str, object]]:
        """Render every volume with its size in bytes and how many containers hold it.

        The size is -1 where it cannot be known, or is not yet known and takes too long to find out; it may be some
        minutes old. See `Seen`.
        """
        used = self.register.holders()
        records = self.list(Filters())
        sizes = await self.seen.sizes(records)
        return [
            self.inspect(record)
            | {
                "UsageData": {
                    "RefCount": len(used.get(record.name, ())),
                    "Size": sizes[record.name].size if record.name in sizes else -1,
                }
            }
            for record in records
        ]

    async def shown(self, filters: Filters, *, fresh: bool = False) -> Sequence[dict[str, Any]]:
        """Render the volumes that pass, with all that is known of them; see `Sight`."""
        filters.only((*_LIST_FILTERS, *OWN_FILTERS))
        dockers = Filters({name: values for name, values in filters.terms.items() if name not in OWN_FILTERS})
        among = (self.sight.used_by(refs),) if (refs := filters.get("used-by")) else ()
        shown = await self.sight.show(self._listed(dockers, *among), fresh=fresh)
        return self.sight.passing(shown, filters, self.register.clock.now_ns())

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume nobody uses; with `force` a missing one is no error, and its snapshots may go for good."""
        async with self.register.hold(name):
            if force and self.register.find(name) is None:
                return
            await finish(self.keeping.remove_locked(self.get(name), trash=True, snapshots=force))

    async def prune(self, filters: Filters) -> tuple[tuple[str, ...], int]:
        """Remove unused plain volumes, anonymous ones only unless ``all``; return their names and the bytes freed."""
        return await self.pruning.prune(filters)

    async def adopt(self, alive: Collection[str] | None = None) -> None:
        """Reconcile disk, mounts and records at start; containers not in `alive` hold nothing any more.

        None for `alive` leaves the mounts alone.
        """
        await self.replacing.adopt()
        await self.trash.adopt()
        await self.keeping.adopt(alive)
        await self.sizing.adopt()
        self.mounting.adopt(alive)
        await self.seen.load(alive or ())
