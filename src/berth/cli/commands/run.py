"""`berth run` and `berth create`."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.container_body import container_body
from berth.cli.container_flags import CONTAINER
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session


#: What the names of nearly all images are made of; others are looked at more closely.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_/:@")


def _create_container(session: Session, parsed: Parsed, body: dict[str, Any]) -> str:
    """Create the container, pulling its image if the policy says so; returns its id."""
    policy = parsed.text("pull")
    if policy not in ("always", "missing", "never", ""):
        raise CommandFailed(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"', 125)
    if not _PLAIN.issuperset(body["Image"]):
        from berth.cli.commands.transfer import check_reference

        check_reference(body["Image"])
    cidfile = parsed.text("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise CommandFailed(
            f"container ID file found, make sure the other container isn't running or delete {cidfile}", 125
        )
    image = body["Image"]
    if policy == "always":
        _pull(session, parsed, image)
    query = {"name": parsed.text("name") or None, "platform": parsed.text("platform") or None}
    try:
        answer = session.client.post("/containers/create", query, body)
    except ApiError as error:
        if not (error.status == 404 and "no such image" in error.message.lower() and policy in ("missing", "")):
            raise
        if not parsed.flag("quiet"):
            session.warn(f"Unable to find image '{_with_tag(image)}' locally")
        _pull(session, parsed, image)
        answer = session.client.post("/containers/create", query, body)
    for warning in answer.get("Warnings") or ():
        session.warn(f"WARNING: {warning}")
    if cidfile:
        with open(cidfile, "x", encoding="utf-8") as file:
            file.write(answer["Id"])
    return str(answer["Id"])


def _with_tag(image: str) -> str:
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in image else f"{image}:latest"


def _pull(session: Session, parsed: Parsed, image: str) -> None:
    from berth.cli.commands.transfer import pull

    pull(session, image, platform=parsed.text("platform"), quiet=parsed.flag("quiet"), out=sys.stderr)


def _create(session: Session, parsed: Parsed) -> None:
    body = container_body(parsed, detached=False, api=session.client.api_version())
    body["HostConfig"]["ConsoleSize"] = [0, 0]
    session.line(_create_container(session, parsed, body))


def _failed(error: ClientError | CommandFailed, path: str) -> CommandFailed:
    """Give a failure of `run` its exit status and its hint."""
    text = f"Error response from daemon: {error}" if isinstance(error, ApiError) else str(error)
    status = 125
    if isinstance(error, ApiError) and any(
        words in text
        for words in (
            "executable file not found",
            "no such file or directory",
            "system cannot find the file specified",
        )
    ):
        status = 127
    elif (isinstance(error, ApiError) and "permission denied" in text) or "is a directory" in text:
        status = 126
    return CommandFailed(f"berth: {text}\n\nRun '{path} --help' for more information", status)


def _run(session: Session, parsed: Parsed) -> int:
    try:
        return _run_container(session, parsed)
    except (ApiError, ClientError) as error:
        raise _failed(error, session.path) from None
    except CommandFailed as error:
        if error.status == 125 and not error.message.startswith("berth: "):
            raise _failed(error, session.path) from None
        raise


def _run_container(session: Session, parsed: Parsed) -> int:
    from berth.cli.streams import check_terminal, parse_detach_keys, window_size

    client = session.client
    detached = parsed.flag("detach")
    body = container_body(parsed, detached=detached, api=client.api_version())
    tty = body["Tty"]
    keys = parsed.text("detach-keys") or session.settings.text("detachKeys")
    detach_keys = parse_detach_keys(keys)
    if not detached:
        check_terminal(stdin=body["AttachStdin"], tty=tty)
    size = window_size() if tty else None
    body["HostConfig"]["ConsoleSize"] = list(size) if size else [0, 0]
    container = _create_container(session, parsed, body)
    path = f"/containers/{container}"
    if detached:
        client.post(f"{path}/start")
        session.line(container)
        return 0
    from berth.cli.following import attach, begin_wait, exit_status, follow, resizer, signal_proxy

    streams = [name for name in ("stdin", "stdout", "stderr") if body[f"Attach{name.capitalize()}"]]
    link = attach(client, container, streams, keys) if streams else None
    waiting = begin_wait(client, container, "removed" if parsed.flag("rm") else "next-exit")
    try:
        client.post(f"{path}/start")
    except ApiError as error:
        if link:
            link.close()
        if parsed.flag("rm"):
            _await_removal(waiting)
        raise _failed(error, session.path) from None
    if link is None:
        session.line(container)
        return 0
    proxy = signal_proxy(client, container) if parsed.flag("sig-proxy") and not tty else None
    stayed = follow(
        link,
        stdin=body["AttachStdin"],
        tty=tty,
        detach_keys=detach_keys,
        proxy=proxy,
        resize=resizer(client, path) if tty else None,
    )
    return exit_status(waiting) if stayed else 0


def _await_removal(waiting: Any) -> None:  # noqa: ANN401
    """Wait until a container that could not start is gone, so that its name is free when we return."""
    try:
        waiting.read()
    except ClientError:
        pass


_PULL = 'Pull image before {} ("always", "{}missing", "never")'

CREATE = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    _create,
    (*CONTAINER, Flag("pull", "", "string", _PULL.format("creating", "|"), default="missing")),
    least=1,
    most=None,
    interspersed=False,
)

RUN = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    _run,
    (
        *CONTAINER,
        Flag("pull", "", "string", _PULL.format("running", ""), default="missing"),
        Flag("detach", "d", "bool", "Run container in background and print container ID"),
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("sig-proxy", "", "bool", "Proxy received signals to the process", default=True),
    ),
    least=1,
    most=None,
    interspersed=False,
)
