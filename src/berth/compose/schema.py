"""The kinds of values a Compose document may hold, and the walk that checks them.

A kind checks a value and returns its canonical form: short forms become long ones, lists of `key=value` become maps,
texts
become numbers where numbers are meant, host paths become absolute. Every fault is collected with its place; nothing
stops at the first.
Knows no Compose keys: those are in `language`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from berth.compose import short
from berth.compose.errors import Fault, Mark, Path
from berth.compose.values import Map, Override, Reset, Seq, Value

_TRUE: Final = frozenset({"true", "1", "t"})
_FALSE: Final = frozenset({"false", "0", "f"})
_OLD_TRUE: Final = frozenset({"yes", "y", "on"})
_OLD_FALSE: Final = frozenset({"no", "n", "off"})


class Context:
    """What a walk needs to know and what it finds."""

    def __init__(self, resolve: Callable[[str], str], *, templates: bool = False) -> None:
        self.resolve = resolve
        #: With templates left in (`config --no-interpolate`) a text with a dollar passes every check unchanged.
        self.templates = templates
        self.faults: list[Fault] = []
        self.warnings: list[str] = []

    def fault(self, mark: Mark | None, path: Path, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(mark, path, text))

    def warn(self, mark: Mark | None, path: Path, text: str) -> None:
        """Note a warning."""
        self.warnings.append(str(Fault(mark, path, text)))

    def is_template(self, value: Value) -> bool:
        """Tell whether `value` still holds a variable that will not be substituted."""
        return self.templates and isinstance(value, str) and "$" in value


class Kind(Protocol):
    """What a value may be."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Check `value` and return its canonical form; on a fault what is returned does not matter."""
        ...


def name_of(value: Value) -> str:
    """Name the type of a value in a message."""
    if isinstance(value, Map):
        return "mapping"
    if isinstance(value, Seq):
        return "list"
    return {bool: "boolean", int: "number", float: "number", str: "string"}.get(type(value), "null")


class Anything:
    """Any value, kept."""

    def check(self, value: Value, _path: Path, _mark: Mark | None, _context: Context) -> Value:
        """Keep it."""
        return value


class Text:
    """A string, perhaps one of a few, perhaps parsed."""

    def __init__(self, *choices: str, parse: Callable[[str], Value] | None = None, numbers: bool = False) -> None:
        self.choices, self.parse, self.numbers = choices, parse, numbers

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept strings, and numbers where they are allowed."""
        if not isinstance(value, str):
            if not self.numbers or isinstance(value, bool) or not isinstance(value, int | float):
                context.fault(mark, path, f"must be a string, not a {name_of(value)}")
                return value
            value = short.number_text(value)
        if context.is_template(value):
            return value
        if self.choices and value not in self.choices:
            context.fault(mark, path, f'"{value}" is not one of {", ".join(self.choices)}')
        if self.parse is None:
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            context.fault(mark, path, str(error))
            return value


class Boolean:
    """A boolean, or a text that reads as one."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept booleans; YAML 1.1 spellings with a warning."""
        if isinstance(value, bool) or context.is_template(value):
            return value
        if isinstance(value, str):
            word = value.lower()
            if word in _TRUE or word in _FALSE:
                return word in _TRUE
            if word in _OLD_TRUE or word in _OLD_FALSE:
                context.warn(
                    mark, path, f'"{value}" for boolean is not supported by YAML 1.2, please use "true" or "false"'
                )
                return word in _OLD_TRUE
        shown = f'"{value}"' if isinstance(value, str) else f"a {name_of(value)}"
        context.fault(mark, path, f"must be a boolean, not {shown}")
        return value


