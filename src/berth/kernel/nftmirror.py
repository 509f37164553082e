"""What this process has put into nftables, so that all of it can be put back in one transaction. Pure.

It reads the commands of transactions that succeeded: a table written whole starts its copy, elements added and deleted
keep it true. Whoever rebuilds from it needs no pause between "done" and "recorded" of the operations under way. Must
not: understand rules; tables of others are not kept.
"""

import re
from collections.abc import Iterator
from typing import Final

#: ``add element inet berth ports_any { tcp . 80 : 172.18.0.2 . 80, … }``, as the texts of ours are written.
_ELEMENTS: Final = re.compile(r"(add|delete) element (\w+ \S+) (\S+) \{ (.*) \}")
_WHOLE: Final = re.compile(r"table (\w+ \S+) \{")
_DELETE: Final = re.compile(r"delete table (\w+ \S+)")


class Copy:
    """One table: the text of its rules, and the elements of its sets and maps."""

    def __init__(self, rules: str) -> None:
        self.rules = rules
        #: set or map → key → value; empty in a set
        self.elements: dict[str, dict[str, str]] = {}

    def text(self, name: str) -> str:
        """Return the transaction that makes table `name` exactly this, whatever it was."""
        return f"table {name} {{}}\ndelete table {name}\n{self.rules}" + "".join(
            f"add element {name} {where} {{ {', '.join(_spelt(pairs))} }}\n"
            for where, pairs in sorted(self.elements.items())
            if pairs
        )

    def __len__(self) -> int:
        return sum(map(len, self.elements.values()))


class Mirror:
    """Copies of the tables written whole, by family and name (``inet berth``)."""

    def __init__(self) -> None:
        self.tables: dict[str, Copy] = {}

    def note(self, commands: str) -> None:
        """Take over a transaction that was carried out."""
        lines = iter(commands.splitlines())
        for line in lines:
            if match := _ELEMENTS.fullmatch(line):
                copy = self.tables.get(match[2])
                if copy is not None:
                    _change(copy.elements.setdefault(match[3], {}), match[1], match[4])
            elif match := _WHOLE.fullmatch(line):
                self.tables[match[1]] = Copy(f"{line}\n" + "".join(f"{inner}\n" for inner in _block(lines)))
            elif match := _DELETE.fullmatch(line):
                self.tables.pop(match[1], None)

    def whole(self) -> str:
        """Return the transaction that puts back every table."""
        return "".join(copy.text(name) for name, copy in sorted(self.tables.items()))


def _block(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line == "}":
            return


def _spelt(pairs: dict[str, str]) -> Iterator[str]:
    for key, value in sorted(pairs.items()):
        yield f"{key} : {value}" if value else key


def _change(elements: dict[str, str], verb: str, text: str) -> None:
    for one in text.split(", "):
        key, _, value = one.partition(" : ")
        if verb == "add":
            elements[key] = value
        else:
            elements.pop(key, None)
