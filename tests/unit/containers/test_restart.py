import pytest

from berth.containers.restart import (
    FIRST_PAUSE_NS,
    LONGEST_PAUSE_NS,
    STEADY_NS,
    Run,
    pause_before_next,
    starts_with_engine,
)
from berth.wire.containers import RestartPolicy


def run(*, code: int = 1, lasted: int = 0, pause: int = 0, restarts: int = 0, stopped: bool = False) -> Run:
    return Run(code, lasted, pause, restarts, stopped)


@pytest.mark.parametrize("name", ["", "no", "always", "unless-stopped", "on-failure"])
def test_what_a_user_stopped_stays_stopped(name: str) -> None:
    assert pause_before_next(RestartPolicy(name=name), run(stopped=True)) is None


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        (RestartPolicy(name="no"), 1, False),
        (RestartPolicy(name="always"), 0, True),
        (RestartPolicy(name="unless-stopped"), 0, True),
        (RestartPolicy(name="on-failure"), 0, False),
        (RestartPolicy(name="on-failure"), 1, True),
    ],
)
def test_policies(policy: RestartPolicy, code: int, *, again: bool) -> None:
    assert (pause_before_next(policy, run(code=code)) is not None) == again


def test_on_failure_gives_up_after_its_count() -> None:
    policy = RestartPolicy(name="on-failure", maximum_retry_count=2)
    assert pause_before_next(policy, run(restarts=1)) is not None
    assert pause_before_next(policy, run(restarts=2)) is None


def test_pauses_double_up_to_a_minute_and_start_over_after_a_steady_run() -> None:
    policy, pause, seen = RestartPolicy(name="always"), 0, []
    for _ in range(12):
        pause = pause_before_next(policy, run(pause=pause)) or 0
        seen.append(pause)
    assert seen[:3] == [FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS, 4 * FIRST_PAUSE_NS]
    assert seen[-1] == LONGEST_PAUSE_NS
    assert pause_before_next(policy, run(pause=pause, lasted=STEADY_NS)) == FIRST_PAUSE_NS


@pytest.mark.parametrize(
    ("name", "stopped", "was_running", "code", "starts"),
    [
        ("always", True, False, 0, True),
        ("unless-stopped", True, False, 0, False),
        ("unless-stopped", False, False, 0, True),
        ("on-failure", False, True, 1, True),
        ("on-failure", False, False, 1, False),
        ("no", False, True, 1, False),
    ],
)
def test_the_engines_start(name: str, code: int, *, stopped: bool, was_running: bool, starts: bool) -> None:
    policy = RestartPolicy(name=name)
    assert starts_with_engine(policy, stopped=stopped, was_running=was_running, exit_code=code) == starts
