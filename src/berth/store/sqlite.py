"""Records in SQLite: one table per kind, a key and a JSON body; one writer thread per database.

Two databases: the durable one (write-ahead log, fsync at every commit, sqlite.org/pragma.html#pragma_synchronous)
and the run-time one on tmpfs, which means nothing after a reboot and therefore never syncs: a write to it is done at
once, in the caller's thread, unless it waits for its turn or brings blocking work with it.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from berth.base.errors import SystemFault
from berth.base.worker import Workers
from berth.store.base import First, Records
from berth.store.rows import Rows

log = logging.getLogger(__name__)

R = TypeVar("R", bound=msgspec.Struct)
S = TypeVar("S")
#: One SQL statement and its values.
Statement = tuple[str, tuple[object, ...]]

#: Bytes kept free inside the durable files, so that on a full disk containers can still be stopped and removed. The log
#: stays within them: to write to a file that does not grow, the file system's own journal need not be waited for.
RESERVE: Final = 1024 * 1024
#: Bytes of a page, SQLite's default; what a record takes of the log is a page of its table, one of the index of keys …
PAGE: Final = 4096
#: … and now and then another one.
PAGES_OF_ONE: Final = 3
#: Once this many pages may be in the log, what it holds goes to the main file, …
TIDY_PAGES: Final = RESERVE // PAGE // 2
#: … this many seconds after a write at the earliest: behind its answer, and where nothing else is to be written.
TIDY_AFTER_S: Final = 0.02
#: Pages of the reserve that no new record takes on a full disk. Once a write has made the main file want to grow, what
#: the log holds cannot be brought there, its space does not serve again, and nothing can be removed any more.
KEPT_PAGES: Final = 16
#: Bytes free on the disk from which on it is not full: the reserve is written twice, to the log and to the main file.
_ROOM: Final = 3 * RESERVE

#: Version of the tables' layout, in SQLite's user_version.
SCHEMA_VERSION: Final = 1


class DatabaseTooNew(SystemFault):
    """The state directory was written by a newer engine."""

    def __init__(self, path: Path, found: int) -> None:
        super().__init__(f"{path} has layout {found}, this engine knows {SCHEMA_VERSION}; run the newer engine")


class RecordUnreadable(SystemFault):
    """A stored record does not fit its type."""

    def __init__(self, table: str, key: str, reason: str) -> None:
        super().__init__(f"record {key} of {table} cannot be read: {reason}")


class _Full(Exception):
    """The disk has no room for the main file to grow."""

    def __str__(self) -> str:
        return "database or disk is full"


class Database:
    """One SQLite file with a thread of its own; all its tables are cached in memory."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._durable = path, durable
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise DatabaseTooNew(path, found)
        try:
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            if durable:
                self._db.execute(f"PRAGMA wal_autocheckpoint={RESERVE // PAGE}")
                self._reserve()
        except (sqlite3.OperationalError, _Full) as exc:
            # On a full disk the engine starts all the same: what is on record can be read, and things be removed.
            if not isinstance(exc, _Full) and exc.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            log.warning("%s: %s", path, exc)
        self._writer = Workers(f"store-{path.stem}")
        self._under_way = 0
        #: Pages that may have been written to the log since it was begun anew.
        self._logged = 0
        self._tidying: asyncio.TimerHandle | None = None

    def table(self, name: str, kind: type[R]) -> "Table[R]":
        """Open (and make, the first time) the table of one kind of record."""
        if not name.isidentifier():
            raise ValueError(name)
        self._db.execute(f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, body BLOB NOT NULL)")
        rows = self._db.execute(f"SELECT key, body FROM {name} ORDER BY rowid").fetchall()  # noqa: S608  checked above
        return Table(name, kind, rows, self._write)

    def _reserve(self) -> None:
        """Make both files so much larger than what they hold; later writes use that space first."""
        if self._free_pages() * PAGE < RESERVE:
            self._check_room()
        with closing(self._db.cursor()) as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS reserve (body BLOB)")
            # Written even if the main file has room: the log is new after every clean end.
            cursor.execute("INSERT INTO reserve VALUES (zeroblob(?))", (RESERVE,))
            cursor.execute("DELETE FROM reserve")
            cursor.execute("PRAGMA wal_checkpoint(RESTART)")

    def _free_pages(self) -> int:
        return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def _check_room(self, more: int = 0) -> None:
        """Refuse to let the main file grow on a full disk."""
        disk = os.statvfs(self._path)
        if disk.f_bfree * disk.f_frsize < _ROOM + more:  # root, whom the rest is kept for
            raise _Full

    def _make_room(self, pages: int) -> None:
        """See to it that so many pages can be used with the main file as it is, or that the disk is not full."""
        if self._free_pages() < pages:
            self._check_room(2 * pages * PAGE)
            self._reserve()

    async def _write(
        self, *statements: Statement, pages: int = 0, first: First | None = None, then: First | None = None
    ) -> None:
        """Carry out statements, all or none, between `first` and `then`; they need so many pages more."""

        def work() -> None:
            if pages and self._durable:
                self._make_room(pages)
            if first is not None:
                first()
            try:
                self._execute(statements)
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                # Once what the log holds is in the main file, the log's own space serves again.
                self._db.execute("PRAGMA wal_checkpoint(RESTART)")
                self._execute(statements)
            if then is not None:
                then()

        self._under_way += 1
        try:
            if self._durable or first is not None or then is not None or self._under_way > 1:
                await self._writer.run(work)
            else:
                work()  # to memory, in less time than it takes to wake a thread
        except (sqlite3.Error, _Full) as exc:
            raise SystemFault(f"cannot write the engine's records: {exc}") from exc
        finally:
            self._under_way -= 1
        if self._durable:
            self._logged += sum(PAGES_OF_ONE + _length(values[-1]) // PAGE for _, values in statements)
            if self._logged >= TIDY_PAGES:
                self._tidy_soon()

    def _tidy_soon(self) -> None:
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(TIDY_AFTER_S, self._tidy)

    def _tidy(self) -> None:
        """Let the log be begun anew; if it is never quiet enough for that, SQLite does it within a write."""
        self._tidying = None
        if self._under_way:
            self._tidy_soon()
            return
        self._logged = 0
        self._writer.put(self._checkpoint)

    def _checkpoint(self) -> None:
        try:
            self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        except sqlite3.Error as exc:  # as on a full disk: the log holds all of it, and the next write tries again
            log.warning("%s: what its log holds stays there: %s", self._path, exc)

    def _execute(self, statements: Sequence[Statement]) -> None:
        if len(statements) == 1:
            self._db.execute(*statements[0])
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Finish what is being written and close the file."""
        if self._tidying is not None:
            self._tidying.cancel()
        self._writer.close()
        self._db.close()


def _length(value: object) -> int:
    return len(value) if isinstance(value, bytes) else 0


class Table(Rows[R]):
    """See `berth.store.base.Records`."""

    def __init__(
        self,
        name: str,
        kind: type[R],
        rows: list[tuple[str, bytes]],
        write: Callable[..., Awaitable[None]],
    ) -> None:
        super().__init__()
        self._name = name
        self._write = write
        for key, body in rows:
            try:
                self._rows[key] = msgspec.json.decode(body, type=kind)
            except msgspec.DecodeError as exc:
                raise RecordUnreadable(name, key, str(exc)) from exc

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        """Write or replace a record: on disk when this returns, then seen by readers."""
        statement = self._putting(key, record)
        kept = 0 if key in self._rows else KEPT_PAGES
        await self._write(statement, pages=kept + _pages(statement), first=first)
        self._show(key, record)

    async def drop(self, key: str, *, first: First | None = None) -> None:
        """Forget a record; nothing happens if there is none."""
        if key in self._rows:
            await self._write(self._dropping(key), first=first)
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
        """Drop `key` here and write `record` there in one transaction; `to` is a table of the same file."""
        if not isinstance(to, Table) or to._write != self._write:  # noqa: SLF001  a table like this one
            raise TypeError(f"{self._name}: a record can be moved only to a table of the same file")
        old, new = self._dropping(key), to._putting(new_key, record)  # noqa: SLF001
        written = False

        def after() -> None:
            nonlocal written
            written = True
            if then is not None:
                then()

        try:
            await self._write(old, new, pages=_pages(new), first=first, then=after)
        finally:
            if written:
                self._hide(key)
                to._show(new_key, record)  # noqa: SLF001

    def _putting(self, key: str, record: R) -> Statement:
        sql = (
            f"INSERT INTO {self._name} (key, body) VALUES (?, ?) "  # noqa: S608  the name was checked
            "ON CONFLICT (key) DO UPDATE SET body = excluded.body"
        )
        return sql, (key, msgspec.json.encode(record))

    def _dropping(self, key: str) -> Statement:
        return f"DELETE FROM {self._name} WHERE key = ?", (key,)  # noqa: S608


def _pages(putting: Statement) -> int:
    """Return how many pages a record takes beside those that are there."""
    _, (_, body) = putting
    assert isinstance(body, bytes)
    return len(body) // PAGE


class Stores:
    """The two databases of an engine."""

    def __init__(self, durable: Path, runtime: Path) -> None:
        self._durable = Database(durable, durable=True)
        self._runtime = Database(runtime, durable=False)

    def durable(self, table: str, kind: type[R]) -> Table[R]:
        """Open a table that survives a reboot."""
        return self._durable.table(table, kind)

    def runtime(self, table: str, kind: type[R]) -> Table[R]:
        """Open a table that is empty after a reboot."""
        return self._runtime.table(table, kind)

    def close(self) -> None:
        """Close both."""
        self._durable.close()
        self._runtime.close()
