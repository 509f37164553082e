"""Draws the networks of a host as SVG: a column for each network, its containers hanging off it, ports to the host.

Pure: records of the API in, text out. A container on several networks is drawn whole where its default route leads,
and as an outline elsewhere. Must not: ask the engine.
"""

from __future__ import annotations

from berth.cli.natural import natural_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

#: Measures in pixels.
_MARGIN, _COLUMN, _GAP, _HEAD, _CARD, _SPACE = 28, 276, 30, 84, 62, 14
#: A column's boxes; the rest of it is the gutter of its arrows.
_WIDE = _COLUMN - 22
_HOST_TOP, _HOST_HEIGHT, _DROP = 28, 54, 46
#: Colours of networks in turn: dark enough for white text, told apart by people who see red and green alike.
_COLOURS = ("#2563a8", "#b4540a", "#0f766e", "#7c3a9e", "#a8325a", "#4d6414", "#475569", "#86600b")
_INK, _SOFT, _LINE, _PAPER, _CARD_FILL = "#1c2733", "#5c6b7a", "#c9d3dd", "#f6f8fa", "#ffffff"
_SANS = "ui-sans-serif, system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(x: float, y: float, text: str, *, size: int = 12, fill: str = _INK, **more: object) -> str:
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}"{extra}>{_escaped(text)}</text>'


def _box(x: float, y: float, width: float, height: float, **more: object) -> str:
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{extra}/>'


def _path(data: str, **more: object) -> str:
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<path d="{data}" fill="none"{extra}/>'


def svg(networks: list[Record]) -> str:
    """Return the picture."""
    bridges = sorted((net for net in networks if net["Bridge"]), key=lambda net: natural_key(net["Name"]))
    others = [net for net in networks if not net["Bridge"] and net["Containers"]]
    deepest = max((len(net["Containers"]) for net in bridges), default=0)
    top = _HOST_TOP + _HOST_HEIGHT + _DROP
    width = 2 * _MARGIN + max(1, len(bridges)) * (_COLUMN + _GAP) - _GAP
    below = top + _HEAD + deepest * (_CARD + _SPACE) + 30
    height = below + (34 * len(others) + 14 if others else 0)
    body = [_box(0, 0, width, height, fill=_PAPER), *_host(width, bridges)]
    homes = _homes(bridges)
    for at, net in enumerate(bridges):
        members = [{**one, "IsHome": homes[one["Id"]] == net["Id"]} for one in net["Containers"]]
        body += _column(
            {**net, "Containers": members}, _MARGIN + at * (_COLUMN + _GAP), top, _COLOURS[at % len(_COLOURS)]
        )
    for row, net in enumerate(others):
        names = ", ".join(sorted((one["Name"] for one in net["Containers"]), key=natural_key))
        label = {"host": "on the host's own network", "null": "without a network"}.get(net["Driver"], net["Name"])
        body.append(_text(_MARGIN, below + 20 + 34 * row, _cut(f"{label}: {names}", int(width / 7)), fill=_SOFT))
    inner = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="{_SANS}">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{_INK}"/></marker></defs>\n{inner}\n</svg>\n'
    )


def _homes(bridges: list[Record]) -> dict[str, str]:
    """Return the network each container is drawn whole on: the one its default route leads through, or its first."""
    homes: dict[str, str] = {}
    for net in bridges:
        for member in net["Containers"]:
            if member["IsWayOut"] or member["Id"] not in homes:
                homes[member["Id"]] = net["Id"]
    return homes


def _host(width: float, bridges: list[Record]) -> list[str]:
    ports = sum(len(member["Ports"]) for net in bridges for member in net["Containers"])
    running = len({member["Id"] for net in bridges for member in net["Containers"]})
    said = f"{len(bridges)} networks, {running} containers, {ports} published ports"
    return [
        _box(_MARGIN, _HOST_TOP, width - 2 * _MARGIN, _HOST_HEIGHT, rx=10, fill=_INK),
        _text(_MARGIN + 18, _HOST_TOP + 24, "host", size=16, fill="#ffffff", font_weight=600),
        _text(_MARGIN + 18, _HOST_TOP + 42, said, fill="#b8c4d0"),
    ]


