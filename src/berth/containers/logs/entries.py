"""The lines of a log as the monitor writes them, and how a reader's wishes turn them into output. Pure.

A line is ``2026-01-02T03:04:05.123456789+00:00 stdout F text``; F is a whole line, P a piece of one that goes on (or
that never ended).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from berth.base.errors import InvalidArgument
from berth.wire.frames import STDERR, STDOUT, frame

#: Length of the time stamp (conmon, src/ctr_logging.c).
_STAMP_BYTES: Final = 35
_STREAMS: Final = {b"stdout": STDOUT, b"stderr": STDERR}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadTime(InvalidArgument):
    """A point in time is no number of seconds."""

    def __init__(self, text: str) -> None:
        super().__init__(f'strconv.ParseInt: parsing "{text}": invalid syntax')


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a reader wants; times in nanoseconds since the epoch, `tail` = the last so many lines, None = all."""

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
    follow: bool = False


def parse_time(text: str) -> int:
    """Parse ``seconds[.fraction]`` since the epoch into nanoseconds; empty = 0. Raises `BadTime`."""
    if not text:
        return 0
    whole, _, fraction = text.partition(".")
    digits = whole.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or (fraction and not fraction.isdecimal()):
        raise BadTime(text)
    return int(whole) * 1_000_000_000 + int((fraction + "000000000")[:9])


def parse_tail(text: str) -> int | None:
    """Parse ``all`` or a number of lines; what is no number means all, as in Docker."""
    return int(text) if text.isascii() and text.isdecimal() else None


def is_partial(line: bytes) -> bool:
    """Tell whether a line of the log is a piece of one that goes on."""
    return line[_STAMP_BYTES + 8 : _STAMP_BYTES + 9] == b"P"


def stamp_ns(stamp: bytes) -> int:
    """Read a time stamp as nanoseconds since the epoch; 0 if it is none."""
    text = stamp.decode("ascii", errors="replace")
    try:
        second = datetime.fromisoformat(text[:19] + text[29:])
        return (second - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(text[20:29])
    except (ValueError, TypeError):
        return 0


def stamp_text(stamp: bytes) -> bytes:
    """Print a time stamp as Docker does: in UTC, nine decimals, ``Z``."""
    if stamp.endswith(b"+00:00"):
        return stamp[:29] + b"Z"
    ns = stamp_ns(stamp)
    second = _EPOCH + timedelta(seconds=ns // 1_000_000_000)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z".encode()


class Renderer:
    """Turns lines of the log into what a client is sent; remembers which stream is in the middle of a line.

    `details` stand before each line where they are wished for.
    """

    def __init__(self, wish: Wish, *, framed: bool, details: bytes = b"") -> None:
        self._wish = wish
        self._details = details + b" "
        self._framed = framed
        self._inside: dict[int, bool] = {}
        #: A line after `until` was seen: nothing more will be wanted.
        self.over = False

    def render(self, lines: Iterable[bytes]) -> bytes:
        """Return the output for `lines`, each without its line end."""
        return b"".join(self._pieces(lines))

    def _pieces(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        wish = self._wish
        timed = bool(wish.since_ns or wish.until_ns)
        for line in lines:
            stamp, _, rest = line.partition(b" ")
            name, _, rest = rest.partition(b" ")
            stream = _STREAMS.get(name)
            if stream is None:
                continue
            begins = not self._inside.get(stream, False)
            partial = rest[:1] == b"P"
            self._inside[stream] = partial
            if not (wish.stdout if stream == STDOUT else wish.stderr):
                continue
            if timed:
                ns = stamp_ns(stamp)
                if wish.until_ns and ns > wish.until_ns:
                    self.over = True
                    return
                if ns < wish.since_ns:
                    continue
            text = rest[2:] if partial else rest[2:] + b"\n"
            if begins:
                if wish.details:
                    text = self._details + text
                if wish.timestamps:
                    text = stamp_text(stamp) + b" " + text
            yield frame(stream, text) if self._framed else text
