"""Tables, words for times and sizes, ports, help pages, progress: as Docker prints them."""

import io
import re
from typing import Any

import pytest

from berth.cli import human, tree
from berth.cli.commands.image import rows
from berth.cli.commands.listing import ports_text
from berth.cli.commands.transfer import check_reference, full_name, split_tag
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag
from berth.cli.formatting import print_rows
from berth.cli.helptext import flag_table
from berth.cli.moments import moment
from berth.cli.natural import natural_key
from berth.cli.progress import show_progress
from berth.cli.tabular import align


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human.duration(seconds) == text


def test_sizes() -> None:
    assert [human.size(count) for count in (0, 999, 1984172, 131e6)] == ["0B", "999B", "1.98MB", "131MB"]
    assert [human.size(count, 4) for count in (1984172, 130949120)] == ["1.984MB", "130.9MB"]
    assert human.bytes_size(1536) == "1.5KiB"


def test_times() -> None:
    assert human.epoch("1970-01-01T00:01:00.5Z") == 60.5
    assert human.epoch("0001-01-01T00:00:00Z") == 0


def test_moments() -> None:
    assert moment("10s", now=100) == "90.000000000"
    assert moment("1136073600") == "1136073600"
    assert moment("1970-01-01T00:00:10Z") == "10.000000000"
    assert moment("1970-01-01T00:00:10.25Z") == "10.250000000"
    with pytest.raises(CommandFailed):
        moment("yesterday")


def test_columns_are_at_least_ten_wide_and_three_apart() -> None:
    assert align("A\tBB\nlong name here\tb\n") == "A                BB\nlong name here   b\n"
    assert align("ID\tX") == "ID        X"


def test_a_table_and_its_formats(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "ID": ("THE ID", lambda it: it["id"]),
        "Name": ("NAME", lambda it: it["name"]),
        "Label": ("", lambda _: lambda name: f"<{name}>"),
    }
    records = [{"id": "1", "name": "a<b"}]

    def shown(template: str, quiet: str = "") -> str:
        print_rows(records, columns, template, default="{{.ID}}\t{{.Name}}", quiet=quiet)
        return capsys.readouterr().out

    assert shown("") == "THE ID    NAME\n1         a<b\n"
    assert shown("table") == shown("")
    assert shown("", "{{.ID}}") == "1\n"
    assert shown("json") == '{"ID":"1","Name":"a\\u003cb"}\n'
    assert shown("{{.Name}}:{{.ID}}") == "a<b:1\n"
    assert shown('table {{.Name}}\\t{{.Label "a.b-c"}}') == "NAME      b c\na<b       <a.b-c>\n"
    assert shown("{{upper .Name}}") == "A<B\n"
    with pytest.raises(CommandFailed, match="can't evaluate field Nope in type row"):
        shown("{{.Nope}}")


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([(80, "", 0)], "80/tcp"),
        ([(80, "0.0.0.0", 8080), (80, "::", 8080)], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([(80, "0.0.0.0", 80), (81, "0.0.0.0", 81), (90, "", 0)], "90/tcp, 0.0.0.0:80-81->80-81/tcp"),
        ([(80, "", 0), (81, "", 0), (83, "", 0)], "80-81/tcp, 83/tcp"),
    ],
)
def test_ports(ports: list[tuple[int, str, int]], text: str) -> None:
    records: list[dict[str, Any]] = [
        {"PrivatePort": private, "IP": address, "PublicPort": public, "Type": "tcp"}
        for private, address, public in ports
    ]
    assert sorted(ports_text(records).split(", ")) == sorted(text.split(", "))


def test_an_image_has_a_row_for_each_tag() -> None:
    image = {"RepoTags": ["a:1", "docker.io/library/b:2"], "RepoDigests": ["a@sha256:x", "c@sha256:y"]}
    assert [row[1:] for row in rows(image, digests=False)] == [
        ("a", "1", "<none>"),
        ("b", "2", "<none>"),
        ("c", "<none>", "<none>"),
    ]
    assert [row[1:] for row in rows(image, digests=True)] == [
        ("a", "1", "sha256:x"),
        ("b", "2", "<none>"),
        ("c", "<none>", "sha256:y"),
    ]
    assert [row[1:] for row in rows({"RepoTags": []}, digests=False)] == [("<none>", "<none>", "<none>")]


