"""What a command is: its usage, its flags, how many arguments it takes, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from berth.cli.errors import UsageError
from berth.cli.flags import Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from berth.cli.session import Session


class Command:
    """One command, declared as data.

    Args:
        usage: What stands after the command's name in the usage line.
        run: Carries it out; returns the exit status (None is 0).
        least: Fewest positional arguments.
        most: Most positional arguments; None is any number.
        interspersed: Whether flags may follow positional arguments.
        long: A longer description than the one in the list of commands.
        raw: Hand over the arguments unparsed.
    """

    __slots__ = ("flags", "interspersed", "least", "long", "most", "raw", "run", "usage")

    def __init__(
        self,
        usage: str,
        run: Callable[[Session, Parsed], int | None],
        flags: Sequence[Flag] = (),
        *,
        least: int = 0,
        most: int | None = 0,
        interspersed: bool = True,
        long: str = "",
        raw: bool = False,
    ) -> None:
        self.usage, self.run, self.flags = usage, run, flags
        self.least, self.most, self.interspersed, self.long, self.raw = least, most, interspersed, long, raw

    def check_arguments(self, path: str, count: int) -> None:
        """Refuse a wrong number of positional arguments in Docker's words."""
        least, most = self.least, self.most
        if count >= least and (most is None or count <= most):
            return
        if most == 0:
            raise UsageError(f"'{path}' accepts no arguments", 1)
        if least == most:
            raise UsageError(f"'{path}' requires {least} argument{'s' if least != 1 else ''}", 1)
        if most is None:
            raise UsageError(f"'{path}' requires at least {least} argument{'s' if least != 1 else ''}", 1, "See")
        ending = "s" if most != 1 else ""
        if least:
            raise UsageError(f"'{path}' requires at least {least} and at most {most} argument{ending}", 1, "See")
        raise UsageError(f"'{path}' requires at most {most} argument{ending}", 1, "See")
