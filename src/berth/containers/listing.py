"""Containers as ``GET /containers/json`` shows them: which pass, in which order, in which words. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from berth.base.errors import InvalidArgument
from berth.base.units import parse_duration_ns
from berth.containers.model import ContainerRecord
from berth.containers.states import State
from berth.volumes.mounts.model import MountType, to_wire
from berth.wire.filters import Filters, InvalidFilter

FILTERS: Final = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "label!", "name",
    "network", "publish", "since", "status", "volume",
)  # fmt: skip
STATUSES: Final = frozenset(state.value for state in State)
HEALTHS: Final = frozenset({"starting", "healthy", "unhealthy", "none"})


@dataclass(frozen=True)
class Query:
    """What was asked for."""

    filters: Filters
    all_: bool = False
    limit: int = 0


@dataclass(frozen=True)
class Facts:
    """What a choice needs to know of others: containers, image ids, networks and ports by container id."""

    container: Callable[[str], ContainerRecord | None]
    image_ids: Callable[[str], set[str]]
    networks: Callable[[str], Mapping[str, Any]]
    ports: Callable[[str], Sequence[Mapping[str, Any]]]


def select(records: Sequence[ContainerRecord], query: Query, facts: Facts) -> list[ContainerRecord]:
    """Return the containers that pass, newest first. Raises `InvalidFilter`."""
    filters = query.filters.only(FILTERS)
    _check(filters)
    every = query.all_ or query.limit > 0 or any(name in filters for name in ("status", "exited", "before", "since"))
    before, since = _bound(filters, "before", facts), _bound(filters, "since", facts)
    images = {ident for ref in filters.get("ancestor") for ident in facts.image_ids(ref)}
    found: list[ContainerRecord] = []
    for record in sorted(records, key=lambda one: one.created_ns, reverse=True):
        if not every and not record.running and record.state is not State.RESTARTING:
            continue
        if before is not None and record.created_ns >= before:
            continue
        if since is not None and record.created_ns <= since:
            continue
        if "ancestor" in filters and record.image_id not in images:
            continue
        if _passes(record, filters, facts):
            found.append(record)
            if 0 < query.limit <= len(found):
                break
    return found


def _check(filters: Filters) -> None:
    for value in filters.get("status"):
        if value not in STATUSES:
            raise InvalidFilter("status", value)
    for value in filters.get("health"):
        if value not in HEALTHS:
            raise InvalidArgument(f"unrecognised filter value for health: {value}")
    for value in filters.get("exited"):
        try:
            int(value)
        except ValueError:
            raise InvalidFilter("exited", value) from None
    for name in ("publish", "expose"):
        for value in filters.get(name):
            _ports_of(name, value)
    filters.boolean("is-task", default=False)


def _bound(filters: Filters, name: str, facts: Facts) -> int | None:
    bound: int | None = None
    for ref in filters.get(name):
        record = facts.container(ref)
        if record is None:
            raise InvalidArgument(f"No such container: {ref}")
        bound = record.created_ns
    return bound


def _passes(record: ContainerRecord, filters: Filters, facts: Facts) -> bool:
    health = record.health.status if record.health is not None and record.running else "none"
    exited = filters.get("exited")
    return (
        filters.exact("status", record.state.value)
        and filters.labels(record.config.labels or {})
        and filters.without_labels(record.config.labels or {})
        and filters.prefix("id", record.id)
        and _named(record, filters.get("name"))
        and filters.exact("health", health)
        and (not exited or (record.started_ns > 0 and not record.running and str(record.exit_code) in exited))
        and not ("is-task" in filters and filters.boolean("is-task", default=False))
        and _mounts(record, filters.get("volume"))
        and _on_network(facts.networks(record.id) if "network" in filters else {}, filters.get("network"))
        and _has_ports(record, filters, facts)
    )


def _named(record: ContainerRecord, wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    for pattern in wanted:
        bare = pattern.removeprefix("/") if not pattern.startswith("^/") else "^" + pattern[2:]
        try:
            if re.search(bare, record.name) or re.search(pattern, f"/{record.name}"):
                return True
        except re.error:
            if pattern in record.name:
                return True
    return False


def _mounts(record: ContainerRecord, wanted: Sequence[str]) -> bool:
    return not wanted or any(
        ref in (point.name, point.target, point.source) for point in record.mounts for ref in wanted
    )


def _on_network(networks: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    return any(
        ref == name or str(settings.get("NetworkID") or "").startswith(ref)
        for name, settings in networks.items()
        for ref in wanted
    )


def _ports_of(name: str, value: str) -> tuple[int, int, str]:
    port, _, protocol = value.partition("/")
    first, _, last = port.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        raise InvalidArgument(
            f"filter for '{name}' should not contain ':'" if ":" in value else f"invalid port: {value}"
        ) from None
    return low, high, protocol or "tcp"


def _has_ports(record: ContainerRecord, filters: Filters, facts: Facts) -> bool:
    if "publish" in filters:
        have = [(int(one["PublicPort"]), str(one["Type"])) for one in facts.ports(record.id) if one.get("PublicPort")]
        if not any(_within(have, *_ports_of("publish", value)) for value in filters.get("publish")):
            return False
    if "expose" in filters:
        texts = (*(record.config.exposed_ports or ()), *(record.host_config.port_bindings or ()))
        have = [(int(text.partition("/")[0].partition("-")[0]), text.partition("/")[2] or "tcp") for text in texts]
        if not any(_within(have, *_ports_of("expose", value)) for value in filters.get("expose")):
            return False
    return True


def _within(have: Sequence[tuple[int, str]], low: int, high: int, protocol: str) -> bool:
    return any(low <= port <= high and kind == protocol for port, kind in have)


def render(
    record: ContainerRecord,
    *,
    now_ns: int,
    image_name: str,
    ports: Sequence[Mapping[str, Any]],
    networks: Mapping[str, Any],
    sizes: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Render one row."""
    wire: dict[str, Any] = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": image_name,
        "ImageID": record.image_id,
        "Command": command_text(record),
        "Created": record.created_ns // 1_000_000_000,
        "Ports": [dict(port) for port in ports],
        "Labels": dict(record.config.labels or {}),
        "State": record.state.value,
        "Status": status_text(record, now_ns),
        "HostConfig": {"NetworkMode": record.host_config.network_mode},
        "NetworkSettings": dict(networks),
        "Mounts": to_wire(record.mounts),
    }
    if record.host_config.annotations:
        wire["HostConfig"]["Annotations"] = dict(record.host_config.annotations)
    if sizes is not None:
        wire["SizeRw"], wire["SizeRootFs"] = sizes
    return wire


