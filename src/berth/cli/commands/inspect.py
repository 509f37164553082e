"""`berth inspect` and its forms for one kind of object."""

from __future__ import annotations

import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_INSPECT
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from berth.cli.session import Session

    Getter = Callable[[Session, Parsed, str], Any]


def _container(session: Session, parsed: Parsed, name: str) -> Any:  # noqa: ANN401
    return session.client.get(f"/containers/{part(name)}/json", {"size": True} if parsed.flag("size") else None)


def _image(session: Session, parsed: Parsed, name: str) -> Any:  # noqa: ANN401, ARG001
    return session.client.get(f"/images/{name.replace('%', '%25').replace(' ', '%20')}/json")


def _network(session: Session, parsed: Parsed, name: str) -> Any:  # noqa: ANN401
    query = {"verbose": True} if "verbose" in parsed.names() and parsed.flag("verbose") else None
    shown = session.client.get(f"/networks/{part(name)}", query)
    if query is not None:
        try:
            shown["Berth"] = session.client.get(f"/berth/networks/{part(shown['Id'])}")
        except ApiError as error:
            if error.status != 404:  # dockerd has no such page
                raise
    return shown


def _volume(session: Session, parsed: Parsed, name: str) -> Any:  # noqa: ANN401
    shown = session.client.get(f"/volumes/{part(name)}")
    names = parsed.names()
    if "verbose" in names and (parsed.flag("verbose") or parsed.flag("fresh")):
        query = {"fresh": True} if parsed.flag("fresh") else None
        try:
            more = session.client.get(f"/berth/volumes/{part(name)}", query)
        except ApiError as error:
            if error.status != 404:  # dockerd has no such page
                raise
        else:
            shown["Berth"] = {key: value for key, value in more.items() if key not in shown}
    return shown


_KINDS: dict[str, Getter] = {"container": _container, "image": _image, "network": _network, "volume": _volume}


def _any(session: Session, parsed: Parsed, name: str) -> Any:  # noqa: ANN401
    """Look for the name among all kinds of objects, containers first."""
    wanted = parsed.text("type")
    if wanted:
        if wanted not in _KINDS:
            known = ", ".join(f'"{kind}"' for kind in sorted(_KINDS))
            raise CommandFailed(f'unknown type: "{wanted}": must be one of {known}')
        return _KINDS[wanted](session, parsed, name)
    for get in _KINDS.values():
        try:
            return get(session, parsed, name)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
    raise LookupError(name)


def _inspect(get: Getter, *, times: bool = False) -> Callable[[Session, Parsed], int]:
    def run(session: Session, parsed: Parsed) -> int:
        found: list[Any] = []
        failures: list[str] = []
        for name in parsed.args:
            try:
                found.append(get(session, parsed, name))
            except ApiError as error:
                failures.append(f"Error response from daemon: {error.message}")
            except LookupError:
                failures.append(f"Error: No such object: {name}")
        _print(found, parsed.text("format"), failures, times=times)
        if failures:
            session.warn("\n".join(failures))
            return 1
        return 0

    return run


def _print(found: list[Any], form: str, failures: list[str], *, times: bool) -> None:
    from berth.base.gotemplate import GoTime, to_json

    if form in ("", "json"):
        if form:
            sys.stdout.write(to_json(found) + "\n")
        else:
            sys.stdout.write((to_json(found, indent=4) if found else "[]") + "\n")
        return
    from berth.cli.formatting import compiled

    render = compiled(form)
    if not found and failures:
        sys.stdout.write("\n")
    for value in found:
        if times and isinstance(value.get("Created"), str):
            value["Created"] = GoTime(value["Created"])
        try:
            text = render(value)
        except CommandFailed:
            sys.stdout.write("\n")  # as Docker's client does, to the joy of scripts that count lines
            raise
        sys.stdout.write(text + "\n")


_FORMAT = Flag("format", "f", "string", FORMAT_INSPECT)
_SIZE = Flag("size", "s", "bool", "Display total file sizes")

ANY = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    _inspect(_any),
    (
        _FORMAT,
        Flag("size", "s", "bool", "Display total file sizes if the type is container"),
        Flag("type", "", "string", "Only inspect objects of the given type"),
    ),
    least=1,
    most=None,
)
CONTAINER = Command("[OPTIONS] CONTAINER [CONTAINER...]", _inspect(_container), (_FORMAT, _SIZE), least=1, most=None)
IMAGE = Command("[OPTIONS] IMAGE [IMAGE...]", _inspect(_image), (_FORMAT,), least=1, most=None)
NETWORK = Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    _inspect(_network, times=True),
    (_FORMAT, Flag("verbose", "v", "bool", "Verbose output for diagnostics")),
    least=1,
    most=None,
)
VOLUME = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _inspect(_volume),
    (
        _FORMAT,
        Flag("verbose", "v", "bool", "Show users, size and its age, protection and last use as well"),
        Flag("fresh", "", "bool", "The same, with the size measured now"),
    ),
    least=1,
    most=None,
)