def _column(net: Record, left: float, top: float, colour: str) -> list[str]:
    members = sorted(net["Containers"], key=lambda one: (not one["IsHome"], natural_key(one["Name"])))
    middle = left + _WIDE / 2
    # the way out of the network: none for an internal one
    wire = {"stroke": colour, "stroke_width": 3, "stroke_linecap": "round"}
    if net["Internal"]:
        stop = top - _DROP / 2
        out = [
            _path(f"M{middle:g},{stop:g} V{top:g}", **wire),
            _path(f"M{middle - 12:g},{stop:g} H{middle + 12:g}", **wire),
        ]
    else:
        out = [_path(f"M{middle:g},{_HOST_TOP + _HOST_HEIGHT:g} V{top:g}", **wire)]
    end = top + _HEAD + (len(members) - 1) * (_CARD + _SPACE) + _CARD / 2 + _SPACE
    if members:
        out.append(_path(f"M{left + 16:g},{top + _HEAD - 20:g} V{end:g}", **wire))
    out += _network(net, left, top, colour)
    publishing = 0
    for row, member in enumerate(members):
        y = top + _HEAD + _SPACE + row * (_CARD + _SPACE)
        out.append(_path(f"M{left + 16:g},{y + _CARD / 2:g} H{left + 34:g}", **wire))
        out += _member(member, left + 34, y, colour)
        if member["Ports"]:
            out.append(_published(left, y, publishing))
            publishing += 1
    return out


def _network(net: Record, left: float, top: float, colour: str) -> list[str]:
    closed = any("icc off" in line for line in net["Policy"])
    marks = [word for word, on in (("internal", net["Internal"]), ("no icc", closed)) if on]
    out = [
        _box(left, top, _WIDE, _HEAD - 10, rx=10, fill=colour),
        _text(left + 16, top + 25, _cut(net["Name"], 20), size=16, fill="#ffffff", font_weight=600),
        _text(left + 16, top + 45, ", ".join(net["Subnets"]) or net["Driver"], fill="#ffffff", font_family=_MONO),
        _text(left + 16, top + 63, f"{net['Bridge']}  MTU {net['MTU']}", size=11, fill="#ffffffcc", font_family=_MONO),
    ]
    right = left + _WIDE - 12
    for mark in marks:
        wide = 7 * len(mark) + 14
        right -= wide
        out += [
            _box(right, top + 11, wide, 19, rx=9.5, fill="#ffffff33"),
            _text(right + wide / 2, top + 24.5, mark, size=11, fill="#ffffff", text_anchor="middle"),
        ]
        right -= 6
    return out


def _member(member: Record, left: float, top: float, colour: str) -> list[str]:
    width = _WIDE - 34
    whole = member["IsHome"]
    dash = {} if whole else {"stroke_dasharray": "5 4"}
    address = member["IPv4"] or member["IPv6"]
    paused = member["State"] != "running"
    out = [
        _box(left, top, width, _CARD, rx=8, fill=_CARD_FILL if whole else _PAPER, stroke=_LINE, **dash),
        _text(left + 14, top + 22, _cut(member["Name"], 24), size=14, font_weight=600),
        _text(left + 14, top + 40, address, fill=_SOFT, font_family=_MONO),
        _dot(left, top + _CARD / 2, colour, colour if member["IsUp"] else _PAPER),
    ]
    if paused:
        out.append(_text(left + width - 12, top + 22, member["State"], size=11, fill=_SOFT, text_anchor="end"))
    if member["Ports"]:
        chip = ", ".join(dict.fromkeys(_port(port) for port in member["Ports"]))
        out.append(_text(left + 14, top + 55, _cut(chip, 32), size=11, font_family=_MONO))
    else:
        out.append(_text(left + 14, top + 55, f"{member['Link']} – {member['HostLink']}", size=10, fill=_SOFT))
    return out


def _dot(x: float, y: float, stroke: str, fill: str) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="4.5" fill="{fill}" stroke="{stroke}" stroke-width="2"/>'


def _port(port: Record) -> str:
    at = "" if port["HostIp"] in ("0.0.0.0", "::") else f"{port['HostIp']}:"  # noqa: S104  every address: not worth ink
    protocol = "" if port["Protocol"] == "tcp" else f"/{port['Protocol']}"
    return f"{at}{port['HostPort']} → {port['Port']}{protocol}"


def _published(left: float, top: float, nth: int) -> str:
    """Draw the arrow from the host to a container's card, in the gutter right of the cards."""
    x = left + _WIDE + 9 + min(nth, 6) * 5
    edge = left + _WIDE
    y = top + _CARD / 2
    start = _HOST_TOP + _HOST_HEIGHT
    data = f"M{x:g},{start:g} V{y - 6:g} Q{x:g},{y:g} {x - 4:g},{y:g} H{edge + 1:g}"
    return _path(data, stroke=_INK, stroke_width=1.5, marker_end="url(#tip)")
