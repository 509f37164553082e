"""How a verdict is printed."""

from berth.cli.commands.network_trace import render

ANSWER = {
    "From": "web", "To": "db:80", "Protocol": "tcp", "Reached": False, "Mend": ["berth start db"],
    "Steps": [
        {"Name": "source", "Mark": "ok", "Text": "web runs"},
        {"Name": "target", "Mark": "fail", "Text": "db does not run (it is exited)"},
    ],
}  # fmt: skip


def test_plain() -> None:
    assert render(ANSWER, colour=False).splitlines() == [
        "web does not reach db:80 (tcp)",
        "  ✓ source     web runs",
        "  ✗ target     db does not run (it is exited)",
        "to mend it:",
        "    berth start db",
    ]


def test_colour_changes_no_words() -> None:
    import re

    assert re.sub("\x1b\\[[0-9]+m", "", render(ANSWER, colour=True)) == render(ANSWER, colour=False)
