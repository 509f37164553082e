"""`berth events`."""

from __future__ import annotations

import sys

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_INSPECT, compiled, filters_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session


def _events(session: Session, parsed: Parsed) -> None:
    from berth.cli.moments import moment

    form = parsed.text("format")
    render = compiled("{{json .}}" if form == "json" else form) if form else _line
    query = {
        "since": moment(parsed.text("since")) if parsed.text("since") else None,
        "until": moment(parsed.text("until")) if parsed.text("until") else None,
        "filters": filters_of(parsed),
    }
    for event in session.client.stream("GET", "/events", query).records():
        if form and form != "json":
            # Docker's client has names for these that are not the ones of the wire.
            actor = event.get("Actor") or {}
            event.update(ID=event.get("id", ""), From=event.get("from", ""), Status=event.get("status", ""))
            event.update(Scope=event.get("scope", ""), Time=event.get("time", 0), TimeNano=event.get("timeNano", 0))
            event["Actor"] = {"ID": actor.get("ID", ""), "Attributes": actor.get("Attributes") or {}}
        sys.stdout.write(render(event) + "\n")
        sys.stdout.flush()


def _line(event: dict[str, Any]) -> str:
    from berth.cli.human import rfc3339_local

    seconds, nanoseconds = divmod(event.get("timeNano") or event["time"] * 1_000_000_000, 1_000_000_000)
    actor = event.get("Actor") or {}
    text = f"{rfc3339_local(seconds, nanoseconds)} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        text += " (" + ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes)) + ")"
    return text


EVENTS = Command(
    "[OPTIONS]",
    _events,
    (
        Flag("since", "", "string", "Show all events created since timestamp"),
        Flag("until", "", "string", "Stream events until this timestamp"),
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
        Flag("format", "", "string", FORMAT_INSPECT),
    ),
)
