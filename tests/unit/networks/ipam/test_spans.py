from hypothesis import given
from hypothesis import strategies as st

from berth.networks.ipam.spans import Spans

numbers = st.integers(0, 40)
changes = st.lists(st.tuples(st.booleans(), numbers, st.integers(0, 6)), max_size=40)


def made(steps: list[tuple[bool, int, int]]) -> tuple[Spans, set[int]]:
    spans, plain = Spans(), set[int]()
    for is_added, first, more in steps:
        if is_added:
            spans.add(first, first + more)
            plain |= set(range(first, first + more + 1))
        else:
            spans.remove(first, first + more)
            plain -= set(range(first, first + more + 1))
    return spans, plain


@given(changes)
def test_it_is_the_set_of_what_was_put_in_and_not_taken_out(steps: list[tuple[bool, int, int]]) -> None:
    spans, plain = made(steps)
    assert {number for number in range(60) if number in spans} == plain
    assert len(spans) == sum(number - 1 not in plain for number in plain), "runs that touch are one"


@given(changes, numbers, st.integers(0, 9))
def test_questions_are_answered_as_a_plain_set_would(steps: list[tuple[bool, int, int]], first: int, more: int) -> None:
    spans, plain = made(steps)
    asked = set(range(first, first + more + 1))
    assert (spans.end_of_overlap(first, first + more) is not None) == bool(plain & asked)
    assert spans.lowest_free(first) == next(number for number in range(first, 99) if number not in plain)
    assert spans.count(first, first + more) == len(plain & asked)


def test_the_end_of_an_overlap_is_where_to_look_next() -> None:
    spans = Spans()
    spans.add(10, 19)
    spans.add(30, 39)
    assert spans.end_of_overlap(15, 35) == 19
    assert spans.end_of_overlap(20, 29) is None
    assert spans.end_of_overlap(0, 10) == 19
