"""Images on this machine: ls, rm, tag, history, bootstrap."""

from __future__ import annotations

import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, ellipsis, filters_of, print_rows, short_id
from berth.client.errors import ApiError
from berth.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session

_NONE = "<none>"


def columns(*, full: bool) -> Columns:
    """Return the fields of an image in a list; a record is (summary, repository, tag, digest)."""
    from berth.cli.human import ago, local_time, size

    def count(summary: dict[str, Any]) -> str:
        return str(summary["Containers"]) if summary.get("Containers", -1) >= 0 else "N/A"

    def shared(summary: dict[str, Any], key: str) -> str:
        return size(summary[key], 4) if summary.get(key, -1) >= 0 else "N/A"

    return {
        "ID": ("IMAGE ID", lambda it: it[0]["Id"] if full else short_id(it[0]["Id"])),
        "Repository": ("REPOSITORY", lambda it: it[1]),
        "Tag": ("TAG", lambda it: it[2]),
        "Digest": ("DIGEST", lambda it: it[3]),
        "CreatedSince": ("CREATED", lambda it: ago(it[0]["Created"]) if it[0]["Created"] > 0 else "N/A"),
        "CreatedAt": ("CREATED AT", lambda it: local_time(it[0]["Created"])),
        "Size": ("SIZE", lambda it: size(it[0]["Size"])),
        "VirtualSize": ("SIZE", lambda it: size(it[0].get("VirtualSize") or it[0]["Size"], 4)),
        "Containers": ("CONTAINERS", lambda it: count(it[0])),
        "SharedSize": ("SHARED SIZE", lambda it: shared(it[0], "SharedSize")),
        "UniqueSize": (
            "UNIQUE SIZE",
            lambda it: size(it[0]["Size"] - it[0]["SharedSize"], 4) if it[0].get("SharedSize", -1) >= 0 else "N/A",
        ),
    }


def rows(summary: dict[str, Any], *, digests: bool) -> list[tuple[dict[str, Any], str, str, str]]:
    """Return one row per tag of an image, and per digest where those are shown."""
    from berth.cli.commands.listing import familiar

    tags = [tag for tag in summary.get("RepoTags") or () if tag != "<none>:<none>"]
    known: dict[str, list[str]] = {}
    for reference in summary.get("RepoDigests") or ():
        repository, _, digest = reference.partition("@")
        if repository != _NONE:
            known.setdefault(familiar(repository), []).append(digest)
    if not tags and not known:
        return [(summary, _NONE, _NONE, _NONE)]
    found: list[tuple[dict[str, Any], str, str, str]] = []
    named = set()
    for reference in tags:
        repository, _, tag = reference.rpartition(":")
        repository = familiar(repository)
        named.add(repository)
        shown = known.get(repository) if digests else None
        found.extend((summary, repository, tag, digest) for digest in shown or [_NONE])
    for repository, its_digests in known.items():
        if repository not in named:
            found.extend((summary, repository, _NONE, digest) for digest in (its_digests if digests else [_NONE]))
    return found


def _list(session: Session, parsed: Parsed) -> None:
    filters = filters_of(parsed) or {}
    if parsed.args:
        filters.setdefault("reference", []).append(parsed.args[0])
    images = session.client.get("/images/json", {"all": parsed.flag("all") or None, "filters": filters or None})
    form = parsed.text("format") or ("" if parsed.flag("quiet") else session.settings.text("imagesFormat"))
    digests = parsed.flag("digests")
    default = "{{.Repository}}\t{{.Tag}}\t" + ("{{.Digest}}\t" if digests else "")
    default += "{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    wanted = digests or ".Digest" in form
    records = [row for image in images for row in rows(image, digests=wanted)]
    print_rows(
        records,
        columns(full=parsed.flag("no-trunc")),
        form,
        default=default,
        quiet="{{.ID}}" if parsed.flag("quiet") else "",
        kind="*formatter.imageContext",
    )


