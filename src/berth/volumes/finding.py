"""Volumes by name, driver and label: a question costs what it finds, not what there is.

Must not: know who uses a volume; that is worked out from the containers.
"""

from collections.abc import Collection
from typing import Final

from berth.base.nameindex import NameIndex
from berth.store.base import Records
from berth.volumes.model import VolumeRecord
from berth.wire.filters import Filters

#: What a volume can be asked for by: a driver, a label, a label with its value.
_Term = tuple[str, ...]
_NONE: Final[frozenset[str]] = frozenset()


class Finding:
    """Finds volumes among their records."""

    def __init__(self, records: Records[VolumeRecord]) -> None:
        self._records = records
        self._names = NameIndex()
        self._terms: dict[_Term, set[str]] = {}
        for record in records.all():
            self._follow(record.name, None, record)
        records.watch(self._follow)

    def _follow(self, name: str, before: VolumeRecord | None, after: VolumeRecord | None) -> None:
        old, new = _terms(before), _terms(after)
        for term in old - new:
            self._terms[term].discard(name)
            if not self._terms[term]:
                del self._terms[term]
        for term in new - old:
            self._terms.setdefault(term, set()).add(name)
        if after is None:
            self._names.discard(name)
        elif before is None:
            self._names.add(name)

    def find(self, filters: Filters, *among: Collection[str]) -> list[VolumeRecord]:
        """Return the volumes that pass ``driver``, ``label`` and ``name``, of those that are in all of `among`."""
        sets = list(among)
        if names := filters.get("name"):
            sets.append(self._names.matching(names))
        if drivers := filters.get("driver"):
            sets.append(set[str]().union(*(self._terms.get(("driver", driver), _NONE) for driver in drivers)))
        sets += [self._terms.get(_label(want), _NONE) for want in filters.get("label")]
        if not sets:
            return self._records.all()
        sets.sort(key=len)
        fit = (name for name in sets[0] if all(name in others for others in sets[1:]))
        return [record for name in fit if (record := self._records.get(name)) is not None]


def _terms(record: VolumeRecord | None) -> set[_Term]:
    if record is None:
        return set()
    labels = record.labels or {}
    keys = {("label", key) for key in labels}
    return {("driver", record.driver), *keys, *(("label", key, value) for key, value in labels.items())}


def _label(want: str) -> _Term:
    key, equals, value = want.partition("=")
    return ("label", key, value) if equals else ("label", key)
