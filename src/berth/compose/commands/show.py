"""ps, ls, images, port, top, volumes, version: look and print."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import berth
from berth.base.clock import SystemClock
from berth.compose import labels, observe
from berth.compose.arguments import Parsed
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.seen import Container, container_from
from berth.compose.session import Session
from berth.compose.table import check_format, is_template, json_lines, table, templated

_PERIODS = (
    (60, 60, "seconds"),
    (3600, 60, "minutes"),
    (86_400 * 2, 3600, "hours"),
    (86_400 * 14, 86_400, "days"),
    (86_400 * 60, 604_800, "weeks"),
)


def ago(seconds: int) -> str:
    """Say how long ago something was, in the words of Docker's tables."""
    if seconds < 1:
        return "Less than a second ago"
    if seconds == 1:
        return "1 second ago"
    if seconds < 60:
        return f"{seconds} seconds ago"
    if seconds < 120:
        return "About a minute ago"
    if 3600 <= seconds < 7200:
        return "About an hour ago"
    for limit, unit, name in _PERIODS:
        if seconds < limit:
            return f"{seconds // unit} {name} ago"
    months = seconds // (86_400 * 30)
    return f"{months} months ago" if months < 24 else f"{months // 12} years ago"


def ports_text(entries: Iterable[dict[str, Any]]) -> str:
    """Print published and exposed ports."""
    found = []
    for entry in sorted(
        entries, key=lambda e: (e.get("PrivatePort", 0), e.get("Type", ""), ":" in e.get("IP", ""), e.get("IP", ""))
    ):
        inner = f"{entry.get('PrivatePort')}/{entry.get('Type', 'tcp')}"
        address = entry.get("IP") or ""
        if entry.get("PublicPort"):
            shown = f"[{address}]" if ":" in address else address
            found.append(f"{shown}:{entry['PublicPort']}->{inner}" if shown else f"{entry['PublicPort']}->{inner}")
        else:
            found.append(inner)
    return ", ".join(dict.fromkeys(found))


def shortened(text: str, width: int, *, full: bool) -> str:
    """Cut a text to a width, with an ellipsis."""
    return text if full or len(text) <= width else text[: width - 1] + "…"


def _chosen(session: Session, flags: Parsed, *, oneoffs: bool = False) -> tuple[str, list[Container]]:
    """Return the project's name and the containers of the services named."""
    place = session.place(need_file=False)
    if place.name is not None and not place.files:
        name, known = place.name, None
    else:
        project = session.existing()
        name, known = project.name, {*project.services, *project.disabled}
    found = observe.containers(session.client, name)
    for wanted in flags.arguments:
        if (known is not None and wanted not in known) or (known is None and all(c.service != wanted for c in found)):
            raise ComposeFault(f"no such service: {wanted}")
    wanted_services = set(flags.arguments)
    return name, [
        c for c in found if (not wanted_services or c.service in wanted_services) and (oneoffs or not c.oneoff)
    ]


def ps(session: Session, flags: Parsed) -> int:
    """List the containers of the project."""
    form = flags.text("format")
    style = "template" if is_template(form) else check_format(form)
    states = {state for text in flags.all("status") for state in text.split(",")}
    for text in flags.all("filter"):
        key, _, value = text.partition("=")
        if key != "status":
            raise BadUsage(f"unknown filter {key}")
        states.add(value)
    name, found = _chosen(session, flags, oneoffs=True)
    every = flags.has("all") or bool(states)
    found = [
        c
        for c in found
        if (every or c.alive) and (not states or c.state in states) and (not c.oneoff or every or c.alive)
    ]
    if flags.has("quiet"):
        print("".join(f"{c.id}\n" for c in found), end="")
        return 0
    if flags.has("services"):
        print("".join(f"{service}\n" for service in sorted({c.service for c in found})), end="")
        return 0
    if style == "json":
        print(json_lines(_record(name, container) for container in found), end="")
        return 0
    if style == "template":
        print(templated(form, (_record(name, container) for container in found)), end="")
        return 0
    full = flags.has("no-trunc")
    now = SystemClock().now_ns() // 10**9
    rows = []
    for container in found:
        summary = container.summary
        rows.append(
            [
                container.name,
                summary.get("Image", ""),
                shortened(json.dumps(summary.get("Command", "")), 22, full=full)
                if full
                else _command(summary.get("Command", "")),
                container.service,
                ago(now - int(summary.get("Created") or now)),
                summary.get("Status", ""),
                ports_text(summary.get("Ports") or ()),
            ]
        )
    print(table(("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"), rows), end="")
    return 0


