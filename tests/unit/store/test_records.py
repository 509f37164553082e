"""One suite for every kind of records, the fake included, so that the fake is verified."""

from pathlib import Path

import msgspec
import pytest

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
