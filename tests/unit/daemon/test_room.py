"""What is said of an engine that finds no room at its start; real full file systems: tests/scenarios."""

import errno
import sqlite3
from pathlib import Path

import pytest

from berth.base.errors import SystemFault
from berth.base.paths import Layout
from berth.daemon import room


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data", tmp_path / "exec")
    for root in (made.data_root, made.exec_root):
        root.mkdir()
    return made


def test_where_there_is_room_nothing_is_said_and_nothing_stays(layout: Layout) -> None:
    room.check(layout)
    assert not list(layout.exec_root.iterdir())
    assert not list(layout.data_root.iterdir())


def test_an_error_that_is_not_about_room_is_told_as_it_is(layout: Layout) -> None:
    assert room.explained(PermissionError(errno.EACCES, "no", str(layout.data_root)), layout) is None
    assert room.explained(sqlite3.OperationalError("database is locked"), layout) is None


def test_the_file_is_named_wherever_the_word_of_it_is_in_the_chain(layout: Layout) -> None:
    deep = OSError(errno.ENOSPC, "No space left on device", str(layout.data_root / "not/there"))
    try:
        try:
            raise deep
        except OSError as exc:
            raise SystemFault("cannot write") from exc
    except SystemFault as exc:
        said = str(room.explained(ExceptionGroup("both", [ValueError(), exc]), layout))
    assert said.startswith(f"no space left on device: {layout.data_root}/not/there is on a full file system (")
    assert said.endswith("Make room there and start berthd again")
