"""`berth stop`, `kill`, `rm` and the other short verbs of containers."""

from __future__ import annotations

import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from berth.cli.session import Session


def _post_each(verb: str) -> Callable[[Session, Parsed], int]:
    def run(session: Session, parsed: Parsed) -> int:
        return session.each(parsed.args, lambda name: session.client.post(f"/containers/{part(name)}/{verb}"))

    return run


def _stopping(verb: str) -> Callable[[Session, Parsed], int]:
    def run(session: Session, parsed: Parsed) -> int:
        query = {
            "t": parsed.number("timeout") if parsed.given("timeout") else None,
            "signal": parsed.text("signal") or None,
        }
        return session.each(parsed.args, lambda it: session.client.post(f"/containers/{part(it)}/{verb}", query))

    return run


def _kill(session: Session, parsed: Parsed) -> int:
    query = {"signal": parsed.text("signal") or None}
    return session.each(parsed.args, lambda it: session.client.post(f"/containers/{part(it)}/kill", query))


def _remove(session: Session, parsed: Parsed) -> int:
    query = {
        "v": parsed.flag("volumes") or None,
        "link": parsed.flag("link") or None,
        "force": parsed.flag("force") or None,
    }
    force = parsed.flag("force")
    status = 0
    for given in parsed.args:
        name = given.strip("/")
        if not name:
            raise CommandFailed("container name cannot be empty")
        try:
            session.client.delete(f"/containers/{part(name)}", query)
        except ApiError as error:
            session.warn(f"Error response from daemon: {error.message}")
            if not (force and error.status == 404):
                status = 1
        else:
            session.line(given)
    return status


def _rename(session: Session, parsed: Parsed) -> None:
    old, new = (name.strip() for name in parsed.args)
    if not old or not new:
        raise CommandFailed("Error: Neither old nor new names may be empty")
    try:
        session.client.post(f"/containers/{part(old)}/rename", {"name": new})
    except ApiError as error:
        raise CommandFailed(
            f"Error response from daemon: {error}\nError: failed to rename container named {old}"
        ) from None


def _wait(session: Session, parsed: Parsed) -> int:
    def wait(name: str) -> None:
        answer = session.client.post(f"/containers/{part(name)}/wait")
        session.line(answer["StatusCode"])
        sys.stdout.flush()

    return session.each(parsed.args, wait, echo=False)


def _port(session: Session, parsed: Parsed) -> None:
    from berth.cli.natural import natural_key

    if parsed.args == ["ls"]:
        _all_ports(session, exposed=parsed.flag("exposed"))
        return
    container = session.client.get(f"/containers/{part(parsed.args[0])}/json")
    ports: dict[str, list[dict[str, str]] | None] = container["NetworkSettings"].get("Ports") or {}
    lines: list[str] = []
    if len(parsed.args) > 1:
        wanted = parsed.args[1]
        number, _, protocol = wanted.partition("/")
        protocol = protocol or "tcp"
        if not number.isdecimal() or int(number) > 65535:
            reason = "value out of range" if number.isdecimal() else "invalid syntax"
            raise CommandFailed(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": {reason}')
        bindings = ports.get(f"{number}/{protocol}")
        if not bindings:
            raise CommandFailed(f"Error: No public port '{wanted}' published for {parsed.args[0]}")
        lines = [_joined(binding) for binding in bindings]
    else:
        for port, bindings in ports.items():
            lines.extend(f"{port} -> {_joined(binding)}" for binding in bindings or ())
    if lines:
        session.line("\n".join(sorted(lines, key=natural_key)))


def _all_ports(session: Session, *, exposed: bool) -> None:
    """Print every port by which containers are reached."""
    from berth.cli.tabular import align

    lines = ["PORT\tCONTAINER\tTARGET\tWAY\tREACHED BY\tWHY"]
    for one in session.client.get("/berth/ports", {"exposed": "1"} if exposed else None):
        where = _joined({"HostIp": one["Address"], "HostPort": str(one["Port"])})
        target = f"{one['ContainerPort']}/{one['Protocol']}"
        cells = (f"{where}/{one['Protocol']}", one["Container"], target, one["Way"], one["Reach"], one["Why"])
        lines.append("\t".join(cells))
    session.line(align("\n".join(lines)))


def _joined(binding: dict[str, str]) -> str:
    address = binding.get("HostIp", "")
    return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"


def _top(session: Session, parsed: Parsed) -> None:
    from berth.cli.tabular import align

    query = {"ps_args": " ".join(parsed.args[1:]) or None}
    answer = session.client.get(f"/containers/{part(parsed.args[0])}/top", query)
    rows = [answer["Titles"], *(answer["Processes"] or [])]
    sys.stdout.write(align("\n".join("\t".join(row) for row in rows), minimum=20) + "\n")


def _diff(session: Session, parsed: Parsed) -> None:
    changes = session.client.get(f"/containers/{part(parsed.args[0])}/changes") or []
    for change in changes:
        session.line(f"{'CAD'[change['Kind']]} {change['Path']}")


def _export(session: Session, parsed: Parsed) -> None:
    from berth.cli.files import binary_output

    with binary_output(parsed.text("output")) as write:
        for piece in session.client.stream("GET", f"/containers/{part(parsed.args[0])}/export").chunks():
            write(piece)


_MANY = "CONTAINER [CONTAINER...]"
_SIGNAL = Flag("signal", "s", "string", "Signal to send to the container")
_TIMEOUT = Flag("timeout", "t", "int", "Seconds to wait before killing the container")
_TIME = Flag("time", "", "int", "Seconds to wait before killing the container", hidden=True, into="timeout")

STOP = Command(f"[OPTIONS] {_MANY}", _stopping("stop"), (_SIGNAL, _TIMEOUT, _TIME), least=1, most=None)
RESTART = Command(f"[OPTIONS] {_MANY}", _stopping("restart"), (_SIGNAL, _TIMEOUT, _TIME), least=1, most=None)
KILL = Command(f"[OPTIONS] {_MANY}", _kill, (_SIGNAL,), least=1, most=None)
PAUSE = Command(_MANY, _post_each("pause"), least=1, most=None)
UNPAUSE = Command(_MANY, _post_each("unpause"), least=1, most=None)
WAIT = Command(_MANY, _wait, least=1, most=None)
RM = Command(
    f"[OPTIONS] {_MANY}",
    _remove,
    (
        Flag("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
        Flag("link", "l", "bool", "Remove the specified link"),
        Flag("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    ),
    least=1,
    most=None,
)
RENAME = Command("CONTAINER NEW_NAME", _rename, least=2, most=2)
PORT = Command(
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    _port,
    (Flag("exposed", "", "bool", 'With "ls" for the container: only ports that other machines reach'),),
    least=1,
    most=2,
    long='With "ls" for the container: every port by which any container is reached, by what way, and why.',
)
TOP = Command("CONTAINER [ps OPTIONS]", _top, least=1, most=None, interspersed=False)
DIFF = Command("CONTAINER", _diff, least=1, most=1)
EXPORT = Command(
    "[OPTIONS] CONTAINER",
    _export,
    (Flag("output", "o", "string", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
)
