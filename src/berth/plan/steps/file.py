"""Steps on files and directories of our own."""

from berth.plan.model import Step


class MakeDirectory(Step, frozen=True):
    """Make one directory; its parent exists. Nothing changes if it is there."""

    path: str
    mode: int = 0o755


class RemoveDirectory(Step, frozen=True):
    """Remove an empty directory; nothing changes if it is not there."""

    path: str
