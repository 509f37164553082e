"""Sizes and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.units import BadDuration, BadSize, go_duration, go_time, human_size, parse_bytes, parse_duration_ns


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("64m", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("100", 100),
        ("7kb", 7168),
        ("2 G", 2 << 30),
        ("10B", 10),
        ("9007199254740993", (1 << 53) + 1),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "m", "1x", "-1", "1e3", "1mm", "0x10", "8192p", "9" * 20 + "g", "9" * 5000])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadSize):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), ("1s", 10**9), ("1m30s", 90 * 10**9), ("1.5h", 5400 * 10**9), ("-2ms", -2 * 10**6), ("3us", 3000)],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "1s2", "+", "1 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadDuration):
        parse_duration_ns(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration_ns(f"{hours}h{minutes}m{seconds}s") == (hours * 3600 + minutes * 60 + seconds) * 10**9


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (999, "999B"), (1240000, "1.24MB"), (190_000_000, "190MB")])
def test_printed_sizes(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (500_000_000, "500ms"), (1_500_000_000, "1.5s"), (30 * 10**9, "30s"),
        (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (60 * 10**9 + 1, "1m0.000000001s"),
    ],
)  # fmt: skip
def test_durations_are_printed_as_go_prints_them(ns: int, text: str) -> None:
    assert go_duration(ns) == text


@given(st.integers(min_value=0, max_value=10**17))
def test_a_printed_duration_can_be_read(ns: int) -> None:
    assert abs(parse_duration_ns(go_duration(ns)) - ns) <= 100  # it is read as a float


def test_times_are_printed_as_go_prints_them() -> None:
    assert go_time("2026-11-23T20:24:54.670427700Z") == "2026-11-23 20:24:54.6704277 +0000 UTC"
    assert go_time("2026-11-23T20:24:54Z") == "2026-11-23 20:24:54 +0000 UTC"
    assert go_time("2026-11-23T20:24:54.5+02:00") == "2026-11-23 20:24:54.5 +0200 +0200"
