"""`berth volume protect`, `unprotect`, `rename`, `update` and `trash`: what becomes of a volume."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.pairs import check_label, pairs
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session


def _protect(session: Session, parsed: Parsed) -> int:
    return session.each(parsed.args, lambda name: session.client.post(f"/berth/volumes/{part(name)}/protect"))


def _unprotect(session: Session, parsed: Parsed) -> int:
    return session.each(parsed.args, lambda name: session.client.post(f"/berth/volumes/{part(name)}/unprotect"))


def _rename(session: Session, parsed: Parsed) -> None:
    old, new = parsed.args
    session.client.post(f"/berth/volumes/{part(old)}/rename", {"name": new})


def _update(session: Session, parsed: Parsed) -> int:
    body: dict[str, object] = {}
    if parsed.list("label-add"):
        body["LabelsAdd"] = pairs(parsed.list("label-add"))
    if parsed.list("label-rm"):
        body["LabelsRemove"] = parsed.list("label-rm")
    if not body:
        raise CommandFailed("you must provide one or more flags when using this command")
    return session.each(
        parsed.args, lambda name: session.client.post(f"/berth/volumes/{part(name)}/update", None, body)
    )


def _columns() -> Columns:
    import time

    from berth.cli.human import ago, duration, epoch

    def left(it: dict[str, Any]) -> str:
        return duration(max(0.0, epoch(it["GoesAt"]) - time.time()))  # noqa: TID251  the user's clock

    return {
        "ID": ("TRASH ID", lambda it: it["Id"]),
        "Name": ("VOLUME NAME", lambda it: it["Name"]),
        "Driver": ("DRIVER", lambda it: it["Driver"]),
        "RemovedSince": ("REMOVED", lambda it: ago(epoch(it["RemovedAt"]))),
        "RemovedAt": ("REMOVED AT", lambda it: it["RemovedAt"]),
        "Left": ("DELETED IN", left),
        "GoesAt": ("DELETED AT", lambda it: it["GoesAt"]),
        "Size": ("SIZE", _size),
    }


def _size(it: dict[str, Any]) -> str:
    from berth.cli.human import size

    return "N/A" if it.get("Size", -1) < 0 else size(it["Size"])


def _trash_list(session: Session, parsed: Parsed, args: list[str]) -> None:
    from berth.cli.formatting import print_rows

    if args:
        raise CommandFailed("'berth volume trash ls' accepts no arguments")
    answer = session.client.get("/berth/volume-trash")
    if not answer["KeepSeconds"]:
        session.warn("The engine keeps nothing that is removed (volume-trash is off).")
    print_rows(
        answer["Volumes"],
        _columns(),
        parsed.text("format"),
        default="{{.ID}}\t{{.Name}}\t{{.Size}}\t{{.RemovedSince}}\t{{.Left}}",
        quiet="{{.ID}}" if parsed.flag("quiet") else "",
    )


def _trash_restore(session: Session, parsed: Parsed, args: list[str]) -> int:
    if not args:
        raise CommandFailed("'berth volume trash restore' requires at least 1 argument: a volume's name or a trash id")
    wanted = parsed.text("as")
    if wanted and len(args) > 1:
        raise CommandFailed("--as gives a name to one volume; restore them one by one")
    query = {"name": wanted} if wanted else None
    status = 0
    from berth.client.errors import ApiError

    for ref in args:
        try:
            session.line(session.client.post(f"/berth/volume-trash/{part(ref)}/restore", query)["Name"])
        except ApiError as error:
            session.warn(f"Error response from daemon: {error.message}")
            status = 1
    return status


def _trash_remove(session: Session, parsed: Parsed, args: list[str]) -> int:
    del parsed
    if not args:
        raise CommandFailed("'berth volume trash rm' requires at least 1 argument: a volume's name or a trash id")
    return session.each(args, lambda ref: session.client.delete(f"/berth/volume-trash/{part(ref)}"))


def _trash_empty(session: Session, parsed: Parsed, args: list[str]) -> None:
    if args:
        raise CommandFailed("'berth volume trash empty' accepts no arguments")
    there = session.client.get("/berth/volume-trash")["Volumes"]
    if not there:
        return
    if not parsed.flag("force"):
        names = "".join(f"  - {it['Name']}\n" for it in there)
        warning = f"WARNING! This will delete for good {len(there)} removed volumes:\n{names}"
        if not session.confirm(f"{warning}Are you sure you want to continue?"):
            return
    for it in session.client.delete("/berth/volume-trash")["Volumes"]:
        session.line(it["Name"])


_TRASH: dict[str, Callable[[Session, Parsed, list[str]], int | None]] = {
    "ls": _trash_list,
    "list": _trash_list,
    "restore": _trash_restore,
    "rm": _trash_remove,
    "empty": _trash_empty,
}


def _trash(session: Session, parsed: Parsed) -> int | None:
    verb, *args = parsed.args or ["ls"]
    if verb not in _TRASH:
        raise CommandFailed(f"unknown command: berth volume trash {verb} (ls, restore, rm and empty are known)")
    return _TRASH[verb](session, parsed, args)


PROTECT = Command(
    "VOLUME [VOLUME...]",
    _protect,
    least=1,
    most=None,
    long="Keep volumes from being removed, pruned or overwritten until they are unprotected.",
)
UNPROTECT = Command("VOLUME [VOLUME...]", _unprotect, least=1, most=None)
RENAME = Command(
    "VOLUME NEW_NAME",
    _rename,
    least=2,
    most=2,
    long="Rename a volume, also while it is used: containers follow, and running ones keep their mount.",
)
UPDATE = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _update,
    (
        Flag("label-add", "", "list", "Add or change a label", check=check_label),
        Flag("label-rm", "", "list", "Remove a label"),
    ),
    least=1,
    most=None,
    long="Change volumes, also while they are used.",
)
TRASH = Command(
    "[ls|restore VOLUME|rm VOLUME|empty] [OPTIONS]",
    _trash,
    (
        Flag("as", "", "string", "restore: the volume's new name"),
        Flag("force", "f", "bool", "empty: do not prompt for confirmation"),
        Flag("format", "", "string", "ls: format output using a Go template, 'table TEMPLATE' or 'json'"),
        Flag("quiet", "q", "bool", "ls: only display trash IDs"),
    ),
    most=None,
    long=(
        "See removed volumes, have them back, or delete them for good.\n\n"
        "A VOLUME is the name it had (the last one removed) or a trash ID. Removed volumes with a name are kept for\n"
        "the time that berthd's setting volume-trash says (24h), or until the disk runs low; anonymous ones go at once."
    ),
)
