"""Steps about network namespaces. Data only."""

from berth.plan.model import Step


class MakeNamespace(Step, frozen=True):
    """Make a network namespace with its loopback up and pin it to a new file."""

    path: str


class TakeNamespace(Step, frozen=True):
    """Take over a namespace that was made in advance: from here on it is the plan's to remove."""

    path: str


class RemoveNamespace(Step, frozen=True):
    """Unpin a network namespace and remove the file; nothing happens if it is not there."""

    path: str
