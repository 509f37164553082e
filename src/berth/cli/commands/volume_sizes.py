"""`berth volume resize`."""

from __future__ import annotations

from berth.cli.command import Command
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.flags import Parsed
    from berth.cli.session import Session


def _resize(session: Session, parsed: Parsed) -> None:
    name, size = parsed.args
    answer = session.client.put(f"/berth/volumes/{part(name)}/size", None, {"Size": size})
    for warning in answer.get("Warnings") or ():
        session.warn(f"WARNING: {warning}")
    session.line(name)


RESIZE = Command(
    "VOLUME SIZE",
    _resize,
    least=2,
    most=2,
    long="Change the size of a volume that was made with one. It grows while containers use it, and is never made "
    "smaller than what is in it.",
)
