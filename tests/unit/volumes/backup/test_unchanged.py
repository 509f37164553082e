"""Marks: what has to be the same for a backup to be worth what the last one is."""

import asyncio
from typing import Any

import msgspec
import pytest

from berth.base.clock import SystemClock
from berth.kernel.fingerprint import Fingerprint
from berth.store.memory import MemoryRecords
from berth.volumes.backup.unchanged import Mark, Marks

HEAD: dict[str, Any] = {
    "volume": "db", "driver": "local", "options": None, "labels": {"a": "b"}, "created": "2026-11-24T19:47:02Z",
    "time": "2026-11-25T19:47:02Z", "engine": "berth 1", "pack": "zstd",
    "consistency": {"Mode": "freeze", "How": "no running container used it", "CrashConsistent": True, "At": 5},
}  # fmt: skip


def marked(volumes: list[str]) -> tuple[Marks, MemoryRecords[Mark]]:
    records: MemoryRecords[Mark] = MemoryRecords()
    marks = Marks(records, lambda: volumes, SystemClock())
    asyncio.run(marks.made("/r", "db", HEAD, Fingerprint(sum="f"), snapshot="abc", stamp="s", files=1, size=2))
    return marks, records


@pytest.mark.parametrize("passing", ["time", "engine", "pack"])
def test_what_is_another_each_time_does_not_count(passing: str) -> None:
    marks, _ = marked(["db"])
    assert marks.find("/r", "db", {**HEAD, passing: "other"}) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": {"a": "c"}},
        {"options": {"size": "1g"}},
        {"driver": "other"},
        {"created": "2026-11-25T00:00:00Z"},
        {"consistency": {**HEAD["consistency"], "Mode": "stop"}},
        {"consistency": {**HEAD["consistency"], "How": "containers paused until all was read"}},
        {"consistency": {**HEAD["consistency"], "CrashConsistent": False}},
    ],
)
def test_what_a_restore_would_bring_back_counts(changed: dict[str, Any]) -> None:
    marks, _ = marked(["db"])
    assert marks.find("/r", "db", HEAD) is not None
    assert marks.find("/r", "db", HEAD | changed) is None


def test_a_mark_is_of_one_volume_one_repository_and_one_start_of_the_machine() -> None:
    marks, records = marked(["db"])
    assert marks.find("/r2", "db", HEAD) is None
    assert marks.find("/r", "db2", HEAD) is None
    (key,) = records.keys()
    (mark,) = records.all()
    asyncio.run(records.put(key, msgspec.structs.replace(mark, boot="another")))
    assert marks.find("/r", "db", HEAD) is None


def test_marks_of_volumes_that_are_gone_go() -> None:
    marks, records = marked(["db"])
    volumes: list[str] = ["other"]
    later = Marks(records, lambda: volumes, SystemClock())
    asyncio.run(later.made("/r", "other", HEAD, Fingerprint(sum="f"), snapshot="d", stamp="s", files=1, size=2))
    assert [one.volume for one in records.all()] == ["other"]
    assert marks.find("/r", "db", HEAD) is None


def test_seeing_a_volume_again_is_remembered_with_the_snapshots_whole_name() -> None:
    marks, _ = marked(["db"])
    mark = marks.find("/r", "db", HEAD)
    assert mark is not None
    asyncio.run(marks.found_again(mark, "abcdefghij", 7))
    assert marks.seen("/r") == {"abcdefgh": 7}
    assert marks.seen("/r2") == {}
    asyncio.run(marks.forget("/r", "db"))
    assert marks.find("/r", "db", HEAD) is None
