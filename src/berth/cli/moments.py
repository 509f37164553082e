"""Moments as users give them to ``--since`` and ``--until``: a date, seconds since the epoch, or how long ago."""

from __future__ import annotations

import time

from berth.cli.errors import CommandFailed


def moment(text: str, *, now: float | None = None) -> str:
    """Return what the API wants: ``seconds[.nanoseconds]`` since the epoch."""
    from berth.cli.flags import duration

    try:
        ago = duration(text)
    except ValueError:
        return _absolute(text)
    nanoseconds = (time.time_ns() if now is None else int(now * 1e9)) - ago
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"


def _absolute(text: str) -> str:
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return text
    body, fraction = text, ""
    if "." in body:
        from berth.cli.human import parse_time

        try:
            seconds, fraction = parse_time(text)
        except ValueError:
            raise _bad(text) from None
        return f"{seconds}.{fraction.ljust(9, '0')}"
    from datetime import datetime

    try:
        # No zone means the user's own, as Docker reads it.
        return f"{int(datetime.fromisoformat(body).astimezone().timestamp())}.000000000"
    except ValueError:
        raise _bad(text) from None


def _bad(text: str) -> CommandFailed:
    return CommandFailed(f'failed to parse value as time or duration: "{text}"')
