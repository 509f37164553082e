"""`berth volume …`: create, ls, rm."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, filters_of, label_lookup, labels_text, print_rows
from berth.cli.natural import natural_key
from berth.cli.pairs import check_label, pairs
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session


def columns() -> Columns:
    """Return the fields of a volume in a list."""
    return {
        "Driver": ("DRIVER", lambda volume: volume["Driver"]),
        "Name": ("VOLUME NAME", lambda volume: volume["Name"]),
        "Scope": ("SCOPE", lambda volume: volume.get("Scope", "local")),
        "Mountpoint": ("MOUNTPOINT", lambda volume: volume.get("Mountpoint", "")),
        "Labels": ("LABELS", lambda volume: labels_text(volume.get("Labels"))),
        "Label": ("", lambda volume: label_lookup(volume.get("Labels"))),
        "Links": ("LINKS", lambda volume: _usage(volume, "RefCount")),
        "Size": ("SIZE", lambda volume: _usage(volume, "Size")),
        "Group": ("GROUP", lambda _: "N/A"),
        "Availability": ("AVAILABILITY", lambda _: "N/A"),
        "Status": ("STATUS", lambda _: "N/A"),
    }


def _usage(volume: dict[str, Any], key: str) -> str:
    usage = volume.get("UsageData")
    if not usage or (key == "Size" and usage[key] < 0):
        return "N/A"
    if key == "RefCount":
        return str(usage[key])
    from berth.cli.human import size

    return size(usage[key])


def _list(session: Session, parsed: Parsed) -> None:
    answer = session.client.get("/volumes", {"filters": filters_of(parsed)})
    volumes = [] if parsed.flag("cluster") else sorted(answer["Volumes"] or [], key=lambda it: natural_key(it["Name"]))
    print_rows(
        volumes,
        columns(),
        parsed.text("format"),
        default="{{.Driver}}\t{{.Name}}",
        quiet="{{.Name}}" if parsed.flag("quiet") else "",
        kind="*volume.volumeContext",
    )


def _create(session: Session, parsed: Parsed) -> None:
    name = parsed.args[0] if parsed.args else ""
    if parsed.given("name"):
        if name:
            raise CommandFailed(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
            )
        name = parsed.text("name")
    body = {
        "Name": name,
        "Driver": parsed.text("driver"),
        "DriverOpts": pairs(parsed.list("opt")),
        "Labels": pairs(parsed.list("label")),
    }
    session.line(session.client.post("/volumes/create", None, body)["Name"])


def _remove(session: Session, parsed: Parsed) -> int:
    query = {"force": True} if parsed.flag("force") else None
    return session.each(parsed.args, lambda name: session.client.delete(f"/volumes/{part(name)}", query))


LS = Command(
    "[OPTIONS]",
    _list,
    (
        Flag("quiet", "q", "bool", "Only display volume names"),
        Flag("format", "", "string", FORMAT_LIST),
        Flag("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
        Flag(
            "cluster", "", "bool", "Display only cluster volumes, and use cluster volume list formatting", hidden=True
        ),
    ),
)

CREATE = Command(
    "[OPTIONS] [VOLUME]",
    _create,
    (
        Flag("driver", "d", "string", "Specify volume driver name", default="local"),
        Flag("name", "", "string", "Specify volume name", hidden=True),
        Flag("opt", "o", "map", "Set driver specific options", shown="map[]"),
        Flag("label", "", "list", "Set metadata for a volume", check=check_label),
    ),
    most=1,
)

RM = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _remove,
    (Flag("force", "f", "bool", "Force the removal of one or more volumes"),),
    least=1,
    most=None,
    long="Remove one or more volumes. You cannot remove a volume that is in use by a container.",
)
