"""What `berth dns` prints."""

import pytest

from berth.cli.commands.dns import log_line, query_text, reason, stats_text

SAID = {
    "Name": "db",
    "Type": "A",
    "Code": "NOERROR",
    "Answers": ["A 10.1.0.3"],
    "TTL": 600,
    "TookMs": 0.0,
    "By": "alias",
    "Network": "front",
    "Entry": "db",
    "Holders": ["shop-db-1"],
    "Upstream": "",
}


def test_a_found_name_is_explained() -> None:
    answer = {
        "Name": "db",
        "Type": "A",
        "From": "web",
        "Found": True,
        "Hint": "",
        "Answers": [{"Name": "db", "TTL": 600, "Type": "A", "Data": "10.1.0.3"}],
        "Tries": [
            {
                "Name": "db.corp",
                "Server": "127.0.0.11",
                "Code": "NXDOMAIN",
                "Problem": "",
                "TookMs": 12.0,
                "Answers": [],
                "Said": SAID | {"By": "upstream", "Upstream": "192.0.2.53"},
            },
            {
                "Name": "db",
                "Server": "127.0.0.11",
                "Code": "NOERROR",
                "Problem": "",
                "TookMs": 0.31,
                "Answers": [1],
                "Said": SAID,
            },
        ],
    }
    assert query_text(answer) == (
        "db.     600     A       10.1.0.3\n"
        "\n"
        "ASKED FOR   OF           CAME BACK   TIME      BECAUSE OF\n"
        "db.corp     127.0.0.11   NXDOMAIN    12.0 ms   name server 192.0.2.53\n"
        "db          127.0.0.11   NOERROR     0.3 ms    alias db of shop-db-1 on network front"
    )


def test_what_is_not_found_says_so_and_what_would_help() -> None:
    answer = {
        "Name": "db",
        "Type": "AAAA",
        "From": "web",
        "Found": False,
        "Hint": "berth network connect back web",
        "Answers": [],
        "Tries": [
            {
                "Name": "db",
                "Server": "192.0.2.1",
                "Code": "",
                "Problem": "no reply in 5 s",
                "TookMs": 5000.0,
                "Answers": [],
                "Said": None,
            },
        ],
    }
    text = query_text(answer)
    assert text.startswith("web finds no AAAA record of db\n")
    assert "no reply in 5 s" in text
    assert text.endswith("\nberth network connect back web")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"By": "name"}, "container shop-db-1 on network front"),
        ({"By": "link"}, "link to db (shop-db-1) on network front"),
        ({"By": "wildcard", "Entry": "*.app.test"}, "wildcard alias *.app.test of shop-db-1 on network front"),
        ({"By": "cache", "Upstream": "192.0.2.1"}, "kept answer of 192.0.2.1"),
        ({"By": "news"}, "news"),
    ],
)
def test_every_reason_has_words(more: dict[str, str], text: str) -> None:
    assert reason(SAID | more) == text


def test_a_line_of_the_log() -> None:
    because = "alias db of shop-db-1 on network front"
    line = SAID | {"Time": "2026-11-24T17:00:00.123456789Z", "From": "web", "Missed": 0}
    assert log_line(line) == f"2026-11-24T17:00:00.123 web A db → A 10.1.0.3 [{because}, at once]"
    late = log_line(line | {"Missed": 7, "Answers": [], "Code": "NXDOMAIN", "TookMs": 12.3})
    assert late.startswith("(7 more before)\n")
    assert late.endswith(f"→ NXDOMAIN [{because}, 12.3 ms]")


def test_numbers_by_network_and_servers() -> None:
    numbers = {
        "Name": "front",
        "Queries": 10,
        "Names": 5,
        "Cached": 2,
        "Stale": 0,
        "Forwarded": 2,
        "Failed": 1,
        "Refused": 0,
        "HalfBelowMs": 5,
        "MostBelowMs": -1,
    }
    server = {
        "Address": "192.0.2.1",
        "FromHost": True,
        "State": "dead",
        "Asked": 3,
        "Answered": 1,
        "Failed": 0,
        "Silent": 2,
        "UsualMs": 1.5,
        "Problem": "no reply",
    }
    text = stats_text({"Networks": [numbers], "Containers": [], "Upstreams": [server]}, containers=False)
    assert [line.split() for line in text.splitlines()] == [
        ["NETWORK", "QUERIES", "NAMES", "CACHED", "STALE", "FORWARDED", "FAILED", "REFUSED", "HALF", "99", "%"],
        ["front", "10", "5", "2", "0", "2", "1", "0", "<5", "ms", ">5000", "ms"],
        [],
        ["NAME", "SERVER", "STATE", "ASKED", "ANSWERED", "FAILED", "SILENT", "USUALLY", "LAST", "PROBLEM"],
        ["192.0.2.1", "(of", "the", "host)", "dead", "3", "1", "0", "2", "1.5", "ms", "no", "reply"],
    ]
