"""Steps about notes: what is yet to be written down of a plan that was carried out whole. Data only."""

from berth.plan.model import Step


class WriteNote(Step, frozen=True):
    """Write a note, on disk when this is done: the last step of a plan from which records follow."""

    path: str
    text: str


class DropNote(Step, frozen=True):
    """Remove a note; nothing happens if it is not there."""

    path: str
