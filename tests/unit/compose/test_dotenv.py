"""The grammar of environment files."""

from __future__ import annotations

import pytest

from berth.compose import dotenv
from berth.compose.errors import ComposeFault

PROBE = r"""
# a comment
A=plain
B=val#not # comment
C="dq # in"
D='$X ${X}'
E="tab\tnew\nline"
F=a\tb
export G=plain-$X
I: colon
K="two
lines"
L='it\'s'
  M =  spaced  
N=a=b=c
O=$$X
P=\$X
Q="\$X"
R=
S=${NOPE:-${X}}
T="\0101"
U=lone $ and $1
INHERITED
ABSENT
"""  # noqa: W291  the spaces are the point


def test_the_probe_of_the_grammar() -> None:
    outside = {"X": "xx", "INHERITED": "from outside"}
    assert dotenv.parse("\ufeff" + PROBE.replace("\n", "\r\n"), ".env", outside.get) == {
        "A": "plain",
        "B": "val#not",
        "C": "dq # in",
        "D": "$X ${X}",
        "E": "tab\tnew\nline",
        "F": r"a\tb",
        "G": "plain-xx",
        "I": "colon",
        "K": "two\nlines",
        "L": "it's",
        "M": "spaced",
        "N": "a=b=c",
        "O": "$X",
        "P": "$X",
        "Q": "$X",
        "R": "",
        "S": "xx",
        "T": "A",
        "U": "lone $ and $1",
        "INHERITED": "from outside",
    }


def test_later_lines_see_earlier_ones_but_outside_wins() -> None:
    assert dotenv.parse("A=file\nB=$A\n", ".env", {}.get) == {"A": "file", "B": "file"}
    assert dotenv.parse("A=file\nB=$A\n", ".env", {"A": "out"}.get)["B"] == "out"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OK=1\nA KEY=1\n", r"\.env:2:1: unexpected character"),
        ('A="open\n', r"\.env:1:1: A: unterminated"),
        ("A=${B\n", r"\.env:1:1: A: invalid interpolation"),
        ("A=${B:?needed}\n", "needed"),
    ],
)
def test_faults_have_a_line(text: str, words: str) -> None:
    with pytest.raises(ComposeFault, match=words):
        dotenv.parse(text, ".env", {}.get)


def test_unset_variables_are_told() -> None:
    told: list[str] = []
    assert dotenv.parse("A=$NOPE", ".env", {}.get, told.append) == {"A": ""}
    assert told == ["NOPE"]


def test_the_raw_format_splits_only() -> None:
    assert dotenv.parse_raw("A='x' # y\n# no\nB=$C=1\n\n") == {"A": "'x' # y", "B": "$C=1"}
