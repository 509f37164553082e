"""Substitute variables in the values of a document. Pure: variables are given, warnings are collected.

The same template rules serve env files and `.env`, see `dotenv`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from berth.compose.errors import BadProject, Fault, Mark, Path
from berth.compose.values import Map, Override, Seq, Value

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Where a variable comes from: None means unset.
Lookup = Callable[[str], str | None]


class BadTemplate(Exception):
    """A template cannot be substituted; the text says why."""


def substitute(text: str, lookup: Lookup, unset: Callable[[str], None], *, lone_dollar: bool = False) -> str:
    """Substitute every variable in `text`; call `unset` with each name that has neither value nor default.

    With `lone_dollar` a dollar that begins no variable stands for itself, as it does in env files.
    """
    if "$" not in text:
        return text
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        follow = text[dollar + 1 : dollar + 2]
        if follow == "$":
            out.append("$")
            at = dollar + 2
        elif follow == "{":
            end = _closing(text, dollar + 2)
            out.append(_braced(text[dollar + 2 : end], text, lookup, unset))
            at = end + 1
        elif match := _NAME.match(text, dollar + 1):
            value = lookup(match[0])
            if value is None:
                unset(match[0])
            out.append(value or "")
            at = match.end()
        elif lone_dollar:
            out.append("$")
            at = dollar + 1
        else:
            raise BadTemplate(_invalid(text))
    out.append(text[at:])
    return "".join(out)


def _invalid(text: str) -> str:
    return f'invalid interpolation format: "{text}". You may need to escape any $ with another $'


def _closing(text: str, start: int) -> int:
    """Find the brace that closes the one before `start`, over nested ones."""
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 2
            continue
        if text.startswith("$$", at):
            at += 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise BadTemplate(_invalid(text))


def _braced(body: str, whole: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    match = _NAME.match(body)
    if match is None:
        raise BadTemplate(_invalid(whole))
    name, rest = match[0], body[match.end() :]
    value = lookup(name)
    if not rest:
        if value is None:
            unset(name)
        return value or ""
    operator = rest[:2] if rest[0] == ":" else rest[:1]
    if operator not in {":-", "-", ":?", "?", ":+", "+"}:
        raise BadTemplate(_invalid(whole))
    argument = rest[len(operator) :]
    present = bool(value) if operator[0] == ":" else value is not None
    if operator[-1] == "+":
        return substitute(argument, lookup, unset) if present else ""
    if present:
        return value or ""
    if operator[-1] == "-":
        return substitute(argument, lookup, unset)
    raise BadTemplate(f"required variable {name} is missing a value: {substitute(argument, lookup, unset)}")


class _Walk:
    def __init__(self, lookup: Lookup, unset: Callable[[str], None]) -> None:
        self.lookup, self.unset = lookup, unset
        self.faults: list[Fault] = []

    def value(self, value: Value, path: Path, mark: Mark | None) -> Value:
        if isinstance(value, str):
            if "$" not in value:
                return value
            try:
                return substitute(value, self.lookup, self.unset)
            except BadTemplate as error:
                self.faults.append(Fault(mark, path, str(error)))
                return value
        if isinstance(value, Map):
            for key, item in value.items():
                if item.__class__ is not int and item is not None:
                    value[key] = self.value(item, (*path, key), value.marks.get(key, mark))
        elif isinstance(value, Seq):
            for index, item in enumerate(value):
                value[index] = self.value(item, (*path, index), value.marks[index] or mark)
        elif isinstance(value, Override):
            value.value = self.value(value.value, path, mark)
        return value


def interpolate(document: Map, variables: Mapping[str, str], unset: Callable[[str], None]) -> None:
    """Substitute all values of `document` in place, keys never; raises `BadProject` with every bad template."""
    walk = _Walk(variables.get, unset)
    walk.value(document, (), None)
    if walk.faults:
        raise BadProject(walk.faults)
