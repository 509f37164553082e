"""Times and sizes as Docker's client prints them for people. Pure but for the local time zone."""

from __future__ import annotations

import time


def duration(seconds: float) -> str:
    """Print a span of time in words: ``3 minutes``, ``About an hour``, ``2 weeks``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, unit, name in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(seconds // 3600) // 24 // 365} years"


def ago(epoch: float) -> str:
    """Print how long ago a moment was."""
    return duration(time.time() - epoch) + " ago"  # noqa: TID251  the user's clock, not the engine's


def size(count: float, digits: int = 3) -> str:
    """Print a size in decimal units: ``4.26MB``."""
    return _scaled(count, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"), digits)


def bytes_size(count: float) -> str:
    """Print a size in binary units: ``1.5GiB``."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), 4)


def _scaled(count: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    value = float(count)
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{_general(value, digits)}{units[index]}"


def _general(value: float, digits: int) -> str:
    """Print as C's ``%.*g``; Go writes its exponent with two digits as well."""
    return f"{value:.{digits}g}"


def parse_time(text: str) -> tuple[int, str]:
    """Parse RFC 3339 into whole seconds since the epoch and the digits of the fraction."""
    from datetime import datetime

    main, _, rest = text.partition(".")
    if rest:
        end = 0
        while end < len(rest) and rest[end].isdecimal():
            end += 1
        fraction, zone = rest[:end], rest[end:]
    else:
        fraction = ""
        cut = max(main.rfind("+"), main.rfind("Z"), main.find("-", 11))
        main, zone = (main[:cut], main[cut:]) if cut > 0 else (main, "Z")
    moment = datetime.fromisoformat(main + ("+00:00" if zone in ("Z", "") else zone))
    return int(moment.timestamp()), fraction


def epoch(text: str) -> float:
    """Parse RFC 3339 into seconds since the epoch; the zero time is 0."""
    if not text or text.startswith("0001-"):
        return 0.0
    seconds, fraction = parse_time(text)
    return seconds + (float(f"0.{fraction}") if fraction else 0.0)


def local_time(seconds: int) -> str:
    """Print seconds since the epoch as Go prints a local time without fraction."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def rfc3339_local(seconds: int, nanoseconds: int) -> str:
    """Print a moment in the local zone with nine decimals, as ``events`` does."""
    zone = time.strftime("%z", time.localtime(seconds))
    zone = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(seconds))}.{nanoseconds:09d}{zone}"


def plural(count: int) -> str:
    """Return the s of a plural."""
    return "" if count == 1 else "s"
