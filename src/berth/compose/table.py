"""Print records as a table or as JSON lines. Pure text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from berth.compose.errors import BadUsage


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns under a head; the last one is left ragged."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[index]) for line in lines) + 3 for index in range(len(head))]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def check_format(text: str) -> str:
    """Return `table` or `json`."""
    if text in {"", "table"}:
        return "table"
    if text == "json":
        return "json"
    raise BadUsage(f"format value {text!r} could not be parsed: table and json are available")


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Print one object a line."""
    return "".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n" for record in records)
