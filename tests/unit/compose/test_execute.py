"""The scheduler: order, parallelism, failures. Nothing here talks to an engine."""

from __future__ import annotations

import threading
from io import StringIO
from typing import Any

import pytest

from berth.compose.errors import OperationFailed
from berth.compose.execute import Skipped, _healthy, execute, split_reference
from berth.compose.operations import Act, Operation
from berth.compose.progress import Live, Plain


class Recorder:
    """Stands in for the performer: notes what is done, fails what it is told to fail."""

    def __init__(
        self, *, failing: dict[str, Exception] | None = None, barrier: threading.Barrier | None = None
    ) -> None:
        self.failing, self.barrier = failing or {}, barrier
        self.done: list[str] = []
        self.lock = threading.Lock()

    def perform(self, operation: Operation) -> None:
        if self.barrier is not None:
            self.barrier.wait(timeout=5)
        with self.lock:
            self.done.append(operation.key)
        if operation.key in self.failing:
            raise self.failing[operation.key]


def operation(key: str, *needs: str, optional: bool = False) -> Operation:
    return Operation(key, Act.START, key, "test", needs, optional=optional)


def run(operations: list[Operation], recorder: Any, limit: int = 0) -> str:
    out = StringIO()
    try:
        execute(operations, recorder, Plain(out), limit)
    finally:
        recorder.out = out.getvalue()
    return out.getvalue()


def test_needs_come_first() -> None:
    recorder = Recorder()
    run([operation("c", "b"), operation("b", "a"), operation("a", "unknown")], recorder)
    assert recorder.done == ["a", "b", "c"]


def test_what_is_independent_runs_at_once() -> None:
    run([operation(str(n)) for n in range(8)], Recorder(barrier=threading.Barrier(8)))


def test_the_limit_holds() -> None:
    with pytest.raises(OperationFailed):
        execute([operation("a"), operation("b")], Blocked(), Plain(StringIO()), 1)  # type: ignore[arg-type]


class Blocked:
    """Fails if two come in at once."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(1)

    def perform(self, operation: Operation) -> None:
        assert self.inside.acquire(blocking=False)
        if operation.key == "b":
            raise OperationFailed("the end")
        self.inside.release()


def test_a_failure_stops_those_that_need_it_and_no_others() -> None:
    recorder = Recorder(failing={"a": OperationFailed("no a")})
    with pytest.raises(OperationFailed, match="no a"):
        run([operation("a"), operation("b", "a"), operation("c", "b"), operation("d")], recorder)
    assert sorted(recorder.done) == ["a", "d"]
    assert " Container a  Error no a\n" in recorder.out


def test_an_optional_failure_is_a_warning() -> None:
    recorder = Recorder(failing={"a": OperationFailed("no a")})
    out = run([operation("a", optional=True), operation("b", "a")], recorder)
    assert recorder.done == ["a", "b"]
    assert "WARN: no a" in out


def test_what_is_skipped_is_told() -> None:
    recorder = Recorder(failing={"a": Skipped("still in use")})
    assert " Container a  still in use\n" in run([operation("a", optional=True)], recorder)


def test_plain_lines() -> None:
    assert run([operation("a")], Recorder()) == " Container a  Starting\n Container a  Started\n"


def test_the_live_picture_ends_with_every_row() -> None:
    out = StringIO()
    with Live(out, colour=False, size=(40, 24)) as live:
        live.working("Container", "a", "Starting")
        live.done("Container", "a", "Started")
        live.failed("Network", "n", "why")
    last = out.getvalue().rpartition("[+]")[2].splitlines()
    assert last[0] == " 2/2"
    assert last[1].startswith(" ✔ Container a  Started")
    assert last[2].startswith(" ✘ Network n    Error why")
    assert all(len(line) <= 40 for line in last)


@pytest.mark.parametrize(
    ("reference", "want"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1", ("nginx", "1")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a:v", ("host:5000/a", "v")),
        ("a@sha256:ff", ("a", "sha256:ff")),
    ],
)
def test_references(reference: str, want: tuple[str, str]) -> None:
    assert split_reference(reference) == want


@pytest.mark.parametrize(
    ("state", "want"),
    [
        ({"Status": "running", "Health": {"Status": "healthy"}}, True),
        ({"Status": "running", "Health": {"Status": "starting"}}, False),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, "is unhealthy"),
        ({"Status": "exited", "ExitCode": 3}, r"exited \(3\)"),
        ({"Status": "running"}, "has no healthcheck configured"),
    ],
)
def test_health(state: dict[str, Any], want: bool | str) -> None:
    inspected = {"State": state}
    if isinstance(want, str):
        with pytest.raises(OperationFailed, match=want):
            _healthy(operation("c"), inspected)
    else:
        assert _healthy(operation("c"), inspected) is want


def test_health_that_is_only_configured_is_to_come() -> None:
    inspected = {"State": {"Status": "running"}, "Config": {"Healthcheck": {"Test": ["CMD", "true"]}}}
    assert _healthy(operation("c"), inspected) is False
