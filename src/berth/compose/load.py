"""Read YAML text into plain values that remember where they stood.

PyYAML's C parser gives nodes with positions; typing is our own (YAML 1.2 in spirit: `on`, `yes` and `12:30` are
strings,
dates stay text). Duplicate keys are faults, merge keys are resolved, `!reset` and `!override` become markers.
Knows nothing of Compose's schema and reads no files.
"""

import re
from typing import Final

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from berth.compose.errors import BadProject, Fault, Mark, Path, fault
from berth.compose.values import RESET, Map, Override, Seq, Value

#: More values than this come only from aliases that multiply ("billion laughs").
MAX_VALUES: Final = 200_000
#: Deeper nesting is no Compose file, and Python's own stack is finite.
MAX_DEPTH: Final = 200

_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_OCTAL: Final = re.compile(r"([-+]?)0o?([0-7_]+)\Z")
_HEX: Final = re.compile(r"[-+]?0x[0-9a-fA-F_]+\Z")
_BINARY: Final = re.compile(r"[-+]?0b[01_]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: Final[dict[str, Value]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), ".Inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan"), ".NaN": float("nan"),
}  # fmt: skip
_NUMBER_START: Final = frozenset("+-.0123456789")
_PREFIX: Final = "tag:yaml.org,2002:"


def scalar(text: str) -> Value:
    """Give a plain scalar its type."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INT.match(text):
        return int(text.replace("_", ""))
    if match := _OCTAL.match(text):
        return int(match[1] + match[2].replace("_", ""), 8)
    if _HEX.match(text):
        return int(text.replace("_", ""), 16)
    if _BINARY.match(text):
        return int(text.replace("_", ""), 2)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text


class _Parser(CParser):
    """The C parser with a resolver that only tells plain scalars from quoted ones."""

    def resolve(self, kind: type[Node], _value: object, implicit: object) -> str:
        if kind is ScalarNode:
            return "plain" if isinstance(implicit, tuple) and implicit[0] else "text"
        return "map" if kind is MappingNode else "seq"

    def descend_resolver(self, _parent: object, _index: object) -> None:
        """Nothing depends on the place in the tree."""

    def ascend_resolver(self) -> None:
        """Nothing depends on the place in the tree."""


class _Builder:
    """Turns the nodes of one file into values."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.count = 0

    def mark(self, node: Node) -> Mark:
        start = node.start_mark
        return Mark(self.file, start.line + 1, start.column + 1)

    def value(self, node: Node, path: Path) -> Value:
        self.count += 1
        if self.count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise fault("too many values: aliases or nesting out of hand", path[:6], self.mark(node))
        tag = node.tag
        if tag == "plain":
            return scalar(node.value)
        if tag == "text":
            return node.value
        if tag == "map":
            return self.mapping(node, path)
        if tag == "seq":
            return self.sequence(node, path)
        return self.tagged(node, tag, path)

    def tagged(self, node: Node, tag: str, path: Path) -> Value:
        if tag == "!reset":
            return RESET
        if tag == "!override":
            return Override(self.plain(node, path))
        if tag in {"!", f"{_PREFIX}str"}:
            return node.value if isinstance(node, ScalarNode) else self.plain(node, path)
        if tag.startswith(_PREFIX) and isinstance(node, ScalarNode):
            typed = scalar(node.value)
            name = tag.removeprefix(_PREFIX)
            if name == "float" and isinstance(typed, int) and not isinstance(typed, bool):
                return float(typed)
            return node.value if name == "binary" else typed
        if tag.startswith(_PREFIX):
            return self.plain(node, path)
        self.faults.append(Fault(self.mark(node), path, f"unknown tag {tag}"))
        return None

    def plain(self, node: Node, path: Path) -> Value:
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return self.sequence(node, path)
        return scalar(node.value)

    def sequence(self, node: Node, path: Path) -> Seq:
        result = Seq()
        for index, item in enumerate(node.value):
            result.add(self.value(item, (*path, index)), self.mark(item))
        return result

    def mapping(self, node: Node, path: Path) -> Map:
        result = Map()
        merges: list[Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.faults.append(Fault(self.mark(key_node), path, "a key must be a plain text"))
                continue
            key = key_node.value
            if key == "<<" and key_node.tag == "plain":
                merges.extend(value_node.value if isinstance(value_node, SequenceNode) else [value_node])
                continue
            mark = self.mark(key_node)
            if key in result:
                text = f'mapping key "{key}" already defined at line {result.marks[key].line}'
                self.faults.append(Fault(mark, (*path, key), text))
                continue
            result.put(key, self.value(value_node, (*path, key)), mark)
        for source in merges:
            self.absorb(result, source, path)
        return result

    def absorb(self, result: Map, source: Node, path: Path) -> None:
        """Take over the keys of a merge source that are not there yet."""
        if not isinstance(source, MappingNode):
            self.faults.append(
                Fault(self.mark(source), (*path, "<<"), "a merge key takes a mapping or a list of mappings")
            )
            return
        other = self.mapping(source, path)
        for key, value in other.items():
            if key not in result:
                result.put(key, value, other.marks.get(key))


def parse(text: str, file: str) -> list[Map]:
    """Parse every document of `text`; `file` is the name that marks carry. Empty documents are left out."""
    builder = _Builder(file)
    documents: list[Map] = []
    try:
        parser = _Parser(text)
        while parser.check_node():
            node = parser.get_node()
            value = None if node is None else builder.value(node, ())
            if node is None or value is None:
                continue
            if not isinstance(value, Map):
                raise fault("top-level object must be a mapping", (), builder.mark(node))
            documents.append(value)
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file, 1, 1)
        raise fault(f"invalid YAML: {error.problem or error.context}", (), mark) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise fault(f"invalid YAML: {error}", (), Mark(file, 1, 1)) from None
    if builder.faults:
        raise BadProject(builder.faults)
    return documents
