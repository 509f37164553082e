"""Volumes with all that is known of them: users, size, last use, protection; and the filters Docker has not.

Must not: look at data; `seen` has been asked before.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from berth.base.aio import in_thread
from berth.base.clock import rfc3339
from berth.base.errors import InvalidArgument
from berth.base.units import parse_age_ns, parse_bytes
from berth.volumes.copies.shelf import Shelf
from berth.volumes.errors import User
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.register import Register
from berth.volumes.resting import Resting
from berth.volumes.seen import Figure, Seen
from berth.wire.filters import Filters

_NO_SNAPSHOTS: Final[dict[str, Any]] = {"Snapshots": 0, "SnapshotsSize": 0}
OWN_FILTERS: Final = ("used-by", "larger-than", "unused-for")


class Inspect(Protocol):
    """Renders a volume as Docker does."""

    def __call__(self, record: VolumeRecord) -> dict[str, object]:
        """Return what inspect shows."""
        ...


class Sight:
    """Shows the volumes of one engine."""

    def __init__(self, register: Register, seen: Seen, inspect: Inspect, shelf: Shelf, resting: Resting) -> None:
        self._register = register
        self._seen = seen
        self._inspect = inspect
        self._shelf = shelf
        self._resting = resting

    async def show(self, records: Sequence[VolumeRecord], *, fresh: bool = False) -> list[dict[str, Any]]:
        """Render volumes; `fresh`: their sizes are measured now, however long that takes."""
        sizes = await self._seen.sizes(records, fresh=fresh)
        snapshots = await self._snapshots(records)
        uses, mounted = self._uses(), self._register.mounted_names()
        return [
            self._render(record, uses.get(record.name, []), sizes.get(record.name), in_use=record.name in mounted)
            | snapshots.get(record.name, _NO_SNAPSHOTS)
            for record in records
        ]

    def used_by(self, refs: Sequence[str]) -> set[str]:
        """Return the volumes that one of some containers mounts, each meant by name or the beginning of its id."""
        uses = self._uses()
        return {name for name, users in uses.items() if any(_is(user, ref) for user in users for ref in refs)}

    async def _snapshots(self, records: Sequence[VolumeRecord]) -> Mapping[str, dict[str, Any]]:
        """Return how many snapshots volumes have, and their sizes together; -1 while one of them is not known."""
        names = [record.name for record in records]
        listed = await in_thread(self._shelf.every, names)
        sizes = await self._resting.snapshots(listed)
        found: dict[str, list[int]] = {}
        for volume, one in listed:
            figure = sizes.get((volume, one.name))
            found.setdefault(volume, []).append(-1 if figure is None else figure.size)
        return {
            volume: {"Snapshots": len(each), "SnapshotsSize": -1 if -1 in each else sum(each)}
            for volume, each in found.items()
        }

    def _uses(self) -> Mapping[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        listed = self._register.users()
        known = {user.id: user for user in self._register.describe(ident for ident, _ in listed)}
        for ident, points in listed:
            for point in points:
                if point.type is MountType.VOLUME:
                    found.setdefault(point.name, []).append(_use(known[ident], point))
        return found

    def _render(
        self, record: VolumeRecord, users: list[dict[str, Any]], figure: Figure | None, *, in_use: bool
    ) -> dict[str, Any]:
        last_ns = self._seen.last_used_ns(record)
        return self._inspect(record) | {
            "UsedBy": users,
            "InUse": in_use,
            "LastUsed": rfc3339(last_ns),
            "Size": -1 if figure is None else figure.size,
            "SizeAt": rfc3339(0 if figure is None else figure.taken_ns),
            "Protected": record.protected,
            "Operation": self._register.occupied_by(record.name),
        }

    def passing(self, shown: Sequence[dict[str, Any]], filters: Filters, now_ns: int) -> list[dict[str, Any]]:
        """Return those that pass ``larger-than`` and ``unused-for``; see `used_by`. Raises `InvalidArgument`."""
        sizes = [parse_bytes(text) for text in filters.get("larger-than")]
        ages = [parse_age_ns(text) for text in filters.get("unused-for")]
        if any(age < 0 for age in ages):
            raise InvalidArgument("invalid filter 'unused-for': a duration is not less than nothing")
        return [
            one
            for one in shown
            if all(one["Size"] > size for size in sizes) and all(self._unused_ns(one, now_ns) >= age for age in ages)
        ]

    def _unused_ns(self, shown: dict[str, Any], now_ns: int) -> int:
        """Return for how long no container has had it mounted: since it was made, if none ever had."""
        if shown["InUse"]:
            return -1
        record = self._register.get(shown["Name"])
        return now_ns - max(self._seen.last_used_ns(record), record.created_ns)


def _use(user: User, point: MountPoint) -> dict[str, Any]:
    return {"Id": user.id, "Name": user.name, "State": user.state, "Destination": point.target, "RW": point.rw}


def _is(user: Mapping[str, Any], ref: str) -> bool:
    return bool(ref) and (user["Name"] == ref.removeprefix("/") or user["Id"].startswith(ref))
