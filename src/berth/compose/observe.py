"""Look once at what runs: the containers, networks and volumes of a project."""

from collections.abc import Iterable

from berth.client.errors import ApiError
from berth.client.http import Client, part
from berth.compose import labels
from berth.compose.seen import Container, Json, Observed, container_from


def containers(
    client: Client, project: str, *, services: Iterable[str] = (), every: bool = True
) -> tuple[Container, ...]:
    """List the containers of a project, by service and number; one-offs last."""
    query = {"all": every, "filters": {"label": [f"{labels.PROJECT}={project}"]}}
    wanted = set(services)
    found = [container_from(summary) for summary in client.get("/containers/json", query) or ()]
    found = [container for container in found if not wanted or container.service in wanted]
    return tuple(sorted(found, key=lambda c: (c.oneoff, c.service, c.number, c.name)))


def networks(client: Client, project: str) -> dict[str, Json]:
    """List the networks of a project by name."""
    query = {"filters": {"label": [f"{labels.PROJECT}={project}"]}}
    return {network["Name"]: network for network in client.get("/networks", query) or ()}


def volumes(client: Client, project: str) -> dict[str, Json]:
    """List the volumes of a project by name."""
    query = {"filters": {"label": [f"{labels.PROJECT}={project}"]}}
    return {volume["Name"]: volume for volume in (client.get("/volumes", query) or {}).get("Volumes") or ()}


def image(client: Client, reference: str) -> Json | None:
    """Inspect an image; None if the engine has none of that name."""
    try:
        found: Json = client.get(f"/images/{reference}/json")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def network(client: Client, reference: str) -> Json | None:
    """Inspect a network by exact name or id; None if there is none."""
    try:
        found: Json = client.get(f"/networks/{part(reference)}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found if reference in {found.get("Name"), found.get("Id")} else None


def volume(client: Client, name: str) -> Json | None:
    """Inspect a volume; None if there is none."""
    try:
        found: Json = client.get(f"/volumes/{part(name)}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return found


def observe(
    client: Client, project: str, *, want_networks: Iterable[str], want_volumes: Iterable[str], images: Iterable[str]
) -> Observed:
    """Look at everything a plan needs; wanted names that bear no label of ours are looked up one by one."""
    seen_networks = networks(client, project)
    seen_volumes = volumes(client, project)
    for name in want_networks:
        if name not in seen_networks and (found := network(client, name)):
            seen_networks[name] = found
    for name in want_volumes:
        if name not in seen_volumes and (found := volume(client, name)):
            seen_volumes[name] = found
    return Observed(
        containers=containers(client, project),
        networks=seen_networks,
        volumes=seen_volumes,
        images={reference: image(client, reference) for reference in dict.fromkeys(images)},
    )
