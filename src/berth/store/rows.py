"""What is read of records: kept in memory, the same for every kind of store. Must not: write anything anywhere else."""

from typing import Generic, TypeVar

from berth.store.base import Watcher

R = TypeVar("R")


class Rows(Generic[R]):
    """What is read of records, kept in memory, and those who are told of its changes."""

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}
        self._watchers: list[Watcher[R]] = []

    def get(self, key: str) -> R | None:
        """Return the record of `key`, or None."""
        return self._rows.get(key)

    def all(self) -> list[R]:
        """Return every record, in the order of first writing."""
        return list(self._rows.values())

    def keys(self) -> list[str]:
        """Return every key, in the order of first writing."""
        return list(self._rows)

    def watch(self, watcher: Watcher[R]) -> None:
        """Tell `watcher` of each change."""
        self._watchers.append(watcher)

    def _show(self, key: str, record: R) -> None:
        before = self._rows.get(key)
        self._rows[key] = record
        for tell in self._watchers:
            tell(key, before, record)

    def _hide(self, key: str) -> None:
        before = self._rows.pop(key, None)
        if before is not None:
            for tell in self._watchers:
                tell(key, before, None)
