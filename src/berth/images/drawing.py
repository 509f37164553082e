"""Reads the progress that skopeo draws on a terminal. Pure.

One line a blob, redrawn: ``Copying blob 28d2aa06eb5e [==>---] 2.8MiB / 38.7MiB`` (newer ones append the speed), then
``done`` or ``skipped: already exists``; cursor movements in between. Lines of any other form are passed over, so that
a skopeo that draws differently costs the bytes and nothing else.
"""

import re
from dataclasses import dataclass
from typing import Final

_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LINE: Final = re.compile(
    r"Copying blob (?:sha256:)?(?P<blob>[0-9a-f]{12})[0-9a-f]*\s+"
    r"(?:(?P<skipped>skipped)|(?P<done>done)"
    r"|\[[^\]]*\]\s*(?P<current>[\d.]+)\s*(?P<unit>[KMGT]?i?[bB])\s*/\s*(?P<total>[\d.]+)\s*(?P<of>[KMGT]?i?[bB]))"
)
_UNITS: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
#: Longest piece of a line that is kept for its rest to come.
_REST_LIMIT: Final = 4_096


@dataclass(frozen=True, slots=True)
class BlobProgress:
    """How far one blob is; `blob` is the first 12 characters of its digest."""

    blob: str
    current: int = 0
    total: int = 0
    done: bool = False
    skipped: bool = False


class Drawing:
    """Takes pieces as they come and gives back what is new in them."""

    def __init__(self) -> None:
        self._rest = ""
        self._last: dict[str, BlobProgress] = {}

    def feed(self, piece: bytes) -> list[BlobProgress]:
        """Return the blobs whose state changed with this piece, in order."""
        lines = _ESCAPE.sub("\n", self._rest + piece.decode(errors="replace")).replace("\r", "\n").split("\n")
        self._rest = lines.pop()[-_REST_LIMIT:]
        news = []
        for line in lines:
            match = _LINE.search(line)
            if match is None:
                continue
            seen = _progress(match)
            before = self._last.get(seen.blob)
            if seen != before and not (before is not None and (before.done or before.skipped)):
                self._last[seen.blob] = seen
                news.append(seen)
        return news


def _progress(match: re.Match[str]) -> BlobProgress:
    blob = match["blob"]
    if match["skipped"]:
        return BlobProgress(blob, skipped=True)
    if match["done"]:
        return BlobProgress(blob, done=True)
    return BlobProgress(blob, _size(match["current"], match["unit"]), _size(match["total"], match["of"]))


def _size(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit[0].lower()])
