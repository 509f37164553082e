"""Aligns columns as Go's text/tabwriter does: a cell ends with a tab, a column is as wide as its lines need. Pure."""

from __future__ import annotations


def align(text: str, minimum: int = 10, padding: int = 3) -> str:
    """Turn tab-terminated cells into columns of spaces.

    A column's block is a run of lines that have a cell there; the last cell of a line is not part of a column.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]

    def measure(start: int, end: int, column: int) -> None:
        index = start
        while index < end:
            if len(lines[index]) - 1 <= column:
                index += 1
                continue
            last = index
            width = minimum
            while last < end and len(lines[last]) - 1 > column:
                width = max(width, len(lines[last][column]) + padding)
                last += 1
            for row in range(index, last):
                widths[row].append(width)
            measure(index, last, column + 1)
            index = last

    measure(0, len(lines), 0)
    out = []
    for cells, sizes in zip(lines, widths, strict=True):
        out.append("".join(f"{cell:<{size}}" for cell, size in zip(cells, sizes, strict=False)) + cells[-1])
    return "\n".join(out)
