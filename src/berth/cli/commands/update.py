"""`berth update`: new limits for a container, and mounts that come and go while it runs."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.container_body import resources, restart_policy
from berth.cli.container_flags import RESOURCES
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.mounts import check_mount
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


#: Flags that Docker has not, and that go another way.
_MOUNTS = ("mount-add", "mount-rm")


def _update(session: Session, parsed: Parsed) -> int:
    given = [name for name in parsed.names() if parsed.given(name)]
    if not given:
        raise CommandFailed("you must provide one or more flags when using this command")
    body = resources(parsed)
    if not parsed.given("pids-limit"):
        del body["PidsLimit"]
    body["RestartPolicy"] = restart_policy(parsed.text("restart"))
    mounts = {
        "Add": parsed.list("mount-add"),
        "Remove": parsed.list("mount-rm"),
    }

    def update(name: str) -> None:
        warnings: list[str] = []
        if any(flag not in _MOUNTS for flag in given):
            answer = session.client.post(f"/containers/{part(name)}/update", None, body)
            warnings += (answer or {}).get("Warnings") or ()
        if any(flag in _MOUNTS for flag in given):
            answer = session.client.post(f"/berth/containers/{part(name)}/mounts", None, mounts)
            warnings += (answer or {}).get("Warnings") or ()
        session.line(name)
        for warning in warnings:
            session.warn(warning)

    return session.each(parsed.args, update, echo=False)


UPDATE = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    _update,
    (
        *RESOURCES,
        Flag("restart", "", "string", "Restart policy to apply when a container exits"),
        Flag("mount-add", "", "mount", "Mount something while it runs, written as for run --mount", check=check_mount),
        Flag("mount-rm", "", "list", "Take the mount at this path away; with --mount-add, replace it"),
    ),
    least=1,
    most=None,
)
