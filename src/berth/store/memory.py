"""Records in memory only: for tests, checked by the same suite as the real store."""

from typing import Generic, TypeVar

from berth.base.aio import in_thread
from berth.store.base import First, Records

R = TypeVar("R")
S = TypeVar("S")


class MemoryRecords(Generic[R]):
    """See `berth.store.base.Records`."""

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}

    def get(self, key: str) -> R | None:
        """Return the record of `key`, or None."""
        return self._rows.get(key)

    def all(self) -> list[R]:
        """Return every record, in the order of first writing."""
        return list(self._rows.values())

    def keys(self) -> list[str]:
        """Return every key, in the order of first writing."""
        return list(self._rows)

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        """Write or replace a record."""
        if first is not None:
            await in_thread(first)
        self._rows[key] = record

    async def drop(self, key: str, *, first: First | None = None) -> None:
        """Forget a record; nothing happens if there is none."""
        if key not in self._rows:
            return
        if first is not None:
            await in_thread(first)
        self._rows.pop(key, None)

    async def move(
        self,
        key: str,
        to: Records[S],
        new_key: str,
        record: S,
        *,
        first: First | None = None,
        then: First | None = None,
    ) -> None:
        """Drop `key` here and write `record` there."""
        if first is not None:
            await in_thread(first)
        self._rows.pop(key, None)
        await to.put(new_key, record)
        if then is not None:
            await in_thread(then)
