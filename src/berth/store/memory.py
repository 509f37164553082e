"""Records in memory only: for tests, checked by the same suite as the real store."""

from typing import TypeVar

from berth.base.aio import in_thread
from berth.store.base import First, Records
from berth.store.rows import Rows

R = TypeVar("R")
S = TypeVar("S")


class MemoryRecords(Rows[R]):
    """See `berth.store.base.Records`."""

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        """Write or replace a record."""
        if first is not None:
            await in_thread(first)
        self._show(key, record)

    async def drop(self, key: str, *, first: First | None = None) -> None:
        """Forget a record; nothing happens if there is none."""
        if key not in self._rows:
            return
        if first is not None:
            await in_thread(first)
        self._hide(key)

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
        self._hide(key)
        await to.put(new_key, record)
        if then is not None:
            await in_thread(then)