_PLAIN: Final = re.compile(r"[^\s'\"]*\Z")


def command_text(record: ContainerRecord) -> str:
    """Print program and arguments; arguments with blanks or quotes are quoted, as moby does."""
    quoted = (arg if _PLAIN.match(arg) and arg else "'" + arg.replace("'", "'\\''") + "'" for arg in record.args)
    return " ".join((record.path, *quoted))


def status_text(record: ContainerRecord, now_ns: int) -> str:
    """Print ``Up 3 seconds (healthy)``, ``Exited (0) 2 minutes ago`` and their like."""
    match record.state:
        case State.RUNNING | State.PAUSED:
            text = f"Up {ago(now_ns - record.started_ns)}"
            if record.state is State.PAUSED:
                return f"{text} (Paused)"
            if record.health is not None and record.health.status != "none":
                shown = "health: starting" if record.health.status == "starting" else record.health.status
                return f"{text} ({shown})"
            return text
        case State.RESTARTING:
            return f"Restarting ({record.exit_code}) {ago(now_ns - record.finished_ns)} ago"
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"
        case _ if not record.started_ns:
            return "Created"
        case _:
            return f"Exited ({record.exit_code}) {ago(now_ns - record.finished_ns)} ago"


def ago(span_ns: int) -> str:
    """Print a span of time in words, as docker/go-units' HumanDuration."""
    seconds = max(0, span_ns // 1_000_000_000)
    minutes, hours = seconds // 60, round(seconds / 3600)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
        (True, f"{hours // 24 // 365} years"),
    )
    return next(words for fits, words in steps if fits)


def until_ns(filters: Filters, now_ns: int) -> int | None:
    """Read the filter ``until``: a duration back from now, seconds since the epoch, or a date."""
    values = filters.get("until")
    if not values:
        return None
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    text = values[0]
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return int(float(text) * 1_000_000_000)
    try:
        return now_ns - parse_duration_ns(text)
    except InvalidArgument:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidFilter("until", text) from None
    return int(moment.timestamp() * 1_000_000_000)


def processes(table: str, pids: Sequence[int]) -> dict[str, Any]:
    """Keep those rows of ps's output that are about `pids`. Raises `InvalidArgument` without a PID column."""
    lines = table.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    at = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > at and fields[at] in wanted:
            rows.append(fields)
    return {"Titles": titles, "Processes": rows}


def has_volume(record: ContainerRecord, name: str) -> bool:
    """Tell whether a container mounts a volume."""
    return any(point.type is MountType.VOLUME and point.name == name for point in record.mounts)
