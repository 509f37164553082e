"""`berth system df`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, print_rows
from berth.cli.human import ago, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session


def _share(part: int, whole: int) -> str:
    text = size(part, 4)
    return f"{text} ({part * 100 // whole}%)" if whole > 0 else text


def _summary(usage: dict[str, Any]) -> list[dict[str, str]]:
    images = usage.get("Images") or []
    containers = usage.get("Containers") or []
    volumes = usage.get("Volumes") or []
    caches = usage.get("BuildCache") or []
    layers = int(usage.get("LayersSize") or 0)
    used = sum(
        it["Size"] - it["SharedSize"] for it in images if it["Containers"] and -1 not in (it["Size"], it["SharedSize"])
    )
    running = [it for it in containers if it["State"] in ("running", "paused", "restarting")]
    written = sum(it.get("SizeRw") or 0 for it in containers)
    idle = written - sum(it.get("SizeRw") or 0 for it in running)
    sizes = [(max(it["UsageData"]["Size"], 0), it["UsageData"]["RefCount"]) for it in volumes if it.get("UsageData")]
    whole = sum(bytes_ for bytes_, _ in sizes)
    cached = sum(it["Size"] for it in caches if not it.get("Shared"))
    free = sum(it["Size"] for it in caches if not it.get("InUse") and not it.get("Shared"))
    return [
        _line("Images", len(images), sum(it["Containers"] > 0 for it in images), layers, _share(layers - used, layers)),
        _line("Containers", len(containers), len(running), written, _share(idle, written)),
        _line(
            "Local Volumes",
            len(volumes),
            sum(count > 0 for _, count in sizes),
            whole,
            _share(sum(bytes_ for bytes_, count in sizes if count == 0), whole),
        ),
        _line("Build Cache", len(caches), sum(bool(it.get("InUse")) for it in caches), cached, size(free, 4)),
    ]


def _ours(session: Session) -> list[dict[str, str]]:
    """Return the lines of what Docker has not, where there is any: snapshots and removed volumes."""
    from berth.client.errors import ApiError

    try:
        snapshots = session.client.get("/berth/volume-snapshots")
        removed = session.client.get("/berth/volume-trash")["Volumes"]
    except ApiError:  # another engine's
        return []
    lines = []
    for kind, found in (("Volume Snapshots", snapshots), ("Removed Volumes", removed)):
        if found:
            free = [it for it in found if not it.get("UsedBy")]
            whole, reclaimable = (sum(max(it["Size"], 0) for it in them) for them in (found, free))
            line = _line(kind, len(found), len(found) - len(free), whole, _share(reclaimable, whole))
            # Apparent sizes: blocks that are shared with the volume come free with the last who has them.
            most = any(it.get("How") not in (None, "copy") for it in free)
            lines.append(line | {"Reclaimable": f"at most {line['Reclaimable']}"} if most else line)
    return lines


def _line(kind: str, total: int, active: int, bytes_: int, reclaimable: str) -> dict[str, str]:
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": size(bytes_, 4),
        "Reclaimable": reclaimable,
    }


_COLUMNS: Columns = {
    "Type": ("TYPE", lambda it: it["Type"]),
    "TotalCount": ("TOTAL", lambda it: it["TotalCount"]),
    "Active": ("ACTIVE", lambda it: it["Active"]),
    "Size": ("SIZE", lambda it: it["Size"]),
    "Reclaimable": ("RECLAIMABLE", lambda it: it["Reclaimable"]),
}


def _df(session: Session, parsed: Parsed) -> None:
    if parsed.flag("fresh"):
        session.client.get("/berth/volumes", {"fresh": True})
    usage = session.client.get("/system/df")
    if parsed.flag("verbose"):
        _verbose(session, usage)
        return
    print_rows(
        [*_summary(usage), *_ours(session)],
        _COLUMNS,
        parsed.text("format"),
        default="{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        kind="*formatter.diskUsageContext",
    )


def _verbose(session: Session, usage: dict[str, Any]) -> None:
    from berth.cli.commands import image, listing, volume

    session.line("Images space usage:\n")
    print_rows(
        [image.rows(it, digests=False)[0] for it in usage.get("Images") or ()],
        image.columns(full=False),
        "",
        default="{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
        "\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    )
    session.line("\nContainers space usage:\n")
    columns = listing.columns(full=False)
    columns["Size"] = ("SIZE", lambda it: size(it.get("SizeRw") or 0))
    print_rows(
        usage.get("Containers") or (),
        columns,
        "",
        default="{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    )
    session.line("\nLocal Volumes space usage:\n")
    print_rows(usage.get("Volumes") or (), volume.columns(), "", default="{{.Name}}\t{{.Links}}\t{{.Size}}")
    for line in _ours(session):
        session.line(f"\n{line['Type']} space usage: {line['TotalCount']}, {line['Size']}")
    caches = usage.get("BuildCache") or []
    session.line(f"\nBuild cache usage: {_line('', 0, 0, sum(it['Size'] for it in caches), '')['Size']}\n")
    print_rows(
        caches,
        {
            "ID": ("CACHE ID", lambda it: it["ID"][:12]),
            "CacheType": ("CACHE TYPE", lambda it: it["Type"]),
            "Size": ("SIZE", lambda it: size(it["Size"])),
            "CreatedSince": ("CREATED", lambda it: ago(0) if not it.get("CreatedAt") else it["CreatedAt"]),
            "LastUsedSince": ("LAST USED", lambda it: it.get("LastUsedAt") or ""),
            "UsageCount": ("USAGE", lambda it: str(it.get("UsageCount", 0))),
            "Shared": ("SHARED", lambda it: "true" if it.get("Shared") else "false"),
        },
        "",
        default="{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    )


DF = Command(
    "[OPTIONS]",
    _df,
    (
        Flag("verbose", "v", "bool", "Show detailed information on space usage"),
        Flag("format", "", "string", FORMAT_LIST),
        Flag("fresh", "", "bool", "Measure the sizes of volumes now, however long that takes"),
    ),
)
