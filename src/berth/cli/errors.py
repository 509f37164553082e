"""How a command ends when it does not end well."""

from __future__ import annotations


class CommandFailed(Exception):
    """A command gives up: a message for stderr (may be empty) and the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class UsageError(CommandFailed):
    """The command line is wrong; the usage line is shown under the message."""

    def __init__(self, message: str, status: int = 125, verb: str = "Run") -> None:
        super().__init__(message, status)
        self.verb = verb


class HelpWanted(Exception):
    """``--help`` was among the flags."""