def _command(text: str) -> str:
    return json.dumps(shortened(text, 20, full=False), ensure_ascii=False)


def _record(project: str, container: Container) -> dict[str, Any]:
    """Return what `ps --format json` prints for a container."""
    summary = container.summary
    status = summary.get("Status", "")
    code = 0
    if status.startswith("Exited (") and status[8 : status.index(")")].lstrip("-").isdecimal():
        code = int(status[8 : status.index(")")])
    health = next(
        (word for word in ("starting", "healthy", "unhealthy") if f"({word})" in status or f": {word})" in status), ""
    )
    return {
        "Command": json.dumps(summary.get("Command", ""), ensure_ascii=False),
        "CreatedAt": summary.get("Created", 0),
        "ExitCode": code,
        "Health": health,
        "ID": container.id,
        "Image": summary.get("Image", ""),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.labels.items())),
        "LocalVolumes": str(sum(1 for mount in container.mounts if mount.get("Driver") == "local")),
        "Mounts": ",".join(mount.get("Name") or mount.get("Source", "") for mount in container.mounts),
        "Name": container.name,
        "Names": ",".join(name.lstrip("/") for name in summary.get("Names") or ()),
        "Networks": ",".join(container.networks),
        "Ports": ports_text(summary.get("Ports") or ()),
        "Project": project,
        "Publishers": [
            {
                "URL": e.get("IP", ""),
                "TargetPort": e.get("PrivatePort", 0),
                "PublishedPort": e.get("PublicPort", 0),
                "Protocol": e.get("Type", ""),
            }
            for e in summary.get("Ports") or ()
        ],
        "RunningFor": ago(SystemClock().now_ns() // 10**9 - int(summary.get("Created") or 0)),
        "Service": container.service,
        "Size": "0B",
        "State": container.state,
        "Status": status,
    }


def ls(session: Session, flags: Parsed) -> int:
    """List the projects the engine runs."""
    style = check_format(flags.text("format"))
    names = [text.removeprefix("name=") for text in flags.all("filter")]
    query = {"all": flags.has("all"), "filters": {"label": [labels.PROJECT]}}
    projects: dict[str, list[Container]] = {}
    for summary in session.client.get("/containers/json", query) or ():
        container = container_from(summary)
        projects.setdefault(container.labels[labels.PROJECT], []).append(container)
    found = {name: projects[name] for name in sorted(projects) if not names or any(part in name for part in names)}
    if flags.has("quiet"):
        print("".join(f"{name}\n" for name in found), end="")
        return 0
    records = []
    for name, members in found.items():
        counts: dict[str, int] = {}
        for container in members:
            counts[container.state] = counts.get(container.state, 0) + 1
        status = ", ".join(f"{state}({count})" for state, count in sorted(counts.items()))
        files = next((c.labels[labels.CONFIG_FILES] for c in members if c.labels.get(labels.CONFIG_FILES)), "N/A")
        records.append({"Name": name, "Status": status, "ConfigFiles": files})
    if style == "json":
        print(json.dumps(records, separators=(",", ":"), ensure_ascii=False))
    else:
        print(table(("NAME", "STATUS", "CONFIG FILES"), [list(record.values()) for record in records]), end="")
    return 0


