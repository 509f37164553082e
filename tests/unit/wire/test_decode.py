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


def test_a_null_among_texts_is_an_empty_one() -> None:
    class Texts(msgspec.Struct):
        labels: dict[str, str] = msgspec.field(name="Labels", default_factory=dict)
        command: list[str] = msgspec.field(name="Cmd", default_factory=list)

    assert decode(b'{"Labels":{"a":null,"b":"c"},"Cmd":["x",null]}', Texts) == Texts({"a": "", "b": "c"}, ["x", ""])


def test_fields_have_their_names_in_any_case() -> None:
    raw = (
        b'{"number":1,"INNER":{"text":"a"},"rows":[{"tExt":"b"}],"named":{"text":{"many":["number"]}},'
        b'"wanted":{"Number":2}}'
    )
    assert decode(raw, Outer) == Outer(1, Inner("a"), [Inner("b")], {"text": Inner(many=["number"])}, {"Number": 2})
    assert decode(b'{"number":1,"Number":2}', Outer).number == 2
    assert decode(b'{"Number":2,"number":null}', Outer).number == 7


@given(JSON)
def test_the_case_of_fields_is_one_whatever_stands_in_them(value: object) -> None:
    raw = msgspec.json.encode(value)
    mixed = raw.replace(b'"Inner"', b'"iNNER"').replace(b'"Rows"', b'"rOWS"')
    found: list[object] = []
    for one in (raw, mixed):
        try:
            found.append(decode(one, Outer))
        except msgspec.DecodeError:
            found.append(None)
    # The key of a user's map keeps its case.
    if b'"Named"' not in raw:
        assert found[0] == found[1]
