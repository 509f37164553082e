"""The records of containers: two tables behind one view, and who has which name. Must not: know what a state means.

Containers that are removed at their exit and own no anonymous volume are recorded on tmpfs only, since after a reboot
nothing of them is wanted; that saves the disk from every ``run --rm``.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final

import msgspec

from berth.base.ids import by_prefix, is_full_id
from berth.base.nameindex import NameIndex, is_simple
from berth.base.names import made_up_name
from berth.containers.errors import AmbiguousPrefix, NameInUse, NoSuchContainer
from berth.containers.model import ContainerRecord
from berth.store.base import Records

#: How many times a made-up name is tried before the short id serves as one.
_NAME_ATTEMPTS: Final = 16
#: The slash that Docker has before a name, where a pattern may say it.
_SLASH: Final = re.compile(r"\A(\^?)/")
#: Any character before all others: that may be the slash.
_ANY_FIRST: Final = re.compile(r"\^?\.")
_CREATED: Final = attrgetter("created_ns")


class Register:
    """All containers of one engine."""

    def __init__(self, durable: Records[ContainerRecord], fleeting: Records[ContainerRecord]) -> None:
        self._durable = durable
        self._fleeting = fleeting
        self._names = {record.name: record.id for record in self.all()}
        self._index = NameIndex(self._names)
        self._making: dict[str, str] = {}

    def all(self) -> list[ContainerRecord]:
        """Return every container, oldest first."""
        fleeting = [one for one in self._fleeting.all() if self._durable.get(one.id) is None]
        return sorted([*self._durable.all(), *fleeting], key=_CREATED)

    def like(self, patterns: Sequence[str]) -> list[ContainerRecord]:
        """Return, oldest first, every container whose name may fit one of `patterns`, and perhaps some that do not.

        A name may be meant with the slash before it.
        """
        bare = [_SLASH.sub(r"\1", pattern) for pattern in patterns]
        if not all(is_simple(pattern) and not _ANY_FIRST.match(pattern) for pattern in bare):
            return self.all()
        idents = {self._names[name] for name in self._index.matching(bare)}  # one that is renamed has two
        return sorted((one for one in map(self.get, idents) if one is not None), key=_CREATED)

    def get(self, ident: str) -> ContainerRecord | None:
        """Return the container of a full id."""
        return self._durable.get(ident) or self._fleeting.get(ident)

    def find(self, ref: str) -> ContainerRecord:
        """Return a container by full id, name (a leading slash allowed) or unique id prefix.

        Raises `NoSuchContainer`, `AmbiguousPrefix`.
        """
        if is_full_id(ref) and (record := self.get(ref)) is not None:
            return record
        ident = self._names.get(ref.removeprefix("/"))
        if ident is not None and (record := self.get(ident)) is not None:
            return record
        found = by_prefix(ref, [*self._durable.keys(), *self._fleeting.keys()])
        if len(found) > 1:
            raise AmbiguousPrefix(ref)
        record = self.get(found[0]) if found else None
        if record is None:
            raise NoSuchContainer(ref)
        return record

    def is_durable(self, record: ContainerRecord) -> bool:
        """Tell whether a record survives a reboot."""
        return not record.auto_remove or any(point.anonymous for point in record.mounts)

    def _table(self, record: ContainerRecord) -> Records[ContainerRecord]:
        return self._durable if self.is_durable(record) else self._fleeting

    async def put(self, record: ContainerRecord, **changes: Any) -> ContainerRecord:  # noqa: ANN401  fields of a record
        """Write a record with `changes` made to it; return it."""
        changed = msgspec.structs.replace(record, **changes) if changes else record
        table = self._table(changed)
        other = self._fleeting if table is self._durable else self._durable
        await table.put(changed.id, changed)
        if other.get(changed.id) is not None:  # its mounts have changed: it belongs to the other table now
            await other.drop(changed.id)
        return changed

    async def drop(self, record: ContainerRecord) -> None:
        """Forget a container and its name."""
        await self._table(record).drop(record.id)
        self.give_back_name(record.name, record.id)

    @contextmanager
    def claim(self, ident: str, image_id: str) -> Iterator[None]:
        """Let a container that has no record yet count as one that is made from an image."""
        self._making[ident] = image_id
        try:
            yield
        finally:
            del self._making[ident]

    def making(self, image_id: str) -> list[str]:
        """Return the containers that are being made from an image."""
        return [ident for ident, image in self._making.items() if image == image_id]

    def take_name(self, wanted: str, ident: str) -> str:
        """Give a container the name it wants, or one made up; nobody else gets it from now on. Raises `NameInUse`."""
        if wanted:
            holder = self._names.get(wanted)
            if holder is not None:
                raise NameInUse(wanted, holder)
            return self._give(wanted, ident)
        for attempt in range(_NAME_ATTEMPTS):
            made = made_up_name(attempt)
            if made not in self._names:
                return self._give(made, ident)
        return self._give(ident[:12], ident)

    def _give(self, name: str, ident: str) -> str:
        self._names[name] = ident
        self._index.add(name)
        return name

    def give_back_name(self, name: str, ident: str) -> None:
        """Let others have a name that `ident` held."""
        if self._names.get(name) == ident:
            del self._names[name]
            self._index.discard(name)
