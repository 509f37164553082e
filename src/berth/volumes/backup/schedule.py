"""When a volume is backed up by itself, as its labels say: what a schedule means, and when the next run is due. Pure.

    berth.backup.schedule    daily 03:00 | weekly sun 03:00 | every 6h | MIN HOUR DAY MONTH WEEKDAY (as in crontab(5))
    berth.backup.target      where to: a directory of the engine's machine, s3://bucket/prefix, restic:REPOSITORY
    berth.backup.keep-last   and -daily, -weekly, -monthly: what stays there of this volume

Times of day are the engine's local time.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from berth.base.units import BadDuration, parse_duration_ns
from berth.volumes.backup.errors import BadBackupOption
from berth.wire.retention import RULES

SCHEDULE_LABEL: Final = "berth.backup.schedule"
TARGET_LABEL: Final = "berth.backup.target"
KEEP_LABEL: Final = "berth.backup.keep-"
#: Shortest time between two runs.
LEAST_S: Final = 60
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")
#: How far ahead a run is looked for: the 29th of February may be eight years away.
_HORIZON_DAYS: Final = 366 * 9
#: When a schedule that cannot be met is due.
NEVER: Final = datetime(9999, 1, 1)  # noqa: DTZ001  local time, as all here


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Either every so many seconds, or at the times that pass all five fields."""

    every_s: int = 0
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    #: Neither the day nor the weekday is ``*``: one of them is enough (crontab(5)).
    either: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the labels of one volume ask for."""

    schedule: Schedule
    said: str
    target: str
    keep: Mapping[str, int]


def parse(text: str) -> Schedule:
    """Read a schedule. Raises `BadBackupOption`."""
    words = text.lower().split()
    match words:
        case ["every", length]:
            return _every(text, length)
        case ["hourly"]:
            return _cron(text, ["0", "*", "*", "*", "*"])
        case ["daily", clock]:
            hour, minute = _clock(text, clock)
            return _cron(text, [minute, hour, "*", "*", "*"])
        case ["weekly", day, clock]:
            hour, minute = _clock(text, clock)
            return _cron(text, [minute, hour, "*", "*", day])
        case [_, _, _, _, _]:
            return _cron(text, words)
    raise _bad(text)


def plan_of(labels: Mapping[str, str]) -> Plan | None:
    """Return what labels ask for; None if they ask for nothing. Raises `BadBackupOption`."""
    said = labels.get(SCHEDULE_LABEL, "")
    if not said:
        return None
    target = labels.get(TARGET_LABEL, "")
    if not target:
        raise BadBackupOption(f"label {SCHEDULE_LABEL} needs the label {TARGET_LABEL}, which says where to")
    keep = {}
    for rule in RULES:
        count = labels.get(f"{KEEP_LABEL}{rule}", "0")
        if not count.isdecimal():
            raise BadBackupOption(f'label {KEEP_LABEL}{rule} is "{count}": a whole number is wanted')
        keep[rule] = int(count)
    return Plan(schedule=parse(said), said=said, target=target, keep=keep)


def next_run(schedule: Schedule, after: datetime) -> datetime:
    """Return the first time a run is due after `after`, which is local time without a zone."""
    if schedule.every_s:
        return after + timedelta(seconds=schedule.every_s)
    at = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(_HORIZON_DAYS):
        if _day(schedule, at):
            hours = [hour for hour in sorted(schedule.hours) if hour >= at.hour]
            for hour in hours:
                first = at.minute if hour == at.hour else 0
                minutes = [minute for minute in sorted(schedule.minutes) if minute >= first]
                if minutes:
                    return at.replace(hour=hour, minute=minutes[0])
        at = (at + timedelta(days=1)).replace(hour=0, minute=0)
    return NEVER  # the 31st of February


def _day(schedule: Schedule, at: datetime) -> bool:
    if at.month not in schedule.months:
        return False
    of_month, of_week = at.day in schedule.days, at.isoweekday() % 7 in schedule.weekdays
    return of_month or of_week if schedule.either else of_month and of_week


def _every(text: str, length: str) -> Schedule:
    try:
        seconds = parse_duration_ns(_hours(length)) // 1_000_000_000
    except BadDuration:
        raise _bad(text) from None
    if seconds < LEAST_S:
        raise BadBackupOption(f'invalid schedule "{text}": {LEAST_S} s is the shortest')
    return Schedule(every_s=seconds)


def _hours(length: str) -> str:
    return f"{int(length[:-1]) * 24}h" if re.fullmatch(r"\d{1,4}d", length) else length


def _clock(text: str, clock: str) -> tuple[str, str]:
    match = _CLOCK.match(clock)
    if match is None:
        raise _bad(text)
    return match[1], match[2]


def _cron(text: str, fields: list[str]) -> Schedule:
    minute, hour, day, month, weekday = fields
    return Schedule(
        minutes=_set(text, minute, 0, 59),
        hours=_set(text, hour, 0, 23),
        days=_set(text, day, 1, 31),
        months=_set(text, month, 1, 12, _MONTHS, 1),
        weekdays=frozenset(value % 7 for value in _set(text, weekday, 0, 7, _DAYS, 0)),
        either=not day.startswith("*") and not weekday.startswith("*"),
    )


def _set(text: str, field: str, least: int, most: int, names: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    def number(word: str) -> int:
        if word[:3] in names:
            return names.index(word[:3]) + first
        if not word.isdecimal() or not least <= int(word) <= most:
            raise _bad(text)
        return int(word)

    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if slash and (not step.isdecimal() or int(step) < 1):
            raise _bad(text)
        begin, dash, end = span.partition("-")
        low, high = (least, most) if span == "*" else (number(begin), number(end) if dash else number(begin))
        if slash and not dash and span != "*":
            high = most
        if low > high:
            raise _bad(text)
        found.update(range(low, high + 1, int(step) if slash else 1))
    return frozenset(found)


def _bad(text: str) -> BadBackupOption:
    return BadBackupOption(
        f'invalid schedule "{text}": "daily 03:00", "weekly sun 03:00", "every 6h", "hourly" or five fields as in '
        "crontab are known"
    )
