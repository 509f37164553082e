"""Charts as SVG, drawn without any library."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

ROW, LEFT, WIDTH = 24, 220, 760


def bars(rows: Sequence[tuple[str, float]]) -> str:
    """Draw how many times better Berth is than dockerd, one bar an operation, with a line at 1."""
    most = max([ratio for _, ratio in rows] + [1.0])
    scale = (WIDTH - LEFT - 70) / most
    height = ROW * len(rows) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-weight="bold">How many times better than dockerd (same client, same machine, medians)</text>',
    ]
    for index, (name, ratio) in enumerate(rows):
        top = 34 + index * ROW
        colour = "#2a7f62" if ratio >= 1 else "#b5482a"
        parts.append(f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{ratio * scale:.1f}" height="{ROW - 6}" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + ratio * scale + 6:.1f}" y="{top + 14}">{ratio:.2f}×</text>')
    line = LEFT + scale
    parts.append(
        f'<line x1="{line:.1f}" x2="{line:.1f}" y1="30" y2="{height - 12}" stroke="#555" stroke-dasharray="3 3"/>'
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


class Curve(NamedTuple):
    """One course of values."""

    name: str
    colour: str
    dashed: bool
    points: Sequence[tuple[float, float]]


def lines(title: str, curves: Sequence[Curve]) -> str:
    """Draw how values change; both scales begin at 0."""
    width, height, left, top, bottom = 760, 440, 60, 40, 130
    most_x = max((x for curve in curves for x, _ in curve.points), default=1.0)
    most_y = max((y for curve in curves for _, y in curve.points), default=1.0) * 1.05

    def place(x: float, y: float) -> tuple[float, float]:
        inner_x, inner_y = width - left - 20, height - top - bottom
        return left + x / most_x * inner_x, top + inner_y - y / most_y * inner_y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for part in range(5):
        x, y = place(most_x * part / 4, 0)[0], place(0, most_y * part / 4)[1]
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{most_y * part / 4:,.0f}</text>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{most_x * part / 4:,.0f}</text>'
        )
    for number, curve in enumerate(curves):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        dashes = ' stroke-dasharray="5 3"' if curve.dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"{dashes}/>')
        row, column = divmod(number, 2)
        x, y = left + column * 330, height - bottom + 50 + row * 22
        parts.append(
            f'<line x1="{x}" x2="{x + 30}" y1="{y - 4}" y2="{y - 4}" stroke="{curve.colour}" stroke-width="2"{dashes}/>'
        )
        parts.append(f'<text x="{x + 38}" y="{y}">{escape(curve.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
