"""What holds are noted survives, in two places, and is put together again."""

from pathlib import Path

from berth.volumes.consistency.journal import Entry, HoldJournal


def test_pauses_are_noted_on_tmpfs_and_stops_on_disk(tmp_path: Path) -> None:
    passing, lasting = tmp_path / "run", tmp_path / "lib"
    journal = HoldJournal(passing, lasting)
    journal.write("one", Entry(what="backup", paused=("a", "b"), posts=(("a", ("true",)),)))
    assert not lasting.exists()
    journal.write("two", Entry(what="clone", stopped=("c",), posts=(("c", ("x", "y")),)))
    assert HoldJournal(passing, lasting).left() == {
        "one": Entry(what="backup", paused=("a", "b"), posts=(("a", ("true",)),)),
        "two": Entry(what="clone", stopped=("c",), posts=(("c", ("x", "y")),)),
    }
    for path in passing.iterdir():
        path.unlink()  # a reboot
    assert journal.left() == {"two": Entry(what="clone", stopped=("c",))}
    journal.write("two", Entry(what="clone"))
    assert journal.left() == {"two": Entry(what="clone")}
    journal.drop("two")
    assert journal.left() == {}


def test_a_write_that_was_cut_short_changes_nothing(tmp_path: Path) -> None:
    journal = HoldJournal(tmp_path / "run", tmp_path / "lib")
    journal.write("one", Entry(what="backup", paused=("a",)))
    (tmp_path / "run/.one.77.new").write_text("{")
    assert journal.left() == {"one": Entry(what="backup", paused=("a",))}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["one"]


def test_a_note_that_cannot_be_read_stops_no_engine(tmp_path: Path) -> None:
    journal = HoldJournal(tmp_path / "run", tmp_path / "lib")
    journal.write("one", Entry(what="backup", paused=("a",)))
    (tmp_path / "run/two").write_text("{")
    assert journal.left() == {"one": Entry(what="backup", paused=("a",))}
