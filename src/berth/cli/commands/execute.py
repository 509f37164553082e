"""`berth exec`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.pairs import check_environment, read_environment_file
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _exec(session: Session, parsed: Parsed) -> int:
    from berth.cli.following import follow, resizer
    from berth.cli.streams import check_terminal, parse_detach_keys, window_size

    client = session.client
    container, *command = parsed.args
    detached, tty, stdin = parsed.flag("detach"), parsed.flag("tty"), parsed.flag("interactive")
    keys = parsed.text("detach-keys") or session.settings.text("detachKeys")
    detach_keys = parse_detach_keys(keys)
    variables = [line for path in parsed.list("env-file") for line in read_environment_file(path)]
    body: dict[str, object] = {
        "User": parsed.text("user"),
        "Privileged": parsed.flag("privileged"),
        "Tty": tty,
        "Env": variables + parsed.list("env"),
        "WorkingDir": parsed.text("workdir"),
        "Cmd": command,
        "DetachKeys": keys,
        "AttachStdin": stdin and not detached,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
    }
    size = window_size() if tty else None
    if size:
        body["ConsoleSize"] = list(size)
    if not detached:
        check_terminal(stdin=stdin, tty=tty)
    identifier = client.post(f"/containers/{part(container)}/exec", None, body)["Id"]
    start: dict[str, object] = {"Detach": detached, "Tty": tty}
    if detached:
        client.post(f"/exec/{identifier}/start", None, start)
        return 0
    if size:
        start["ConsoleSize"] = list(size)
    link = client.hijack("POST", f"/exec/{identifier}/start", None, start)
    stayed = follow(
        link,
        stdin=stdin,
        tty=tty,
        detach_keys=detach_keys,
        proxy=None,
        resize=resizer(client, f"/exec/{identifier}") if tty else None,
    )
    if not stayed:
        from berth.cli.errors import CommandFailed

        raise CommandFailed("read escape sequence")
    return int(client.get(f"/exec/{identifier}/json").get("ExitCode") or 0)


EXEC = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    _exec,
    (
        Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
        Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
        Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
        Flag("detach", "d", "bool", "Detached mode: run command in the background"),
        Flag("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        Flag("privileged", "", "bool", "Give extended privileges to the command"),
        Flag("env", "e", "list", "Set environment variables", check=check_environment),
        Flag("env-file", "", "list", "Read in a file of environment variables"),
        Flag("workdir", "w", "string", "Working directory inside the container"),
    ),
    least=2,
    most=None,
    interspersed=False,
)
