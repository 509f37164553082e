"""What can be wrong with a Compose project, each fault with the place it stands at.

ComposeFault          anything that ends a command with a message
├── BadUsage          the command line
├── NoComposeFile     no file was found
├── BadProject        the files: carries every fault found, not only the first
└── OperationFailed   the engine refused, or a condition was not met
"""

from typing import NamedTuple

from berth.base.errors import EngineError, InvalidArgument, NotFound


class Mark(NamedTuple):
    """A place in a file; line and column count from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


#: The path of a value inside the document: keys and list indices.
Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """One thing that is wrong: where it stands, what it belongs to, why."""

    mark: Mark | None
    path: Path
    text: str

    def __str__(self) -> str:
        dotted = ".".join(str(part) for part in self.path)
        return ": ".join(part for part in (str(self.mark) if self.mark else "", dotted, self.text) if part)


class ComposeFault(EngineError):
    """A command cannot go on; the message is for the user."""


class BadUsage(ComposeFault, InvalidArgument):
    """The command line cannot be understood."""


class NoComposeFile(ComposeFault, NotFound):
    """There is no Compose file to be found."""


class OperationFailed(ComposeFault):
    """The engine refused a request, or a condition waited for did not come."""


class BadProject(ComposeFault, InvalidArgument):
    """The files do not describe a project; `faults` holds all that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def fault(text: str, path: Path = (), mark: Mark | None = None) -> BadProject:
    """Make the error for a single fault."""
    return BadProject([Fault(mark, path, text)])
