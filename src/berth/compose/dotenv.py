r"""The grammar of `.env`, `--env-file`, `env_file` and `label_file`. Pure: text in, variables out.

KEY=value   KEY: value   export KEY=value   KEY (taken from the environment, else absent)
"double"    several lines, escapes \n \r \t \\ \" \$ \0ooo, interpolated
'single'    several lines, literal, \' allowed
plain       up to " #", trimmed, interpolated, no escapes
"""

import re
from collections.abc import Callable
from typing import Final

from berth.compose.errors import Mark, fault
from berth.compose.interpolate import BadTemplate, Lookup, substitute

_KEY: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z0-9_.\-\[\]]+)[ \t]*(?:([=:])[ \t]*|(?=\r?\n|\Z|#))")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_OCTAL: Final = re.compile(r"0[0-7]{1,3}")


def parse(text: str, file: str, lookup: Lookup, warn: Callable[[str], None] | None = None) -> dict[str, str]:
    """Parse `text`; `lookup` gives the variables from outside, which win over those of the file in interpolation."""
    found: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")

    def value_of(name: str) -> str | None:
        outside = lookup(name)
        return outside if outside is not None else found.get(name)

    def unset(name: str) -> None:
        if warn is not None:
            warn(name)

    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].strip()
        if not line or line[0] == "#":
            at = end + 1
            continue
        match = _KEY.match(text, at)
        number = text.count("\n", 0, at) + 1
        if match is None or match.end() > len(text) or "\n" in match[0]:
            raise fault(f'unexpected character in variable name near "{line}"', (), Mark(file, number, 1))
        key = match[1]
        if match[2] is None:
            inherited = lookup(key)
            if inherited is not None:
                found[key] = inherited
            at = end + 1
            continue
        try:
            found[key], at = _value(text, match.end(), end, value_of, unset)
        except BadTemplate as error:
            raise fault(str(error), (key,), Mark(file, number, 1)) from None
    return found


def _value(text: str, start: int, end: int, lookup: Lookup, unset: Callable[[str], None]) -> tuple[str, int]:
    """Read one value; return it and where the next line begins."""
    quote = text[start : start + 1]
    if quote == '"':
        raw, after = _until_quote(text, start + 1, '"')
        return substitute(_unescape(raw), lookup, unset, lone_dollar=True), _next_line(text, after)
    if quote == "'":
        raw, after = _until_quote(text, start + 1, "'")
        return raw.replace("\\'", "'"), _next_line(text, after)
    raw = text[start:end]
    if raw.startswith("#"):
        raw = ""
    comment = re.search(r"[ \t]#", raw)
    if comment is not None:
        raw = raw[: comment.start()]
    return substitute(raw.strip().replace("\\$", "$$"), lookup, unset, lone_dollar=True), end + 1


def _until_quote(text: str, start: int, quote: str) -> tuple[str, int]:
    at = start
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == quote:
            return text[start:at], at + 1
        else:
            at += 1
    line = text[start - 1 :].split("\n", 1)[0]
    raise BadTemplate(f"unterminated quoted value {line}")


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _unescape(raw: str) -> str:
    """Resolve the escapes of a double-quoted value; an escaped dollar stays doubled for the interpolation to come."""
    if "\\" not in raw:
        return raw
    out: list[str] = []
    at = 0
    while at < len(raw):
        if raw[at] != "\\" or at + 1 == len(raw):
            out.append(raw[at])
            at += 1
            continue
        follow = raw[at + 1]
        if follow == "$":
            out.append("$$")
        elif follow in _ESCAPES:
            out.append(_ESCAPES[follow])
        elif match := _OCTAL.match(raw, at + 1):
            out.append(chr(int(match[0], 8)))
            at = match.end()
            continue
        else:
            out.append("\\" + follow)
        at += 2
    return "".join(out)


def parse_raw(text: str) -> dict[str, str]:
    """Parse the `raw` format: split at the first `=`, nothing else."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {key: value for key, sign, value in pairs if sign}
