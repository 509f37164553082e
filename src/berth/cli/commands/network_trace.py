"""`berth network trace`: why does A not reach B?"""

from __future__ import annotations

import json
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session

_SIGNS = {"ok": "✓", "fail": "✗", "note": "!"}
_COLOURS = {"ok": "32", "fail": "31", "note": "33"}


def render(answer: dict[str, Any], *, colour: bool) -> str:
    """Print a verdict for a person."""

    def painted(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    verb = "reaches" if answer["Reached"] else "does not reach"
    lines = [painted(f"{answer['From']} {verb} {answer['To']} ({answer['Protocol']})", "1")]
    for step in answer["Steps"]:
        sign = painted(_SIGNS[step["Mark"]], _COLOURS[step["Mark"]])
        lines.append(f"  {sign} {step['Name']:<10} {step['Text']}")
    if answer["Mend"]:
        lines.append("to mend it:")
        lines += [f"    {command}" for command in answer["Mend"]]
    return "\n".join(lines)


def _trace(session: Session, parsed: Parsed) -> int:
    form = parsed.text("format")
    if form not in ("", "json"):
        raise CommandFailed(f"unknown format {form!r}: it is json, or nothing for a text")
    source, target = parsed.args
    query = {"from": source, "to": target, "proto": parsed.text("proto") or None}
    answer = session.client.get("/berth/networks/trace", query)
    if form == "json":
        session.line(json.dumps(answer, indent=4, ensure_ascii=False))
    else:
        session.line(render(answer, colour=sys.stdout.isatty()))
    return 0 if answer["Reached"] else 1


TRACE = Command(
    "[OPTIONS] CONTAINER|host TARGET[:PORT]",
    _trace,
    (
        Flag("proto", "", "string", "Protocol of the probe: tcp (with a port), udp or icmp (without)"),
        Flag("format", "", "string", "Print as 'json' instead of text"),
    ),
    least=2,
    most=2,
    long=(
        "Find out why a container does not reach a target: walk the path, send a real probe, name the first step that "
        "fails and the command that mends it. TARGET is a container, a name, an address, host, or a host's address "
        "with a published port. Exit code 1 says that the target is not reached."
    ),
)
