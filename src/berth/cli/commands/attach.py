"""`berth attach` and `berth start`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _attach(session: Session, parsed: Parsed) -> int:
    from berth.cli.following import attach, begin_wait, exit_status, follow, resizer, signal_proxy
    from berth.cli.streams import check_terminal, parse_detach_keys

    client = session.client
    name = parsed.args[0]
    container = client.get(f"/containers/{part(name)}/json")
    state, config = container["State"], container["Config"]
    for bad, words in (
        (not state["Running"], "You cannot attach to a stopped container, start it first"),
        (state.get("Paused"), "You cannot attach to a paused container, unpause it first"),
        (state.get("Restarting"), "You cannot attach to a restarting container, wait until it is running"),
    ):
        if bad:
            raise CommandFailed(words)
    keys = parsed.text("detach-keys") or session.settings.text("detachKeys")
    detach_keys = parse_detach_keys(keys)
    tty = bool(config["Tty"])
    stdin = bool(config["OpenStdin"]) and not parsed.flag("no-stdin")
    check_terminal(stdin=stdin, tty=tty)
    identifier = container["Id"]
    waiting = begin_wait(client, identifier, "")
    link = attach(client, identifier, ["stdin", "stdout", "stderr"] if stdin else ["stdout", "stderr"], keys)
    stayed = follow(
        link,
        stdin=stdin,
        tty=tty,
        detach_keys=detach_keys,
        proxy=signal_proxy(client, identifier) if parsed.flag("sig-proxy") and not tty else None,
        resize=resizer(client, f"/containers/{identifier}", redraw=True) if tty else None,
    )
    if not stayed:
        raise CommandFailed("read escape sequence")
    return exit_status(waiting)


def _start(session: Session, parsed: Parsed) -> int:
    if parsed.flag("attach") or parsed.flag("interactive"):
        if len(parsed.args) > 1:
            raise CommandFailed("you cannot start and attach multiple containers at once")
        return _start_attached(session, parsed)
    failed: list[str] = []
    for name in parsed.args:
        try:
            session.client.post(f"/containers/{part(name)}/start")
        except ApiError as error:
            session.warn(f"Error response from daemon: {error.message}")
            failed.append(name)
        else:
            session.line(name)
    if failed:
        raise CommandFailed(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(session: Session, parsed: Parsed) -> int:
    from berth.cli.following import attach, begin_wait, exit_status, follow, resizer, signal_proxy
    from berth.cli.streams import check_terminal, parse_detach_keys

    client = session.client
    container = client.get(f"/containers/{part(parsed.args[0])}/json")
    config, identifier = container["Config"], container["Id"]
    tty = bool(config["Tty"])
    keys = parsed.text("detach-keys") or session.settings.text("detachKeys")
    detach_keys = parse_detach_keys(keys)
    stdin = bool(config["OpenStdin"]) and parsed.flag("interactive")
    check_terminal(stdin=stdin, tty=tty)
    link = attach(client, identifier, ["stdin", "stdout", "stderr"] if stdin else ["stdout", "stderr"], keys)
    removed = bool(container["HostConfig"].get("AutoRemove"))
    waiting = begin_wait(client, identifier, "removed" if removed else "next-exit")
    try:
        client.post(f"/containers/{identifier}/start")
    except ApiError:
        link.close()
        raise
    stayed = follow(
        link,
        stdin=stdin,
        tty=tty,
        detach_keys=detach_keys,
        proxy=None if tty else signal_proxy(client, identifier),
        resize=resizer(client, f"/containers/{identifier}") if tty else None,
    )
    return exit_status(waiting) if stayed else 0


_KEYS = Flag("detach-keys", "", "string", "Override the key sequence for detaching a container")

ATTACH = Command(
    "[OPTIONS] CONTAINER",
    _attach,
    (
        _KEYS,
        Flag("no-stdin", "", "bool", "Do not attach STDIN"),
        Flag("sig-proxy", "", "bool", "Proxy all received signals to the process", default=True),
    ),
    least=1,
    most=1,
)
START = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _start,
    (
        Flag("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
        Flag("interactive", "i", "bool", "Attach container's STDIN"),
        _KEYS,
    ),
    least=1,
    most=None,
)