class Number:
    """A number, or a text that reads as one."""

    def __init__(self, low: float | None = None, high: float | None = None, *, whole: bool = True) -> None:
        self.low, self.high, self.whole = low, high, whole

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept numbers within the bounds."""
        if context.is_template(value):
            return value
        number: float | None = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str):
            try:
                number = int(value, 10)
            except ValueError:
                try:
                    number = float(value)
                except ValueError:
                    number = None
        if number is not None and isinstance(number, float) and number.is_integer():
            number = int(number)
        if number is None or (self.whole and not isinstance(number, int)):
            shown = f'"{value}"' if isinstance(value, str) else f"a {name_of(value)}" if number is None else str(value)
            context.fault(mark, path, f"must be {'an integer' if self.whole else 'a number'}, not {shown}")
            return value
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            context.fault(mark, path, f"{number} is out of range")
        return number


class Size:
    """A number of bytes, with or without a unit; canonically the count as a text."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept counts and sizes."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(int(value))
        if not isinstance(value, str):
            context.fault(mark, path, f"must be a size, not a {name_of(value)}")
            return value
        if context.is_template(value):
            return value
        try:
            return str(short.size(value))
        except ValueError as error:
            context.fault(mark, path, str(error))
            return value


class ListOf:
    """A list; with `single` a lone value counts as a list of one; with `unique` an equal item is dropped."""

    def __init__(self, item: Kind, *, single: bool = False, unique: bool = False) -> None:
        self.item, self.single, self.unique = item, single, unique

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept lists whose items all fit."""
        if not isinstance(value, Seq):
            if self.single and isinstance(value, str):
                result = Seq()
                result.add(self.item.check(value, path, mark, context), mark)
                return result
            context.fault(mark, path, f"must be a list, not a {name_of(value)}")
            return value
        result = Seq()
        for index, item in enumerate(value):
            at = value.marks[index] or mark
            checked = self.item.check(item, (*path, index), at, context)
            if self.unique and checked in result:
                continue
            result.add(checked, at)
        return result


class MapOf:
    """A map with free keys."""

    def __init__(self, item: Kind, *, keys: str = "", null: bool = False, key_text: str = "") -> None:
        self.item, self.keys, self.null, self.key_text = item, re.compile(keys) if keys else None, null, key_text

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept maps whose keys and values all fit; with `null` a missing value stays null."""
        if not isinstance(value, Map):
            context.fault(mark, path, f"must be a mapping, not a {name_of(value)}")
            return value
        result = Map()
        for key, item in value.items():
            at = value.marks.get(key, mark)
            if self.keys is not None and not self.keys.match(key):
                context.fault(at, (*path, key), f"invalid name: {self.key_text or 'letters, digits, . _ - only'}")
                continue
            if isinstance(item, Reset) or (item is None and self.null):
                result.put(key, item, at)
                continue
            result.put(key, check_tagged(self.item, item, (*path, key), at, context), at)
        return result


