"""`berth logs`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _moment(parsed: Parsed, flag: str) -> str | None:
    from berth.cli.errors import CommandFailed
    from berth.cli.moments import moment

    try:
        return moment(parsed.text(flag)) if parsed.text(flag) else None
    except CommandFailed as error:
        raise CommandFailed(f'invalid value for "{flag}": {error}') from None


def _logs(session: Session, parsed: Parsed) -> None:
    from berth.cli.errors import CommandFailed
    from berth.cli.streams import Demultiplexer, StreamError, write_all

    client = session.client
    container = client.get(f"/containers/{part(parsed.args[0])}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "since": _moment(parsed, "since"),
        "until": _moment(parsed, "until"),
        "timestamps": parsed.flag("timestamps") or None,
        "follow": parsed.flag("follow") or None,
        "details": parsed.flag("details") or None,
        "tail": parsed.text("tail"),
    }
    with client.stream("GET", f"/containers/{container['Id']}/logs", query) as response:
        if container["Config"]["Tty"]:
            for data in response.chunks():
                write_all(1, data)
            return
        cutter = Demultiplexer()
        try:
            for data in response.chunks():
                for descriptor, piece in cutter.feed(data):
                    write_all(descriptor, piece)
        except StreamError as error:
            raise CommandFailed(f"Error grabbing logs: {error}") from None


LOGS = Command(
    "[OPTIONS] CONTAINER",
    _logs,
    (
        Flag("follow", "f", "bool", "Follow log output"),
        Flag(
            "since",
            "",
            "string",
            'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
        ),
        Flag(
            "until",
            "",
            "string",
            'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
        ),
        Flag("timestamps", "t", "bool", "Show timestamps"),
        Flag("details", "", "bool", "Show extra details provided to logs"),
        Flag("tail", "n", "string", "Number of lines to show from the end of the logs", default="all"),
    ),
    least=1,
    most=1,
)
