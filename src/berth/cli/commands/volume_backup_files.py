"""`berth volume backup ls` and `prune`: directories of backups on the user's side."""

from __future__ import annotations

import os

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
        "Size": ("SIZE", lambda one: size(one.size)),
        "Consistency": ("CONSISTENCY", lambda one: (one.head.get("consistency") or {}).get("Mode", "")),
        "State": ("STATE", lambda one: one.state),
        "Name": ("NAME", lambda one: one.name),
    }


def _list(_: Session, parsed: Parsed) -> None:
    from berth.cli.backup_files import listed
    from berth.cli.formatting import print_rows

    print_rows(
        listed(parsed.args[0] if parsed.args else ".", set(parsed.list("volume"))),
        _columns(),
        parsed.text("format"),
        default="{{.Volume}}\t{{.Time}}\t{{.Files}}\t{{.Bytes}}\t{{.Size}}\t{{.Consistency}}\t{{.State}}\t{{.Name}}",
        quiet="{{.Name}}" if parsed.flag("quiet") else "",
        kind="*volume.backupContext",
    )


def _prune(session: Session, parsed: Parsed) -> None:
    from berth.cli.backup_files import judged, listed
    from berth.cli.human import size
    from berth.wire.retention import RULES

    rules = {rule: parsed.number(f"keep-{rule}") for rule in RULES}
    if not any(rules.values()):
        raise CommandFailed("say what to keep: --keep-last, --keep-daily, --keep-weekly or --keep-monthly")
    freed = 0
    for one, why in judged(listed(parsed.args[0], set(parsed.list("volume"))), rules):
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
    "[OPTIONS] [DIR]",
    _list,
    (
        _ONLY,
        Flag("quiet", "q", "bool", "Only display the names of files"),
        Flag("format", "", "string", FORMAT_LIST),
    ),
    most=1,
    long="List the backups in a directory\n\nOnly the two ends of each file are read; berth volume verify reads all.",
)
PRUNE = Command(
    "[OPTIONS] DIR",
    _prune,
    (
        _ONLY,
        Flag("keep-last", "", "uint", "Keep so many of the newest"),
        Flag("keep-daily", "", "uint", "Keep the newest of each of so many days"),
        Flag("keep-weekly", "", "uint", "Keep the newest of each of so many weeks"),
        Flag("keep-monthly", "", "uint", "Keep the newest of each of so many months"),
        Flag("dry-run", "", "bool", "Say what would be removed, and why the rest stays"),
    ),
    least=1,
    most=1,
    long="Remove old backups from a directory\n\nEach volume is looked at by itself; a backup one rule keeps stays.",
)
