"""Prints lists of things: the default table, ``--format`` in all its forms, ``--quiet``.

A kind of list is declared as `Columns`: for each field its heading and how to get it from a record of the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from berth.cli.errors import CommandFailed
from berth.cli.tabular import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.flags import Parsed

    #: field → (heading, value for a record). A value may be a function, for fields with arguments (`.Label "x"`).
    Columns = dict[str, tuple[str, Callable[[Any], Any]]]

FORMAT_LIST = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"""

FORMAT_INSPECT = """Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"""


class Row:
    """One record, seen by a template."""

    __slots__ = ("_columns", "_record", "template_type")

    def __init__(self, columns: Columns, record: Any, kind: str) -> None:  # noqa: ANN401
        self._columns, self._record, self.template_type = columns, record, kind

    def template_field(self, name: str) -> Any:  # noqa: ANN401
        """Return a field's value."""
        return self._columns[name][1](self._record)

    def template_json(self) -> dict[str, object]:
        """Return all fields without arguments, by name."""
        values = ((name, self._columns[name][1](self._record)) for name in sorted(self._columns))
        return {name: value for name, value in values if not callable(value)}


class Headings:
    """The first line of a table: every field is its own heading."""

    __slots__ = ("_columns",)

    template_type = "formatter.SubHeaderContext"

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def template_field(self, name: str) -> object:
        """Return the heading of a field."""
        if name == "Label":
            return lambda label: label.rpartition(".")[2].replace("-", " ").replace("_", " ")
        return self._columns[name][0]


def _simple(template: str, columns: Columns) -> Callable[[Any], str] | None:
    """Return a quick renderer of a template with nothing but plain fields: the template engine stays unloaded."""
    first, *rest = template.split("{{.")
    if "{{" in first:
        return None
    parts: list[tuple[str, str]] = []
    for piece in rest:
        name, closed, after = piece.partition("}}")
        if not closed or not name.isalnum() or name not in columns or "{{" in after or name == "Label":
            return None
        parts.append((name, after))

    def render(row: Row | Headings) -> str:
        return first + "".join(f"{_text(row.template_field(name))}{after}" for name, after in parts)

    return render


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    from berth.base.gotemplate import show

    return show(value)


def compiled(template: str) -> Callable[[Any], str]:
    """Return a renderer of a template.

    Raises:
        CommandFailed: The template does not parse, or (from the renderer) does not fit.
    """
    from berth.base.gotemplate import Template, TemplateError

    try:
        parsed = Template(template)
    except TemplateError as error:
        raise CommandFailed(f"template parsing error: {error}") from None

    def render(value: object) -> str:
        try:
            return parsed.render(value)
        except TemplateError as error:
            raise CommandFailed(f"template parsing error: {error}") from None

    return render


def print_rows(
    records: Iterable[Any], columns: Columns, template: str, *, default: str, quiet: str = "", kind: str = "row"
) -> None:
    """Print records.

    Args:
        records: What the API gave.
        columns: The fields of such a record.
        template: What ``--format`` says; empty is the default table.
        default: The template of the default table, fields separated by tabs.
        quiet: The template of ``--quiet`` if it was given.
        kind: What Go calls such a row, for error messages.
    """
    import sys

    form = template.strip()
    table = False
    if form in ("", "table"):
        table = not quiet
        form = quiet or default
    elif form == "json":
        form = "{{json .}}"
    elif form == "table" or form.startswith("table "):
        table = True
        form = form[5:].strip()
        if quiet:
            table, form = False, quiet
    form = form.replace("\\t", "\t").replace("\\n", "\n")
    render = _simple(form, columns) or compiled(form)
    lines = [render(Headings(columns))] if table else []
    lines.extend(render(Row(columns, record, kind)) for record in records)
    if lines:
        text = "\n".join(lines) + "\n"
        sys.stdout.write(align(text) if table else text)


def filters_of(parsed: Parsed, name: str = "filter") -> dict[str, list[str]] | None:
    """Collect ``--filter`` flags as the API wants them; None if there are none."""
    filters: dict[str, list[str]] = {}
    for text in parsed.list(name):
        if text:
            key, _, value = text.partition("=")
            filters.setdefault(key.strip().lower(), []).append(value.strip())
    return {key: sorted(set(values)) for key, values in filters.items()} or None


def short_id(identifier: str) -> str:
    """Return the twelve digits people see."""
    return identifier.rpartition(":")[2][:12] if identifier.startswith("sha256:") else identifier[:12]


def ellipsis(text: str, length: int) -> str:
    """Cut a text to a display width, ending in … where something was lost."""
    if len(text) <= length:
        return text
    return text[:length] if length <= 1 else text[: length - 1] + "…"


def labels_text(labels: dict[str, str] | None) -> str:
    """Print labels as ``a=1,b=2``, sorted."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def label_lookup(labels: dict[str, str] | None) -> Callable[[str], str]:
    """Return the method behind ``.Label "name"``."""
    return lambda name: (labels or {}).get(name, "")
