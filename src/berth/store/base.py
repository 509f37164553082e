"""What a store of records is, for those who use one."""

from collections.abc import Callable
from typing import Protocol, TypeVar

R = TypeVar("R")
S = TypeVar("S")

#: Blocking work that has to be done before a record is written or dropped.
First = Callable[[], object]
#: Told of a change that was written: the key, the record before and the record after it; None where there is none.
Watcher = Callable[[str, R | None, R | None], None]


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

    def watch(self, watcher: Watcher[R]) -> None:
        """Tell `watcher` of each change, at the moment readers see it. It must not raise."""
        ...

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        """Write or replace a record, after `first` was done in the same thread; where that fails nothing is written.

        One change of threads for both; only for what takes no longer than a write.
        """
        ...

    async def drop(self, key: str, *, first: First | None = None) -> None:
        """Forget a record, after `first` was done in the same thread; nothing happens if there is none."""
        ...

    async def move(
        self,
        key: str,
        to: "Records[S]",
        new_key: str,
        record: S,
        *,
        first: First | None = None,
        then: First | None = None,
    ) -> None:
        """Drop `key` here and write `record` there, both or neither; `to` is this table or one of the same file.

        `first` is done before, in the same thread; where it fails nothing is written. `then` is done after; where it
        fails all is written, and the error is raised.
        """
        ...
