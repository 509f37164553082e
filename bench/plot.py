"""A bar chart of ratios as SVG, drawn without any library."""

from collections.abc import Sequence
from html import escape

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
