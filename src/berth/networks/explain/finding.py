"""What one check finds: nothing worth a line, a step that is well, or a fault. Pure."""

from typing import NamedTuple

from berth.networks.explain.model import Mark, Step


class Fault(NamedTuple):
    """A step that fails. `code` names the kind of fault for programs, `mend` are commands that take it away."""

    step: str
    code: str
    cause: str
    mend: tuple[str, ...]
    #: Said as a note where the target answers all the same.
    worth_a_note: bool = False
    #: Counts though the target answers: the probe went where the source itself would not have found.
    decides: bool = False


Found = Step | Fault | None


def ok(name: str, text: str) -> Step:
    """Return a step that is well."""
    return Step(name, Mark.OK, text)


def note(name: str, text: str) -> Step:
    """Return a step with something worth knowing."""
    return Step(name, Mark.NOTE, text)
