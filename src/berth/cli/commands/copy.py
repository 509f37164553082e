"""`berth cp`."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session
    from berth.client.http import Client

#: Go's bit for a directory and for a symbolic link in a file mode.
_GO_DIRECTORY = 1 << 31
_GO_LINK = 1 << 27


def split_argument(text: str) -> tuple[str, str]:
    """Split ``container:path``; a local path has no container, also if it holds a colon after a dot or a slash."""
    if os.path.isabs(text):
        return "", text
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return "", text
    return container, path


def _cp(session: Session, parsed: Parsed) -> None:
    source_container, source = split_argument(parsed.args[0])
    target_container, target = split_argument(parsed.args[1])
    if not source:
        raise CommandFailed("source can not be empty")
    if not target:
        raise CommandFailed("destination can not be empty")
    if source_container and target_container:
        raise CommandFailed("copying between containers is not supported")
    if source_container:
        count = copy_out(session, parsed, f"/containers/{part(source_container)}/archive", source, target)
        where = target if target == "-" else os.path.abspath(target)
    elif target_container:
        count = copy_in(session, parsed, f"/containers/{part(target_container)}/archive", source, target)
        where = f"{target_container}:{target}"
    else:
        raise CommandFailed("must specify at least one container source")
    if target != "-" and not parsed.flag("quiet") and os.isatty(2):
        from berth.cli.human import size

        session.warn(f"Successfully copied {size(count)} to {where}")


def _stat(client: Client, archive: str, path: str) -> dict[str, Any]:
    import base64
    import json

    try:
        response = client.stream("HEAD", archive, {"path": path})
    except ApiError as error:
        if error.status != 404:
            client.stream("GET", archive, {"path": path}).close()  # what answers HEAD has no body to say why
        raise
    found: dict[str, Any] = json.loads(base64.b64decode(response.headers["x-docker-container-path-stat"]))
    return found


def copy_out(session: Session, parsed: Parsed, archive: str, source: str, target: str) -> int:
    """Copy out of what has its files at the page `archive`; return the bytes."""
    client = session.client
    if _is_device(target):
        raise CommandFailed(f'invalid output path: "{target}" must be a directory or a regular file: got a device')
    if parsed.flag("follow-link"):
        stat = _stat(client, archive, source)
        if stat["mode"] & _GO_LINK:
            link = stat["linkTarget"]
            source = link if os.path.isabs(link) else os.path.join(os.path.dirname(source), link)
    response = client.stream("GET", archive, {"path": source})
    if target == "-":
        if os.isatty(1):
            raise CommandFailed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        count = 0
        for piece in response.chunks():
            sys.stdout.buffer.write(piece)
            count += len(piece)
        sys.stdout.buffer.flush()
        return count
    from berth.cli.archives import place_in, unpack

    stat = _header_stat(response.headers)
    directory = bool(stat["mode"] & _GO_DIRECTORY)
    name = os.path.basename(source.rstrip("/")) or stat["name"].strip("/")
    contents = source in (".", "/") or source.endswith("/.")
    root = place_in(
        target,
        name,
        directory=directory,
        contents=contents,
        exists=os.path.exists(target),
        is_directory=os.path.isdir(target),
        parent=os.path.isdir(os.path.dirname(os.path.abspath(target.rstrip("/")))),
    )
    return unpack(response.chunks(), root, owners=parsed.flag("archive"))


def _is_device(path: str) -> bool:
    """Tell whether there is a device, which a file that is copied would replace."""
    import stat

    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _header_stat(headers: dict[str, str]) -> dict[str, Any]:
    import base64
    import json

    found: dict[str, Any] = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    return found


def copy_in(session: Session, parsed: Parsed, archive: str, source: str, target: str) -> int:
    """Copy into what has its files at the page `archive`; return the bytes."""
    client = session.client
    query: dict[str, object] = {"noOverwriteDirNonDir": True, "copyUIDGID": True if parsed.flag("archive") else None}
    counted = _Counter()
    if source == "-":
        client.put(archive, {"path": target, **query}, counted.watch(iter(lambda: sys.stdin.buffer.read(65_536), b"")))
        return counted.count
    from berth.cli.archives import pack, place_in

    if not os.path.lexists(source.rstrip("/") or "/"):
        raise CommandFailed(f"lstat {os.path.abspath(source)}: no such file or directory")
    follow = parsed.flag("follow-link")
    directory = os.path.isdir(source) and (follow or source.endswith("/") or not os.path.islink(source))
    exists, is_directory, target = _target_stat(client, archive, target)
    parent = True  # the engine says so itself if there is none
    name = os.path.basename(os.path.abspath(source))
    contents = source == "." or source.endswith("/.")
    final = place_in(
        target, name, directory=directory, contents=contents, exists=exists, is_directory=is_directory, parent=parent
    )
    into, rename = os.path.split(final.rstrip("/"))
    if final.rstrip("/") in ("", "."):
        into, rename = "/", "."
    body = counted.watch(pack(source, rename, follow=follow))
    client.put(archive, {"path": into or "/", **query}, body)
    return counted.count


def _target_stat(client: Client, archive: str, target: str) -> tuple[bool, bool, str]:
    try:
        stat = _stat(client, archive, target)
    except ApiError as error:
        if error.status == 404 and not _is_missing(error.message):
            return False, False, target
        raise
    if stat["mode"] & _GO_LINK:
        link = stat["linkTarget"]
        target = link if os.path.isabs(link) else os.path.join(os.path.dirname(target), link)
        try:
            stat = _stat(client, archive, target)
        except ApiError as error:
            if error.status == 404:
                return False, False, target
            raise
    return True, bool(stat["mode"] & _GO_DIRECTORY), target


def _is_missing(message: str) -> bool:
    """Tell whether the container or volume itself is not there."""
    return message.lower().startswith("no such container") or message.endswith("no such volume")


class _Counter:
    """Counts the bytes that pass."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self, pieces: Any) -> Any:  # noqa: ANN401
        for piece in pieces:
            self.count += len(piece)
            yield piece


CP = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    _cp,
    (
        Flag("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
        Flag("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
        Flag(
            "quiet",
            "q",
            "bool",
            "Suppress progress output during copy. "
            "Progress output is automatically suppressed if no terminal is attached",
        ),
    ),
    least=2,
    most=2,
    long=(
        "Copy files/folders between a container and the local filesystem\n\n"
        "Use '-' as the source to read a tar archive from stdin\n"
        "and extract it to a directory destination in a container.\n"
        "Use '-' as the destination to stream a tar archive of a\n"
        "container source to stdout."
    ),
)
