"""Go's text templates, as far as ``--format`` uses them. Pure.

Actions, pipelines, variables, if/else/with/range/break/continue, fields, methods with arguments, comments, whitespace
trimming, and the functions of Go and of Docker's client. Values are what JSON decodes to; an object may offer
``template_field(name)`` instead of keys. Not here: define, template and block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TemplateError(Exception):
    """A template does not parse, or does not fit the value."""


class NilList(list):  # type: ignore[type-arg]
    """A list that was null in JSON: prints as Go prints a nil slice, and is null again as JSON."""


class NilMap(dict):  # type: ignore[type-arg]
    """A map that was null in JSON."""


class GoTime(str):
    """A time that Go holds as a time: prints in Go's own form, and as it was in JSON."""

    __slots__ = ()


#: Fields that Go's structures have though JSON leaves them out or says null, with how an empty one prints.
_ABSENT: dict[str, Any] = {
    **dict.fromkeys(("Health", "Healthcheck", "StopTimeout", "PidsLimit", "OomKillDisable", "Init", "MemorySwappiness",
                     "IPAMConfig", "SizeRw", "SizeRootFs", "UsageData", "ImageManifestDescriptor", "Identity",
                     "ClusterVolume"), None),
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "OnBuild", "Shell", "Binds", "CapAdd", "CapDrop", "Dns", "DnsOptions",
                     "DnsSearch", "ExtraHosts", "GroupAdd", "Links", "VolumesFrom", "SecurityOpt", "Devices", "Ulimits",
                     "Mounts", "Aliases", "DNSNames", "RepoTags", "RepoDigests", "ExecIDs", "DeviceRequests",
                     "Peers", "Args", "LinkLocalIPs"), NilList()),
    **dict.fromkeys(("Labels", "Volumes", "ExposedPorts", "PortBindings", "Ports", "Options", "Containers", "Tmpfs",
                     "Sysctls", "StorageOpt", "Annotations", "DriverOpts", "Status", "Services", "Networks",
                     "AuxiliaryAddresses"), NilMap()),
    **dict.fromkeys(("StopSignal", "MacAddress", "Comment", "Variant", "OsVersion", "Parent", "Runtime", "CgroupParent",
                     "Gateway", "IPRange", "NetworkDisabled"), ""),
}  # fmt: skip

#: What Go holds as maps, whose keys it prints in order; other objects are structures and keep theirs.
_MAPS = frozenset(name for name, empty in _ABSENT.items() if isinstance(empty, NilMap)) | {"Attributes"}

