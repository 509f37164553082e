"""Sizes, durations, ports: parse and print. Pure."""

import re
from typing import Final

from berth.base.errors import InvalidArgument

#: Highest port number (RFC 793, section 3.1: 16 bits).
MAX_PORT: Final = 65_535

#: Greatest size that anything here can have, in bytes (off_t).
MAX_SIZE: Final = (1 << 63) - 1

_SIZE: Final = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*([kmgtp]?)(i?b)?\Z", re.IGNORECASE)
_SCALE: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DAYS: Final = re.compile(r"(\d+(?:\.\d+)?)([dw])")
_NANOSECONDS: Final = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip


class BadSize(InvalidArgument):
    """A text is no size."""

    def __init__(self, text: str) -> None:
        super().__init__(f"invalid size: '{text}'")


class BadDuration(InvalidArgument):
    """A text is no duration."""

    def __init__(self, text: str) -> None:
        super().__init__(f'time: invalid duration "{text}"')


def parse_bytes(text: str) -> int:
    """Parse ``64m``, ``1.5GiB``, ``100`` into bytes; every unit is a power of 1024, as in Docker's flags."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise BadSize(text)
    scale = 1024 ** _SCALE[match[2].lower()]
    count = int(match[1]) * scale if match[1].isdecimal() else int(float(match[1]) * scale)
    if count > MAX_SIZE:
        raise BadSize(text)
    return count


def parse_duration_ns(text: str) -> int:
    """Parse Go's duration form (``1m30s``, ``1.5h``) into nanoseconds; ``0`` needs no unit."""
    body = text.removeprefix("+").removeprefix("-")
    if body == "0":
        return 0
    total, at = 0.0, 0
    while at < len(body):
        match = _DURATION_PART.match(body, at)
        if match is None:
            raise BadDuration(text)
        total += float(match[1]) * _NANOSECONDS[match[2]]
        at = match.end()
    if not body:
        raise BadDuration(text)
    return int(-total if text.startswith("-") else total)


def parse_age_ns(text: str) -> int:
    """Parse a duration that may also be of days or weeks: ``30d``, ``2w``, ``1d12h``; else as `parse_duration_ns`."""
    match = _DAYS.match(text)
    if match is None:
        return parse_duration_ns(text)
    days = float(match[1]) * (7 if match[2] == "w" else 1)
    rest = text[match.end() :]
    return int(days * 24 * _NANOSECONDS["h"]) + (parse_duration_ns(rest) if rest else 0)


def human_size(count: float, *, digits: int = 4) -> str:
    """Print a size in decimal units, as Docker's tables do: ``1.24MB``, ``190MB``, ``0B``."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    index = 0
    value = float(count)
    while value >= 1000 and index < len(units) - 1:
        value /= 1000
        index += 1
    return f"{value:.{digits}g}{units[index]}"


def go_duration(ns: int) -> str:
    """Print a length of time, at least 0, as Go does: ``500ms``, ``1.5s``, ``1m30s``, ``1h0m0s``."""
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < ns < size * 1_000:
            return f"{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * 1_000_000_000)
    hours, minutes = divmod(minutes, 60)
    before = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{before}{_decimal(rest, 1_000_000_000)}s"


def _decimal(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def go_time(text: str) -> str:
    """Print an RFC 3339 time as Go's ``time.Time`` prints itself: ``2026-01-02 03:04:05.6 +0000 UTC``."""
    main, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").rstrip("0")
    if main.endswith("Z"):
        main, fraction = main[:-1], ""
    if "+" in rest or "-" in rest:
        digits = rest.replace("-", "+").partition("+")[0]
        zone = rest[len(digits) :].replace(":", "")
        return f"{main.replace('T', ' ')}{'.' + digits.rstrip('0') if digits.rstrip('0') else ''} {zone} {zone}"
    return f"{main.replace('T', ' ')}{'.' + fraction if fraction else ''} +0000 UTC"
