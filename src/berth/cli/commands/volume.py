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
    from collections.abc import Iterator
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session


#: Flags that are options of the driver under the same name.
_OPTION_FLAGS = ("size", "uid", "gid", "mode")


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


#: Fields of ours: only the engine's own page has them.
_OURS = ("UsedBy", "LastUsed", "Protected", "SizeAge", "CreatedSince", "Snapshots")


def _own_columns() -> Columns:
    from berth.cli.human import ago, epoch

    def age(volume: dict[str, Any]) -> str:
        return ago(epoch(volume["SizeAt"])) if volume["Size"] >= 0 else ""

    def last_used(volume: dict[str, Any]) -> str:
        if volume["InUse"]:
            return "in use"
        return ago(at) if (at := epoch(volume["LastUsed"])) else "never"

    def users(volume: dict[str, Any]) -> str:
        return ",".join(
            name if state == "running" else f"{name}({state})"
            for name, state in dict.fromkeys((it["Name"], it["State"]) for it in volume["UsedBy"])
        )

    return columns() | {
        "Size": ("SIZE", size_text),
        "SizeAge": ("MEASURED", age),
        "Snapshots": ("SNAPSHOTS", _snapshots),
        "Links": ("LINKS", lambda volume: str(len({it["Id"] for it in volume["UsedBy"]}))),
        "UsedBy": ("USED BY", users),
        "LastUsed": ("LAST USED", last_used),
        "CreatedSince": ("CREATED", lambda volume: ago(epoch(volume["CreatedAt"]))),
        "Protected": ("PROTECTED", lambda volume: str(volume["Protected"]).lower()),
    }


def size_text(volume: dict[str, Any]) -> str:
    """Print the size of a volume as the engine's own page has it."""
    from berth.cli.human import size

    return "N/A" if volume["Size"] < 0 else size(volume["Size"])


def _snapshots(volume: dict[str, Any]) -> str:
    """Print how many snapshots there are and how large: apparent sizes, whatever they share with the volume."""
    from berth.cli.human import size

    if not volume.get("Snapshots"):
        return "0"
    return f"{volume['Snapshots']} ({'N/A' if volume['SnapshotsSize'] < 0 else size(volume['SnapshotsSize'])})"


def _own_list(session: Session, parsed: Parsed) -> bool:
    """Print the list with what Docker's has not, if any of that was asked for."""
    form = parsed.text("format")
    filters = filters_of(parsed) or {}
    flags = [flag for flag in ("size", "used-by", "last-used", "fresh") if parsed.flag(flag)]
    ours = {"used-by", "larger-than", "unused-for"} & filters.keys()
    if not (flags or ours or any(f".{it}" in form for it in _OURS)):
        return False
    query = {"filters": filters or None, "fresh": True if parsed.flag("fresh") else None}
    volumes = sorted(session.client.get("/berth/volumes", query)["Volumes"], key=lambda it: natural_key(it["Name"]))
    default = "{{.Driver}}\t{{.Name}}"
    if parsed.flag("size") or parsed.flag("fresh"):
        default += "\t{{.Size}}\t{{.SizeAge}}"
        if any(it.get("Snapshots") for it in volumes):
            default += "\t{{.Snapshots}}"
    if parsed.flag("used-by"):
        default += "\t{{.UsedBy}}"
    if parsed.flag("last-used"):
        default += "\t{{.LastUsed}}"
    quiet = "{{.Name}}" if parsed.flag("quiet") else ""
    print_rows(volumes, _own_columns(), form, default=default, quiet=quiet, kind="*volume.volumeContext")
    return True


def _usage(volume: dict[str, Any], key: str) -> str:
    usage = volume.get("UsageData")
    if not usage or (key == "Size" and usage[key] < 0):
        return "N/A"
    if key == "RefCount":
        return str(usage[key])
    from berth.cli.human import size

    return size(usage[key])


def _list(session: Session, parsed: Parsed) -> None:
    if _own_list(session, parsed):
        return
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
    options = pairs(parsed.list("opt"))
    if parsed.flag("reserve"):
        options["reserve"] = "true"
    for flag in _OPTION_FLAGS:
        if parsed.given(flag):
            options[flag] = parsed.text(flag)
    labels = pairs(parsed.list("label"))
    body = {
        "Name": name,
        "Driver": parsed.text("driver"),
        "DriverOpts": options,
        "Labels": labels,
    }
    made = session.client.post("/volumes/create", None, body)
    for warning in made.get("Warnings") or ():
        session.warn(f"WARNING: {warning}")
    for said in _differences(made, options, labels):
        if parsed.flag("strict"):
            raise CommandFailed(f"volume {made['Name']} exists, and {said}")
        session.warn(f"WARNING: volume {made['Name']} was there already and stays as it is: {said}")
    session.line(made["Name"])


def _differences(made: dict[str, Any], options: dict[str, str], labels: dict[str, str]) -> Iterator[str]:
    """Say what a volume that was there already has not of what was asked for; the engine gives it back silently."""
    for what, wanted, has in (("option", options, made.get("Options")), ("label", labels, made.get("Labels"))):
        for key, value in wanted.items():
            there = (has or {}).get(key)
            if there is None:
                yield f"it has no {what} {key}"
            elif there != value:
                yield f"its {what} {key} is {there!r}, not {value!r}"


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
        Flag("size", "s", "bool", "Show sizes, and how old each figure is"),
        Flag("used-by", "", "bool", "Show the containers that use each volume"),
        Flag("last-used", "", "bool", "Show when a container last used each volume"),
        Flag("fresh", "", "bool", "Measure the sizes now, however long that takes"),
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
        Flag("size", "", "string", "Greatest size, such as 10g; always possible (same as -o size=)"),
        Flag("reserve", "", "bool", "Have the disk keep room for all of the size from the start (-o reserve=true)"),
        Flag("uid", "", "string", "User number that owns the volume, whatever an image has there (-o uid=)"),
        Flag("gid", "", "string", "Group number that owns it (-o gid=)"),
        Flag("mode", "", "string", "Octal mode of its directory (-o mode=)"),
        Flag("strict", "", "bool", "Fail if the volume is there with other options or labels"),
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
