"""Times on the command line: `10m` ago, seconds since the epoch, or RFC 3339 → what the engine takes."""

from berth.compose.errors import BadUsage
from berth.compose.short import duration_ns


def engine_time(text: str) -> str:
    """Return seconds since the epoch with their fraction; nothing for nothing."""
    if not text or text.replace(".", "", 1).isdecimal():
        return text
    try:
        age = duration_ns(text)
    except ValueError:
        return _absolute(text)
    from berth.base.clock import SystemClock

    seconds, rest = divmod(SystemClock().now_ns() - age, 10**9)
    return f"{seconds}.{rest:09d}"


def _absolute(text: str) -> str:
    from datetime import datetime

    whole, dot, rest = text.partition(".")
    digits = ""
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        whole += rest[len(digits) :]
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise BadUsage(
            f'invalid time "{text}": a duration such as 10m, or a date such as 2030-01-02T13:23:37Z'
        ) from None
    # A time without a zone is local time, as everywhere in Docker's command line.
    return f"{int(moment.timestamp())}.{digits.ljust(9, '0')[:9]}"
