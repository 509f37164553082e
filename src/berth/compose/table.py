"""Print records as a table, as JSON lines or by a template. Pure text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from berth.compose.errors import BadUsage

#: Headings that are not just the field's name.
_HEADINGS = {
    "Name": "NAME",
    "CreatedAt": "CREATED AT",
    "ExitCode": "EXIT CODE",
    "ID": "CONTAINER ID",
    "LocalVolumes": "LOCAL VOLUMES",
    "RunningFor": "CREATED",
}


class _Row:
    """A record as a template sees it."""

    __slots__ = ("_record",)
    template_type = "*formatter.Context"

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    def template_field(self, name: str) -> object:
        """Return a field; `KeyError` if there is none."""
        return self._record[name]

    def template_json(self) -> dict[str, Any]:
        """Return all fields."""
        return dict(sorted(self._record.items()))


class _Headings:
    """The first line of a table."""

    template_type = "*formatter.Context"

    def template_field(self, name: str) -> str:
        """Return the heading of a field."""
        return _HEADINGS.get(name, name.upper())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns under a head; the last one is left ragged."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[index]) for line in lines) + 3 for index in range(len(head))]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def check_format(text: str) -> str:
    """Return `table` or `json`."""
    if text in {"", "table"}:
        return "table"
    if text == "json":
        return "json"
    raise BadUsage(f"format value {text!r} could not be parsed: table and json are available")


def is_template(text: str) -> bool:
    """Whether ``--format`` has a template of the user's own: ``{{.Name}}`` or ``table {{.Name}}``."""
    return "{{" in text


def templated(text: str, records: Iterable[Mapping[str, Any]]) -> str:
    """Print records by a template, under headings if it begins with ``table``. Raises `BadUsage`."""
    from berth.base.gotemplate import Template, TemplateError

    form = text.strip()
    headed = form.startswith("table ")
    form = form.removeprefix("table ").strip().replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template(form)
        lines = [template.render(_Row(record)) for record in records]
        if not headed:
            return "".join(f"{line}\n" for line in lines)
        head = template.render(_Headings()).split("\t")
    except TemplateError as exc:
        raise BadUsage(f"template parsing error: {exc}") from None
    rows = [line.split("\t") for line in lines]
    width = max(len(row) for row in (head, *rows))
    return table([*head, *[""] * (width - len(head))], [[*row, *[""] * (width - len(row))] for row in rows])


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Print one object a line."""
    return "".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n" for record in records)