def test_names_of_images() -> None:
    assert full_name("busybox") == "docker.io/library/busybox:latest"
    assert full_name("a/b:1") == "docker.io/a/b:1"
    assert full_name("localhost:5000/a") == "localhost:5000/a:latest"
    assert split_tag("localhost:5000/a:1") == ("localhost:5000/a", "1")
    assert split_tag("a@sha256:0") == ("a", "sha256:0")
    check_reference("registry.example.com:5000/a/b_c:1.0-x")
    with pytest.raises(CommandFailed, match=r"repository name \(library/BusyBox\) must be lowercase"):
        check_reference("BusyBox")
    with pytest.raises(CommandFailed, match="invalid reference format"):
        check_reference("a b")


def test_natural_order() -> None:
    assert sorted(["web10", "web2", "db"], key=natural_key) == ["db", "web2", "web10"]


def test_options_are_wrapped_beside_their_names() -> None:
    flags = (
        Flag("all", "a", "bool", "Show all"),
        Flag("ip", "", "strings", "word " * 20),
        Flag("name", "n", "string", "Name", default="x"),
    )
    assert flag_table(flags, 60) == (
        "  -a, --all           Show all\n"
        "      --ip strings    word word word word word word\n"
        "                      word word word word word word\n"
        "                      word word word word word word\n"
        "                      word word \n"
        '  -n, --name string   Name (default "x")\n'
    )


def test_progress_in_a_file_is_plain_lines() -> None:
    out = io.StringIO()
    records: list[dict[str, Any]] = [
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "abc", "progressDetail": {"current": 5, "total": 10}},
        {"status": "Pull complete", "id": "abc", "progressDetail": {}},
        {"aux": {"ID": "1"}},
        {"stream": "Loaded image: x\n"},
        {"status": "Done"},
    ]
    assert show_progress(records, out) == [{"ID": "1"}]
    assert out.getvalue() == "latest: Pulling from library/x\nabc: Pull complete\nLoaded image: x\nDone\n"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Play what was written as a terminal would."""
        rows, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\d*[A-Z]|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if token == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif token == "\r":
                column = 0
            elif not token.startswith("\x1b"):
                rows[row] = rows[row][:column] + token + rows[row][column + len(token) :]
                column += len(token)
            elif token.endswith("A"):
                row -= int(token[2:-1])
            elif token.endswith("B"):
                row += int(token[2:-1])
            else:
                rows[row] = ""
        return rows


def test_progress_on_a_terminal_redraws_the_line_of_each_layer() -> None:
    out = Screen()
    show_progress(
        [
            {"status": "Pulling from library/x", "id": "latest"},
            {"status": "Pulling fs layer", "id": "aaa", "progressDetail": {}},
            {"status": "Pulling fs layer", "id": "bbb", "progressDetail": {}},
            {"status": "Downloading", "id": "aaa", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
            {"status": "Pull complete", "id": "bbb", "progressDetail": {}},
            {"status": "Status: Downloaded newer image for x:latest"},
        ],
        out,
    )
    assert out.lines() == [
        "latest: Pulling from library/x",
        "aaa: Downloading      1MB/4MB",
        "bbb: Pull complete",
        "Status: Downloaded newer image for x:latest",
        "",
    ]


def test_progress_ends_with_the_engines_error() -> None:
    with pytest.raises(CommandFailed, match="manifest unknown"):
        show_progress([{"errorDetail": {"message": "manifest unknown"}, "error": "x"}], io.StringIO())


def test_every_command_of_the_tree_loads_and_knows_its_names() -> None:
    targets = {entry[1] for _, entries in tree.GROUPS.values() for entry in entries.values()}
    targets |= {entry[1] for entry in tree.OWN.values()}
    for target in targets:
        command = tree.load(target)
        names = [flag.name for flag in command.flags]
        letters = [flag.short for flag in command.flags if flag.short]
        assert len(set(names)) == len(names), target
        assert len(set(letters)) == len(letters), target
    assert tree.target_of(("ps",)) == tree.target_of(("container", "list")) == tree.target_of(("container", "ls"))
    assert tree.names_of(("ps",)) == ["container ls", "container list", "container ps", "ps"]
    assert tree.target_of(("nope",)) is None
    assert tree.target_of(("network", "nope")) is None
