"""Shows a stream of Docker's progress messages: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os

from berth.cli.errors import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

_BAR = 50


def show_progress(records: Iterable[dict[str, Any]], out: TextIO | None) -> list[dict[str, Any]]:
    """Show messages as they come; returns the ``aux`` values among them.

    Args:
        records: The decoded messages.
        out: Where to; None shows nothing.

    Raises:
        CommandFailed: A message reports an error.
    """
    terminal = out is not None and out.isatty()
    lines: dict[str, int] = {}
    extra: list[dict[str, Any]] = []
    for record in records:
        if "aux" in record:
            extra.append(record["aux"])
            continue
        problem = record.get("errorDetail") or ({"message": record["error"]} if record.get("error") else None)
        if problem:
            if out is not None:
                out.flush()
            raise CommandFailed(problem.get("message") or str(record.get("error")))
        if out is None:
            continue
        if terminal:
            _draw(record, lines, out)
        else:
            text = _plain(record)
            if text:
                out.write(text)
        out.flush()
    return extra


def _plain(record: dict[str, Any]) -> str:
    if bar_text(record.get("progressDetail") or {}, 200):
        return ""  # a moving bar is no use in a file
    head = f"{record['id']}: " if record.get("id") else ""
    if record.get("stream"):
        return f"{head}{record['stream']}"
    return f"{head}{record.get('status', '')}\n"


def _draw(record: dict[str, Any], lines: dict[str, int], out: TextIO) -> None:
    """Write over the line that belongs to the message's id, or begin one."""
    identifier = record.get("id") or ""
    detail = record.get("progressDetail")
    if not identifier or detail is None:
        lines.clear()  # the lines above stay as they are
        out.write(_plain(record) if not bar_text(detail or {}, 80) else "")
        return
    if identifier not in lines:
        lines[identifier] = len(lines)
        out.write("\n")
    up = len(lines) - lines[identifier]
    columns = _columns()
    # A line that wraps would throw the count of lines out.
    text = f"{identifier}: {record.get('status', '')} {bar_text(detail, columns)}".rstrip()[: columns - 1]
    out.write(f"\x1b[{up}A\r\x1b[2K{text}\r\x1b[{up}B")


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 80


def bar_text(detail: dict[str, Any], width: int) -> str:
    """Draw ``[====>   ]  1.2MB/3.4MB``, or only how far it is if the end is unknown."""
    from berth.cli.human import size

    current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
    if current <= 0 and total <= 0:
        return ""
    if detail.get("units"):
        return f"{current} {detail['units']}" if total <= 0 else f"{current}/{total} {detail['units']}"
    if total <= 0 or current > total:
        return f"{size(current, 4):>8}"
    numbers = f"{size(current, 4):>8}/{size(total, 4)}"
    if current >= total:
        numbers = f"{size(current, 4):>8}"
    if width <= 110:
        return numbers
    share = min(_BAR, current * _BAR // total)
    gap = _BAR - share
    return f"[{'=' * share}>{' ' * gap}] {numbers}"
