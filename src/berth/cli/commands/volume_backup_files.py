"""`berth volume backup ls` and `prune`: directories of backups on the user's side."""

from __future__ import annotations

import os

from berth.cli import stores
from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.formatting import Columns
    from berth.cli.session import Session


def _columns() -> Columns:
    from berth.cli.human import size

    return {
        "Volume": ("VOLUME", lambda one: one.volume),
        "Time": ("TIME (UTC)", lambda one: one.time),
        "Files": ("FILES", lambda one: str(one.end.get("files", ""))),
        "Bytes": ("DATA", lambda one: size(one.end["bytes"]) if one.end else ""),
        "Size": ("SIZE", lambda one: size(one.size) if one.size >= 0 else "shared"),
        "Consistency": ("CONSISTENCY", lambda one: (one.head.get("consistency") or {}).get("Mode", "")),
        "State": ("STATE", lambda one: one.state),
        "Unchanged": ("UNCHANGED AT", lambda one: one.unchanged),
        "Name": ("NAME", lambda one: one.name),
    }


def _list(session: Session, parsed: Parsed) -> None:
    from berth.cli.backup_files import BackupFile, listed
    from berth.cli.formatting import print_rows

    if parsed.flag("schedules"):
        _schedules(session, parsed)
        return
    where = parsed.args[0] if parsed.args else ""
    only = set(parsed.list("volume"))
    place = stores.place_of(parsed, where if where.startswith("s3://") else "")
    if place is None:
        found = listed(where or ".", only)
    else:
        told = session.client.get("/berth/volumes/stores/backups", place.query)
        found = [BackupFile.told(one) for one in told if not only or one["Volume"] in only]
    unchanged = "{{.Unchanged}}\t" if any(one.unchanged for one in found) else ""
    print_rows(
        found,
        _columns(),
        parsed.text("format"),
        default="{{.Volume}}\t{{.Time}}\t{{.Files}}\t{{.Bytes}}\t{{.Size}}\t{{.Consistency}}\t{{.State}}\t"
        f"{unchanged}{{{{.Name}}}}",
        quiet="{{.Name}}" if parsed.flag("quiet") else "",
        kind="*volume.backupContext",
    )


def _schedules(session: Session, parsed: Parsed) -> None:
    from berth.cli.formatting import print_rows

    def moment(text: str) -> str:
        return text[:19].replace("T", " ")

    def running(text: str) -> str:
        return "waits for others" if text == "waiting" else f"running since {moment(text)}" if text else ""

    print_rows(
        session.client.get("/berth/volumes/schedules"),
        {
            "Volume": ("VOLUME", lambda one: one["Volume"]),
            "Schedule": ("SCHEDULE", lambda one: one["Schedule"]),
            "Target": ("TARGET", lambda one: one["Target"]),
            "Last": ("LAST (UTC)", lambda one: moment(one["Last"]) or "never"),
            "Next": ("NEXT (UTC)", lambda one: moment(one["Next"])),
            "Running": ("RUNNING", lambda one: one["Running"]),
            "Result": ("RESULT", lambda one: running(one["Running"]) or one["Error"] or one["File"]),
        },
        parsed.text("format"),
        default="{{.Volume}}\t{{.Schedule}}\t{{.Target}}\t{{.Last}}\t{{.Next}}\t{{.Result}}",
        quiet="{{.Volume}}" if parsed.flag("quiet") else "",
        kind="*volume.scheduleContext",
    )


def _prune_place(session: Session, parsed: Parsed, rules: dict[str, int], place: stores.Place) -> None:
    from berth.cli.human import size

    dry = parsed.flag("dry-run")
    query = {**place.query, **rules, "volume": parsed.list("volume") or None, "dryrun": True if dry else None}
    said = session.client.post("/berth/volumes/stores/prune", query)
    for one in said["Kept"] if dry else ():
        session.line(f"keep    {one['Name']}")
    for one in said["Removed"]:
        session.line(f"{'remove ' if dry else 'removed'} {one['Name']}")
    freed = sum(max(0, one["Size"]) for one in said["Removed"])
    session.line(f"Total {'that would be freed' if dry else 'freed'}: {size(freed)}")


def _prune(session: Session, parsed: Parsed) -> None:
    from berth.cli.backup_files import judged, listed
    from berth.cli.human import size
    from berth.wire.retention import RULES

    rules = {rule: parsed.number(f"keep-{rule}") for rule in RULES}
    if not any(rules.values()):
        raise CommandFailed("say what to keep: --keep-last, --keep-daily, --keep-weekly or --keep-monthly")
    where = parsed.args[0] if parsed.args else ""
    place = stores.place_of(parsed, where if where.startswith("s3://") else "")
    if place is not None:
        _prune_place(session, parsed, rules, place)
        return
    if not where:
        raise CommandFailed("say which directory, --target or --repo is to be pruned")
    freed = 0
    for one, why in judged(listed(where, set(parsed.list("volume"))), rules):
        if why is not None:
            if parsed.flag("dry-run"):
                session.line(f"keep    {one.name}  ({', '.join(why)})")
            continue
        freed += one.size
        session.line(f"{'remove ' if parsed.flag('dry-run') else 'removed'} {one.name}")
        if not parsed.flag("dry-run"):
            try:
                os.unlink(one.path)
            except OSError as error:
                raise CommandFailed(f"remove {one.path}: {str(error.strerror).lower()}") from None
    session.line(f"Total {'that would be freed' if parsed.flag('dry-run') else 'freed'}: {size(freed)}")


_ONLY = Flag("volume", "", "list", "Only backups of this volume")

LS = Command(
    "[OPTIONS] [DIR|s3://bucket/prefix]",
    _list,
    (
        _ONLY,
        *stores.FLAGS,
        Flag("schedules", "", "bool", "List what is backed up by itself, and how that goes"),
        Flag("quiet", "q", "bool", "Only display the names of files"),
        Flag("format", "", "string", FORMAT_LIST),
    ),
    most=1,
    long="List the backups in a directory\n\nOnly the two ends of each file are read; berth volume verify reads all.",
)
PRUNE = Command(
    "[OPTIONS] DIR|s3://bucket/prefix",
    _prune,
    (
        _ONLY,
        *stores.FLAGS,
        Flag("keep-last", "", "uint", "Keep so many of the newest"),
        Flag("keep-daily", "", "uint", "Keep the newest of each of so many days"),
        Flag("keep-weekly", "", "uint", "Keep the newest of each of so many weeks"),
        Flag("keep-monthly", "", "uint", "Keep the newest of each of so many months"),
        Flag("dry-run", "", "bool", "Say what would be removed, and why the rest stays"),
    ),
    most=1,
    long="Remove old backups from a directory\n\nEach volume is looked at by itself; a backup one rule keeps stays.",
)
