"""YAML with our own typing and with places."""

from __future__ import annotations

from typing import Any

import pytest

from berth.compose.errors import ComposeFault
from berth.compose.load import parse
from berth.compose.values import Override, Reset, mark_of


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("2020-01-02", "2020-01-02"),
        ("~", None),
        ("", None),
        ('"1"', "1"),
        ("!!str 1", "1"),
        ("1.2.3", "1.2.3"),
        ("-1", -1),
        ("+", "+"),
        ("|-\n  a\n  b", "a\nb"),
    ],
)
def test_scalars(text: str, want: Any) -> None:
    got = parse(f"k: {text}\n", "f")[0]["k"]
    assert got == want
    assert type(got) is type(want)


def test_places_count_from_one() -> None:
    document = parse("a:\n  b: [x, {c: 1}]\n", "f")[0]
    assert str(mark_of(document, ("a", "b"))) == "f:2:3"
    assert str(mark_of(document, ("a", "b", 1, "c"))) == "f:2:11"
    assert str(mark_of(document, ("a", "nope"))) == "f:1:1"


def test_merge_keys_yield_to_local_ones() -> None:
    document = parse("x: &x {a: 1, b: 1}\ny: {<<: *x, b: 2}\nz: {<<: [{a: 3}, *x]}\n", "f")[0]
    assert document["y"] == {"a": 1, "b": 2}
    assert document["z"] == {"a": 3, "b": 1}


def test_markers_of_merging() -> None:
    document = parse("a: !reset x\nb: !override [1]\n", "f")[0]
    assert isinstance(document["a"], Reset)
    assert isinstance(document["b"], Override)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f:3:1: a: mapping key "a" already defined at line 1'),
        ("a:\n\t- b\n", "f:2:1: invalid YAML"),
        ("- 1\n", "f:1:1: top-level object must be a mapping"),
        ("a: !strange 1\n", "unknown tag !strange"),
        ("a: &a [*a]\n", "too many values"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 10)}]\n" for c in "bcdefgh"),
            "too many",
        ),
    ],
)
def test_faults(text: str, words: str) -> None:
    with pytest.raises(ComposeFault, match=words):
        parse(text, "f")