#: What Go holds as structures, by their fields in order.
_STRUCTURES = (
    ("HostIp", "HostPort"),
    ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation"),
    ("Name", "MaximumRetryCount"),
    ("Type", "Config"),
)

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<char>'(?:[^'\\]|\\.)+')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))
    |(?P<field>\.[A-Za-z_]\w*)|(?P<variable>\$\w*)|(?P<name>[A-Za-z_]\w*)|(?P<dot>\.)|(?P<sign>:=|[=|(),])""",
    re.VERBOSE,
)


class _Action:
    """The inside of one ``{{…}}``: its tokens with their offsets in the template."""

    __slots__ = ("at", "end", "tokens", "trim_after")

    def __init__(self, text: str, at: int) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        self.at = 0
        position = at
        while not text.startswith("}}", position):
            if text.startswith("-}}", position) and text[position - 1].isspace():
                break
            match = _TOKEN.match(text, position)
            if match is None:
                if position >= len(text):
                    raise _bad(text, at, "unclosed action")
                raise _bad(text, position, f"unexpected {text[position]!r} in command")
            kind = str(match.lastgroup)
            if kind != "space":
                self.tokens.append((kind, match[0], position))
            position = match.end()
        self.trim_after = text[position] == "-"
        self.end = position + (3 if self.trim_after else 2)

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", -1)

    def take(self) -> tuple[str, str, int]:
        token = self.peek()
        self.at += 1
        return token


def _bad(text: str, at: int, why: str) -> TemplateError:
    return TemplateError(f"template: :{text.count(chr(10), 0, at) + 1}: {why}")


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Scope:
    __slots__ = ("dot", "out", "template", "variables")

    def __init__(self, template: Template, dot: object, out: list[str], variables: dict[str, Any]) -> None:
        self.template, self.dot, self.out, self.variables = template, dot, out, variables

    def inner(self, dot: object) -> _Scope:
        # A variable set inside must be seen outside, one declared inside must not: hence the chain.
        return _Scope(self.template, dot, self.out, _Chain(self.variables))


class _Chain(dict):  # type: ignore[type-arg]
    __slots__ = ("outer",)

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self.outer = outer

    def __missing__(self, key: str) -> Any:  # noqa: ANN401
        return self.outer[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self.outer


def _assign(variables: dict[str, Any], name: str, value: object) -> None:
    while isinstance(variables, _Chain) and not dict.__contains__(variables, name):
        variables = variables.outer
    variables[name] = value


class _Text:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def run(self, scope: _Scope) -> None:
        scope.out.append(self.text)


class _Output:
    __slots__ = ("pipe",)

    def __init__(self, pipe: _Pipe) -> None:
        self.pipe = pipe

    def run(self, scope: _Scope) -> None:
        value = self.pipe.value(scope)
        if not self.pipe.names:
            scope.out.append(show(value))


class _Jump:
    __slots__ = ("kind",)

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def run(self, scope: _Scope) -> None:  # noqa: ARG002  every node is run alike
        raise self.kind


class _Block:
    """If, with and range: a pipeline, what to do with it, and what otherwise."""

    __slots__ = ("body", "kind", "other", "pipe")

    def __init__(self, kind: str, pipe: _Pipe, body: list[Any], other: list[Any]) -> None:
        self.kind, self.pipe, self.body, self.other = kind, pipe, body, other

    def run(self, scope: _Scope) -> None:
        inner = scope.inner(scope.dot)
        if self.kind == "range":
            self._range(inner)
            return
        value = self.pipe.value(inner)
        if truth(value):
            if self.kind == "with":
                inner.dot = value
            _run(self.body, inner)
        else:
            _run(self.other, inner)

    def _range(self, scope: _Scope) -> None:
        names, self.pipe.names = self.pipe.names, []
        try:
            value = self.pipe.value(scope)
        finally:
            self.pipe.names = names
        some = False
        for key, item in _pairs(value, self.pipe):
            some = True
            turn = scope.inner(item)
            if len(names) == 2:
                turn.variables[names[0]], turn.variables[names[1]] = key, item
            elif names:
                turn.variables[names[0]] = item
            try:
                _run(self.body, turn)
            except _Continue:
                continue
            except _Break:
                break
        if not some:
            _run(self.other, scope)


def _pairs(value: object, pipe: _Pipe) -> Iterator[tuple[object, object]]:
    if isinstance(value, dict):
        yield from sorted(value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((index, index) for index in range(value))
    elif value is not None:
        raise pipe.failure(f"range can't iterate over {show(value)}")


def _run(nodes: Sequence[Any], scope: _Scope) -> None:
    for node in nodes:
        node.run(scope)


class _Operand:
    """One word of a command: where it starts (a kind and a value) and the fields after it."""

    __slots__ = ("at", "fields", "kind", "source", "value")

    def __init__(self, kind: str, value: Any, at: int) -> None:  # noqa: ANN401
        self.kind, self.value, self.at = kind, value, at
        self.fields: list[str] = []
        self.source = ""

    def evaluate(self, scope: _Scope, arguments: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        kind = self.kind
        if kind == "constant":
            result = self.value
        elif kind == "dot":
            result = scope.dot
        elif kind == "variable":
            result = scope.variables[self.value]
        elif kind == "pipe":
            result = self.value.value(scope)
        else:
            return self._call(scope, arguments)
        last = len(self.fields) - 1
        for index, name in enumerate(self.fields):
            result = self._field(result, name)
            if callable(result):
                result = result(*(arguments if index == last else ()))
            elif arguments and index == last:
                raise scope.template.failure(self, f"{name} has arguments but cannot be invoked as function")
        if arguments and not self.fields:
            raise scope.template.failure(self, f"can't give argument to non-function {self.source}")
        return result

    def _call(self, scope: _Scope, arguments: Sequence[Any]) -> Any:  # noqa: ANN401
        name = self.value
        if name in ("and", "or"):  # arguments are evaluated by the command, Go's short cut makes no difference here
            return _and(*arguments) if name == "and" else _or(*arguments)
        try:
            return FUNCTIONS[name](*arguments)
        except TypeError:
            raise scope.template.failure(self, f"wrong number of args for {name}: got {len(arguments)}") from None
        except (ValueError, LookupError, AttributeError) as error:
            raise scope.template.failure(self, f"error calling {name}: {error}") from None

    def _field(self, value: Any, name: str) -> Any:  # noqa: ANN401
        template = self
        if hasattr(value, "template_field"):
            try:
                return value.template_field(name)
            except KeyError:
                raise _Failure(template, f"can't evaluate field {name} in type {value.template_type}") from None
        if isinstance(value, dict):
            found = value.get(name, _MISSING)
            if found is _MISSING and name == "ID":
                found = value.get("Id", _MISSING)
            if found is _MISSING or found is None:
                if name in _ABSENT:
                    return _ABSENT[name]
                if found is _MISSING:
                    raise _Failure(template, f'map has no entry for key "{name}"')
            return dict(sorted(found.items())) if name in _MAPS and isinstance(found, dict) else found
        if value is None:
            raise _Failure(template, f"nil pointer evaluating interface {{}}.{name}")
        raise _Failure(template, f"can't evaluate field {name} in type {_go_type(value)}")


_MISSING = object()


class _Failure(Exception):
    def __init__(self, operand: _Operand, why: str) -> None:
        super().__init__(why)
        self.operand, self.why = operand, why


class _Pipe:
    """Commands joined by ``|``, and the variables their result goes to."""

    __slots__ = ("at", "commands", "declares", "names", "template")

    def __init__(self, template: Template, at: int) -> None:
        self.template, self.at = template, at
        self.commands: list[list[_Operand]] = []
        self.names: list[str] = []
        self.declares = True

    def value(self, scope: _Scope) -> Any:  # noqa: ANN401
        result: Any = _MISSING
        for words in self.commands:
            arguments = [word.evaluate(scope) for word in words[1:]]
            if result is not _MISSING:
                arguments.append(result)
            result = words[0].evaluate(scope, arguments)
        if self.names:
            if self.declares:
                scope.variables[self.names[-1]] = result
            else:
                _assign(scope.variables, self.names[-1], result)
        return result

    def failure(self, why: str) -> TemplateError:
        return self.template.failure(self.commands[0][0], why)


class Template:
    """A parsed template."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0
        self._trim = False
        self._names: list[str] = ["$"]
        self.nodes, ended = self._nodes()
        if ended:
            raise _bad(text, self._at, f"unexpected {{{{{ended}}}}}")

    def render(self, value: object) -> str:
        """Return the template's output for a value."""
        out: list[str] = []
        try:
            _run(self.nodes, _Scope(self, value, out, {"$": value}))
        except _Failure as failure:
            raise self.failure(failure.operand, failure.why) from None
        return "".join(out)

    def failure(self, operand: _Operand, why: str) -> TemplateError:
        """Return an error that says where in the template it came up, as Go does."""
        before = self.text[: operand.at]
        line = before.count("\n") + 1
        column = len(before.rpartition("\n")[2].encode())
        return TemplateError(f'template: :{line}:{column}: executing "" at <{operand.source}>: {why}')

    def _nodes(self, inside: str = "") -> tuple[list[Any], str]:
        """Parse up to the end of the template or of a block; says which word ended the block."""
        nodes: list[Any] = []
        text = self.text
        while True:
            start = text.find("{{", self._at)
            plain = text[self._at :] if start < 0 else text[self._at : start]
            if self._trim:
                plain = plain.lstrip()
            self._trim = False
            if start >= 0 and text.startswith("{{-", start) and text[start + 3 : start + 4].isspace():
                plain, after = plain.rstrip(), start + 3
            else:
                after = start + 2
            nodes.append(_Text(plain))
            if start < 0:
                if inside:
                    raise _bad(text, len(text), "unexpected EOF")
                return nodes, ""
            body = after + len(text[after:]) - len(text[after:].lstrip())
            if text.startswith("/*", body):
                self._comment(body)
                continue
            action = _Action(text, after)
            self._at, self._trim = action.end, action.trim_after
            word = action.peek()[1] if action.peek()[0] == "name" else ""
            if word in ("end", "else"):
                action.take()
                if not inside:
                    raise _bad(text, start, f"unexpected {{{{{word}}}}}")
                if word == "else" and action.peek()[1] in ("if", "with"):
                    return nodes, self._chained(action)
                return nodes, word
            if word in ("if", "with", "range"):
                action.take()
                nodes.append(self._block(word, action))
            elif word in ("break", "continue"):
                nodes.append(_Jump(_Break if word == "break" else _Continue))
            elif not action.tokens:
                raise _bad(text, start, "missing value for command")
            else:
                nodes.append(_Output(self._pipe(action)))

    def _comment(self, at: int) -> None:
        end = self.text.find("*/", at)
        if end < 0:
            raise _bad(self.text, at, "unclosed comment")
        rest = self.text[end + 2 :]
        space = len(rest) - len(rest.lstrip())
        if rest[space:].startswith("-}}"):
            self._trim, self._at = True, end + 2 + space + 3
        elif rest.startswith("}}"):
            self._at = end + 4
        else:
            raise _bad(self.text, at, "comment ends before closing delimiter")

    def _chained(self, action: _Action) -> str:
        self._pending = action
        return "else " + action.take()[1]

    def _block(self, kind: str, action: _Action) -> _Block:
        known = len(self._names)
        pipe = self._pipe(action)
        body, ended = self._nodes(inside=kind)
        other: list[Any] = []
        if ended == "else":
            other, ended = self._nodes(inside=kind)
            if ended != "end":
                raise _bad(self.text, self._at, f"expected end; found {{{{{ended}}}}}")
        elif ended.startswith("else "):
            other = [self._block(ended[5:], self._pending)]  # its {{end}} ends us too
        del self._names[known:]
        return _Block(kind, pipe, body, other)

    def _pipe(self, action: _Action, *, nested: bool = False) -> _Pipe:
        pipe = _Pipe(self, action.peek()[2])
        if not nested:
            self._declaration(pipe, action)
        words: list[_Operand] = []
        while True:
            kind, text, at = action.peek()
            if kind == "end" or text in (")", "|"):
                if not words:
                    raise _bad(self.text, pipe.at, "missing value for command")
                pipe.commands.append(words)
                words = []
                if text != "|":
                    if text == ")" and not nested:
                        raise _bad(self.text, at, "unexpected right paren")
                    if kind == "end" and nested:
                        raise _bad(self.text, at, "unclosed left paren")
                    return pipe
                action.take()
                continue
            words.append(self._operand(action))

    def _declaration(self, pipe: _Pipe, action: _Action) -> None:
        start = action.at
        names: list[str] = []
        while action.peek()[0] == "variable":
            names.append(action.take()[1])
            sign = action.take()[1]
            if sign in (":=", "="):
                pipe.names, pipe.declares = names, sign == ":="
                if pipe.declares:
                    self._names.extend(names)
                return
            if sign != ",":
                break
        action.at = start

    def _operand(self, action: _Action) -> _Operand:
        kind, text, at = action.take()
        operand: _Operand
        if kind == "field":
            operand = _Operand("dot", None, at)
            operand.fields.append(text[1:])
        elif kind == "dot":
            operand = _Operand("dot", None, at)
        elif kind == "variable":
            if text not in self._names:
                raise _bad(self.text, at, f'undefined variable "{text}"')
            operand = _Operand("variable", text, at)
        elif text == "(":
            operand = _Operand("pipe", self._pipe(action, nested=True), at)
            action.take()
        elif kind == "name":
            operand = self._word(text, at)
        elif kind in ("text", "raw", "char", "number"):
            operand = _Operand("constant", _constant(kind, text), at)
        else:
            raise _bad(self.text, at, f'unexpected "{text}" in operand')
        end = at + len(text)
        first = True
        while action.peek()[0] == "field" and self.text[action.peek()[2] - 1] not in " \t\n":
            _, name, place = action.take()
            operand.fields.append(name[1:])
            if first:  # Go reports a chain at its second part
                operand.at, first = place, False
            end = place + len(name)
        operand.source = self.text[at:end]
        return operand

    def _word(self, text: str, at: int) -> _Operand:
        if text in ("true", "false"):
            return _Operand("constant", text == "true", at)
        if text == "nil":
            return _Operand("constant", None, at)
        if text not in FUNCTIONS and text not in ("and", "or"):
            raise _bad(self.text, at, f'function "{text}" not defined')
        return _Operand("function", text, at)