def images(session: Session, flags: Parsed) -> int:
    """List the images the project's containers were made from."""
    from berth.base.units import human_size

    style = check_format(flags.text("format"))
    _, found = _chosen(session, flags)
    inspected = {container.image_id: observe.image(session.client, container.image_id) for container in found}
    if flags.has("quiet"):
        print("".join(f"{identity.removeprefix('sha256:')}\n" for identity in sorted(inspected)), end="")
        return 0
    records = []
    for container in found:
        image = inspected[container.image_id] or {}
        reference = container.summary.get("Image", "")
        tags = image.get("RepoTags") or []
        named = next((tag for tag in tags if tag.startswith(reference)), tags[0] if tags else "<none>:<none>")
        repository, _, tag = named.rpartition(":")
        records.append(
            {
                "ID": container.image_id,
                "ContainerName": container.name,
                "Repository": repository,
                "Tag": tag,
                "Size": int(image.get("Size") or 0),
            }
        )
    if style == "json":
        print(json.dumps(records, separators=(",", ":"), ensure_ascii=False))
        return 0
    rows = [
        [
            str(r["ContainerName"]),
            str(r["Repository"]),
            str(r["Tag"]),
            str(r["ID"]).removeprefix("sha256:")[:12],
            human_size(int(r["Size"]), digits=3),
        ]
        for r in records
    ]
    print(table(("CONTAINER", "REPOSITORY", "TAG", "IMAGE ID", "SIZE"), rows), end="")
    return 0


def port(session: Session, flags: Parsed) -> int:
    """Print where a port of a service is published."""
    if len(flags.arguments) != 2 or not flags.arguments[1].partition("/")[0].isdecimal():
        raise BadUsage("port needs SERVICE and PRIVATE_PORT")
    service, wanted = flags.arguments
    number, _, protocol = wanted.partition("/")
    protocol = flags.text("protocol") or protocol or "tcp"
    container = session.one(session.existing(), service, flags.integer("index"))
    for entry in container.summary.get("Ports") or ():
        if entry.get("PrivatePort") == int(number) and entry.get("Type") == protocol and entry.get("PublicPort"):
            address = entry.get("IP") or ""
            print(f"[{address}]:{entry['PublicPort']}" if ":" in address else f"{address}:{entry['PublicPort']}")
            return 0
    raise ComposeFault(f"no port {number}/{protocol} for container {container.name}")


def top(session: Session, flags: Parsed) -> int:
    """Show the processes of the project's containers."""
    _, found = _chosen(session, flags)
    head: list[str] = []
    rows = []
    for container in found:
        if container.alive:
            answer = session.client.get(f"/containers/{container.id}/top")
            head = ["SERVICE", "#", *answer["Titles"]]
            rows += [[container.service, str(container.number), *row] for row in answer["Processes"] or ()]
    if rows:
        print(table(head, rows), end="")
    return 0


def volumes(session: Session, flags: Parsed) -> int:
    """List the volumes of the project."""
    form = flags.text("format")
    style = "template" if is_template(form) else check_format(form)
    project = session.existing(flags.arguments)
    wanted = {
        project.volumes[m["source"]]["name"]
        for name in flags.arguments
        for m in project.services[name].get("volumes") or ()
        if m["type"] == "volume" and m.get("source") in project.volumes
    }
    found = [
        v
        for name, v in sorted(observe.volumes(session.client, project.name).items())
        if not flags.arguments or name in wanted
    ]
    if flags.has("quiet"):
        print("".join(f"{volume['Name']}\n" for volume in found), end="")
    elif style == "table":
        print(table(("DRIVER", "VOLUME NAME"), [[v["Driver"], v["Name"]] for v in found]), end="")
    else:
        records = [
            {
                "Driver": v["Driver"],
                "Labels": ",".join(f"{key}={value}" for key, value in sorted((v.get("Labels") or {}).items())),
                "Mountpoint": v.get("Mountpoint", ""),
                "Name": v["Name"],
                "Scope": v.get("Scope", "local"),
            }
            for v in found
        ]
        print(json_lines(records) if style == "json" else templated(form, records), end="")
    return 0


def version(_session: Session, flags: Parsed) -> int:
    """Print the version."""
    if flags.has("short"):
        print(berth.VERSION)
    elif flags.text("format") == "json":
        print(json.dumps({"version": f"v{berth.VERSION}"}, separators=(",", ":")))
    else:
        print(f"Berth Compose version v{berth.VERSION}")
    return 0


def unavailable(_session: Session, _flags: Parsed) -> int:
    """Say that a command is not there yet."""
    print("this command is not available yet", file=sys.stderr)
    return 1
