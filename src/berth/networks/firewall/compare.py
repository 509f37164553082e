"""What the kernel has against what it should have: two printed tables → lines that only one of them has. Pure.

The table that should be there is loaded in an empty namespace and printed too, so both are in the kernel's own words.
"""

import re
from collections import Counter
from typing import Final, NamedTuple

#: What changes by itself: counts, and the time an element has left.
_ALIVE: Final = re.compile(r" (?:counter packets \d+ bytes \d+|timeout \S+|expires \S+)")


class Difference(NamedTuple):
    """One line: ``missing`` in the kernel, or ``foreign`` there; `where` is a set, map or chain."""

    kind: str
    where: str
    text: str


def lines(listing: str) -> list[tuple[str, str]]:
    """Return a printed table as pairs: chain or set, and one rule, element or property of it."""
    found: list[tuple[str, str]] = []
    where, elements = "", ""
    for raw in listing.splitlines():
        line = _ALIVE.sub("", raw.strip())
        if elements or line.startswith("elements = {"):
            elements = f"{elements} {line}".strip()
            if line.endswith("}"):
                inner = elements.removeprefix("elements = {").removesuffix("}")
                found += [(where, one.strip()) for one in inner.split(",") if one.strip()]
                elements = ""
        elif line.endswith("{") and not line.startswith("table "):
            where = line.removesuffix("{").strip()
            found.append((where, ""))
        elif line not in ("", "}") and not line.startswith("table "):
            found.append((where, line))
    return found


def differences(expected: str, actual: str) -> list[Difference]:
    """Return what is missing and what is foreign, in the order of the tables."""
    want, have = Counter(lines(expected)), Counter(lines(actual))
    missing = [Difference("missing", *line) for line in (want - have)]
    return missing + [Difference("foreign", *line) for line in (have - want)]
