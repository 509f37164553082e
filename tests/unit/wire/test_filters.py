"""The filters parameter in both of Docker's forms."""

import pytest

from berth.base.errors import InvalidArgument
from berth.wire.filters import Filters, InvalidFilter, parse_filters


@pytest.mark.parametrize(
    "text", ['{"name":["a","b"],"label":["x"]}', '{"name":{"a":true,"b":true,"c":false},"label":{"x":true}}']
)
def test_both_forms_mean_the_same(text: str) -> None:
    filters = parse_filters(text)
    assert filters.get("name") == ("a", "b")
    assert filters.get("label") == ("x",)


def test_nothing_filters_nothing() -> None:
    assert parse_filters("").exact("driver", "bridge")


@pytest.mark.parametrize("text", ["{", "[]", '{"a":1}', '{"a":{"b":"c"}}', "null"])
def test_junk_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        parse_filters(text)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidFilter, match="invalid filter 'colour'"):
        Filters({"colour": ("red",)}).only({"name"})


@pytest.mark.parametrize(("values", "verdict"), [((), None), (("true",), True), (("1",), True), (("F",), False)])
def test_booleans(values: tuple[str, ...], verdict: bool | None) -> None:
    filters = Filters({"dangling": values} if values else {})
    assert filters.boolean("dangling", default=True) is (True if verdict is None else verdict)


@pytest.mark.parametrize("values", [("maybe",), ("true", "false")])
def test_a_boolean_must_be_one(values: tuple[str, ...]) -> None:
    with pytest.raises(InvalidFilter):
        Filters({"dangling": values}).boolean("dangling", default=False)


def test_labels_match_by_key_or_by_key_and_value() -> None:
    have = {"a": "1", "b": ""}
    assert Filters({"label": ("a", "b")}).labels(have)
    assert Filters({"label": ("a=1", "b=")}).labels(have)
    assert not Filters({"label": ("a=2",)}).labels(have)
    assert not Filters({"label!": ("a",)}).without_labels(have)
    assert Filters({"label!": ("a=2",)}).without_labels(have)
