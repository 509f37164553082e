"""One suite for every kind of records, the fake included, so that the fake is verified."""

from pathlib import Path

import msgspec
import pytest

from berth.base.errors import SystemFault
from berth.store.base import Records
from berth.store.memory import MemoryRecords
from berth.store.sqlite import Database, DatabaseTooNew, RecordUnreadable


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
