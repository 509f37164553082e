"""Schedules: what they mean, and when the next run is."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.volumes.backup.errors import BadBackupOption
from berth.volumes.backup.schedule import NEVER, next_run, parse, plan_of

NOW = datetime(2026, 11, 24, 20, 15, 30)  # a Tuesday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily 03:00", "2026-11-25 03:00"),
        ("daily 21:00", "2026-11-24 21:00"),
        ("hourly", "2026-11-24 21:00"),
        ("weekly sun 3:30", "2026-11-29 03:30"),
        ("weekly tuesday 20:15", "2026-12-01 20:15"),
        ("*/10 * * * *", "2026-11-24 20:20"),
        ("15 20 * * *", "2026-11-25 20:15"),
        ("0 0 1 jan *", "2027-01-01 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 6 13 * 5", "2026-11-27 06:00"),  # the thirteenth, or a Friday
        ("0 6 * * 1-5/2", "2026-11-25 06:00"),
        ("0 6 * * 7", "2026-11-29 06:00"),
    ],
)
def test_the_next_run(text: str, expected: str) -> None:
    assert f"{next_run(parse(text), NOW):%Y-%m-%d %H:%M}" == expected


def test_every_so_often_is_counted_from_the_last() -> None:
    assert next_run(parse("every 6h"), NOW) == NOW + timedelta(hours=6)
    assert next_run(parse("every 2d"), NOW) == NOW + timedelta(days=2)


def test_a_day_that_never_comes() -> None:
    assert next_run(parse("0 0 31 2 *"), NOW) == NEVER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "daily 25:00",
        "every",
        "every 5s",
        "every soon",
        "60 * * * *",
        "* * * *",
        "5-1 * * * *",
        "*/0 * * * *",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadBackupOption):
        parse(text)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(("daily 03:00", "*/7 3-9 * * 1", "1 2 3 * *")),
)
def test_a_run_lies_ahead_and_none_is_passed_over(at: datetime, text: str) -> None:
    schedule = parse(text)
    due = next_run(schedule, at)
    assert due > at
    assert next_run(schedule, due - timedelta(minutes=1)) == due


def test_labels() -> None:
    labels = {"berth.backup.schedule": "daily 03:00", "berth.backup.target": "/b", "berth.backup.keep-daily": "7"}
    plan = plan_of(labels)
    assert plan is not None
    assert (plan.target, plan.keep["daily"], plan.keep["last"]) == ("/b", 7, 0)
    assert plan_of({}) is None
    with pytest.raises(BadBackupOption, match=r"berth\.backup\.target"):
        plan_of({"berth.backup.schedule": "hourly"})
    with pytest.raises(BadBackupOption, match="whole number"):
        plan_of(labels | {"berth.backup.keep-daily": "all"})
