"""Networks go: one by name, or all that nobody uses. Must not: know what a network is made of in the kernel."""

import contextlib
import re
from typing import Final

from berth.base.aio import finish, in_thread
from berth.base.clock import Clock
from berth.base.sharing import Sharing
from berth.base.units import BadDuration, parse_duration_ns
from berth.networks.building import Building
from berth.networks.errors import (
    ConfigInUse,
    HasActiveEndpoints,
    NetworkNotFound,
    PredefinedNetwork,
    PruneRunning,
)
from berth.networks.foreign import Foreign
from berth.networks.model import NetworkRecord
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.networks.telling import Telling
from berth.networks.tenants import Tenants
from berth.store.base import Records
from berth.wire.filters import Filters, InvalidFilter

PRUNE_FILTERS: Final = ("label", "label!", "until")


class Removing:
    """The use cases "remove a network" and "remove what is not used"."""

    def __init__(  # noqa: PLR0913  what it is wired to
        self,
        *,
        networks: Records[NetworkRecord],
        register: Register,
        tenants: Tenants,
        sharing: Sharing,
        building: Building,
        foreign: Foreign,
        reaper: Reaper,
        telling: Telling,
        clock: Clock,
    ) -> None:
        self._networks = networks
        self._register = register
        self._tenants = tenants
        self._sharing = sharing
        self._building = building
        self._foreign = foreign
        self._reaper = reaper
        self._telling = telling
        self._clock = clock
        self._pruning = False

    async def remove(self, ref: str) -> None:
        """Remove a network that no running container is on."""
        async with self._sharing.shared():
            record = self._register.find(ref)
            if record.is_predefined:
                raise PredefinedNetwork(record.name)
            await finish(self._remove(record))
        self._telling.destroyed(record)

    async def _remove(self, record: NetworkRecord) -> None:
        if self._register.by_id(record.id) is None:
            raise NetworkNotFound(record.name)  # someone else's removal came first
        members = self._register.attached(record.id)
        if members:
            holders = sorted((self._tenants.of(ident).name, end.endpoint_id) for ident, end in members.items())
            raise HasActiveEndpoints(record.name, record.id, holders)
        if record.config_only:
            users = sorted(one.name for one in self._register.claimed() if one.config_from == record.name)
            if users:
                raise ConfigInUse(record.name, users)
        self._register.discard(record)  # from now on nobody joins
        try:
            await self._networks.drop(record.id)
            retired = await in_thread(self._building.unmake, record)
        except BaseException:
            self._register.add(record)
            raise
        await self._foreign.drop_pools(record)
        self._reaper.put(bridges=retired)

    def prunable(self, filters: Filters) -> list[NetworkRecord]:
        """Return the networks that `prune` would remove."""
        filters.only(PRUNE_FILTERS)
        before_ns = self._until(filters)
        return [
            record
            for record in self._register.all()
            if not record.is_predefined
            and not record.config_only
            and not self._register.attached(record.id)
            and (before_ns is None or record.created_ns < before_ns)
            and filters.labels(record.labels)
            and filters.without_labels(record.labels)
        ]

    async def prune(self, filters: Filters) -> tuple[str, ...]:
        """Remove every unused network that passes the filters; return their names."""
        planned = self.prunable(filters)
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        try:
            gone = []
            for record in planned:
                with contextlib.suppress(NetworkNotFound, HasActiveEndpoints):  # others were quicker
                    await self.remove(record.id)
                    gone.append(record.name)
            return tuple(gone)
        finally:
            self._pruning = False

    def _until(self, filters: Filters) -> int | None:
        values = filters.get("until")
        if not values:
            return None
        if len(values) > 1:
            raise InvalidFilter("until", ",".join(values))
        text = values[0]
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return int(float(text) * 1e9)
        try:
            return self._clock.now_ns() - parse_duration_ns(text)
        except BadDuration:
            raise InvalidFilter("until", text) from None
