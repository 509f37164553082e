"""The families of steps, each with its handlers; a new family is one line here."""

import importlib
from collections.abc import Callable
from typing import Final

from berth.plan.model import Step

Handler = Callable[[Step], Step | None]

#: Modules of this package that carry out steps; each has HANDLERS and UNDO.
MODULES: Final = (
    "addressing", "conntrack", "handover", "link", "netns", "nft", "notes", "revise", "routing", "shaping", "sublink",
    "sysctl",
)  # fmt: skip


def _merged(attribute: str) -> dict[type[Step], Handler]:
    table: dict[type[Step], Handler] = {}
    for name in MODULES:
        table.update(getattr(importlib.import_module(f"berth.kernel.{name}"), attribute))
    return table


def handlers() -> dict[type[Step], Handler]:
    """Return the table of what carries out which step."""
    return _merged("HANDLERS")


def undo() -> dict[type[Step], Handler]:
    """Return the table of what takes back a step that may or may not have been done."""
    return _merged("UNDO")