def _constant(kind: str, text: str) -> object:
    if kind == "raw":
        return text[1:-1]
    if kind == "number":
        try:
            return int(text, 0)
        except ValueError:
            return float(text)
    body = json.loads(f'"{text[1:-1]}"') if kind == "text" and "\\x" not in text else text[1:-1]
    return ord(body.replace("\\n", "\n").replace("\\t", "\t")[0]) if kind == "char" else body


def truth(value: object) -> bool:
    """Say whether Go holds a value for true: not false, zero, nil or empty."""
    return bool(value)


def _go_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "int", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}
    return names.get(type(value), "interface {}")


def show(value: object) -> str:
    """Print a value as Go's ``%v`` does."""
    if value is None:
        return "<nil>"
    if isinstance(value, GoTime):
        from berth.base.units import go_time

        return go_time(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e21 else repr(value)
    if isinstance(value, list | tuple):
        return f"[{' '.join(show(item) for item in value)}]"
    if isinstance(value, dict):
        for fields in _STRUCTURES:  # Go prints a structure's values without their names
            if fields[0] in value and value.keys() <= set(fields):
                return f"{{{' '.join('' if value.get(field) is None else show(value[field]) for field in fields)}}}"
        return f"map[{' '.join(f'{show(key)}:{show(value[key])}' for key in sorted(value))}]"
    return str(value)


def to_json(value: object, indent: int | None = None) -> str:
    """Print a value as Go's JSON encoder does with HTML left alone."""
    if hasattr(value, "template_json"):
        # Rows are encoded by Go's default rules, which make texts safe for HTML.
        text = json.dumps(value.template_json(), ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(_plain(value), ensure_ascii=False, separators=separators, indent=indent)


def _plain(value: object) -> object:
    if isinstance(value, NilList | NilMap):
        return None
    if isinstance(value, dict):
        return {
            key: _plain(dict(sorted(item.items())) if key in _MAPS and isinstance(item, dict) else item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _and(*values: object) -> object:
    for value in values:
        if not truth(value):
            return value
    return values[-1]


def _or(*values: object) -> object:
    for value in values:
        if truth(value):
            return value
    return values[-1]


def _index(value: Any, *keys: Any) -> Any:  # noqa: ANN401
    for key in keys:
        if isinstance(value, dict):
            if key in value:
                value = value[key]
            else:  # Go gives the zero value of the map's type; texts are by far the most
                value = "" if all(isinstance(item, str) for item in value.values()) else None
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int):
                raise ValueError(f"cannot index slice/array with type {_go_type(key)}")  # noqa: TRY004  Go's kind
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        elif value is None:
            raise ValueError("index of untyped nil")
        else:
            raise ValueError(f"can't index item of type {_go_type(value)}")
    return value


def _length(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | tuple | dict):
        return len(value)
    raise ValueError("len of nil pointer" if value is None else f"len of type {_go_type(value)}")


def _comparable(left: object, right: object) -> None:
    if left is None or right is None:
        return
    numbers = (int, float)
    if isinstance(left, bool) or isinstance(right, bool):
        same = isinstance(left, bool) and isinstance(right, bool)
    else:
        same = (isinstance(left, numbers) and isinstance(right, numbers)) or (
            isinstance(left, str) and isinstance(right, str)
        )
    if not same:
        raise ValueError("incompatible types for comparison")


def _eq(left: object, *others: object) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    for other in others:
        _comparable(left, other)
    return any(left == other for other in others)


def _ne(left: object, right: object) -> bool:
    return not _eq(left, right)


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def function(left: Any, right: Any) -> bool:  # noqa: ANN401
        _comparable(left, right)
        return compare(left, right)

    return function


_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+))?(?P<verb>.)", re.DOTALL)


def sprintf(form: str, *arguments: object) -> str:
    """Format as Go's Sprintf does, the verbs people use."""
    left = list(arguments)

    def one(match: re.Match[str]) -> str:
        verb, flags = match["verb"], match["flags"]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value: Any = left.pop(0)
        precision = f".{match['precision']}" if match["precision"] else ""
        if verb in "dxXobc" and isinstance(value, int) and not isinstance(value, bool):
            text = chr(value) if verb == "c" else f"{value:{'+' if '+' in flags else ''}{verb}}"
        elif verb in "fFgeE" and isinstance(value, int | float) and not isinstance(value, bool):
            text = f"{float(value):{precision or ('.6' if verb in 'fF' else '')}{verb}}"
        elif verb in "sv" or (verb == "t" and isinstance(value, bool)):
            text = show(value)
            text = text[: int(match["precision"])] if match["precision"] and verb == "s" else text
        elif verb == "q":
            text = json.dumps(show(value), ensure_ascii=False)
        elif verb in "xX" and isinstance(value, str):
            text = value.encode().hex()
        elif verb == "T":
            text = _go_type(value)
        else:
            text = f"%!{verb}({_go_type(value)}={show(value)})"
        width = int(match["width"] or 0)
        if "-" in flags:
            return text.ljust(width)
        return text.zfill(width) if "0" in flags and verb not in "svq" else text.rjust(width)

    result = _VERB.sub(one, form)
    if left:
        result += "%!(EXTRA " + ", ".join(f"{_go_type(value)}={show(value)}" for value in left) + ")"
    return result


def _print(*values: object) -> str:
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += show(value)
    return out


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:  # noqa: ANN401
    return value[start:end]


def _title(text: str) -> str:
    return re.sub(r"(^|[^\w'])(\w)", lambda match: match[1] + match[2].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _html(*values: object) -> str:
    text = _print(*values)
    for plain, safe in (("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;")):
        text = text.replace(plain, safe)
    return text


def _join(values: Sequence[Any] | None, separator: str) -> str:
    return separator.join(show(value) for value in values or ())


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _eq,
    "ge": _order(lambda left, right: left >= right),
    "gt": _order(lambda left, right: left > right),
    "html": _html,
    "index": _index,
    "join": _join,
    "json": to_json,
    "le": _order(lambda left, right: left <= right),
    "len": _length,
    "lower": lambda text: text.lower(),
    "lt": _order(lambda left, right: left < right),
    "ne": _ne,
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": sprintf,
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "slice": _slice,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "title": _title,
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
}
