"""`berth firewall …`: status, diff, reload."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_INSPECT, compiled
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session


def _status(session: Session, parsed: Parsed) -> None:
    told = session.client.get("/berth/firewall")
    form = parsed.text("format")
    if form:
        session.line(compiled("{{json .}}" if form == "json" else form)(told))
        return
    elements = sum(told["Elements"].values())
    watch = "watched: put back when others remove it" if told["Watching"] else "not watched"
    session.line(f"Table:        {told['Table']} ({elements} elements, {watch})")
    session.line(f"Your chains:  {', '.join(told['UserChains'])} of table {told['UserTable']}")
    last = f", last because {told['LastReason']}" if told["LastReason"] else ""
    session.line(f"Put back:     {told['Restorations']} times{last}")
    for one in told["Foreign"]:
        session.line(f"In the way:   chain {one['Chain']} ({one['Drops']})")
        if one["Place"]:
            session.line(f"              let through by one rule of ours in {one['Place']}")
        else:
            session.line(f"              leaves no place for rules of others; run: {one['Command']}")
    if not told["Foreign"]:
        session.line("In the way:   nothing")
    session.line("Dropped packets by network:")
    for name, reasons in sorted(told["Drops"].items()):
        session.line(f"  {name}: {_drops(reasons)}")


def _drops(reasons: dict[str, Any]) -> str:
    words = {"unpublished": "to unpublished ports", "internal": "internal", "egress": "refused by egress policy"}
    return ", ".join(f"{count['packets']} {words.get(reason, reason)}" for reason, count in sorted(reasons.items()))


def _diff(session: Session, parsed: Parsed) -> int:
    del parsed
    found = session.client.get("/berth/firewall/diff")
    signs = {"missing": "-", "foreign": "+"}
    for one in found:
        session.line(f"{signs[one['Kind']]} {one['Where']}: {one['Text'] or '(all of it)'}")
    return 1 if found else 0


def _reload(session: Session, parsed: Parsed) -> None:
    del parsed
    session.line(f"{session.client.post('/berth/firewall/reload', None, None)['Elements']} elements")


def _policy(session: Session, parsed: Parsed) -> None:
    told = session.client.get(f"/berth/networks/{part(parsed.args[0])}/policy")
    form = parsed.text("format")
    if form:
        session.line(compiled("{{json .}}" if form == "json" else form)(told))
        return
    session.line(f"Network:  {told['Network']}")
    session.line(f"Egress:   {told['Egress']}")
    for entry in told["Allow"]:
        session.line(f"  allow   {entry}")
    session.line(f"Dropped:  {_drops(told['Drops']) or 'nothing'}")


POLICY = Command(
    "[OPTIONS] NETWORK",
    _policy,
    (Flag("format", "f", "string", FORMAT_INSPECT),),
    least=1,
    most=1,
)

STATUS = Command("[OPTIONS]", _status, (Flag("format", "f", "string", FORMAT_INSPECT),))

DIFF = Command(
    "",
    _diff,
    long="Lines with - are missing in the kernel, lines with + do not belong there. Exits with 1 if there is any.",
)

RELOAD = Command("", _reload)
