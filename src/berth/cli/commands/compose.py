"""`berth compose …` is a program of its own: this only starts it."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.flags import Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


def _compose(session: Session, parsed: Parsed) -> int:
    import importlib

    # Looked up at run time: no other command may pay for Compose's imports.
    main = importlib.import_module("berth.compose.main").main
    return int(main(parsed.args, host=session.host) or 0)


COMPOSE = Command("COMMAND", _compose, most=None, raw=True)
