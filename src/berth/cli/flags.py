"""Flags in the grammar of Docker's client: ``-itd``, ``-p8080:80``, ``--name=x``, ``--rm=false``, ``--``.

A command declares its flags as data; `parse` turns arguments into a `Parsed`. Nothing here knows any command.
See docs/adr/0002-own-flag-parser.md for why this is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from berth.cli.errors import HelpWanted, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(lowest: int, highest: int, function: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text, 0) if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(text)
        except ValueError:
            raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
        if not lowest <= value <= highest or "_" in text:
            raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
        return value

    return parse


def duration(text: str) -> int:
    """Parse Go's durations into nanoseconds."""
    from berth.base.units import BadDuration, parse_duration_ns

    try:
        return parse_duration_ns(text)
    except BadDuration as error:
        raise ValueError(str(error)) from None


def size(text: str) -> int:
    """Parse ``64m`` into bytes."""
    from berth.base.units import BadSize, parse_bytes

    try:
        return parse_bytes(text)
    except BadSize as error:
        raise ValueError(str(error)) from None


def _swap(text: str) -> int:
    return -1 if text == "-1" else size(text)


def _nano_cpus(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdecimal():
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return int(whole or "0") * 1_000_000_000 + int(fraction.rstrip("0").ljust(9, "0") or "0")


def _filter(text: str) -> str:
    if text and "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def _pair(text: str) -> str:
    return text


#: kind → (word shown in help, parser of one value, whether values add up).
KINDS: dict[str, tuple[str, Callable[[str], Any], bool]] = {
    "bool": ("", _bool, False),
    "string": ("string", str, False),
    "int": ("int", _integer(-(2**63), 2**63 - 1, "ParseInt"), False),
    "uint": ("uint", _integer(0, 2**64 - 1, "ParseUint"), False),
    "uint16": ("uint16", _integer(0, 2**16 - 1, "ParseUint"), False),
    "duration": ("duration", duration, False),
    "bytes": ("bytes", size, False),
    "swap": ("bytes", _swap, False),
    "decimal": ("decimal", _nano_cpus, False),
    "list": ("list", str, True),
    "strings": ("strings", str, True),
    "map": ("map", _pair, True),
    "filter": ("filter", _filter, True),
    "ulimit": ("ulimit", str, True),
    "mount": ("mount", str, True),
    "network": ("network", str, True),
    "gpu-request": ("gpu-request", str, True),
}

_EMPTY = {"bool": False, "string": "", "swap": 0, "duration": 0, "bytes": 0, "decimal": 0}


class Flag:
    """One flag of a command.

    Args:
        name: The long name.
        short: The letter, or empty.
        kind: A key of `KINDS`.
        usage: The text of the help page.
        default: The value when it is not given; empty for lists.
        shown: What help says in ``(default …)`` when the plain rule would not say it.
        check: Parses and checks one value; raises ValueError with the words for the user.
        hidden: Accepted, not shown.
        into: The flag this one is another name of.
    """

    __slots__ = ("check", "default", "hidden", "into", "kind", "many", "name", "short", "shown", "usage", "word")

    def __init__(  # noqa: PLR0913  a flag has this many properties
        self,
        name: str,
        short: str,
        kind: str,
        usage: str,
        *,
        default: bool | int | str | None = None,
        shown: str | None = None,
        check: Callable[[str], Any] | None = None,
        hidden: bool = False,
        into: str = "",
    ) -> None:
        self.name, self.short, self.kind, self.usage, self.hidden = name, short, kind, usage, hidden
        self.into = into or name
        self.word, parse, self.many = KINDS[kind]
        self.check = check or parse
        self.default: Any = [] if self.many else _EMPTY.get(kind, 0) if default is None else default
        if shown is not None:
            self.shown = shown
        elif default is None or default == "" or default is False:
            self.shown = ""
        elif default is True:
            self.shown = "true"
        else:
            self.shown = f'"{default}"' if isinstance(default, str) else str(default)

    def label(self) -> str:
        """Return ``-n, --last`` as error messages quote it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Parsed:
    """What `parse` found: positional arguments and typed access to the flags."""

    __slots__ = ("_flags", "_values", "args")

    def __init__(self, flags: dict[str, Flag]) -> None:
        self._flags = flags
        self._values: dict[str, Any] = {}
        self.args: list[str] = []

    def names(self) -> frozenset[str]:
        """Return the names of all flags the command knows."""
        return frozenset(self._flags)

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._values

    def value(self, name: str) -> Any:  # noqa: ANN401  a flag's kind decides
        """Return the value as its kind parsed it."""
        if name in self._values:
            return self._values[name]
        return self._flags[name].default

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return bool(self.value(name))

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self.value(name))

    def number(self, name: str) -> int:
        """Return a whole number; sizes are bytes, durations nanoseconds."""
        return int(self.value(name))

    def list(self, name: str) -> list[Any]:
        """Return the values of a flag that may be repeated."""
        return list(self.value(name))

    def set(self, flag: Flag, text: str) -> None:
        """Take one occurrence of a flag."""
        try:
            values = [flag.check(item) for item in (split_csv(text) if flag.kind == "strings" else [text])]
        except ValueError as error:
            raise UsageError(f'invalid argument "{text}" for "{flag.label()}" flag: {error}') from None
        if flag.many:
            self._values.setdefault(flag.into, []).extend(values)
        else:
            self._values[flag.into] = values[-1]


def split_csv(text: str) -> list[str]:
    """Split one line of comma separated values, double quotes protecting commas."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    return next(csv.reader([text], strict=True), [])


def parse(arguments: Sequence[str], flags: Iterable[Flag], *, interspersed: bool = True) -> Parsed:
    """Parse a command's arguments.

    Args:
        arguments: The words of the command line.
        flags: What the command knows.
        interspersed: False stops at the first positional argument, where somebody else's command line begins.

    Raises:
        UsageError: An unknown flag, a missing or a bad value.
        HelpWanted: ``--help``.
    """
    by_name = {flag.name: flag for flag in flags}
    by_letter = {flag.short: flag for flag in by_name.values() if flag.short}
    parsed = Parsed(by_name)
    rest = list(arguments)
    rest.reverse()  # a stack: the next argument is the last
    while rest:
        argument = rest.pop()
        if argument == "--":
            parsed.args.extend(reversed(rest))
            break
        if len(argument) < 2 or argument[0] != "-":
            parsed.args.append(argument)
            if not interspersed:
                parsed.args.extend(reversed(rest))
                break
        elif argument.startswith("--"):
            _long(argument, by_name, parsed, rest)
        else:
            _letters(argument, by_letter, parsed, rest)
    return parsed


def _long(argument: str, by_name: dict[str, Flag], parsed: Parsed, rest: list[str]) -> None:
    name, equals, text = argument[2:].partition("=")
    flag = by_name.get(name)
    if flag is None:
        if name == "help":
            raise HelpWanted
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {argument}")
        raise UsageError(f"unknown flag: --{name}")
    if equals:
        parsed.set(flag, text)
    elif flag.kind == "bool":
        parsed.set(flag, "true")
    elif rest:
        parsed.set(flag, rest.pop())
    else:
        raise UsageError(f"flag needs an argument: --{name}")


def _letters(argument: str, by_letter: dict[str, Flag], parsed: Parsed, rest: list[str]) -> None:
    letters = argument[1:]
    while letters:
        flag = by_letter.get(letters[0])
        if flag is None:
            if letters[0] == "h":
                raise HelpWanted
            raise UsageError(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        after = letters[1:]
        if after.startswith("=") and len(after) > 1:
            parsed.set(flag, after[1:])
            return
        if flag.kind == "bool":
            parsed.set(flag, "true")
            letters = after
            continue
        if after:
            parsed.set(flag, after)
        elif rest:
            parsed.set(flag, rest.pop())
        else:
            raise UsageError(f"flag needs an argument: '{letters[0]}' in -{letters}")
        return
