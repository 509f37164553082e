"""What ``--format`` prints."""

import pytest

from berth.compose.errors import BadUsage
from berth.compose.table import check_format, is_template, templated

ROWS = [{"Name": "p-web-1", "Service": "web", "ExitCode": 0}, {"Name": "p-database-1", "Service": "db", "ExitCode": 3}]


def test_a_template_of_ones_own() -> None:
    assert templated("{{.Service}}: {{.ExitCode}}", ROWS) == "web: 0\ndb: 3\n"
    assert templated("{{json .}}", ROWS[:1]) == '{"ExitCode":0,"Name":"p-web-1","Service":"web"}\n'


def test_a_table_of_ones_own_has_headings() -> None:
    shown = templated("table {{.Name}}\\t{{.ExitCode}}", ROWS)
    assert shown.splitlines() == ["NAME           EXIT CODE", "p-web-1        0", "p-database-1   3"]
    assert templated("table {{.Name}}", []) == "NAME\n"


@pytest.mark.parametrize("text", ["{{.Nosuch}}", "{{", "{{nosuch .Name}}"])
def test_a_template_that_does_not_fit_is_refused(text: str) -> None:
    assert is_template(text)
    with pytest.raises(BadUsage, match="template parsing error"):
        templated(text, ROWS)


def test_other_words_are_no_format() -> None:
    assert not is_template("yaml")
    with pytest.raises(BadUsage, match="table and json"):
        check_format("yaml")