class KeyValues:
    """A map of texts, or a list of `key=value`; canonically a map whose values are texts or null."""

    def __init__(self, *, bare: str | None = None) -> None:
        self.bare = bare

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept both forms; a list item without a sign gets the value `bare`."""
        result = Map()
        if isinstance(value, Seq):
            for index, item in enumerate(value):
                at = value.marks[index] or mark
                if not isinstance(item, str):
                    context.fault(at, (*path, index), f"must be a string, not a {name_of(item)}")
                    continue
                key, sign, text = item.partition("=")
                result.put(key, text if sign else self.bare, at)
            return result
        if not isinstance(value, Map):
            context.fault(mark, path, f"must be a mapping or a list of key=value, not a {name_of(value)}")
            return value
        for key, item in value.items():
            at = value.marks.get(key, mark)
            if isinstance(item, Map | Seq):
                context.fault(at, (*path, key), f"must be a string, a number, a boolean or null, not a {name_of(item)}")
            result.put(key, _as_text(item, self.bare), at)
        return result


def _as_text(item: Value, bare: str | None) -> Value:
    if item is None:
        return bare
    if isinstance(item, bool):
        return "true" if item else "false"
    return short.number_text(item) if isinstance(item, int | float) else item


class Record:
    """A map with known keys; keys beginning with `x-` are free."""

    def __init__(
        self, fields: Mapping[str, Kind], *, required: tuple[str, ...] = (), keep_null: tuple[str, ...] = ()
    ) -> None:
        self.fields, self.required, self.keep_null = fields, required, keep_null

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept maps with known keys only; a key without value counts as absent."""
        if not isinstance(value, Map):
            context.fault(mark, path, f"must be a mapping, not a {name_of(value)}")
            return value
        result = Map()
        for key, item in value.items():
            at = value.marks.get(key, mark)
            kind = self.fields.get(key)
            if kind is None:
                if key.startswith("x-"):
                    result.put(key, item, at)
                else:
                    context.fault(at, (*path, key), self.unknown(key))
            elif item is None:
                if key in self.keep_null:
                    result.put(key, None, at)
            else:
                result.put(key, check_tagged(kind, item, (*path, key), at, context), at)
        for key in self.required:
            if result.get(key) is None:
                context.fault(mark, path, f"{key} is required")
        return result

    def unknown(self, key: str) -> str:
        """Say that a key is unknown, and which one may be meant."""
        import difflib

        near = difflib.get_close_matches(key, self.fields, n=1, cutoff=0.6)
        return f"unknown key, did you mean {near[0]}?" if near else "unknown key"


class Converted:
    """A value with a short form: `convert` makes the long one of anything that is not a map, `long` checks that."""

    def __init__(
        self, long: Kind, convert: Callable[[Value, Context], Value], *, finish: Callable[[Map], None] | None = None
    ) -> None:
        self.long, self.convert, self.finish = long, convert, finish

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept both forms."""
        if not isinstance(value, Map):
            if context.is_template(value):
                return value
            try:
                value = with_marks(self.convert(value, context), mark)
            except ValueError as error:
                context.fault(mark, path, str(error))
                return value
            except TypeError:
                context.fault(mark, path, f"must be a string or a mapping, not a {name_of(value)}")
                return value
        before = len(context.faults)
        checked = self.long.check(value, path, mark, context)
        if self.finish is not None and isinstance(checked, Map) and len(context.faults) == before:
            try:
                self.finish(checked)
            except ValueError as error:
                context.fault(mark, path, str(error))
        return checked


class Expanding:
    """A list in which one short form may stand for several long ones."""

    def __init__(self, expand: Callable[[Value], list[dict[str, Value]]], item: Kind) -> None:
        self.expand, self.item = expand, item

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept lists of short and long forms."""
        if not isinstance(value, Seq):
            context.fault(mark, path, f"must be a list, not a {name_of(value)}")
            return value
        result = Seq()
        for index, item in enumerate(value):
            at, where = value.marks[index] or mark, (*path, index)
            if isinstance(item, Map):
                result.add(self.item.check(item, where, at, context), at)
                continue
            if context.is_template(item):
                result.add(item, at)
                continue
            try:
                for fields in self.expand(item):
                    result.add(self.item.check(with_marks(fields, at), where, at, context), at)
            except ValueError as error:
                context.fault(at, where, str(error))
        return result


def with_marks(value: Value, mark: Mark | None) -> Value:
    """Make a Map of a dict and a Seq of a list, all standing at one place."""
    if isinstance(value, Map | Seq):
        return value
    if isinstance(value, dict):
        result = Map()
        for key, item in value.items():
            result.put(key, with_marks(item, mark), mark)
        return result
    if isinstance(value, list):
        items = Seq()
        for item in value:
            items.add(with_marks(item, mark), mark)
        return items
    return value


def check_tagged(kind: Kind, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
    """Check a value that may be marked `!reset` or `!override`."""
    if isinstance(value, Reset):
        return value
    if isinstance(value, Override):
        return Override(kind.check(value.value, path, mark, context))
    return kind.check(value, path, mark, context)
