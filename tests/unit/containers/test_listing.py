from typing import Any

import msgspec
import pytest

from berth.base.errors import InvalidArgument
from berth.containers import listing
from berth.containers.model import ContainerRecord, Health
from berth.containers.states import State
from berth.wire.containers import ContainerConfig, HostConfig
from berth.wire.filters import Filters

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND


def record(name: str, created: int = 1, **fields: Any) -> ContainerRecord:
    base = ContainerRecord(
        id=(name.encode().hex() * 64)[:64], name=name, created_ns=created, image_id="sha256:1", image_ref="busybox",
        config=ContainerConfig(), host_config=HostConfig(),
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (3600, "About an hour"), (7200, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans_in_words(seconds: int, words: str) -> None:
    assert listing.ago(seconds * SECOND) == words


def test_status() -> None:
    def text(**fields: Any) -> str:
        return listing.status_text(record("a", **fields), NOW)

    up = {"state": State.RUNNING, "started_ns": NOW - 3 * SECOND}
    assert text() == "Created"
    assert text(**up) == "Up 3 seconds"
    assert text(**up, health=Health()) == "Up 3 seconds (health: starting)"
    assert text(**up, health=Health(status="healthy")) == "Up 3 seconds (healthy)"
    assert text(**up | {"state": State.PAUSED}) == "Up 3 seconds (Paused)"
    ended = {"started_ns": 1, "finished_ns": NOW - 61 * SECOND, "exit_code": 3}
    assert text(state=State.EXITED, **ended) == "Exited (3) About a minute ago"
    assert text(state=State.RESTARTING, **ended) == "Restarting (3) About a minute ago"


def test_the_command_is_quoted_where_it_must_be() -> None:
    assert listing.command_text(record("a", path="sh", args=("-c", "echo 'hi'"))) == "sh -c 'echo '\\''hi'\\'''"
    assert listing.command_text(record("a", path="sleep", args=("100",))) == "sleep 100"


RECORDS = [
    record(
        "web",
        1,
        state=State.RUNNING,
        started_ns=1,
        config=ContainerConfig(labels={"a": "b"}, exposed_ports={"80/tcp": {}}),
    ),
    record("db", 2, state=State.EXITED, started_ns=1, exit_code=3),
    record("idle", 3),
]
FACTS = listing.Facts(
    container=lambda ref: next((one for one in RECORDS if one.name == ref), None),
    image_ids=lambda ref: {"sha256:1"} if ref == "busybox" else set(),
    networks=lambda ident: {"mine": {"NetworkID": "abcdef"}} if ident == RECORDS[0].id else {},
    ports=lambda ident: [{"PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"}] if ident == RECORDS[0].id else [],
)


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ({}, ["web"]),
        ({"status": ("exited", "created")}, ["idle", "db"]),
        ({"exited": ("3",)}, ["db"]),
        ({"label": ("a",)}, ["web"]),
        ({"label": ("a=c",)}, []),
        ({"name": ("^/we",)}, ["web"]),
        ({"before": ("db",)}, ["web"]),
        ({"since": ("db",)}, ["idle"]),
        ({"network": ("mine",)}, ["web"]),
        ({"network": ("abc",)}, ["web"]),
        ({"publish": ("8080",)}, ["web"]),
        ({"publish": ("8000-9000/tcp",)}, ["web"]),
        ({"publish": ("80",)}, []),
        ({"expose": ("80/tcp",)}, ["web"]),
        ({"ancestor": ("busybox",)}, ["web"]),
        ({"ancestor": ("other",)}, []),
        ({"health": ("none",)}, ["web"]),
        ({"is-task": ("true",)}, []),
    ],
)
def test_filters(terms: dict[str, tuple[str, ...]], names: list[str]) -> None:
    found = listing.select(RECORDS, listing.Query(Filters(terms)), FACTS)
    assert [one.name for one in found] == names


def test_all_and_limit() -> None:
    assert [r.name for r in listing.select(RECORDS, listing.Query(Filters(), all_=True), FACTS)] == [
        "idle",
        "db",
        "web",
    ]
    assert [r.name for r in listing.select(RECORDS, listing.Query(Filters(), limit=2), FACTS)] == ["idle", "db"]


@pytest.mark.parametrize(
    "terms", [{"foo": ("x",)}, {"status": ("x",)}, {"health": ("x",)}, {"exited": ("x",)}, {"before": ("x",)}]
)
def test_bad_filters(terms: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvalidArgument):
        listing.select(RECORDS, listing.Query(Filters(terms)), FACTS)


def test_processes_of_a_table() -> None:
    table = "UID PID CMD\nroot 7 sleep 100\nroot 8 other\n"
    assert listing.processes(table, [7]) == {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "7", "sleep 100"]]}
    with pytest.raises(InvalidArgument, match="Couldn't find PID field"):
        listing.processes("A B\n1 2\n", [1])
