"""One suite for every kind of records, the fake included, so that the fake is verified."""

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from berth.base.errors import SystemFault
from berth.store.base import Records
from berth.store.memory import MemoryRecords
from berth.store.sqlite import RESERVE, TIDY_AFTER_S, TIDY_PAGES, Database, DatabaseTooNew, RecordUnreadable


class Ship(msgspec.Struct, frozen=True):
    name: str
    tons: int = 0


class Strict(msgspec.Struct, frozen=True):
    masts: int


@pytest.fixture(params=["memory", "durable", "runtime"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records[Ship]:
    if request.param == "memory":
        return MemoryRecords[Ship]()
    database = Database(tmp_path / "x.db", durable=request.param == "durable")
    request.addfinalizer(database.close)
    return database.table("ships", Ship)


async def test_what_is_put_is_got(records: Records[Ship]) -> None:
    await records.put("a", Ship("Cutty Sark", 963))
    assert records.get("a") == Ship("Cutty Sark", 963)
    assert records.get("b") is None


async def test_order_is_that_of_first_writing(records: Records[Ship]) -> None:
    for key in "cab":
        await records.put(key, Ship(key))
    await records.put("a", Ship("again"))
    assert records.keys() == ["c", "a", "b"]
    assert [ship.name for ship in records.all()] == ["c", "again", "b"]


async def test_dropping_forgets_and_may_be_repeated(records: Records[Ship]) -> None:
    await records.put("a", Ship("x"))
    await records.drop("a")
    await records.drop("a")
    assert records.get("a") is None
    assert records.all() == []


async def test_who_watches_is_told_of_each_change(records: Records[Ship]) -> None:
    told: list[tuple[str, Ship | None, Ship | None]] = []
    records.watch(lambda key, before, after: told.append((key, before, after)))
    records.watch(lambda key, _, after: seen.append(records.get(key) is after))
    seen: list[bool] = []
    x, y, z = Ship("x"), Ship("y"), Ship("z")
    await records.put("a", x)
    await records.put("a", y)
    await records.move("a", records, "b", z)
    await records.drop("b")
    await records.drop("b")
    assert told == [("a", None, x), ("a", x, y), ("a", y, None), ("b", None, z), ("b", z, None)]
    assert seen == [True] * 5


async def test_a_record_moves_to_another_key(records: Records[Ship]) -> None:
    await records.put("a", Ship("x"))
    await records.move("a", records, "b", Ship("y"))
    assert records.keys() == ["b"]
    assert records.get("b") == Ship("y")


async def test_a_record_moves_to_another_table_of_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships, wrecks = database.table("ships", Ship), database.table("wrecks", Strict)
    await ships.put("a", Ship("x"))
    await ships.move("a", wrecks, "w", Strict(3))
    database.close()
    again = Database(tmp_path / "x.db", durable=True)
    assert again.table("ships", Ship).all() == []
    assert again.table("wrecks", Strict).all() == [Strict(3)]
    again.close()


async def test_a_move_that_cannot_be_written_leaves_both_tables(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships, wrecks = database.table("ships", Ship), database.table("wrecks", Strict)
    await ships.put("a", Ship("x"))
    database._db.execute("CREATE TRIGGER full BEFORE INSERT ON wrecks BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(SystemFault, match="full"):
        await ships.move("a", wrecks, "w", Strict(3))
    assert ships.get("a") == Ship("x")
    assert wrecks.all() == []
    await ships.put("b", Ship("y"))  # no transaction is left open
    database.close()
    assert len(Database(tmp_path / "x.db", durable=True).table("ships", Ship).all()) == 2


async def test_a_move_to_another_file_is_refused(tmp_path: Path) -> None:
    one, other = Database(tmp_path / "x.db", durable=True), Database(tmp_path / "y.db", durable=True)
    with pytest.raises(TypeError, match="same file"):
        await one.table("ships", Ship).move("a", other.table("ships", Ship), "a", Ship("x"))
    one.close()
    other.close()


async def test_a_file_keeps_what_was_written(tmp_path: Path) -> None:
    first = Database(tmp_path / "x.db", durable=True)
    await first.table("ships", Ship).put("a", Ship("x", 5))
    first.close()
    second = Database(tmp_path / "x.db", durable=True)
    assert second.table("ships", Ship).all() == [Ship("x", 5)]
    second.close()


async def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    first = Database(tmp_path / "x.db", durable=True)
    first._db.execute("PRAGMA user_version=99")
    first.close()
    with pytest.raises(DatabaseTooNew, match="layout 99"):
        Database(tmp_path / "x.db", durable=True)


async def test_a_record_that_does_not_fit_its_type_is_named(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    await database.table("ships", Ship).put("a", Ship("x"))
    with pytest.raises(RecordUnreadable, match="record a of ships"):
        database.table("ships", Strict)
    database.close()


async def test_the_log_does_not_grow(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships, log = database.table("ships", Ship), tmp_path / "x.db-wal"
    size = log.stat().st_size
    assert size >= RESERVE, "each write would wait for the file system's journal"
    for number in range(TIDY_PAGES):
        await ships.put(f"{number}", Ship("x" * 1000))
        if number % 50 == 0:  # a moment in which nobody writes
            await asyncio.sleep(2 * TIDY_AFTER_S)
    assert log.stat().st_size == size
    database.close()
    again = Database(tmp_path / "x.db", durable=True)
    assert len(again.table("ships", Ship).all()) == TIDY_PAGES
    again.close()


async def test_the_log_stays_small_where_it_is_never_quiet(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships, log = database.table("ships", Ship), tmp_path / "x.db-wal"
    await asyncio.gather(*(ships.put(f"{number}", Ship("x" * 1000)) for number in range(4 * TIDY_PAGES)))
    assert log.stat().st_size < 1.1 * RESERVE
    database.close()


async def test_a_log_that_cannot_be_emptied_is_told_of_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships = database.table("ships", Ship)
    await ships.put("a", Ship("x"))
    database._db.close()
    database._checkpoint()
    assert "what its log holds stays there" in caplog.text
    database.close()
    again = Database(tmp_path / "x.db", durable=True)
    assert again.table("ships", Ship).all() == [Ship("x")]
    again.close()


async def test_a_write_outlasts_a_cancellation(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=True)
    ships, begun, gate = database.table("ships", Ship), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gate.wait(5)

    task = asyncio.get_running_loop().create_task(ships.put("a", Ship("x"), first=first))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    database.close()
    again = Database(tmp_path / "x.db", durable=True)
    assert again.table("ships", Ship).all() == [Ship("x")]
    again.close()


async def test_what_only_memory_holds_is_written_at_once_but_in_its_turn(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", durable=False)
    ships, threads = database.table("ships", Ship), []
    at_once = ships.put("a", Ship("w"))
    with pytest.raises(StopIteration):
        at_once.send(None)  # never waited
    begun, gate = threading.Event(), threading.Event()

    def first() -> None:
        threads.append(threading.current_thread())
        begun.set()
        assert gate.wait(5)

    slow = asyncio.get_running_loop().create_task(ships.put("a", Ship("x"), first=first))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(begun.wait, 5)
    after = asyncio.get_running_loop().create_task(ships.put("a", Ship("y")))
    await asyncio.sleep(0)
    assert not after.done()
    gate.set()
    await asyncio.gather(slow, after)
    assert threads != [threading.current_thread()]
    database.close()
    again = Database(tmp_path / "x.db", durable=False)
    assert again.table("ships", Ship).all() == [Ship("y")]
    again.close()
