"""Which of many names fit a name filter, found without a look at each. Pure.

All names are one text that is searched in C: the question costs what it finds, and next to nothing for each name
there is. Names come and go in no time; the text follows when it is next searched.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

#: Stands before and after each name in the text.
_END: Final = "\n"
#: A text that means itself as a regular expression too.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]*")
#: One that does but for its ends, and for dots that stand for any character or, quoted, for themselves.
_SIMPLE: Final = re.compile(r"(\^?)((?:[A-Za-z0-9_.-]|\\[.-])*)(\$?)")
_DOTS: Final = re.compile(r"\\?\.|\\-")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f\n]*")
#: So long are names that the engine makes up, of which there may be many more than of those that people do.
_MADE_UP: Final = 64


class _Text:
    """Names as one text; those that are gone stay in it until half of it is of no use."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._text = _END
        self._new: list[str] = []
        self._gone: set[str] = set()

    def add(self, name: str) -> None:
        if name in self.names:
            return
        self.names.add(name)
        if name in self._gone:
            self._gone.discard(name)
        else:
            self._new.append(name)

    def discard(self, name: str) -> None:
        if name in self.names:
            self.names.discard(name)
            self._gone.add(name)

    def holding(self, part: str) -> list[str]:
        """Return the names that hold a text, which may begin and end with the end of a name but is more than that."""
        self._follow()
        text, found = self._text, []
        at = text.find(part)
        while at >= 0:
            inside = at + 1 if part.startswith(_END) else at
            begin, end = text.rfind(_END, 0, inside) + 1, text.find(_END, inside)
            name = text[begin:end]
            if name in self.names:
                found.append(name)
            at = text.find(part, end)
        return found

    def _follow(self) -> None:
        if len(self._gone) > len(self.names):
            self._text = _END.join(("", *self.names, ""))
            self._gone.clear()
            self._new.clear()
        elif self._new:
            self._text += _END.join((*self._new, ""))
            self._new.clear()


class NameIndex:
    """Names, each of them once."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._given = _Text()
        self._made_up = _Text()
        #: Names of more than one line, as a network may have.
        self._odd: set[str] = set()
        for name in names:
            self.add(name)

    def _home(self, name: str) -> _Text:
        return self._made_up if len(name) == _MADE_UP and _HEXADECIMAL.fullmatch(name) else self._given

    def add(self, name: str) -> None:
        """Know a name; it may be known already."""
        if _END in name:
            self._odd.add(name)
        else:
            self._home(name).add(name)

    def discard(self, name: str) -> None:
        """Forget a name, if it is known."""
        self._odd.discard(name)
        self._home(name).discard(name)

    def __contains__(self, name: str) -> bool:
        return name in self._odd or name in self._home(name).names

    def matching(self, wanted: Sequence[str]) -> set[str]:
        """Return the names that one of `wanted` is part of or, as a regular expression, fits: Docker's rule."""
        return {name for want in wanted for name in self._matching(want)}

    def _matching(self, want: str) -> Iterable[str]:
        if _PLAIN.fullmatch(want):
            return [*self._holding(want), *(name for name in self._odd if want in name)]
        same = [want] if want in self else []  # whatever it means as a regular expression
        try:
            fits = re.compile(want).search
        except re.error:
            return same
        simple = _SIMPLE.fullmatch(want)
        part = _longest(*simple.groups()) if simple else ""
        return [*same, *filter(fits, self._holding(part)), *filter(fits, self._odd)]

    def _holding(self, part: str) -> Iterable[str]:
        if not part.strip(_END):
            return self._given.names | self._made_up.names
        found = self._given.holding(part)
        if _HEXADECIMAL.fullmatch(part):
            found += self._made_up.holding(part)
        return found


def is_simple(pattern: str) -> bool:
    """Tell whether a pattern means itself, but for its ends and dots, and is so found without a look at each name."""
    return _SIMPLE.fullmatch(pattern) is not None


def _longest(begin: str, middle: str, end: str) -> str:
    """Return the longest text that a simple pattern says word by word."""
    said = f"{begin and _END}{_DOTS.sub(' ', middle)}{end and _END}"
    return max(said.split(" "), key=len)
