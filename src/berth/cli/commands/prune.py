"""`berth … prune`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import filters_of
from berth.cli.human import size
from berth.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session

    Filters = dict[str, list[str]]


def _agreed(session: Session, parsed: Parsed, warning: str) -> bool:
    return parsed.flag("force") or session.confirm(f"{warning}\nAre you sure you want to continue?")


def _deleted(session: Session, heading: str, names: list[str] | None) -> None:
    if names:
        session.line(heading)
        session.line("\n".join(names) + "\n")


def _lines(planned: dict[str, Any]) -> list[str]:
    """Say what would go, one thing a line."""
    lines = [f"container  {it['Name']}" for it in planned.get("Containers") or ()]
    lines += [f"network    {it['Name']}" for it in planned.get("Networks") or ()]
    for it in planned.get("Volumes") or ():
        where = ", to the trash" if it["Trash"] else ""
        lines.append(f"volume     {it['Name']} ({size(it['Size'])}{where})")
    for it in planned.get("Images") or ():
        lines.append(f"image      {', '.join(it['Names']) or it['Id'][7:19]} ({size(it['Size'])})")
    return lines


def _planned(session: Session, what: str, query: dict[str, Any]) -> dict[str, Any] | None:
    """Ask what would go; None if the engine cannot say."""
    try:
        found: dict[str, Any] = session.client.get(f"/berth/prune/{what}", query)
    except ApiError as error:
        if error.status == 404:  # dockerd has no such page
            return None
        raise
    return found


def _dry_run(session: Session, planned: dict[str, Any] | None) -> None:
    if planned is None:
        raise CommandFailed("this engine cannot say what a prune would remove: --dry-run needs Berth")
    lines = _lines(planned)
    session.line("Would be removed:\n" + "\n".join(f"  {line}" for line in lines) if lines else "Nothing to remove.")
    total = sum(it["Size"] for kind in ("Volumes", "Images") for it in planned.get(kind) or ())
    session.line(f"Total reclaimable space: {size(total, 4)}")


def _with_list(warning: str, planned: dict[str, Any] | None) -> str:
    """Add to a warning what exactly would go."""
    if planned is None:
        return warning
    lines = _lines(planned)
    return f"{warning}\nThat is now:\n" + ("".join(f"  {line}\n" for line in lines) if lines else "  nothing\n")


def _prune_containers(session: Session, filters: Filters | None) -> int:
    answer = session.client.post("/containers/prune", {"filters": filters})
    _deleted(session, "Deleted Containers:", answer.get("ContainersDeleted"))
    return int(answer.get("SpaceReclaimed") or 0)


def _prune_networks(session: Session, filters: Filters | None) -> int:
    _deleted(
        session,
        "Deleted Networks:",
        session.client.post("/networks/prune", {"filters": filters}).get("NetworksDeleted"),
    )
    return 0


def _prune_volumes(session: Session, filters: Filters | None, *, every: bool) -> int:
    filters = dict(filters or {})
    if every:
        filters["all"] = ["true"]
    answer = session.client.post("/volumes/prune", {"filters": filters or None})
    _deleted(session, "Deleted Volumes:", answer.get("VolumesDeleted"))
    return int(answer.get("SpaceReclaimed") or 0)


def _prune_images(session: Session, filters: Filters | None, *, every: bool) -> int:
    answer = session.client.post(
        "/images/prune", {"filters": {**(filters or {}), "dangling": ["false" if every else "true"]}}
    )
    lines = [
        f"untagged: {item['Untagged']}" if item.get("Untagged") else f"deleted: {item['Deleted']}"
        for item in answer.get("ImagesDeleted") or ()
    ]
    _deleted(session, "Deleted Images:", lines)
    return int(answer.get("SpaceReclaimed") or 0)


def _prune_cache(session: Session, filters: Filters | None, *, every: bool) -> int:
    try:
        answer = session.client.post("/build/prune", {"all": every or None, "filters": filters})
    except ApiError as error:
        if error.status in (404, 501):  # an engine that builds nothing keeps nothing
            return 0
        raise
    _deleted(session, "Deleted build cache objects:", answer.get("CachesDeleted"))
    return int(answer.get("SpaceReclaimed") or 0)


def _total(session: Session, reclaimed: int) -> None:
    session.line(f"Total reclaimed space: {size(reclaimed, 4)}")


def _containers(session: Session, parsed: Parsed) -> None:
    if _agreed(session, parsed, "WARNING! This will remove all stopped containers."):
        _total(session, _prune_containers(session, filters_of(parsed)))


def _networks(session: Session, parsed: Parsed) -> None:
    warning = "WARNING! This will remove all custom networks not used by at least one container."
    if _agreed(session, parsed, warning):
        _prune_networks(session, filters_of(parsed))


def _volumes(session: Session, parsed: Parsed) -> None:
    every = parsed.flag("all")
    old = session.client.api_version() < (1, 42)  # such an engine takes the named ones as well
    if every and old:
        version = ".".join(map(str, session.client.api_version()))
        raise CommandFailed(f'"--all" requires API version 1.42, but the Docker daemon API version is {version}')
    filters = {**(filters_of(parsed) or {}), **({"all": ["true"]} if every else {})}
    if parsed.flag("dry-run"):
        _dry_run(session, _planned(session, "volumes", {"filters": filters or None}))
        return
    kind = "all local" if every or old else "anonymous local"
    warning = f"WARNING! This will remove {kind} volumes not used by at least one container."
    if not parsed.flag("force"):
        warning = _with_list(warning, _planned(session, "volumes", {"filters": filters or None}))
    if _agreed(session, parsed, warning):
        _total(session, _prune_volumes(session, filters_of(parsed), every=every))


def _images(session: Session, parsed: Parsed) -> None:
    every = parsed.flag("all")
    which = "images without at least one container associated to them" if every else "dangling images"
    if _agreed(session, parsed, f"WARNING! This will remove all {which}."):
        _total(session, _prune_images(session, filters_of(parsed), every=every))


def _system(session: Session, parsed: Parsed) -> None:
    every, volumes = parsed.flag("all"), parsed.flag("volumes")
    given: list[Any] = parsed.list("filter")
    filters = filters_of(parsed)
    if volumes and filters and "until" in filters:
        raise CommandFailed('ERROR: The "until" filter is not supported with "--volumes"')
    query = {"all": every or None, "volumes": volumes or None, "filters": filters}
    if parsed.flag("dry-run"):
        _dry_run(session, _planned(session, "system", query))
        return
    if not parsed.flag("force"):
        parts = [
            "all stopped containers",
            "all networks not used by at least one container",
            *(["all anonymous volumes not used by at least one container"] if volumes else []),
            "all images without at least one container associated to them" if every else "all dangling images",
            "all build cache" if every else "unused build cache",
        ]
        warning = "WARNING! This will remove:\n" + "".join(f"  - {part}\n" for part in parts)
        if given:
            warning += "\n  Items to be pruned will be filtered with:\n" + "".join(
                f"  - {text}\n" for text in sorted(given)
            )
        if not _agreed(session, parsed, _with_list(warning.rstrip("\n"), _planned(session, "system", query))):
            return
    reclaimed = _prune_containers(session, filters)
    _prune_networks(session, filters)
    if volumes:
        reclaimed += _prune_volumes(session, filters, every=False)
    reclaimed += _prune_images(session, filters, every=every)
    reclaimed += _prune_cache(session, filters, every=every)
    _total(session, reclaimed)


_FORCE = Flag("force", "f", "bool", "Do not prompt for confirmation")
_DRY_RUN = Flag("dry-run", "", "bool", "Say what would be removed, and remove nothing")
_UNTIL = Flag("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")')

CONTAINERS = Command("[OPTIONS]", _containers, (_FORCE, _UNTIL))
NETWORKS = Command("[OPTIONS]", _networks, (_FORCE, _UNTIL))
IMAGES = Command(
    "[OPTIONS]",
    _images,
    (_FORCE, _UNTIL, Flag("all", "a", "bool", "Remove all unused images, not just dangling ones")),
)
VOLUMES = Command(
    "[OPTIONS]",
    _volumes,
    (
        _FORCE,
        Flag("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"),
        _DRY_RUN,
        Flag("filter", "", "filter", 'Provide filter values (e.g. "label=<label>")'),
    ),
)
SYSTEM = Command(
    "[OPTIONS]",
    _system,
    (
        _FORCE,
        Flag("all", "a", "bool", "Remove all unused images not just dangling ones"),
        _DRY_RUN,
        Flag("volumes", "", "bool", "Prune anonymous volumes"),
        Flag("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")'),
    ),
)