def _remove(session: Session, parsed: Parsed) -> int:
    query = {"force": parsed.flag("force") or None, "noprune": parsed.flag("no-prune") or None}
    status = 0
    for name in parsed.args:
        try:
            answers = session.client.delete(f"/images/{quote(name)}", query)
        except ApiError as error:
            session.warn(f"Error response from daemon: {error.message}")
            if not (error.status == 404 and parsed.flag("force")):
                status = 1
            continue
        for answer in answers or ():
            if answer.get("Deleted"):
                session.line(f"Deleted: {answer['Deleted']}")
            else:
                session.line(f"Untagged: {answer['Untagged']}")
    return status


def _tag(session: Session, parsed: Parsed) -> None:
    from berth.cli.commands.transfer import check_reference, full_name, split_tag

    source, target = parsed.args
    try:
        check_reference(target)
    except CommandFailed as error:
        raise CommandFailed(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
    if "@" in target:
        raise CommandFailed("refusing to create a tag with a digest reference")
    repository, tag = split_tag(target)
    session.client.post(
        f"/images/{quote(source)}/tag", {"repo": full_name(repository, tagged=False), "tag": tag or "latest"}
    )


def _history(session: Session, parsed: Parsed) -> None:
    from berth.base.units import go_time
    from berth.cli.human import ago, size

    full, human = parsed.flag("no-trunc"), parsed.flag("human")

    def created_by(layer: dict[str, Any]) -> str:
        text = str(layer["CreatedBy"]).replace("\t", " ")
        return text if full else ellipsis(text, 45)

    def created_at(layer: dict[str, Any]) -> str:
        import time

        return go_time(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(layer["Created"]))).replace(" +0000 UTC", "Z")

    layers = session.client.get(f"/images/{quote(parsed.args[0])}/history")
    print_rows(
        layers,
        {
            "ID": ("IMAGE", lambda it: it["Id"] if full else short_id(it["Id"])),
            "CreatedSince": (
                "CREATED" if human else "CREATED AT",
                lambda it: ago(it["Created"]) if human else created_at(it).replace(" ", "T"),
            ),
            "CreatedAt": ("CREATED AT", lambda it: created_at(it).replace(" ", "T")),
            "CreatedBy": ("CREATED BY", created_by),
            "Size": ("SIZE", lambda it: size(it["Size"]) if human else str(it["Size"])),
            "Comment": ("COMMENT", lambda it: it["Comment"]),
        },
        parsed.text("format"),
        default="{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        quiet="{{.ID}}" if parsed.flag("quiet") else "",
        kind="*image.historyContext",
    )


def _bootstrap(session: Session, parsed: Parsed) -> None:
    from berth.cli.progress import show_progress

    query = {"name": parsed.args[0], "tag": parsed.text("tag") or None}
    response = session.client.stream("POST", "/berth/images/bootstrap", query)
    show_progress(response.records(), None if parsed.flag("quiet") else sys.stdout)


LS = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    _list,
    (
        Flag("quiet", "q", "bool", "Only show image IDs"),
        Flag("all", "a", "bool", "Show all images (default hides intermediate images)"),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("digests", "", "bool", "Show digests"),
        Flag("format", "", "string", FORMAT_LIST),
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
    ),
    most=1,
)
RM = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _remove,
    (
        Flag("force", "f", "bool", "Force removal of the image"),
        Flag("no-prune", "", "bool", "Do not delete untagged parents"),
    ),
    least=1,
    most=None,
)
TAG = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", _tag, least=2, most=2)
HISTORY = Command(
    "[OPTIONS] IMAGE",
    _history,
    (
        Flag("human", "H", "bool", "Print sizes and dates in human readable format", default=True),
        Flag("quiet", "q", "bool", "Only show image IDs"),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("format", "", "string", FORMAT_LIST),
    ),
    least=1,
    most=1,
)
BOOTSTRAP = Command(
    "[OPTIONS] NAME",
    _bootstrap,
    (
        Flag("tag", "t", "string", "Name the image so (default NAME:latest)"),
        Flag("quiet", "q", "bool", "Suppress the build output"),
    ),
    least=1,
    most=1,
    long=(
        "Make an image from this machine's own package mirror, for machines that reach no registry.\n\n"
        "Recipes: busybox, debian, nginx, postgres, redis, python, node. The image says in its labels what it is."
    ),
)
