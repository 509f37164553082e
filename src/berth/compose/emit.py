"""Print a model as YAML. Pure. Texts that another YAML reader could take for something else are quoted."""

import json
import re
from typing import Any, Final

_SAFE: Final = re.compile(r"[A-Za-z_/.$][A-Za-z0-9_./$@=+~ ():,\-]*\Z")
#: Texts of several lines that read best as a block: no leading blanks, nothing odd, one line end at most at the end.
_BLOCK: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?(?:\n(?:[!-~](?:[ -~]*[!-~])?)?)*\n?(?<!\n\n)\Z")
#: Characters that are line ends or invisible to some YAML reader, also between quotes.
_ODD: Final = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
#: Words that some YAML version reads as a boolean or null.
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})


def _text(value: str) -> str:
    if (
        _SAFE.match(value)
        and value.lower() not in _WORDS
        and ": " not in value
        and " #" not in value
        and not value.endswith((":", " "))
        and not value.startswith(".")
    ):
        return value
    return _ODD.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return str(value)


def _lines(value: Any, indent: str, out: list[str], *, in_list: bool) -> None:  # noqa: ANN401  any value of a document
    if isinstance(value, dict):
        first = in_list
        for key, item in value.items():
            lead = "" if first else indent
            first = False
            _entry(f"{lead}{_text(str(key))}:", item, indent, out)
    else:
        for item in value:
            if isinstance(item, dict) and item:
                out.append(f"{indent}- ")
                at = len(out)
                _lines(item, indent + "  ", out, in_list=True)
                out[at - 1 : at + 1] = [out[at - 1] + out[at]]
            elif isinstance(item, list) and item:
                out.append(f"{indent}-")
                _lines(item, indent + "  ", out, in_list=False)
            else:
                _entry(f"{indent}-", item, indent, out)


def _entry(lead: str, value: object, indent: str, out: list[str]) -> None:
    if isinstance(value, dict | list):
        if value:
            out.append(lead)
            _lines(value, indent + "  ", out, in_list=False)
        else:
            out.append(f"{lead} {'{}' if isinstance(value, dict) else '[]'}")
    elif isinstance(value, str) and "\n" in value and _BLOCK.match(value):
        out.append(f"{lead} {'|' if value.endswith(chr(10)) else '|-'}")
        out.extend(f"{indent}  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        out.append(f"{lead} {_scalar(value)}")


def yaml_text(value: dict[str, Any]) -> str:
    """Print a mapping as YAML."""
    out: list[str] = []
    _lines(value, "", out, in_list=False)
    return "\n".join(out) + "\n"
