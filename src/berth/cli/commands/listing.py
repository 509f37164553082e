"""`berth ps`: the list of containers."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, ellipsis, filters_of, label_lookup, labels_text, print_rows, short_id
from berth.cli.human import ago, local_time, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session

    Summary = dict[str, Any]

_DEFAULT_TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"


def columns(*, full: bool) -> Columns:
    """Return the fields of a container in a list."""
    return {
        "ID": ("CONTAINER ID", lambda it: it["Id"] if full else it["Id"][:12]),
        "Names": ("NAMES", lambda it: _names(it, full=full)),
        "Image": ("IMAGE", lambda it: image_name(it, full=full)),
        "Command": ("COMMAND", lambda it: _quoted(it["Command"] if full else ellipsis(it["Command"], 20))),
        "CreatedAt": ("CREATED AT", lambda it: local_time(it["Created"])),
        "RunningFor": ("CREATED", lambda it: ago(it["Created"])),
        "Ports": ("PORTS", lambda it: ports_text(it.get("Ports") or [])),
        "State": ("STATE", lambda it: it.get("State", "")),
        "Status": ("STATUS", lambda it: it.get("Status", "")),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", lambda it: labels_text(it.get("Labels"))),
        "Label": ("", lambda it: label_lookup(it.get("Labels"))),
        "Mounts": ("MOUNTS", lambda it: _mounts(it, full=full)),
        "LocalVolumes": (
            "LOCAL VOLUMES",
            lambda it: str(sum(1 for mount in it.get("Mounts") or () if mount.get("Driver") == "local")),
        ),
        "Networks": (
            "NETWORKS",
            lambda it: ",".join(sorted((it.get("NetworkSettings") or {}).get("Networks") or ())),
        ),
        "Platform": ("PLATFORM", _platform),
    }


def _platform(it: Summary) -> str | None:
    platform = (it.get("ImageManifestDescriptor") or {}).get("platform")
    return f"{platform['os']}/{platform['architecture']}" if platform else None


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _names(it: Summary, *, full: bool) -> str:
    names = [name.removeprefix("/") for name in it.get("Names") or ()]
    if not full:  # the others are names other containers use for links
        names = [name for name in names if "/" not in name]
    return ",".join(names)


def image_name(it: Summary, *, full: bool) -> str:
    """Return the image's name as people know it."""
    image: str = it["Image"]
    if not image:
        return "<no image>"
    if full:
        return image
    identifier = short_id(it.get("ImageID", ""))
    if identifier == short_id(image):
        return identifier
    return familiar(image.partition("@")[0])


def familiar(name: str) -> str:
    """Leave out the default registry and its ``library/``."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def _size(it: Summary) -> str:
    own = size(it.get("SizeRw") or 0)
    whole = it.get("SizeRootFs") or 0
    return f"{own} (virtual {size(whole)})" if whole > 0 else own


def _mounts(it: Summary, *, full: bool) -> str:
    names = [mount.get("Name") or mount.get("Source", "") for mount in it.get("Mounts") or ()]
    return ",".join(names if full else [ellipsis(name, 15) for name in names])


def ports_text(ports: list[dict[str, Any]]) -> str:
    """Print ports; neighbours that map to themselves are drawn together: ``0.0.0.0:80-82->80-82/tcp``."""
    groups: dict[str, list[int]] = {}
    out: list[str] = []
    mapped: list[str] = []

    def grouped(key: str, first: int, last: int) -> str:
        address, _, protocol = key.rpartition("/")
        text = str(first) if first == last else f"{first}-{last}"
        return f"{_at(address, text)}->{text}/{protocol}" if address else f"{text}/{protocol}"

    for port in sorted(
        ports, key=lambda it: (it["PrivatePort"], it.get("IP", ""), it.get("PublicPort", 0), it["Type"])
    ):
        private, address, protocol = port["PrivatePort"], port.get("IP", ""), port["Type"]
        key = protocol
        if address:
            if port.get("PublicPort", 0) != private:
                mapped.append(f"{_at(address, str(port.get('PublicPort', 0)))}->{private}/{protocol}")
                continue
            key = f"{address}/{protocol}"
        group = groups.get(key)
        if group is None:
            groups[key] = [private, private]
        elif private == group[1] + 1:
            group[1] = private
        else:
            out.append(grouped(key, *group))
            groups[key] = [private, private]
    out.extend(grouped(key, *group) for key, group in groups.items())
    return ", ".join(out + mapped)


def _at(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _ps(session: Session, parsed: Parsed) -> None:
    form = parsed.text("format")
    if not form and not parsed.flag("quiet"):
        form = session.settings.text("psFormat")
    with_size = parsed.flag("size") or (
        not parsed.flag("quiet") and (".Size" in form or "json .}" in form.replace(" }", "}"))
    )
    limit = 1 if parsed.flag("latest") and not parsed.given("last") else parsed.number("last")
    containers = session.client.get(
        "/containers/json",
        {
            "all": True if parsed.flag("all") else None,
            "limit": limit if limit > 0 else None,
            "size": True if with_size else None,
            "filters": filters_of(parsed),
        },
    )
    print_rows(
        containers,
        columns(full=parsed.flag("no-trunc")),
        form,
        default=_DEFAULT_TABLE + ("\t{{.Size}}" if parsed.flag("size") else ""),
        quiet="{{.ID}}" if parsed.flag("quiet") else "",
        kind="*formatter.ContainerContext",
    )


PS = Command(
    "[OPTIONS]",
    _ps,
    (
        Flag("quiet", "q", "bool", "Only display container IDs"),
        Flag("size", "s", "bool", "Display total file sizes"),
        Flag("all", "a", "bool", "Show all containers (default shows just running)"),
        Flag("no-trunc", "", "bool", "Don't truncate output"),
        Flag("latest", "l", "bool", "Show the latest created container (includes all states)"),
        Flag("last", "n", "int", "Show n last created containers (includes all states)", default=-1),
        Flag("format", "", "string", FORMAT_LIST),
        Flag("filter", "f", "filter", "Filter output based on conditions provided"),
    ),
)
