"""Null means that nothing was said, wherever a client puts it."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.wire.decode import decode


class Inner(msgspec.Struct):
    text: str = msgspec.field(name="Text", default="unsaid")
    many: list[str] = msgspec.field(name="Many", default_factory=list)


class Outer(msgspec.Struct):
    number: int = msgspec.field(name="Number", default=7)
    inner: Inner = msgspec.field(name="Inner", default_factory=Inner)
    rows: list[Inner] = msgspec.field(name="Rows", default_factory=list)
    named: dict[str, Inner] = msgspec.field(name="Named", default_factory=dict)
    wanted: dict[str, int | None] = msgspec.field(name="Wanted", default_factory=dict)


def test_nulls_are_left_out() -> None:
    raw = (
        b'{"Number":null,"Inner":{"Text":null,"Many":null},"Rows":[{"Text":null},{"Text":"b"}],'
        b'"Named":{"a":{"Text":null},"b":null},"Wanted":{"kept":null}}'
    )
    assert decode(raw, Outer) == Outer(rows=[Inner(), Inner("b")], named={"a": Inner()}, wanted={"kept": None})


def test_what_is_wrong_stays_wrong() -> None:
    for raw in (b'{"Number":"x","Inner":null}', b"null", b"[]", b'{"Number":', b""):
        with pytest.raises(msgspec.DecodeError):
            decode(raw, Outer)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Number", "Inner", "Text", "Many", "Rows", "Named", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_decoded_or_refused(value: object) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        assert isinstance(decode(msgspec.json.encode(value), Outer), Outer)


class Labelled(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


def test_a_null_in_a_map_of_texts_is_an_empty_text() -> None:
    assert decode(b'{"Labels":{"a":null,"b":"x"}}', Labelled) == Labelled({"a": "", "b": "x"})
