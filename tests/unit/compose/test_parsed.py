"""Parsed files are remembered, and never wrongly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from berth.compose.load import parse
from berth.compose.parsed import MOST_ENTRIES, cache_directory, keep, recall
from berth.compose.values import Override, Reset, mark_of

TEXT = "a: &x {b: [1, x, null, true, 1.5]}\nc: !override [*x]\nd: !reset x\n---\ne: {<<: {f: 1}}\n"


def test_what_was_kept_comes_back_with_its_places(tmp_path: Path) -> None:
    directory = str(tmp_path / "cache")
    assert recall(directory, TEXT, "f") is None
    keep(directory, TEXT, parse(TEXT, "f"))
    got, want = recall(directory, TEXT, "other"), parse(TEXT, "other")
    assert got is not None
    assert isinstance(got[0].pop("d"), Reset)
    assert isinstance(want[0].pop("d"), Reset)
    one, other = got[0].pop("c"), want[0].pop("c")
    assert isinstance(one, Override)
    assert (one.value, got) == (other.value, want)
    assert mark_of(got[0], ("a", "b", 1)) == mark_of(want[0], ("a", "b", 1))
    assert mark_of(got[1], ("e", "f")) == mark_of(want[1], ("e", "f"))


def test_another_text_is_another_entry(tmp_path: Path) -> None:
    keep(str(tmp_path), TEXT, parse(TEXT, "f"))
    assert recall(str(tmp_path), TEXT + " ", "f") is None


@pytest.mark.parametrize("damage", ["", "null", "[1]", "[[", '[["m",["k"]]]', '[["o"]]'])
def test_a_damaged_entry_is_no_entry(tmp_path: Path, damage: str) -> None:
    keep(str(tmp_path), TEXT, parse(TEXT, "f"))
    next(tmp_path.iterdir()).write_text(damage)
    assert recall(str(tmp_path), TEXT, "f") is None


def test_old_entries_go(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES + 5):
        text = f"a: {number}\n"
        keep(str(tmp_path), text, parse(text, "f"))
        for entry in tmp_path.iterdir():
            os.utime(entry, (entry.stat().st_mtime - 10,) * 2)
    assert len(list(tmp_path.iterdir())) == MOST_ENTRIES
    assert recall(str(tmp_path), f"a: {MOST_ENTRIES + 4}\n", "f") is not None


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    assert cache_directory({}) is None
    assert cache_directory({"HOME": "/h"}) == "/h/.cache/berth/compose"
    assert cache_directory({"HOME": "/h", "XDG_CACHE_HOME": "/x"}) == "/x/berth/compose"
    keep(None, TEXT, parse(TEXT, "f"))
    blocker = tmp_path / "file"
    blocker.write_text("")
    keep(str(blocker / "below"), TEXT, parse(TEXT, "f"))
    assert recall(str(blocker / "below"), TEXT, "f") is None
