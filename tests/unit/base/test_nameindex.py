"""Names that fit a filter: the index against a look at each name."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.nameindex import NameIndex

NAMES = ["data", "da.ta", "other", "ab" * 32, "two\nlines", "a+b"]


def slowly(wanted: list[str], names: set[str]) -> set[str]:
    """Docker's rule: the same, part of it (as a regular expression without signs is), or a regular expression."""

    def fits(want: str, name: str) -> bool:
        try:
            return want == name or re.search(want, name) is not None
        except re.error:
            return False

    return {name for name in names for want in wanted if fits(want, name)}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), []),
        (("",), NAMES),
        (("at",), ["data"]),
        (("^d", "her$"), ["data", "da.ta", "other"]),
        (("t.a",), []),
        (("d.t",), ["data"]),
        (("da.t",), ["da.ta"]),
        ((r"^da\.ta$",), ["da.ta"]),
        (("^dat$",), []),
        (("^data$",), ["data"]),
        (("^", "$"), NAMES),
        (("data(", "o*["), []),
        (("nosuch",), []),
        (("baba",), ["ab" * 32]),
        (("^(data|other)$",), ["data", "other"]),
        (("lines",), ["two\nlines"]),
        (("two.lines",), []),
        (("a+b",), ["ab" * 32, "a+b"]),
        (("(?i)OTHER",), ["other"]),
    ],
)
def test_names_match_in_part_or_as_regular_expressions(wanted: tuple[str, ...], found: list[str]) -> None:
    assert NameIndex(NAMES).matching(wanted) == set(found)


def test_a_name_that_is_not_a_regular_expression_is_found_by_itself() -> None:
    assert NameIndex(["a(", "b"]).matching(["a("]) == {"a("}


letters = st.text("ab.-1", min_size=1, max_size=4)
names = letters | st.text(string.hexdigits[:16], min_size=64, max_size=64) | st.just("a\nb")
patterns = (
    st.builds("{}{}{}".format, st.sampled_from(["", "^"]), st.text(r"ab.-1", max_size=4), st.sampled_from(["", "$"]))
    | st.text(r"ab.\-1^$*+?()[]|", max_size=5)
    | names
)


@given(st.lists(st.tuples(st.booleans(), names), max_size=40), st.lists(patterns, max_size=3))
def test_names_come_and_go(steps: list[tuple[bool, str]], wanted: list[str]) -> None:
    index, known = NameIndex(), set[str]()
    for come, name in steps:
        if come:
            index.add(name)
            known.add(name)
        else:
            index.discard(name)
            known.discard(name)
        assert index.matching(wanted) == slowly(wanted, known)
