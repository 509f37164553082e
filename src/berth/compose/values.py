"""Values of a document that remember where they stood. Pure, and free of the YAML library, whose import is dear.

Nothing here knows Compose.
"""

from typing import Any, Final

from berth.compose.errors import Mark, Path

#: Any value of a document: Map, Seq, str, int, float, bool, None, Reset or Override.
Value = Any


class Map(dict[str, Value]):
    """A mapping; `marks` tells for each key where it stands."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, Mark] = {}

    def put(self, key: str, value: Value, mark: Mark | None) -> None:
        """Set a key together with its place."""
        self[key] = value
        if mark is not None:
            self.marks[key] = mark


class Seq(list[Value]):
    """A sequence; `marks` runs parallel to the items."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark | None] = []

    def add(self, value: Value, mark: Mark | None) -> None:
        """Append an item together with its place."""
        self.append(value)
        self.marks.append(mark)


class Reset:
    """`!reset`: the key is to vanish from what earlier files said."""


class Override:
    """`!override`: the value replaces what earlier files said instead of being merged."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value


RESET: Final = Reset()


def mark_of(tree: Value, path: Path) -> Mark | None:
    """Find the place of `path` in `tree`, or of the nearest thing around it."""
    found: Mark | None = None
    for part in path:
        if isinstance(tree, Map) and part in tree:
            found = tree.marks.get(str(part), found)
            tree = tree[str(part)]
        elif isinstance(tree, Seq) and isinstance(part, int) and part < len(tree):
            found = tree.marks[part] or found
            tree = tree[part]
        else:
            break
    return found
