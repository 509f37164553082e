"""`berth volume clone` and `berth volume snapshot …`: copies of volumes on this machine."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST
from berth.client.errors import ApiError, ClientError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session

#: Flags of everything that reads a volume which others may write.
CONSISTENCY_FLAGS = (
    Flag("consistency", "", "string", "How running containers hold still: none, pause, stop, freeze or hook"),
    Flag("pre", "", "string", "Command to run in the containers before, for the shell or a JSON list of words"),
    Flag("post", "", "string", "Command to run in the containers after, whatever happens"),
    Flag("hook-timeout", "", "int", "Seconds such a command may take (default 300)"),
)


def consistency_of(parsed: Parsed) -> dict[str, Any]:
    """Return what the flags say, for the body of a request."""
    return {
        "Consistency": parsed.text("consistency"),
        "Pre": parsed.text("pre"),
        "Post": parsed.text("post"),
        "HookTimeout": parsed.number("hook-timeout") if parsed.given("hook-timeout") else 0,
    }


def _followed(session: Session, path: str, body: dict[str, Any], *, progress: bool) -> dict[str, Any]:
    """Post, show how far it is if asked to, and return the result."""
    from berth.cli.human import size

    last: dict[str, Any] = {}
    with session.client.stream("POST", path, body=body) as response:
        for last in response.records():
            if progress and "entries" in last:
                session.warn(f"{last['entries']} entries, {size(last['bytes'])} copied")
    if "error" in last:
        raise CommandFailed(f"Error response from daemon: {last['error']}")
    return last


def told(done: dict[str, Any]) -> str:
    """Say how a copy was made and what it is worth."""
    said = done["Consistency"] or {}
    worth = "crash-consistent" if said.get("CrashConsistent") else "NOT crash-consistent"
    held = f", for {said['HeldMilliseconds']} ms" if said.get("HeldMilliseconds") else ""
    return f"{done['How']}; {said.get('How', '')}{held}; {worth}"


def _clone(session: Session, parsed: Parsed) -> None:
    source, new = parsed.args
    body = {"Name": new, **consistency_of(parsed)}
    done = _followed(session, f"/berth/volumes/{part(source)}/clone", body, progress=parsed.flag("progress"))
    _end(session, parsed, done)
    session.line(new)


def _end(session: Session, parsed: Parsed, done: dict[str, Any]) -> None:
    for warning in done["Consistency"]["Warnings"]:
        session.warn(f"WARNING: {warning}")
    if not parsed.flag("quiet"):
        session.warn(told(done))


_MARKS = {"added": "A", "removed": "D", "changed": "C"}


def _diff(session: Session, parsed: Parsed) -> int:
    import json

    one, other = parsed.args
    query = {"one": one, "other": other, "whole": parsed.flag("checksum")}
    last: dict[str, Any] = {}
    try:
        with session.client.stream("GET", "/berth/volume-diff", query) as response:
            for last in response.records():
                if "change" not in last:
                    continue
                if parsed.flag("quiet"):
                    session.line(f"{one} and {other} differ")
                    return 1
                if parsed.flag("json"):
                    session.line(json.dumps(last))
                    continue
                what = f"  ({', '.join(last['what'])})" if last.get("what") else ""
                session.line(f"{_MARKS[last['change']]} /{last['path']}{what}")
    except ApiError as error:
        raise CommandFailed(f"Error response from daemon: {error.message}", 2) from None
    except ClientError as error:
        raise CommandFailed(str(error), 2) from None
    if "done" not in last:
        raise CommandFailed(f"Error response from daemon: {last.get('error', 'the comparison was cut short')}", 2)
    return 1 if last["differences"] else 0


def _columns() -> Columns:
    from berth.cli.commands.volume import size_text
    from berth.cli.human import ago, epoch

    def worth(it: dict[str, Any]) -> str:
        return "yes" if (it["Consistency"] or {}).get("CrashConsistent") else "no"

    return {
        "Volume": ("VOLUME", lambda it: it["Volume"]),
        "Name": ("SNAPSHOT", lambda it: it["Name"]),
        "Reference": ("REFERENCE", lambda it: it["Reference"]),
        "CreatedSince": ("CREATED", lambda it: ago(epoch(it["CreatedAt"]))),
        "CreatedAt": ("CREATED AT", lambda it: it["CreatedAt"]),
        "How": ("HOW", lambda it: it["How"]),
        "Consistent": ("CRASH-CONSISTENT", worth),
        "UsedBy": ("USED BY", lambda it: str(len(it["UsedBy"]))),
        "Size": ("APPARENT SIZE", size_text),
        "Automatic": ("AUTOMATIC", lambda it: str(it["Automatic"]).lower()),
    }


def _snapshot_create(session: Session, parsed: Parsed) -> None:
    volume, at, more = parsed.args[0].partition("@")
    name = parsed.args[1] if len(parsed.args) > 1 else ""
    if at and name:
        raise CommandFailed("conflicting arguments: the snapshot's name is given twice")
    body = {"Name": name or more, **consistency_of(parsed)}
    done = _followed(session, f"/berth/volumes/{part(volume)}/snapshots", body, progress=parsed.flag("progress"))
    _end(session, parsed, done)
    session.line(done["Reference"])


def _snapshot_list(session: Session, parsed: Parsed) -> None:
    from berth.cli.formatting import print_rows

    query = {"volume": parsed.args[0]} if parsed.args else None
    print_rows(
        session.client.get("/berth/volume-snapshots", query),
        _columns(),
        parsed.text("format"),
        default="{{.Reference}}\t{{.CreatedSince}}\t{{.How}}\t{{.Size}}\t{{.Consistent}}\t{{.UsedBy}}",
        quiet="{{.Reference}}" if parsed.flag("quiet") else "",
        kind="*volume.snapshotContext",
    )


def _path(reference: str) -> str:
    volume, at, name = reference.partition("@")
    if not at or not name:
        raise CommandFailed(f'"{reference}" is no snapshot: VOLUME@SNAPSHOT')
    return f"/berth/volumes/{part(volume)}/snapshots/{part(name)}"


def _snapshot_inspect(session: Session, parsed: Parsed) -> int:
    import json

    found: list[Any] = []
    status = session.each(parsed.args, lambda ref: found.append(session.client.get(_path(ref))), echo=False)
    session.line(json.dumps(found, indent=4))
    return status


def _snapshot_remove(session: Session, parsed: Parsed) -> int:
    return session.each(parsed.args, lambda ref: session.client.delete(_path(ref)))


def _snapshot_rollback(session: Session, parsed: Parsed) -> None:
    keep = not parsed.given("keep-current") or parsed.flag("keep-current")
    done = session.client.post(f"{_path(parsed.args[0])}/rollback", {"keep": keep})
    if done["Kept"] and not parsed.flag("quiet"):
        session.warn(f"What the volume held before is kept: {done['Kept']['Reference']}")
    session.line(parsed.args[0].partition("@")[0])


def _snapshot(session: Session, parsed: Parsed) -> None:
    del session
    what = f"unknown command: berth volume snapshot {parsed.args[0]}" if parsed.args else "a command is missing"
    raise CommandFailed(f"{what} (create, inspect, ls, rm and rollback are known)")


_SHOWN = (
    Flag("progress", "", "bool", "Show how far the copy is"),
    Flag("quiet", "q", "bool", "Do not say how the copy was made"),
)

CLONE = Command(
    "[OPTIONS] VOLUME[@SNAPSHOT] NEW_NAME",
    _clone,
    (*CONSISTENCY_FLAGS, *_SHOWN),
    least=2,
    most=2,
    long=(
        "Make a volume with the data of another, or of a snapshot (VOLUME@SNAPSHOT).\n\n"
        "The copy is a btrfs snapshot or shares blocks (reflinks) where the disk can, and else is made byte by byte.\n"
        "Running containers that can write the volume hold still: by default they are paused until it is copied."
    ),
)
DIFF = Command(
    "[OPTIONS] VOLUME[@SNAPSHOT] VOLUME[@SNAPSHOT]",
    _diff,
    (
        Flag("checksum", "", "bool", "Read files of one size and time, too"),
        Flag("json", "", "bool", "One JSON object a line"),
        Flag("quiet", "q", "bool", "Only say whether they differ"),
    ),
    least=2,
    most=2,
    long=(
        "Show what is added (A), deleted (D) and changed (C) from the first to the second: content, type, mode,\n"
        "owner, extended attributes, targets of links. Times do not count. The status is 0 if nothing differs, 1 if\n"
        "something does, 2 if they could not be compared."
    ),
)
SNAPSHOT = Command(
    "create|inspect|ls|rm|rollback [OPTIONS]",
    _snapshot,
    most=None,
    long=(
        "Keep what volumes hold, and return to it.\n\n"
        "  create VOLUME [NAME]          Keep what a volume holds now as VOLUME@NAME\n"
        "  inspect VOLUME@NAME...        Display detailed information on snapshots\n"
        "  ls [VOLUME]                   List snapshots\n"
        "  rm VOLUME@NAME...             Remove snapshots\n"
        "  rollback VOLUME@NAME          Return a volume to a snapshot"
    ),
)
SNAPSHOT_CREATE = Command(
    "[OPTIONS] VOLUME [NAME]",
    _snapshot_create,
    (*CONSISTENCY_FLAGS, *_SHOWN),
    least=1,
    most=2,
    long=(
        "Keep what a volume holds now as VOLUME@NAME; without a name it gets one of the moment.\n\n"
        "A snapshot can be mounted read-only (-v VOLUME@NAME:TARGET:ro), cloned, and returned to."
    ),
)
SNAPSHOT_LS = Command(
    "[OPTIONS] [VOLUME]",
    _snapshot_list,
    (
        Flag("format", "", "string", FORMAT_LIST),
        Flag("quiet", "q", "bool", "Only display VOLUME@SNAPSHOT"),
    ),
    most=1,
)
SNAPSHOT_INSPECT = Command("VOLUME@SNAPSHOT [VOLUME@SNAPSHOT...]", _snapshot_inspect, least=1, most=None)
SNAPSHOT_RM = Command("VOLUME@SNAPSHOT [VOLUME@SNAPSHOT...]", _snapshot_remove, least=1, most=None)
SNAPSHOT_ROLLBACK = Command(
    "[OPTIONS] VOLUME@SNAPSHOT",
    _snapshot_rollback,
    (
        Flag("keep-current", "", "bool", "Keep what the volume holds now as a snapshot", default="true"),
        Flag("quiet", "q", "bool", "Do not say where that is"),
    ),
    least=1,
    most=1,
    long=(
        "Give a volume the data of a snapshot, in one step: it has the old data or the new, whatever happens.\n\n"
        "No running container may use the volume. The snapshot stays, and what the volume held becomes one, too."
    ),
)
