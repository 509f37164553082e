"""`berth network shape`: limits of a container on a network, changed while it runs. Docker has no such command."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session

#: Flag, and the field of the API's body.
_LIMITS = (("rate-in", "RateIn"), ("rate-out", "RateOut"), ("delay", "Delay"), ("loss", "Loss"))
#: What takes a limit away.
_NO_LIMIT = ("none", "0", "")


def _shape(session: Session, parsed: Parsed) -> None:
    network, container = parsed.args
    body = {
        field: "" if parsed.text(flag) in _NO_LIMIT else parsed.text(flag)
        for flag, field in _LIMITS
        if parsed.given(flag)
    }
    if not body:
        raise CommandFailed("nothing to change: give at least one of " + ", ".join(f"--{flag}" for flag, _ in _LIMITS))
    body["Container"] = container
    answer = session.client.post(f"/berth/networks/{part(network)}/shape", None, body)
    session.line(" ".join(f"{flag}={answer.get(field) or 'none'}" for flag, field in _LIMITS))


SHAPE = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _shape,
    (
        Flag("rate-in", "", "string", 'Limit what the container receives (e.g., "10mbit"; "none" for no limit)'),
        Flag("rate-out", "", "string", "Limit what the container sends"),
        Flag("delay", "", "string", 'Delay what the container sends (e.g., "50ms")'),
        Flag("loss", "", "string", 'Lose a part of what the container sends (e.g., "1%")'),
    ),
    least=2,
    most=2,
)
