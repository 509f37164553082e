"""Which volumes nobody needs, and their removal all at once. Must not: know how one is removed."""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from berth.base.aio import finish
from berth.base.errors import EngineError
from berth.volumes.errors import PruneRunning
from berth.volumes.keeping import Keeping
from berth.volumes.model import LOCAL, VolumeRecord
from berth.volumes.register import Register
from berth.volumes.seen import Seen
from berth.wire.filters import Filters

log = logging.getLogger(__name__)

_FILTERS: Final = ("all", "label", "label!")
#: Seconds that finding out how much is freed may take.
PATIENCE_S: Final = 2.0


class Pruning:
    """Removes what nobody needs, one caller at a time."""

    def __init__(self, register: Register, keeping: Keeping, seen: Seen) -> None:
        self._register = register
        self._keeping = keeping
        self._seen = seen
        self._running = False

    def plan(self, filters: Filters, without: Collection[str] = ()) -> list[VolumeRecord]:
        """Return the volumes that would go: plain, unused, unprotected; those with a name only with ``all``.

        Containers in `without` are thought away.
        """
        filters.only(_FILTERS)
        every = filters.boolean("all", default=False)
        used = {
            name for name, idents in self._register.holders().items() if not all(ident in without for ident in idents)
        }
        return [
            record
            for record in self._register.records.all()
            if (every or record.anonymous)
            and record.driver == LOCAL
            and "device" not in (record.options or {})
            and not record.protected
            and filters.labels(record.labels or {})
            and filters.without_labels(record.labels or {})
            and record.name not in used
        ]

    async def sized(self, records: Sequence[VolumeRecord]) -> list[tuple[VolumeRecord, int]]:
        """Return volumes with their sizes in bytes, 0 where that takes too long to find out."""
        sizes = await self._seen.sizes(records, patience_s=PATIENCE_S)
        return [(record, sizes[record.name].size if record.name in sizes else 0) for record in records]

    async def prune(self, filters: Filters) -> tuple[tuple[str, ...], int]:
        """Remove what `plan` names; return the names and the bytes freed. Raises `PruneRunning`."""
        planned = self.plan(filters)
        if self._running:
            raise PruneRunning
        self._running = True
        try:
            return await self._prune(await self.sized(planned))
        finally:
            self._running = False

    async def _prune(self, planned: Sequence[tuple[VolumeRecord, int]]) -> tuple[tuple[str, ...], int]:
        gone: list[str] = []
        freed = 0
        for record, size in planned:
            async with self._register.hold(record.name):
                now = self._register.find(record.name)
                if now is None or now.protected or now.created_ns != record.created_ns:
                    continue
                if record.name in self._register.holders():
                    continue
                try:
                    await finish(self._keeping.remove_locked(now, trash=True))
                except EngineError as exc:
                    log.warning("prune: %s", exc)
                    continue
            gone.append(record.name)
            freed += size
        self._register.publish("prune", "", reclaimed=str(freed))
        return tuple(gone), freed
