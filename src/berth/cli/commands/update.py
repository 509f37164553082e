"""`berth update`: new limits for a container."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.container_body import resources, restart_policy
from berth.cli.container_flags import RESOURCES
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _update(session: Session, parsed: Parsed) -> int:
    if not any(parsed.given(name) for name in parsed.names()):
        raise CommandFailed("you must provide one or more flags when using this command")
    body = resources(parsed)
    if not parsed.given("pids-limit"):
        del body["PidsLimit"]
    body["RestartPolicy"] = restart_policy(parsed.text("restart"))

    def update(name: str) -> None:
        answer = session.client.post(f"/containers/{part(name)}/update", None, body)
        session.line(name)
        for warning in (answer or {}).get("Warnings") or ():
            session.warn(warning)

    return session.each(parsed.args, update, echo=False)


UPDATE = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _update,
    (*RESOURCES, Flag("restart", "", "string", "Restart policy to apply when a container exits")),
    least=1,
    most=None,
)
