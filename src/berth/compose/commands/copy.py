"""cp: copy files between the host and a container."""

import io
import os
import sys
import tarfile

from berth.client.errors import ApiError
from berth.client.http import Client
from berth.compose import observe
from berth.compose.arguments import Parsed
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.seen import Container
from berth.compose.session import Session


def _side(text: str) -> tuple[str, str]:
    """Split `SERVICE:PATH`; a path of the host has no service."""
    service, sign, path = text.partition(":")
    if not sign or text.startswith(("/", ".")):
        return "", text
    return service, path


def cp(session: Session, flags: Parsed) -> int:
    """Copy one way or the other; `-` is a tar on standard input or output."""
    if len(flags.arguments) != 2:
        raise BadUsage("cp needs SOURCE and DEST")
    (from_service, source), (to_service, target) = (_side(text) for text in flags.arguments)
    if bool(from_service) == bool(to_service):
        raise ComposeFault("copying between services is not supported" if from_service else "unknown copy direction")
    project = session.existing()
    client = session.client
    if from_service:
        _out(client, session.one(project, from_service, flags.integer("index")), source, target)
        return 0
    if flags.has("all"):
        found = [c for c in observe.containers(client, project.name) if c.service == to_service]
    else:
        found = [session.one(project, to_service, flags.integer("index"))]
    for container in found:
        _in(client, container, source, target, follow=flags.has("follow-link"))
    return 0


def _is_directory(client: Client, container: str, path: str) -> bool:
    """Whether a path in a container is a directory."""
    import base64
    import json

    try:
        with client.stream("HEAD", f"/containers/{container}/archive", {"path": path}) as answer:
            stat = json.loads(base64.b64decode(answer.headers.get("x-docker-container-path-stat", "e30=")))
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    # The top bit of Go's file mode says directory.
    return bool(int(stat.get("mode", 0)) & (1 << 31))


def _in(client: Client, container: Container, source: str, target: str, *, follow: bool) -> None:
    if source == "-":
        client.put(f"/containers/{container.id}/archive", {"path": target}, sys.stdin.buffer.read())
        return
    path = os.path.realpath(source) if follow else source
    if not os.path.lexists(path):
        raise ComposeFault(f"{source}: no such file or directory")
    content_only = source.endswith("/.")
    if _is_directory(client, container.id, target):
        where, name = target, "." if content_only else os.path.basename(os.path.abspath(path))
    else:
        where, name = os.path.dirname(target.rstrip("/")) or "/", os.path.basename(target.rstrip("/"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=name)
    client.put(f"/containers/{container.id}/archive", {"path": where}, buffer.getvalue())


def _out(client: Client, container: Container, source: str, target: str) -> None:
    with client.stream("GET", f"/containers/{container.id}/archive", {"path": source}) as answer:
        if target == "-":
            for chunk in answer.chunks():
                sys.stdout.buffer.write(chunk)
            return
        data = answer.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        root = members[0].name.split("/")[0] if members else ""
        into = os.path.isdir(target)
        for member in members:
            rest = member.name[len(root) :].lstrip("/")
            if into:
                member.name = member.name if not source.endswith("/.") else rest or "."
            else:
                member.name = (
                    os.path.join(os.path.basename(target.rstrip("/")), rest)
                    if rest
                    else os.path.basename(target.rstrip("/"))
                )
        _extract(archive, members, target if into else os.path.dirname(os.path.abspath(target.rstrip("/"))))


def _extract(archive: tarfile.TarFile, members: list[tarfile.TarInfo], into: str) -> None:
    """Unpack below a directory; what comes from a container may not lead anywhere else.

    The library's own filters came with Python 3.11.4 only.
    """
    root = os.path.realpath(into)
    for member in members:
        parent = os.path.realpath(os.path.join(root, os.path.dirname(member.name)))
        if os.path.isabs(member.name) or os.path.commonpath([root, parent]) != root or ".." in member.name.split("/"):
            raise ComposeFault(f"refusing to write {member.name} outside {into}")
        if member.isdev():
            continue
        place = os.path.join(parent, os.path.basename(member.name))
        if os.path.islink(place):
            os.unlink(place)
        archive.extract(member, root, numeric_owner=True)
