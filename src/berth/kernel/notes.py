"""Notes: files that say what is yet to be written down of a plan that was carried out whole. Blocking."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from berth.kernel.files import write_atomically
from berth.plan.model import Step
from berth.plan.steps.note import DropNote, WriteNote


def _write(step: Step) -> Step | None:
    want = cast("WriteNote", step)
    path = Path(want.path)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, want.text.encode(), mode=0o600, durable=True)
    return DropNote(want.path)


def _drop(step: Step) -> Step | None:
    Path(cast("DropNote", step).path).unlink(missing_ok=True)
    return None


def _undo_write(step: Step) -> Step | None:
    return DropNote(cast("WriteNote", step).path)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {WriteNote: _write, DropNote: _drop}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {WriteNote: _undo_write}
