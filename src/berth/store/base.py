"""What a store of records is, for those who use one."""

from typing import Protocol, TypeVar

R = TypeVar("R")


class Records(Protocol[R]):
    """Immutable records by key. Reads come from memory; a write is on its medium when it returns."""

    def get(self, key: str) -> R | None:
        """Return the record of `key`, or None."""
        ...

    def all(self) -> list[R]:
        """Return every record, in the order of first writing."""
        ...

    def keys(self) -> list[str]:
        """Return every key, in the order of first writing."""
        ...

    async def put(self, key: str, record: R) -> None:
        """Write or replace a record."""
        ...

    async def drop(self, key: str) -> None:
        """Forget a record; nothing happens if there is none."""
        ...
